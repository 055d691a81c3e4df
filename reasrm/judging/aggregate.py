"""From the judgments of one row to the row's result: votes, orders, statuses, as `interface.md` fixes them.

A row is `ok` if one side has more readable votes than any other, `split` if the most voted sides are level, and
otherwise takes the commonest failure of its judgments. Unreadable judgments never vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

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

__all__ = ["RowResult", "aggregate", "flagged_fields", "label_of", "rule_status", "unasked"]

Label = Winner | int | float | list[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What judging one row came to. Verdict, scores and ranking speak of the row's own responses.

    Args:
        status: How it ended; `verdict`, `score` and `ranking` are None unless it is `OK`.
        verdict: The side with most readable votes.
        score: Mean readable score (pointwise, one response).
        scores: Mean readable scores by response (pointwise or listwise, several responses).
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

    def to_json(self, *, judge: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Return the output line of `reasrm judge`. The same judgments give the same bytes."""
        line: dict[str, Any] = {
            "id": self.row.id,
            "verdict": self.verdict,
            "status": self.status.value,
            "confidence": self.confidence,
            "consistent": self.consistent,
            "correct": self.correct,
            "label": label_of(self.row),
        }
        for name in ("score", "scores", "ranking"):
            value = getattr(self, name)
            if value is not None:
                line[name] = list(value) if isinstance(value, tuple) else value
        for name in ("subset", "group", "language"):
            value = getattr(self.row, name)
            if value is not None:
                line[name] = value
        if self.flagged:
            line["flagged"] = list(self.flagged)
        if self.row.meta:
            line["meta"] = dict(self.row.meta)
        line["judgments"] = [_judgment_json(judgment) for judgment in self.judgments]
        line["judge"] = dict(judge)
        line["seed"] = seed
        return line


def _judgment_json(judgment: Judgment) -> dict[str, Any]:
    fields = asdict(judgment)
    verdict = fields.pop("verdict")
    fields["response"] = fields["response"] or None
    optional = ("response", "score", "scores", "ranking", "detail")
    line: dict[str, Any] = {
        "order": judgment.order.value,
        "vote": judgment.vote,
        "verdict": None if verdict is None else verdict["winner"],
        "status": judgment.status.value,
    }
    if verdict is not None and verdict["strength"] is not None:
        line["strength"] = verdict["strength"]
    line |= {name: fields[name] for name in optional if fields[name] is not None}
    line |= {name: fields[name] for name in ("critique", "rubric", "text", "num_tokens", "finish_reason")}
    return line


def label_of(row: Row) -> Label:
    """Return the gold label in the row's own terms."""
    if isinstance(row, PreferencePair):
        return "A"
    if isinstance(row, Comparison):
        return None if row.target is None else row.target.winner
    if isinstance(row, CandidateSet):
        return list(row.label) if isinstance(row.label, tuple) else row.label
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
    return tuple(
        name for name, text in texts.items() if holds_control(text) or find_structural(text, structural)
    )


def rule_status(row: Row) -> RowStatus | None:
    """Return `DEGENERATE` (a response is empty), `IDENTICAL` (two responses are equal), or None."""
    if isinstance(row, Comparison):
        texts: tuple[str, ...] = (row.response_a, row.response_b)
    elif isinstance(row, PreferencePair):
        texts = (row.chosen, row.rejected)
    elif isinstance(row, CandidateSet):
        texts = row.responses
    else:
        return None
    if not all(map(str.strip, texts)):
        return RowStatus.DEGENERATE
    return RowStatus.IDENTICAL if len(set(texts)) < len(texts) else None


def unasked(row: Row, status: RowStatus) -> RowResult:
    """Return the result of a row that was settled without asking the judge."""
    return RowResult(row=row, status=status)


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
    votes = Counter(j.verdict.winner for j in readable if j.verdict is not None)
    winner = _majority(votes)
    by_order = [
        _majority(Counter(j.verdict.winner for j in readable if j.verdict is not None and j.order is order))
        for order in Order
        if any(j.order is order for j in readable)
    ]
    consistent = by_order[0] is not None and by_order[0] == by_order[1] if len(by_order) == 2 else None
    if winner is None:
        return RowResult(row=row, status=RowStatus.SPLIT, consistent=False, judgments=judgments)
    label = label_of(row)
    return RowResult(
        row=row,
        status=RowStatus.OK,
        verdict=winner,
        confidence=votes[winner] / votes.total(),
        consistent=consistent,
        correct=None if label is None else winner == label,
        judgments=judgments,
    )


def _majority(votes: Counter[Winner]) -> Winner | None:
    """Return the side with more votes than any other, or None if the lead is shared."""
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
    ranking = tuple(sorted(range(count), key=lambda n: -known[n]))
    return _ranked(row, judgments, ranking, tuple(known), consistent=None)


def _aggregate_lists(row: Row, judgments: tuple[Judgment, ...], readable: list[Judgment]) -> RowResult:
    rankings = [j.ranking for j in readable if j.ranking is not None]
    count = len(rankings[0])
    scored = [j.scores for j in readable if j.scores is not None]
    means = tuple(fmean(s[n] for s in scored) for n in range(count)) if scored else ()
    rank = [fmean(r.index(n) for r in rankings) for n in range(count)]
    ranking = tuple(sorted(range(count), key=lambda n: (rank[n], -means[n] if means else 0)))
    orders = {j.order for j in readable}
    tops = {j.ranking[0] for j in readable if j.ranking is not None}
    return _ranked(row, judgments, ranking, means, consistent=len(tops) == 1 if len(orders) == 2 else None)


def _ranked(
    row: Row,
    judgments: tuple[Judgment, ...],
    ranking: tuple[int, ...],
    scores: tuple[float, ...],
    consistent: bool | None,
) -> RowResult:
    """Finish a row with several scored responses. A pair also gets the verdict its scores imply."""
    verdict: Winner | None = None
    label = label_of(row)
    if not isinstance(row, CandidateSet):
        level = scores and scores[0] == scores[1]
        verdict = "tie" if level else "A" if ranking[0] == 0 else "B"
        correct = None if label is None else verdict == label
    else:
        best = label[0] if isinstance(label, list) else label
        correct = None if best is None else ranking[0] == best
    return RowResult(
        row=row,
        status=RowStatus.OK,
        verdict=verdict,
        scores=scores,
        ranking=ranking,
        consistent=consistent,
        correct=correct,
        judgments=judgments,
    )
