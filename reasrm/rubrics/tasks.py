"""Rows as an author meets them: a request and its responses, best first; and the rows that nobody is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from reasrm.hashing import digest
from reasrm.judging.aggregate import rule_status
from reasrm.judging.inputs import InputRow
from reasrm.records import CandidateSet, Comparison, PreferencePair, Row

__all__ = ["Task", "Unasked", "induced_pairs", "task_of"]


@dataclass(frozen=True, slots=True)
class Unasked:
    """Why nobody is asked about a row: `identical`, `degenerate`, `no_label`, `tie`, or an error's code."""

    reason: str


@dataclass(frozen=True, slots=True)
class Task:
    """A row to write a rubric for.

    Args:
        row: The row.
        responses: Strictly ordered, best first; in the row's own order where no label is known or needed.
    """

    row: Row
    responses: tuple[str, ...]

    @property
    def id(self) -> str:
        """The row's id."""
        return self.row.id

    @property
    def request(self) -> str:
        """All texts of the request."""
        return "\n".join(message.content for message in self.row.prompt)

    def drawn(self, seed: int) -> tuple[int, ...]:
        """Return indices of the responses in an order drawn from id, texts and seed, whatever the label."""
        keys = {n: digest(["places", seed, self.id, text]) for n, text in enumerate(self.responses)}
        return tuple(sorted(keys, key=lambda n: keys[n]))

    @property
    def by_text(self) -> tuple[int, ...]:
        """Indices of the responses in an order that says nothing of the label."""
        return tuple(sorted(range(len(self.responses)), key=lambda n: digest(self.responses[n])))


def task_of(item: InputRow, *, needs_label: bool) -> Task | Unasked:
    """Return the task that a line of the input is, or why it is none."""
    row = item.row
    if item.error is not None:
        return Unasked(item.error.code)
    if row is None or not isinstance(row, PreferencePair | Comparison | CandidateSet):
        return Unasked("not_a_pair")
    ranked = _ranked(row)
    status = rule_status(row)
    if status is not None:
        return Unasked(status.value)
    if isinstance(ranked, Unasked):
        if needs_label or not isinstance(row, Comparison):
            return ranked
        return Task(row, (row.response_a, row.response_b))
    if len(set(ranked)) < len(ranked):
        return Unasked("identical")
    return Task(row, ranked)


def _ranked(row: PreferencePair | Comparison | CandidateSet) -> tuple[str, ...] | Unasked:
    """Return the responses best first."""
    if isinstance(row, PreferencePair):
        return row.chosen, row.rejected
    if isinstance(row, Comparison):
        winner = None if row.target is None else row.target.winner
        if winner is None or winner == "tie":
            return Unasked("no_label" if winner is None else "tie")
        return (row.response_a, row.response_b) if winner == "A" else (row.response_b, row.response_a)
    if len(row.responses) < 2:
        return Unasked("not_a_pair")
    order = row.label
    if isinstance(order, int) and len(row.responses) == 2:
        order = (order, 1 - order)
    if not isinstance(order, tuple):
        return Unasked("no_label" if order is None else "no_ranking")
    return tuple(row.responses[n] for n in order)


def induced_pairs(task: Task) -> Iterator[PreferencePair]:
    """Yield the ordered pairs that the responses induce, the best and the worst first (OpenRubrics, eq. 1).

    A pair of responses keeps the row's id; of a longer list each pair is named by two places, `q1|0-2`.
    """
    last = len(task.responses) - 1
    places = sorted(combinations(range(last + 1), 2), key=lambda p: (p != (0, last), p))
    row = task.row
    for better, worse in places:
        yield PreferencePair(
            id=row.id if last == 1 else f"{row.id}|{better}-{worse}",
            prompt=row.prompt,
            chosen=task.responses[better],
            rejected=task.responses[worse],
            principle=row.principle,
            reference=row.reference,
            language=row.language,
        )
