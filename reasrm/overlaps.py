"""What two sequences of words have in common, for rewards and critiques: the longest common subsequence and ROUGE-L."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["longest_common_subsequence", "rouge_l"]


def rouge_l(said: Sequence[str], expected: Sequence[str]) -> float:
    """Return 2·LCS / (length + length), the F-measure of LCS precision and recall (Lin 2004)."""
    common = longest_common_subsequence(said, expected)
    return 2 * common / (len(said) + len(expected)) if common else 0.0


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return its length, by bits (Hyyrö 2004): one bit per word of `second`, cleared where a match extends."""
    places: dict[str, int] = {}
    for position, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << position
    everything = (1 << len(second)) - 1
    row = everything
    for word in first:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & everything
    return len(second) - row.bit_count()
