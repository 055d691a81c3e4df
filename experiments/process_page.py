"""The second half of the page of `reproduce.py`: what a reward on the critique adds, arm by arm and claim by claim."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from experiments.arms import MODES, SPLITS
from experiments.claims import Claim, difference, spread

__all__ = ["measures", "process_section"]

_Seed = dict[str, Any]
_OUTCOME, _ALL, _QUARTER = "outcome only", "F1 on all rows", "F1 on 25 %"
_META, _FROZEN, _AP = "25 % + MetaRM", "25 % + MetaRM, frozen", "AP × outcome"
_HARD_ALL, _HARD_META = "published F1 on all rows", "published 25 % + MetaRM"
CLAIMS = (
    ("F1 on all rows beats outcome only", _ALL, _OUTCOME),
    ("F1 on 25 % beats outcome only", _QUARTER, _OUTCOME),
    ("The MetaRM at 25 % beats outcome only", _META, _OUTCOME),
    ("The MetaRM adds to F1 on 25 %", _META, _QUARTER),
    ("Online is at least as good as frozen", _META, _FROZEN),
    ("AP × outcome beats outcome only", _AP, _OUTCOME),
    ("As published: F1 on all rows beats outcome only", _HARD_ALL, _OUTCOME),
    ("As published: the MetaRM at 25 % beats outcome only", _HARD_META, _OUTCOME),
)
_HEAD = """## What a reward on the critique adds

RL from a judge that was distilled from a teacher careless in 70 % of its traces: half of the careless verdicts
follow the polite opening, and rejection by label keeps those that happen to be right, with wrong reasons. All arms
share the start, rows, updates and rollouts of their seed. *F1*: 0.5 times the F1 of the critique's core arguments,
for right verdicts; *25 %*: a quarter of the rows has a critique, elsewhere the outcome alone counts; *MetaRM*: it
stands in there (readout `likelihood`, target `process`, scale `calibrated`; online unless said otherwise); *as
published*: F1 cut at 0.5, a MetaRM on the last token that predicts 0, 1 or 1.5, and the published scale, which pays
it half. *AP × outcome* is RationaleRM's.
"""


def process_section(seeds: Sequence[_Seed]) -> list[str]:
    """Return the tables and claims of the arms, one dict of arms per seed."""
    return [_HEAD, _table(seeds), _claims(seeds), _recovered(seeds)]


def _table(seeds: Sequence[_Seed]) -> str:
    lines = [
        "| arm | mode | in-domain | held-out | hard | inconsistency | on hard | critique F1 | coverage | tokens |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm in seeds[0]:
        for mode in MODES:
            accuracy = [
                _over(seeds, arm, [f"{mode} {split}"], "accuracy") for split in ("iid", "ood", "hard")
            ]
            everywhere = [f"{mode} {split}" for split in SPLITS]
            shown = [spread(values) for values in accuracy]
            shown.append(spread(_over(seeds, arm, everywhere, "inconsistency")))
            shown.append(spread(_over(seeds, arm, [f"{mode} hard"], "inconsistency")))
            shown.append(spread(_over(seeds, arm, everywhere, "critique_f1")))
            shown.append(f"{100 * statistics.fmean(_over(seeds, arm, everywhere, 'coverage')):.1f}")
            shown.append(f"{statistics.fmean(_over(seeds, arm, everywhere, 'tokens')):.1f}")
            lines.append(f"| {arm} | {mode} | " + " | ".join(shown) + " |")
    lines.append(
        "\nAll in % but tokens, ± over seeds. *inconsistency*: right verdicts whose critique has an F1 below 0.5 / "
        "right verdicts; it, critique F1, coverage and tokens are means over the splits unless one is named.\n"
    )
    return "\n".join(lines)


def _over(seeds: Sequence[_Seed], arm: str, cells: Sequence[str], name: str) -> list[float]:
    """Return one number per seed, the mean over cells."""
    found = []
    for seed in seeds:
        known = [value for cell in cells if (value := seed[arm]["cells"][cell][name]) is not None]
        found.append(statistics.fmean(known))
    return found


def _claims(seeds: Sequence[_Seed]) -> str:
    lines = [
        "| claim | what | mode | difference [95 %] | per seed | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for text, ours, theirs in CLAIMS:
        for name, measure in measures().items():
            for mode in MODES:
                claim = Claim([measure(seed, ours, mode) - measure(seed, theirs, mode) for seed in seeds])
                lines.append(f"| {text} | {name} | {mode} | {claim.text} |")
    lines.append(
        "\nIn points, so that more is better throughout: accuracy, and consistency, which is 100 less inconsistency, "
        "mean over the three splits. Paired by seed on the same rows, t-interval over seeds.\n"
    )
    return "\n".join(lines)


def measures() -> dict[str, Callable[[_Seed, str, str], float]]:
    """Return what claims are about, each a function of a seed's arms, an arm and a mode; more is better."""

    def accuracy(split: str) -> Callable[[_Seed, str, str], float]:
        return lambda seed, arm, mode: difference(seed[arm], None, f"{mode} {split}")

    def consistency(seed: _Seed, arm: str, mode: str) -> float:
        return -statistics.fmean(_over([seed], arm, [f"{mode} {split}" for split in SPLITS], "inconsistency"))

    return {
        "in-domain accuracy": accuracy("iid"),
        "held-out accuracy": accuracy("ood"),
        "hard accuracy": accuracy("hard"),
        "consistency": consistency,
    }


def _recovered(seeds: Sequence[_Seed]) -> str:
    """What the MetaRM recovers, as its distance from half of what critiques on all rows add."""
    lines = [
        "### Does the MetaRM recover most of the difference?\n",
        "| what | mode | outcome → all rows | by 25 % alone | with the MetaRM | above half [95 %] | per seed | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, measure in measures().items():
        for mode in MODES:
            whole = [measure(s, _ALL, mode) - measure(s, _OUTCOME, mode) for s in seeds]
            gained = {
                arm: [measure(s, arm, mode) - measure(s, _OUTCOME, mode) for s in seeds]
                for arm in (_QUARTER, _META)
            }
            above = Claim([gain - full / 2 for gain, full in zip(gained[_META], whole, strict=True)])
            means = [statistics.fmean(values) for values in (whole, gained[_QUARTER], gained[_META])]
            shown = " | ".join(f"{100 * value:+.1f}" for value in means)
            lines.append(f"| {name} | {mode} | {shown} | {above.text} |")
    lines.append(
        "\n*above half* is the gain of the arm with the MetaRM less half of the gain of critiques on all rows: most "
        "of the difference is recovered where its interval lies above 0.\n"
    )
    return "\n".join(lines)
