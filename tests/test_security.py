"""What the source must not contain: ways to run code that came with data."""

from __future__ import annotations

import ast

import pytest

from tests.commands import ROOT

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
FORBIDDEN_METHODS = {"exec_module", "load_module", "run_path"}
FORBIDDEN_ATTRIBUTES = {
    ("torch", "load"),
    ("yaml", "load"),
    ("yaml", "full_load"),
    ("yaml", "unsafe_load"),
    ("os", "system"),
}


def offences(tree: ast.AST) -> list[str]:
    """Every place of a module that could run or unpickle what it was given."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [
                f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES
            ]
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in FORBIDDEN_CALLS:
            found.append(f"{node.lineno}: calls {called.id}")
        if isinstance(called, ast.Attribute) and called.attr in FORBIDDEN_METHODS:
            found.append(f"{node.lineno}: calls {called.attr}")
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            pair = (called.value.id, called.attr)
            found += [f"{node.lineno}: calls {'.'.join(pair)}"] if pair in FORBIDDEN_ATTRIBUTES else []
        for keyword in node.keywords:
            truth = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if truth and keyword.arg in ("shell", "trust_remote_code", "allow_pickle"):
                found.append(f"{node.lineno}: {keyword.arg}=True")
    return found


@pytest.mark.slow
def test_no_module_can_run_code_that_came_with_data():
    found = {
        str(path.relative_to(ROOT)): offences(ast.parse(path.read_text(encoding="utf-8")))
        for path in (ROOT / "reasrm").rglob("*.py")
    }
    assert len(found) > 50
    own = found.pop("reasrm/rewards/parts/python.py")  # the file that a user's own config names
    assert [place.split(": ")[1] for place in own] == ["calls exec", "calls compile"]
    assert {path: places for path, places in found.items() if places} == {}


def test_the_gate_sees_what_it_is_for():
    source = "import pickle\ntorch.load(f)\nyaml.load(t)\neval(x)\nf(shell=True, trust_remote_code=True)\n"
    assert len(offences(ast.parse(source + "loader.exec_module(m)"))) == 7
