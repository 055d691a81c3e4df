"""Which rows are asked about, in which orders, and in which turn.

A row that nobody can learn from (no label, equal or empty responses, a label that the spec's judges cannot give) is
never asked about. Under a quota, the pairs of a source stand in a queue whose order is a hash of id and seed: as many
as the quota asks are admitted; when they are settled, as many again as are missing, until the quota is full or the
queue empty. So no call is spent on pairs that the quota would throw away, and which pairs are kept depends neither on
the order of the file nor on who answered first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from reasrm.distillation.config import DistillConfig, TeacherSection
from reasrm.distillation.slots import Limits
from reasrm.distillation.traces import check_thinking
from reasrm.errors import ConfigError, RowError
from reasrm.generation.budget import Budget, Meter, Price
from reasrm.hashing import derive_seed
from reasrm.judging.aggregate import rule_status
from reasrm.judging.inputs import InputRow, JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Order, PreferencePair, Row
from reasrm.requests import Request, SamplingParams

__all__ = ["Plan", "Setup", "Teacher", "make_plan", "pair_of", "source_of"]

_NO_SOURCE = "(none)"
INVALID = "(invalid)"
"""Stands for the source of lines that are no rows."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """Who is asked in one pass, and how.

    Args:
        judge: A backend and the student's spec.
        section: The settings.
    """

    judge: Judge
    section: TeacherSection

    def __post_init__(self) -> None:
        if self.section.samples > 1 and self.sampling.temperature == 0:
            raise ConfigError(
                f"{self.section.samples} samples at temperature 0 are the same trace over and over",
                place=f"teacher {self.section.judge!r}",
                remedy="set its temperature, or 'samples: 1'",
            )

    @property
    def sampling(self) -> SamplingParams:
        """Temperature, top-p and token limit; every request has a seed of its own."""
        section = self.section
        return self.judge.sampling(
            temperature=section.temperature, top_p=section.top_p, max_tokens=section.max_tokens
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a distillation needs.

    Args:
        config: The settings.
        rows: The pairs.
        teacher: Of pass 1.
        repair: Of pass 2, or None.

    Raises:
        ConfigError: The parts do not fit together.
    """

    config: DistillConfig
    rows: JudgeInput
    teacher: Teacher
    repair: Teacher | None = None

    def __post_init__(self) -> None:
        spec = self.spec
        if spec.protocol != "pairwise":
            raise ConfigError(
                f"spec {spec.name!r} is {spec.protocol}; its verdicts cannot be held against preferences",
                place="spec",
                remedy="choose a pairwise spec",
            )
        if self.repair is not None and self.repair.judge.spec.hash != spec.hash:
            raise ConfigError("both teachers must be asked under one spec", place="repair")
        check_thinking(spec, self.config.thinking)

    @property
    def spec(self) -> JudgeSpec:
        """The protocol of both passes and of the student."""
        return self.teacher.judge.spec

    @property
    def limits(self) -> Limits:
        """How often a slot may be asked."""
        repairs = 0 if self.repair is None else self.repair.section.samples
        return Limits({"teacher": self.teacher.section.samples, "repair": repairs}, self.config.keep)

    @property
    def budget(self) -> Budget:
        """What asking both teachers may cost."""
        config, repair = self.config, self.config.repair
        own = {"teacher": config.teacher.price, "repair": None if repair is None else repair.price}
        prices = {name: Price(*price) for name, said in own.items() if (price := said or config.price)}
        return Budget(prices=prices, money=config.budget, tokens=config.budget_tokens)

    def metered(self, meter: Meter) -> Setup:
        """Return the same distillation, both of whose teachers pass a meter."""
        named = {"teacher": self.teacher, "repair": self.repair}
        through = {
            name: replace(known, judge=replace(known.judge, backend=meter.of(name, known.judge.backend)))
            for name, known in named.items()
            if known is not None
        }
        return replace(self, teacher=through["teacher"], repair=through.get("repair"))

    @property
    def options(self) -> JudgingOptions:
        """How pass 1 asks: as judging does with as many votes."""
        return JudgingOptions(
            orders=self.config.orders,
            votes=self.teacher.section.samples,
            seed=self.config.seed,
            sampling=self.teacher.sampling,
        )

    def requests(self, row: Row) -> dict[tuple[Order, int], Request]:
        """Return the requests of pass 1 by order and attempt: those of judging, seeds included.

        Raises:
            RowError: The row does not fit the spec.
        """
        return {(ask.order, ask.vote): ask.request for ask in plan_row(self.spec, row, self.options)}


