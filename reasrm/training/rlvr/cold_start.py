"""The stages that a loop goes on from, compared with it: which rows they held out or learned from, how they scored.

The policy may start from a run folder, whose manifest names the rows that it learned from and was measured on. Rows are
the same where the pair's id is and the earlier row holds both responses; ids alone are often mere numbers. The MetaRM's
card says what its cold start held out and how it scored critiques.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reasrm.errors import ConfigError
from reasrm.metarm.card import MetaCard
from reasrm.metarm.model import find_folder, read_card
from reasrm.records import Comparison
from reasrm.runs.identity import read_manifest
from reasrm.tables import content_sha256, read_rows
from reasrm.training.rlvr.config import RLVRStage

__all__ = ["compare_with_start", "metarm_differences"]


def compare_with_start(
    stage: RLVRStage,
    learned: Mapping[str, Comparison],
    measured: Mapping[str, Mapping[str, Comparison]],
    say: Callable[[str], None],
) -> None:
    """Say in one line each where the loop differs from the stages that it goes on from.

    Args:
        stage: The config.
        learned: The rows that are learned from, by id.
        measured: Validation split → its rows, by id.
        say: Called with a sentence for people.

    Raises:
        ConfigError: The checkpoint would be chosen by rows that the policy's start has learned from.
    """
    if stage.metarm is not None:
        card = read_card(find_folder(stage.metarm.path))
        for difference in metarm_differences(stage, card):
            say(f"warning: {difference}")
    for name, rows in measured.items():
        shared = _shared(stage.model.path, "train", rows, say)
        if not shared:
            continue
        said = f"{len(shared)} of {len(rows)} rows were learned from by the run that this one starts from"
        chosen_by = stage.selection is not None and stage.selection.split in (None, name)
        if chosen_by and not (stage.validation and stage.validation.allow_training_rows):
            raise ConfigError(
                f"{said}, {stage.model.path}, and the checkpoint is chosen by them",
                place=f"validation.splits.{name}",
                remedy="name rows that neither learns from, or set validation.allow_training_rows: true",
            )
        say(f"warning: validation split {name}: {said}")
    shared = _shared(stage.model.path, "validation", learned, say)
    if shared:
        say(
            f"warning: {len(shared)} of {len(learned)} rows to learn from were held out by {stage.model.path}, which "
            "was measured on them; what it said there is no comparison for this run"
        )


def metarm_differences(stage: RLVRStage, card: MetaCard) -> list[str]:
    """Return how the loop holds rows out and scores critiques otherwise than the MetaRM's cold start."""
    if stage.metarm is None:
        return []
    found = []
    before, now = card.trained.get("holdout"), stage.metarm.holdout
    if before is not None and before != now:
        what = (
            "some rows that measure the MetaRM here were learned from there"
            if now > before
            else "some rows by which its checkpoint was chosen there are learned from here"
        )
        found.append(f"metarm.holdout is {now:g}, and the MetaRM's cold start held out {before:g}: {what}")
    theirs: Mapping[str, Any] | None = card.process.get("critique")
    if theirs is not None and stage.critique is not None:
        ours = stage.critique.meaning()
        usual = {name: field.default for name, field in type(stage.critique).model_fields.items()}
        for name in sorted(ours.keys() | (theirs.keys() & usual.keys() - {"cache"})):
            one, other = ours.get(name, usual[name]), theirs.get(name, usual[name])
            if one != other:
                found.append(
                    f"critique.{name} is {one!r}, and the MetaRM's cold start scored critiques by {other!r}"
                )
    return found


def _shared(path: str, kind: str, wanted: Mapping[str, Comparison], say: Callable[[str], None]) -> set[str]:
    """Return the ids of the rows that are among those of an earlier run, if there was one."""
    folder = Path(path)
    manifest = read_manifest(folder) if (folder / "checkpoints").is_dir() else None
    found: set[str] = set()
    for name, file in (manifest or {"inputs": {}})["inputs"].items():
        if name.partition(":")[0] != kind or not wanted:
            continue
        place = Path(file["path"])
        if not place.is_file() or content_sha256(place) != file["sha256"]:
            say(
                f"warning: {place} is not what {path} read any more, so its rows are not compared with this run's"
            )
            continue
        for raw in read_rows(place):
            key = _pair_of(raw.data or {})
            row = wanted.get(key) if isinstance(key, str) else None
            if row is not None and _holds(raw.data, row):
                found.add(row.id)
    return found


def _pair_of(data: Mapping[str, Any]) -> Any:
    """Return the id of a row's pair; a trace has one of its own, and the pair's in `meta`."""
    meta = data.get("meta")
    return meta.get("pair", data.get("id")) if isinstance(meta, dict) else data.get("id")


def _holds(data: Any, row: Comparison) -> bool:
    texts = list(_texts(data))
    return all(any(response in text for text in texts) for response in (row.response_a, row.response_b))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        children: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for child in children:
            yield from _texts(child)
