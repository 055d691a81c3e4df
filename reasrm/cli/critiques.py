"""`reasrm critiques …`: from flags to an extractor or scorer, a run, a summary and an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from reasrm.cli.console import chatter_to_stderr, finish, note, progress_bar
from reasrm.cli.judging import StopNotice
from reasrm.cli.summary import progress
from reasrm.config import parse_config, read_settings
from reasrm.critiques import CritiqueSection
from reasrm.durable import ResumeState, read_records
from reasrm.evaluation.critique_rows import FileScan
from reasrm.evaluation.critique_runs import Control, Result, extract_file, score_file
from reasrm.evaluation.critiques import CritiqueEvaluation
from reasrm.evaluation.table import format_estimate
from reasrm.generation.base import Backend
from reasrm.generation.resolve import open_backend
from reasrm.pipes import settled
from reasrm.scorers.critiques import BuiltScorer, build_critique_scorer

__all__ = ["run_extract", "run_score"]


def run_extract(
    path: Path,
    output: Path,
    *,
    source: str,
    field: str,
    settings: Mapping[str, Any],
    backend: Mapping[str, Any],
    restart: bool,
    retry_errors: bool,
    allow_other_server: bool,
) -> None:
    """Read core arguments and end with the exit code of `interface.md`.

    Args:
        path: Rows with critiques, or judged rows.
        output: Where arguments go.
        source: The rows' schema.
        field: What holds the critique.
        settings: `extractor`, `model`, `cache` and `max_tokens` of a `CritiqueSection`; None is left out.
        backend: Options of `open_backend`.
        restart: Move an earlier output aside.
        retry_errors: Try again what failed.
        allow_other_server: Go on where another server answered before.
    """
    path = settled(path)
    section = parse_config(CritiqueSection, _given(settings), "the flags")
    with chatter_to_stderr(), _opened(section, output, backend) as (built, model):
        from reasrm.scorers.extractor import PROMPT_HASH, ModelExtractor

        by_model = isinstance(built.extract, ModelExtractor)
        identity = {
            "extractor": section.extractor,
            "model": None if model is None else model.identity,
            "prompt": PROMPT_HASH if by_model else None,
        }
        read = built.extract.read if isinstance(built.extract, ModelExtractor) else built.extract
        with _progress("extracting", built) as on_progress:
            control = _control(
                on_progress,
                model,
                restart=restart,
                retry_errors=retry_errors,
                allow_other_server=allow_other_server,
            )
            result = extract_file(
                path, output, read, source=source, name=field, identity=identity, control=control
            )
    _finish("critiques extract", output, result, built)


def run_score(
    judged: Path,
    reference: Path,
    output: Path,
    *,
    config: Path | None,
    source: str,
    field: str,
    settings: Mapping[str, Any],
    backend: Mapping[str, Any],
    restart: bool,
    retry_errors: bool,
    allow_other_server: bool,
) -> None:
    """Score the critiques of judged rows and end with the exit code of `interface.md`.

    Args:
        judged: What `reasrm judge` wrote.
        reference: Rows with reference critiques.
        output: Where scores go.
        config: A `CritiqueEvaluation` as YAML.
        source: The schema of the reference rows.
        field: What holds a judgment's critique.
        settings: Keys that win over the config; None is left out.
        backend: Options of `open_backend`.
        restart: Move an earlier output aside.
        retry_errors: Try again what failed.
        allow_other_server: Go on where another server answered before.
    """
    judged, reference = settled(judged), settled(reference)
    raw = {} if config is None else read_settings(config)
    place = "the flags" if config is None else str(config)
    section = parse_config(CritiqueEvaluation, {**raw, **_given(settings)}, place)
    with chatter_to_stderr(), _opened(section, output, backend) as (built, model):
        from reasrm.scorers import extractor, matcher

        prompts = [extractor.PROMPT_HASH, matcher.PROMPT_HASH] if section.asks_model else None
        rules = section.model_dump(mode="json", exclude={"cache", "model", "max_tokens"}, exclude_none=True)
        with _progress("scoring", built) as on_progress:
            result = score_file(
                judged,
                reference,
                output,
                built,
                built.extract,
                source=source,
                name=field,
                least_f1=section.least_f1,
                identity={
                    "critiques": rules,
                    "model": None if model is None else model.identity,
                    "prompts": prompts,
                },
                control=_control(
                    on_progress,
                    model,
                    restart=restart,
                    retry_errors=retry_errors,
                    allow_other_server=allow_other_server,
                ),
            )
    _finish("critiques score", output, result, built)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


@contextmanager
def _opened(
    section: CritiqueSection, output: Path, options: Mapping[str, Any]
) -> Iterator[tuple[BuiltScorer, Backend | None]]:
    """Build what the section names, and say who is asked. A model's replies are kept in `OUT.cache` by default."""
    if section.asks_model and section.cache is None:
        section = section.model_copy(update={"cache": output.with_name(f"{output.name}.cache")})
    opened: list[Backend] = []
    with ExitStack() as stack:

        def open_model(name: str) -> Backend:
            opened.append(stack.enter_context(closing(open_backend(name, **options))))
            return opened[-1]

        built = build_critique_scorer(section, open_model)
        stack.callback(built.close)
        yield built, opened[0] if opened else None


