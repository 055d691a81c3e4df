"""`reasrm critiques …`: from flags to an extractor or scorer, a run, a summary and an exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from reasrm.cli.console import finish, note, progress_bar
from reasrm.cli.flag_sets import CritiqueFlags
from reasrm.cli.running import add_end, control_of
from reasrm.cli.summary import progress
from reasrm.config import EndpointSection, parse_config, read_settings
from reasrm.evaluation.critique_runs import Result, extract_file, score_file
from reasrm.evaluation.critiques import CritiqueEvaluation, opened_scorer
from reasrm.evaluation.table import format_estimate
from reasrm.generation.base import Backend
from reasrm.generation.run import Progress, RunControl
from reasrm.judging.critiques import Critiques, CritiqueScan
from reasrm.pipes import settled
from reasrm.scorers.config import CritiqueSection
from reasrm.scorers.critiques import BuiltScorer
from reasrm.tables import given_columns

__all__ = ["run_extract", "run_score"]

_OF_THE_MODEL = ("model", "extra_body", "max_tokens")


def run_extract(path: Path, extractor: str, flags: CritiqueFlags) -> None:
    """Read core arguments and end with the exit code of `docs/judging.md`.

    Args:
        path: Rows with critiques, or judged rows.
        extractor: `rules`, `sandbox` or `model`.
        flags: The rest.
    """
    path, output = settled(path), flags.output
    settings = {"extractor": extractor, **flags.asked}
    section = parse_config(CritiqueSection, _given(settings), "the flags")
    with _opened(section, flags) as (built, model):
        from reasrm.scorers.extractor import PROMPT_HASH, ModelExtractor

        by_model = isinstance(built.extract, ModelExtractor)
        identity = {
            "extractor": section.extractor,
            "model": None if model is None else model.identity,
            "prompt": PROMPT_HASH if by_model else None,
        }
        read = built.extract.read if isinstance(built.extract, ModelExtractor) else built.extract
        with _progress("extracting", built) as on_progress:
            result = extract_file(
                Critiques(
                    [path], source=flags.source, name=flags.field, columns=given_columns(flags.columns)
                ),
                output,
                read,
                identity=identity,
                control=_control(on_progress, flags),
                model=model,
            )
    _finish("critiques extract", output, result, built)


def run_score(
    judged: Path, reference: Path, config: Path | None, compared: Mapping[str, Any], flags: CritiqueFlags
) -> None:
    """Score the critiques of judged rows and end with the exit code of `docs/judging.md`.

    Args:
        judged: What `reasrm judge` wrote.
        reference: Rows with reference critiques.
        config: A `CritiqueEvaluation` as YAML.
        compared: Keys of it that win over the config; None is left out.
        flags: The rest.
    """
    judged, reference, output = settled(judged), settled(reference), flags.output
    settings = {**compared, **flags.asked}
    raw = {} if config is None else read_settings(config)
    place = "the flags" if config is None else str(config)
    section = parse_config(CritiqueEvaluation, {**raw, **_given(settings)}, place)
    with _opened(section, flags) as (built, model):
        from reasrm.scorers import extractor
        from reasrm.scorers.similarities import model as matcher

        prompts = [extractor.PROMPT_HASH, matcher.PROMPT_HASH] if section.asks_model else None
        rules = {key: value for key, value in section.meaning().items() if key not in _OF_THE_MODEL}
        with _progress("scoring", built) as on_progress:
            result = score_file(
                Critiques([judged], name=flags.field),
                reference,
                output,
                built,
                built.extract,
                source=flags.source,
                columns=given_columns(flags.columns),
                least_f1=section.least_f1,
                identity={
                    "critiques": rules,
                    "model": None if model is None else model.identity,
                    "prompts": prompts,
                },
                control=_control(on_progress, flags),
                model=model,
            )
    _finish("critiques score", output, result, built)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _opened(
    section: CritiqueSection, flags: CritiqueFlags
) -> AbstractContextManager[tuple[BuiltScorer, Backend | None]]:
    """Build what the section names, and say who is asked. A model's replies are kept in `OUT.cache` by default."""
    usual = EndpointSection().endpoint_options()
    own = {key: value for key, value in flags.backend.items() if value != usual.get(key)}
    return opened_scorer(section, flags.output.with_name(f"{flags.output.name}.cache"), own)


@contextmanager
def _progress(label: str, built: BuiltScorer) -> Iterator[Callable[[Progress], None]]:
    """Show items done with calls and errors, as `progress_bar` does."""
    with progress_bar(label, unit=" critiques,") as update:

        def show(progress: Progress) -> None:
            calls = sum(cost.calls for cost in built.costs.values())
            said = f"{calls} calls, {progress.errors} err" if built.costs else f"{progress.errors} err"
            update(progress.done, progress.total, said)

        yield show


def _control(on_progress: Callable[[Progress], None], flags: CritiqueFlags) -> RunControl:
    return control_of(
        RunControl,
        "critiques",
        on_progress,
        restart=flags.restart,
        retry_errors=flags.retry_errors,
        allow_other_server=flags.allow_other_server,
        on_scan=_note_scan,
    )


def _note_scan(scan: CritiqueScan) -> None:
    note(
        f"input: {scan.num_rows} rows with {scan.num_critiques} critiques, {scan.num_without} without, "
        f"{scan.num_invalid} invalid"
    )


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
    finish(summary, add_end(summary, result, f"{sum(result.counts.values())} of {result.total} critiques"))
