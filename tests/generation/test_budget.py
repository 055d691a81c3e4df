"""The meter: what is counted, that no order of answers exceeds a budget, and what a killed process leaves behind."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reasrm.durable import DurableMap
from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.generation.budget import Budget, BudgetReached, Meter, Price
from reasrm.requests import Completion, Request
from tests.fakes import ask

WORST = 10 + 2 * 16 + 8  # ten bytes, what a template puts around one message, and max_tokens


def requests(count: int) -> list[Request]:
    return [ask(f"q{n}", "x" * 10, max_tokens=8) for n in range(count)]


class Fake:
    """Keeps `width` requests in flight and answers a drawn one with drawn tokens, as long as its patience lasts."""

    name = "fake"
    identity = {"model": "fake"}  # noqa: RUF012

    def __init__(self, width: int = 3, seed: int = 0, patience: int = 1000, **answer: Any) -> None:
        self.sent: list[str] = []
        self.used = 0
        self._width, self._draw, self._patience, self._answer = width, random.Random(seed), patience, answer

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        source, flying = iter(requests), list[str]()
        while True:
            while len(flying) < self._width and (request := next(source, None)) is not None:
                flying.append(request.id)
                self.sent.append(request.id)
            if not flying:
                return
            if self._patience == 0:
                raise EnvironmentProblem("the server is gone", remedy="start it")
            self._patience -= 1
            prompt, generated = self._draw.randint(1, 42), self._draw.randint(1, 8)
            self.used += prompt + generated
            yield Completion(
                flying.pop(self._draw.randrange(len(flying))),
                **{"num_prompt_tokens": prompt, "num_tokens": generated, **self._answer},
            )

    def close(self) -> None:
        pass


def started(path: Path, restart: bool = False) -> DurableMap:
    journal = DurableMap(path)
    journal.start({"a": 1}, restart=restart)
    return journal


def spend(journal: DurableMap, fake: Fake, budget: Budget, count: int) -> tuple[Meter, int]:
    """Ask until the end or the budget's; return the meter and how many answers came."""
    meter, answers = Meter(budget, journal), 0
    with closing(meter.of("judge", fake).generate(requests(count))) as completions:
        try:
            for _ in completions:
                answers += 1
        except BudgetReached:
            assert meter._in_flight == {}
    return meter, answers


def test_a_price_is_two_numbers_per_million() -> None:
    assert Price.parse("0.15, 0.6") == Price(0.15, 0.6)
    for wrong in ("1", "a,b", "1,2,3", "-1,2", "nan,1", "inf,1", ""):
        with pytest.raises(ConfigError, match="price"):
            Price.parse(wrong)
    for money in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match="budget"):
            Budget(money=money)


@pytest.mark.parametrize("seed", range(20))
def test_no_order_of_answers_exceeds_a_budget_and_little_is_left_over(tmp_path: Path, seed: int) -> None:
    limit = random.Random(seed).randint(0, 1500)
    fake = Fake(width=1 + seed % 5, seed=seed)
    with started(tmp_path / "out") as journal:
        meter, answers = spend(journal, fake, Budget(tokens=limit), 100)
    assert fake.used <= limit
    assert limit - fake.used < WORST  # nothing stopped early for what was only reserved
    said = meter.summary()["cost"]["judge"]
    assert said["prompt_tokens"] + said["completion_tokens"] == fake.used
    assert said["calls"] == answers == len(fake.sent)


def test_money_by_hand(tmp_path: Path) -> None:
    fake = Fake(num_prompt_tokens=40, num_tokens=5)
    prices = {"judge": Price(2.0, 10.0)}  # 40 × 2 + 5 × 10 = 130 millionths; at worst 42 × 2 + 8 × 10 = 164
    with started(tmp_path / "out") as journal:
        meter, answers = spend(journal, fake, Budget(prices=prices, money=684e-6), 100)
        assert (answers, meter.summary()["money"]) == (5, pytest.approx(650e-6))  # 650 + 164 is too much
        note = journal.notes["cost"]
    assert note["money"] == pytest.approx(650e-6)
    assert note["by"]["judge"]["prompt_tokens"] == 200
    assert "open" not in note