@contextmanager
def _progress(label: str, built: BuiltScorer) -> Iterator[Callable[[int, int, int], None]]:
    """Show items done with calls and errors, as `progress_bar` does."""
    with progress_bar(label, unit=" critiques,", at_end=False) as update:

        def show(done: int, total: int, errors: int) -> None:
            calls = sum(cost.calls for cost in built.costs.values())
            update(done, total, f"{calls} calls, {errors} err" if built.costs else f"{errors} err")

        yield show


def _control(
    on_progress: Callable[[int, int, int], None],
    model: Backend | None,
    *,
    restart: bool,
    retry_errors: bool,
    allow_other_server: bool,
) -> Control:
    return Control(
        restart=restart,
        retry_errors=retry_errors,
        model=model,
        allow_other_server=allow_other_server,
        on_scan=_note_scan,
        on_start=_note_resume,
        on_progress=on_progress,
        on_stop=StopNotice(),
    )


def _note_scan(scan: FileScan) -> None:
    note(
        f"input: {scan.num_rows} rows with {scan.num_critiques} critiques, {scan.num_without} without, "
        f"{scan.num_invalid} invalid"
    )


def _note_resume(resume: ResumeState) -> None:
    for warning in resume.warnings:
        note(f"warning: {warning}")
    if resume.num_done:
        note(f"continuing: {resume.num_done} critiques are done")
    if resume.num_errors:
        note(f"skipping {resume.num_errors} lines of the error file; --retry-errors tries them again")


def _finish(command: str, output: Path, result: Result, built: BuiltScorer) -> None:
    """Print the summary and end with its exit code."""
    note(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.counts.items()))
    if (f1 := result.summary.get("critique_f1")) is not None:
        inconsistency = format_estimate(result.summary["inconsistency"])
        note(f"critique F1 {format_estimate(f1)}, inconsistency {inconsistency}")
        if f1["value"] == 0:
            note("nothing matches: do --extractor and --similarity fit these texts?")
    for name, cost in built.costs.items():
        note(f"{name}: {cost}")
    summary: dict[str, Any] = {
        "command": command,
        "output": str(output),
        "progress": progress("critiques", result.total, sum(result.counts.values()), result.num_errors),
        "total": result.total,
        **result.counts,
        **result.summary,
        "cost": {name: cost.as_dict() for name, cost in built.costs.items()},
    }
    code = 0
    if result.signum is not None:
        code = 128 + result.signum
        summary["interrupted"] = True
        note("stopped; the same command continues")
    elif result.num_errors:
        code = 3
        summary["errors_file"] = str(result.errors)
        errors = list(islice(read_records(result.errors), 1000))
        reason, count = Counter(str(error["code"]) for error in errors).most_common(1)[0]
        first = next(error["message"] for error in errors if error["code"] == reason)
        note(f"{result.num_errors} failed, see {result.errors}\n  {reason} × {count}, first: {first}")
    finish(summary, code)
