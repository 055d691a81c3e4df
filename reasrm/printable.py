"""Text from rows and files, made safe for a terminal: what would move the cursor or reorder a line is spelled out.

Escaped are the control characters (C0 but for tab and line feed, DEL, C1), the line separators of Unicode, the controls
of writing direction, which let a text look like another (CVE-2021-42574), and lone surrogates.
"""

from __future__ import annotations

import re

__all__ = ["escape_json", "one_line", "printable"]

_HARMFUL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
)
_IN_TEXT = re.compile(f"[{_HARMFUL}]")
_IN_LINE = re.compile(f"[\t\n{_HARMFUL}]")


def printable(text: str) -> str:
    r"""Return a text of any number of lines with its control characters as escapes: `\x1b`, `\u202e`."""
    return _IN_TEXT.sub(_escape, text)


def one_line(text: str) -> str:
    r"""Return a text as one line: line feeds and tabs are escaped, too."""
    return _IN_LINE.sub(_escape, text)


def escape_json(text: str) -> str:
    r"""Return one line of JSON in which no control character stands for itself; it means what it meant."""
    return _IN_LINE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _escape(found: re.Match[str]) -> str:
    return repr(found.group())[1:-1]
