"""The page of `rubrics.py`: arms, what was claimed before the run, what the rubrics are like, growth, votes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from scipy.stats import false_discovery_control

from experiments.claims import Claim, claims_section, decided, spread
from experiments.primary import RubricClaims
from experiments.rubric_rows import SPLITS
from reasrm.criteria.metrics import gap_closed, order_effect
from reasrm.files import replacing
from reasrm.metrics.intervals import Estimate

__all__ = ["ARMS", "difference", "write_rubric_page"]

ARMS: Mapping[str, str] = {
    "no rubric": "the judge alone",
    "explicit rules": "what the request says, as a rubric",
    "random principle": "the same and, where an audience is named, a principle drawn for the row",
    "prompt-only": "a writer taught by an author who saw requests alone",
    "contrast": "a writer taught by an author who saw pairs and which response won, in one call (OpenRubrics)",
    "contrast + consistency": "the same, of rubrics under which the judge is right in both orders",
    "contrast + gain": "the same, of those under which it is right and without which it is not",
    "profiles + consistency": "diagnosis of each response without the label, then synthesis (CDRRM), consistency",
    "pair-writer": "a writer that sees both responses, in a drawn order, taught like *contrast*",
    "pair-writer, swapped": "the same writer's rubrics when it sees the responses in the other order",
    "writer + trained judge": "rubrics of *contrast + consistency*; the judge, too, has learnt under that writer's",
    "gold": "the rules by which the rows were labelled",
}
_NAMES = {"iid": "in-domain", "ood": "held-out domain", "hard": "hard", "conflict": "conflict"}
_ABOUT = {
    "rows_with_rubric": "rows with one",
    "right_principle": "right principle",
    "precision": "precision",
    "recall": "recall",
    "leak_rate": "leaks",
    "redundant": "redundant",
    "misaligned": "misaligned",
    "indifferent": "indifferent",
    "saw_labels": "saw labels",
}
_LABEL = "**Mechanism only: scripted author.**"


def write_rubric_page(path: Path, table: Mapping[str, Any] | None, claims: RubricClaims) -> None:
    """Write the page.

    Args:
        path: Where.
        table: `code`, `date`, `rows` of each split, `pairs`, `numbers` of the seeds, and `seeds` (of each its `arms`,
            `growth`, `votes`); None before anything has run.
        claims: What was claimed before the run.
    """
    parts = [_HEAD, _arms_said()]
    if table is None:
        parts += ["## Results\n", "Not run yet: `make rubrics-page`.\n", _claims(claims, [], [])]
    else:
        seeds = table["seeds"]
        numbers = ", ".join(map(str, table["numbers"]))
        parts.append(
            f"## Results\n\n{_LABEL} Seeds {numbers}; {table['rows']:,} rows of each split, the same for all seeds; "
            f"{table['pairs']:,} synthesis pairs; code `{table['code']}`, {table['date']}.\n"
        )
        if missing := [arm for arm in ARMS if any(arm not in seed["arms"] for seed in seeds)]:
            parts.append(f"Not run: {', '.join(missing)}.\n")
        parts += [_accuracy(seeds), _gaps(seeds), _claims(claims, seeds, table["numbers"]), _about(seeds)]
        parts += [_order(seeds), _growth(seeds), _votes(seeds)]
    with replacing(path) as stream:
        stream.write("\n".join(part for part in parts if part).encode())


_HEAD = f"""# Rubrics by contrast, in the embedded world

Written by `make rubrics-page`. Do not edit: it is written anew.

{_LABEL} The author of rubrics is a script: it checks the rules of the world exactly, is
told which response won, and errs on purpose; the judge has 0.4 M weights. The tables show whether contrast, filters and
writers do what they are for, and are no evidence for the numbers of OpenRubrics (arXiv 2510.07743) or CDRRM (arXiv
2603.08035).

