"""From the judgments of one row to the row's result: votes, orders, statuses, as `docs/judging.md` fixes them.

A row is `ok` if one side has more readable votes than any other, `split` if the most voted sides are level, and
otherwise takes the commonest failure of its judgments. Unreadable judgments never vote.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean
from typing import Any, TypeVar

from reasrm.judged import JudgedRow, Label
from reasrm.protocol.escaping import find_structural, holds_control
from reasrm.records import (
    CandidateSet,
    Comparison,
    Judgment,
    Order,
    PreferencePair,
    Row,
    RowStatus,
    Winner,
)

__all__ = ["RowResult", "aggregate", "flagged_fields", "label_of", "rule_status"]

VoteT = TypeVar("VoteT")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What judging one row came to. Verdict, scores and ranking speak of the row's own responses.

    Args:
        status: How it ended; `verdict`, `score` and `ranking` are None unless it is `OK`.
        verdict: The side with most readable votes.
        score: Mean readable score (pointwise, one response).
        scores: Mean readable scores by response (pointwise or listwise, several responses; of a pair only where
            they are probabilities, and then `confidence` is the winner's).
        ranking: Responses best first, by mean rank over readable judgments.
        confidence: Share of readable votes for the verdict.
        consistent: Whether both orders came to the same verdict; None unless both are readable.
        correct: Whether the verdict (or top rank, or score) is the label; None without a label or verdict.
        judgments: Every judgment, mapped to the row's own order.
        flagged: Fields whose text imitates control tokens or the protocol's own markers and verdicts.
    """

    row: Row
    status: RowStatus
    verdict: Winner | None = None
    score: float | None = None
    scores: tuple[float | None, ...] | None = None
    ranking: tuple[int, ...] | None = None
    confidence: float | None = None
    consistent: bool | None = None
    correct: bool | None = None
    judgments: tuple[Judgment, ...] = ()
    flagged: tuple[str, ...] = ()

    def judged(self, *, judge: Mapping[str, Any], seed: int) -> JudgedRow:
        """Return the row as `reasrm judge` writes it."""
        shared = {name: getattr(self.row, name) for name in ("id", "subset", "group", "language", "meta")}
        own = {key.name: getattr(self, key.name) for key in fields(self) if key.name != "row"}
        return JudgedRow(**shared, **own, label=label_of(self.row), judge=judge, seed=seed)

    def to_json(self, *, judge: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return the output line of `reasrm judge`. The same judgments give the same bytes."""
        return self.judged(judge=judge, seed=seed).to_json()


def label_of(row: Row) -> Label | None:
    """Return the gold label in the row's own terms."""
    if isinstance(row, PreferencePair):
        return "A"
    if isinstance(row, Comparison):
        return None if row.target is None else row.target.winner
    if isinstance(row, CandidateSet):
        return row.label
    return None


def flagged_fields(row: Row, structural: Sequence[str]) -> tuple[str, ...]:
    """Return the fields whose text imitates control tokens or the strings that mean something in the protocol.

    Such a row is judged like any other, its text being unable to act; the flag says that somebody may have tried.
    """
    texts = {"prompt": "\n".join(message.content for message in row.prompt)}
    if isinstance(row, Comparison):
        texts |= {"response_a": row.response_a, "response_b": row.response_b}
    elif isinstance(row, PreferencePair):
        texts |= {"chosen": row.chosen, "rejected": row.rejected}
    elif isinstance(row, CandidateSet):
        texts |= {f"responses[{n}]": text for n, text in enumerate(row.responses)}
    if row.rubric is not None:  # perhaps by a model that read hostile answers
        texts["rubric"] = row.rubric.render()
    return tuple(
        name for name, text in texts.items() if holds_control(text) or find_structural(text, structural)
    )


def rule_status(row: Row) -> RowStatus | None:
    """Return `DEGENERATE` (a response of a pair is empty), `IDENTICAL` (all responses are equal), or None.

    A list is settled only if there is nothing to choose: all responses equal, or all empty.
    """
    if isinstance(row, Comparison):
        texts: tuple[str, str] = (row.response_a, row.response_b)
    elif isinstance(row, PreferencePair):
        texts = (row.chosen, row.rejected)
    elif isinstance(row, CandidateSet):
        if not any(map(str.strip, row.responses)):
            return RowStatus.DEGENERATE
        return RowStatus.IDENTICAL if len(row.responses) > 1 == len(set(row.responses)) else None
    else:
        return None
    if not all(map(str.strip, texts)):
        return RowStatus.DEGENERATE
    return RowStatus.IDENTICAL if texts[0] == texts[1] else None


def aggregate(row: Row, judgments: Sequence[Judgment]) -> RowResult:
    """Combine the judgments of one row, already mapped to its own order."""
    judgments = tuple(sorted(judgments, key=lambda j: (j.order, j.vote, j.response)))
    readable = [j for j in judgments if j.status == "ok"]
    if not readable:
        return RowResult(row=row, status=_commonest_failure(judgments), judgments=judgments)
    if any(j.ranking is not None for j in readable):
        return _aggregate_lists(row, judgments, readable)
    if any(j.score is not None for j in readable):
        return _aggregate_scores(row, judgments, readable)
    return _aggregate_votes(row, judgments, readable)


def _commonest_failure(judgments: Iterable[Judgment]) -> RowStatus:
    counts = Counter(judgment.status.value for judgment in judgments)
    return RowStatus(counts.most_common(1)[0][0])


def _aggregate_votes(row: Row, judgments: tuple[Judgment, ...], readable: list[Judgment]) -> RowResult:
    winner = _majority(_votes(readable))
    by_order = [_majority(_votes(group)) for group in _by_order(readable)]
    consistent = by_order[0] is not None and by_order[0] == by_order[1] if len(by_order) == 2 else None
    shares = _shares(readable)
    if winner is None:
        return RowResult(
            row=row, status=RowStatus.SPLIT, consistent=False, scores=shares, judgments=judgments
        )
    votes = fmean(j.verdict is not None and j.verdict.winner == winner for j in readable)
    label = label_of(row)
    return RowResult(
        row=row,
        status=RowStatus.OK,
        verdict=winner,
        confidence=votes if shares is None or winner == "tie" else shares["AB".index(winner)],
        scores=shares,
        consistent=consistent,
        correct=None if label is None else winner == label,
        judgments=judgments,
    )


def _shares(readable: Sequence[Judgment]) -> tuple[float, ...] | None:
    """Return the mean probability of each response where all judgments gave one: two numbers whose sum is one."""
    given = [j.scores for j in readable if j.scores is not None and len(j.scores) == 2]
    if len(given) < len(readable) or not all(
        min(pair) >= 0 and math.isclose(sum(pair), 1.0, abs_tol=1e-9) for pair in given
    ):
        return None
    return tuple(fmean(pair[n] for pair in given) for n in range(2))


def _votes(judgments: Iterable[Judgment]) -> Counter[Winner]:
    return Counter(j.verdict.winner for j in judgments if j.verdict is not None)


def _by_order(judgments: Sequence[Judgment]) -> list[list[Judgment]]:
    """Return the judgments of each order that has any."""
    groups = ([j for j in judgments if j.order is order] for order in Order)
    return [group for group in groups if group]


def _majority(votes: Counter[VoteT]) -> VoteT | None:
    """Return what has more votes than anything else, or None if the lead is shared."""
    top = votes.most_common(2)
    return None if len(top) == 2 and top[0][1] == top[1][1] else top[0][0]


def _aggregate_scores(row: Row, judgments: tuple[Judgment, ...], readable: list[Judgment]) -> RowResult:
    count = 1 + max(j.response for j in judgments)
    given = [[j.score for j in readable if j.response == n and j.score is not None] for n in range(count)]
    means = [fmean(scores) if scores else None for scores in given]
    label = label_of(row)
    if count == 1:
        score = means[0]
        numeric = isinstance(label, int | float)
        return RowResult(
            row=row,
            status=RowStatus.OK,
            score=score,
            correct=score == label if numeric else None,
            judgments=judgments,
        )
    known = [mean for mean in means if mean is not None]
    if len(known) < count:
        failed = [j for j in judgments if j.status != "ok"]
        return RowResult(row=row, status=_commonest_failure(failed), scores=tuple(means), judgments=judgments)
    return _ranked(row, judgments, [-mean for mean in known], tuple(known))


def _aggregate_lists(row: Row, judgments: tuple[Judgment, ...], readable: list[Judgment]) -> RowResult:
    rankings = [j.ranking for j in readable if j.ranking is not None]
    count = len(rankings[0])
    scored = [j.scores for j in readable if j.scores is not None]
    means = tuple(fmean(s[n] for s in scored) for n in range(count)) if scored else ()
    ranks = [fmean(r.index(n) for r in rankings) for n in range(count)]
    tops = [_majority(Counter(j.ranking[0] for j in group if j.ranking)) for group in _by_order(readable)]
    consistent = tops[0] is not None and tops[0] == tops[1] if len(tops) == 2 else None
    result = _ranked(row, judgments, ranks, means)
    if result.ranking is None:
        return replace(result, consistent=False)
    votes = fmean(ranking[0] == result.ranking[0] for ranking in rankings)
    return replace(result, consistent=consistent, confidence=votes)


def _ranked(
    row: Row, judgments: tuple[Judgment, ...], costs: Sequence[float], scores: tuple[float, ...]
) -> RowResult:
    """Rank the responses by ascending cost. A shared first place is a tie of a pair and a split of a list.

    A level top is never broken by position: that would credit a judge that likes everything equally.
    """
    ranking = tuple(sorted(range(len(costs)), key=lambda n: costs[n]))
    best = [n for n in ranking if costs[n] == costs[ranking[0]]]
    label = label_of(row)
    if len(best) > 1:
        if isinstance(row, CandidateSet) or scores[0] != scores[1]:
            return RowResult(row=row, status=RowStatus.SPLIT, scores=scores, judgments=judgments)
        tie = RowResult(row=row, status=RowStatus.OK, verdict="tie", scores=scores, judgments=judgments)
        return replace(tie, ranking=ranking, correct=None if label is None else label == "tie")
    verdict: Winner | None = None
    if isinstance(row, CandidateSet):
        gold = label[0] if isinstance(label, tuple) else label
        correct = None if gold is None else best[0] == gold
    else:
        verdict = "A" if best[0] == 0 else "B"
        correct = None if label is None else verdict == label
    return RowResult(
        row=row,
        status=RowStatus.OK,
        verdict=verdict,
        scores=scores,
        ranking=ranking,
        correct=correct,
        judgments=judgments,
    )
