"""How rows become credits: which order counts, and what a tie, a split and an unreadable row are worth.

Published harnesses differ in exactly these four choices and move scores by them, so every score carries its
policy by name and nothing is credited outside of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Literal

from reasrm.errors import ConfigError
from reasrm.metrics.intervals import Estimate, bootstrap_ratio, mean_estimate
from reasrm.metrics.outcomes import Reading, RowOutcome
from reasrm.records import Order, Winner

__all__ = ["STRICT", "CreditPolicy", "CreditRule", "OrderRule", "accuracy", "credit"]

OrderRule = Literal["row", "mean", "both", "first", "second", "games"]
CreditRule = Literal["wrong", "half", "exclude", "null_vote"]
_CREDIT: dict[CreditRule, float | None] = {"wrong": 0.0, "half": 0.5, "exclude": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditPolicy:
    """What counts, for rows with a target. The target itself is always worth 1, the opposite side 0.

    Args:
        order: Which readings are graded:
            `row`: the row's verdict over all its judgments, in one order or two;
            `mean`: every order asked, averaged (rows without orders: the row's verdict);
            `both`: the worse of both orders; rows asked in one order only are left out;
            `first`, `second`: only the row's own order AB, only BA; rows not asked in it are left out;
            `games`: each order is a game, +1 for the target, -1 for another verdict, 0 by `null_vote`; the
            row is right (1) if the sum is above 0, else wrong (0).
        tie: A tie where the target is a side. A tie is right wherever the target is a tie.
        unparsed: A reading with no readable vote: failed parses, errors, rows that were not asked.
        split: A reading whose readable votes are level.

    The last three take `wrong` (credit 0), `half` (0.5), `exclude` (the reading is left out), or, for `games`
    and only there, `null_vote` (0 in the sum).
    """

    order: OrderRule
    tie: CreditRule
    unparsed: CreditRule
    split: CreditRule

    def __post_init__(self) -> None:
        rules = (self.tie, self.unparsed, self.split)
        if any((rule == "null_vote") != (self.order == "games") for rule in rules):
            raise ConfigError(
                f"order {self.order!r} with tie, unparsed, split = {rules}",
                remedy="'null_vote' goes with order 'games', for all three, and with nothing else",
            )

    def as_dict(self) -> dict[str, str]:
        """Return the JSON object that results hold."""
        return asdict(self)


STRICT = CreditPolicy(order="row", tie="wrong", unparsed="wrong", split="wrong")


def credit(row: RowOutcome, policy: CreditPolicy) -> float | None:
    """Return the row's credit in 0..1, None if it is left out (always so without a target)."""
    target = row.target
    if target is None:
        return None
    if policy.order == "row":
        return _grade(row.reading, target, policy)
    if policy.order == "games":
        return 1.0 if sum(_game_points(reading, target) for reading in row.games) > 0 else 0.0
    if policy.order == "mean":
        known = [c for reading in row.games if (c := _grade(reading, target, policy)) is not None]
        return fmean(known) if known else None
    wanted = {"first": (Order.AB,), "second": (Order.BA,), "both": tuple(Order)}[policy.order]
    grades = [_grade(row.game(order), target, policy) for order in wanted]
    return None if None in grades else min(grade for grade in grades if grade is not None)


def _grade(reading: Reading | None, target: Winner, policy: CreditPolicy) -> float | None:
    if reading is None:
        return None
    if reading == target:
        return 1.0
    if reading == "tie":
        return _CREDIT[policy.tie]
    if reading == "unreadable":
        return _CREDIT[policy.unparsed]
    return _CREDIT[policy.split] if reading == "split" else 0.0


def _game_points(reading: Reading, target: Winner) -> int:
    if reading == target:
        return 1
    return -1 if reading in ("A", "B") else 0


def accuracy(
    rows: Iterable[RowOutcome], policy: CreditPolicy, seed: int = 0, *, order: OrderRule | None = None
) -> Estimate:
    """Return the mean credit; `n` is the number of rows with a target that the policy does not leave out.

    The interval is Wilson's if all credits are 0 or 1 and every row stands alone; otherwise a bootstrap's,
    which resamples whole groups where rows have one.

    Args:
        rows: Judged rows.
        policy: What counts.
        seed: Seed of the bootstrap.
        order: Replaces the policy's order rule.
    """
    chosen = policy if order is None else replace(policy, order=order)
    credits: list[float] = []
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        value = credit(row, chosen)
        if value is not None:
            credits.append(value)
            key = ("row", str(len(credits))) if row.group is None else ("group", row.group)
            groups.setdefault(key, []).append(value)
    if len(groups) == len(credits):
        return mean_estimate(credits, seed)
    clustered = bootstrap_ratio([(sum(part), len(part)) for part in groups.values()], seed)
    return replace(clustered, n=len(credits))
