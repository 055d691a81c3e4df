"""What the pages of experiments are made of: tables, and texts that a model wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reasrm.printable import printable

__all__ = ["table", "texts"]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with its heads."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, ["---"] * len(heads), *rows))


def texts(said: Iterable[str]) -> str:
    """Return a block for each text, out of which nothing that stands in it leads."""
    return "\n".join(f"```text\n{printable(text).replace('```', '` ` `')}\n```\n" for text in said)
