"""The trainer of the MetaRM's cold start: squared error, measured on rows held out, sealed checkpoints.

The loss of a step is the mean over the rows of its global batch, whatever passes and processes they fall into, and over
members of w·(score − target)². With one member w is 1. With several, each member counts each row of the data as often
as a Poisson variable of mean 1 says, drawn from the row's id, the member and the seed: a bootstrap of rows, so that
members differ where data are few (ours; RM-NLHF has one).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback

from reasrm.errors import ConfigError
from reasrm.hashing import derive_seed
from reasrm.metarm.inputs import Encoded
from reasrm.metarm.model import MetaRM, collate
from reasrm.metarm.quality import quality
from reasrm.runs import write_best
from reasrm.training.safety.checkpoints import SafeCheckpoints
from reasrm.training.safety.guards import GuardedSteps

__all__ = ["Collator", "MetaExample", "MetaRMTrainer", "SaveWhatIsMeasured", "measured", "member_weights"]

_WEIGHTS = "model.safetensors"
_READ = ("input_ids", "attention_mask", "critique_mask")


@dataclass(frozen=True, slots=True)
class MetaExample:
    """A judgment as the MetaRM learns it.

    Args:
        row: What it reads.
        target: What it should say.
        right: Whether the verdict is right.
        process: The true critique part of the reward.
        weights: Of the row for each member.
    """

    row: Encoded
    target: float
    right: bool
    process: float
    weights: tuple[float, ...]


def member_weights(row_id: str, members: int, seed: int) -> tuple[float, ...]:
    """Return how often each member counts a row: Poisson with mean 1, or once where there is one member."""
    if members == 1:
        return (1.0,)
    return tuple(_poisson(derive_seed(seed, "bootstrap", row_id, m) / 2**63) for m in range(members))


def _poisson(uniform: float) -> float:
    """Return the quantile of Poisson(1) at a number in [0, 1)."""
    count, below, mass = 0, 0.0, math.exp(-1)
    while count < 20 and uniform >= below + mass:
        below += mass
        count += 1
        mass /= count
    return float(count)


class Collator:
    """Examples to a batch of tensors.

    Args:
        pad_id: What short rows are filled with.
    """

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, examples: Sequence[MetaExample]) -> dict[str, torch.Tensor]:
        """Return ids and masks (B, T); targets, right and process (B,); weights (B, M)."""
        return {
            **collate([example.row for example in examples], self._pad_id),
            "targets": torch.tensor([example.target for example in examples]),
            "right": torch.tensor([float(example.right) for example in examples]),
            "process": torch.tensor([example.process for example in examples]),
            "weights": torch.tensor([example.weights for example in examples]),
        }


class SaveWhatIsMeasured(TrainerCallback):  # type: ignore[misc]
    """Each measured state is saved, so that the best can be returned to; the last one is measured in any case."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at the last step, unless the end of the epoch is about to."""
        last, how = state.global_step >= state.max_steps, args.eval_strategy
        if last and how == "steps":
            control.should_evaluate = True
        if control.should_evaluate:
            control.should_save = True
        elif last and how == "epoch":
            control.should_save = False

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save what is about to be measured."""
        if control.should_evaluate:
            control.should_save = True


class MetaRMTrainer(GuardedSteps, SafeCheckpoints, Trainer):  # type: ignore[misc]
    """transformers' trainer for a MetaRM.

    Attributes:
        best: Step and numbers of the checkpoint with the least mean squared error on held-out rows, or None.
    """

    loss_is_scaled_for_ga = True
    model: MetaRM

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Fetch the passes of one step, and count the rows that its loss is the mean over, in all processes."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        rows = torch.tensor(sum(len(batch["targets"]) for batch in samples), device=device)
        return samples, self.accelerator.reduce(rows) if self.args.world_size > 1 else rows

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return this pass's share of the loss, or the plain mean squared error where nothing is learned."""
        scores = model(**{name: inputs[name] for name in _READ})
        squared = (scores - inputs["targets"][:, None]).square()
        if num_items_in_batch is None:
            loss = squared.mean()
        else:
            # Gradients are averaged over processes, and the rows are counted over all of them.
            weighted = (inputs["weights"] * squared).mean(1).sum()
            loss = weighted * self.args.world_size / num_items_in_batch
        return (loss, {"scores": scores}) if return_outputs else loss

    def evaluate(self, *positional: Any, **named: Any) -> dict[str, float]:
        """Measure, and note whether this is the best so far."""
        metrics: dict[str, float] = super().evaluate(*positional, **named)
        numbers = {name.removeprefix("eval_"): value for name, value in metrics.items()}
        if self.best is None or numbers["mse"] < self.best["mse"]:
            kept = {n: v for n, v in numbers.items() if n in _MEASURED}
            self.best = {"step": self.state.global_step, **kept}
        return metrics

    # Checkpoints

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, see `SafeCheckpoints.progress`."""
        return {**super().progress(), "best": self.best}

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over what a checkpoint kept."""
        super().resume(progress)
        self.best = progress["best"]
        self._name_best()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self._name_best()

    def _name_best(self) -> None:
        if self.best is not None and self.run.writable:
            write_best(self.run.path, self.best)

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        """Save the weights that training moves: under LoRA adapters and heads, else all, each tied one once."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict() if state_dict is None else state_dict
        names = self._kept_names()
        save_file(
            {name: state[name].contiguous() for name in names}, folder / _WEIGHTS, metadata={"format": "pt"}
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.take_weights(Path(resume_from_checkpoint))

    def take_weights(self, checkpoint: Path) -> None:
        """Take over the weights of a checkpoint.

        Raises:
            ConfigError: They are not those of this model.
        """
        state = load_file(checkpoint / _WEIGHTS)
        if differ := state.keys() ^ set(self._kept_names()):
            raise ConfigError(
                f"the weights of the checkpoint are not those of this model: {min(differ)!r} is in one of them only",
                place=str(checkpoint),
                remedy="resume with the model that the run was begun with",
            )
        self.model.load_state_dict(state, strict=False)

    def _kept_names(self) -> list[str]:
        """Return the names of the weights that a checkpoint holds."""
        weights = self.model.state_dict(keep_vars=True)
        trained = self.model.trained()
        if any(not weight.requires_grad for weight in self.model.parameters()):
            return [name for name in weights if name in trained]
        first = {id(weight): name for name, weight in reversed(list(weights.items()))}
        return [name for name, weight in weights.items() if first[id(weight)] == name]


_MEASURED = frozenset(
    (
        *("rows", "mse", "variance", "calibration", "pearson", "spearman", "doubt"),
        *("right_pearson", "right_spearman", "right_auc"),
    )
)


def measured(prediction: Any) -> Mapping[str, float]:
    """Return the numbers of held-out rows, as the Trainer asks for them; `doubt` is the mean variance of members."""
    scores_NM = np.asarray(prediction.predictions, dtype=np.float64)
    targets, right, process = prediction.label_ids
    numbers = quality(scores_NM.mean(1), targets, right > 0.5, process)
    return numbers if scores_NM.shape[1] == 1 else {**numbers, "doubt": float(scores_NM.var(1).mean())}
