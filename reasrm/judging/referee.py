"""From two responses to the outcome of a match: rules first, then what was judged before, then the judge.

Equal responses draw and an empty response loses without a question. Everything else is a comparison whose id, and so
whose order of showing and seeds, hashes the prompt and the two texts in sorted order: the same match has the same
outcome in any batch, on any process. The outcome is the mean over the orders of the mean share of their readable
votes; an order that could not be read does not count, and without any the outcome is None.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import NamedTuple

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.hashing import digest
from reasrm.judging.aggregate import RowResult
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.judging.tournaments import DuelOutcome
from reasrm.records import Comparison, Conversation, Order, ParseStatus, Rubric, Winner

__all__ = ["Context", "MatchCounts", "Pairing", "Referee"]

_LOG = logging.getLogger("reasrm")
_SHARES: Mapping[Winner, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}


@dataclass(frozen=True, slots=True)
class Context:
    """What a match is about, beside the responses: what the judge is shown of a prompt's row."""

    prompt: Conversation
    rubric: Rubric | None = None
    principle: str | None = None
    reference: str | None = None


class Pairing(NamedTuple):
    """Two responses to one prompt; `meeting` counts their earlier matches in one tournament."""

    context: Context
    first: str
    second: str
    meeting: int = 0


@dataclass(slots=True)
class MatchCounts:
    """What became of matches.

    Args:
        cached: Of those that need the judge, taken from earlier ones.
        readable: Of those that need the judge, with an outcome.
        unreadable: Of those that need the judge, read in no order.
        failed: Of those that need the judge, lost to an error of the backend or the row.
        drawn: Of the readable, with no winner: ties, and orders that disagree.
        sided: Fresh readable judgments that chose a side.
        first: Fresh readable judgments that chose the response shown first.
        last_error: What the latest error said.
    """

    cached: int = 0
    readable: int = 0
    unreadable: int = 0
    failed: int = 0
    drawn: int = 0
    sided: int = 0
    first: int = 0
    last_error: str = field(default="", repr=False)

    @property
    def asked(self) -> int:
        """Matches that need the judge."""
        return self.readable + self.unreadable + self.failed


class Referee:
    """A judge, and what it has said.

    Args:
        judge: A pairwise judge.
        options: Orders, votes, seed and sampling.
        cache_size: Most outcomes kept, the least recently used dropped first.

    Raises:
        ConfigError: The judge does not compare, or the options suit no match.
    """

    def __init__(self, judge: Judge, options: JudgingOptions, cache_size: int) -> None:
        if judge.spec.protocol != "pairwise":
            raise ConfigError(
                f"spec {judge.spec.name!r} is {judge.spec.protocol}, but matches need a pairwise judge",
                remedy="open the judge with a pairwise spec (`reasrm specs` lists them)",
            )
        if options.orders == "given":
            raise ConfigError(
                "orders is 'given', but rollouts have no order of their own",
                remedy="use 'both', or 'random' for one order drawn by content at half the price",
            )
        self.judge = judge
        self.options = options
        self.counts = MatchCounts()
        self._cache_size = cache_size
        self._cache: OrderedDict[str, DuelOutcome] = OrderedDict()

    def decide(self, pairings: Sequence[Pairing]) -> list[DuelOutcome]:
        """Return the first response's share of each match, asking the judge once about all that need it.

        Raises:
            EnvironmentProblem: The judge failed on all that was asked since `counts` was last renewed.
        """
        rows = [None if _rule(pairing) is not None else self._row(pairing) for pairing in pairings]
        known = {row.id: self._cache[row.id] for row in rows if row is not None and row.id in self._cache}
        fresh = {row.id: row for row in rows if row is not None and row.id not in known}
        errors: dict[str, str] = {}
        for result in self.judge.judge(fresh.values(), self.options):
            if isinstance(result, RowResult):
                known[result.row.id] = self._read(result)
            else:
                errors[result.row.id] = result.message
        outcomes = []
        for pairing, row in zip(pairings, rows, strict=True):
            if row is None:
                outcomes.append(_rule(pairing))
            else:
                self.counts.cached += row.id not in fresh
                outcomes.append(self._outcome(pairing, row, known, errors))
        self._remember(known)
        if errors and self.counts.failed == self.counts.asked:
            raise EnvironmentProblem(
                f"the judge failed on all {self.counts.failed} matches: {self.counts.last_error}",
                place=self.judge.label["name"],
                remedy="mend what it says; without the judge no completion has a reward",
            )
        if errors:
            _LOG.warning(
                "the judge failed on %d of %d matches: %s", len(errors), len(fresh), self.counts.last_error
            )
        return outcomes

    def _row(self, pairing: Pairing) -> Comparison:
        context, first, second, meeting = pairing
        # Asked again at temperature 0 the judge says the same; above 0 a further meeting is a further sample.
        sample = meeting if self.options.sampling.temperature > 0 else 0
        lesser, greater = sorted((first, second))
        # What its author knew was the label of other responses; these have none.
        rubric = None if context.rubric is None else replace(context.rubric, saw_label=False)
        return Comparison(
            id=digest([context, lesser, greater, sample], length=32),
            prompt=context.prompt,
            rubric=rubric,
            principle=context.principle,
            reference=context.reference,
            response_a=lesser,
            response_b=greater,
        )

    def _read(self, result: RowResult) -> DuelOutcome:
        """Return the share of the row's response A, and count sides."""
        shares: dict[Order, list[float]] = defaultdict(list)
        for judgment in result.judgments:
            if judgment.status is ParseStatus.OK and judgment.verdict is not None:
                winner = judgment.verdict.winner
                shares[judgment.order].append(_SHARES[winner])
                self.counts.sided += winner != "tie"
                self.counts.first += winner == judgment.order[0]
        return fmean(map(fmean, shares.values())) if shares else None

    def _outcome(
        self, pairing: Pairing, row: Comparison, known: Mapping[str, DuelOutcome], errors: Mapping[str, str]
    ) -> DuelOutcome:
        if row.id in errors:
            self.counts.failed += 1
            self.counts.last_error = errors[row.id]
            return None
        share = known[row.id]
        if share is None:
            self.counts.unreadable += 1
            return None
        self.counts.readable += 1
        self.counts.drawn += share == 0.5
        return share if pairing.first == row.response_a else 1 - share

    def _remember(self, known: Mapping[str, DuelOutcome]) -> None:
        for key, outcome in known.items():
            self._cache[key] = outcome
            self._cache.move_to_end(key)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def renew_counts(self) -> None:
        """Begin new counts."""
        self.counts = MatchCounts()


def _rule(pairing: Pairing) -> DuelOutcome:
    """Return the outcome that needs no judge, or None."""
    first, second = pairing.first.strip(), pairing.second.strip()
    if pairing.first == pairing.second or not (first or second):
        return 0.5
    return None if first and second else float(bool(first))
