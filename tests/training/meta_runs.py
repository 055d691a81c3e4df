"""Runs of RLVR with a MetaRM in the loop: a small stage, and a program that does what no test process can.

The program trains in peace, is killed and goes on, and trains in two processes. Libraries are imported once; every
training is a fork of that process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.training.toy import forked, watch

STEPS, GROUP = 6, 4
RM_NLHF: dict[str, Any] = {
    "parts": {
        "outcome": {"kind": "outcome", "right": 1.0, "wrong": 0.0, "unparsed": 0.0},
        "format": {"kind": "critique_format", "max_lines": None},
        "critique": {"kind": "critique", "weight": 0.5},
    },
    "combine": {"kind": "critique_bonus", "format": "format"},
}
WITH_CRITIQUE = (0, 1, 3, 4, 6)
"""Of eight pairs."""
LORA = ("metarm.lora={r: 4}", "metarm.gradient_checkpointing=true")


def write_meta_stage(folder: Path, *, readout: str = "likelihood", **sections: Any) -> Path:
    """Write a MetaRM, eight pairs of which five have critiques, and a config of three generation batches.

    A batch is two prompts of four rollouts of the sandbox's judge, learned from twice.
    """
    from reasrm.sources.importing import pair_to_json
    from reasrm.world.pairs import World
    from tests.metarm.models import build_metarm
    from tests.training.stages import SANDBOX_MODEL, write_rlvr_stage

    if not (folder / "metarm").is_dir():
        build_metarm(SANDBOX_MODEL, readout=readout).save(folder / "metarm")
    pairs = [pair_to_json(pair) for pair in World().pairs("train", 8)]
    for number, pair in enumerate(pairs):
        if number not in WITH_CRITIQUE:
            del pair["critique"]
    (folder / "model").mkdir(exist_ok=True)  # the judge below is used, no other need be made
    metarm = {"path": str(folder / "metarm"), "learning_rate": 1e-3, "holdout": 0.3, "rows_per_step": 3}
    trainer = {
        "max_steps": STEPS,
        "save_steps": 2,
        "num_iterations": 2,
        "per_device_train_batch_size": 2 * GROUP,
        "num_generations": GROUP,
        "max_completion_length": 60,
        "temperature": 1.3,
        "learning_rate": 1e-4,
        "logging_steps": 1,
    }
    return write_rlvr_stage(
        folder,
        pairs=pairs,
        **{
            "model": {"path": str(SANDBOX_MODEL)},
            "rewards": RM_NLHF,
            "critique": {"extractor": "sandbox", "similarity": "exact", "fatal_rule": False},
            "watch": {"samples": 2 * GROUP, "samples_every": 1, "canary": None},
            **sections,
            "metarm": {**metarm, **sections.get("metarm", {})},
            "trainer": {**trainer, **sections.get("trainer", {})},
        },
    )


def train(config: Path, folder: Path, *overrides: str) -> None:
    """Train to the end, from what the folder holds."""
    from reasrm.training.rlvr import stage as rlvr
    from reasrm.training.rlvr.config import load_rlvr_stage

    rlvr.train(load_rlvr_stage(config, overrides), str(config), folder, resume=True)


def announce_updates() -> None:
    """Let the moment before every update of the MetaRM be one to be killed at."""
    from reasrm.metarm.learner import Learner

    update = Learner.update

    def announced(self: Learner, steps: Any) -> Any:
        sys.audit("toy.pass")
        return update(self, steps)

    Learner.update = announced  # type: ignore[method-assign]


def count_moments(config: Path, folder: Path, *overrides: str) -> int:
    """Train in peace, and return how many moments there are to be killed at."""
    report = folder.with_suffix(".count")

    def work() -> None:
        last = [0]
        watch(folder, lambda number: last.__setitem__(0, number))
        train(config, folder, *overrides)
        report.write_text(str(last[0]))

    forked(work)
    return int(report.read_text())


def kill_at(config: Path, folder: Path, moment: int, *overrides: str) -> int:
    """Train until the given moment, and return the signal that ended it."""

    def work() -> None:
        watch(folder, lambda number: os.kill(os.getpid(), signal.SIGKILL) if number == moment else None)
        train(config, folder, *overrides)

    return forked(work)


def together(work: Callable[[int], None], **names: str) -> None:
    """Do something in two forks that know of each other, as a launcher starts them, with more of its variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
                os.environ.update({name: str(value) for name, value in ranks.items()})
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), ACCELERATE_USE_CPU="true")
                os.environ.update(names)
                work(rank)
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise SystemExit("one of two processes failed")


