"""`reasrm distill`: from a config to teachers, a run, a summary and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from reasrm.cli.console import chatter_to_stderr, finish, note, print_summary, progress_bar
from reasrm.cli.running import add_end, control_of, note_cost, note_request, note_scan, note_sources
from reasrm.cli.summary import progress
from reasrm.config import load_config, parse_config
from reasrm.distillation.config import DistillConfig, TeacherSection
from reasrm.distillation.plan import DistillSetup, Plan, Teacher, make_plan
from reasrm.distillation.run import DistillProgress, DistillResult, check_rows, distil
from reasrm.distillation.slots import PASSES
from reasrm.generation.ledger import Ledger
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge, open_judge
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.sources.rubric_lines import load_rubrics

__all__ = ["distilling_progress", "open_setup", "open_teacher", "run_distill"]


def run_distill(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    dry_run: bool,
    restart: bool,
    retry_errors: bool,
    allow_other_server: bool,
) -> None:
    """Distil, or say what that would do, and end with the exit code of `docs/judging.md`."""
    with chatter_to_stderr(), open_setup(path, overrides) as setup:
        if dry_run:
            print_summary(_dry_run(setup))
            return
        with distilling_progress("distilling") as on_progress:
            control = control_of(
                RunControl,
                "answers",
                on_progress,
                restart=restart,
                retry_errors=retry_errors,
                allow_other_server=allow_other_server,
            )
            result = distil(setup, control)
    _finish(result)


@contextmanager
def distilling_progress(label: str) -> Iterator[Callable[[DistillProgress], None]]:
    """Show comparisons settled with answers and tokens, as `progress_bar` does."""
    with progress_bar(label, unit=" comparisons,") as update:
        yield lambda progress: update(progress.settled, progress.total, _describe(progress))


@contextmanager
def open_setup(path: Path, overrides: Sequence[str] = ()) -> Iterator[DistillSetup]:
    """Open what a distillation's config names; teachers are closed at the end.

    Args:
        path: The YAML file.
        overrides: `a.b=value`, applied in order.

    Raises:
        ConfigError: Names the file, the key, its value and the nearest known key.
    """
    config = load_config(DistillConfig, path, overrides)
    spec = load_spec(config.spec)
    with ExitStack() as stack:

        def opened(section: TeacherSection) -> Teacher:
            judge = open_teacher(section, spec, str(path))
            stack.enter_context(closing(judge.backend))
            return Teacher(judge, section)

        teacher = opened(config.teacher)
        repair = None if config.repair is None else opened(config.repair)
        paths = [Path(name) for name in config.input]
        rows = JudgeInput(
            paths,
            source=config.source,
            limit=config.limit,
            columns=config.columns,
            rubrics=None if config.rubrics is None else load_rubrics(Path(config.rubrics)),
        )
        yield DistillSetup(config, rows, teacher, repair)


def open_teacher(section: TeacherSection, spec: JudgeSpec, place: str) -> Judge:
    """Open a teacher; `scripted` is the one of the embedded world.

    Raises:
        ConfigError: There is no such teacher, or it cannot judge under the spec.
    """
    if section.judge != "scripted":
        return open_judge(section.judge, spec=spec, **section.backend_options())
    from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig

    errors = parse_config(TeacherConfig, section.scripted, f"{place}: scripted")
    return Judge(spec=spec, backend=ScriptedTeacher(spec, errors))


def _dry_run(setup: DistillSetup) -> dict[str, Any]:
    """Validate the whole input, show the first request, and count calls."""
    scan = setup.rows.scan()
    note_scan(scan)
    check_rows(setup, scan)
    plan, _ = make_plan(setup)
    _show_prompt(setup, plan)
    limits = setup.limits.samples
    first, most = plan.num_slots, plan.most_slots
    calls = {
        "teacher": {"least": first, "most": most * limits["teacher"]},
        "repair": {"least": 0, "most": most * limits["repair"]},
    }
    unasked = ", ".join(f"{count} {reason}" for reason, count in plan.unasked.most_common()) or "none"
    note(f"rows: {plan.num_rows:,}; not asked about: {unasked}")
    for source, count in sorted(plan.sources.items()):
        quota = setup.config.quota(source)
        note(f"  {source}: {count:,} pairs" + ("" if quota is None else f", at most {quota:,} kept"))
    for name in PASSES:
        least, most_calls = calls[name]["least"], calls[name]["most"]
        note(f"calls of the pass {name}: {least:,} to {most_calls:,}")
    return {
        "command": "distill",
        "dry_run": True,
        "rows": plan.num_rows,
        "unasked": dict(sorted(plan.unasked.items())),
        "sources": dict(sorted(plan.sources.items())),
        "comparisons": {"first": first, "most": most},
        "calls": calls,
        "spec": setup.spec.name,
        "spec_hash": setup.spec.hash,
    }


def _show_prompt(setup: DistillSetup, plan: Plan) -> None:
    row = next((item.row for item in setup.rows if item.id in plan.pairs), None)
    if row is not None:
        note_request(next(iter(setup.requests(row).values())))


def _describe(progress: DistillProgress) -> str:
    return (
        f"{progress.kept} solved, {progress.answers} answers, {progress.tokens:,} tok, {progress.errors} err"
    )


def _finish(result: DistillResult) -> None:
    """Print the summary and end with its exit code."""
    summary: dict[str, Any] = {"command": "distill", "output": str(result.files.folder)}
    summary |= {"answers": result.progress.answers, "errors": result.progress.errors}
    summary |= result.cost
    note_cost(result.cost)
    done = result.progress
    summary["progress"] = progress("comparisons", done.total, done.settled, done.errors)
    if result.ledger is not None:
        summary |= _summarise(result, result.ledger)
    code = add_end(summary, result, f"{done.answers} answers")
    if done.statuses and not done.statuses["ok"]:
        code = max(code, 3)
        summary["unreadable"], count = done.statuses.most_common(1)[0]
        note(f"not one of {done.statuses.total()} answers could be read: {count} are {summary['unreadable']}")
    finish(summary, code)


def _summarise(result: DistillResult, ledger: Ledger) -> dict[str, Any]:
    """Say what came out, by source, and return it for programs."""
    note_sources(ledger, "rows")
    rows = ledger.rows()
    others = ", ".join(f"{count} {reason}" for reason, count in rows.items() if reason != "kept")
    note(f"{result.num_sft_rows} SFT rows in {result.files.sft}; rows without: {others or 'none'}")
    return {
        "sft": str(result.files.sft),
        "rejected": str(result.files.rejected),
        "ledger": str(result.files.ledger),
        "sft_rows": result.num_sft_rows,
        "rows": rows,
        "traces": ledger.answers(),
    }
