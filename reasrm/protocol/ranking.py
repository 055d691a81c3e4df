"""Reading a listwise answer: one JSON object with scores and a ranking (the output contract of RewardAnything).

Deviation: the paper's released code recovers broken JSON by brackets and accepts partial coverage, with a smaller
format reward; here anything but one complete, consistent object is a status. Only control characters inside strings,
such as the line breaks that judges write there, are taken as they are.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

from reasrm.protocol.denials import TAKEN_BACK, is_taken_back
from reasrm.protocol.grammar import RankingGrammar
from reasrm.protocol.prompts import candidate_names
from reasrm.records import Judgment, ParseStatus

__all__ = ["read_ranking"]

_MAX_OBJECTS = 200
_OPENING = re.compile(r'\{\s*"')  # an object with a key; the braces of code and LaTeX are none


def read_ranking(grammar: RankingGrammar, answer: str, base: Judgment, num_candidates: int) -> Judgment:
    """Read scores and ranking by position shown. JSON followed or preceded by prose is fine."""
    found = _json_objects(answer)
    found = [item for item in found if grammar.scores_key in item[0] or grammar.ranking_key in item[0]]
    objects = [item[0] for item in found]
    distinct = [o for n, o in enumerate(objects) if o not in objects[:n]]
    if not distinct:
        return replace(base, detail=f"no JSON object with {grammar.scores_key!r}")
    if len(distinct) > 1:
        return replace(base, status=ParseStatus.AMBIGUOUS, detail=f"{len(distinct)} different JSON verdicts")
    if all(is_taken_back(answer, start, end) for _, start, end in found):
        return replace(base, detail=TAKEN_BACK)
    names = candidate_names(num_candidates)
    try:
        scores = _scores(grammar, distinct[0].get(grammar.scores_key), names)
        ranking = _ranking(grammar, distinct[0].get(grammar.ranking_key), names)
        if any(scores[a] < scores[b] for a, b in pairwise(ranking)):
            raise ValueError("the ranking contradicts the scores")
    except ValueError as error:
        return replace(base, status=ParseStatus.OFF_MENU, detail=str(error))
    return replace(base, status=ParseStatus.OK, scores=scores, ranking=ranking)


def _scores(grammar: RankingGrammar, value: Any, names: tuple[str, ...]) -> tuple[float, ...]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"{grammar.scores_key!r} does not name exactly the {len(names)} candidates")
    for name, score in value.items():
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not grammar.minimum <= score <= grammar.maximum:
            raise ValueError(
                f"score {score!r} of {name} is not in {grammar.minimum:g} to {grammar.maximum:g}"
            )
    return tuple(float(value[name]) for name in names)


def _ranking(grammar: RankingGrammar, value: Any, names: tuple[str, ...]) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or any(not isinstance(v, str) for v in value)
        or sorted(value) != sorted(names)
    ):
        raise ValueError(f"{grammar.ranking_key!r} is not an ordering of the {len(names)} candidates")
    return tuple(names.index(name) for name in value)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _json_objects(text: str) -> list[tuple[dict[str, Any], int, int]]:
    """Return the outermost JSON objects in a text, in order, and where each stands."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant, strict=False)
    found: list[tuple[dict[str, Any], int, int]] = []
    opening, tries = _OPENING.search(text), 0
    while opening is not None and tries < _MAX_OBJECTS:
        tries += 1
        try:
            value, end = decoder.raw_decode(text, opening.start())
            found.append((value, opening.start(), end))
        except (ValueError, RecursionError):
            end = opening.start() + 1
        opening = _OPENING.search(text, end)
    return found
