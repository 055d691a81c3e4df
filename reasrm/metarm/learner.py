"""Learning online: squared error on the rollouts of a generation batch, gradients summed over all processes.

Source: RM-NLHF (released trainer): plain MSE, AdamW with a constant learning rate of 5e-6, one epoch over the rows,
gradients clipped to a norm of 1, a step whose gradients are not finite is skipped.

The MetaRM is a plain module with an AdamW of its own, not prepared by accelerate: the step of a prepared optimizer is
silently left out while gradients accumulate. Every process takes part in every step, also with no rows, and divides
by the number of rows of all processes, so the step does not depend on how rows are spread. There is no dropout: the
model stays in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from reasrm.errors import InternalError
from reasrm.metarm.inputs import Encoded
from reasrm.metarm.model import MetaRM, collate

__all__ = ["Learner", "Lesson", "Update", "assert_equal_weights"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One row to learn from.

    Args:
        row: What the MetaRM reads.
        target: What it should say.
    """

    row: Encoded
    target: float


@dataclass(frozen=True, slots=True)
class Update:
    """What an update did.

    Args:
        loss: Mean squared error over all rows and members before each step, or None without rows.
        rows: Rows of all processes.
        steps: Optimizer steps done.
        skipped: Steps left out because a gradient was not finite.
        grad_norm: Of the last step, before clipping, or None.
    """

    loss: float | None
    rows: int
    steps: int
    skipped: int
    grad_norm: float | None


class Learner:
    """Moves a MetaRM's weights.

    Args:
        metarm: The model.
        learning_rate: Constant.
        weight_decay: AdamW's.
        betas: AdamW's.
        max_grad_norm: Longest gradient.
        batch_size: Rows per process and forward pass.
    """

    def __init__(
        self,
        metarm: MetaRM,
        *,
        learning_rate: float = 5e-6,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        max_grad_norm: float = 1.0,
        batch_size: int = 16,
    ) -> None:
        self.metarm = metarm.eval()
        self._weights = metarm.trained()
        self._optimizer = torch.optim.AdamW(
            list(self._weights.values()), lr=learning_rate, weight_decay=weight_decay, betas=betas
        )
        self._max_grad_norm, self._batch_size = max_grad_norm, batch_size

    def update(self, steps: Sequence[Sequence[Lesson]]) -> Update:
        """Do one optimizer step for each list of rows; every process must give equally many lists.

        Args:
            steps: Rows of this process by step, perhaps none.
        """
        losses, rows, done, skipped = 0.0, 0, 0, 0
        norm: float | None = None
        for lessons in steps:
            squared, count = self._gradients(lessons)
            if not count:
                continue
            norm = self._clip()
            if torch.isfinite(torch.tensor([norm, squared])).all():
                self._optimizer.step()
                done += 1
                losses, rows = losses + squared, rows + count
            else:
                skipped += 1
        self._optimizer.zero_grad(set_to_none=True)
        return Update(losses / rows if rows else None, rows, done, skipped, norm)

    def _gradients(self, lessons: Sequence[Lesson]) -> tuple[float, int]:
        """Leave the gradients of the mean squared error over all processes in the weights.

        Returns:
            Sum of squared errors, averaged over members, and the number of rows, both over all processes.
        """
        device = self.metarm.device
        self._optimizer.zero_grad(set_to_none=True)
        squared = torch.zeros((), dtype=torch.float64, device=device)
        for start in range(0, len(lessons), self._batch_size):
            part = lessons[start : start + self._batch_size]
            targets = torch.tensor([lesson.target for lesson in part], device=device)
            scores = self.metarm(**collate([lesson.row for lesson in part], self.metarm.pad_id, device))
            loss = (scores - targets[:, None]).square().mean(dim=1).sum()
            loss.backward()
            squared += loss.detach().double()
        totals = torch.stack([squared, squared.new_tensor(float(len(lessons)))])
        _sum(totals)
        count = int(totals[1])
        grads = [self._gradient(weight) for weight in self._weights.values()]
        if count:
            flat = torch.cat([grad.reshape(-1) for grad in grads])
            _sum(flat)
            flat /= count
            for grad, total in zip(grads, torch.split(flat, [grad.numel() for grad in grads]), strict=True):
                grad.copy_(total.view_as(grad))
        return float(totals[0]), count

    @staticmethod
    def _gradient(weight: torch.nn.Parameter) -> torch.Tensor:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        return weight.grad

    def _clip(self) -> float:
        return float(torch.nn.utils.clip_grad_norm_(list(self._weights.values()), self._max_grad_norm))

    # What a checkpoint keeps

    def state(self) -> dict[str, Any]:
        """Return the trained weights and the optimizer's state."""
        weights = {name: weight.detach() for name, weight in self._weights.items()}
        return {"weights": weights, "optimizer": self._optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned.

        Raises:
            InternalError: The weights are not those of this model.
        """
        if state["weights"].keys() != self._weights.keys():
            raise InternalError("the checkpoint's MetaRM has other weights than this one")
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])


def _sum(tensor: torch.Tensor) -> None:
    """Add up a tensor over all processes, in place."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(tensor)


def assert_equal_weights(metarm: MetaRM) -> None:
    """Compare the trained weights of all processes; each must call this.

    Raises:
        InternalError: They differ: an update was not the same everywhere.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    weights = metarm.trained().values()
    own = torch.stack([torch.stack([w.double().sum(), w.double().abs().sum()]) for w in weights]).sum(0)
    least, most = own.clone(), own.clone()
    distributed.all_reduce(least, op=distributed.ReduceOp.MIN)
    distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
    if not torch.equal(least, most):
        raise InternalError("the MetaRM's weights differ between processes")
