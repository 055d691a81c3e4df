"""`reasrm metarm score`: a number for every critique of a file, each exactly once, through kills and restarts.

A critique that cannot be read whole, or is none, has a status of its own and no score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from reasrm import __version__
from reasrm.durable import DrainExpired, DurableMap, Interruption, check_all_done, rows_of, start_journal
from reasrm.errors import ConfigError, InputError, RowError
from reasrm.files import file_sha256
from reasrm.generation.checkpoint import Checkpoint
from reasrm.generation.hf import DTYPES, pick_device
from reasrm.metarm.inputs import Encoded, hide_verdict
from reasrm.metarm.model import MetaRM, find_folder
from reasrm.metarm.scale import BonusScale, bonus
from reasrm.tables import content_sha256
from reasrm.training.metarm_critiques import Critiqued, Critiques

__all__ = [
    "ScoreControl",
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
class ScoreControl:
    """What happens to earlier output, and who is told what.

    Args:
        restart: Move an earlier output aside and begin anew.
        retry_errors: Try rows again that an earlier run put into the error file.
        say: Called with a sentence for people.
        on_progress: Called with the critiques done and those in all.
        on_stop: Called with the signal's number on SIGINT or SIGTERM.
    """

    restart: bool = False
    retry_errors: bool = False
    say: Callable[[str], None] = lambda text: None
    on_progress: Callable[[int, int], None] = lambda done, total: None
    on_stop: Callable[[int], None] | None = None


@dataclass(slots=True)
class ScoreResult:
    """What a run left behind.

    Args:
        errors_file: The rows that could not be scored; absent where there are none.
        total: Critiques in all.
        statuses: Status → critiques, earlier runs included.
        errors: Rows in the error file.
        score_sum: Of all scores.
        signum: The signal that stopped the run early, or None.
    """

    errors_file: Path
    total: int
    statuses: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    score_sum: float = 0.0
    signum: int | None = None

    @property
    def done(self) -> int:
        """Critiques that need no more work."""
        return self.statuses.total() + self.errors

    def add(self, record: dict[str, Any]) -> None:
        """Count a record."""
        self.statuses[record["status"]] += 1
        if record["score"] is not None:
            self.score_sum += record["score"]

    def summary(self) -> dict[str, Any]:
        """Return the counts."""
        scored = self.statuses["ok"]
        return {
            "rows": self.total,
            "scored": scored,
            "statuses": dict(self.statuses.most_common()),
            "errors": self.errors,
            "mean_score": self.score_sum / scored if scored else None,
        }


def score_file(
    metarm: ScoringMetaRM,
    critiques: Critiques,
    output: Path,
    *,
    batch_size: int = 32,
    bonus_scale: BonusScale | None = None,
    control: ScoreControl | None = None,
) -> ScoreResult:
    """Score critiques into `output`, continuing what an earlier call began.

    Args:
        metarm: Who scores.
        critiques: What is scored.
        output: Where scores go; never one of the inputs.
        batch_size: Rows per forward pass.
        bonus_scale: Also write what the critique of a right verdict would earn.
        control: What happens to earlier output, and who is told what.

    Raises:
        LockedError: Another process writes this output.
        ConfigError: The output belongs to another run (MetaRM, number format, version), or scored rows changed.
        InputError: The input is unusable as a whole.
    """
    control = control or ScoreControl()
    with DurableMap(output, inputs=critiques.paths, kind="metarm score") as journal:
        total = critiques.count()
        identity = {
            "metarm": metarm.identity,
            "input_sha256": [content_sha256(path) for path in critiques.paths],
            "bonus_scale": bonus_scale,
            "ids": "row/order/vote",
            "reasrm": __version__,
            **({"columns": critiques.columns} if critiques.columns else {}),
        }
        state = start_journal(
            journal,
            identity,
            lambda: rows_of((item.row, item.digest) for item in critiques),
            restart=control.restart,
            retry_errors=control.retry_errors,
        )
        for warning in state.warnings:
            control.say(f"warning: {warning}")
        if state.num_done:
            control.say(f"continuing: {state.num_done} critiques were scored before")
        result = ScoreResult(journal.errors_path, total, errors=state.num_errors)
        for record in journal.records():
            result.add(record)
        with Interruption(on_signal=control.on_stop) as interruption, suppress(DrainExpired):
            todo = (item for item in critiques if not journal.done(item.id))
            while not interruption.stopping and (part := list(islice(todo, batch_size * _BATCHES_AT_ONCE))):
                _score_part(metarm.model, part, journal, result, batch_size, bonus_scale)
                control.on_progress(result.done, total)
        result.signum = interruption.signum
        if not interruption.stopping:
            check_all_done(critiques.paths, total, min(result.done, total))
    return result


def _score_part(
    model: MetaRM,
    part: Sequence[Critiqued],
    journal: DurableMap,
    result: ScoreResult,
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
            code = problem.code if isinstance(problem, RowError) else "not_encodable"
            record = {"row": item.row, "place": item.place, "code": code, "message": str(problem)}
            journal.fail(item.id, {**record, "attempts": 0}, item.digest)
            result.errors += 1
            continue
        line = {"id": item.id, "row": item.row, "order": item.order.value, "vote": item.vote}
        line |= _describe(model, item, scores.get(n), bonus_scale)
        journal.put(item.id, line, item.digest)
        result.add(line)


def _describe(
    model: MetaRM, item: Critiqued, members: torch.Tensor | None, bonus_scale: BonusScale | None
) -> dict[str, Any]:
    """Return status, score, and what goes with it."""
    card = model.card
    if members is None:
        written = hide_verdict(item.critique or "", card.spec).strip()
        return {"status": "too_long" if written else "no_critique", "score": None}
    members = members.double()
    score = float(members.mean())
    line: dict[str, Any] = {"status": "ok", "score": score}
    if len(members) > 1:
        line["variance"] = float(members.var(correction=0))
    if bonus_scale is not None:
        line["bonus"] = bonus(card.target, score, card.weight, bonus_scale)
    return line


def _encode(model: MetaRM, item: Critiqued) -> Encoded | None:
    if item.error is not None:
        raise item.error
    if item.comparison is None or not item.critique:
        return None
    return model.encoder.encode(item.comparison, item.critique)
