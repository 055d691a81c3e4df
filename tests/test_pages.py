"""What the pages say of the tree is so: links, anchors, rooms, floors, the files of the life of a pair, the version."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from datetime import date
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import reasrm
from tests.commands import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WRITTEN = ("report.md", "FILE.md", "NAME_notes.md")
"""Files that docstrings speak of because a command writes them, or a placeholder."""
NO_ROOMS = ("__init__", "__main__", "configs", "sandbox_judge")


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@cache
def links(page: Path) -> list[tuple[Path, str]]:
    """The relative links of a page, outside of code: file and anchor."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    inside = [link.partition("#") for link in found if not re.match(r"[a-z]+:", link)]
    return [((page.parent / unquote(path)).resolve() if path else page, anchor) for path, _, anchor in inside]


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [str(to) for to, _ in links(page) if not to.exists()] == []
    lost = [f"{to.name}#{anchor}" for to, anchor in links(page) if anchor and anchor not in anchors(to)]
    assert lost == []


def clicks(start: Path) -> dict[Path, int]:
    """From a page to everything that its links lead to, and in how many clicks."""
    found = {start: 0}
    queue = [start]
    for page in queue:
        for to, _ in links(page) if page.suffix == ".md" else ():
            if to not in found:
                found[to] = found[page] + 1
                queue.append(to)
    return found


def test_every_page_is_reached_from_the_readme_and_the_reward_in_three_clicks() -> None:
    found = clicks(ROOT / "README.md")
    assert [str(page) for page in PAGES if page not in found and page.name != "CHANGELOG.md"] == []
    for name in ("reasrm/rewards/build.py", "reasrm/rewards/base.py", "docs/rewards.md"):
        assert found[ROOT / name] <= 3


def test_the_readme_is_a_page_to_read() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def section(title: str) -> list[list[str]]:
    """The rows of the table under a heading of CONTRIBUTING.md, without its head."""
    text = CONTRIBUTING.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def test_the_floors_are_those_of_the_contract() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (contract,) = [found for found in contracts if found["name"].startswith("Floors: ")]
    layers = [sorted(re.findall(r"reasrm\.(\w+)", layer)) for layer in contract["layers"]]
    table = section("Where things go")
    assert [re.findall(r"`(\w+)`", rooms) for _, rooms, _ in table] == layers
    floors = [int(floor.split()[0]) for floor, _, _ in table]
    assert floors == sorted(floors, reverse=True)
    there = {path.stem for path in (ROOT / "reasrm").iterdir() if path.suffix in ("", ".py")}
    assert there - {"__pycache__", *NO_ROOMS} == {room for layer in layers for room in layer}


def test_the_life_of_a_pair_names_a_file_at_every_step() -> None:
    for row in [*section("The life of a pair"), *section("To add something")]:
        files = [name for cell in row for name in re.findall(r"\]\(([^)]+)\)", cell)]
        assert files, f"no file: {row[0]}"
        assert [name for name in files if not (ROOT / name).is_file()] == []


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert [name for name in reasrm.__all__[1:] if not re.search(rf"reasrm\.{name}\b", page)] == []


def test_docstrings_cite_pages_that_are_there() -> None:
    pages = {name for page in PAGES for name in (page.name, str(page.relative_to(ROOT)))}
    pages |= {f"{page.name}" for page in (ROOT / "experiments").glob("*.md")}
    lost = []
    for room in ("reasrm", "experiments", "benchmarks", "train", "data_pipelines"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    cited = re.findall(r"[\w./-]+\.md\b", ast.get_docstring(node) or "")
                    lost += [f"{path}: {name}" for name in cited if name not in pages and name not in WRITTEN]
    assert lost == []


def test_the_version_stands_in_one_place_and_the_changelog_has_its_date() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "reasrm.__version__"}
    titles = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles[0] == "Unreleased"
    releases = [title.split(", ") for title in titles[1:]]
    assert releases[0][0] == reasrm.__version__
    dates = [date.fromisoformat(day) for _, day in releases]
    assert dates == sorted(dates, reverse=True)


def test_hosted_runs_use_what_the_project_has() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    runs = {}
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        runs[path.name] = workflow
        for job in workflow["jobs"].values():
            made = [step["run"] for step in job["steps"] if step.get("run", "").startswith("make ")]
            assert {target for line in made for target in line.split()[1:] if "=" not in target} <= targets
    versions = runs["ci.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    stated = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if "Python :: 3." in c]
    assert versions == stated


def test_pre_commit_needs_no_environment_of_a_certain_name() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert ".venv" not in text
    (repo,) = yaml.safe_load(text)["repos"]
    for hook in repo["hooks"]:
        assert Path(sys.executable).with_name(hook["entry"].split()[0]).exists()
