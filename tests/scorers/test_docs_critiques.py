"""docs/critiques.md: its code runs, its sections load, its table is what the similarities give."""

from __future__ import annotations

import re

import pytest
import yaml

from reasrm.config import parse_config
from reasrm.scorers.config import CritiqueSection
from reasrm.scorers.critiques import build_similarity
from tests.commands import ROOT
from tests.scorers.test_similarities import encoder_folder

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "critiques.md").read_text(encoding="utf-8")


def test_its_code_runs(capsys) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(code, "docs/critiques.md", "exec"), namespace)  # noqa: S102
    assert capsys.readouterr().out.splitlines() == [
        "A for the response cites its sources and is clear False",
        "B against the response is wrong about the dates False",
    ]
    assert namespace["score"]([]) == []  # type: ignore[operator]


def test_its_sections_load() -> None:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    sections = [parse_config(CritiqueSection, block["critique"], "docs/critiques.md") for block in blocks]
    assert [section.similarity for section in sections] == ["stems", "sentence_encoder", "model", "exact"]
    assert sections[0] == CritiqueSection()


def test_its_table_is_measured() -> None:
    head, *lines = PAGE.split("Measured on pairs")[1].split("\n\n")[1].splitlines()
    names = re.findall(r"`(\w+)`", head)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    assert (len(names), len(rows)) == (6, 5)
    for column, name in enumerate(names, 1):
        encoder = str(encoder_folder()) if name in ("token_embeddings", "sentence_encoder") else None
        similarity = build_similarity(CritiqueSection(similarity=name, encoder=encoder))
        for row in rows:
            one, two = row[0].split(" · ")
            found = float(similarity([one], [two])[0, 0])
            assert found == pytest.approx(float(row[column]), abs=0.006), (name, row[0])


def test_it_names_every_extractor_and_similarity() -> None:
    for field in ("extractor", "similarity", "repeats"):
        for word in CritiqueSection.model_json_schema()["properties"][field]["enum"]:
            assert f"`{word}`" in PAGE, word
