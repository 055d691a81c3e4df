"""Which rows a MetaRM never learns from."""

from __future__ import annotations

import pytest

from reasrm.metarm.holdout import is_held_out

IDS = [f"row-{n}" for n in range(4000)]


def test_a_greater_share_holds_out_the_same_rows_and_more():
    shares = (0.0, 0.05, 0.25, 0.5, 1.0)
    found = [{i for i in IDS if is_held_out(i, share)} for share in shares]
    for share, fewer, more in zip(shares[1:], found, found[1:], strict=False):
        assert fewer < more
        assert len(more) / len(IDS) == pytest.approx(share, abs=0.02)
    assert found[0] == set()
    assert found[-1] == set(IDS)


def test_the_id_alone_decides_and_the_rows_are_the_same_for_ever():
    """A MetaRM is tested in the loop on what its cold start has not seen, in another process, perhaps next year."""
    assert [n for n, row_id in enumerate(IDS[:60]) if is_held_out(row_id, 0.1)] == [11, 44]
