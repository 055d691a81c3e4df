"""Every path that has never run on a GPU, in one command of at most ten minutes: one JSON object, exit 1 on a failure.

    python -m benchmarks.gpu [--shape 0.5b] [--budget 570] [--only sft rlvr-lora ...] [--work DIR]

Steps, each the real command in a process of its own: SFT in bfloat16 · RLVR of all weights · RLVR with LoRA · RLVR by
FSDP2 on one device · a MetaRM's cold start · RLVR with that MetaRM in the loop · export of the adapter run · judging
with what was exported. Before each stage that trains, `--dry-run` says what memory it estimates; the JSON has it beside
the measured peak. A step that fails is reported with the end of its stderr, and the others go on; what the budget no
longer allows is reported as not run, which is a failure, too.

No network: models are made on the spot. The shapes are Qwen2.5's with random weights and the embedded judge's
tokenizer, so their rollouts run to the limit and are rewarded by length; the MetaRM's policy is the embedded judge,
whose judgments can be read. Needs what `pip install reasrm` brings (beside torch, transformers, accelerate and peft no
wheel above 60 MB); no vLLM, no DeepSpeed. On a CPU the default shape is `tiny`,
which shows that the program works; accelerate wraps nothing in FSDP there, so `wrapped` is false.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LEARNING = {"sft": 4, "rlvr": 2, "metarm": 4}
"""Steps of each stage."""


class Bench:
    """Steps over one folder, with one budget of seconds.

    Args:
        folder: Where models, rows, configs and runs lie.
        shape: Of the random model.
        budget_s: Seconds for all steps together.
        on_gpu: Whether there is a GPU; without one batches and rollouts are small.
    """

    def __init__(self, folder: Path, shape: str, budget_s: float, on_gpu: bool) -> None:
        self.folder, self.shape, self.on_gpu = folder, shape, on_gpu
        self.ends = time.monotonic() + budget_s
        self.batch = 8 if on_gpu else 4
        self.tokens = 256 if on_gpu else 8
        self.environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # On a CPU freed memory leaves the process, so that its peak is what was in use.
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "65536",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }

    def call(self, command: Sequence[str | Path], name: str, fine: Sequence[int] = (0,)) -> dict[str, Any]:
        """Run a command; return its summary, the last line of its stdout.

        Args:
            command: Its words.
            name: Of the file that keeps its stderr.
            fine: Exit codes that are no failure.

        Raises:
            RuntimeError: It failed, or the budget is spent.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise RuntimeError("not run: the budget is spent")
        words = [str(word) for word in command]
        with (self.folder / f"{name}.stderr").open("w+b") as stderr:
            try:
                done = subprocess.run(
                    words,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    timeout=left,
                    env=self.environment,
                    cwd=self.folder,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise RuntimeError(f"stopped after {left:.0f} s: the budget is spent") from error
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")
        lines = done.stdout.decode(errors="replace").splitlines()
        if done.returncode not in fine:
            raise RuntimeError(f"exit {done.returncode}: {lines[-1] if lines else ''} {said[-2000:]}")
        summary: dict[str, Any] = json.loads(lines[-1])
        return summary

    def train(
        self, name: str, verb: str, stage: Mapping[str, Any], launch: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Plan a stage, run it, and return what was estimated and measured."""
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump({"stage": verb, "seed": 0, **stage}))
        planned = self.call(
            [sys.executable, "-m", "reasrm", verb, "--config", config, "--dry-run"], f"{name}-plan"
        )
        peak = self.folder / f"{name}-peak.json"
        program: list[str | Path] = [sys.executable]
        if launch is not None:
            launcher = self.folder / f"{name}-launch.yaml"
            launcher.write_text(yaml.safe_dump(dict(launch)))
            program += ["-m", "accelerate.commands.launch", "--config_file", launcher]
        program += [ROOT / "benchmarks" / "measured.py", peak, verb, "--config", config]
        summary = self.call([*program, "--run-dir", self.folder / name], name)
        measured = json.loads(peak.read_text())
        measured["gradient"] = self._gradient(name)
        estimate = (planned.get("memory_gib") or {}).get("total")
        kept = {
            key: summary[key] for key in ("steps", "loss", "reward", "generated_tokens") if key in summary
        }
        ratio = round(measured["peak_gib"] / estimate, 3) if estimate else None
        return {**measured, "estimated_gib": estimate, "measured_over_estimated": ratio, **kept}

    def _gradient(self, name: str) -> float:
        """Return the longest gradient of a run.

        Raises:
            RuntimeError: All were 0: nothing was learned, so the backward pass is not what ran.
        """
        lines = (self.folder / name / "metrics.jsonl").read_text().splitlines()
        norms = [norm for line in lines if (norm := json.loads(line).get("grad_norm")) is not None]
        if not norms or not max(norms) > 0:
            raise RuntimeError("no step had a gradient")
        return float(max(norms))

    def trainer(self, **more: Any) -> dict[str, Any]:
        """Return what every stage's trainer is told."""
        return {
            "use_cpu": not self.on_gpu,
            "bf16": True,
            "dataloader_pin_memory": False,
            "logging_steps": 1,
            **more,
        }

    def sft(self) -> dict[str, Any]:
        """All weights in bfloat16 autocast, from a full-precision copy."""
        stage = {
            "model": {"path": str(self.folder / "random")},
            "spec": "sandbox",
            "data": {"train": str(self.folder / "traces.jsonl"), "max_tokens": 1024},
            "trainer": self.trainer(max_steps=LEARNING["sft"], per_device_train_batch_size=self.batch),
        }
        return self.train("sft", "sft", stage)

    def rlvr(self, name: str, **sections: Any) -> dict[str, Any]:
        """Some updates of the random model, rewarded by length, so that a group has a spread."""
        launch = sections.pop("launch", None)
        parts = {"length": {"kind": "length", "soft_limit": 0}, "words": {"kind": "repetition"}}
        trainer = self.trainer(
            max_steps=LEARNING["rlvr"],
            num_generations=4,
            per_device_train_batch_size=self.batch,
            max_completion_length=self.tokens,
            gradient_checkpointing=True,
        )
        stage = {
            "model": {"path": str(self.folder / "random"), "dtype": "bfloat16"},
            "spec": "sandbox",
            "data": {"train": str(self.folder / "pairs.jsonl")},
            "rewards": {"parts": parts},
            "watch": {"canary": None, "alarms": []},
            "trainer": trainer,
            **sections,
        }
        return self.train(name, "rlvr", stage, launch)

    def fsdp2(self) -> dict[str, Any]:
        """FSDP2 on one device: the wrapper, its state dicts and its checkpoints, without a second process."""
        config = yaml.safe_load((ROOT / "configs/accelerate/8gpu-fsdp2.yaml").read_text())
        config |= {"num_processes": 1, "use_cpu": not self.on_gpu}
        found = self.rlvr("rlvr-fsdp2", launch=config)
        (seal,) = (self.folder / "rlvr-fsdp2").glob("checkpoints/*/checkpoint.json")
        wrapped = json.loads(seal.read_text())["format"] == "fsdp"
        if self.on_gpu and not wrapped:
            raise RuntimeError("the run was not wrapped by FSDP")
        return {**found, "wrapped": wrapped}

    def metarm(self) -> dict[str, Any]:
        """The cold start of a MetaRM of the random shape, on judgments of the embedded judge."""
        pairs, judged = self.folder / "pairs.jsonl", self.folder / "judged-pairs.jsonl"
        flags: list[str | Path] = ["--judge", self.folder / "policy", "--spec", "sandbox"]
        flags += ["--input", pairs, "--output", judged, "--orders", "random", "--votes", "2"]
        flags += ["--temperature", "1", "--batch-size", "16"]
        self._plain("judge", [*flags, *([] if self.on_gpu else ["--device", "cpu"])], "pairs")
        stage = {
            "model": {"path": str(self.folder / "random")},
            "spec": "sandbox",
            "data": {"train": str(pairs), "judgments": str(judged), "holdout": 0.1},
            "metarm": {"max_tokens": 512},
            **_CRITIQUES,
            "trainer": self.trainer(max_steps=LEARNING["metarm"], per_device_train_batch_size=self.batch),
        }
        return self.train("metarm", "metarm", stage)

    def rlvr_metarm(self) -> dict[str, Any]:
        """RLVR of the embedded judge with the MetaRM in the loop, whose adapters learn along."""
        return self.rlvr(
            "rlvr-metarm",
            model={"path": str(self.folder / "policy")},
            trainer=self.trainer(
                max_steps=LEARNING["rlvr"],
                num_generations=4,
                per_device_train_batch_size=2 * self.batch,
                max_completion_length=80,
            ),
            metarm={
                "path": str(self.folder / "metarm"),
                "mode": "online",
                "batch_size": self.batch,
                "lora": {"r": 8},
                "gradient_checkpointing": True,
            },
            **_CRITIQUES,
        )

    def export(self) -> dict[str, Any]:
        """Export the adapter run: merged, reloaded and compared."""
        return self._plain(
            "export", ["--run", self.folder / "rlvr-lora", "--output", self.folder / "judge"], "run"
        )

    def judge(self) -> dict[str, Any]:
        """Judge with what was exported, and with the embedded judge, whose verdicts can be read.

        Random weights say nothing readable, which ends with 3; that every row was judged is what counts.
        """
        found = {}
        for name, judge, fine in (("random", self.folder / "judge", (0, 3)), ("embedded", "sandbox", (0,))):
            flags = ["--judge", judge, "--input", self.folder / "few.jsonl", "--max-tokens", "64"]
            flags += ["--output", self.folder / f"judged-{name}.jsonl"]
            flags += [] if self.on_gpu else ["--device", "cpu"]
            found[name] = self._plain("judge", flags, name, fine)
            if found[name]["errors"]:
                raise RuntimeError(f"{found[name]['errors']} rows failed with the {name} judge")
        return found

    def _plain(
        self, verb: str, flags: Sequence[str | Path], name: str, fine: Sequence[int] = (0,)
    ) -> dict[str, Any]:
        peak = self.folder / f"{verb}-{name}-peak.json"
        program = [sys.executable, ROOT / "benchmarks" / "measured.py", peak, verb, *flags]
        summary = self.call(program, f"{verb}-{name}", fine)
        kept = {key: summary[key] for key in ("rows", "errors", "coverage", "accuracy") if key in summary}
        measured: dict[str, Any] = json.loads(peak.read_text())
        return {**measured, **kept}

    def steps(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """Return the steps by name, in their order."""
        return {
            "sft": self.sft,
            "rlvr-full": lambda: self.rlvr("rlvr-full"),
            "rlvr-lora": lambda: self.rlvr("rlvr-lora", lora={"r": 16}),
            "rlvr-fsdp2": self.fsdp2,
            "metarm": self.metarm,
            "rlvr-metarm": self.rlvr_metarm,
            "export": self.export,
            "judge": self.judge,
        }


_CRITIQUES: dict[str, Any] = {
    "rewards": {
        "parts": {
            "outcome": {"kind": "outcome", "right": 1.0, "wrong": 0.0, "unparsed": 0.0},
            "format": {"kind": "critique_format"},
            "critique": {"kind": "critique", "score": "f1", "least": None, "weight": 0.5},
        },
        "combine": {"kind": "critique_bonus", "format": "format"},
    },
    "critique": {"extractor": "sandbox", "similarity": "exact", "fatal_rule": False},
}
NEEDS = {
    "export": "rlvr-lora",
    "judge": "export",
    "rlvr-metarm": "metarm",
}


def prepare(bench: Bench) -> None:
    """Write the random model, a copy of the embedded judge's model, and rows."""
    import shutil

    import torch

    import reasrm
    from benchmarks.rlvr_step import build_model
    from reasrm.cli.sandbox import load_demo_config
    from reasrm.demo.stages import make_traces, write_pairs
    from reasrm.protocol.spec import load_spec
    from reasrm.world.pairs import World

    dtype = torch.bfloat16 if bench.on_gpu else torch.float32
    build_model(bench.shape, bench.folder / "random", dtype, ends_in=max(2, bench.tokens // 4))
    shutil.copytree(Path(reasrm.__file__).parent / "sandbox_judge" / "model", bench.folder / "policy")
    world = World()
    pairs = write_pairs(world.pairs("train", 64), bench.folder / "pairs.jsonl")
    write_pairs(world.pairs("iid", 8), bench.folder / "few.jsonl")
    config = load_demo_config(None, 0).model_copy(update={"traces": 48})
    kept = make_traces(config, load_spec("sandbox"), pairs, bench.folder / "traces.jsonl")
    assert kept.kept >= 16, kept


def run(bench: Bench, only: Sequence[str]) -> dict[str, Any]:
    """Run steps; return their findings, failures among them."""
    prepare(bench)
    steps, found = bench.steps(), {}
    for name in _with_needs(only, steps):
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            if (needed := NEEDS.get(name)) and not found[needed]["ok"]:
                raise RuntimeError(f"not run: it needs {needed}, which failed")
            found[name] = {"ok": True, **steps[name]()}
        except Exception as error:  # one step's failure is a finding, not the end
            found[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        found[name]["wall_s"] = round(time.monotonic() - began, 1)
        print(f"{name}: {'ok' if found[name]['ok'] else 'FAILED'}", file=sys.stderr, flush=True)
    return found


def _with_needs(only: Sequence[str], steps: Mapping[str, Any]) -> list[str]:
    wanted = set(only or steps)
    for name in reversed(steps):
        if name in wanted and name in NEEDS:
            wanted.add(NEEDS[name])
    return [name for name in steps if name in wanted]


def machine() -> dict[str, Any]:
    """Return where this ran."""
    import accelerate
    import peft
    import torch
    import transformers
    import trl

    versions = {
        module.__name__: module.__version__ for module in (torch, transformers, accelerate, peft, trl)
    }
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else f"cpu ({os.cpu_count()})"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if on_gpu else None
    return {
        "device": device,
        "gpu_gib": memory and round(memory, 1),
        "python": platform.python_version(),
    } | versions


def main() -> int:
    """Run the steps, print the JSON, and say whether all went well."""
    import torch

    from benchmarks.rlvr_step import SHAPES

    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="0.5b" if on_gpu else "tiny")
    parser.add_argument("--budget", type=float, default=570, help="seconds for all steps together")
    parser.add_argument("--only", nargs="+", default=[], choices=[*Bench(Path(), "", 0, on_gpu).steps()])
    parser.add_argument("--work", type=Path, help="keep the working files in this new folder")
    parser.add_argument("--output", type=Path, help="write the JSON there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if arguments.work is None else arguments.work.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        found = run(Bench(folder, arguments.shape, arguments.budget, on_gpu), arguments.only)
    ok = all(step["ok"] for step in found.values())
    text = json.dumps({"ok": ok, "shape": arguments.shape, "machine": machine(), "steps": found})
    if arguments.output:
        arguments.output.write_text(text + "\n")
    print(text)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
