"""Where each comparison stands: what was asked, what came back, what is to be asked next.

A slot is one pair in one order. Its next call follows from its own answers alone, so a run that was killed goes on
where it stopped, whatever was in flight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from reasrm.records import Order

__all__ = ["PASSES", "Limits", "Pass", "Slot", "TeacherCall", "call_name", "slot_name"]

Pass = Literal["teacher", "repair"]
PASSES: tuple[Pass, ...] = ("teacher", "repair")


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a slot may be asked.

    Args:
        samples: By pass; a pass that is absent is not run.
        keep: Right traces of pass 1 after which nothing more is asked.
    """

    samples: Mapping[Pass, int]
    keep: int


@dataclass(frozen=True, slots=True)
class TeacherCall:
    """One request to a teacher."""

    name: Pass
    attempt: int


@dataclass(slots=True)
class Slot:
    """The answers of one slot so far.

    Args:
        asked: Pass → answers that came.
        right: Pass → those that may be kept.
        closed: Passes in which asking again is of no use: the prompt does not fit.
        failed: The pass in which a call failed after its retries, or None; nothing more is asked until such calls are
            tried again.
        wrong_attempt: The last answer of pass 1 with a readable, wrong verdict; −1 for none.
    """

    asked: dict[Pass, int] = field(default_factory=lambda: dict.fromkeys(PASSES, 0))
    right: dict[Pass, int] = field(default_factory=lambda: dict.fromkeys(PASSES, 0))
    closed: set[Pass] = field(default_factory=set)
    failed: Pass | None = None
    wrong_attempt: int = -1

    @property
    def solved(self) -> bool:
        """Whether a trace may be kept."""
        return any(self.right.values())

    def note(self, record: Mapping[str, Any]) -> None:
        """Take an answer into account; the order of answers does not matter."""
        name: Pass = record["pass"]
        self.asked[name] += 1
        if record["reason"] is None:
            self.right[name] += 1
        elif record["reason"] == "too_long":
            self.closed.add(name)
        elif record["reason"] == "wrong_verdict" and name == "teacher":
            self.wrong_attempt = max(self.wrong_attempt, record["attempt"])

    def next_call(self, limits: Limits) -> TeacherCall | None:
        """Return what is to be asked next, or None if the slot is settled."""
        if self.failed is not None or self.right["teacher"] >= limits.keep:
            return None
        for name in PASSES:
            if name == "repair" and self.solved:
                return None
            if name not in self.closed and self.asked[name] < limits.samples.get(name, 0):
                return TeacherCall(name, self.asked[name])
        return None


def slot_name(pair: str, order: Order) -> str:
    """Return the name of a slot."""
    return f"{pair}|{order.value}"


def call_name(slot: str, call: TeacherCall) -> str:
    """Return the name of a call: its record, its request and, if it is kept, its SFT row."""
    return f"{slot}|{call.attempt}" if call.name == "teacher" else f"{slot}|repair-{call.attempt}"
