"""Rubrics on a real model: judged with gold rubrics, with rubrics that the same model wrote, with none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from experiments import markdown
from experiments.real import rows
from experiments.real.lab import Lab, Stage
from experiments.real.measures import Counts
from experiments.real.page import arms_table, differences_table, stages_table
from experiments.real.steps import UNREADABLE
from reasrm.criteria.checks import check_rubric
from reasrm.demo.stages import read_pairs
from reasrm.durable import read_records
from reasrm.evaluation.table import format_estimate
from reasrm.hashing import derive_seed
from reasrm.records import PreferencePair
from reasrm.sources.rubric_lines import load_rubrics

__all__ = ["page", "run", "shown_rubrics"]

WRITER = "rubric-writer"
_SHARE = 0.5
"""Of the training rows that carry their gold rubric: so the judge knows what one is."""
_ARMS = ("none", "gold", "own, untouched", "own, taught")
_PAIRS = (("gold", "none"), ("own, untouched", "none"), ("own, taught", "none"), ("own, taught", "gold"))
_ABOUT = ("criteria", "redundant", "conflict", "leak_rate", "precision", "recall")
_SHOWN = 3


def run(lab: Lab, seeds: Sequence[int]) -> dict[str, Any]:
    """Train a judge and a writer, have rubrics written, judge under them."""
    table: dict[str, Any] = {
        "arms": {name: [] for name in _ARMS},
        "stages": {},
        "about": {},
        "written": {},
        "shown": {},
    }
    tests = lab.tests()
    gold = lab.file("gold", lambda: rows.gold_lines(_with_rubrics(lab)), lab.size.rows)
    for seed in seeds:
        traces = lab.traces(seed, "evidence", _SHARE)
        judge = lab.sft(f"sft-rubrics-{seed}", traces, seed)
        author = _writer(lab, seed)
        table["stages"] |= {f"judge, seed {seed}": judge.facts, f"writer, seed {seed}": author.facts}
        files: dict[str, Path | None] = {"none": None, "gold": gold}
        for name, writer in (("own, untouched", lab.model), ("own, taught", author.model)):
            path, took = _written(lab, f"{_slug(name)}-{seed}", writer, tests)
            files[name] = path if took["written"] else None
            table["written"][f"{name}, seed {seed}"] = took
            table["shown"].setdefault(name, list(shown_rubrics(path, read_pairs(tests), _SHOWN)))
        judged: dict[str, Path] = {}
        for name, rubrics in files.items():
            # Without a single rubric the rows are judged as without any.
            slug = f"rubrics-{_slug(name) if rubrics else 'none'}-{seed}"
            found: tuple[dict[str, Counts], Path] = lab.judged(slug, judge.model, tests, rubrics=rubrics)
            table["arms"][name].append(found[0])
            judged[name] = found[1]
        for name in ("gold", "own, untouched", "own, taught"):
            if (own := files[name]) is not None:
                table["about"][f"{name}, seed {seed}"] = _about(
                    lab, f"{_slug(name)}-{seed}", own, gold, tests, judged
                )
    return table


def _with_rubrics(lab: Lab) -> Iterator[PreferencePair]:
    for split in rows.SPLITS:
        yield from rows.english(split, lab.size.rows, rubric_share=1.0)


def _writer(lab: Lab, seed: int) -> Stage:
    """Teach the model to write rubrics, from gold rubrics of pairs that are none of the judge's."""
    steps = lab.size.writer_steps
    start = 50_000 + 8 * steps * seed
    data = lab.file(
        "writer",
        lambda: rows.writer_rows(rows.english("train", 8 * steps, start, 1.0), WRITER),
        8 * steps,
        start,
    )
    return lab.sft(f"sft-writer-{seed}", data, seed, steps=steps, more=(f"spec={WRITER}",))


