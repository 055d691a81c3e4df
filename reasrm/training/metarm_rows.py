"""Comparisons with human critiques, and what judges wrote about them.

Judgments are drawn by the batch judging that `reasrm judge` is, or read from files that it wrote. RM-NLHF (arXiv
2601.07349, released code) draws four per row from the base policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasrm.durable import IdentityMismatch, ResumeState
from reasrm.errors import ConfigError
from reasrm.generation.run import RunControl
from reasrm.judging.aggregate import rule_status
from reasrm.judging.batch import BatchResult, judge_file
from reasrm.judging.inputs import InputRow, JudgeInput, Scan
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metarm.holdout import is_held_out
from reasrm.pipes import refuse_pipe
from reasrm.protocol.prompts import OLD_SPEC, made_with_old_codes
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Order, PreferencePair, Recorded, Row, as_comparison
from reasrm.sources.recorded import read_recordings
from reasrm.tables import read_rows
from reasrm.training.comparisons import overlap
from reasrm.training.data import Dropped, count_reasons, dropped_row, nothing_left
from reasrm.training.metarm_config import CritiqueDataSection, MetaRMStage

__all__ = [
    "Judgments",
    "MetaRMData",
    "draw_judgments",
    "overlap_warning",
    "read_comparisons",
    "read_judgments",
    "summarise",
]

Judgments = Mapping[str, Mapping[Order, Sequence[Recorded]]]
"""What was written, by row id and by the order shown, votes in order."""


@dataclass(slots=True)
class MetaRMData:
    """The rows of some files that a MetaRM can learn from.

    Args:
        rows: By id, in their own order, with target and critique.
        dropped: All others, with the reason.
    """

    rows: dict[str, Comparison] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)


# The rows


def read_comparisons(
    stage: MetaRMStage, spec: JudgeSpec, progress: Callable[[int], None] = lambda number: None
) -> MetaRMData:
    """Read the rows of a stage, and leave out what a MetaRM cannot learn from.

    Args:
        stage: The config.
        spec: Its verdicts are the labels that count.
        progress: Called with the number of rows read, after each.

    Raises:
        InputError: A file cannot be read, ids repeat, or no row is left; then the commonest reason is named.
    """
    found = MetaRMData()
    for number, item in enumerate(_scanned(stage), 1):
        if item.row is None:
            found.dropped.append(dropped_row(item.id, item.place, item.error))
        elif (problem := _unusable(item.row, spec)) is not None:
            found.dropped.append(Dropped(item.id, item.place, *problem))
        else:
            found.rows[item.id] = _as_comparison(item.row)
        progress(number)
    if not found.rows:
        remedies = {"no_critique": "give rows with a field critique; see docs/data.md for who brings one"}
        raise nothing_left(stage.data.train, found.dropped, "comparisons with critiques", remedies)
    return found


def overlap_warning(comparisons: MetaRMData, holdout: float) -> str | None:
    """Say if rows that are held out, and so choose the result, share rows or prompts with those learned from."""
    parts: dict[bool, list[Comparison]] = {True: [], False: []}
    for row_id, row in comparisons.rows.items():
        parts[is_held_out(row_id, holdout)].append(row)
    shared = overlap(parts[True], parts[False])
    if not shared.prompts:
        return None
    return (
        f"warning: of {len(parts[True])} rows held out, {shared.rows} are rows that are learned from and "
        f"{shared.prompts} have the prompt of one: their error is not that of unseen rows"
    )


def _scanned(stage: MetaRMStage) -> JudgeInput:
    data = stage.data
    refuse_pipe(data.train)
    rows = JudgeInput([Path(file) for file in data.train], limit=data.limit, columns=data.columns)
    rows.scan()
    return rows


def _unusable(row: Row, spec: JudgeSpec) -> tuple[str, str] | None:
    if not isinstance(row, PreferencePair | Comparison):
        return "not_a_pair", f"a {type(row).__name__} is no pair of responses"
    target = _as_comparison(row).target
    if target is None:
        return "no_label", "nobody says which response is better"
    if target.winner not in spec.allowed_verdicts:
        return "off_menu", f"the label is {target.winner!r}, which spec {spec.name!r} does not allow"
    critique = row.critique
    if critique is None or not (critique.arguments or (critique.text or "").strip()):
        return "no_critique", "nobody says why"
    status = rule_status(row)
    return None if status is None else (status.value, "there is nothing to choose between the responses")


def _as_comparison(row: Row) -> Comparison:
    found = as_comparison(row)
    assert found is not None  # noqa: S101 - `_unusable` has looked
    return found


# The judgments


class _Usable(JudgeInput):
    """The rows of some files that are wanted; the others were counted already."""

    def __init__(self, data: CritiqueDataSection, wanted: MetaRMData) -> None:
        paths = [Path(file) for file in data.train]
        super().__init__(paths, limit=data.limit, columns=data.columns)
        self._wanted = wanted

    def scan(self) -> Scan:
        """Validate, and count the wanted rows."""
        found = super().scan()
        found.num_rows = found.num_items = len(self._wanted.rows)
        found.num_invalid = 0
        return found

    def __iter__(self) -> Iterator[InputRow]:
        """Yield every wanted row once."""
        return (item for item in super().__iter__() if item.id in self._wanted.rows and item.row is not None)


def draw_judgments(
    stage: MetaRMStage,
    judge: Judge,
    comparisons: MetaRMData,
    output: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    say: Callable[[str], None] = lambda text: None,
    allow_other_server: bool = False,
) -> BatchResult:
    """Let the policy judge the rows, durably: what an earlier call has done is not done again.

    Args:
        stage: The config.
        judge: The policy.
        comparisons: What it judges.
        output: Where the judgments go, as `reasrm judge` writes them.
        progress: Called with the rows done and the rows in all.
        say: Called with a sentence for people.
        allow_other_server: Go on where another server or served model answered before.

    Raises:
        ConfigError: The output holds judgments of another policy, server, sampling or input.
    """
    section = stage.rollouts
    options = JudgingOptions(
        orders=stage.data.orders,
        votes=section.per_row,
        seed=stage.seed if section.seed is None else section.seed,
        sampling=judge.sampling(
            temperature=section.temperature, top_p=section.top_p, max_tokens=section.max_tokens
        ),
    )
    rows = _Usable(stage.data, comparisons)

    def warn(resume: ResumeState) -> None:
        for warning in resume.warnings:
            say(f"warning: {warning}")

    control = RunControl(
        allow_other_server=allow_other_server,
        on_start=warn,
        on_progress=lambda tally: progress(tally.rows + tally.errors, tally.total),
    )
    with closing(judge.backend):
        try:
            return judge_file(judge, rows, output, options, control)
        except IdentityMismatch as mismatch:
            raise ConfigError(
                f"the judgments there are others than the config asks for: {mismatch.message}",
                place=str(output),
                remedy=f"choose another --run-dir, or remove {output.name}*",
            ) from mismatch


def read_judgments(files: Sequence[Path], spec: JudgeSpec) -> dict[str, dict[Order, list[Recorded]]]:
    """Return what judges wrote, by row id and order; several files about the same rows add up.

    Raises:
        InputError: A file cannot be read, or holds no judgments.
        ConfigError: They were asked in another way.
    """
    found: dict[str, dict[Order, list[Recorded]]] = {}
    for file in files:
        _check_spec(file, spec)
        for row_id, recordings in read_recordings(file).items():
            for order, votes in recordings.items():
                found.setdefault(row_id, {}).setdefault(order, []).extend(votes)
    return found


def _check_spec(file: Path, spec: JudgeSpec) -> None:
    for raw in read_rows(file):
        judge = (raw.data or {}).get("judge")
        theirs = judge.get("spec_hash") if isinstance(judge, dict) else None
        if theirs is not None and theirs != spec.hash:
            old = made_with_old_codes(spec, theirs)
            if old is not None:
                raise ConfigError(f"the row {old}", place=raw.place, remedy=f"{OLD_SPEC}, or judge again")
            raise ConfigError(
                f"the row was judged by a spec with hash {theirs}, but spec {spec.name!r} has hash {spec.hash}",
                place=raw.place,
                remedy="set spec to the one that they were judged by",
            )


def summarise(comparisons: MetaRMData) -> dict[str, Any]:
    """Return the counts of the rows."""
    return {"rows": len(comparisons.rows), "dropped": count_reasons(comparisons.dropped)}
