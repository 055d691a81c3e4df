"""One evaluation: judge the suite's rows durably, read them back, score them, write `result.json`.

Where rows carry reference critiques, the judge's critiques are scored, too, and written to `critiques.jsonl`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasrm import __version__
from reasrm.durable import ResumeState
from reasrm.errors import ConfigError, InputError
from reasrm.files import in_folder, write_json_atomic
from reasrm.generation.run import RunControl
from reasrm.hashing import digest
from reasrm.judging.batch import BatchResult, judge_file
from reasrm.judging.inputs import JudgeInput, Scan
from reasrm.judging.judge import Judge
from reasrm.judging.look import judged_rows
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.intervals import wilson
from reasrm.metrics.outcomes import RowOutcome, from_row
from reasrm.metrics.suite import Suite
from reasrm.tables import content_sha256

if TYPE_CHECKING:  # scipy costs half a second, and most suites have no critiques
    from reasrm.evaluation.critiques import CritiqueEvaluation

_LOG = logging.getLogger("reasrm")
__all__ = ["Evaluation", "evaluate", "evaluate_published"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation left behind.

    Args:
        result: The content of `result.json`; empty if the run was interrupted or no row was judged.
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
    control: RunControl | None = None,
    *,
    critiques: CritiqueEvaluation | None = None,
    on_critiques: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge and score. An interrupted evaluation continues when called again, and scores nothing before it is whole.

    Rows whose calls failed are left out of the score and counted in `num_errors`: a broken connection says nothing
    about a judge. Rows that the judge answered unreadably are in, by the suite's own policy.

    Args:
        suite: The benchmark.
        judge: Who judges.
        rows: What is judged.
        folder: Where everything is written.
        options: Orders, votes, seed, sampling.
        control: What happens to earlier output, and who is told what.
        critiques: How critiques are scored where rows carry a reference; by default as `usual_section` says.
        on_critiques: Called with the critiques scored so far and the number of judgments.

    Raises:
        ConfigError: `critiques` names a model or encoder that cannot be used; nobody has been asked yet.
        InputError: No row has a label.
    """
    if critiques is not None:
        from reasrm.evaluation.critiques import check_section

        # A folder that is not there should be heard of before hours of judging.
        check_section(critiques)
    _expect_folder(folder)
    if suite.asks_everything:
        options = replace(options, judge_identical=True, judge_degenerate=True)

    caller = control or RunControl()

    def scanned(scan: Scan) -> None:
        _check_source(suite, scan.source, rows)
        if caller.on_scan is not None:
            caller.on_scan(scan)

    def started(resume: ResumeState) -> None:
        # From here on an earlier result no longer describes what the folder holds.
        (folder / "result.json").unlink(missing_ok=True)
        (folder / "critiques.jsonl").unlink(missing_ok=True)
        if caller.on_start is not None:
            caller.on_start(resume)

    own = replace(caller, on_scan=scanned, on_start=started)
    output = folder / "judgments.jsonl"
    batch = judge_file(judge, rows, output, options, own, identity={"suite": suite.name})
    if not batch.is_whole or not batch.tally.rows:
        return Evaluation({}, batch, folder)
    outcomes = sorted(map(from_row, judged_rows(batch.output)), key=lambda outcome: outcome.id)
    result = _result(suite, judge, rows, outcomes, batch, options)
    if result["score"] is None and not any(outcome.target is not None for outcome in outcomes):
        raise InputError(
            f"no row has a label that the suite {suite.name!r} scores",
            place=str(rows.paths[0]),
            remedy="give labelled pairs; lists and single responses are counted by `reasrm judge`",
        )
    if batch.scan.num_critiques and judge.spec.protocol == "pairwise":
        _add_critiques(result, judge, rows, batch, critiques, options.seed, on_critiques)
    write_json_atomic(folder / "result.json", result)
    return Evaluation(result, batch, folder)


def _add_critiques(
    result: dict[str, Any],
    judge: Judge,
    rows: JudgeInput,
    batch: BatchResult,
    section: CritiqueEvaluation | None,
    seed: int,
    on_critiques: Callable[[int, int], None] | None,
) -> None:
    """Score the critiques of rows that carry a reference, and add what comes out to the result."""
    from reasrm.evaluation.critiques import measure_critiques, opened_scorer, usual_section

    section = section or usual_section(judge.spec)
    output = batch.output.with_name("critiques.jsonl")
    total = batch.tally.parses.total()
    with opened_scorer(section, output.with_name("critique-replies")) as (score, _):
        report = measure_critiques(
            rows,
            batch.output,
            output,
            spec=judge.spec,
            section=section,
            score=score,
            seed=seed,
            on_progress=None if on_critiques is None else lambda done: on_critiques(done, total),
        )
        if report is not None:
            report.add_to(result)
        if score.costs:
            result["critique_costs"] = {name: cost.as_dict() for name, cost in score.costs.items()}


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
        "headline": None,
        "num_errors": 0,
        "parse_status": {},
        "judge": {"name": "replay"},
        "replayed": "subset_scores",
        "data_sha256": content_sha256(path),
        "seed": seed,
        "reasrm": __version__,
    }
    _expect_folder(folder)
    with in_folder(folder):
        write_json_atomic(folder / "result.json", result)
    return result


def _check_source(suite: Suite, source: str, rows: JudgeInput) -> None:
    if not suite.sources or set(source.split("+")) <= set(suite.sources):
        return
    if suite.needs_source:
        raise InputError(
            f"the suite {suite.name!r} cannot score rows of {source!r}",
            place=str(rows.paths[0]),
            remedy=f"give rows of {' or '.join(suite.sources)}, or use the suite 'pairs'",
        )
    _LOG.warning("the suite %s is made for other rows than these (%s)", suite.name, source)


def _expect_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError("is a file, not a folder", place=str(folder), remedy="choose another --output")


def _result(
    suite: Suite,
    judge: Judge,
    rows: JudgeInput,
    outcomes: list[RowOutcome],
    batch: BatchResult,
    options: JudgingOptions,
) -> dict[str, Any]:
    sha256 = batch.scan.sha256
    result = suite.score(outcomes, seed=options.seed).as_dict()
    tally = batch.tally
    readable = tally.statuses["ok"] + tally.statuses["split"]
    result["coverage"] = tally.coverage
    result["metrics"]["coverage"] = wilson(readable, tally.rows + tally.errors).as_dict()
    result["policy"] |= {
        "orders": "recorded" if options.recorded_only else options.orders,
        "votes": "recorded" if options.recorded_only else options.votes,
        "verdicts": judge.policy,
    }
    if batch.saw_labels:
        result["policy"]["rubrics_that_saw_labels"] = batch.scan.num_saw_labels
    return {
        **result,
        "headline": tally.headline(),
        "num_errors": tally.errors,
        "parse_status": dict(sorted(tally.parses.items())),
        "judge": {
            **judge.label,
            "fingerprint": judge.backend.identity.get("fingerprint"),
            **({"server": dict(batch.servers["judge"])} if batch.servers else {}),
        },
        "replayed": "+".join(sorted(batch.scan.recorded)) if options.recorded_only else None,
        "data_sha256": sha256[0] if len(sha256) == 1 else digest(sha256, length=64),
        "inputs": rows.described(batch.scan),
        "source": batch.scan.source,
        "seed": options.seed,
        "sampling": {
            "temperature": options.sampling.temperature,
            "top_p": options.sampling.top_p,
            "max_tokens": options.sampling.max_tokens,
        },
        "reasrm": __version__,
    }
