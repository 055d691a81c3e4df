"""`reasrm show`: judged rows in the terminal, or as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from reasrm.cli.console import finish, note, print_summary
from reasrm.cli.summary import progress
from reasrm.errors import ConfigError, InputError
from reasrm.files import replacing
from reasrm.judged import JudgedRow
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.look import AskedPrompt, AskedRun, FoundRow, find_judged, join_inputs, judged_file
from reasrm.pipes import settled
from reasrm.printable import one_line, printable
from reasrm.records import CandidateSet, Comparison, Conversation, Judgment, Order, PreferencePair, Row
from reasrm.sources.rubric_lines import load_rubrics
from reasrm.tables import refuse_missing

__all__ = ["run_show"]

_ROW_COLUMNS = (
    *("id", "subset", "group", "language", "label", "verdict", "status", "correct", "confidence"),
    *("consistent", "score", "seed"),
)
_JUDGMENT_COLUMNS = (
    *("order", "vote", "response", "verdict", "strength", "status", "score", "detail"),
    *("critique", "rubric", "reasoning", "text", "num_tokens", "finish_reason"),
)
_TABLE = ("id", *(f"row_{name}" for name in _ROW_COLUMNS[1:]), "judge", *_JUDGMENT_COLUMNS)
_PARQUET = {
    **dict.fromkeys(("row_correct", "row_consistent"), "bool"),
    **dict.fromkeys(("row_confidence", "row_score", "score"), "float64"),
    **dict.fromkeys(("row_seed", "vote", "response", "strength", "num_tokens"), "int64"),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_RULE = "─" * 78
_SAME = {True: "same", False: "differ", None: "not_compared"}


def run_show(
    path: Path,
    *,
    inputs: Sequence[Path],
    source: str,
    kinds: Sequence[str],
    ids: Sequence[str],
    limit: int,
    whole: bool,
    output: Path | None,
    prompt: bool = False,
    rubrics: Path | None = None,
) -> None:
    """Print judged rows, or write a table of them, and end with the summary.

    Without `inputs`, the files that the manifest names are read, if they are all there.
    """
    path = judged_file(path)
    run = AskedRun.read(path)
    rows = None if output is not None else _input(run, inputs, source, rubrics)
    if prompt:
        _check_prompt(path, run, rows, rubrics)
    summary: dict[str, Any] = {"command": "show", "file": str(path)}
    if output is not None:
        count = _write_table(path, kinds, ids, output)
        summary |= {
            "output": str(output),
            "progress": progress("judgments", count, count),
            "judgments": count,
        }
        print_summary(summary)
        return
    shown = list(find_judged(path, kinds, ids, limit))
    try:
        shown = shown if rows is None else join_inputs(shown, rows)
    except InputError as error:
        if inputs or prompt:
            raise
        note(f"the rows that were judged cannot be read any more: {error}")
    prompts: Counter[str] = Counter()
    for found in shown:
        asked = list(run.prompts(found)) if prompt and run is not None else []
        print("\n".join(_describe(found, whole, asked)))
        if prompt:
            prompts.update(_SAME[item.same] for item in asked)
            prompts["missing"] += len(found.judged.judgments) - len(asked)
    if not shown:
        note("no row fits" if kinds or ids else "no row was judged yet")
    elif len(shown) == limit:
        note(f"the first {limit} rows that fit; --limit shows more")
    if shown and rows is None:
        note("pass --input ROWS to see prompts and responses, too")
    summary |= {"progress": progress("rows", len(shown), len(shown)), "shown": len(shown)}
    if prompt:
        summary["prompts"] = {name: prompts[name] for name in (*_SAME.values(), "missing")}
        if prompts["differ"]:
            note(f"prompt differs: {prompts['differ']} judgments were asked with another one")
        if prompts["missing"]:
            note(f"{prompts['missing']} prompts cannot be built: their input rows changed or are not there")
    finish(summary, 4 if prompts["differ"] or prompts["missing"] else 0)


def _input(
    run: AskedRun | None, inputs: Sequence[Path], source: str, rubrics: Path | None
) -> JudgeInput | None:
    """Return the rows that were judged, if they are at hand."""
    given = load_rubrics(settled(rubrics)) if rubrics else None
    columns = None if run is None else run.identity.get("columns")
    if inputs:
        return JudgeInput(inputs, source=source, rubrics=given, columns=columns, dedupe="first")
    if run is None or not run.inputs:
        return None
    try:
        refuse_missing(run.inputs)
    except InputError:
        return None
    return JudgeInput(run.inputs, source=source, rubrics=given, columns=columns, dedupe="first")


def _check_prompt(path: Path, run: AskedRun | None, rows: JudgeInput | None, rubrics: Path | None) -> None:
    """Refuse what no prompt can be built from.

    Raises:
        ConfigError: The run kept no spec, or its rows or rubrics are not at hand.
    """
    if run is None:
        remedy = "judge again with this version"
        raise ConfigError("the run kept no spec, so no prompt can be built", place=str(path), remedy=remedy)
    if rows is None:
        remedy = "pass --input ROWS, without --output"
        raise ConfigError("the rows that were judged are not at hand", place=str(path), remedy=remedy)
    if run.identity.get("rubrics") and rubrics is None:
        raise ConfigError("was judged with rubrics", place=str(path), remedy="pass --rubrics FILE")


def _describe(found: FoundRow, whole: bool, asked: Sequence[AskedPrompt] = ()) -> Iterator[str]:
    """Yield the lines that show one row."""
    judged = found.judged
    yield _RULE
    yield one_line(f"{judged.id}  {_outcome(judged)}")
    named = {name: getattr(judged, name) for name in ("subset", "group", "language")}
    about = [f"{name} {value}" for name, value in named.items() if value is not None]
    about += [f"imitates markers: {', '.join(judged.flagged)}"] if judged.flagged else []
    if about:
        yield one_line(", ".join(about))
    if found.row is not None:
        yield from _texts(found.row, judged)
    elif found.problem is not None:
        yield f"(no texts: {found.problem})"
    shown = {(item.judgment.order, item.judgment.response, item.same): item for item in asked}
    for item in shown.values():  # once for all votes
        yield from _prompt(item)
    for judgment in judged.judgments:
        yield from _judgment(judgment, whole)
    yield ""


def _decided(said: JudgedRow | Judgment, verdict: str | None) -> str:
    """Return a verdict, else a score, else a ranking, else why there is none."""
    found = next((value for value in (verdict, said.score, said.ranking) if value is not None), said.status)
    return str(list(found) if isinstance(found, tuple) else found)


def _outcome(judged: JudgedRow) -> str:
    """Return what a row came to, in words: `A, label B: wrong, orders disagree`."""
    said = [_decided(judged, judged.verdict)]
    if judged.label is not None:
        said.append(f"label {list(judged.label) if isinstance(judged.label, tuple) else judged.label}")
    if judged.correct is not None:
        said.append("right" if judged.correct else "wrong")
    if judged.consistent is not None:
        said.append("orders agree" if judged.consistent else "orders disagree")
    if judged.confidence is not None and judged.confidence < 1:
        said.append(f"{judged.confidence:.0%} of the votes")
    return ", ".join(said)


def _texts(row: Row, judged: JudgedRow) -> Iterator[str]:
    yield from _section("prompt", _conversation(row.prompt))
    for name in ("rubric", "principle", "reference"):
        value = getattr(row, name)
        if value is not None:
            yield from _section(name, value if isinstance(value, str) else value.render())
    if isinstance(row, PreferencePair):
        row = row.compare()
    if isinstance(row, Comparison):
        for side, text in (("A", row.response_a), ("B", row.response_b)):
            yield from _section(f"response {side}" + (", the label" if judged.label == side else ""), text)
    elif isinstance(row, CandidateSet):
        for number, text in enumerate(row.responses):
            yield from _section(f"response {number}", text)


def _conversation(prompt: Conversation) -> str:
    if len(prompt) == 1:
        return prompt[0].content
    return "\n".join(f"({message.role}) {message.content}" for message in prompt)


def _judgment(judgment: Judgment, whole: bool) -> Iterator[str]:
    swapped = " (its text calls response B 'A')" if judgment.order is Order.BA else ""
    title = f"judged in order {judgment.order}{swapped}: {_decided(judgment, judgment.winner)}"
    title += f" ({judgment.detail})" if judgment.detail else ""
    title += f", vote {judgment.vote}" if judgment.vote else ""
    title += f", response {judgment.response}" if judgment.response else ""
    text = judgment.text if whole or judgment.critique is None else judgment.critique
    if whole and judgment.reasoning:
        yield from _section("reasoning apart", judgment.reasoning)
    yield from _section(title, text or "(no text)")


def _prompt(asked: AskedPrompt) -> Iterator[str]:
    judgment = asked.judgment
    said = {None: "not compared", True: "as asked", False: "PROMPT DIFFERS from what was asked"}[asked.same]
    where = f"prompt in order {judgment.order}"
    where += f", response {judgment.response}" if judgment.response else ""
    for message in asked.messages:
        yield from _section(f"{where}, {message['role']} ({said})", message["content"])


def _section(title: str, text: str) -> Iterator[str]:
    yield f"▸ {one_line(title)}"
    yield from (f"  {line}" for line in printable(text).splitlines())


def _write_table(path: Path, kinds: Sequence[str], ids: Sequence[str], output: Path) -> int:
    """Write one line per judgment, the row's columns in front, and return how many there are.

    Raises:
        ConfigError: The name does not say which format.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise ConfigError(
            "names no format of a table", place=str(output), remedy="end it in .csv or .parquet"
        )
    records = chain.from_iterable(map(_flatten, find_judged(path, kinds, ids)))
    with replacing(output) as stream:
        return writers[output.suffix](records, stream)


