"""`reasrm data curate`: reads the files that a config names, opens its judge, shows progress, keeps the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasrm import __version__, models
from reasrm.cli.console import finish, judging_progress, note, progress_bar
from reasrm.cli.flag_sets import JudgingFlags
from reasrm.cli.flags import OrdersChoice
from reasrm.cli.judging import nothing_readable, open_judging, run_control
from reasrm.cli.summary import progress
from reasrm.config import parse_config, read_settings
from reasrm.curation import (
    BenchmarkPrompt,
    CurationConfig,
    CurationFolder,
    Doors,
    Incoming,
    OverlapFound,
    curate,
)
from reasrm.curation.checks import benchmark_name, keep_checks
from reasrm.errors import ConfigError, InputError
from reasrm.hashing import digest
from reasrm.judging.batch import judge_file
from reasrm.pipes import refuse_pipe, refuse_stream, settled
from reasrm.records import Comparison
from reasrm.sources import SOURCES, SourceRow, read_file
from reasrm.sources.importing import REASONS, as_pair, pair_to_json
from reasrm.tables import Columns, content_sha256, refuse_missing, told_apart

if TYPE_CHECKING:
    from reasrm.curation.config import BenchmarkSection, JudgeSection

__all__ = ["load_curation_config", "read_benchmarks", "read_pairs", "run_curation"]

_EVERY = 500


class _Stopped(BaseException):
    """Judging was stopped by a signal; `reasrm data curate` goes on from there next time."""

    def __init__(self, signum: int, done: int, total: int) -> None:
        self.signum = signum
        super().__init__(f"stopped after {done} of {total} judged rows; the same command continues")


def load_curation_config(
    path: Path, inputs: Sequence[Path] = (), output: Path | None = None, overrides: Sequence[str] = ()
) -> CurationConfig:
    """Read a curation's config.

    Args:
        path: The YAML file.
        inputs: Instead of the files that it names.
        output: Instead of the folder that it names.
        overrides: `a.b=value`, applied before these.

    Raises:
        ConfigError: Names the file, the key, its value and the nearest known key.
    """
    raw = read_settings(path, overrides)
    if inputs:
        raw["input"] = [str(name) for name in inputs]
    if output is not None:
        raw["output"] = str(output)
    return parse_config(CurationConfig, raw, str(path))


def run_curation(
    path: Path,
    inputs: Sequence[Path],
    output: Path | None,
    overrides: Sequence[str] = (),
    *,
    restart: bool,
    retry_errors: bool,
) -> None:
    """Curate and end with the exit code of `docs/judging.md`."""
    config = load_curation_config(path, inputs, output, overrides)
    refuse_stream(Path(config.output))
    files = [settled(Path(name)) for name in config.input]
    with CurationFolder(Path(config.output), files) as folder:
        identity = _identity(config, files)
        report = (
            None if restart or retry_errors else folder.finished(identity, config.model_dump(mode="json"))
        )
        if report is not None:
            note(f"{folder.path} holds this curation already")
        else:
            report = _curate(
                config, files, folder, identity, str(path), restart=restart, retry_errors=retry_errors
            )
        _describe(report)
    finish(_summary(folder.path, report), 3 if report.get("judge_errors") else 0)


def _curate(
    config: CurationConfig,
    files: Sequence[Path],
    folder: CurationFolder,
    identity: str,
    place: str,
    *,
    restart: bool,
    retry_errors: bool,
) -> dict[str, Any]:
    judge = _JudgeRun(config, folder.path / "judged.jsonl", restart=restart, retry_errors=retry_errors)
    sections = () if config.decontaminate is None else config.decontaminate.against
    try:
        with closing(_Progress()) as show:
            judge.before = show.close
            curated = curate(
                read_pairs(files, config.source, config.columns),
                read_benchmarks(sections),
                config,
                folder.work,
                Doors(
                    to_line=lambda pair, source: pair_to_json(pair, source=source),
                    judge=judge,
                    on_progress=show,
                ),
                place=place,
            )
    except OverlapFound as overlap:
        found = folder.path / "overlap.jsonl"
        os.replace(folder.work / found.name, found)
        for line in overlap.examples:
            note(f"  {line}")
        note(f"all {overlap.num_rows} overlapping rows: {found}")
        raise
    except _Stopped as stopped:
        folder.close()
        note(str(stopped))
        finish(
            {"command": "data curate", "output": str(folder.path), "interrupted": True}, 128 + stopped.signum
        )
    report = {
        "identity": identity,
        "reasrm": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": [
            {"path": name, "sha256": content_sha256(file)}
            for name, file in zip(config.input, files, strict=True)
        ],
        **({} if judge.num_errors is None else {"judge_errors": judge.num_errors}),
        **curated.report,
    }
    curated.files += keep_checks(config, report, folder.work)
    folder.publish(curated.files, report)
    return {**report, "files": curated.files}


def read_pairs(paths: Sequence[Path], source: str, columns: Columns | None = None) -> Iterator[Incoming]:
    """Yield every row of some files as a pair, or why it is none.

    Raises:
        InputError: A file is missing, damaged, or of no known schema.
    """
    sources = {known.name: known for known in SOURCES}
    for place, item in _rows(paths, source, columns):
        reader = None if item.source is None else sources[item.source]
        if item.error is not None:
            yield Incoming(
                place, reason=item.error.code, message=item.error.advice, row_id=item.id, source=item.source
            )
        for row in item.rows:
            pair = as_pair(row, reader)
            if isinstance(pair, str):
                yield Incoming(place, reason=pair, message=REASONS[pair], row_id=row.id, source=item.source)
                continue
            first = None
            if isinstance(row, Comparison) and row.target is not None:
                first = row.target.winner == "A"
            yield Incoming(
                place,
                pair,
                row_id=row.id,
                source=item.source,
                id_is_derived=item.id_is_derived,
                chosen_first=first,
            )


def read_benchmarks(sections: Sequence[BenchmarkSection]) -> Iterator[BenchmarkPrompt]:
    """Yield the prompts of some benchmarks.

    Raises:
        InputError: A benchmark cannot be read, or has no row that can.
    """
    for section in sections:
        path = Path(section.input)
        name = benchmark_name(section)
        num_read = num_bad = 0
        for item in read_file(path, section.source, columns=section.columns):
            num_bad += item.error is not None
            for row in item.rows:
                num_read += 1
                yield BenchmarkPrompt(name, row.id, row.prompt)
        if not num_read:
            raise InputError("no row of the benchmark can be read", place=str(path))
        if num_bad:
            note(f"warning: {num_bad} rows of {path} cannot be read, their prompts are not looked for")


def _rows(paths: Sequence[Path], source: str, columns: Columns | None) -> Iterator[tuple[str, SourceRow]]:
    """Yield rows with their places, which name the folder too where two files have the same name."""
    for path, folder in told_apart(paths):
        for item in read_file(path, source, columns=columns):
            yield folder + item.place, item


class _JudgeRun:
    """Runs the judge that the config names, durably; `num_errors` rows could not be judged (None: not run)."""

    def __init__(self, config: CurationConfig, output: Path, *, restart: bool, retry_errors: bool) -> None:
        self._config = config
        self._output = output
        self._restart = restart
        self._retry_errors = retry_errors
        self.num_errors: int | None = None
        self.before: Callable[[], None] = lambda: None

    def __call__(self, candidates: Path) -> Path:
        """Judge the pairs of a file; the same rows are not judged twice."""
        section = None if self._config.consistency is None else self._config.consistency.run
        if section is None:
            raise ConfigError("no judge is named", place="consistency.run")
        flags = self._flags(section, candidates)
        judge, options, rows = open_judging(flags, default_spec=None)
        self.before()
        with closing(judge.backend), judging_progress("judging") as on_progress:
            result = judge_file(judge, rows, self._output, options, run_control(flags, on_progress))
        tally = result.tally
        if result.signum is not None:
            raise _Stopped(result.signum, tally.rows + tally.errors, tally.total)
        self.num_errors = tally.errors
        if (reason := nothing_readable(result)) is not None:
            error = InputError(
                reason, place=str(self._output), remedy="choose another judge or spec, and pass --restart"
            )
            error.exit_code = 3
            raise error
        if tally.errors:
            note(
                f"{tally.errors} rows could not be judged, see {result.errors}; --retry-errors tries them again"
            )
        return self._output

    def _flags(self, section: JudgeSection, candidates: Path) -> JudgingFlags:
        values = section.model_dump()
        values["orders"] = OrdersChoice(section.orders)
        return JudgingFlags(
            input=[candidates],
            source="trl",
            seed=self._config.seed,
            restart=self._restart,
            retry_errors=self._retry_errors,
            **values,
        )


def _identity(config: CurationConfig, files: Sequence[Path]) -> str:
    """Return what must be equal for a result to be this curation's: config, the files it reads, and our version."""
    names = list(map(str, files))
    if config.decontaminate is not None:
        names += [section.input for section in config.decontaminate.against]
    if config.consistency is not None:
        names += config.consistency.judged
    if config.length is not None and config.length.tokenizer is not None:
        tokenizer = Path(models.find(config.length.tokenizer))
        names.append(str(tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer))
    refuse_pipe(names)
    refuse_missing(names)
    told = config.model_dump(mode="json", exclude={"output"})
    return digest([told, [content_sha256(name) for name in names], __version__])


