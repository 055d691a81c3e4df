"""The longest common subsequence by bits, and ROUGE-L from it."""

from __future__ import annotations

from reasrm.overlaps import longest_common_subsequence, rouge_l


def test_longest_common_subsequences() -> None:
    assert longest_common_subsequence("ABCBDAB", "BDCABA") == 4
    assert longest_common_subsequence("", "BDCABA") == longest_common_subsequence("X", "") == 0
    assert longest_common_subsequence("x" * 200, "x" * 130) == 130


def test_rouge_l_is_twice_the_common_part_over_both_lengths() -> None:
    assert rouge_l("abc", "axcd") == 4 / 7
    assert rouge_l([], ["a"]) == rouge_l(["a"], []) == rouge_l([], []) == 0.0
