"""Verifying any file of rubrics, a person's too: kept, rejected and a ledger, as synthesis writes them.

A rubric is tested on the pair of its id and, if it is for any responses to its request, on all pairs of that request
(OpenRubrics' induced pairs, for τ). One that was written for no pair is kept if it would be for one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reasrm.durable import OutputLock
from reasrm.errors import ConfigError, InputError
from reasrm.generation.admission import source_of
from reasrm.generation.ledger import KEPT
from reasrm.generation.run import RunControl
from reasrm.hashing import request_hash
from reasrm.judging.inputs import JudgeInput
from reasrm.records import PreferencePair
from reasrm.rubrics.assemble import Output, RubricFiles, opened
from reasrm.rubrics.tasks import Task, induced_pairs, task_of
from reasrm.rubrics.verify import Candidate, Verified, Verifier
from reasrm.sources.rubric_lines import RubricLine, Rubrics

__all__ = ["FilterResult", "Tested", "filter_rubrics", "match_pairs"]


@dataclass(frozen=True, slots=True)
class Tested:
    """A rubric and the pairs that it is tested on.

    Args:
        line: The rubric.
        source: Of its first pair.
        pairs: The pair of its id first, if there is one.
        any_pair: Whether there is none.
    """

    line: RubricLine
    source: str
    pairs: tuple[PreferencePair, ...]
    any_pair: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterResult:
    """What a run left behind.

    Args:
        files: Where.
        num_rubrics: Rubrics of the file.
        verified: What the judge said.
        written: What was written and counted; None if the run was stopped before its end.
    """

    files: RubricFiles
    num_rubrics: int
    verified: Verified
    written: Output | None


def match_pairs(rubrics: Rubrics, rows: JudgeInput, group_by: str = "source") -> list[Tested]:
    """Return every rubric with its labelled pairs, by id of the rubric.

    Args:
        rubrics: Their file.
        rows: The pairs, scanned.
        group_by: Which field of a row names its source.

    Raises:
        InputError: No rubric is for any of the pairs.
    """
    requests: dict[str, list[str]] = defaultdict(list)
    for line in rubrics.by_id.values():
        if line.condition == "prompt" and line.prompt_hash is not None:
            requests[line.prompt_hash].append(line.id)
    own: dict[str, list[PreferencePair]] = defaultdict(list)
    others: dict[str, list[PreferencePair]] = defaultdict(list)
    sources: dict[str, str] = {}
    for item in rows:
        task = task_of(item, needs_label=True)
        if not isinstance(task, Task):
            continue
        mine = {item.id} & rubrics.by_id.keys()
        for line_id in (*mine, *(requests.get(request_hash(task.row.prompt), ()) if requests else ())):
            if line_id in mine and own[line_id]:
                continue
            (own if line_id in mine else others)[line_id].extend(induced_pairs(task))
            if line_id in mine or line_id not in sources:
                sources[line_id] = source_of(item.row, group_by)
    tested = [
        Tested(
            line,
            sources.get(line.id, "(none)"),
            (*own[line.id], *sorted(others[line.id], key=lambda pair: pair.id)),
            any_pair=not own[line.id],
        )
        for _, line in sorted(rubrics.by_id.items())
    ]
    if not any(one.pairs for one in tested):
        raise InputError(
            "no rubric has the id or the request of a labelled pair",
            place=", ".join(path.name for path in rows.paths),
            remedy="give the pairs that the rubrics are for",
        )
    return tested


def filter_rubrics(
    rubrics: Rubrics,
    rows: JudgeInput,
    verifier: Verifier,
    folder: Path,
    control: RunControl | None = None,
    group_by: str = "source",
) -> FilterResult:
    """Verify the rubrics of a file. The same call again continues.

    Raises:
        ConfigError: The judge wrote some of them, or the folder holds answers of another judge.
        InputError: An input is unusable as a whole.
        EnvironmentProblem: Disk, permissions, or a judge that cannot be reached.
        LockedError: Another process writes this output.
    """
    control = control or RunControl()
    files = RubricFiles(folder)
    files.refuse_foreign()
    files.refuse_inputs(rows.paths)
    _refuse_author(rubrics, verifier)
    scan = rows.scan()
    if control.on_scan is not None:
        control.on_scan(scan)
    tested = match_pairs(rubrics, rows, group_by)
    folder.mkdir(parents=True, exist_ok=True)
    candidates: Iterator[Candidate] = (
        Candidate(one.line.id, one.line.rubric, one.pairs, one.any_pair) for one in tested if one.pairs
    )
    lock, written = OutputLock(files.rubrics.with_name("rubrics.jsonl.lock")), None
    try:
        verified = verifier(candidates, replace(control, on_scan=None))
        if verified.is_whole:
            with opened(files, verifier, verified, writer=False) as output:
                for one in tested:
                    _add(output, verified, one)
            written = output
    finally:
        lock.release()
    return FilterResult(files=files, num_rubrics=len(tested), verified=verified, written=written)


def _add(output: Output, verified: Verified, one: Tested) -> None:
    line, outcome = one.line, verified.outcomes.get(one.line.id)
    reason = "call_failed" if one.pairs else "no_pair"
    if outcome is not None:
        reason = outcome.verification.reason or KEPT
    output.count_judge(one.source, reason, line.id)
    output.count_row(one.source, reason, outcome)
    if outcome is not None and reason == KEPT:
        output.keep(line, outcome)
        return
    detail = (
        None if outcome is None else f"{outcome.verification.right} of {outcome.verification.asked} right"
    )
    output.reject(line.id, **line.to_json(), reason=reason, detail=detail)


def _refuse_author(rubrics: Rubrics, verifier: Verifier) -> None:
    judge = verifier.judge.label["name"]
    wrote = [
        line.id
        for line in rubrics.by_id.values()
        if judge in (line.provenance.get("author"), line.provenance.get("writer"))
    ]
    if wrote and not verifier.section.allow_author:
        raise ConfigError(
            f"{judge!r} would verify the rubrics that it wrote, {wrote[0]!r} for instance",
            place="--judge",
            remedy="name another judge, or pass --allow-author",
        )
