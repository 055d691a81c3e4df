"""What real judges' repeated critiques come to: counts, F1 between repeats beside controls, inconsistency.

Texts of one item are repeats of one judge. Their F1 is how far one judge repeats its own reasons in its own words: no
agreement of people, and no measure of quality. It is read beside controls on the same texts: the critique of another
row (should be near 0), the same critique with each stance drawn by a coin, and the critique itself (1). The fatal rule
is off, so that neither text of a pair is the reference; both directions are averaged. An item's value is the mean over
its pairs of texts that both have arguments; intervals resample items, differences are paired by item.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from experiments.real_texts import Item, TextSet, Written
from reasrm.critiques import CritiqueScores, Similarity, favoured_side
from reasrm.critiques.scores import score_critiques
from reasrm.hashing import derive_seed
from reasrm.metrics.intervals import Estimate, bootstrap_mean, bootstrap_ratio, bootstrap_statistic
from reasrm.records import CoreArgument

__all__ = [
    "CONTROLS",
    "LEAST_F1",
    "Finding",
    "Measure",
    "Share",
    "agreement",
    "agreement_table",
    "counts",
    "inconsistent",
    "validity",
]

SEED = 0
LEAST_F1 = 0.5
CONTROLS = ("repeats", "another row", "coin stances", "itself")
Arguments = Sequence[CoreArgument]
Measure = tuple[Similarity, float]
"""A similarity and the least one of a match."""


class Finding(NamedTuple):
    """A right verdict whose critique is wrong.

    Args:
        item: Its row.
        text: The text with the right verdict.
        other: The text of the other order, if it is part of the finding.
        value: The F1, if one is.
    """

    item: Item
    text: Written
    other: Written | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """An inconsistency: its findings, and of how many right verdicts."""

    estimate: Estimate
    findings: tuple[Finding, ...]
    of: int


def counts(texts: TextSet) -> dict[str, Any]:
    """Return how many texts and arguments there are, and of what kind."""
    written = [text for item in texts.items for text in item.texts]
    arguments = [argument for text in written for argument in text.arguments]
    numbers = [len(text.arguments) for text in written]
    return {
        "items": len(texts.items),
        "texts": len(written),
        "empty": sum(not text.arguments for text in written),
        "mean": fmean(numbers),
        "median": median(numbers),
        "most": max(numbers),
        "for": fmean(argument.stance == "for" for argument in arguments),
        "fatal": fmean(argument.fatal for argument in arguments),
        "with_fatal": fmean(any(argument.fatal for argument in text.arguments) for text in written),
    }


def agreement(texts: TextSet, measure: Measure, control: str) -> dict[str, dict[str, float]]:
    """Return F1, soft recall and average precision of each item that has two texts with arguments.

    A set with one text an item has no repeats; its controls take every item with arguments.
    """
    items = [item for item in texts.items if len(_said(item)) > (len(item.texts) > 1)]
    if control == "repeats":
        items = [item for item in items if len(item.texts) > 1]
    partners = _partners(items)
    pairs = [(item.id, pair) for item in items for pair in _pairs(item, partners[item.id], control)]
    scores = score_critiques([pair for _, pair in pairs], measure[0], threshold=measure[1], fatal_rule=False)
    found: dict[str, list[CritiqueScores]] = {}
    for (name, _), score in zip(pairs, scores, strict=True):
        if score is not None:
            found.setdefault(name, []).append(score)
    return {
        name: {
            "f1": fmean(score.f1 for score in own),
            "soft_recall": fmean(score.soft_recall for score in own),
            "average_precision": fmean(score.average_precision for score in own),
        }
        for name, own in found.items()
    }


def _said(item: Item) -> list[Arguments]:
    return [text.arguments for text in item.texts if text.arguments]


def _partners(items: Sequence[Item]) -> dict[str, Item]:
    """Return for each item another one, drawn once: each is the partner of exactly one."""
    drawn = sorted(items, key=lambda item: derive_seed(SEED, "partner", item.id))
    return {item.id: other for item, other in zip(drawn, [*drawn[1:], *drawn[:1]], strict=True)}


def _pairs(item: Item, partner: Item, control: str) -> Iterator[tuple[Arguments, Arguments]]:
    own = _said(item)
    if control == "itself":
        yield from ((said, said) for said in own)
    elif control == "another row":
        yield from ((said, meant) for said in own for meant in _said(partner))
    elif len(own) == 1:
        yield _by_coin(own[0], item.id), own[0]
    else:
        for said, meant in permutations(own, 2):
            yield (_by_coin(said, item.id) if control == "coin stances" else said), meant


def _by_coin(arguments: Arguments, name: str) -> Arguments:
    coin = random.Random(derive_seed(SEED, "coin", name))
    return [replace(argument, stance=coin.choice(("for", "against"))) for argument in arguments]


def agreement_table(texts: TextSet, measure: Measure) -> dict[str, Estimate]:
    """Return the estimates of one set and similarity: scores of repeats, F1 of controls, repeats less another row."""
    by_control = {control: agreement(texts, measure, control) for control in CONTROLS}
    table = {
        f"{control} {name}": bootstrap_mean([values[name] for values in found.values()], SEED)
        for control, found in by_control.items()
        for name in (("f1", "soft_recall", "average_precision") if control == "repeats" else ("f1",))
    }
    repeats, others = by_control["repeats"], by_control["another row"]
    differences = [repeats[name]["f1"] - others[name]["f1"] for name in repeats if name in others]
    return table | {"difference": bootstrap_mean(differences, SEED)}


def validity(texts: TextSet) -> dict[str, Estimate]:
    """Return whether the arguments go with what else is known of a text: its verdict, the label, its score."""
    if any(text.score is not None for item in texts.items for text in item.texts):
        rows = np.array(
            [[(_balance(text), float(text.score or 0)) for text in item.texts] for item in texts.items]
        )
        return bootstrap_statistic(
            [rows], lambda strata: {"rank correlation with the score": _rank(strata)}, SEED
        )
    parts: dict[str, list[tuple[float, float]]] = {"own verdict": [], "label": [], "verdict is the label": []}
    for item in texts.items:
        told = [(text, side) for text in item.texts if (side := favoured_side(text.arguments))]
        clear = [(text, side) for text, side in told if text.verdict in ("A", "B")]
        parts["own verdict"].append(_part([side == text.verdict for text, side in clear]))
        known = [(text, side) for text, side in clear if item.target in ("A", "B")]
        parts["label"].append(_part([side == item.target for _, side in known]))
        parts["verdict is the label"].append(_part([text.verdict == item.target for text, _ in known]))
    return {name: bootstrap_ratio(part, SEED) for name, part in parts.items()}


def _part(hits: Sequence[bool]) -> tuple[float, float]:
    return float(sum(hits)), float(len(hits))


def _balance(text: Written) -> float:
    signs = [1 if argument.stance == "for" else -1 for argument in text.arguments]
    return fmean(signs) if signs else 0.0


def _rank(strata: Sequence[np.ndarray[Any, Any]]) -> float:
    flat = strata[0].reshape(-1, 2)
    if (flat == flat[0]).all(axis=0).any():
        return math.nan
    return float(spearmanr(flat[:, 0], flat[:, 1]).statistic)


def inconsistent(texts: TextSet, measure: Measure) -> dict[str, Share]:
    """Return the three inconsistencies of right verdicts.

    `own critique`: it speaks for the other response. `other order`: the critique of the other order does. `F1`: the
    two critiques agree by less than `LEAST_F1`. Each is a share of the right verdicts of which it can be told.
    """
    return {
        "own critique": _share(texts, _own_critique),
        "other order": _share(texts, _other_order),
        "F1": _share(texts, partial(_far_apart, measure=measure)),
    }


Looks = Callable[[Item, Written, Written | None], Finding | bool | None]


def _share(texts: TextSet, look: Looks) -> Share:
    parts, findings = [], []
    for item in texts.items:
        right = [text for text in item.texts if text.verdict is not None and text.verdict == item.target]
        told = [look(item, text, _counterpart(item, text)) for text in right]
        found = [result for result in told if isinstance(result, Finding)]
        parts.append((float(len(found)), float(sum(result is not None for result in told))))
        findings += found
    of = int(sum(count for _, count in parts))
    return Share(bootstrap_ratio(parts, SEED), tuple(findings), of)


def _counterpart(item: Item, text: Written) -> Written | None:
    return next((other for other in item.texts if other.order is not text.order), None)


def _own_critique(item: Item, text: Written, other: Written | None) -> Finding | bool | None:
    side = favoured_side(text.arguments)
    return None if side is None else side != item.target and Finding(item, text)


def _other_order(item: Item, text: Written, other: Written | None) -> Finding | bool | None:
    side = favoured_side(other.arguments) if other else None
    return None if side is None else side != item.target and Finding(item, text, other)


def _far_apart(
    item: Item, text: Written, other: Written | None, *, measure: Measure
) -> Finding | bool | None:
    if other is None or not text.arguments or not other.arguments:
        return None
    (score,) = score_critiques(
        [(text.arguments, other.arguments)], measure[0], threshold=measure[1], fatal_rule=False
    )
    return None if score is None else score.f1 < LEAST_F1 and Finding(item, text, other, score.f1)