def _flatten(found: FoundRow) -> Iterator[dict[str, Any]]:
    line = found.judged.to_json()
    row = {name: line.get(name.removeprefix("row_")) for name in _TABLE[: len(_ROW_COLUMNS)]}
    row["row_label"] = None if row["row_label"] is None else str(row["row_label"])
    row["judge"] = line["judge"].get("name")
    for judgment in line["judgments"] or [dict[str, Any]()]:
        yield row | {name: judgment.get(name) for name in _JUDGMENT_COLUMNS}


def _write_csv(records: Iterable[Mapping[str, Any]], stream: IO[bytes]) -> int:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front; Parquet keeps it as it is."""
    text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
    writer = csv.DictWriter(text, _TABLE)
    writer.writeheader()
    count = 0
    for record in records:
        writer.writerow({name: _tame(value) for name, value in record.items()})
        count += 1
    text.detach()  # flushes; the caller closes the stream
    return count


def _tame(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _write_parquet(records: Iterable[Mapping[str, Any]], stream: IO[bytes]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _PARQUET.get(name, "string")) for name in _TABLE])
    source, count = iter(records), 0
    with pq.ParquetWriter(stream, schema) as writer:
        while chunk := list(islice(source, 1000)):
            writer.write_table(pa.Table.from_pylist(chunk, schema))
            count += len(chunk)
    return count
