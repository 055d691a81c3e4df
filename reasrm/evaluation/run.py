"""One evaluation: judge the suite's rows durably, read them back, score them, write `result.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reasrm import __version__
from reasrm.durable import read_records
from reasrm.errors import InputError
from reasrm.evaluation.suites import Suite
from reasrm.hashing import digest
from reasrm.jsonl import file_sha256, write_json_atomic
from reasrm.judging.batch import BatchResult, OnProgress, judge_file
from reasrm.judging.inputs import JudgeInput, Scan
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.intervals import wilson
from reasrm.metrics.outcomes import RowOutcome, from_row

__all__ = ["Evaluation", "evaluate", "evaluate_published"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation left behind.

    Args:
        result: The content of `result.json`; empty if the run was interrupted.
        batch: The judging run.
        folder: Where `judgments.jsonl` and `result.json` lie.
    """

    result: dict[str, Any]
    batch: BatchResult
    folder: Path


def evaluate(
    suite: Suite,
    judge: Judge,
    rows: JudgeInput,
    folder: Path,
    options: JudgingOptions,
    *,
    restart: bool = False,
    retry_errors: bool = False,
    strict: bool = False,
    on_scan: Callable[[Scan], None] | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Judge and score. An interrupted evaluation continues when called again, and scores nothing before it is whole.

    Rows whose calls failed are left out of the score and counted in `num_errors`: a broken connection says nothing
    about a judge. Rows that the judge answered unreadably are in, by the suite's own policy.

    Raises:
        InputError: No row could be scored.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if suite.asks_everything:
        options = replace(options, judge_identical=True, judge_degenerate=True)
    batch = judge_file(
        judge,
        rows,
        folder / "judgments.jsonl",
        options,
        restart=restart,
        retry_errors=retry_errors,
        strict=strict,
        identity={"suite": suite.name},
        on_scan=on_scan,
        on_progress=on_progress,
    )
    if batch.signum is not None:
        return Evaluation({}, batch, folder)
    outcomes = sorted((from_row(line) for line in read_records(batch.output)), key=lambda outcome: outcome.id)
    if not outcomes:
        raise InputError("no row could be scored", place=str(folder), remedy=f"see {batch.errors}")
    result = _result(suite, judge, outcomes, batch, options)
    write_json_atomic(folder / "result.json", result)
    return Evaluation(result, batch, folder)


def evaluate_published(suite: Suite, path: Path, folder: Path, *, seed: int = 0) -> dict[str, Any] | None:
    """Recompute a suite's score from a file of published subset scores.

    Returns:
        The content of `result.json`, or None if the file is no such table.
    """
    outcomes = None if suite.published is None else suite.published(path)
    if outcomes is None:
        return None
    result = suite.score(outcomes, seed=seed).as_dict()
    result |= {
        "num_errors": 0,
        "parse_status": {},
        "judge": {"name": "replay"},
        "replayed": "subset_scores",
        "data_sha256": file_sha256(path),
        "seed": seed,
        "reasrm": __version__,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / "result.json", result)
    return result


def _result(
    suite: Suite, judge: Judge, outcomes: list[RowOutcome], batch: BatchResult, options: JudgingOptions
) -> dict[str, Any]:
    sha256 = batch.scan.sha256
    result = suite.score(outcomes, seed=options.seed).as_dict()
    tally = batch.tally
    readable = tally.statuses["ok"] + tally.statuses["split"]
    result["coverage"] = tally.coverage
    result["metrics"]["coverage"] = wilson(readable, tally.rows + tally.errors).as_dict()
    result["policy"] |= {
        "orders": "recorded" if options.recorded_only else options.orders,
        "votes": options.votes,
        "verdicts": judge.policy,
    }
    return {
        **result,
        "num_errors": tally.errors,
        "parse_status": dict(sorted(tally.parses.items())),
        "judge": judge.label,
        "replayed": "+".join(sorted(batch.scan.recorded)) if options.recorded_only else None,
        "data_sha256": sha256[0] if len(sha256) == 1 else digest(sha256, length=64),
        "seed": options.seed,
        "reasrm": __version__,
    }
