"""The one append-only, locked, resumable map over rows that judging and every later data stage use.

A run keeps five files side by side: `OUT` (finished rows), `OUT.errors.jsonl` (rows that failed),
`OUT.manifest.json` (what must be equal for a run to be continued), `OUT.lock` (held while a process writes)
and, after damage, `OUT.torn` (the bytes that recovery took out). A record counts as written when `put`
returns: a killed process loses nothing; a power cut loses about the last 64 records or the last second.
"""

from __future__ import annotations

from reasrm.durable.changes import RowChanges
from reasrm.durable.folders import building
from reasrm.durable.index import DuplicateCheck, IdIndex, hash_id
from reasrm.durable.lock import OutputLock
from reasrm.durable.log import read_records
from reasrm.durable.manifest import IdentityMismatch, read_manifest
from reasrm.durable.map import DurableMap, ResumeState
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
    "RowChanges",
    "building",
    "check_all_done",
    "hash_id",
    "read_manifest",
    "read_records",
    "rows_of",
    "start_journal",
]
