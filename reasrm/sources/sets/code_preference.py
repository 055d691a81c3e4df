"""Code-Preference-Pairs: working code against code with planted bugs.

Some planted bugs are announced by a comment, which tells the label to whoever reads it. Comments that speak of a bug
are therefore cut from both sides, inside code fences where a response has them, and counted in
`meta.comments_cut`; `bug_comments=keep` reads the text as it is, as RM-R1 did. The column names come from the code of
several users, TRL's documentation among them, not from the files.
"""

from __future__ import annotations

import re

from reasrm.records import Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.sets.trl import make_pair

_COLUMNS = ("input", "accepted", "rejected")
_FENCED = re.compile(r"(^[ \t]*```[^\n]*\n)(.*?)(^[ \t]*```[ \t]*$|\Z)", re.M | re.S)
_COMMENT = re.compile(r"(?:^|(?<=\s))(?:#|//|--|/\*)")
_BUG = re.compile(r"\b(?:bugs?|buggy|bugged)\b", re.I)


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    chosen, cut_chosen = _without_bug_comments(fields.text(row, "accepted", place))
    rejected, cut_rejected = _without_bug_comments(fields.text(row, "rejected", place))
    cut = cut_chosen + cut_rejected
    return _pair(row, place, chosen, rejected, {"comments_cut": cut} if cut else {})


def _read_as_it_is(row: RowData, place: str) -> tuple[Row, ...]:
    return _pair(row, place, fields.text(row, "accepted", place), fields.text(row, "rejected", place), {})


def _pair(row: RowData, place: str, chosen: str, rejected: str, meta: dict[str, int]) -> tuple[Row, ...]:
    prompt = fields.conversation(row, "input", place)
    return (make_pair({"meta": meta, **row}, place, prompt, chosen, rejected),)


def _without_bug_comments(text: str) -> tuple[str, int]:
    """Return the text without comments on bugs, and how many there were; prose outside fences stays."""
    if not _FENCED.search(text):
        return _cut_comments(text)
    total = 0

    def cut(fence: re.Match[str]) -> str:
        nonlocal total
        code, count = _cut_comments(fence[2])
        total += count
        return fence[1] + code + fence[3]

    return _FENCED.sub(cut, text), total


def _cut_comments(code: str) -> tuple[str, int]:
    """Cut each comment to the end of its line; a line of nothing else goes whole, so that no gap tells of it."""
    kept, count = [], 0
    for line in code.split("\n"):
        bugs = [bug.start() for bug in _BUG.finditer(line)]
        found = _COMMENT.search(line, 0, bugs[-1]) if bugs else None
        if found is None:
            kept.append(line)
            continue
        count += 1
        before = line[: found.start()].rstrip()
        if before:
            kept.append(before)
    return "\n".join(kept), count


SOURCE = Source(
    name="code-preference-pairs",
    url="https://huggingface.co/datasets/Vezora/Code-Preference-Pairs",
    licence="Apache-2.0 according to users; not confirmed",
    revision="column names as RM-R1's loader reads them; the files were not seen",
    label_rule="`accepted` is the working code, `rejected` the one with bugs; there are no ties.",
    becomes="pairs; comments that speak of a bug are cut on both sides, `--option bug_comments=keep` leaves them",
    example={
        "input": "Write add(a, b).",
        "accepted": "def add(a, b):\n    return a + b",
        "rejected": "def add(a, b):\n    # bug: subtracts\n    return a - b",
    },
    recognises=lambda row: "accepted" in row and "rejected" in row and "input" in row,
    read=_read,
    text_keys=_COLUMNS,
    options={"bug_comments": {"cut": {}, "keep": {"read": _read_as_it_is}}},
    assumed=_COLUMNS,
)