@dataclass(slots=True)
class _Queue:
    """The pairs of a source under a quota, in the order in which they are admitted."""

    quota: int
    waiting: list[tuple[int, str, tuple[Order, ...]]] = field(default_factory=list)
    num_admitted: int = 0


class Plan:
    """What is asked, as far as it is decided.

    Attributes:
        pairs: The pairs admitted so far and their orders.
        sources: Source → rows that can be asked about.
        unasked: Reason → rows that nobody is asked about.
        invalid: Id → error code of rows that nobody can be asked about.
        num_rows: Rows of the input, bad lines included.
    """

    def __init__(self) -> None:
        self.pairs: dict[str, tuple[Order, ...]] = {}
        self.sources: Counter[str] = Counter()
        self.unasked: Counter[str] = Counter()
        self.invalid: dict[str, str] = {}
        self.num_rows = 0
        self._queues: dict[str, _Queue] = {}

    def add(self, config: DistillConfig, row: Row, orders: tuple[Order, ...]) -> None:
        """Take up a row that can be asked about."""
        source = source_of(config, row)
        self.sources[source] += 1
        quota = config.quota(source)
        if quota is None:
            self.pairs[row.id] = orders
            return
        queue = self._queues.setdefault(source, _Queue(quota))
        queue.waiting.append((derive_seed("quota", config.seed, row.id), row.id, orders))

    def close(self) -> None:
        """Bring the queues into their order and admit the first pairs."""
        for queue in self._queues.values():
            queue.waiting.sort()
        self.admit_more(lambda pair, orders: False)

    def admit_more(self, is_kept: Callable[[str, tuple[Order, ...]], bool]) -> bool:
        """Admit as many pairs of each source as are missing to its quota; return whether there were any.

        Args:
            is_kept: Whether an admitted pair, settled by now, is kept.
        """
        before = len(self.pairs)
        for queue in self._queues.values():
            admitted = queue.waiting[: queue.num_admitted]
            missing = queue.quota - sum(is_kept(pair, orders) for _, pair, orders in admitted)
            for _, pair, orders in queue.waiting[queue.num_admitted :][: max(missing, 0)]:
                self.pairs[pair] = orders
                queue.num_admitted += 1
        return len(self.pairs) > before

    @property
    def num_slots(self) -> int:
        """Comparisons admitted so far."""
        return sum(map(len, self.pairs.values()))

    @property
    def most_slots(self) -> int:
        """Comparisons that may be admitted in all."""
        waiting = (orders for q in self._queues.values() for _, _, orders in q.waiting[q.num_admitted :])
        return self.num_slots + sum(map(len, waiting))


def make_plan(setup: Setup) -> tuple[Plan, list[InputRow]]:
    """Read the input and decide what is asked; also return the rows that cannot be, with their errors."""
    plan = Plan()
    invalid: list[InputRow] = []
    for item in setup.rows:
        plan.num_rows += 1
        try:
            pair = pair_of(item)
            reason = unasked_reason(setup.spec, pair)
            if reason is None:
                orders = tuple(sorted({order for order, _ in setup.requests(pair)}))
                plan.add(setup.config, pair, orders)
            else:
                plan.unasked[reason] += 1
        except RowError as error:
            plan.unasked[error.code] += 1
            plan.invalid[item.id] = error.code
            invalid.append(item._replace(row=None, error=error))
    plan.close()
    return plan, invalid


def pair_of(item: InputRow) -> PreferencePair | Comparison:
    """Return the pair that a line of the input is.

    Raises:
        RowError: It is none.
    """
    if item.error is not None:
        raise item.error
    if not isinstance(item.row, PreferencePair | Comparison):
        raise RowError(
            "is not a pair", code="not_a_pair", place=item.place, remedy="distil from preference pairs"
        )
    return item.row


def unasked_reason(spec: JudgeSpec, row: PreferencePair | Comparison) -> str | None:
    """Return why nobody is asked about a pair, or None."""
    status = rule_status(row)
    if status is not None:
        return status.value
    target = row.compare().target if isinstance(row, PreferencePair) else row.target
    if target is None:
        return "no_label"
    return None if target.winner in allowed(spec) else "label_off_menu"


def allowed(spec: JudgeSpec) -> Iterable[str]:
    """Return the verdicts that a judge under this spec can give."""
    entries = [*getattr(spec.grammar, "menu", {}).values(), *getattr(spec.grammar, "phrases", {}).values()]
    return {entry.winner for entry in entries}.intersection(spec.allowed_verdicts)


def source_of(config: DistillConfig, row: Row | None) -> str:
    """Return the source under which a row is counted."""
    if row is None:
        return INVALID
    value = row.meta.get("source") if config.group_by == "source" else row.subset
    return value if isinstance(value, str) and value else _NO_SOURCE
