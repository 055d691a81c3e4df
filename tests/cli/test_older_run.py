"""A run that an early version of the program began goes on: records, errors and identity are still what they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from reasrm.protocol.spec import load_spec
from tests.commands import ROOT, here, rows_of, summary, write_rows
from tests.fakes import Endpoint, Reply, chat

BEGUN = (
    ROOT / "tests" / "golden" / "older-run"
)  # four of the rows of `write_rows(_, 8)`, judged by commit 8e75b0c


def decide(payload: dict[str, Any]) -> Reply:
    prompt = payload["messages"][-1]["content"]
    return chat("[[A]]" if prompt.rfind("yes") < prompt.rfind("no ") else "[[B]]")


def test_it_is_continued_where_the_prompts_are_the_same(tmp_path: Path) -> None:
    shutil.copytree(BEGUN, tmp_path, dirs_exist_ok=True)
    old = (BEGUN / "judged.jsonl").read_bytes()
    rows = write_rows(tmp_path / "rows.jsonl", 8)
    spec = load_spec("mt-bench").model_dump(mode="json")
    del spec["codes"]  # then markers have the codes of that version
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with Endpoint(decide) as model:
        told = (
            "--input",
            rows,
            "--output",
            tmp_path / "judged.jsonl",
            "--judge",
            f"openai:m@{model.base_url}",
        )
        newer = here("judge", *told, "--spec", "mt-bench")
        assert (newer.returncode, model.calls) == (2, [])
        assert "codes" in summary(newer)["message"]
        result = here("judge", *told, "--spec", tmp_path / "spec.json")
        assert result.returncode == 0, result.stderr
        assert len(model.calls) == 2 * 4
    assert summary(result)["progress"] == {"unit": "rows", "total": 8, "done": 8, "failed": 0}
    assert (tmp_path / "judged.jsonl").read_bytes().startswith(old)
    assert {row["id"]: row["verdict"] for row in rows_of(tmp_path / "judged.jsonl")} == {
        f"q{n}": "A" for n in range(8)
    }
