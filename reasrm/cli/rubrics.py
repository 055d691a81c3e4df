"""`reasrm rubrics synthesize` and `filter`: from a config or flags to a run, a summary and an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from reasrm.cli.console import chatter_to_stderr, finish, note, print_summary, progress_bar
from reasrm.cli.flag_sets import VerifyingFlags
from reasrm.cli.flags import budget_of
from reasrm.cli.running import add_end, control_of, note_cost, note_request, note_scan, note_sources
from reasrm.cli.summary import progress
from reasrm.config import load_config, parse_config
from reasrm.errors import ConfigError
from reasrm.generation.base import Backend
from reasrm.generation.resolve import open_backend
from reasrm.generation.run import AskingProgress, Progress, RunControl, RunEnd
from reasrm.generation.sections import AskedModelSection
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.judging.tally import Tally
from reasrm.pipes import settled
from reasrm.rubrics.assemble import Output, RubricFiles
from reasrm.rubrics.config import AuthorSection, SynthesisConfig, VerifySection
from reasrm.rubrics.filter import filter_rubrics, match_pairs
from reasrm.rubrics.relate import Relator
from reasrm.rubrics.run import SynthesisSetup, admit, first_request, synthesize
from reasrm.rubrics.tasks import Unasked
from reasrm.rubrics.verify import Verified, Verifier, make_verifier, refuse_author
from reasrm.sources.rubric_lines import Rubrics, load_rubrics

__all__ = ["open_asked", "open_author", "open_synthesis", "run_filter", "run_synthesize"]

_UNREAD = frozenset({"unreadable", "truncated", "refused", "no_criteria", "finding_invalid"})


def run_synthesize(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    dry_run: bool,
    restart: bool,
    retry_errors: bool,
    allow_other_server: bool,
) -> None:
    """Write rubrics, or say what that would do, and end with the exit code of `docs/judging.md`."""
    with chatter_to_stderr(), open_synthesis(path, overrides) as setup:
        if dry_run:
            print_summary(_dry_run(setup))
            return
        with _progress() as on_progress:
            result = synthesize(
                setup,
                control_of(
                    RunControl,
                    "answers",
                    on_progress,
                    restart=restart,
                    retry_errors=retry_errors,
                    allow_other_server=allow_other_server,
                ),
            )
    done = result.progress
    summary: dict[str, Any] = {
        "command": "rubrics synthesize",
        "output": str(result.files.folder),
        "method": setup.config.method,
        "progress": progress("rows", done.total, done.settled, done.errors),
    }
    if result.written is not None:
        summary |= _described(result.written, result.verified)
        if setup.config.writer is not None:
            note(f"{result.written.num_writer_rows} rows for a writer in {result.files.writer}")
            summary |= {
                "writer_sft": str(result.files.writer),
                "writer_rows": result.written.num_writer_rows,
                "writer_rows_unfit": result.written.num_unfit,
            }
    if result.related is not None:
        summary["related"] = result.related.counts()
        said = ", ".join(f"{count} {word}" for word, count in summary["related"].items())
        note(f"pairs of criteria that a model was asked about: {said}")
    ends = [result, *([result.related] if result.related else []), *_judge_ends(result.verified)]
    _finish(summary, result.verified, ends, f"{done.settled} of {done.total} rows")


def run_filter(flags: VerifyingFlags, output: Path) -> None:
    """Verify a file of rubrics and end with the exit code of `docs/judging.md`."""
    if len(flags.input) != 1:
        raise ConfigError(f"{len(flags.input)} files of rubrics", place="--input", remedy="give one")
    names = ("judge", "spec", "without_spec", "votes", "require", "tau", "gain", "allow_author", "seed")
    own = {name: getattr(flags, name) for name in (*names, "temperature", "top_p", "max_tokens")}
    section = parse_config(VerifySection, {**own, "orders": flags.orders.value}, "the flags")
    lines = load_rubrics(flags.input[0])
    rows = JudgeInput(flags.pairs, **flags.row_options())
    with ExitStack() as stack:
        verifier = _open_verifier(section, output, stack, flags.backend_options(), flags.allow_changed)
        if flags.dry_run:
            print_summary(_plan_filter(lines, rows, verifier, flags.group_by))
            return
        with _progress() as on_progress:
            control = control_of(
                RunControl,
                "answers",
                on_progress,
                restart=flags.restart,
                retry_errors=flags.retry_errors,
                strict=flags.strict,
                allow_other_server=flags.allow_other_server,
                budget=budget_of(flags.price, flags.budget, flags.budget_tokens, "judge"),
            )
            result = filter_rubrics(lines, rows, verifier, output, control, flags.group_by)
    verified = result.verified
    done = len(verified.outcomes) + len(verified.failed)
    summary: dict[str, Any] = {
        "command": "rubrics filter",
        "output": str(output),
        "progress": progress("rubrics", result.num_rubrics, done, len(verified.failed)),
    }
    if result.written is not None:
        summary |= _described(result.written, verified)
    _finish(summary, verified, verified.ends, f"{done} of {result.num_rubrics} rubrics")


@contextmanager
def open_synthesis(path: Path, overrides: Sequence[str] = ()) -> Iterator[SynthesisSetup]:
    """Open what a synthesis's config names; author and judge are closed at the end.

    Args:
        path: The YAML file.
        overrides: `a.b=value`, applied in order.

    Raises:
        ConfigError: Names the file, the key, its value and the nearest known key; or the judge is the author.
    """
    config = load_config(SynthesisConfig, path, overrides)
    with ExitStack() as stack:
        author = stack.enter_context(closing(open_author(config.author, str(path))))
        verifier, relator, relate = None, None, config.checks.relate
        if relate is not None:
            model = stack.enter_context(closing(open_asked(relate)))
            relator = Relator(model, relate, RubricFiles(Path(config.output)).relations)
        if config.verify is not None:
            verifier = _open_verifier(
                config.verify, Path(config.output), stack, config.verify.backend_options()
            )
            refuse_author(author, verifier.judge.backend, config.verify)
        paths = [settled(Path(name)) for name in config.input]
        rows = JudgeInput(paths, source=config.source, limit=config.limit, columns=config.columns)
        yield SynthesisSetup(config=config, rows=rows, author=author, verifier=verifier, relator=relator)


def open_author(section: AuthorSection, place: str) -> Backend:
    """Open an author; `scripted` is the one of the embedded world, a judge folder is asked as a model.

    Raises:
        ConfigError: There is no such model.
    """
    if section.judge == "scripted":
        from reasrm.sandbox.author import AuthorConfig, ScriptedAuthor

        return ScriptedAuthor(parse_config(AuthorConfig, section.scripted, f"{place}: scripted"))
    return open_asked(section)


def open_asked(section: AskedModelSection) -> Backend:
    """Open a model that is asked; of a judge folder its model."""
    folder = Path(section.judge)
    name = str(folder / "model") if (folder / "judge.json").is_file() else section.judge
    return open_backend(name, **section.backend_options())


def _open_verifier(
    section: VerifySection,
    folder: Path,
    stack: ExitStack,
    options: Mapping[str, Any],
    allow_changed: bool = False,
) -> Verifier:
    judge = open_judge(
        section.judge, spec=section.spec, default_spec="rubric", allow_changed=allow_changed, **options
    )
    stack.enter_context(closing(judge.backend))
    return make_verifier(judge, section, folder)


@contextmanager
def _progress() -> Iterator[Callable[[Any], None]]:
    """Show rows settled while the author is asked, and rows judged while the judge is."""
    with progress_bar("rubrics", unit=" rows,") as update:

        def show(said: AskingProgress | Tally | Progress) -> None:
            if isinstance(said, Progress):
                update(said.done, said.total, f"comparing criteria, {said.errors} err")
            elif isinstance(said, AskingProgress):
                extra = f"{said.kept} kept, {said.answers} answers, {said.errors} err"
                update(said.settled, said.total, extra)
            else:
                update(said.rows + said.errors, said.total, f"verifying, {said.errors} err")

        yield show


def _dry_run(setup: SynthesisSetup) -> dict[str, Any]:
    """Validate the whole input, show the first request, and count calls."""
    scan = setup.rows.scan()
    note_scan(scan)
    admission = admit(setup)
    tasks = [setup.task(item) for item in setup.rows]
    unasked = Counter(task.reason for task in tasks if isinstance(task, Unasked))
    per_row = 3 if setup.config.method == "profiles" else 1
    first, most = len(admission.admitted), admission.sources.total()
    note_request(first_request(setup))
    others = ", ".join(f"{count} {reason}" for reason, count in unasked.most_common()) or "none"
    note(f"rows: {len(tasks):,}; not asked about: {others}")
    calls = {"least": first * per_row, "most": most * per_row * setup.config.author.samples}
    note(f"calls of the author: {calls['least']:,} to {calls['most']:,} (for pairs)")
    return {
        "command": "rubrics synthesize",
        "dry_run": True,
        "method": setup.config.method,
        "rows": len(tasks),
        "unasked": dict(sorted(unasked.items())),
        "sources": dict(sorted(admission.sources.items())),
        "calls": calls,
    }


def _plan_filter(rubrics: Rubrics, rows: JudgeInput, verifier: Verifier, group_by: str) -> dict[str, Any]:
    """Validate both inputs and count calls."""
    scan = rows.scan()
    note_scan(scan)
    tested = [one for one in match_pairs(rubrics, rows, group_by) if one.pairs]
    each = (2 if verifier.section.orders == "both" else 1) * verifier.section.votes
    pairs = {pair.id for one in tested for pair in one.pairs}
    note(f"{len(tested)} of {len(rubrics.by_id)} rubrics have a labelled pair")
    return {
        "command": "rubrics filter",
        "dry_run": True,
        "rubrics": len(rubrics.by_id),
        "tested": len(tested),
        "calls": {
            "judge": each * sum(len(one.pairs) for one in tested),
            "judge_without": each * len(pairs),
        },
        "spec": verifier.judge.spec.name,
        "spec_without": verifier.bare.spec.name,
    }


def _described(written: Output, verified: Verified | None) -> dict[str, Any]:
    """Say what came out, by source and reason, and return it for programs."""
    ledger = written.ledger
    note_sources(ledger, "rubrics")
    rows = ledger.rows()
    others = ", ".join(f"{count} {reason}" for reason, count in rows.items() if reason != "kept")
    note(f"rows without a rubric: {others or 'none'}")
    summary: dict[str, Any] = {"kept": rows.get("kept", 0), "rows": rows, "answers": ledger.answers()}
    tested = ledger.total("verified")
    if verified is not None and tested:
        said = {
            "tested": int(tested),
            "right": ledger.total("right") / tested,
            "without_right": ledger.total("without_right") / tested,
            "helpful": ledger.total("helpful") / tested,
            "misleading": ledger.total("misleading") / tested,
            "kept": rows.get("kept", 0) / tested,
            "kept_by_chance": ledger.total("kept_by_chance") / tested,
        }
        note(
            f"of {int(tested)} rubrics tested {said['kept']:.1%} are kept (by chance {said['kept_by_chance']:.1%}); "
            f"the judge is right with {said['right']:.1%}, without {said['without_right']:.1%}; "
            f"helpful {said['helpful']:.1%}, misleading {said['misleading']:.1%}"
        )
        summary["verified"] = said
    return summary


def _judge_ends(verified: Verified | None) -> Sequence[RunEnd]:
    """Return how the judge's runs ended, under rubrics, and without."""
    return () if verified is None else verified.ends


def _cost(verified: Verified | None, ends: Sequence[RunEnd]) -> dict[str, Any]:
    """Return what all runs took together; the judge's under rubrics and without stand apart."""
    names = dict(zip(map(id, _judge_ends(verified)), ("judge", "judge_without"), strict=False))
    cost = {names.get(id(end), name): one for end in ends for name, one in end.cost.get("cost", {}).items()}
    money = [end.cost["money"] for end in ends]
    return {"cost": cost, "money": None if None in money else sum(money)}


def _finish(summary: dict[str, Any], verified: Verified | None, ends: Sequence[RunEnd], done: str) -> None:
    """Print the summary and end with its exit code."""
    cost = _cost(verified, ends)
    note_cost(cost)
    codes, files = [0], []
    for end in ends:
        codes.append(add_end(summary, end, done))
        files += [str(end.errors)] if end.num_errors else []
    if files:
        summary["errors_files"] = files
    answers = summary.get("answers", {})
    if answers and set(answers) <= _UNREAD:
        codes.append(3)
        note(f"not one of {sum(answers.values())} answers could be read: {answers}")
    finish({**summary, **cost}, max(codes))
