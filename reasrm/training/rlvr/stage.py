"""Reinforcement learning with verifiable rewards: preference labels in, sealed checkpoints out (stage 2 of RM-R1).

The policy writes a group of judgments about each comparison; each earns what the rewards say; GRPO moves the policy
towards those that earned more than their group. The reference of the KL term is the model that training starts from
(RM-R1, arXiv 2505.02387, section 2.3). Prompts are those of SFT and judging, id by id.

A run keeps, beside what every run keeps, `samples.jsonl` (rollouts with the parts of their reward), `canary.jsonl`
(fixed pairs judged along the way) and, where a checkpoint is chosen by held-out accuracy, `best.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers.trainer_callback import PrinterCallback

from reasrm.config import ANSWERED_ALIKE
from reasrm.errors import ConfigError, InputError
from reasrm.files import file_sha256
from reasrm.judging.plan import not_shown
from reasrm.metarm.model import find_folder
from reasrm.rewards.base import Part
from reasrm.runs import CheckpointInfo, RunFolder, latest_checkpoint
from reasrm.sources.rubric_lines import load_rubrics
from reasrm.training.rlvr.cold_start import compare_with_start
from reasrm.training.rlvr.comparisons import (
    ComparisonEncoder,
    EncodedComparisons,
    Orders,
    read_comparisons,
)
from reasrm.training.rlvr.config import RLVRStage, SelectionSection
from reasrm.training.rlvr.meta_memory import beside, plan_metarm
from reasrm.training.rlvr.planning import rollout_batches, rollout_memory
from reasrm.training.rlvr.rollouts import Rollouts
from reasrm.training.rlvr.setup import RLVRSetup, build_reward_function, open_metarm, set_up
from reasrm.training.rlvr.trainer import JudgeGRPOTrainer
from reasrm.training.rlvr.validation import Validation
from reasrm.training.safety.states import load_state
from reasrm.training.stage.driver import (
    VOLATILE,
    StageKind,
    finished_checkpoint,
    numbered,
)
from reasrm.training.stage.listening import Listener, SealTheEnd, Tell
from reasrm.training.stage.models import adapter_config, load_weights
from reasrm.training.stage.planning import count_parameters, describe_numbers, estimate_memory
from reasrm.training.stage.rows import Dropped, SharedRows, dropped_remark, overlap
from reasrm.training.stage.sharing import note_server

__all__ = ["RLVR", "Comparisons", "build_trainer", "encode_data", "plan", "set_up", "train"]

_VOLATILE = VOLATILE | {
    *("watch", "validation.batch_size", "validation.allow_training_rows"),
    *("rollouts.batch_size", "metarm.path", "critique.cache"),
    *(f"{section}.{name}" for section in ("critique", "referee") for name in ANSWERED_ALIKE),
}


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The prompts of a run, to learn from and to validate on."""

    train: EncodedComparisons
    validation: dict[str, EncodedComparisons]
    redraws: bool = False

    @property
    def num_prompts(self) -> int:
        """Prompts of an epoch."""
        return len(self.train.prompts) // (2 if self.redraws else 1)

    @property
    def dropped(self) -> list[Dropped]:
        """Rows that are not learned from, nor measured on."""
        return [row for part in (self.train, *self.validation.values()) for row in part.dropped]

    def overlaps(self) -> dict[str, SharedRows]:
        """Return what each validation split has in common with the training rows."""
        learned = [prompt.comparison for prompt in self.train.prompts]
        return {
            name: overlap((prompt.comparison for prompt in found.prompts), learned)
            for name, found in self.validation.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the counts that the run keeps."""
        return {
            "rows": self.num_prompts,
            "dropped": self.train.reasons,
            "targets": self.train.targets,
            "lengths": {"prompt": describe_numbers(self.train.lengths())},
            "validation_rows": {name: len(found.prompts) for name, found in self.validation.items()},
            "validation_dropped": {name: found.reasons for name, found in self.validation.items()},
            "validation_overlap": {name: asdict(found) for name, found in self.overlaps().items()},
            **self._rubrics(),
        }

    def remarks(self) -> Iterator[str]:
        """Yield what a person should know of it before training."""
        for name, found in (("training", self.train), *self.validation.items()):
            yield from dropped_remark(name, found.dropped, len(found.prompts))
        for name, shared in self.overlaps().items():
            if shared.prompts:
                rows = len({prompt.comparison.id for prompt in self.validation[name].prompts})
                yield (
                    f"warning: of {rows} rows of validation split {name}, {shared.rows} are training rows and "
                    f"{shared.prompts} have the prompt of one: its accuracy is not that of unseen rows"
                )
        if len(self.train.targets) == 1:
            side = next(iter(self.train.targets))
            yield (
                f"warning: in every prompt the better response is {side}: a judge that always says {side} earns full "
                "reward; use data.orders: random or both"
            )

    def _rubrics(self) -> dict[str, Any]:
        """Return how many prompts have a given rubric, and how many rows one that carries their label, if any do."""
        parts = {"train": self.train, **self.validation}
        given = {name: part.num_rubrics for name, part in parts.items() if part.num_rubrics}
        saw = {name: len(part.saw_labels) for name, part in parts.items() if part.saw_labels}
        return {
            **({"rubrics": given} if given else {}),
            **({"rubrics_that_saw_labels": saw} if saw else {}),
        }


def encode_data(setup: RLVRSetup, listener: Listener | None = None) -> Comparisons:
    """Read and encode the pairs of a stage.

    Raises:
        InputError: A file cannot be read, or none of its pairs can be learned from.
        ConfigError: The checkpoint would be chosen by rows that are learned from.
    """
    listener = listener or Listener()
    stage = setup.stage
    if stage.rewards.combine.kind == "group_zscore" and stage.advantages.kind in ("group", "whitened"):
        listener.say(
            f"warning: rewards.combine group_zscore and advantages {stage.advantages.kind} both divide by a "
            "spread: in groups that are all right a tiny extra counts as much as right against "
            "wrong; use advantages.kind: mean_only"
        )
    for part, file in stage.rewards.code.items():
        listener.say(f"{part} runs the code of {file}, SHA-256 {file_sha256(file)}")
    listener.say(f"encoding {', '.join(stage.data.train)}")
    encoder = _encoder(setup, stage.data.orders)
    rubrics = None if stage.data.rubrics is None else load_rubrics(Path(stage.data.rubrics))
    if rubrics is not None and not encoder.shows_rubrics:
        raise not_shown(setup.spec, "rubric", len(rubrics.by_id), "data.rubrics")
    read = partial(
        read_comparisons,
        columns=stage.data.columns,
        rubrics=rubrics,
        rubrics_that_saw_labels=stage.data.rubrics_that_saw_labels,
    )
    train = read(stage.data.train, encoder, limit=stage.data.limit, progress=listener.rows)
    if rubrics is not None and not train.num_rubrics:
        raise InputError(
            "no training row has an id or a request that the rubrics name",
            place="data.rubrics",
            remedy="check the ids of both files",
        )
    redraws = stage.data.orders == "each_epoch"
    section = stage.validation
    splits = {}
    if section is not None:
        encoder = _encoder(setup, section.orders)
        splits = {
            name: read(files, encoder, limit=section.limit, draw=stage.seed)
            for name, files in section.splits.items()
        }
    data = Comparisons(train, splits, redraws)
    if stage.selection is not None and section is not None and not section.allow_training_rows:
        _refuse_training_rows(data, stage.selection)
    measured = {name: found.rows() for name, found in splits.items()}
    compare_with_start(stage, train.rows(), measured, listener.say)
    return data


def _refuse_training_rows(data: Comparisons, selection: SelectionSection) -> None:
    """Refuse to choose a checkpoint by rows that it has learned from: the one that remembers best would win."""
    for name, shared in data.overlaps().items():
        if shared.rows and selection.split in (None, name):
            rows = len({prompt.comparison.id for prompt in data.validation[name].prompts})
            raise ConfigError(
                f"{shared.rows} of {rows} rows by which the checkpoint is chosen are training rows",
                place=f"validation.splits.{name}",
                remedy="name held-out rows, or set validation.allow_training_rows: true",
            )


def _encoder(setup: RLVRSetup, orders: Orders) -> ComparisonEncoder:
    return ComparisonEncoder(
        setup.spec,
        setup.base,
        orders=orders,
        seed=setup.stage.seed,
        max_tokens=setup.max_tokens,
    )


def _plan(setup: RLVRSetup, data: Comparisons) -> dict[str, Any]:
    args, config, dtype = setup.arguments, setup.base.config, setup.dtype
    parameters = count_parameters(config, adapter_config(setup.stage.lora))
    lengths = data.train.lengths()
    longest = int(lengths.max()) + args.max_completion_length
    memory = estimate_memory(parameters, config, args, dtype, longest)
    memory = rollout_memory(memory, parameters, config, args, dtype, longest, setup.stage.rollouts.batch_size)
    section = setup.stage.metarm
    meta = None if section is None else plan_metarm(section, args, longest, args.max_completion_length)
    return {
        "max_prompt_tokens": setup.max_tokens,
        "max_completion_tokens": args.max_completion_length,
        "batches": rollout_batches(data.num_prompts, args, lengths),
        "parameters": parameters.to_json(),
        "memory_gib": memory if meta is None else beside(memory, meta["memory_gib"]),
        **({} if meta is None else {"metarm": meta}),
    }


def build_trainer(
    setup: RLVRSetup, data: Comparisons, run: RunFolder, listener: Listener | None = None
) -> JudgeGRPOTrainer:
    """Load the weights and put the trainer together."""
    stage, base = setup.stage, setup.base
    listener = listener or Listener()
    train_keys = [prompt.key for prompt in data.train.prompts]
    prompts = {prompt.key: prompt for prompt in data.train.prompts}
    splits = {}
    for name, found in data.validation.items():
        # A pair may be in several splits, or be learned from; each has its own prompt.
        splits[name] = [f"{prompt.key}@{name}" for prompt in found.prompts]
        prompts |= dict(zip(splits[name], found.prompts, strict=True))
    validation = Validation(
        stage.validation,
        splits,
        stage.selection,
        stage.watch.canary,
        _canary(next(iter(splits.values()), train_keys), stage),
    )
    reward = build_reward_function(
        stage, lambda section, backend: note_server(run, section, backend, listener.say), setup.parts
    )
    meta = open_metarm(stage, setup.arguments)
    trainer = JudgeGRPOTrainer(
        rollouts=Rollouts(stage, setup.spec, base, prompts, train_keys, reward, meta),
        say=listener.say,
        run=run,
        keep_checkpoints=stage.checkpoints.keep,
        model=load_weights(base, stage.model, setup.dtype),
        args=setup.arguments,
        processing_class=base.tokenizer,
        peft_config=adapter_config(stage.lora),
        callbacks=[SealTheEnd(), Tell(listener), validation],
    )
    validation.trainer = trainer
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to the summary
    return trainer


def _canary(keys: Sequence[str], stage: RLVRStage) -> list[str]:
    canary = stage.watch.canary
    return [] if canary is None else list(keys[: canary.rows])


def _inputs(stage: RLVRStage) -> dict[str, Path]:
    """Return the files that a run reads besides its config and its model."""
    splits = stage.validation.splits if stage.validation else {}
    inputs = numbered(
        train=stage.data.train, **{f"validation:{name}": files for name, files in splits.items()}
    )
    if stage.metarm is not None:
        folder = find_folder(stage.metarm.path)
        kept = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.json")])
        inputs |= {f"metarm:{path.relative_to(folder).as_posix()}": path for path in kept}
    if stage.data.rubrics is not None:
        inputs["rubrics"] = Path(stage.data.rubrics)
    return inputs | stage.rewards.code


def _finished(stage: RLVRStage, run: RunFolder) -> CheckpointInfo | None:
    """Return the last checkpoint if nothing is left to train after it: all steps are done, or patience ran out."""
    done = finished_checkpoint(run)
    if done is not None or stage.selection is None or stage.selection.patience is None:
        return done
    checkpoint = latest_checkpoint(run.path)
    best = checkpoint and load_state(checkpoint.path, "rank-0")["progress"]["best"]
    return checkpoint if best and best["validations_since"] >= stage.selection.patience else None


def _report(
    run: RunFolder, data: Mapping[str, Any], progress: Mapping[str, Any], logged: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "reward": logged.get("reward/mean"),
        "accuracy": logged.get("rollouts/accuracy"),
        "validation": {n: v for n, v in logged.items() if n.startswith("eval/") and n.endswith("/accuracy")},
        **{
            name: progress[name] for name in ("best", "generated_tokens", "prompt_tokens", "processed_tokens")
        },
    }


RLVR = StageKind(
    name="rlvr",
    set_up=set_up,
    inputs=_inputs,
    encode_data=encode_data,
    plan=_plan,
    build_trainer=build_trainer,
    report=_report,
    volatile=_VOLATILE,
    finished=_finished,
)
plan = RLVR.planned


def train(
    stage: RLVRStage,
    place: str,
    folder: Path,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    parts: Mapping[str, Part] | None = None,
) -> dict[str, Any]:
    """Train a judge and return the summary; see `StageKind.train`.

    Args:
        stage: The config.
        place: Its file, for errors.
        folder: The run folder.
        resume: Go on with the run in the folder.
        listener: Who is told, in this process.
        parts: Reward parts of your own, in the place of the config's of these names, whose weights they take. The run
            does not keep them: hand in the same ones to go on.
    """
    kind = replace(RLVR, set_up=partial(set_up, parts=parts))
    return kind.train(stage, place, folder, resume=resume, listener=listener)
