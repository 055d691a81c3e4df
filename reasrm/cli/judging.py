"""`reasrm judge` and `reasrm eval`: from flags to a judge, its input, a run, a summary and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasrm.cli.console import finish, judging_progress, note, now_and_then, print_summary
from reasrm.cli.flag_sets import JudgingFlags
from reasrm.cli.flags import budget_of
from reasrm.cli.running import add_end, control_of, note_cost, note_request, note_scan
from reasrm.cli.summary import progress
from reasrm.config import load_config
from reasrm.errors import ConfigError
from reasrm.evaluation.run import evaluate, evaluate_published
from reasrm.evaluation.table import format_estimate, format_headline, render_table
from reasrm.judging.batch import BatchResult, JudgeControl, first_unreadable, judge_file
from reasrm.judging.inputs import JudgeInput, Scan
from reasrm.judging.judge import Judge, open_judge
from reasrm.judging.look import judged_rows
from reasrm.judging.plan import JudgingOptions, check_options, check_shown, check_sightings, plan_row
from reasrm.judging.tally import Tally
from reasrm.metrics.suites import get_suite
from reasrm.pipes import refuse_stream, settled
from reasrm.printable import one_line
from reasrm.protocol.prompts import never_shown
from reasrm.sources.recorded import read_recordings
from reasrm.sources.rubric_lines import Rubrics, load_rubrics

if TYPE_CHECKING:
    from reasrm.cli.rubrics_write import WrittenRubrics
    from reasrm.evaluation.critiques import CritiqueEvaluation

__all__ = [
    "nothing_readable",
    "open_judging",
    "run_control",
    "run_eval",
    "run_judge",
    "shortened",
]

_SHOWN = 500
_WRITE = "write:"


def run_judge(flags: JudgingFlags, output: Path) -> None:
    """Judge a file and end with the exit code of `docs/judging.md`."""
    judge, options, rows = open_judging(flags, default_spec=None)
    rows, written = _written_first(flags, judge, rows, output.parent, f"{output.name}.")
    options = replace(options, missing_rubrics_count=written is not None)
    if flags.dry_run:
        _dry_run("judge", judge, options, rows)
        return
    with closing(judge.backend), judging_progress("judging") as on_progress:
        result = judge_file(judge, rows, output, options, run_control(flags, on_progress, written))
    summary: dict[str, Any] = {"command": "judge", "output": str(output), **result.tally.summary()}
    summary["invalid_input"] = dict(sorted(result.scan.invalid.items()))
    if judge.changed:
        summary["judge_changed"] = list(judge.changed)
    if result.scan.recorded:
        summary["replayed"] = "+".join(sorted(result.scan.recorded)) if options.recorded_only else None
    _finish(flags, result, summary, written)


def run_eval(suite_name: str, flags: JudgingFlags, output: Path, critiques: Path | None) -> None:
    """Judge a benchmark file, score it, and print the scored table."""
    refuse_stream(output)
    suite = get_suite(suite_name)
    section = None if critiques is None else _critique_section(critiques)
    if flags.judge == "replay" and len(flags.input) == 1 and not flags.dry_run:
        result = evaluate_published(suite, flags.input[0], output, seed=flags.seed)
        if result is not None:
            note(render_table(result))
            print_summary({"command": "eval", "output": str(output), **result})
            return
    judge, options, rows = open_judging(flags, default_spec=suite.default_spec)
    rows, written = _written_first(flags, judge, rows, output, "")
    options = replace(options, missing_rubrics_count=written is not None)
    if flags.dry_run:
        _dry_run("eval", judge, options, rows)
        return
    with closing(judge.backend), judging_progress(suite.name) as on_progress:
        evaluation = evaluate(
            suite,
            judge,
            rows,
            output,
            options,
            run_control(flags, on_progress, written),
            critiques=section,
            on_critiques=_note_critiques(),
        )
    if evaluation.result:
        note(render_table(evaluation.result))
        summary = {"command": "eval", "output": str(output), **evaluation.result}
    else:
        summary = {"command": "eval", "output": str(output), **evaluation.batch.tally.summary()}
    _finish(flags, evaluation.batch, summary, written)


def _critique_section(path: Path) -> CritiqueEvaluation:
    from reasrm.evaluation.critiques import CritiqueEvaluation

    return load_config(CritiqueEvaluation, path)


def _note_critiques() -> Callable[[int, int], None]:
    """Return what says now and then how far the critiques are, which a model may take long to read."""
    is_due = now_and_then()

    def tell(done: int, total: int) -> None:
        if is_due() or done == total:
            note(f"critiques: {done:,} of {total:,}")

    return tell


def open_judging(flags: JudgingFlags, default_spec: str | None) -> tuple[Judge, JudgingOptions, JudgeInput]:
    """Return the judge, the options and the rows that the flags name."""
    name, _, recordings = (
        flags.judge.partition(":") if flags.judge.startswith("replay") else (flags.judge, "", "")
    )
    judge = open_judge(
        name,
        spec=flags.spec,
        policy=flags.verdict_policy.value,
        default_spec=default_spec,
        allow_changed=flags.allow_changed,
        **flags.backend_options(),
    )
    options = JudgingOptions(
        orders=flags.orders.value,
        votes=flags.votes,
        seed=flags.seed,
        sampling=judge.sampling(
            temperature=flags.temperature, top_p=flags.top_p, max_tokens=flags.max_tokens
        ),
        judge_identical=flags.judge_identical,
        judge_degenerate=flags.judge_degenerate,
        recorded_only=name == "replay",
        rubrics_that_saw_labels=flags.rubrics_that_saw_labels,
    )
    check_options(judge.spec, options)
    if options.votes > 1 and options.sampling.temperature == 0 and not options.recorded_only:
        raise ConfigError(
            f"{options.votes} votes at temperature 0 are the same answer {options.votes} times",
            remedy="pass --temperature, or leave out --votes",
        )
    rows = JudgeInput(
        flags.input,
        **flags.row_options(),
        rubrics=_given_rubrics(flags),
        recordings=read_recordings(settled(Path(recordings))) if recordings else None,
        on_lines=lambda lines: note(f"validated {lines:,} lines"),
    )
    return judge, options, rows


def _given_rubrics(flags: JudgingFlags) -> Rubrics | None:
    if flags.rubrics is None or flags.rubrics.startswith(_WRITE):
        return None
    return load_rubrics(settled(Path(flags.rubrics)))


def _written_first(
    flags: JudgingFlags, judge: Judge, rows: JudgeInput, folder: Path, prefix: str
) -> tuple[JudgeInput, WrittenRubrics | None]:
    """Return the rows with the rubrics that `--rubrics write:WRITER` has written first, and what that took."""
    if flags.rubrics is None or not flags.rubrics.startswith(_WRITE):
        return rows, None
    from reasrm.cli.rubrics_write import write_first

    if "rubric" in never_shown(judge.spec):
        raise ConfigError(
            f"spec {judge.spec.name!r} never shows a rubric",
            place=f"--rubrics {flags.rubrics}",
            remedy="choose a spec whose templates show {{ rubric }}, or leave the rubrics out",
        )
    written = write_first(flags.rubrics.removeprefix(_WRITE), flags, rows, folder, prefix)
    return rows.with_rubrics(written.rubrics), written


def run_control(
    flags: JudgingFlags, on_progress: Callable[[Tally], None], written: WrittenRubrics | None = None
) -> JudgeControl:
    """Return what the flags say about earlier output, with messages for people."""
    budget = budget_of(flags.price, flags.budget, flags.budget_tokens, "judge")
    return control_of(
        JudgeControl,
        "rows",
        on_progress,
        restart=flags.restart,
        retry_errors=flags.retry_errors,
        strict=flags.strict,
        budget=budget if written is None else written.budget,
        max_unreadable=flags.max_unreadable,
        secret_codes=flags.secret_codes,
        allow_other_server=flags.allow_other_server,
    )


def _dry_run(command: str, judge: Judge, options: JudgingOptions, rows: JudgeInput) -> None:
    """Validate the whole input and show what the first row's judge would read."""
    scan = rows.scan()
    note_scan(scan)
    place = str(rows.paths[0])
    check_shown(judge.spec, scan, place)
    check_sightings(judge.spec, scan, place, allowed=options.rubrics_that_saw_labels)
    first = next((item.row for item in rows if item.row is not None), None)
    asks = [] if first is None else plan_row(judge.spec, first, options)
    note_request(asks[0].request if asks else None)
    summary = {
        "command": command,
        "dry_run": True,
        "rows": scan.num_rows,
        "invalid": scan.num_invalid,
        "invalid_input": dict(sorted(scan.invalid.items())),
        "labelled": scan.num_labelled,
        "identical": scan.num_identical,
        "degenerate": scan.num_degenerate,
        "source": scan.source,
        **_rubric_counts(scan),
        "prompts_per_row": len(asks),
        "spec": judge.spec.name,
        "spec_hash": judge.spec.hash,
    }
    print_summary(summary)


