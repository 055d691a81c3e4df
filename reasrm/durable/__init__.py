"""The one append-only, locked, resumable map over rows that judging and every later data stage use.

A run keeps five files side by side: `OUT` (finished rows), `OUT.errors.jsonl` (rows that failed),
`OUT.manifest.json` (what must be equal for a run to be continued), `OUT.lock` (held while a process writes)
and, after damage, `OUT.torn` (the bytes that recovery took out). A record counts as written when `put`
returns: a killed process loses nothing; a power cut loses about the last 64 records or the last second.
"""

from __future__ import annotations

from reasrm.durable.folders import building, open_folder, refuse_others, set_aside
from reasrm.durable.index import DuplicateCheck, IdIndex, hash_id
from reasrm.durable.lock import OutputLock
from reasrm.durable.log import read_records
from reasrm.durable.manifest import (
    IdentityMismatch,
    differences_of,
    read_manifest,
    read_object,
    say_differences,
)
from reasrm.durable.map import DurableMap, ResumeState, notes_of
from reasrm.durable.resume import check_all_done, rows_of, start_journal
from reasrm.durable.signals import DrainExpired, Interruption

__all__ = [
    "DrainExpired",
    "DuplicateCheck",
    "DurableMap",
    "IdIndex",
    "IdentityMismatch",
    "Interruption",
    "OutputLock",
    "ResumeState",
    "building",
    "check_all_done",
    "differences_of",
    "hash_id",
    "notes_of",
    "open_folder",
    "read_manifest",
    "read_object",
    "read_records",
    "refuse_others",
    "rows_of",
    "say_differences",
    "set_aside",
    "start_journal",
]
