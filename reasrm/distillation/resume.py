"""Going on with the answers of an earlier run, if they still answer what is asked now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasrm.durable import DurableMap, IdentityMismatch, ResumeState, RowChanges
from reasrm.durable.log import unseal
from reasrm.errors import ConfigError
from reasrm.judging.batch import name_mismatch
from reasrm.judging.inputs import JudgeInput
from reasrm.protocol.spec import JudgeSpec

__all__ = ["start_journal"]

_SHOWN = 10


def start_journal(
    journal: DurableMap,
    spec: JudgeSpec,
    rows: JudgeInput,
    identity: Mapping[str, Any],
    *,
    restart: bool,
    retry_errors: bool,
    strict: bool,
) -> ResumeState:
    """Start the journal. A changed input is taken over if every pair that was asked about is still there, unchanged.

    Raises:
        ConfigError: The answers belong to another run, or the pairs changed; the message names them.
    """
    try:
        return journal.start(identity, restart=restart, retry_errors=retry_errors, strict=strict)
    except IdentityMismatch as mismatch:
        if mismatch.keys != {"input_sha256"}:
            raise name_mismatch(spec, mismatch) from mismatch.__cause__
        changes = _find_changes(journal.output, ((item.id, item.digest.hex()) for item in rows))
        if strict or changes.num_changed or changes.num_missing:
            raise ConfigError(
                f"the input changed since this output was begun: {changes}",
                place=str(journal.output),
                remedy="restore the input, choose another output, or begin anew with --restart",
            ) from mismatch
    resume = journal.start(identity, retry_errors=retry_errors, strict=strict, adopt=True)
    notice = f"the input changed, but no pair that was asked about: {changes}"
    return replace(resume, warnings=(notice, *resume.warnings))


def _find_changes(calls: Path, current: Iterable[tuple[str, str]]) -> RowChanges:
    """Compare the pairs of an input with those that answers were recorded for."""
    recorded: dict[str, str] = {}
    with suppress(FileNotFoundError), open(calls, "rb") as stream:
        for line in stream:
            record = unseal(line)
            if record is not None:
                recorded[str(record.get("pair"))] = str(record.get("row_digest"))
    present: set[str] = set()
    changed: list[str] = []
    new: list[str] = []
    for pair, content in current:
        present.add(pair)
        if pair not in recorded:
            new.append(pair)
        elif recorded[pair] != content:
            changed.append(pair)
    missing = [pair for pair in recorded if pair not in present]
    parts = (changed, missing, new)
    counted = [(len(part), tuple(part[:_SHOWN])) for part in parts]
    return RowChanges(*counted[0], *counted[1], *counted[2])