def _rubric_counts(scan: Scan) -> dict[str, Any]:
    """Return how many rows of the input have a rubric and how many have none, where any has."""
    have = scan.shown["rubric"]
    return {"rubrics": {"with": have, "without": scan.num_rows - have}} if have else {}


def _note_outcome(result: BatchResult) -> None:
    """Say in one line what came out, and why rows are unreadable or failed."""
    tally = result.tally
    consistency = tally.summary()["consistency"]
    also = "" if consistency is None else f", consistency {format_estimate(consistency)}"
    note(f"{tally.rows} rows judged{also}")
    unread = [f"{count} {name}" for name, count in tally.parses.most_common() if name != "ok"]
    if unread:
        note(f"unreadable judgments: {', '.join(unread)} of {tally.parses.total()}")


def _finish(
    flags: JudgingFlags, result: BatchResult, summary: dict[str, Any], written: WrittenRubrics | None
) -> None:
    """Print the summary and end with the exit code that `docs/judging.md` gives it."""
    tally = result.tally
    _note_outcome(result)
    summary |= _rubric_counts(result.scan)
    summary |= result.cost
    if written is not None:
        summary["written"] = written.told
        summary["cost"] |= written.cost["cost"]
        summary["money"] = None if summary["money"] is None else summary["money"] + written.cost["money"]
    summary["cost"] |= summary.get("critique_costs", {})
    note_cost(result.cost)
    summary["progress"] = progress("rows", tally.total, tally.rows + tally.errors, tally.errors)
    code = add_end(summary, result, f"{tally.rows + tally.errors} of {tally.total} rows")
    if result.signum is None and result.budget is None:
        missing = written is not None and written.told["failed"]
        code = max(code, _check_readable(flags, result, summary), 3 if missing else 0)
    note(format_headline(tally.headline()))
    finish(summary, code)


