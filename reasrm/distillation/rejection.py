"""Rejection by label: of a teacher's judged rows, keep the traces whose verdict is the label.

The teacher is any judge; `reasrm judge` has asked it and written its rows. A kept trace becomes an SFT row: the prompt
the teacher saw, span by span, and its text. A trace that was rejected goes to a sibling file with the reason, so that
nothing is lost. Stage 1 of RM-R1 (arXiv 2505.02387 §2.2) before its second teacher; there, too, a trace is judged by
its verdict only, so a right verdict with a wrong critique is kept. Thinking that an endpoint returned apart from its
text is not part of the trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasrm.durable import read_records
from reasrm.errors import InputError
from reasrm.files import replacing
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Order, PreferencePair, Row
from reasrm.strictjson import dumps

__all__ = ["KeptTraces", "keep_by_label"]


@dataclass(slots=True)
class KeptTraces:
    """What rejection left.

    Args:
        output: SFT rows.
        rejected: Traces that were not kept, with `reason`.
        kept: How many were.
        reasons: Reason → traces rejected: a parse status, `wrong_verdict` or `no_label`; or rows that nobody was
            asked about: `identical`, `degenerate`.
    """

    output: Path
    rejected: Path
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def keep_by_label(spec: JudgeSpec, judged: Path, rows: Mapping[str, Row], output: Path) -> KeptTraces:
    """Write SFT rows for the traces whose verdict is the label, and the others to `OUTPUT.rejected.jsonl`.

    Args:
        spec: The spec under which the teacher judged.
        judged: What `reasrm judge` wrote for the teacher.
        rows: The rows it judged, by id: preference pairs or labelled comparisons.
        output: Where SFT rows go; replaced whole, or not at all.

    Raises:
        InputError: `judged` cannot be read, or a judged row is none of `rows`, is no pair, or was judged under
            another spec.
        EnvironmentProblem: The files cannot be written.
    """
    result = KeptTraces(output, output.with_name(f"{output.name}.rejected.jsonl"))
    try:
        lines = sorted(read_records(judged), key=lambda line: str(line["id"]))
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", place=str(judged), remedy="let the teacher judge first"
        ) from error
    with replacing(output) as kept, replacing(result.rejected) as rejected:
        for line in lines:
            if not line["judgments"]:  # identical or empty responses: nobody was asked
                result.reasons[line["status"]] += 1
                rejected.write(dumps({"id": line["id"], "reason": line["status"]}) + b"\n")
            for trace, reason in _traces(spec, judged, line, rows):
                if reason is None:
                    result.kept += 1
                    kept.write(dumps(trace.to_json()) + b"\n")
                else:
                    result.reasons[reason] += 1
                    rejected.write(dumps({**trace.to_json(), "reason": reason}) + b"\n")
    return result


def _traces(
    spec: JudgeSpec, judged: Path, line: Mapping[str, Any], rows: Mapping[str, Row]
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
    row = rows.get(line["id"])
    if row is None:
        raise InputError("is none of the rows given", place=place, remedy="give the file that was judged")
    comparison = row.compare() if isinstance(row, PreferencePair) else row
    if not isinstance(comparison, Comparison):
        raise InputError("is not a pair", place=place, remedy="distil from preference pairs")
    label = comparison.target.winner if comparison.target else None
    for judgment in line["judgments"]:
        shown = comparison if judgment["order"] == Order.AB else comparison.swap()
        meta = {
            **({} if row.subset is None else {"subset": row.subset}),
            "pair": row.id,
            "order": judgment["order"],
            "label": None if shown.target is None else shown.target.winner,
            "teacher": line["judge"]["name"],
            "spec": spec.name,
            "spec_hash": spec.hash,
        }
        name = f"{row.id}|{judgment['order']}|{judgment['vote']}"
        trace = SFTRow(name, build_prompt(spec, shown), judgment["text"], meta)
        if judgment["status"] != "ok":
            yield trace, judgment["status"]
        elif label is None:
            yield trace, "no_label"
        else:
            yield trace, None if judgment["verdict"] == label else "wrong_verdict"
