"""The judged rows that the demo prints: as they were shown, wrong ones first, in both orders."""

from __future__ import annotations

import re
from pathlib import Path

from reasrm.demo.report import shown_rows
from reasrm.demo.stages import read_pairs, write_pairs
from reasrm.world.pairs import World
from tests.commands import here
from tests.training.metarm_stages import write_lines


def test_rows_are_printed_as_shown_right_and_wrong_ones_under_both_letters(tmp_path: Path) -> None:
    pairs = read_pairs(write_pairs(World().pairs("train", 6), tmp_path / "pairs.jsonl"))
    first, *others = sorted(pairs)
    said = [
        {
            "id": name,
            "judgments": [
                {"order": order, "vote": 0, "text": f"<answer>[[{letter}]]</answer>"}
                for order, letter in (("AB", right), ("BA", "AB"[right == "A"]))
            ],
        }
        for name, right in [(first, "B"), *((other, "A") for other in others)]
    ]
    recorded = write_lines(tmp_path / "said.jsonl", said)
    flags = ("--judge", f"replay:{recorded}", "--spec", "sandbox")
    rows = tmp_path / "pairs.jsonl"
    result = here("judge", *flags, "--input", rows, "--output", tmp_path / "out.jsonl")
    assert result.returncode == 0, result.stderr
    shown = list(shown_rows(tmp_path / "out.jsonl", pairs, 5))
    assert [text.split()[0] for text in shown] == [first, *others[:4]]
    letters = [re.findall(r"it says (.); the truth is (.) \(", text) for text in shown]
    assert letters == [[("B", "A")], [("B", "B")], [("A", "A")], [("B", "B")], [("A", "A")]]
    for text, ((_, truth),) in zip(shown, letters, strict=True):
        pair = pairs[text.split()[0]]
        better = re.search(rf"^  {truth}: (.*)$", text, re.MULTILINE)
        assert better is not None
        assert better[1] == pair.chosen
