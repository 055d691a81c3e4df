"""What metrics read: one judged row, reduced to its label and its verdicts, all in the row's own frame.

A *reading* is what one row, or one order of it, came to: a side, a tie, `split` (readable votes, none ahead)
or `unreadable`. The last two stay outcomes of their own; only a `Policy` gives them a credit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from reasrm.errors import RowError
from reasrm.records import Order, ParseStatus, RowStatus, Winner

__all__ = ["Reading", "RowOutcome", "by_subset", "from_row", "majority"]

Reading = Literal["A", "B", "tie", "split", "unreadable"]
Label = int | float | tuple[int, ...]
_WINNERS: Mapping[str, Winner] = {"A": "A", "B": "B", "tie": "tie"}
_Status = TypeVar("_Status", RowStatus, ParseStatus)


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
    label: Label | None = None
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


def from_row(row: Mapping[str, Any], place: str | None = None) -> RowOutcome:
    """Read a row that `reasrm judge` wrote.

    Args:
        row: The JSON object.
        place: `file:line`, for errors; the row's id if not given.

    Raises:
        RowError: A field is missing, a value is none of the known ones, or a verdict contradicts its status.
    """
    place = place or f"row {row.get('id')!r}"
    status = _status(RowStatus, row, place)
    judgments: Sequence[Mapping[str, Any]] = row.get("judgments") or ()
    parses = tuple(_status(ParseStatus, judgment, place) for judgment in judgments)
    label = row.get("label")
    target = _winner(label, "label", place) if isinstance(label, str) else None
    return RowOutcome(
        id=str(_required(row, "id", place)),
        target=target,
        status=status,
        verdict=_verdict(row, ok=status is RowStatus.OK, place=place),
        by_order=_by_order(judgments, parses, place),
        parses=parses,
        subset=row.get("subset"),
        group=row.get("group"),
        meta=row.get("meta") or {},
        score=row.get("score"),
        label=_label(label, place),
        ranking=None if row.get("ranking") is None else tuple(row["ranking"]),
        scores=None if row.get("scores") is None else tuple(row["scores"]),
    )


def _by_order(
    judgments: Sequence[Mapping[str, Any]], parses: Sequence[ParseStatus], place: str
) -> dict[Order, tuple[Winner | None, ...]]:
    found: defaultdict[Order, dict[tuple[int, int], Winner | None]] = defaultdict(dict)
    for n, (judgment, parse) in enumerate(zip(judgments, parses, strict=True)):
        verdict = _verdict(judgment, ok=parse is ParseStatus.OK, place=place)
        if parse is ParseStatus.OK and verdict is None:  # read, but a score or ranking: no order to speak of
            return {}
        order = _required(judgment, "order", place)
        if order not in list(Order):
            raise _bad("order", order, [str(o) for o in Order], place)
        found[Order(order)][judgment.get("vote") or 0, n] = verdict
    return {order: tuple(votes[key] for key in sorted(votes)) for order, votes in sorted(found.items())}


def _verdict(record: Mapping[str, Any], *, ok: bool, place: str) -> Winner | None:
    verdict = record.get("verdict")
    if verdict is None:
        return None
    if not ok:
        raise RowError(
            f"verdict {verdict!r} beside status {record.get('status')!r}",
            code="contradiction",
            place=place,
            remedy="only a row or judgment with status 'ok' has a verdict; judge the row again",
        )
    return _winner(verdict, "verdict", place)


def _winner(value: object, name: str, place: str) -> Winner:
    winner = _WINNERS.get(value) if isinstance(value, str) else None
    if winner is None:
        raise _bad(name, value, list(_WINNERS), place)
    return winner


def _label(value: object, place: str) -> Label | None:
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    raise _bad("label", value, [*_WINNERS, "a number", "a list of indices", "null"], place)


def _status(kind: type[_Status], record: Mapping[str, Any], place: str) -> _Status:
    value = _required(record, "status", place)
    if value not in list(kind):
        raise _bad("status", value, [str(status) for status in kind], place)
    return kind(value)


def _required(record: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in record:
        raise RowError(
            f"field {name!r} is missing",
            code="missing_field",
            place=place,
            remedy="give rows as `reasrm judge` writes them",
        )
    return record[name]


def _bad(name: str, value: object, known: Sequence[str], place: str) -> RowError:
    return RowError(
        f"field {name!r} is {value!r}", code="bad_value", place=place, remedy=f"known are {', '.join(known)}"
    )
