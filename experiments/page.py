"""The page of `reproduce.py`: tables of arms, claims as paired differences by seed, a reading written by a person."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.arms import MODES, SPLITS
from experiments.claims import Claim, difference, spread
from experiments.corrections import corrected
from experiments.primary import load_primary, primary_section
from experiments.process_page import process_section
from reasrm.files import replacing

__all__ = ["write_page"]

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


def write_page(
    path: Path,
    tables: Mapping[str, dict[str, Any]],
    numbers: Sequence[int] = (0, 1, 2, 3, 4),
    primary: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Write the page; what a person wrote about a table stands in `NAME_notes.md` beside this file.

    Args:
        path: The page.
        tables: By name: `code`, `date`, `rows`, and `seeds`, one dict of arms per seed.
        numbers: What the seeds are, in their order.
        primary: Tables of the same form for the seeds of the primary claims; none before they have run.
    """
    parts = [_HEAD]
    for name, table in tables.items():
        seeds = table["seeds"]
        parts.append(_SECTIONS[name](seeds))
        parts.append(
            f"{len(seeds)} seeds, {table['rows']:,} rows of each split, code `{table['code']}`, {table['date']}.\n"
        )
        notes = Path(__file__).parent / f"{name}_notes.md"
        if notes.exists():
            parts.append(notes.read_text())
    parts.append(primary_section(load_primary(), primary or {}))
    with replacing(path) as stream:
        stream.write(corrected("\n".join(parts), numbers).encode())


_HEAD = """# Reproduction in kind, in the embedded world

Written by `make reproduce`. Do not edit: it is written anew.

**What this is.** The pipelines of RM-R1 (arXiv 2505.02387), RM-NLHF (arXiv 2601.07349) and RationaleRM (arXiv
2602.04649) on a world small enough for a CPU, with a judge of 0.4 M weights: the same stages through the same code
that trains a 32 B model. **What this is not.** The teacher is a script that knows the rules of the world and errs on
purpose, and the critiques of reference are the world's own; the tables show mechanisms and are no evidence for the
papers' numbers.

Each seed has a base model, traces, rollouts and orders of its own. Test rows are the same for all; each is judged once
per mode in an order drawn by its id. An unreadable judgment is not right. *sampled* is T = 1, *greedy* T = 0. ± is the
standard deviation over seeds. Every table names the hash of the code that made it.
In tables dated before 2026-11-29, 108 of the 1,000 in-domain test rows share a prompt (with other responses) with
training rows; later ones are made of test rows drawn apart from all training prompts.
"""


def _main(seeds: Sequence[dict[str, Any]]) -> str:
    parts = [
        "## What each stage adds\n",
        _table(seeds),
        _compute(seeds),
        "### Claims\n",
        _claims(seeds, CLAIMS),
    ]
    return "\n".join(parts)


def _strong(seeds: Sequence[dict[str, Any]]) -> str:
    return "\n".join(["## A strong shortcut\n", _STRONG, _table(seeds), _claims(seeds, STRONG_CLAIMS)])


def _process(seeds: Sequence[dict[str, Any]]) -> str:
    return "\n".join([*process_section(seeds), _compute(seeds)])


_STRONG = """In this world the better response wears the polite opening in 80 % of training and in-domain rows, and in
15 % of hard rows. RL starts from a judge that saw few traces, so its sampled skill in-domain is below what the shortcut
alone would earn: outcome reward may teach the shortcut instead of the reasons.
"""


_SECTIONS: dict[str, Callable[[Sequence[dict[str, Any]]], str]] = {
    "main": _main,
    "strong": _strong,
    "process": _process,
}


def _table(seeds: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| arm | mode | " + " | ".join(_NAMES[s] for s in SPLITS) + " | coverage | shortcut | inconsistency |"
    ]
    lines.append("| --- | --- |" + " --- |" * (len(SPLITS) + 3))
    for arm in seeds[0]:
        for mode in MODES:
            cells = [[seed[arm]["cells"][f"{mode} {split}"] for seed in seeds] for split in SPLITS]
            shown = [spread([c["accuracy"] for c in column]) for column in cells]
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
                lines.append(f"| {text} | {mode} | {_NAMES[split]} | {claim.text} | {paper} |")
    lines.append("\nPoints of accuracy; paired by seed on the same rows, t-interval over seeds.\n")
    return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * statistics.fmean(known):.1f}" if known else "-"
