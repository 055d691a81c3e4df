"""One word, one meaning: a public type name has one home, and the glossary names files and names that exist."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.commands import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield a module's statements, those under `if` and `try` too."""
    for statement in body:
        yield statement
        for branch in ("body", "orelse", "handlers", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.ExceptHandler):
                yield from statements(getattr(statement, branch, []))


def names_of(source: str) -> Iterator[tuple[str, bool]]:
    """Yield the names that a module defines, and whether each is a type: a class or an alias, no `TypeVar`."""
    for statement in statements(ast.parse(source).body):
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            yield statement.name, isinstance(statement, ast.ClassDef)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            made = statement.value.func if isinstance(statement.value, ast.Call) else None
            is_variable = isinstance(made, ast.Name) and made.id == "TypeVar"
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                yield name, not is_variable and re.match(r"[A-Z].*[a-z]", name) is not None


def second_homes(files: dict[str, str]) -> dict[str, list[str]]:
    """Return the public type names that several files define."""
    homes = defaultdict[str, list[str]](list)
    for file, source in files.items():
        types = {name for name, is_type in names_of(source) if is_type and not name.startswith("_")}
        for name in sorted(types):
            homes[name].append(file)
    return {name: found for name, found in homes.items() if len(found) > 1}


@pytest.mark.slow
def test_a_public_type_name_has_one_home():
    files = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "reasrm").rglob("*.py"))
    }
    assert second_homes(files) == {}, "one word, one meaning: rename the weaker one, or make them one"


def test_a_second_home_is_found():
    first = "class Match: ...\nPart = dict[str, int]\n_Own = int\nT = TypeVar('T')\nItemT = TypeVar('ItemT')\nMOST = 3"
    second = (
        "if True:\n    class Match: ...\nPart: TypeAlias = int\n_Own = int\nT = TypeVar('T')\n"
        "ItemT = TypeVar('ItemT')\nMOST = 3\nfrom first import Match as Other"
    )
    assert second_homes({"a.py": first, "b.py": second, "c.py": "from a import Match"}) == {
        "Match": ["a.py", "b.py"],
        "Part": ["a.py", "b.py"],
    }


@pytest.mark.slow
def test_the_glossary_names_what_exists():
    page = GLOSSARY.read_text(encoding="utf-8")
    files = set(re.findall(r"`([\w/]+\.py)`", page))
    assert len(files) > 40
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []
    linked = re.findall(r"\]\(([\w-]+\.md)\)", page)
    assert [name for name in linked if not (ROOT / "docs" / name).is_file()] == []
    defined = {file: dict(names_of((ROOT / file).read_text(encoding="utf-8"))) for file in files}
    named = re.findall(r"`(\w+)` in `([\w/]+\.py)`", page)
    assert len(named) > 60
    assert [pair for pair in named if pair[0] not in defined[pair[1]]] == []


def test_a_word_of_the_glossary_stands_there_once():
    rows = re.findall(r"^\| ([^|`]+?) \|", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    words = [word for word in rows if word not in ("word", "term", "---")]
    assert len(words) > 60
    assert sorted(words) == sorted(set(words))
