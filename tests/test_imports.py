"""What stays light: no torch where none is needed, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = """
import importlib, pkgutil, sys
import reasrm
ROOMS = "durable runs protocol sources metrics world curation rewards critiques criteria"
for room in ROOMS.split():
    package = importlib.import_module(f"reasrm.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"reasrm.{room}.{module.name}")
for name in ("errors", "records", "rubric", "requests", "hashing", "jsonl", "config", "extras", "models", "overlaps"):
    importlib.import_module(f"reasrm.{name}")
"""
CHECK = """
heavy = sorted({"torch", "transformers", "trl", "vllm", "openai"} & set(sys.modules))
print(heavy)
raise SystemExit(bool(heavy))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        LIGHT,
        "import sys, reasrm",
        "import sys, reasrm.cli.app, reasrm.cli.judging, reasrm.demo",
        "import sys\nfrom reasrm import open_judge\nopen_judge('replay', spec='rm-r1')",
        "import sys\nfrom reasrm.metrics.suites import SUITES",
    ],
    ids=["floors 0 and 1", "the package", "the command line", "a replayed judge", "all metrics"],
)
def test_torch_is_not_imported(code):
    result = subprocess.run([sys.executable, "-c", code + CHECK], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_package_itself_imports_next_to_nothing():
    code = "import sys, reasrm; print(sorted({'pydantic', 'orjson', 'numpy', 'typer'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_can_be_imported():
    import reasrm

    for name in reasrm.__all__:
        assert getattr(reasrm, name) is not None
    assert set(reasrm.__all__) <= set(dir(reasrm))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = reasrm.nothing_like_it