def test_requests_that_belong_together_are_asked_together_or_not_at_all(tmp_path: Path) -> None:
    pairs = requests(6)
    pairs = [Request(**{**_fields(r), "together": 2 - n % 2}) for n, r in enumerate(pairs)]
    fake = Fake(width=1, num_prompt_tokens=42, num_tokens=8)
    with started(tmp_path / "out") as journal:
        metered = Meter(Budget(tokens=3 * WORST), journal).of("judge", fake)
        with pytest.raises(BudgetReached, match="100 of 150 tokens"):
            list(metered.generate(pairs))
    assert fake.sent == ["q0", "q1"]


def _fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__slots__}


def test_what_was_spent_counts_in_the_next_process(tmp_path: Path) -> None:
    for limit, calls in ((100, 2), (100, 2), (200, 4)):
        with started(tmp_path / "out") as journal:
            fake = Fake(num_prompt_tokens=42, num_tokens=8)
            meter, _ = spend(journal, fake, Budget(tokens=limit), 100)
            assert meter.summary()["cost"]["judge"]["calls"] == calls
    with started(tmp_path / "out", restart=True) as journal:
        assert Meter(Budget(), journal).summary() == {"cost": {}, "money": None}


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_process_never_spent_more_than_its_manifest_says(tmp_path: Path, seed: int) -> None:
    fake, worst_seen = Fake(width=4, seed=seed), 0
    with started(tmp_path / "out") as journal:
        meter = Meter(Budget(), journal)
        for _ in meter.of("judge", fake).generate(requests(60)):
            in_flight = len(fake.sent) - meter.summary()["cost"]["judge"]["calls"]
            found = Meter(Budget(), journal).summary()["cost"]["judge"]  # what another process would read now
            most = sum(value for name, value in found.items() if name.endswith("_tokens"))
            assert most >= fake.used + in_flight * WORST
            worst_seen = max(worst_seen, most - fake.used)
    assert worst_seen <= 4 * 4 * WORST  # and not much more


def test_what_is_abandoned_counts_at_its_worst_and_what_a_dead_server_had_counts_nothing(
    tmp_path: Path,
) -> None:
    with started(tmp_path / "out") as journal:
        meter = Meter(Budget(), journal)
        stream = meter.of("judge", Fake(width=3, num_prompt_tokens=9, num_tokens=1)).generate(requests(9))
        next(stream)
        stream.close()
        found = meter.summary()["cost"]["judge"]
        assert (found["calls"], found["prompt_tokens"], found["uncounted"]) == (3, 9, 2)
        assert (found["uncounted_prompt_tokens"], found["uncounted_completion_tokens"]) == (2 * 42, 2 * 8)
        with pytest.raises(EnvironmentProblem):
            list(meter.of("judge", Fake(width=3, patience=0)).generate(requests(9)))
        assert meter.summary()["cost"]["judge"] == {**found, "calls": 6}


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        (
            {"num_tokens": None, "num_prompt_tokens": None, "text": "four"},
            42 + 5,
        ),  # a token per byte, and the end
        ({"num_tokens": None, "num_prompt_tokens": None, "text": "x" * 99}, 42 + 8),
        ({"num_tokens": None, "num_prompt_tokens": None, "finish_reason": "error"}, 0),
        ({"num_tokens": None, "num_prompt_tokens": 7, "finish_reason": "too_long"}, 0),
        ({"num_tokens": 1, "num_prompt_tokens": 7, "wasted": ((5, 2), (None, None))}, 8 + 7 + 50),
    ],
)
def test_what_nobody_counted_is_bounded(tmp_path: Path, answer: dict[str, Any], tokens: int) -> None:
    with started(tmp_path / "out") as journal:
        meter, _ = spend(journal, Fake(**answer), Budget(), 1)
    found = meter.summary()["cost"]["judge"]
    assert sum(value for name, value in found.items() if name.endswith("_tokens")) == tokens


def test_a_server_that_adds_to_prompts_is_known_from_its_first_answer(tmp_path: Path) -> None:
    fake = Fake(width=1, num_prompt_tokens=1000, num_tokens=8)
    with started(tmp_path / "out") as journal:
        _, answers = spend(journal, fake, Budget(tokens=3500), 100)
    assert answers == len(fake.sent) == 3  # a fourth could make it 4032


def test_a_budget_of_money_needs_a_price(tmp_path: Path) -> None:
    with started(tmp_path / "out") as journal, pytest.raises(ConfigError, match="--price"):
        Meter(Budget(money=1.0), journal).of("judge", Fake())