Judge and writers start from one base for each seed, which has read of the usual tastes: kids value a merry answer,
experts a plain one, guests a warm one. Test rows and synthesis pairs belong to a client whose audiences value other
things and who never says so; it shows in which response is preferred. *Conflict* rows are in-domain rows that the usual
taste decides wrongly or not at all. No test row shares a prompt with training rows of either world. Each row is judged
in both orders, greedily; an unreadable judgment is not right. Draws of synthesis, verification, writing and judging
are independent.
"""


def _arms_said() -> str:
    lines = ["## Arms\n", "| arm | rubrics |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {arm} | {said} |" for arm, said in ARMS.items()), ""])


def difference(seed: Mapping[str, Any], ours: str, theirs: str, split: str) -> float:
    """Return the accuracy under one arm less that under another, on the same rows."""
    a, b = (seed["arms"][arm]["cells"][split] for arm in (ours, theirs))
    if len(a) != len(b):
        raise ValueError("the arms were judged on different rows")
    return statistics.fmean(a) - statistics.fmean(b)


def _accuracy(seeds: Sequence[Mapping[str, Any]]) -> str:
    names = " | ".join(_NAMES[split] for split in SPLITS)
    lines = [f"| arm | rubrics kept | {names} | coverage |", "| --- |" + " --- |" * (len(SPLITS) + 2)]
    for arm in _present(seeds):
        results = [seed["arms"][arm] for seed in seeds]
        kept = [result["kept"] for result in results if result.get("kept") is not None]
        cells = [spread([statistics.fmean(r["cells"][split]) for r in results]) for split in SPLITS]
        coverage = 100 * statistics.fmean(result["coverage"] for result in results)
        shown = f"{statistics.fmean(kept):.0f}" if kept else "-"
        lines.append(f"| {arm} | {shown} | {' | '.join(cells)} | {coverage:.1f} |")
    return "\n".join(
        [
            *lines,
            "\nAccuracy in %, mean ± standard deviation over seeds. *Rubrics kept*: those that a writer was taught.\n",
        ]
    )


def _gaps(seeds: Sequence[Mapping[str, Any]]) -> str:
    if not {"no rubric", "gold"} <= set(_present(seeds)):
        return ""
    lines = ["### Gap closed\n", "| arm | " + " | ".join(_NAMES[split] for split in SPLITS) + " |"]
    lines.append("| --- |" + " --- |" * len(SPLITS))
    for arm in _present(seeds):
        if arm not in ("no rubric", "gold"):
            cells = [_gap(seeds, arm, split) for split in SPLITS]
            lines.append(f"| {arm} | {' | '.join(cells)} |")
    lines.append(
        "\n(arm − none) / (gold − none) [95 %], paired bootstrap over the rows of all seeds: it says how sure the rows "
        "make it, not how other seeds would come out. A dash where gold is not better than none.\n"
    )
    return "\n".join(lines)


def _gap(seeds: Sequence[Mapping[str, Any]], arm: str, split: str) -> str:
    columns = [
        list(chain.from_iterable(seed["arms"][name]["cells"][split] for seed in seeds))
        for name in ("no rubric", arm, "gold")
    ]
    return _shown(gap_closed(list(zip(*columns, strict=True)))["gap_closed"])


def _shown(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.ci_low is None or estimate.ci_high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.ci_low:.2f}, {estimate.ci_high:.2f}]"


def _claims(claims: RubricClaims, seeds: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> str:
    """Return what came of the claims; without seeds, that they wait."""
    named = [(claim, f"{claim.beats()}, {_NAMES[claim.split]}") for claim in claims.claims]
    seal = f"Hash of the claims: `{claims.seal}`."
    if list(numbers) != claims.seeds:
        told = "Written down in `experiments/primary_claims.yaml` before any seed ran:\n"
        wanted = ", ".join(map(str, claims.seeds))
        other = f"\n\nThey are for seeds {wanted}; the tables here decide none of them." if seeds else ""
        return claims_section("Claims", told, named, "", seal + other)
    told = (
        "Written down in `experiments/primary_claims.yaml` before these seeds ran. *q* is the p-value of the t-test "
        f"over seeds, adjusted by Benjamini and Hochberg over these claims; where a claim has a margin, the test is "
        f"non-inferiority. Confirmed: q ≤ {claims.level:g} and the mean on the claimed side.\n"
    )
    present = set(_present(seeds))
    found = [
        [difference(seed, c.ours, c.theirs, c.split) for seed in seeds]
        if {c.ours, c.theirs} <= present
        else None
        for c in claims.claims
    ]
    each = [None if one is None else (Claim(one), one) for one in found]
    rows = decided(named, each, claims.level, false_discovery_control, "q")
    return claims_section("Claims", told, named, rows, f"Points of accuracy, paired on the same rows. {seal}")


def _about(seeds: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## What the rubrics are like\n"]
    lines.append(f"| arm | criteria | {' | '.join(_ABOUT.values())} | tokens per verdict |")
    lines.append("| --- |" + " --- |" * (len(_ABOUT) + 2))
    for arm in _present(seeds):
        abouts = [seed["arms"][arm]["about"] for seed in seeds]
        if not all(abouts):
            continue
        shares = [_mean([about.get(name) for about in abouts], 100) for name in _ABOUT]
        ends = [_mean([about.get(name) for about in abouts]) for name in ("criteria", "tokens_per_verdict")]
        lines.append(f"| {arm} | {ends[0]} | {' | '.join(shares)} | {ends[1]} |")
    return "\n".join(
        [
            *lines,
            "\nRubrics of the test rows, means over seeds, shares in %; the numbers of `reasrm rubrics report`. *Right "
            "principle*: rows with an audience whose rubric has exactly the principle that counts. *Misaligned* and "
            "*indifferent*: criteria that prefer the worse response, or neither, by the world's exact marks. *Leaks* "
            "are looked for in the responses of the test rows. *Saw labels*: no rubric that is judged with may have.\n",
        ]
    )


def _order(seeds: Sequence[Mapping[str, Any]]) -> str:
    results = [seed["arms"].get("pair-writer") for seed in seeds]
    known = [result for result in results if result is not None and "orders" in result]
    if not known:
        return ""
    rows = [(ab, ba) for result in known for ab, ba in result["orders"]]
    found = order_effect(rows)
    stability = _mean([result["about"].get("stability") for result in known], 100)
    right = {name: f"{100 * (found[name].value or 0):.1f} %" for name in ("accuracy_ab", "accuracy_ba")}
    apart = found["ab_minus_ba"]
    low, high = (f"{100 * (bound or 0):+.1f}" for bound in (apart.ci_low, apart.ci_high))
    return (
        "## Does it matter what a pair-writer sees first?\n\n"
        f"The judge is right in {right['accuracy_ab']} under rubrics that were written with the better response first, "
        f"in {right['accuracy_ba']} with it second: a difference of {100 * (apart.value or 0):+.1f} [{low}, {high}] "
        "points (rows of all seeds and splits). "
        f"Of the criteria, {stability} % stay when the responses change places.\n"
    )


def _growth(seeds: Sequence[Mapping[str, Any]]) -> str:
    grown = [seed["growth"] for seed in seeds if seed.get("growth")]
    if not grown:
        return ""
    lines = [
        "## Growth\n",
        "| pairs | rubrics kept | " + " | ".join(_NAMES[s] for s in SPLITS) + " | right principle |",
    ]
    lines.append("| --- |" + " --- |" * (len(SPLITS) + 2))
    for count in sorted(set.intersection(*(set(one) for one in grown)), key=int):
        results = [one[count] for one in grown]
        cells = [spread([statistics.fmean(r["cells"][split]) for r in results]) for split in SPLITS]
        kept = statistics.fmean(result["kept"] for result in results)
        right = _mean([result["about"]["right_principle"] for result in results], 100)
        lines.append(f"| {int(count):,} | {kept:.0f} | {' | '.join(cells)} | {right} |")
    return "\n".join(
        [*lines, f"\nContrast + consistency; seeds: {len(grown)}. Every writer makes as many updates.\n"]
    )


def _votes(seeds: Sequence[Mapping[str, Any]]) -> str:
    voted = [seed["votes"] for seed in seeds if seed.get("votes")]
    if not voted:
        return ""
    lines = [
        "## Votes, at equal calls\n",
        "| calls a row | arm | " + " | ".join(_NAMES[s] for s in SPLITS) + " |",
    ]
    lines.append("| --- | --- |" + " --- |" * len(SPLITS))
    rows = {(int(calls), arm) for arm, one in voted[0].items() for calls in one["by_calls"]}
    for calls, arm in sorted(rows):
        cells = [one[arm]["by_calls"][str(calls)] for one in voted]
        shown = [spread([statistics.fmean(cell[split]) for cell in cells]) for split in SPLITS]
        lines.append(f"| {calls} | {arm} | {' | '.join(shown)} |")
    return "\n".join(
        [
            *lines,
            f"\nSeeds: {len(voted)}, T = 0.7. A written rubric is one call: 1 and 5 votes in each order make 3 and 11, "
            "and the judge without a rubric has as many. A majority decides, level votes count half; gold costs no "
            "call and is the bound.\n",
        ]
    )


def _present(seeds: Sequence[Mapping[str, Any]]) -> list[str]:
    return [arm for arm in ARMS if all(arm in seed["arms"] for seed in seeds)]


def _mean(values: Sequence[float | None], times: float = 1.0) -> str:
    known = [value for value in values if value is not None]
    return f"{times * statistics.fmean(known):.1f}" if known else "-"
