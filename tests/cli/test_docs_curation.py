"""The commands of docs/curation.md and of the head of configs/data/sandbox.yaml, in order, on few rows."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from reasrm.cli.app import app
from reasrm.config import parse_config
from reasrm.curation.config import ConsistencySection
from reasrm.curation.near import band_probability, band_shape
from tests.commands import ROOT, rows_of
from tests.curation.rows import lines

PAGE = (ROOT / "docs" / "curation.md").read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The words of every documented command."""
    return [
        shlex.split(line)[1:]
        for line in re.findall(r"^(?:# (?:  |Launch: ))?(reasrm .*)$", text, re.MULTILINE)
    ]


@pytest.mark.slow
def test_every_command_runs(tmp_path, monkeypatch, capfd) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    found = commands("\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)))
    assert [" ".join(words[:2]) for words in found] == ["sandbox pairs", "sandbox pairs", "data curate"]
    assert found == commands((ROOT / "configs" / "data" / "sandbox.yaml").read_text(encoding="utf-8"))
    for words in found:
        app([*words, *(("--rows", "20") if words[0] == "sandbox" else ())], standalone_mode=False)
    said = json.loads(capfd.readouterr().out.splitlines()[-1])
    out = tmp_path / "runs" / "sandbox" / "curated"
    dropped = lines(out / "dropped.jsonl")
    assert said["rows"] == 20 == said["kept"] + len(dropped)
    assert len(rows_of(out / "train.comparisons.jsonl")) == 2 * said["splits"]["train"]
    before_judging = sum(row["stage"] not in ("consistency", "balance") for row in dropped)
    assert len(rows_of(out / "judged.jsonl")) == 20 - before_judging


def test_the_documented_section_and_numbers_hold() -> None:
    import yaml

    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    section = parse_config(ConsistencySection, yaml.safe_load(example)["consistency"], "docs/curation.md")
    assert section.recycle is True
    assert section == ConsistencySection(judged=("judged.jsonl",), recycle=True)
    assert band_shape(0.8, 128) == (17, 7)
    assert round(band_probability(0.8, 17, 7), 3) == 0.982
    assert round(band_probability(0.85, 17, 7), 3) == 0.999


def test_every_reason_and_file_is_documented() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "reasrm" / "curation").glob("*.py")
    )
    reasons = {
        "too_short",
        "too_long",
        "language_unknown",
        "script",
        "duplicate",
        "label_conflict",
        "near_duplicate",
    }
    reasons |= {"judge_disagrees", "judge_undecided", "not_judged", "chosen_longer", "chosen_shorter"}
    for reason in reasons:
        assert f'"{reason}"' in sources
        assert f"`{reason}`" in PAGE
    for kind in ("exact", "ngram", "whole"):
        assert f"`overlap_{kind}`" in PAGE
