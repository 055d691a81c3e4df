"""Which rows are asked about, in which orders, and in which turn.

A row that nobody can learn from (no label, equal or empty responses, a label that the spec's judges cannot give) is
never asked about. Under a quota, pairs are admitted in turn, see `generation.admission`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reasrm.distillation.config import DistillConfig, TeacherSection
from reasrm.distillation.slots import Limits
from reasrm.distillation.traces import check_thinking
from reasrm.errors import ConfigError, RowError
from reasrm.generation.admission import Admission, source_of
from reasrm.generation.base import Backend
from reasrm.generation.budget import Budget, Price
from reasrm.judging.aggregate import rule_status
from reasrm.judging.inputs import InputRow, JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Order, PreferencePair, Row
from reasrm.requests import Request, SamplingParams

__all__ = ["DistillSetup", "Plan", "Teacher", "make_plan", "pair_of"]


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
class DistillSetup:
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

    @property
    def backends(self) -> dict[str, Backend]:
        """Who is asked, by pass."""
        named = {"teacher": self.teacher, "repair": self.repair}
        return {name: teacher.judge.backend for name, teacher in named.items() if teacher is not None}

    def asking(self, backends: Mapping[str, Backend]) -> DistillSetup:
        """Return the same distillation, in which others are asked, by pass."""
        named = {"teacher": self.teacher, "repair": self.repair}
        through = {
            name: replace(teacher, judge=replace(teacher.judge, backend=backends[name]))
            for name, teacher in named.items()
            if teacher is not None
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


class Plan(Admission[tuple[Order, ...]]):
    """What is asked, as far as it is decided.

    Attributes:
        unasked: Reason → rows that nobody is asked about.
        invalid: Id → error code of rows that nobody can be asked about.
        num_rows: Rows of the input, bad lines included.
    """

    def __init__(self, config: DistillConfig) -> None:
        super().__init__(config.quota, config.seed)
        self.unasked: Counter[str] = Counter()
        self.invalid: dict[str, str] = {}
        self.num_rows = 0

    @property
    def pairs(self) -> dict[str, tuple[Order, ...]]:
        """The pairs admitted so far and their orders."""
        return self.admitted

    @property
    def num_slots(self) -> int:
        """Comparisons admitted so far."""
        return sum(map(len, self.pairs.values()))

    @property
    def most_slots(self) -> int:
        """Comparisons that may be admitted in all."""
        return self.num_slots + sum(map(len, self.waiting()))


def make_plan(setup: DistillSetup) -> tuple[Plan, list[InputRow]]:
    """Read the input and decide what is asked; also return the rows that cannot be, with their errors."""
    plan = Plan(setup.config)
    invalid: list[InputRow] = []
    for item in setup.rows:
        plan.num_rows += 1
        try:
            pair = pair_of(item)
            reason = unasked_reason(setup.spec, pair)
            if reason is None:
                orders = tuple(sorted({order for order, _ in setup.requests(pair)}))
                plan.add(source_of(pair, setup.config.group_by), pair.id, orders)
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
