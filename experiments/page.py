"""The page of `reproduce.py`: tables of arms, claims as paired differences by seed, a reading written by a person."""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from experiments.arms import MODES, SPLITS
from reasrm.files import replacing

__all__ = ["Claim", "difference", "write_page"]

_NAMES = {"iid": "in-domain", "ood": "held-out domain", "hard": "hard"}
CLAIMS = (
    ("Reasoning SFT beats answer-only SFT", "reasoning SFT", "answer-only SFT", "RM-R1 Table 3: yes"),
    ("RL after distillation beats distillation", "distil + RL", "reasoning SFT", "RM-R1 Table 3: yes"),
    (
        "RL after distillation beats cold-start RL",
        "distil + RL",
        "cold-start RL",
        "RM-R1 Table 2: 91.4 against 89.5",
    ),
    ("Cold-start RL beats its base", "cold-start RL", "base", "RM-R1 Table 2: 89.5 against 85.8"),
    (
        "A format reward helps cold-start RL",
        "cold-start RL + format",
        "cold-start RL",
        "RM-R1 Table 2, + rubrics: 90.1 against 89.5",
    ),
    (
        "RL beats SFT continued to the same budget",
        "distil + RL",
        "reasoning SFT, longer",
        "not in the paper; a caution about unlimited traces",
    ),
)
STRONG_CLAIMS = (
    (
        "RL raises accuracy beside a strong shortcut",
        "weak SFT + RL",
        "reasoning SFT, weak",
        "not in the paper; outcome reward could teach the shortcut",
    ),
)


class Claim:
    """One number per seed, and what they say together.

    Args:
        differences: Of each seed.
    """

    def __init__(self, differences: Sequence[float]) -> None:
        self.differences = list(differences)
        self.mean = statistics.fmean(differences)
        self.low = self.high = math.nan
        if len(differences) > 1:
            half = float(student.ppf(0.975, len(differences) - 1))
            half *= statistics.stdev(differences) / math.sqrt(len(differences))
            self.low, self.high = self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """Whether the interval lies above 0, below it, or around it."""
        if math.isnan(self.low):
            return "one seed says nothing"
        if self.low > 0:
            return "**holds**"
        return "**reversed**" if self.high < 0 else "undecided"


def difference(ours: dict[str, Any], theirs: dict[str, Any], cell: str) -> float:
    """Return the accuracy of one arm less that of another on the same rows, unreadable ones counting as not right."""
    a, b = ours["cells"][cell]["right"], theirs["cells"][cell]["right"]
    if len(a) != len(b):
        raise ValueError("the arms were judged on different rows")
    return (a.count("1") - b.count("1")) / len(a)


def write_page(path: Path, found: dict[str, list[dict[str, Any]]], rows: int, code: str) -> None:
    """Write the page; what a person wrote about the results stands in `reproduction_notes.md` beside this file."""
    notes = (Path(__file__).parent / "reproduction_notes.md").read_text()
    main, strong = found["main"], found["strong"]
    parts = [_head(len(main or strong), rows, code)]
    if main:
        parts += [
            "## What each stage adds\n",
            _table(main),
            _compute(main),
            "### Claims\n",
            _claims(main, CLAIMS),
        ]
    if strong:
        parts += ["## A strong shortcut\n", _STRONG, _table(strong), _claims(strong, STRONG_CLAIMS)]
    parts.append(notes)
    with replacing(path) as stream:
        stream.write("\n".join(parts).encode())


def _head(seeds: int, rows: int, code: str) -> str:
    return f"""# Reproduction in kind: RM-R1's ablation in the embedded world

Written by `make reproduce` on {dt.date.today().isoformat()}, code `{code}`. Do not edit: it is written anew.

**What this is.** The pipeline of RM-R1 (arXiv 2505.02387) on a world small enough for a CPU, with a judge of 0.4 M
weights: the same stages through the same code that trains a 32 B model. **What this is not.** The teacher is a
script that knows the rules of the world and errs on purpose; its traces show the mechanism and are no evidence
for the paper's numbers.

{seeds} seeds; each has a base model, traces, rollouts and orders of its own. Test rows are the same for all: {rows:,}
of each split, each judged once per mode in an order drawn by its id. An unreadable judgment is not right. *sampled* is
T = 1, *greedy* T = 0. ± is the standard deviation over seeds.
"""


_STRONG = """In this world the better response wears the polite opening in 80 % of training and in-domain rows, and in
15 % of hard rows. RL starts from a judge that saw few traces, so its sampled skill in-domain is below what the shortcut
alone would earn: outcome reward may teach the shortcut instead of the reasons.
"""


def _table(seeds: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| arm | mode | " + " | ".join(_NAMES[s] for s in SPLITS) + " | coverage | shortcut | inconsistency |"
    ]
    lines.append("| --- | --- |" + " --- |" * (len(SPLITS) + 3))
    for arm in seeds[0]:
        for mode in MODES:
            cells = [[seed[arm]["cells"][f"{mode} {split}"] for seed in seeds] for split in SPLITS]
            shown = [_spread([c["accuracy"] for c in column]) for column in cells]
            flat = [cell for column in cells for cell in column]
            others = [_mean([c[name] for c in flat]) for name in ("coverage", "shortcut", "inconsistency")]
            lines.append(f"| {arm} | {mode} | " + " | ".join([*shown, *others]) + " |")
    lines.append(
        "\nAccuracy in %. *coverage*: readable judgments; *shortcut*: readable verdicts for the response with the "
        "polite opening; *inconsistency*: right verdicts whose critique misses the true reasons (F1 < 0.5); all "
        "three in %, means over the three splits.\n"
    )
    return "\n".join(lines)


def _compute(seeds: Sequence[dict[str, Any]]) -> str:
    lines = [
        "### Compute\n",
        "| arm | trained tokens | sampled tokens | CPU seconds of the last stage |",
        "| --- | --- | --- | --- |",
    ]
    for arm in seeds[0]:
        numbers = [
            statistics.fmean(seed[arm][name] for seed in seeds)
            for name in ("trained_tokens", "sampled_tokens")
        ]
        seconds = statistics.fmean(seed[arm]["cpu_seconds"] for seed in seeds)
        lines.append(f"| {arm} | {numbers[0]:,.0f} | {numbers[1]:,.0f} | {seconds:.0f} |")
    lines.append(
        "\nMeans over seeds, earlier stages of an arm included in its tokens. *trained*: prompt and completion tokens "
        "that went through a backward pass (rollouts without advantage do not); *sampled*: tokens drawn in "
        "rollouts.\n"
    )
    return "\n".join(lines)


def _claims(seeds: Sequence[dict[str, Any]], claims: Sequence[tuple[str, str, str, str]]) -> str:
    lines = [
        "| claim | mode | split | difference [95 %] | per seed | | paper |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for text, ours, theirs, paper in claims:
        for mode in MODES:
            for split in SPLITS:
                claim = Claim([difference(seed[ours], seed[theirs], f"{mode} {split}") for seed in seeds])
                per_seed = " ".join(f"{100 * value:+.1f}" for value in claim.differences)
                interval = f"{100 * claim.mean:+.1f} [{100 * claim.low:+.1f}, {100 * claim.high:+.1f}]"
                lines.append(
                    f"| {text} | {mode} | {_NAMES[split]} | {interval} | {per_seed} | {claim.verdict} | {paper} |"
                )
    lines.append("\nPoints of accuracy; paired by seed on the same rows, t-interval over seeds.\n")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * statistics.fmean(known):.1f}" if known else "-"
