"""Rejection by label: of a teacher's judged rows, keep the traces whose verdict is the label.

The teacher is any judge; `reasrm judge` has asked it and written its rows. A kept trace becomes an SFT row: the prompt
the teacher saw, span by span, and its text. A trace that was rejected goes to a sibling file with the reason, so that
nothing is lost. Stage 1 of RM-R1 (arXiv 2505.02387 §2.2) before its second teacher; there, too, a trace is judged by
its verdict only, so a right verdict with a wrong critique is kept. `reasrm.distillation.run` asks by itself, no more
often than needed, and repairs what failed.

A judged row is matched to its row by id and by the digest of the row's bytes. Texts stay on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasrm.distillation.config import Thinking
from reasrm.distillation.lookup import open_records, sorted_lines
from reasrm.distillation.traces import (
    check_thinking,
    completion_text,
    make_row,
    read_written,
    reason_to_reject,
    shown,
)
from reasrm.durable import IdIndex, read_records
from reasrm.errors import InputError
from reasrm.judging.inputs import InputRow, JudgeInput
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Order, PreferencePair
from reasrm.requests import Completion
from reasrm.strictjson import dumps

__all__ = ["KeptTraces", "keep_by_label"]


@dataclass(slots=True)
class KeptTraces:
    """What rejection left.

    Args:
        output: SFT rows.
        rejected: Traces that were not kept, with `reason`.
        kept: How many were.
        reasons: Reason → traces rejected: a parse status, `refused`, `wrong_verdict` or `no_label`; or rows that nobody
            was asked about: `identical`, `degenerate`.
    """

    output: Path
    rejected: Path
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def keep_by_label(
    spec: JudgeSpec, judged: Path, rows: JudgeInput, output: Path, *, thinking: Thinking = "leave_out"
) -> KeptTraces:
    """Write SFT rows for the traces whose verdict is the label, and the others to `OUTPUT.rejected.jsonl`.

    Both files are in the order of the rows' ids.

    Args:
        spec: The spec under which the teacher judged.
        judged: What `reasrm judge` wrote for the teacher.
        rows: The rows it judged: preference pairs or labelled comparisons.
        output: Where SFT rows go; replaced whole, or not at all.
        thinking: What becomes of thinking that an endpoint returned apart from its text.

    Raises:
        InputError: `judged` cannot be read, or a judged row is none of `rows` or no longer the same, is no pair, or was
            judged under another spec.
        EnvironmentProblem: The files cannot be written.
    """
    check_thinking(spec, thinking)
    result = KeptTraces(output, output.with_name(f"{output.name}.rejected.jsonl"))
    if not judged.exists():
        raise InputError(
            "cannot be read: No such file or directory",
            place=str(judged),
            remedy="let the teacher judge first",
        )
    rows.scan()
    found = IdIndex()
    with open_records(judged) as index, sorted_lines(output) as keep, sorted_lines(result.rejected) as reject:
        for item in rows:
            line = index.get(item.id)
            if line is None or not found.add(item.id):
                continue
            if not line["judgments"]:  # identical or empty responses: nobody was asked
                result.reasons[line["status"]] += 1
                reject(item.id, dumps({"id": item.id, "reason": line["status"]}) + b"\n")
            for trace, reason in _traces(spec, judged, line, item, thinking):
                if reason is None:
                    result.kept += 1
                    keep(item.id, dumps(trace.to_json()) + b"\n")
                else:
                    result.reasons[reason] += 1
                    reject(item.id, dumps({**trace.to_json(), "reason": reason}) + b"\n")
        if len(found) < len(index):
            _refuse_strangers(judged, found)
    return result


def _refuse_strangers(judged: Path, found: IdIndex) -> None:
    stranger = next(line["id"] for line in read_records(judged) if line["id"] not in found)
    raise InputError(
        "is none of the rows given",
        place=f"{judged.name}: row {stranger!r}",
        remedy="give the file that was judged",
    )


def _traces(
    spec: JudgeSpec, judged: Path, line: Mapping[str, Any], item: InputRow, thinking: Thinking
) -> Iterator[tuple[SFTRow, str | None]]:
    """Yield each trace of a judged row with the reason to reject it, or None."""
    place = f"{judged.name}: row {line['id']!r}"
    if line["judge"]["spec_hash"] != spec.hash:
        raise InputError(
            f"was judged under the spec {line['judge']['spec']!r} ({line['judge']['spec_hash']}), "
            f"not {spec.name!r} ({spec.hash})",
            place=place,
            remedy="name the teacher's spec, or let it judge again",
        )
    if line["row_digest"] != item.digest.hex():
        raise InputError(
            f"was judged when {item.place} was another row",
            place=place,
            remedy="give the file that was judged, or let the teacher judge again",
        )
    pair = item.row
    if not isinstance(pair, PreferencePair | Comparison):
        raise InputError("is not a pair", place=place, remedy="distil from preference pairs")
    for judgment in line["judgments"]:
        comparison = shown(pair, Order(judgment["order"]))
        written = completion_text(judgment["text"], judgment.get("reasoning"), thinking)
        finish_reason = judgment["finish_reason"] or "stop"
        read = read_written(
            spec, Completion("-", text=judgment["text"], finish_reason=finish_reason), written
        )
        label = None if comparison.target is None else comparison.target.winner
        name = f"{pair.id}|{judgment['order']}|{judgment['vote']}"
        trace = make_row(spec, pair, comparison, name, written, line["judge"]["name"])
        yield trace, reason_to_reject(read, label, judgment["text"])
