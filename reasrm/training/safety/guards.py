"""Training that notices when it goes wrong: NaN and infinite gradients, and memory that does not suffice.

`GuardedSteps` goes before a trainer class. In one process, DDP and FSDP a step whose loss or gradients are not finite
in any process is skipped in all: gradients are dropped before the optimizer sees them, so weights and optimizer state
stay those before it, while the step counts and the schedule moves on. After some skipped steps in a row training
stops. DeepSpeed decides about a step before it can be looked at, so training stops there at once. Under fp16 the
loss scaler skips steps itself. Weights that are not finite are never saved, so no checkpoint holds any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.generation.hf import is_out_of_memory

__all__ = ["GuardedSteps", "all_finite", "explain_out_of_memory"]

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object

_SLOWER = (
    "lower the learning rate, set trainer.max_grad_norm, or look at the rows of these steps; "
    "the last checkpoint is from before it"
)


def all_finite(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return whether no element of floating-point tensors is NaN or infinite.

    Only this process's part of a sharded tensor is looked at.
    """
    by_device: dict[torch.device, list[torch.Tensor]] = {}
    for tensor in tensors:
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        if local.is_floating_point() and local.numel():
            by_device.setdefault(local.device, []).append(local.detach())
    # The largest magnitude neither overflows, as a norm might, nor hides a NaN.
    largest = [torch.stack([n.float() for n in _largest(group)]).max().cpu() for group in by_device.values()]
    return torch.isfinite(torch.stack(largest)).all() if largest else torch.tensor(True)


