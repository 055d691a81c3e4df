"""Comparisons with human critiques, and what judges wrote about them.

Judgments are read from files that `reasrm judge` wrote. RM-NLHF (arXiv 2601.07349, released code) draws four per row
from the base policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasrm.errors import ConfigError
from reasrm.judging.aggregate import rule_status
from reasrm.judging.inputs import JudgeInput
from reasrm.metarm.holdout import is_held_out
from reasrm.pipes import refuse_pipe
from reasrm.protocol.prompts import OLD_SPEC, made_with_old_codes
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Order, PreferencePair, Recorded, Row, as_comparison
from reasrm.sources.recorded import read_recordings
from reasrm.tables import read_rows
from reasrm.training.metarm.config import MetaRMStage
from reasrm.training.stage.rows import (
    Dropped,
    count_reasons,
    dropped_remark,
    dropped_row,
    nothing_left,
    overlap,
)

if TYPE_CHECKING:
    from reasrm.training.metarm.targets import Targets
    from reasrm.training.metarm.trainer import MetaExample

__all__ = ["Judgments", "MetaRMData", "read_comparisons", "read_judgments"]

Judgments = Mapping[str, Mapping[Order, Sequence[Recorded]]]
"""What was written, by row id and by the order shown, votes in order."""


@dataclass(slots=True)
class MetaRMData:
    """The rows of some files that a MetaRM can learn from, and what is learned from them.

    Args:
        holdout: Share of the rows that is measured on.
        rows: By id, in their own order, with target and critique.
        dropped: All others, with the reason.
        judgments: By row and order; those of other rows are ignored.
        targets: What the judgments are worth, once that is known.
        learned: The judgments to learn from, as ids; then, too.
        measured: Those of rows held out.
    """

    holdout: float
    rows: dict[str, Comparison] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)
    judgments: Judgments = field(default_factory=dict)
    targets: Targets | None = None
    learned: list[MetaExample] = field(default_factory=list)
    measured: list[MetaExample] = field(default_factory=list)

    @property
    def num_judgments(self) -> int:
        """Judgments of the rows."""
        return sum(len(votes) for row_id in self.rows for votes in self.judgments.get(row_id, {}).values())

    def to_json(self) -> dict[str, Any]:
        """Return the counts that the run keeps."""
        counts = {} if self.targets is None else self.targets.to_json(self.holdout)
        return {"rows": len(self.rows), "dropped": count_reasons(self.dropped), **counts}

    def remarks(self) -> Iterator[str]:
        """Yield what a person should know of it before training."""
        parts: dict[bool, list[Comparison]] = {True: [], False: []}
        for row_id, row in self.rows.items():
            parts[is_held_out(row_id, self.holdout)].append(row)
        if (shared := overlap(parts[True], parts[False])).prompts:
            yield (
                f"warning: of {len(parts[True])} rows held out, {shared.rows} are rows that are learned from and "
                f"{shared.prompts} have the prompt of one: their error is not that of unseen rows"
            )
        yield from dropped_remark("training", self.dropped, len(self.rows))
        if self.targets is not None:
            yield from self.targets.remarks()
            if self.holdout and not self.measured:
                yield "warning: no judgment is held out, so nothing is measured; raise data.holdout"


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
    found = MetaRMData(stage.data.holdout)
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


def read_judgments(files: Sequence[str], spec: JudgeSpec) -> dict[str, dict[Order, list[Recorded]]]:
    """Return what judges wrote, by row id and order; several files about the same rows add up.

    Raises:
        InputError: A file cannot be read, or holds no judgments.
        ConfigError: They were asked in another way.
    """
    found: dict[str, dict[Order, list[Recorded]]] = {}
    for file in map(Path, files):
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
