"""How SFT rows fall into steps, and how long they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reasrm.training.sft.data import EncodedRows, Example, to_dataset
from reasrm.training.stage.planning import describe_numbers, step_counts

__all__ = ["batches", "describe_lengths"]


def describe_lengths(rows: EncodedRows) -> dict[str, dict[str, int]]:
    """Return the percentiles of prompt, completion and total lengths in tokens (nearest rank)."""
    prompts, completions = rows.lengths()
    named = {"prompt": prompts, "completion": completions, "total": prompts + completions}
    return {name: describe_numbers(lengths) for name, lengths in named.items()}


def batches(examples: Sequence[Example], arguments: Any) -> dict[str, Any]:
    """Return how examples, or packs of them, fall into steps; the same count as the trainer's.

    Tokens per step are an average, padding not counted; those with loss are completion tokens.
    """
    sequences = _num_packs(examples, arguments) if arguments.packing else len(examples)
    per_device, processes = arguments.per_device_train_batch_size, arguments.world_size
    if arguments.dataloader_drop_last:
        passes = sequences // per_device // processes
    else:
        passes = math.ceil(math.ceil(sequences / per_device) / processes)
    counts = step_counts(arguments, passes)
    num_tokens = sum(len(example.ids) for example in examples)
    num_trained = num_tokens - sum(example.num_prompt for example in examples)
    return {
        "sequences": sequences,
        "packed": bool(arguments.packing),
        **counts,
        "tokens_per_step": round(num_tokens / counts["steps_per_epoch"]),
        "trained_tokens_per_step": round(num_trained / counts["steps_per_epoch"]),
    }


def _num_packs(examples: Sequence[Example], arguments: Any) -> int:
    from trl.data_utils import pack_dataset

    dataset = to_dataset(examples)
    if arguments.shuffle_dataset:
        dataset = dataset.shuffle(seed=arguments.seed)
    return len(pack_dataset(dataset, arguments.max_length, arguments.packing_strategy))
