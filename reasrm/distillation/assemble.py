"""From answers to files: SFT rows, rejected traces, ledger, hints. A function of input and answers alone.

Nobody reads `meta.difficulty` of an SFT row yet, the attempts up to the first right trace: a curriculum is to.

Rows stand in the order of their ids, so that the files depend neither on the order of the input nor on that of the
answers. They appear together at the end of a run; each is whole or as it was before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasrm.distillation.hints import mask_hint
from reasrm.distillation.plan import DistillSetup, Plan, pair_of, unasked_reason
from reasrm.distillation.slots import PASSES, Pass, Slot, TeacherCall, call_name, slot_name
from reasrm.distillation.traces import completion_text, make_row, shown
from reasrm.durable.lookup import RecordIndex, open_records
from reasrm.errors import InternalError
from reasrm.generation.admission import source_of
from reasrm.generation.ledger import KEPT, AnswerFiles, Ledger, WriteLine
from reasrm.judging.inputs import InputRow
from reasrm.protocol.sft_rows import SFTRow
from reasrm.records import Comparison, Order, PreferencePair

__all__ = ["DistillFiles", "assemble"]


@dataclass(frozen=True, slots=True)
class DistillFiles(AnswerFiles):
    """The files of a distillation, in one folder."""

    WRITTEN = ("sft", "hints")

    @property
    def sft(self) -> Path:
        """Kept traces as SFT rows."""
        return self.folder / "sft.jsonl"

    @property
    def hints(self) -> Path:
        """Kept traces with their verdicts masked."""
        return self.folder / "hints.jsonl"


def assemble(
    setup: DistillSetup, plan: Plan, slots: Mapping[str, Slot], files: DistillFiles
) -> tuple[Ledger, int]:
    """Write the files of a finished run; return the ledger and the number of SFT rows."""
    named = {"sft": files.sft, "rejected": files.rejected}
    named |= {"hints": files.hints} if setup.config.hints is not None else {}
    with open_records(files.calls) as index, files.written(PASSES, **named) as (ledger, write):
        assembly = _Assembly(setup, plan, slots, index, ledger, write)
        for item in setup.rows:
            assembly.add(item)
    return ledger, assembly.num_rows


class _Assembly:
    """Goes through the input and sorts its answers."""

    def __init__(
        self,
        setup: DistillSetup,
        plan: Plan,
        slots: Mapping[str, Slot],
        index: RecordIndex,
        ledger: Ledger,
        write: WriteLine,
    ) -> None:
        self.num_rows = 0
        self._setup = setup
        self._plan = plan
        self._slots = slots
        self._index = index
        self._ledger = ledger
        self._write = write

    def add(self, item: InputRow) -> None:
        """Count a line of the input and write its traces."""
        source = source_of(item.row, self._setup.config.group_by)
        reason = self._plan.invalid.get(item.id)
        if reason is None:
            pair = pair_of(item)
            reason = unasked_reason(self._setup.spec, pair) or self._add_pair(pair, source)
        if not any(slot_name(item.id, order) in self._slots for order in Order):
            self._write("rejected", item.id, {"id": item.id, "reason": reason})
        self._ledger.add_row(source, reason)

    def _add_pair(self, pair: PreferencePair | Comparison, source: str) -> str:
        """Write the traces of a pair; return `kept`, or why none is."""
        slots = {order: self._slots.get(slot_name(pair.id, order)) for order in Order}
        orders = self._plan.pairs.get(pair.id)
        spoilt: str | None = None
        if orders is None:
            spoilt = "over_quota"
        elif self._setup.config.agreement and not all(slot and slot.solved for slot in slots.values()):
            spoilt = "orders_disagree"
        ends = [
            self._add_slot(pair, order, slot, source, spoilt)
            for order, slot in slots.items()
            if slot is not None
        ]
        if orders is None:
            return "over_quota"
        return next((end for end in (KEPT, "call_failed", "orders_disagree") if end in ends), ends[0])

    def _add_slot(
        self,
        pair: PreferencePair | Comparison,
        order: Order,
        slot: Slot,
        source: str,
        spoilt: str | None,
    ) -> str:
        """Write the traces of one comparison; return `kept`, or why none is.

        Args:
            pair: The pair.
            order: How it was shown.
            slot: Its answers in numbers.
            source: Under which they are counted.
            spoilt: Why even a right trace is not kept, or None.
        """
        name, comparison, end = slot_name(pair.id, order), shown(pair, order), KEPT
        records = list(self._answers(name, slot))
        solved = [number for number, record in enumerate(records, 1) if record["reason"] is None]
        for number, record in enumerate(records, 1):
            reason = record["reason"] or spoilt or KEPT
            asked_by: Pass = record["pass"]
            if reason == "wrong_verdict" and asked_by == "repair" and slot.wrong_attempt >= 0:
                reason = "wrong_twice"
            end = reason if not solved or number in solved else end
            self._ledger.add_answer(source, reason, asked_by, record)
            row = self._row(pair, comparison, record, number, solved[0] if solved else None)
            if reason == KEPT:
                self._keep(pair.id, row)
            else:
                detail = {} if record.get("detail") is None else {"detail": record["detail"]}
                self._write("rejected", pair.id, {**row.to_json(), "reason": reason, **detail})
        if slot.failed is not None:
            self._ledger.add_failure(source, slot.failed)
            self._write("rejected", pair.id, {"id": name, "reason": "call_failed"})
            return end if solved else "call_failed"
        return end

    def _answers(self, slot_id: str, slot: Slot) -> Iterator[dict[str, Any]]:
        """Yield the answers of a slot in the order in which they were asked for."""
        calls = (TeacherCall(name, attempt) for name in PASSES for attempt in range(slot.asked[name]))
        for call in calls:
            record = self._index.get(call_name(slot_id, call))
            if record is None:
                raise InternalError(f"the answer {call_name(slot_id, call)!r} was counted and is not there")
            yield record

    def _row(
        self,
        pair: PreferencePair | Comparison,
        comparison: Comparison,
        record: Mapping[str, Any],
        number: int,
        difficulty: int | None,
    ) -> SFTRow:
        source = pair.meta.get("source")
        facts = {
            "source": source if isinstance(source, str) else None,
            "pass": record["pass"],
            "attempt": number,
            "difficulty": difficulty,
            "prompt_tokens": record["num_prompt_tokens"],
            "completion_tokens": record["num_tokens"],
        }
        written = completion_text(record["text"], record.get("reasoning"), self._setup.config.thinking)
        name = str(record["id"])
        return make_row(self._setup.spec, pair, comparison, name, written, str(record["teacher"]), **facts)

    def _keep(self, pair_id: str, row: SFTRow) -> None:
        self.num_rows += 1
        self._write("sft", pair_id, row.to_json())
        hints = self._setup.config.hints
        if hints is None:
            return
        hint = mask_hint(self._setup.spec, row.completion, hints.prefix_ratio)
        if hint is not None:
            names = ("pair", "order", "spec", "spec_hash")
            meta = {name: row.meta[name] for name in names} | {"prefix_ratio": hints.prefix_ratio}
            self._write("hints", pair_id, {"id": row.id, "hint": hint, "meta": meta})
