"""What asking costs, and where it ends: tokens of every answer, prices, and a budget that a run does not exceed.

`Meter.of` wraps a backend. A request is sent only if everything spent and everything in flight fits the budget with it,
each request in flight at its worst: a token per byte of the prompt, and `max_tokens`. Requests that are of use only
together are sent together or not at all. Where they do not fit, answers under way are waited for, which cost less than
their worst; when nothing is in flight and the next ones still do not fit, `BudgetReached` ends the run.

What was spent stands in the run's manifest (`notes.cost`), with a bound on what is spent after it was written, so that
a killed process has never spent more than its manifest says: what it had in flight then counts at its worst. A call
that a server refused costs nothing; calls that were made again count when their request ends, and what a server adds to
prompts is known from its first answers on.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from reasrm.durable import DurableMap, notes_of
from reasrm.errors import ConfigError, ReasrmError
from reasrm.generation.base import Backend
from reasrm.generation.replay import ReplayBackend
from reasrm.requests import Completion, Request

__all__ = ["Budget", "BudgetReached", "Meter", "Price", "budget_beside"]

_PER_MESSAGE = 16  # tokens that a chat template puts around a message
_MILLION = 1_000_000
_REFUSED = ("error", "too_long", "content_filter")  # without a count: nothing was generated


class BudgetReached(ReasrmError):
    """The next request could cost more than is left. Nothing is in flight; what was answered has been yielded."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Price:
    """Money per million tokens.

    Args:
        prompt: Of prompts.
        completion: Of completions.
    """

    prompt: float
    completion: float

    @classmethod
    def parse(cls, text: str) -> Price:
        """Read `IN,OUT`, such as `0.15,0.6`.

        Raises:
            ConfigError: It is not two numbers ≥ 0.
        """
        try:
            prompt, completion = map(float, text.split(","))
            if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
                raise ValueError
        except ValueError:
            raise ConfigError(
                f"the price is {text!r}",
                remedy="give money per million prompt and completion tokens: 0.15,0.6",
            ) from None
        return cls(prompt, completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent on a run, all its parts and resumptions together.

    Args:
        prices: Who is asked → price.
        money: Most money, in the currency of the prices.
        tokens: Most prompt and completion tokens.

    Raises:
        ConfigError: The money is below 0, or no number.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    money: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.money is not None and not self.money >= 0:
            raise ConfigError(f"the budget is {self.money}", remedy="give an amount of money, 0 or more")


@dataclass(slots=True)
class Spent:
    """Requests and the tokens that they took.

    Args:
        calls: Requests that ended; a call that was made again is not counted apart.
        prompt_tokens: Of answers whose tokens were counted.
        completion_tokens: Likewise.
        uncounted: Answers whose tokens nobody counted.
        uncounted_prompt_tokens: Most that these can have taken.
        uncounted_completion_tokens: Likewise.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    uncounted_prompt_tokens: int = 0
    uncounted_completion_tokens: int = 0

    def count(self, prompt: int, completion: int) -> None:
        """Add the tokens of an answer."""
        self.prompt_tokens += prompt
        self.completion_tokens += completion

    def count_at_most(self, worst: Worst) -> None:
        """Add an answer whose tokens are not known."""
        self.uncounted += worst.calls
        self.uncounted_prompt_tokens += worst.prompt
        self.uncounted_completion_tokens += worst.completion

    def at_most(self) -> Worst:
        """Return counted and uncounted tokens together."""
        prompt = self.prompt_tokens + self.uncounted_prompt_tokens
        return Worst(self.calls, prompt, self.completion_tokens + self.uncounted_completion_tokens)


class Worst(NamedTuple):
    """Requests with the most tokens that they can take."""

    calls: int = 0
    prompt: int = 0
    completion: int = 0

    def plus(self, other: Worst, times: int = 1) -> Worst:
        """Return both together, or the difference with `times=-1`."""
        calls, prompt, completion = other
        return Worst(
            self.calls + times * calls, self.prompt + times * prompt, self.completion + times * completion
        )

    def covers(self, other: Worst) -> bool:
        """Whether the other has no more requests and no more tokens of either kind."""
        return (
            self.calls >= other.calls and self.prompt >= other.prompt and self.completion >= other.completion
        )

    def money(self, price: Price) -> float:
        """Return what these cost."""
        return (self.prompt * price.prompt + self.completion * price.completion) / _MILLION

    @property
    def tokens(self) -> int:
        """Of prompts and completions together."""
        return self.prompt + self.completion


class Meter:
    """Counts what a run's backends take, and keeps the run within its budget. Used by one thread.

    Args:
        budget: What may be spent.
        journal: The run, started; its manifest keeps what was spent.

    Attributes:
        budget: May be replaced between two calls of `generate`.
    """

    def __init__(self, budget: Budget, journal: DurableMap) -> None:
        self.budget, self._journal = budget, journal
        self._spent = _spent(journal.notes)
        # Request id → who is asked, the worst, and how much of that is `_excess`.
        self._in_flight: dict[str, tuple[str, Worst, Worst]] = {}
        self._flying: dict[str, Worst] = {}  # who → all in flight
        self._bound: dict[str, Worst] = {}  # who → what the manifest vouches for
        self._excess = Worst()  # beyond the worst case: servers add to prompts, and may be told to write more

    def of(self, name: str, backend: Backend) -> Backend:
        """Return the backend, metered; one that replays costs nothing and stays as it is.

        Raises:
            ConfigError: There is a budget of money and no price.
        """
        if isinstance(backend, ReplayBackend):
            return backend
        if self.budget.money is not None and name not in self.budget.prices:
            raise ConfigError(
                f"the budget is money, and nothing says what the {name} costs",
                remedy="give the price per million prompt and completion tokens (--price IN,OUT), or --budget-tokens",
            )
        self._spent.setdefault(name, Spent())
        self._flying[name] = Worst()
        return _Metered(name, backend, self)

    def summary(self) -> dict[str, Any]:
        """Return `cost` (who was asked → calls and tokens) and `money` (null without prices)."""
        cost = {name: asdict(spent) for name, spent in self._spent.items()}
        return {
            "cost": cost,
            "money": self._money({name: spent.at_most() for name, spent in self._spent.items()}),
        }

    def admit(self, name: str, group: Sequence[Request]) -> bool:
        """Take some requests as in flight, if their worst case fits."""
        worst = [self._worst(request) for request in group]
        flying = {**self._flying, name: reduce(Worst.plus, worst, self._flying[name])}
        total = {who: spent.at_most().plus(flying.get(who, Worst())) for who, spent in self._spent.items()}
        if not self._fits(total):
            return False
        self._flying = flying
        self._in_flight |= {
            request.id: (name, w, self._excess) for request, w in zip(group, worst, strict=True)
        }
        if any(not self._bound.get(who, Worst()).covers(most) for who, most in total.items()):
            # As much room again as is in flight, so that the manifest is not written for every answer.
            self._bound = {who: most.plus(flying.get(who, Worst())) for who, most in total.items()}
            self._write({who: w.plus(w)._asdict() for who, w in flying.items() if w.calls})
        return True

    def settle(self, completion: Completion) -> None:
        """Count a request that ended."""
        name, worst, known = self._in_flight.pop(completion.request_id)
        self._flying[name] = self._flying[name].plus(worst, -1)
        _count(self._spent[name], completion, worst)
        took = Worst(0, completion.num_prompt_tokens or 0, completion.num_tokens or 0)
        over = took.plus(worst, -1).plus(known)
        self._excess = Worst(0, *map(max, self._excess[1:], over[1:]))

    def give_up(self, *, is_free: bool = False) -> None:
        """Count what is still in flight at its worst, as nobody will learn what it took, and write everything down."""
        for name, worst, _ in self._in_flight.values():
            self._spent[name].calls += worst.calls
            self._spent[name].count_at_most(Worst() if is_free else worst)
        self._in_flight, self._bound = {}, {}
        self._flying = dict.fromkeys(self._flying, Worst())
        self._write({})

    def reached(self, name: str, group: Sequence[Request]) -> BudgetReached:
        """Return what to say when some requests do not fit although nothing is in flight."""
        more = reduce(Worst.plus, map(self._worst, group), Worst())
        spent = {who: found.at_most() for who, found in self._spent.items()}
        said = []
        if self.budget.money is not None:
            cost = more.money(self.budget.prices[name])
            said.append(
                f"{self._money(spent):.6g} of {self.budget.money:g} is spent, and the next may cost {cost:.6g}"
            )
        if self.budget.tokens is not None:
            used = sum(found.tokens for found in spent.values())
            said.append(
                f"{used:,} of {self.budget.tokens:,} tokens are used, and the next may take {more.tokens:,}"
            )
        return BudgetReached(
            f"the budget is reached: {'; '.join(said)}",
            place=str(self._journal.output),
            remedy="with a larger budget the same command continues",
        )

    def _fits(self, total: Mapping[str, Worst]) -> bool:
        money, tokens = self.budget.money, self.budget.tokens
        return (money is None or (self._money(total) or 0.0) <= money) and (
            tokens is None or sum(found.tokens for found in total.values()) <= tokens
        )

    def _worst(self, request: Request) -> Worst:
        num_bytes = sum(len(message.text.encode("utf-8", "replace")) for message in request.messages)
        around = _PER_MESSAGE * (len(request.messages) + 1)
        return Worst(1, num_bytes + around, request.sampling.max_tokens).plus(self._excess)

    def _money(self, total: Mapping[str, Worst]) -> float | None:
        prices = self.budget.prices
        return sum(total[name].money(prices[name]) for name in total if name in prices) if prices else None

    def _write(self, still_open: Mapping[str, Any]) -> None:
        said = self.summary()
        note = {"by": said["cost"], "money": said["money"]}
        prices = {name: asdict(price) for name, price in self.budget.prices.items()}
        self._journal.annotate(
            "cost", note | {"prices": prices} | ({"open": still_open} if still_open else {})
        )


class _Metered:
    """A backend whose requests pass a meter."""

    def __init__(self, name: str, backend: Backend, meter: Meter) -> None:
        self._name, self._backend, self._meter = name, backend, meter

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def identity(self) -> dict[str, str]:
        return self._backend.identity

    def close(self) -> None:
        self._backend.close()

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield completions as the backend does, until the next request does not fit the budget.

        Raises:
            BudgetReached: It does not.
        """
        meter, groups = self._meter, _groups(requests)
        held: list[Request] = []  # a group that has to wait for what is in flight

        def admitted() -> Iterator[Request]:
            nonlocal held
            for group in groups:
                if not meter.admit(self._name, group):
                    held = group
                    return
                yield from group

        source: Iterator[Request] = admitted()
        try:
            while True:
                with closing(self._backend.generate(source)) as completions:
                    for completion in completions:
                        meter.settle(completion)
                        yield completion
                if not held:
                    return
                first, held = held, []
                if not meter.admit(self._name, first):
                    raise meter.reached(self._name, first)
                source = chain(first, admitted())
        except ReasrmError:  # the backend drained what was under way; what is left was refused
            meter.give_up(is_free=True)
            raise
        finally:
            meter.give_up()


def _groups(requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Yield requests that are of use only together, in lists."""
    source = iter(requests)
    for request in source:
        yield [request, *islice(source, request.together - 1)]


def _count(spent: Spent, completion: Completion, worst: Worst) -> None:
    """Count what a request took, calls that were made before it was answered included."""
    spent.calls += 1
    for prompt, generated in completion.wasted:
        if prompt is None or generated is None:
            spent.count_at_most(worst)
        else:
            spent.count(prompt, generated)
    prompt, generated = completion.num_prompt_tokens, completion.num_tokens
    if prompt is not None and generated is not None:
        spent.count(prompt, generated)
    elif completion.finish_reason not in _REFUSED:
        said = len((completion.text + (completion.reasoning or "")).encode("utf-8", "replace")) + 1
        prompt = worst.prompt if prompt is None else prompt
        generated = min(said, worst.completion) if generated is None else generated
        spent.count_at_most(Worst(1, prompt, generated))


def budget_beside(budget: Budget, outputs: Iterable[Path]) -> Budget:
    """Return what is left of a budget beside other runs, by the manifests of their outputs.

    Args:
        budget: Of all runs together; with money, a price of everyone who was asked.
        outputs: Of the others; one that was not begun has spent nothing.
    """
    spent = [(name, one.at_most()) for path in outputs for name, one in _spent(notes_of(path)).items()]
    tokens = sum(most.tokens for _, most in spent)
    money = sum(most.money(budget.prices[name]) for name, most in spent if name in budget.prices)
    return replace(
        budget,
        money=None if budget.money is None else max(budget.money - money, 0.0),
        tokens=None if budget.tokens is None else max(budget.tokens - tokens, 0),
    )


def _spent(notes: Mapping[str, Any]) -> dict[str, Spent]:
    """Return what a manifest says was spent, by who was asked; what a killed process had in flight at its worst."""
    recorded = notes.get("cost", {})
    found = {name: Spent(**said) for name, said in recorded.get("by", {}).items()}
    for name, said in recorded.get("open", {}).items():
        found[name].calls += said["calls"]
        found[name].count_at_most(Worst(**said))
    return found
