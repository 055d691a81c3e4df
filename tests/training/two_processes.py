"""Two processes train the toy together: stopped and resumed, and with a gradient that is not a number in one of them.

Launched by `python -m torch.distributed.run --nproc_per_node N`; rank 0 prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from transformers import TrainerCallback

from reasrm.errors import ConfigError
from reasrm.runs import RunFolder
from tests.training.toy import build_toy, logged, weights


class Disturb(TrainerCallback):
    """Stops after a step was saved; breaks one gradient of rank 1 at some steps."""

    def __init__(self, trainer: Any, stop: int | None, poison: tuple[int, ...]) -> None:
        self.trainer, self.stop, self.poison = trainer, stop, poison

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.stop:
            raise KeyboardInterrupt

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.process_index == 1 and state.global_step + 1 in self.poison:
            self.trainer.model.transformer.wte.weight.grad[0, 0] = float("nan")


def train(
    folder: Path, *, resume: bool = False, stop: int | None = None, poison: tuple[int, ...] = ()
) -> Any:
    """Train in both processes and return the trainer."""
    dist.barrier()
    run = RunFolder.join(folder)
    if dist.get_rank() == 0:
        run = RunFolder.open(folder, stage="toy", config={}, inputs={}, seed=0, resume=resume)
    dist.barrier()
    trainer = build_toy(folder, run=run, ddp_backend="gloo", ddp_find_unused_parameters=False)
    trainer.callback_handler.callbacks.insert(0, Disturb(trainer, stop, poison))
    try:
        trainer.train(resume_from_checkpoint=resume)
    except KeyboardInterrupt:
        pass
    finally:
        run.close()
    return trainer


def same_everywhere(value: float) -> bool:
    """Whether all processes hold the same number."""
    values = [torch.zeros((), dtype=torch.float64) for _ in range(dist.get_world_size())]
    dist.all_gather(values, torch.tensor(value, dtype=torch.float64))
    return len({float(v) for v in values}) == 1


def main(root: Path) -> dict[str, Any]:
    """Return what was found, in rank 0."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    if dist.get_world_size() == 1:
        try:
            train(root / "stopped", resume=True)
        except ConfigError as error:
            return {"refused": str(error)}
        return {}
    expected = weights(train(root / "whole"))
    train(root / "stopped", stop=4)
    found = weights(train(root / "stopped", resume=True))
    poisoned = train(root / "poisoned", poison=(3, 6))
    return {
        "differs": [name for name in expected if not torch.equal(expected[name], found[name])],
        "logs_equal": logged(root / "whole") == logged(root / "stopped"),
        "skipped": poisoned.skipped_steps,
        "agreed": same_everywhere(sum(float(tensor.double().sum()) for tensor in weights(poisoned).values())),
    }


if __name__ == "__main__":
    result = main(Path(sys.argv[1]))
    if dist.get_rank() == 0:
        print(json.dumps(result))