def _check_readable(flags: JudgingFlags, result: BatchResult, summary: dict[str, Any]) -> int:
    """Say if too little could be read, and return the exit code for that."""
    tally = result.tally
    if result.unreadable is not None:
        summary["stopped"] = "max_unreadable"
        note(
            f"stopped: {tally.num_unreadable} judgments could not be read, {tally.rows + tally.errors} of "
            f"{tally.total} rows are done; with another --max-unreadable the same command continues\n"
            f"  {shortened(result.unreadable)}"
        )
    elif (reason := nothing_readable(result)) is not None:
        summary["unreadable"] = tally.parses.most_common(1)[0][0]
        note(reason)
    elif tally.coverage is not None and tally.coverage < flags.min_coverage:
        note(f"coverage {tally.coverage:.4f} is below --min-coverage {flags.min_coverage:g}")
    else:
        return 0
    return 3


def nothing_readable(result: BatchResult) -> str | None:
    """Say why, if the judge was asked and not one judgment could be read; prompts that do not fit are the rows' own."""
    tally = result.tally
    if not tally.parses or tally.parses["ok"] or tally.parses["too_long"]:
        return None
    status, count = tally.parses.most_common(1)[0]
    said = next(filter(None, map(first_unreadable, judged_rows(result.output))), "")
    return f"not one of {tally.parses.total()} judgments could be read: {count} are {status}; first: {shortened(said)}"


def shortened(text: str) -> str:
    """Return the beginning of a text, on one line."""
    return one_line(text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …")
