"""Learning online: squared error on the rollouts of a generation batch, gradients summed over all processes.

Source: RM-NLHF (released trainer): plain MSE, AdamW with a constant learning rate of 5e-6, one epoch over the rows,
gradients clipped to a norm of 1, a step whose gradients are not finite is skipped.

The MetaRM is a plain module with an AdamW of its own, not prepared by accelerate: the step of a prepared optimizer is
silently left out while gradients accumulate. Every process takes part in every step, also with no rows, and divides
by the number of rows of all processes, so the step does not depend on how rows are spread. There is no dropout: the
model stays in evaluation mode.

Weights of half precision that are trained have a float32 copy, which gathers the gradients and is what AdamW moves: a
step of 5e-6 is less than bfloat16 can tell. So they take no less memory than float32 weights; LoRA does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import distributed

from reasrm.errors import InternalError
from reasrm.metarm.inputs import Encoded
from reasrm.metarm.model import MetaRM, collate

__all__ = ["BUCKET", "Learner", "Lesson", "Update", "assert_equal_weights"]

BUCKET = 2**24
"""Most gradients that are copied to be summed at once. A weight with more is summed where it is."""


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
        self._exact = {name: _exact(weight) for name, weight in self._weights.items()}
        self._optimizer = torch.optim.AdamW(
            list(self._exact.values()), lr=learning_rate, weight_decay=weight_decay, betas=betas
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
                self._write_back()
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
            with self.metarm.recomputing():
                scores = self.metarm(**collate([lesson.row for lesson in part], self.metarm.pad_id, device))
            loss = (scores - targets[:, None]).square().mean(dim=1).sum()
            loss.backward()
            squared += loss.detach().double()
        totals = torch.stack([squared, squared.new_tensor(float(len(lessons)))])
        _sum(totals)
        count = int(totals[1])
        if count:
            grads = [self._gradient(weight) for weight in self._exact.values()]
            for bucket in _buckets(grads, BUCKET):
                _sum_together(bucket)
            torch._foreach_div_(grads, count)
        return float(totals[0]), count

    @staticmethod
    def _gradient(weight: torch.nn.Parameter) -> torch.Tensor:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        return weight.grad

    def _clip(self) -> float:
        return float(torch.nn.utils.clip_grad_norm_(list(self._exact.values()), self._max_grad_norm))

    @torch.no_grad()
    def _write_back(self) -> None:
        for name, exact in self._exact.items():
            if exact is not self._weights[name]:
                self._weights[name].copy_(exact)

    # What a checkpoint keeps

    def state(self) -> dict[str, Any]:
        """Return the trained weights and the optimizer's state."""
        weights = {name: weight.detach() for name, weight in self._exact.items()}
        return {"weights": weights, "optimizer": self._optimizer.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned.

        Raises:
            InternalError: The weights are not those of this model.
        """
        if state["weights"].keys() != self._exact.keys():
            raise InternalError("the checkpoint's MetaRM has other weights than this one")
        with torch.no_grad():
            for name, weight in self._exact.items():
                weight.copy_(state["weights"][name])
        self._write_back()
        self._optimizer.load_state_dict(state["optimizer"])


def _exact(weight: torch.nn.Parameter) -> torch.nn.Parameter:
    """Return the weight, or its float32 copy, to which its gradients will go as soon as they are known."""
    if weight.dtype == torch.float32:
        return weight
    copy = torch.nn.Parameter(weight.detach().float())
    weight.register_post_accumulate_grad_hook(partial(_hand_over, copy))  # type: ignore[no-untyped-call]
    return copy


def _hand_over(copy: torch.nn.Parameter, weight: torch.Tensor) -> None:
    if weight.grad is not None:
        copy.grad = weight.grad.float() if copy.grad is None else copy.grad.add_(weight.grad)
    weight.grad = None


def _buckets(tensors: Sequence[torch.Tensor], most: int) -> Iterator[list[torch.Tensor]]:
    """Divide tensors, in order, into lists of no more elements than that, or of one tensor."""
    bucket: list[torch.Tensor] = []
    held = 0
    for tensor in tensors:
        if bucket and held + tensor.numel() > most:
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += tensor.numel()
    if bucket:
        yield bucket


def _sum_together(tensors: Sequence[torch.Tensor]) -> None:
    """Add up tensors over all processes, in place, in one message."""
    if not _are_several():
        return
    if len(tensors) == 1 and tensors[0].is_contiguous():
        _sum(tensors[0])
    else:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _sum(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def _are_several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _sum(tensor: torch.Tensor) -> None:
    """Add up a tensor over all processes, in place."""
    if _are_several():
        distributed.all_reduce(tensor)


def assert_equal_weights(metarm: MetaRM) -> None:
    """Compare the trained weights of all processes; each must call this.

    Raises:
        InternalError: They differ: an update was not the same everywhere.
    """
    if not _are_several():
        return
    weights = metarm.trained().values()
    own = torch.stack([torch.stack([w.double().sum(), w.double().abs().sum()]) for w in weights]).sum(0)
    least, most = own.clone(), own.clone()
    distributed.all_reduce(least, op=distributed.ReduceOp.MIN)
    distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
    if not torch.equal(least, most):
        raise InternalError("the MetaRM's weights differ between processes")
