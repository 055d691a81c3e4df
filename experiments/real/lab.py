"""Stages of the experiments on a real model: each the command that a user types, done once, in a folder of its own.

A folder's name holds a hash of the command, of the stages before it (their folders stand in the command), of the
configs and of the code. A stage that was stopped goes on by the same call; one that is finished is not done again.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.arms import code_hash
from experiments.real import rows
from experiments.real.measures import Counts, read_counts
from experiments.real.steps import SPEC, UNREADABLE, Steps, sets, trained_in
from reasrm.demo.stages import write_pairs
from reasrm.hashing import digest
from reasrm.records import PreferencePair
from reasrm.world.english.config import EnglishSplit

__all__ = ["STYLES", "Lab", "Size", "Stage", "Style", "real_code"]

Style = Literal["answer", "marks", "evidence"]
STYLES: tuple[Style, ...] = ("answer", "marks", "evidence")
_ROOT = Path(__file__).parents[2]
_RL_FROM = 100_000
"""Number of the first training pair of RL, behind those of every seed's traces."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Args:
        tokens: Prompt and completion tokens that SFT processes, whatever a row holds.
        pairs: Pairs that a seed's teacher is shown.
        rows: Test rows of each split.
        tune_rows: Rows by which the best arm is found.
        rl_steps: Updates of RL, of 6 groups of 4 rollouts.
        rl_pairs: Its pairs.
        short: Most tokens of a benchmark's row, both responses included.
        subset_rows: Most rows of one subset of RewardBench.
        writer_steps: Updates of the writer of rubrics.
        train_pairs: Human preference pairs that are learnt from, once each.
        test_pairs: Those that are judged.
    """

    tokens: int = 200_000
    pairs: int = 1550
    rows: int = 40
    tune_rows: int = 32
    rl_steps: int = 10
    rl_pairs: int = 96
    short: int = 150
    subset_rows: int = 20
    writer_steps: int = 20
    train_pairs: int = 800
    test_pairs: int = 200


@dataclass(frozen=True, slots=True)
class Stage:
    """A finished stage of training.

    Args:
        run: Its run folder, where a next stage starts.
        model: Its checkpoint.
        facts: What it took: `steps`, `tokens` processed, `trained_tokens`, `seconds`, `peak_gib`.
    """

    run: Path
    model: Path
    facts: dict[str, Any]


@functools.cache
def real_code() -> str:
    """Return a hash of all code and configs that results may depend on."""
    configs = _ROOT / "configs"
    files = [Path(__file__), Path(rows.__file__), configs / "data" / "human-pairs.yaml"]
    files += sorted((configs / "smollm2").glob("*.yaml"))
    return digest([code_hash(), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)], 12)


class Lab:
    """Makes stages.

    Args:
        output: Where everything lies.
        model: What all begins with: a folder, or a name that `reasrm models fetch` knows.
        size: How much is done.
        data: The folder of the benchmarks' files.
        dtype: What is computed in, float32 or bfloat16 (`number_format`).
        code: Hash of the code that it begins or goes on with.
    """

    def __init__(
        self,
        output: Path,
        model: str,
        size: Size,
        data: Path,
        dtype: str = "float32",
        code: str | None = None,
    ) -> None:
        self.model, self.size, self.data, self.dtype = model, size, data, dtype
        self.code = code or real_code()
        self.root = output / self.code
        self.steps = Steps(self.root)

    def file(self, name: str, lines: Callable[[], Iterable[Any]], *shape: object) -> Path:
        """Return a file of rows that is made here, of pairs or of JSON lines; `shape` is all that it depends on."""
        path = self.root / f"{name}-{digest([str(part) for part in shape], 8)}.jsonl"
        if not path.exists():
            made = list(lines())
            if made and isinstance(made[0], PreferencePair):
                write_pairs(made, path)
            else:
                rows.write_lines(made, path)
        return path

    def step(
        self,
        name: str,
        *words: object,
        output: str = "--output",
        suffix: str = "",
        fine: Sequence[int] = (0,),
    ) -> tuple[Path, dict[str, Any]]:
        """Run a command; return its output and what is known of it (`Steps.do`).

        Args:
            name: Of the step.
            words: Of the command, without its output.
            output: The flag that names it, or the key of `--set`, which has no dashes.
            suffix: Of its name.
            fine: Exit codes with which it is done.
        """
        said = [str(word) for word in words]
        path = self.root / f"{name}-{digest(said, 8)}{suffix}"
        named = [output, str(path)] if output.startswith("--") else ["--set", f"{output}={path}"]
        return path, self.steps.do(path.name, *said, *named, fine=fine)

    def tests(self, which: Literal["test", "tune"] = "test") -> Path:
        """Return the rows that arms are judged on, each with its split as subset, or those that choose between them."""
        size = self.size
        splits: tuple[EnglishSplit, ...] = ("tune",) if which == "tune" else tuple(rows.SPLITS)
        count = size.tune_rows if which == "tune" else size.rows
        return self.file(
            which, lambda: (pair for split in splits for pair in rows.english(split, count)), count
        )

    def traces(self, seed: int, style: Style, rubric_share: float = 0.0) -> Path:
        """Return what the scripted teacher writes about a seed's pairs, which are the same for every style."""
        count = self.size.pairs
        pairs = self.file(
            "pairs",
            lambda: rows.english("train", count, seed * count, rubric_share),
            count,
            seed,
            rubric_share,
        )
        given = (f"input={pairs}", f"teacher.scripted.style={style}", f"seed={seed}")
        words = ("distill", "--config", "smollm2/distill", *sets(given))
        return self.step(f"traces-{style}-{seed}", *words, output="output")[0] / "sft.jsonl"

    def sft(
        self, name: str, data: Path, seed: int, *, steps: int | None = None, more: Sequence[str] = ()
    ) -> Stage:
        """Fine-tune the model on rows.

        Args:
            name: Of the stage.
            data: The rows; each is seen once if there are enough.
            seed: Of their order.
            steps: Updates; None is as many as process the size's tokens.
            more: Keys of the config.
        """
        given = (f"model.path={self.model}", f"data.train={data}", "data.limit=null", f"seed={seed}", *more)
        words = ("sft", "--config", "smollm2/sft", *sets(given))
        if steps is None:
            plan = self.steps.do(f"{name}-plan-{digest(words, 8)}", *words, "--dry-run")
            steps = max(1, round(self.size.tokens / plan["summary"]["batches"]["tokens_per_step"]))
        return self._train(name, *words, "--set", f"trainer.max_steps={steps}")

    def rl(self, start: Stage, seed: int, name: str) -> Stage:
        """Train a stage's model by the outcome alone, on pairs that no teacher was shown."""
        count = self.size.rl_pairs
        pairs = self.file(
            "rl-pairs", lambda: rows.english("train", count, _RL_FROM + seed * count), count, seed
        )
        given = (f"model.path={start.run}", f"data.train={pairs}", f"seed={seed}")
        steps = f"trainer.max_steps={self.size.rl_steps}"
        return self._train(name, "rlvr", "--config", "smollm2/rlvr", *sets((*given, steps)))

    def _train(self, name: str, *words: object) -> Stage:
        run, took = self.step(name, *words, *sets([trained_in(self.dtype)]), "--resume", output="--run-dir")
        said = took["summary"]
        last = Path(said["checkpoint"])
        for earlier in last.parent.glob("checkpoint-*"):  # 1.5 GB each, and nobody goes on from it
            if earlier.name != last.name:
                shutil.rmtree(earlier)
        facts = {
            "steps": said["steps"],
            "tokens": said["processed_tokens"],
            "trained_tokens": said.get("trained_tokens"),
            "seconds": took["seconds"],
            "peak_gib": took["peak_gib"],
        }
        return Stage(run, last, facts)

    def judged(
        self, name: str, judge: Path | str, tests: Path, *, spec: str = SPEC, rubrics: Path | None = None
    ) -> tuple[dict[str, Counts], Path]:
        """Judge rows in both orders; return what came of each, by id, and the file."""
        shown = () if rubrics is None else ("--rubrics", rubrics)
        words = ("judge", "--judge", judge, "--spec", spec, "--input", tests, *shown)
        how = ("--dtype", self.dtype, "--batch-size", "16")
        path, _ = self.step(f"judged-{name}", *words, *how, suffix=".jsonl", fine=(0, UNREADABLE))
        return read_counts(path), path
