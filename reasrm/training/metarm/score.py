"""`reasrm metarm score`: a number for every critique of a file, each exactly once, through kills and restarts.

A critique that cannot be read whole, or is none, has a status of its own and no score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from reasrm.durable import rows_of
from reasrm.errors import ConfigError, InputError, RowError
from reasrm.files import file_sha256
from reasrm.generation.checkpoint import Checkpoint
from reasrm.generation.hf import DTYPES, pick_device
from reasrm.generation.run import DurableRun, RunControl, RunEnd
from reasrm.judging.critiques import Critiques, Written, no_pair
from reasrm.metarm.inputs import Encoded, hide_verdict
from reasrm.metarm.model import MetaRM, find_folder
from reasrm.metarm.scale import BonusScale, bonus
from reasrm.records import Critique, Order
from reasrm.tables import content_sha256

__all__ = [
    "ScoreResult",
    "ScoringMetaRM",
    "open_metarm",
    "score_file",
]

_BATCHES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class ScoringMetaRM:
    """A MetaRM ready to score, and what tells it from another.

    Args:
        model: On its device.
        identity: Its card, its weights, its number format.
    """

    model: MetaRM
    identity: dict[str, Any]


def open_metarm(path: Path, *, device: str = "auto", dtype: str = "float32") -> ScoringMetaRM:
    """Open a MetaRM's folder, or that of a run that made one.

    Raises:
        ConfigError: There is none, or the device or number format cannot be used.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"no such dtype: {dtype!r}", remedy=f"use one of {', '.join(DTYPES)}")
    place = pick_device(device)
    folder = find_folder(path)
    model = MetaRM.open(folder, DTYPES[dtype]).to(place).eval()
    parts = [folder / f"member-{number}" for number in range(model.card.members)]
    identity = {
        "card": model.card.model_dump(mode="json"),
        "weights": [Checkpoint(str(part)).fingerprint() for part in parts],
        "readouts": [file_sha256(p) for part in parts if (p := part / "readout.safetensors").is_file()],
        "dtype": dtype,
    }
    return ScoringMetaRM(model, identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult(RunEnd):
    """What a run left behind.

    Args:
        total: Critiques in all.
        statuses: Status → critiques, earlier runs included.
        mean_score: Of those that have one; None if none has.
    """

    total: int
    statuses: Counter[str]
    mean_score: float | None

    def summary(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "rows": self.total,
            "scored": self.statuses["ok"],
            "statuses": dict(self.statuses.most_common()),
            "errors": self.num_errors,
            "mean_score": self.mean_score,
        }


def score_file(
    metarm: ScoringMetaRM,
    critiques: Critiques,
    output: Path,
    *,
    batch_size: int = 32,
    bonus_scale: BonusScale | None = None,
    control: RunControl | None = None,
) -> ScoreResult:
    """Score critiques into `output`, continuing what an earlier call began.

    Args:
        metarm: Who scores.
        critiques: What is scored: rows with critiques, or what `reasrm judge` wrote with the rows that were judged.
        output: Where scores go; never one of the inputs.
        batch_size: Rows per forward pass.
        bonus_scale: Also write what the critique of a right verdict would earn.
        control: What happens to earlier output, and who is told what; progress is a `Progress`.

    Raises:
        LockedError: Another process writes this output.
        ConfigError: The output belongs to another run (MetaRM, number format, version), or scored rows changed.
        InputError: The input is unusable as a whole.
    """
    with DurableRun(output, control or RunControl(), kind="metarm score", inputs=critiques.paths) as run:
        if critiques.are_judged and not critiques.pairs:
            raise InputError(
                "holds judgments, and not what was judged",
                place=str(critiques.inputs[0]),
                remedy="pass the rows that were judged with --pairs",
            )
        found = critiques.scan()
        total = found.num_items - found.num_settled
        identity = {
            "metarm": metarm.identity,
            "input_sha256": [content_sha256(path) for path in critiques.paths],
            "bonus_scale": bonus_scale,
            "ids": "row/order/vote",
            **({"columns": critiques.columns} if critiques.columns else {}),
        }
        run.start(identity, lambda: rows_of((item.row, item.digest) for item in _scored(critiques)))
        with run.working():
            for part in run.batches(_scored(critiques), batch_size * _BATCHES_AT_ONCE, total):
                _score_part(metarm.model, part, run, batch_size, bonus_scale)
        records = [(record["status"], record["score"]) for record in run.journal.records()]
        scores = [score for _, score in records if score is not None]
        return run.end(
            ScoreResult,
            total=total,
            statuses=Counter(status for status, _ in records),
            mean_score=fmean(scores) if scores else None,
        )


def _scored(critiques: Critiques) -> Iterator[Written]:
    """Yield what gets a line: whatever a critique could stand in, under row, order and vote."""
    for item in critiques:
        if item.comparison is None and item.error is None:
            if critiques.are_judged:  # the row was settled without asking the judge
                continue
            item = item._replace(error=no_pair("a row", item.place))
        yield (
            item if item.where else item._replace(where={"row": item.id, "order": Order.AB.value, "vote": 0})
        )


def _score_part(
    model: MetaRM,
    part: Sequence[Written],
    run: DurableRun,
    batch_size: int,
    bonus_scale: BonusScale | None,
) -> None:
    """Score some critiques and write them down."""
    encoded: dict[int, Encoded] = {}
    problems: dict[int, RowError | InputError] = {}
    for n, item in enumerate(part):
        try:
            found = _encode(model, item)
        except (RowError, InputError) as error:
            problems[n] = error
        else:
            if found is not None:
                encoded[n] = found
    scores = dict(zip(encoded, model.score(list(encoded.values()), batch_size), strict=True))
    for n, item in enumerate(part):
        problem = problems.get(n)
        if problem is not None:
            run.fail(item, problem.code if isinstance(problem, RowError) else "not_encodable", str(problem))
        else:
            run.put(item, _describe(model, item, scores.get(n), bonus_scale))


def _describe(
    model: MetaRM, item: Written, members: torch.Tensor | None, bonus_scale: BonusScale | None
) -> dict[str, Any]:
    """Return status, score, and what goes with it."""
    card = model.card
    if members is None:
        written = hide_verdict(_text(item), card.spec).strip()
        return {"status": "too_long" if written else "no_critique", "score": None}
    members = members.double()
    score = float(members.mean())
    line: dict[str, Any] = {"status": "ok", "score": score}
    if len(members) > 1:
        line["variance"] = float(members.var(correction=0))
    if bonus_scale is not None:
        line["bonus"] = bonus(card.target, score, card.weight, bonus_scale)
    return line


def _encode(model: MetaRM, item: Written) -> Encoded | None:
    if item.error is not None:
        raise item.error
    text = _text(item)
    return model.encoder.encode(item.comparison, text) if item.comparison is not None and text else None


def _text(item: Written) -> str:
    """Return a critique as text: its own, or one line for each of its arguments."""
    critique = item.critique or Critique()
    if critique.text and critique.text.strip():
        return critique.text
    return "\n".join(f"{a.about} {a.stance}: {a.text}" for a in critique.arguments)