class _Progress:
    """Shows rows of one stage after the other, as `progress_bar` does; `close` makes room for what shows its own."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._stage = ""
        self._update: Callable[[int, int | None, str], None] | None = None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show that so many rows of a stage are done."""
        if self._update is None or stage != self._stage:
            self.close()
            self._stage, self._update = stage, self._shown.enter_context(progress_bar(stage, unit=" rows"))
        if done % _EVERY == 0 or done + 1 == total:
            self._update(done + 1, total, "")

    def close(self) -> None:
        """End what is shown."""
        self._shown.close()
        self._update = None


def _describe(report: dict[str, Any]) -> None:
    """Say in lines for people what became of the rows."""
    ledger = report["ledger"]
    note(f"{ledger['rows']:,} rows read, {ledger['kept']:,} kept, {ledger['dropped']:,} dropped")
    for stage in ledger["stages"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in stage["dropped"].items())
        note(
            f"  {stage['stage']}: {stage['rows']:,} → {stage['kept']:,}"
            + (f" ({reasons})" if reasons else "")
        )
    if "overlap" in report:
        overlap = report["overlap"]
        note(
            f"benchmark overlap: {overlap['rows']:,} rows ({overlap['share']:.2%}), action: {overlap['action']}"
        )
        for line in overlap["examples"][:5]:
            note(f"  {line}")
    for moment, sides in report["sides"].items():
        shares = ", ".join(
            f"{name.replace('_', ' ')} {sides[name]['share']:.3f} of {sides[name]['n']:,}"
            for name in ("longer", "listed_first", "shown_first")
            if sides[name]["share"] is not None
        )
        note(f"chosen responses {moment} balancing: {shares}")
    for split in report["splits"]:
        note(f"{split['file']}: {split['rows']:,} rows")


def _summary(folder: Path, report: dict[str, Any]) -> dict[str, Any]:
    ledger = report["ledger"]
    summary: dict[str, Any] = {
        "command": "data curate",
        "output": str(folder),
        "progress": progress("rows", ledger["rows"], ledger["rows"]),
        "rows": ledger["rows"],
        "kept": ledger["kept"],
        "dropped": {
            reason: count for stage in ledger["stages"] for reason, count in stage["dropped"].items()
        },
        "splits": {split["split"]: split["rows"] for split in report["splits"]},
        "files": report["files"],
    }
    if "overlap" in report:
        summary["overlap"] = {key: report["overlap"][key] for key in ("rows", "share", "action")}
    if "consistency" in report:
        summary["judge_agreement"] = report["consistency"]["agreement"]
    if report.get("judge_errors"):
        summary["judge_errors"] = report["judge_errors"]
    return summary