def _written(lab: Lab, name: str, writer: Path | str, tests: Path) -> tuple[Path, dict[str, Any]]:
    words = ("rubrics", "write", "--writer", writer, "--spec", WRITER, "--input", tests)
    how = ("--dtype", lab.dtype, "--batch-size", "16", "--max-tokens", "192")
    path, took = lab.step(f"written-{name}", *words, *how, suffix=".jsonl", fine=(0, UNREADABLE))
    lines = list(read_records(path)) if path.exists() else []
    return path, {
        "written": len(lines),
        "asked": len(lines) + len(_failures(path)),
        "seconds": took["seconds"],
    }


def _failures(path: Path) -> list[dict[str, Any]]:
    errors = path.with_name(f"{path.name}.errors.jsonl")
    return list(read_records(errors)) if errors.exists() else []


def _about(
    lab: Lab, name: str, rubrics: Path, gold: Path, tests: Path, judged: Mapping[str, Path]
) -> dict[str, Any]:
    """Return the numbers of `reasrm rubrics report`."""
    words = ("rubrics", "report", "--rubrics", rubrics, "--pairs", tests, "--gold-rubrics", gold)
    folder, _ = lab.step(f"report-{name}", *words, "--none", judged["none"], "--gold", judged["gold"])
    report = orjson.loads((folder / "report.json").read_bytes())
    return {key: value for section in report["sections"].values() for key, value in section.items()}


def shown_rubrics(path: Path, pairs: Mapping[str, PreferencePair], most: int) -> Iterator[str]:
    """Yield, of rows drawn by id, request, rubric and what the checks find; where none was written, what was said."""
    written = load_rubrics(path) if path.exists() and path.stat().st_size else None
    drawn = sorted(pairs.values(), key=lambda pair: derive_seed("shown rubrics", pair.id))
    found = [
        (pair, line) for pair in drawn if written is not None and (line := written.find(pair)) is not None
    ]
    for pair, line in found[:most]:
        faults = check_rubric(line.rubric, pair.prompt[-1].content, (pair.chosen, pair.rejected))
        said = [
            f"{fault.reason} in criterion {(fault.criterion or 0) + 1}: {fault.found}" for fault in faults
        ]
        yield "\n".join(
            [pair.prompt[-1].content, "", line.rubric.render(), "", "checks: " + ("; ".join(said) or "none")]
        )
    for failure in _failures(path)[: most - len(found)] if len(found) < most else []:
        yield f"no rubric ({failure['code']}):\n{str(failure.get('text', ''))[:600]}"


def _slug(name: str) -> str:
    return name.replace(", ", "-")


def page(table: Mapping[str, Any] | None) -> list[str]:
    """Return what the page says between head and claims."""
    if table is None:
        return [_HEAD]
    said = [_HEAD, arms_table(table["arms"], rows.SPLITS), "### Paired differences in accuracy\n"]
    said += [
        differences_table(table["arms"], _PAIRS, "accuracy", rows.SPLITS),
        "## What the rubrics are like\n",
    ]
    said += [_rubrics(table), stages_table(table["stages"])]
    for name, texts in table["shown"].items():
        said += [f"## Three that it wrote, {name.partition(', ')[2]}\n", markdown.texts(texts)]
    return said


def _rubrics(table: Mapping[str, Any]) -> str:
    lines = []
    for name in {**table["about"], **table["written"]}:
        took, about = table["written"].get(name), table["about"].get(name, {})
        count = "-" if took is None else f"{took['written']} of {took['asked']}"
        lines.append([name, count, *(format_estimate(about.get(key)) for key in _ABOUT)])
    told = (
        "the numbers of `reasrm rubrics report`; a request without a readable rubric is judged without one."
    )
    heads = ["rubrics", "written", *(name.replace("_", " ") for name in _ABOUT)]
    return f"{markdown.table(heads, lines)}\n*written*: requests for which a rubric could be read; {told}\n"


_HEAD = """The judge learnt the arm *evidence* of the English world anew, half of its rows with their gold rubric: the
demands with their weights, which the request states in other words. It judges the same test rows with no rubric, with
the gold one, and with rubrics that the same model wrote: *untouched*, as it is fetched, or *taught*, after a few
steps of SFT on gold rubrics of other requests. Writers see the request alone (`rubric-writer`).
"""
