"""Did a judge learn from what it is asked about? By the hashes of files, and by prompts while its files are at hand.

Prompts are compared in the normal form of curation, where a training file is unchanged and holds pairs; SFT rows are
whole judgments and cannot be compared so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from reasrm.errors import ReasrmError
from reasrm.judging.inputs import JudgeInput, Scan
from reasrm.judging.judge import Judge
from reasrm.tables import content_sha256

__all__ = ["prompt_keys", "warn_of_training_rows"]

_LOG = logging.getLogger("reasrm")
_MOST_BYTES = 1 << 26
_MOST_ROWS = 20_000


def prompt_keys(
    files: Sequence[Mapping[str, Any]], columns: Mapping[str, Any] | None = None
) -> set[bytes] | None:
    """Return the keys of all prompts of some files, None where one is gone, changed, or holds no pairs.

    Args:
        files: The `path` and `sha256` of each.
        columns: Of rows with another schema.
    """
    from reasrm.curation.text import prompt_key  # with all of curation, which most judging does without

    found: set[bytes] = set()
    for file in files:
        path = Path(file.get("path", ""))
        try:
            if not path.is_file() or content_sha256(path) != file["sha256"]:
                return None
            rows = [item.row for item in JudgeInput([path], columns=columns) if item.row is not None]
        except (ReasrmError, OSError):
            return None
        if not rows:
            return None
        found |= {prompt_key(row.prompt) for row in rows}
    return found if files else None


def warn_of_training_rows(judge: Judge, rows: JudgeInput, scan: Scan) -> None:
    """Warn if files are those that a judge was trained with, or rows have the prompts of its training rows.

    The first 20,000 rows are looked at. Training files of more than 64 MiB together are not read again.
    """
    same = [
        (p, judge.learned_from[s])
        for p, s in zip(rows.paths, scan.sha256, strict=False)
        if s in judge.learned_from
    ]
    for path, name in same:
        _LOG.warning(
            "warning: %s is the file %s that the judge was trained with: the score is no test", path, name
        )
    sizes = [Path(file["path"]).stat().st_size for file in judge.trained_on if Path(file["path"]).is_file()]
    if same or not sizes or sum(sizes) > _MOST_BYTES:
        return
    learned = prompt_keys(judge.trained_on, judge.trained_on[0].get("columns"))
    if not learned:
        return
    from reasrm.curation.text import prompt_key

    asked = [prompt_key(item.row.prompt) for item in islice(rows, _MOST_ROWS) if item.row is not None]
    if shared := sum(key in learned for key in asked):
        _LOG.warning(
            "warning: %d of %d rows have the prompt of a row that the judge was trained with: "
            "their score is not that of unseen rows",
            shared,
            len(asked),
        )
