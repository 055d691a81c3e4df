"""Real judges' recorded critiques with their core arguments, by set, read with the package's own readers.

Four files: GPT-4 on MT-Bench (Prometheus: three samples of feedback on one response), gpt-3.5-turbo on PandaLM's
test set (one reason for each pair), o1-mini on JudgeBench and ChatGPT on LLMBar (one judge, two orders). LLMBar's
file has a second round for rows whose two orders disagreed: there the judge reads both of its first texts, so only
the first round's texts were written without knowledge of each other. It is a set of its own, the scored last round
another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasrm.critiques import core_arguments
from reasrm.jsonl import read_rows
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.records import CandidateSet, Comparison, CoreArgument, Order, Recorded, Row, Winner
from reasrm.requests import Completion
from reasrm.sources import get, read_file
from reasrm.sources.recorded import read_recordings

__all__ = ["Item", "TextSet", "Written", "read_sets"]

PROMETHEUS = "prometheus/mt_bench_eval.json"
PANDALM = ("pandalm/testset-v1.json", "pandalm/gpt-3.5-turbo-testset-v1.json")
JUDGEBENCH = "judgebench/judgments_gpt-4o_arena-hard_o1-mini.jsonl"
LLMBAR = "llmbar/judge_natural_chatgpt_swapcot.result.json"


@dataclass(frozen=True, slots=True)
class Written:
    """One text of a judge.

    Args:
        text: As recorded; it speaks of the order shown.
        arguments: Its core arguments, in the row's own order.
        verdict: In the row's own order; None if unreadable or not asked for.
        score: Of feedback on one response.
        order: The order shown.
    """

    text: str
    arguments: tuple[CoreArgument, ...]
    verdict: Winner | None = None
    score: int | None = None
    order: Order = Order.AB


@dataclass(frozen=True, slots=True)
class Item:
    """A row and what one judge wrote about it, once or several times."""

    id: str
    target: Winner | None
    texts: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class TextSet:
    """The texts of one judge on one file.

    Args:
        name: Short name.
        judge: Who wrote, and on what.
        repeats: What several texts of an item are to each other.
        licence: Of the texts, and where it is stated.
        quotable: Whether sentences may be quoted, or only snippets.
        items: In the file's order.
    """

    name: str
    judge: str
    repeats: str
    licence: str
    quotable: bool
    items: tuple[Item, ...]


def read_sets(data: Path) -> list[TextSet]:
    """Return the sets whose files are under a folder laid out as the public repositories' files were copied."""
    sets = (
        TextSet(
            "Prometheus",
            "GPT-4, feedback on one response of MT-Bench",
            "three samples of the same prompt",
            "Apache-2.0, LICENSE file of prometheus-eval/prometheus-eval",
            True,
            _items(data / PROMETHEUS, _feedback),
        ),
        TextSet(
            "PandaLM",
            "gpt-3.5-turbo, reason for a verdict on PandaLM's test set",
            "none: one text for each row",
            "Apache-2.0, LICENSE file of WeOpenML/PandaLM",
            True,
            _pandalm(*(data / name for name in PANDALM)),
        ),
        TextSet(
            "JudgeBench",
            "o1-mini, judgment in Arena-Hard's form on JudgeBench",
            "the same row with the responses exchanged",
            "no licence file in ScalerLab/JudgeBench (MIT is stated for the rows only): snippets",
            False,
            _items(data / JUDGEBENCH, _both_orders("arena-hard")),
        ),
        TextSet(
            "LLMBar, first round",
            "ChatGPT, chain of thought on LLMBar Natural",
            "the same row with the responses exchanged",
            "MIT, LICENSE file of princeton-nlp/LLMBar",
            True,
            tuple(_first_rounds(data / LLMBAR)),
        ),
        TextSet(
            "LLMBar, last round",
            "the same; where the orders disagreed, after reading both first texts",
            "the same row exchanged; not independent where there was a second round",
            "MIT, LICENSE file of princeton-nlp/LLMBar",
            True,
            _items(data / LLMBAR, _both_orders("llmbar")),
        ),
    )
    return [found for found in sets if found.items]


def _items(path: Path, read: Callable[[Row], Item | None]) -> tuple[Item, ...]:
    if not path.exists():
        return ()
    rows = (row for found in read_file(path) for row in found.rows)
    return tuple(item for row in rows if (item := read(row)) is not None)


def _feedback(row: Row) -> Item | None:
    if not isinstance(row, CandidateSet) or "gpt4_feedback" not in row.meta:
        return None
    pairs = zip(row.meta["gpt4_feedback"], row.meta["gpt4_score"], strict=True)
    texts = (Written(text, core_arguments(text, about="A"), score=score) for text, score in pairs)
    return Item(row.id, None, tuple(texts))


def _pandalm(rows: Path, results: Path) -> tuple[Item, ...]:
    if not rows.exists() or not results.exists():
        return ()
    verdicts = read_recordings(results)
    reasons: dict[str, Any] = {
        str(raw.data["idx"]): raw.data["gpt_reason"] for raw in read_rows(results) if raw.data
    }
    items = []
    for row in (row for found in read_file(rows, coerce_scalars=True) for row in found.rows):
        if isinstance(row, Comparison) and isinstance(text := reasons.get(row.id), str) and text.strip():
            (recorded,) = verdicts[row.id][Order.AB]
            verdict = recorded.decision.winner if recorded.decision else None
            items.append(Item(row.id, _target(row), (Written(text, core_arguments(text), verdict),)))
    return tuple(items)


def _first_rounds(path: Path) -> Iterator[Item]:
    """Yield the items with the first of a row's rounds, which the source passes over where there is a second."""
    read, source = _both_orders("llmbar"), get("llmbar")
    for raw in read_rows(path) if path.exists() else ():
        if raw.data is not None:
            for row in source.read({**raw.data, "results": raw.data["results"][:1]}, raw.place):
                if (item := read(row)) is not None:
                    yield item


def _both_orders(spec_name: str) -> Callable[[Row], Item | None]:
    spec = load_spec(spec_name)

    def read(row: Row) -> Item | None:
        if not isinstance(row, Comparison):
            return None
        texts = [
            _written(spec, recorded, order) for order, votes in row.recorded.items() for recorded in votes
        ]
        return Item(row.id, _target(row), tuple(texts))

    return read


def _written(spec: JudgeSpec, recorded: Recorded, order: Order) -> Written:
    """Return a text with verdict and arguments in the row's own order."""
    verdict = parse(spec, Completion.replayed("", recorded)).verdict
    shown = Written(
        recorded.text, core_arguments(recorded.text), verdict.winner if verdict else None, order=order
    )
    if order is Order.AB:
        return shown
    own = verdict.swap().winner if verdict else None
    return replace(shown, arguments=tuple(argument.swap() for argument in shown.arguments), verdict=own)


def _target(row: Comparison) -> Winner | None:
    return row.target.winner if row.target else None
