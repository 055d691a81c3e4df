"""Which rows a MetaRM never learns from, so that what it says of them tells how good it is."""

from __future__ import annotations

from reasrm.hashing import derive_seed

__all__ = ["is_held_out"]


def is_held_out(row_id: str, share: float) -> bool:
    """Return whether a row is held out, by its id alone: the same rows in cold start and in the loop.

    A row held out at some share is held out at every greater one.
    """
    return derive_seed("metarm-holdout", row_id) % 2**32 < share * 2**32
