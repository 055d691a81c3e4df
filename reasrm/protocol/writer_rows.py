"""Rows from which a rubric writer learns: what it is shown when it writes, and the rubric that it should write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, assert_never

from reasrm.errors import ConfigError, RowError
from reasrm.hashing import derive_seed
from reasrm.protocol.grammar import RubricGrammar
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import as_writer_sees, build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import CandidateSet, Comparison, ParseStatus, PreferencePair, Row, Rubric
from reasrm.requests import Completion

__all__ = ["WriterOrders", "check_writer_spec", "writer_row", "writer_view"]

WriterOrders = Literal["random", "swap", "given"]


def check_writer_spec(spec: JudgeSpec) -> None:
    """Raise `ConfigError` unless a spec is a rubric writer's."""
    if spec.protocol != "rubric":
        raise ConfigError(
            f"spec {spec.name!r} is {spec.protocol}: it judges and writes no rubrics",
            place="spec",
            remedy="choose a spec of protocol 'rubric', such as rubric-writer",
        )


def writer_view(
    spec: JudgeSpec, row: Row, orders: WriterOrders = "random", seed: int = 0
) -> Comparison | CandidateSet:
    """Return a row as a writer is shown it: its request, or a pair in an order that says nothing of the label.

    The order is drawn by a seed of the writer's own, so that it says nothing of the order in which a judge sees the
    same row under the same seed.

    Args:
        spec: Of the writer.
        row: Of any kind; a pair for a writer that sees pairs.
        orders: `random`, drawn from id and seed; `swap`, the other one; `given`, the row's own, where it has one.
        seed: Root of the draw.

    Raises:
        RowError: The writer sees pairs, and the row is none.
    """
    pair = row.compare() if isinstance(row, PreferencePair) else row
    if not isinstance(pair, Comparison):
        return as_writer_sees(spec, pair)
    match orders:
        case "given" if isinstance(row, Comparison):
            shown = pair
        case "random" | "given":
            shown = pair.present(derive_seed(seed, "rubric writer"))
        case "swap":
            shown = pair.present(derive_seed(seed, "rubric writer")).swap()
        case _:
            assert_never(orders)
    return as_writer_sees(spec, shown)


def writer_row(
    spec: JudgeSpec,
    row: Row,
    rubric: Rubric,
    *,
    orders: WriterOrders = "random",
    seed: int = 0,
    meta: Mapping[str, Any] | None = None,
) -> SFTRow:
    """Return the row of SFT that teaches a writer one rubric; it is learned from as `reasrm rubrics write` asks.

    Args:
        spec: How the writer will be asked.
        row: The row that the rubric is for.
        rubric: The rubric.
        orders: In which order a pair is shown.
        seed: Root of that draw.
        meta: What else is known; `spec_hash` and, of a pair, `order` are added.

    Raises:
        ConfigError: The spec is no writer's.
        RowError: The row does not fit the spec (`wrong_protocol`), or the grammar does not allow the rubric
            (`no_verdict`, `off_menu`, `ambiguous`): a writer must not learn what would not be read.
    """
    check_writer_spec(spec)
    shown = writer_view(spec, row, orders, seed)
    text = rubric.render(spec.grammar.layout if isinstance(spec.grammar, RubricGrammar) else "tagged")
    judgment = parse(spec, Completion(row.id, text))
    if judgment.status is not ParseStatus.OK:
        raise RowError(
            f"the rubric is none for spec {spec.name!r}: {judgment.detail}",
            code=judgment.status.value,
            place=row.id,
            remedy="leave the rubric out, or write it by the spec's grammar",
        )
    said = {"order": shown.order.value} if isinstance(shown, Comparison) else {}
    return SFTRow(row.id, build_prompt(spec, shown), text, {**(meta or {}), "spec_hash": spec.hash, **said})
