"""What metrics read: one judged row, reduced to its label and its verdicts, all in the row's own frame.

A *reading* is what one row, or one order of it, came to: a side, a tie, `split` (readable votes, none ahead)
or `unreadable`. The last two stay outcomes of their own; only a `CreditPolicy` gives them a credit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal

from reasrm.judged import JudgedRow
from reasrm.records import Judgment, Order, ParseStatus, RowStatus, Winner

__all__ = ["Reading", "RowOutcome", "by_subset", "from_row", "majority"]

Reading = Literal["A", "B", "tie", "split", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutcome:
    """One judged row.

    Args:
        id: The row's id.
        target: The verdict a right judge gives, None where unknown.
        status: How judging the row ended.
        verdict: The row's verdict; None unless `status` is `OK`.
        by_order: For each order asked, the verdict of each vote, None where unreadable. Empty if the row was
            not asked (identical, degenerate, failed) or if its verdict comes from scores or a ranking, which
            know no order.
        parses: How reading each judgment ended.
        subset: Benchmark subset or category.
        group: Rows that belong together.
        meta: Whatever the row carried.
        score: Pointwise score.
        label: Gold score, index of the best response, or gold ranking.
        ranking: Response indices, best first.
        scores: One number per response.
    """

    id: str
    target: Winner | None = None
    status: RowStatus = RowStatus.OK
    verdict: Winner | None = None
    by_order: Mapping[Order, tuple[Winner | None, ...]] = field(default_factory=dict)
    parses: tuple[ParseStatus, ...] = ()
    subset: str | None = None
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    score: float | None = None
    label: int | float | tuple[int, ...] | None = None
    ranking: tuple[int, ...] | None = None
    scores: tuple[float | None, ...] | None = None

    @property
    def reading(self) -> Reading:
        """What the row came to, over all its judgments."""
        if self.status is RowStatus.SPLIT:
            return "split"
        return "unreadable" if self.verdict is None else self.verdict

    def game(self, order: Order) -> Reading | None:
        """Return what one order came to, by the majority of its readable votes.

        None if the row was not asked in this order. A row that was not asked at all and has no verdict is
        unreadable in every order.
        """
        if self.by_order:
            votes = self.by_order.get(order)
            return None if votes is None else majority(votes)
        return "unreadable" if self.verdict is None else None

    @property
    def games(self) -> tuple[Reading, ...]:
        """What each order asked came to; the row's own reading where there are no orders."""
        if not self.by_order:
            return (self.reading,)
        return tuple(majority(self.by_order[order]) for order in Order if order in self.by_order)


def majority(verdicts: Sequence[Winner | None]) -> Reading:
    """Return the verdict with more readable votes than any other, `split` if the lead is shared."""
    if len(verdicts) == 1:  # most rows: one vote per order
        return verdicts[0] or "unreadable"
    top = Counter(verdict for verdict in verdicts if verdict is not None).most_common(2)
    if not top:
        return "unreadable"
    return "split" if len(top) == 2 and top[0][1] == top[1][1] else top[0][0]


def by_subset(rows: Iterable[RowOutcome]) -> dict[str, list[RowOutcome]]:
    """Return the rows of each subset, subsets in sorted order. Rows without a subset are in none."""
    found: defaultdict[str, list[RowOutcome]] = defaultdict(list)
    for row in rows:
        if row.subset is not None:
            found[row.subset].append(row)
    return {name: found[name] for name in sorted(found)}


def from_row(row: JudgedRow) -> RowOutcome:
    """Reduce a judged row."""
    sided = row.label if isinstance(row.label, str) else None
    return RowOutcome(
        id=row.id,
        target=sided,
        status=row.status,
        verdict=row.verdict,
        by_order=_by_order(row.judgments),
        parses=tuple(judgment.status for judgment in row.judgments),
        subset=row.subset,
        group=row.group,
        meta=row.meta,
        score=row.score,
        label=None if isinstance(row.label, str) else row.label,
        ranking=row.ranking,
        scores=row.scores,
    )


def _by_order(judgments: Sequence[Judgment]) -> dict[Order, tuple[Winner | None, ...]]:
    found: defaultdict[Order, list[tuple[int, Winner | None]]] = defaultdict(list)
    for judgment in judgments:
        if (
            judgment.winner is None and judgment.status is ParseStatus.OK
        ):  # a score or ranking: no order to speak of
            return {}
        found[judgment.order].append((judgment.vote, judgment.winner))
    return {
        order: tuple(winner for _, winner in sorted(found[order], key=itemgetter(0)))
        for order in Order
        if order in found
    }