def learn(config: Path, folder: Path, rank: int | None, *, lora: bool = False) -> None:
    """Two updates of a MetaRM: of the first step all rows are in one process; of the second, one; of the third none.

    Gradients are summed in many buckets. Two processes then make their weights unequal, and say who noticed.
    """
    import torch
    from torch import distributed

    from reasrm.errors import InternalError
    from reasrm.metarm import learner as module
    from reasrm.metarm.learner import Learner, Lesson, assert_equal_weights
    from reasrm.metarm.model import MetaRM
    from reasrm.training.safety.states import save_state
    from reasrm.training.stage.config import LoraSection
    from reasrm.training.stage.models import adapter_config
    from tests.metarm.models import encode

    if rank is not None:
        distributed.init_process_group("gloo")
    module.BUCKET = 1000  # several buckets, and weights that are greater than one
    metarm = MetaRM.open(config.parent / "metarm", lora=adapter_config(LoraSection(r=4) if lora else None))
    rows = [Lesson(row, 0.5 * (n % 4)) for n, row in enumerate(encode(metarm))]
    steps = {
        None: [rows[:5], rows[5:6], [], rows],
        0: [rows[:5], [], [], rows[:2]],
        1: [[], rows[5:6], [], rows[2:]],
    }[rank]
    learner = Learner(metarm, learning_rate=1e-3, batch_size=3)
    done = learner.update(steps)
    assert_equal_weights(metarm)
    name = ("lora-" if lora else "") + ("alone" if rank is None else f"rank-{rank}")
    save_state(folder, name, {"done": {n: getattr(done, n) for n in done.__slots__}, **learner.state()})
    if rank is not None:
        if rank == 1:
            with torch.no_grad():
                weight = list(metarm.trained().values())[-1]
                weight += 1e-6
        try:
            assert_equal_weights(metarm)
        except InternalError as error:
            (folder / f"noticed-{name}").write_text(str(error))
        distributed.destroy_process_group()


def disturbed(config: Path, folder: Path, shares: Sequence[float], *overrides: str) -> list[dict[str, Any]]:
    """Train in peace, killed, and in two processes; return what became of the kills."""
    moments = count_moments(config, folder / "whole", *overrides)
    killed = []
    for moment in sorted({1 + int(share * (moments - 1)) for share in shares}):
        run = folder / f"killed-{moment}"
        died_of = kill_at(config, run, moment, *overrides)
        forked(lambda run=run: train(config, run, *overrides))
        killed.append({"moment": moment, "died_of": died_of})
    half = f"trainer.per_device_train_batch_size={GROUP}"
    together(lambda rank: train(config, folder / "two", half, *overrides))
    return killed


def main(root: Path, shares: Sequence[float]) -> None:
    """Print as JSON what there is to compare.

    Args:
        root: Where the config lies, and the runs go; those with adapters to `lora`.
        shares: When to kill, each 0 (the first file) to 1 (after the last); with adapters only at the last of them.
    """
    import torch

    torch.set_num_threads(1)
    for module in ("reasrm.training.rlvr.stage", "tests.metarm.models", "tests.training.stages", "peft"):
        import_module(module)  # whatever a training imports is imported here, once
    announce_updates()
    gc.freeze()  # every training collects garbage, and would copy each page of a fork to look at it
    config = root / "stage.yaml"
    killed = disturbed(config, root, shares)
    (root / "lora").mkdir()
    killed += disturbed(config, root / "lora", shares[-1:], *LORA)
    for lora in (False, True):
        forked(lambda lora=lora: learn(config, root / "learned", None, lora=lora))
        together(lambda rank, lora=lora: learn(config, root / "learned", rank, lora=lora))
    print(json.dumps({"killed": killed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [float(share) for share in sys.argv[2:]])
