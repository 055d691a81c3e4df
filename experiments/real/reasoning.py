"""What reasoning is worth: answer only, bare marks, marks after quoted evidence, at equal processed tokens; then RL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.real.lab import STYLES, Lab, Stage, Style
from experiments.real.measures import Arm, share
from experiments.real.page import arms_table, differences_table, stages_table
from experiments.real.rows import SPLITS

__all__ = ["RL", "START", "arm", "page", "run", "run_rl"]

RL, START = "RL", "its start"
_SAYS: Mapping[Style, str] = {
    "answer": "the verdict alone",
    "marks": "each demand and whether A and B meet it, then the verdict",
    "evidence": "the same, with a quotation or count before each mark",
}
_PAIRS = (("evidence", "marks"), ("evidence", "answer"), ("marks", "answer"))


def arm(lab: Lab, seed: int, style: Style) -> Stage:
    """Return the model of an arm and a seed."""
    return lab.sft(f"sft-{style}-{seed}", lab.traces(seed, style), seed)


def run(lab: Lab, seeds: Sequence[int]) -> dict[str, Any]:
    """Train and judge the arms of the seeds, seed by seed; return rows by arm and what the stages took."""
    table: dict[str, Any] = {"arms": {style: [] for style in STYLES}, "stages": {}}
    for seed in seeds:
        for style in STYLES:
            stage = arm(lab, seed, style)
            rows, _ = lab.judged(f"{style}-{seed}", stage.model, lab.tests())
            table["arms"][style].append(rows)
            table["stages"][f"{style}, seed {seed}"] = stage.facts
    return table


def run_rl(lab: Lab, seeds: Sequence[int], start: Style | None = None) -> dict[str, Any]:
    """Go on by RL from the arm that is best on rows of its own; `start` names it instead."""
    tuned: dict[str, float] = {}
    for style in STYLES if start is None else ():
        judged = [
            lab.judged(f"tune-{style}-{n}", arm(lab, n, style).model, lab.tests("tune"))[0] for n in seeds
        ]
        tuned[style] = share(judged, "accuracy").value or 0.0
    best: Style = start if start is not None else max(STYLES, key=lambda style: tuned[style])
    table: dict[str, Any] = {"best": best, "tuned": tuned, "arms": {RL: [], START: []}, "stages": {}}
    for seed in seeds:
        before = arm(lab, seed, best)
        after = lab.rl(before, seed, f"rl-{best}-{seed}")
        for name, stage in ((START, before), (RL, after)):
            label = best if name == START else f"rl-{best}"
            table["arms"][name].append(lab.judged(f"{label}-{seed}", stage.model, lab.tests())[0])
        table["stages"][f"RL, seed {seed}"] = after.facts
    return table


def page(table: Mapping[str, Any] | None, rl: Mapping[str, Any] | None) -> list[str]:
    """Return what the page says between head and claims, of what has been run."""
    said = [
        _HEAD,
        "| arm | a trace holds |\n| --- | --- |",
        *(f"| {name} | {text} |" for name, text in _SAYS.items()),
        "",
    ]
    if table is not None:
        arms: Mapping[str, Arm] = table["arms"]
        said += [arms_table(arms, SPLITS), "### Paired differences in accuracy\n"]
        said += [differences_table(arms, _PAIRS, "accuracy", SPLITS), stages_table(table["stages"])]
    if rl is not None:
        said += ["## Then RL on the outcome\n", _chosen(rl), arms_table(rl["arms"], SPLITS)]
        said += [
            differences_table(rl["arms"], ((RL, START),), "accuracy", SPLITS),
            stages_table(rl["stages"]),
        ]
    return said


def _chosen(rl: Mapping[str, Any]) -> str:
    if not rl["tuned"]:
        return f"From the arm *{rl['best']}*, which was named by a flag.\n"
    each = ", ".join(f"{style} {100 * value:.1f}" for style, value in rl["tuned"].items())
    return f"From the arm *{rl['best']}*, the best on rows that are used for nothing else (accuracy in %: {each}).\n"


_HEAD = """Pairs of the English world, the same for all arms of a seed; a scripted teacher, careless in some traces,
of which those with the right verdict are kept. Every arm has the same learning rate and processes the same number of
prompt and completion tokens: the number of steps follows from the length of its rows, and at the usual size no row is
seen twice. *answer* so sees the most pairs, *evidence* the fewest.

A pilot with seed 0, on the same test rows, had 90,000 tokens an arm. There *evidence* had not begun to see (54.4 %,
hard 57.5 %), *marks* had learnt the shortcut (in-domain 76.2 %, hard 30.0 %), *answer* said A in every judgment. The
tokens were then set to what a trial on other rows had needed; the pilot's seed is in no claim.
"""
