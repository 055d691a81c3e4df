"""Many claims on one page: Benjamini and Hochberg, the tuning seed left out, non-inferiority, primary claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import page, process_page
from experiments.claims import Claim, holm, p_value
from experiments.corrections import corrected
from experiments.primary import PrimaryClaims, load_primary, primary_section
from tests.commands import ROOT

PAGE = """# Page

## First

| claim | mode | split | difference [95 %] | per seed | | paper |
| --- | --- | --- | --- | --- | --- | --- |
| One beats two | greedy | hard | +3.0 [+1.0, +5.0] | +1.0 +2.0 +3.0 +4.0 +5.0 | **holds** | yes |
| One beats three | greedy | hard | +0.0 [-2.0, +2.0] | -1.0 +1.0 -1.0 +1.0 +0.0 | undecided | yes |

## What a reward on the critique adds

| claim | what | mode | difference [95 %] | per seed | |
| --- | --- | --- | --- | --- | --- |
| Four beats one | consistency | greedy | +4.0 [-3.0, +11.0] | +1.0 +14.0 +1.0 +2.0 +2.0 | undecided |
| Four is at least as good as five | consistency | greedy | -0.1 [-0.3, +0.1] | -0.3 +0.9 -0.2 +0.1 +0.0 | undecided |
"""


def cells(text: str, claim: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {claim} |"))
    return [cell.strip() for cell in line[1:-1].split("|")]


def test_p_values_by_hand() -> None:
    # Mean 3, standard error 1.5811 / √5 = 0.7071, t = 4.2426 with 4 degrees of freedom: p = 0.01324.
    assert p_value([1, 2, 3, 4, 5]) == pytest.approx(0.01324, abs=1e-5)
    # The mean is at the margin below 0: one half on each side, twice that is 1.
    assert p_value([-0.02, 0.0], margin=0.01) == pytest.approx(1.0)
    # Small exactly where the lower end of the 95 % interval is above the margin.
    for shift in (-0.012, -0.005, 0.0, 0.004):
        values = [shift - 0.004, shift, shift + 0.006, shift - 0.003]
        assert (p_value(values, margin=0.01) <= 0.05) == (Claim(values).low > -0.01)
    assert p_value([0.0, 0.0]) == 1.0
    assert p_value([0.1, 0.1]) == 0.0
    assert p_value([0.3]) == 1.0


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04: times 3, 2, 1 is 0.03, 0.04, 0.04, never falling.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_q_stands_beside_the_raw_interval() -> None:
    text = corrected(PAGE)
    # Raw p: 0.0132, 1, 0.1837 and 0.67: the least of four is times 4.
    row = cells(text, "One beats two")
    assert row[3:6] == ["+3.0 [+1.0, +5.0]", "+1.0 +2.0 +3.0 +4.0 +5.0", "**holds**"]
    assert row[6:] == ["0.053", "yes"]
    assert "| raw, all seeds | 4 | 1 | 0 |" in text
    assert "Named afterwards" in text


def test_process_claims_are_read_without_the_tuning_seed() -> None:
    text = corrected(PAGE)
    row = cells(text, "Four beats one")
    # 1, 1, 2, 2: mean 1.5, t of 3 degrees 3.182 × 0.5774 / 2 = 0.919.
    assert row[3:5] == ["+1.5 [+0.6, +2.4]", "**holds**"]
    assert row[6] == "+1.0 (+14.0) +1.0 +2.0 +2.0"
    assert row[7:9] == ["+4.0 [-3.0, +11.0]", "undecided"]
    assert "(" not in cells(text, "One beats two")[4]
    assert "(" not in cells(corrected(PAGE, (6, 7, 8, 9, 10)), "Four beats one")[4]


def test_at_least_as_good_has_a_margin() -> None:
    assert cells(corrected(PAGE), "Four is at least as good as five")[4] == "**not worse**"
    far = PAGE.replace("-0.3 +0.9 -0.2 +0.1 +0.0", "-3.0 +0.9 -0.2 +0.1 +0.0")
    assert cells(corrected(far), "Four is at least as good as five")[4] == "undecided"


def test_a_corrected_page_comes_out_the_same() -> None:
    once = corrected(PAGE)
    assert corrected(once) == once
    assert corrected("# No claims\n") == "# No claims\n"


def test_the_page_in_the_repository_is_corrected_and_counts_its_claims() -> None:
    text = (ROOT / "docs/reproduction.md").read_text()
    assert corrected(text) == text
    assert "| raw, all seeds | 114 | 46 | 15 |" in text
    assert primary_section(load_primary(), {}) in text


def arms(right: dict[str, int]) -> dict:
    """Arms with this many of 100 rows right, in every cell, and a tenth of it as inconsistency."""
    modes = [f"{mode} {split}" for mode in ("sampled", "greedy") for split in ("iid", "ood", "hard")]
    cell = {
        name: {"right": "1" * n + "0" * (100 - n), "inconsistency": (100 - n) / 1000}
        for name, n in right.items()
    }
    return {name: {"cells": dict.fromkeys(modes, cell[name])} for name in right}


def test_primary_claims_are_tested_together() -> None:
    claims = PrimaryClaims.model_validate(
        {
            "seeds": [6, 7, 8],
            "level": 0.05,
            "claims": [
                {"table": "main", "ours": "a", "theirs": "b", "what": "hard accuracy", "mode": "greedy"},
                {
                    "table": "main",
                    "ours": "b",
                    "theirs": "a",
                    "what": "hard accuracy",
                    "mode": "greedy",
                    "margin": 0.01,
                },
            ],
        }
    )
    seeds = [arms({"a": 50 + n, "b": 40}) for n in (0, 1, -1)]
    table = {"code": "c0de", "date": "2026-01-01", "rows": 100, "seeds": seeds}
    text = primary_section(claims, {"main": table})
    # 10, 11 and 9 points: standard error 0.577, t = 17.32 with 2 degrees, p = 0.00332, of two 0.0066.
    assert "| +10.0 [+7.5, +12.5] | +10.0 +11.0 +9.0 | 0.007 | **confirmed** |" in text
    assert "| -10.0 [-12.5, -7.5] | -10.0 -11.0 -9.0 | 1.000 | not confirmed |" in text
    waiting = primary_section(claims, {})
    assert "Not run yet" in waiting
    assert "1. a beats b, hard accuracy, greedy" in waiting


def test_primary_claims_name_arms_that_the_tables_have() -> None:
    known = {
        "main": {name for claim in page.CLAIMS for name in claim[1:3]},
        "process": {name for claim in process_page.CLAIMS for name in claim[1:3]},
    }
    claims = load_primary()
    assert claims.seeds == [6, 7, 8, 9, 10]
    for claim in claims.claims:
        assert {claim.ours, claim.theirs} <= known[claim.table]


def test_the_program_corrects_a_page_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments import corrections

    path = tmp_path / "page.md"
    path.write_text(PAGE)
    monkeypatch.setattr("sys.argv", ["corrections", str(path)])
    corrections.main()
    assert path.read_text() == corrected(PAGE)