def _largest(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(torch._foreach_norm(tensors, float("inf")))


class _BeforeStep(TrainerCallback):  # type: ignore[misc]
    """Calls the trainer when gradients are complete and the optimizer has not seen them."""

    def __init__(self, trainer: GuardedSteps) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer._guard_step()


class GuardedSteps(_Trainer):  # type: ignore[misc]
    """Mixin for a Trainer class, before `SafeCheckpoints`: `class T(GuardedSteps, SafeCheckpoints, SFTTrainer)`.

    Args:
        max_skipped_in_a_row: Stop when this many steps in a row had to be skipped.

    Attributes:
        skipped_steps: Steps skipped over the whole run; logged under this name.
    """

    def __init__(self, *positional: Any, max_skipped_in_a_row: int = 3, **named: Any) -> None:
        if max_skipped_in_a_row < 1:
            raise ConfigError(
                f"max_skipped_in_a_row is {max_skipped_in_a_row}", remedy="give a number of at least 1"
            )
        self.skipped_steps = 0
        self._max_in_a_row = max_skipped_in_a_row
        self._num_in_a_row = 0
        self._losses_finite: torch.Tensor | None = None
        self._batch_shape: tuple[int, ...] | None = None
        super().__init__(*positional, **named)
        self.add_callback(_BeforeStep(self))

    def train(
        self, resume_from_checkpoint: Any = None, trial: Any = None, ignore_keys_for_eval: Any = None
    ) -> Any:
        """Train; running out of memory ends in an error that says what did not fit."""
        with explain_out_of_memory(self):
            return super().train(
                resume_from_checkpoint=resume_from_checkpoint,
                trial=trial,
                ignore_keys_for_eval=ignore_keys_for_eval,
            )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Do one pass, and note whether its loss was finite."""
        ids = inputs.get("input_ids") if hasattr(inputs, "get") else None
        self._batch_shape = None if ids is None else tuple(ids.shape)
        loss = super().training_step(model, inputs, num_items_in_batch)
        finite = torch.isfinite(loss.detach()).all()
        self._losses_finite = finite if self._losses_finite is None else self._losses_finite & finite
        if self.is_deepspeed_enabled and self.accelerator.sync_gradients:
            self._stop_deepspeed(model)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the steps skipped so far."""
        if "loss" in logs:
            logs["skipped_steps"] = self.skipped_steps
        super().log(logs, start_time)

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, see `SafeCheckpoints.progress`."""
        return {**super().progress(), "skipped": [self.skipped_steps, self._num_in_a_row]}

    def resume(self, progress: dict[str, Any]) -> None:
        """Take over the counts of a checkpoint."""
        super().resume(progress)
        self.skipped_steps, self._num_in_a_row = progress["skipped"]

    def _guard_step(self) -> None:
        if self.is_deepspeed_enabled or getattr(self.accelerator, "scaler", None) is not None:
            self._losses_finite = None
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        finite = all_finite(gradients)
        if self._losses_finite is not None:
            finite = finite & self._losses_finite.cpu()
        self._losses_finite = None
        if self._all_agree(finite):
            self._num_in_a_row = 0
            return
        for parameter in self.model.parameters():
            parameter.grad = None
        self.skipped_steps += 1
        self._num_in_a_row += 1
        if self._num_in_a_row >= self._max_in_a_row:
            raise EnvironmentProblem(
                f"the loss or its gradients were not finite in {self._num_in_a_row} steps in a row, "
                f"up to step {self.state.global_step + 1}",
                remedy=_SLOWER,
            )

    def _all_agree(self, finite: torch.Tensor) -> bool:
        """Whether it is true in every process; all of them must ask."""
        if self.args.world_size == 1:
            return bool(finite)
        vote = finite.to(device=self.args.device, dtype=torch.int32)
        torch.distributed.all_reduce(vote, op=torch.distributed.ReduceOp.MIN)
        return bool(vote)

    def _stop_deepspeed(self, engine: Any) -> None:
        norm = engine.get_global_grad_norm() if hasattr(engine, "get_global_grad_norm") else None
        finite = self._losses_finite if self._losses_finite is not None else torch.tensor(True)
        self._losses_finite = None
        if norm is not None:
            finite = finite.cpu() & torch.isfinite(torch.as_tensor(norm).cpu()).all()
        # A dynamic loss scale expects infinities and skips them itself.
        if not engine.fp16_enabled() and not self._all_agree(finite):
            raise EnvironmentProblem(
                f"the loss or its gradients were not finite in step {self.state.global_step + 1}",
                remedy=_SLOWER,
            )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save, unless a weight is not finite."""
        if not self._all_agree(all_finite(p for p in self.model.parameters() if p.requires_grad)):
            raise EnvironmentProblem(
                f"weights are not finite after step {self.state.global_step}; they were not saved",
                remedy=_SLOWER,
            )
        super()._save_checkpoint(model, trial)


@contextmanager
def explain_out_of_memory(trainer: Any) -> Iterator[None]:
    """Turn running out of memory inside the block into one error with the sizes and what to do about it.

    Raises:
        EnvironmentProblem: Memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        args = trainer.args
        shape = getattr(trainer, "_batch_shape", None)
        batch = f"a batch of {' x '.join(map(str, shape))} tokens" if shape else "the model"
        raise EnvironmentProblem(
            f"out of memory in step {trainer.state.global_step + 1} with {batch}"
            f" (per_device_train_batch_size {args.per_device_train_batch_size},"
            f" {_describe_model(trainer.model)}{_describe_device(args.device)})",
            remedy=_remedy(args),
        ) from error


def _describe_model(model: Any) -> str:
    # Under ZeRO-3 a process holds a part of each, and DeepSpeed notes the size of the whole.
    sizes = [(getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    return f"{sum(size for size, _ in sizes):,} parameters of which {trained:,} are trained"


def _describe_device(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    used = torch.cuda.max_memory_allocated(device)
    gib = 2**30
    return f"; peak {used / gib:.1f} GiB of {total / gib:.1f} GiB on the device, {free / gib:.1f} GiB free"


def _remedy(args: Any) -> str:
    ways = []
    size = args.per_device_train_batch_size
    if size > 1:
        ways.append(
            f"set per_device_train_batch_size to {size // 2} and gradient_accumulation_steps to "
            f"{-(-args.gradient_accumulation_steps * size // (size // 2))}"
        )
    if not (args.gradient_checkpointing or getattr(args, "activation_checkpointing", False)):
        ways.append("set gradient_checkpointing to true")
    ways += ["lower data.max_tokens", "train LoRA adapters", "spread the model with DeepSpeed or FSDP"]
    return f"{', or '.join(ways)}; checkpoints written so far are whole"
