"""A Trainer small enough for tests of checkpoints: a few thousand weights with dropout, shuffled rows, no downloads.

As a program, it finds out what `kill -9` at some moment of a training leaves behind. Libraries are imported once; every
training is a fork of that process. A training kills itself when Python is about to touch a file or begins a pass.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NUM_STEPS = 8
ROWS = [[(7 * row + 3 * place) % 50 + 1 for place in range(6)] for row in range(12)]
SETTINGS: dict[str, Any] = {
    "max_steps": NUM_STEPS,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "logging_steps": 3,
    "save_steps": 2,
    "seed": 5,
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
}


def build_toy(
    folder: Path,
    *,
    resume: bool = False,
    adapters: bool = False,
    run: Any = None,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """Return a trainer over a run folder; `trainer.run.close()` when done.

    Args:
        folder: The run folder.
        resume: Passed to `RunFolder.open`.
        adapters: Train LoRA adapters.
        run: The run folder if it is open already.
        options: Of the mixins.
        settings: Of `TrainingArguments`.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from reasrm.runs import RunFolder
    from reasrm.training.safety.checkpoints import SafeCheckpoints
    from reasrm.training.safety.guards import GuardedSteps

    class Toy(GuardedSteps, SafeCheckpoints, Trainer):
        def training_step(self, *arguments: Any) -> Any:
            sys.audit("toy.pass")
            return super().training_step(*arguments)

    config = {"settings": {name: str(value) for name, value in settings.items()}}
    run = run or RunFolder.open(folder, stage="toy", config=config, inputs={}, seed=0, resume=resume)
    torch.manual_seed(1)
    model: Any = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=64, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
        )
    )
    if adapters:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=2, lora_dropout=0.2, target_modules=["c_attn"], fan_in_fan_out=True)
        )
    trainer = Toy(
        model=model,
        args=TrainingArguments(**{"output_dir": str(run.checkpoints)} | SETTINGS | settings),
        train_dataset=[{"input_ids": torch.tensor(row), "labels": torch.tensor(row)} for row in ROWS],
        run=run,
        **options or {},
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def weights(trainer: Any) -> dict[str, Any]:
    """Copies of all weights."""
    return {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()}


def logged(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run, less what a clock measured."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    clocks = ("train_runtime", "train_samples_per_second", "train_steps_per_second")
    return [{k: v for k, v in json.loads(line).items() if k not in clocks} for line in lines]


def go_on(folder: Path) -> None:
    """Train to the end, from what the folder holds."""
    trainer = build_toy(folder, resume=True)
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model(str(folder / "final"))
    trainer.run.close()


def forked(work: Callable[[], None]) -> int:
    """Do something in a fork of this process, and return the signal it died of, or 0."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status and not os.WIFSIGNALED(status):
        raise SystemExit(f"a training failed with status {status}")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def watch(folder: Path, at_event: Callable[[int], None]) -> None:
    """Call back with a count whenever a pass begins, or a file of a run is about to be written, renamed or removed."""
    num_events = 0

    def hook(event: str, details: tuple[Any, ...]) -> None:
        nonlocal num_events
        if event == "toy.pass" or _touches(folder, event, details):
            num_events += 1
            at_event(num_events)

    sys.addaudithook(hook)


def _touches(folder: Path, event: str, details: tuple[Any, ...]) -> bool:
    writes = event == "open" and isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR)
    if not writes and event not in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"):
        return False
    # A removal of a folder names what is in it by the last part only.
    name = os.fsdecode(details[0]) if isinstance(details[0], str | bytes | Path) else ""
    return name.startswith(str(folder)) or "/" not in name


def count_events(folder: Path) -> int:
    """Train in peace, and return how many moments there are to be killed at."""
    report = folder.with_suffix(".count")

    def work() -> None:
        last = [0]
        watch(folder, lambda number: last.__setitem__(0, number))
        go_on(folder)
        report.write_text(str(last[0]))

    forked(work)
    return int(report.read_text())


def kill_at(folder: Path, number: int) -> int:
    """Train until the given moment, and return the signal that ended it."""

    def work() -> None:
        watch(folder, lambda n: os.kill(os.getpid(), signal.SIGKILL) if n == number else None)
        go_on(folder)

    return forked(work)


def main(root: Path, shares: Sequence[float]) -> None:
    """Print as JSON what every run that was killed ends as, next to one that was not.

    Args:
        root: Where the runs go.
        shares: When to kill, each 0 (the first file) to 1 (after the last), or none for every moment there is.
    """
    import peft  # noqa: F401 - whatever a training imports is imported here, once
    import torch

    import reasrm.training.safety.guards  # noqa: F401

    torch.set_num_threads(1)
    gc.freeze()  # every training collects garbage, and would copy each page of a fork to look at it
    num_events = count_events(root / "whole")
    moments = [1 + int(share * (num_events - 1)) for share in shares] or list(range(1, num_events + 1))
    ends = []
    for moment in moments:
        folder = root / f"killed-{moment}"
        died_of = kill_at(folder, moment)
        forked(lambda folder=folder: go_on(folder))
        ends.append({"moment": moment, "died_of": died_of, "folder": str(folder)})
    print(json.dumps({"num_events": num_events, "whole": str(root / "whole"), "ends": ends}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [float(share) for share in sys.argv[2:]])
