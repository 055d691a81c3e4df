"""Tables and columns through the real verbs: judged, killed, continued; imported, curated, planned for training."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.commands import ROOT, here, rows_of, run, sorted_lines, start, summary

MODEL = ROOT / "reasrm" / "sandbox_judge" / "model"
COLUMNS = "prompt=meta.asked,chosen=answers[0],rejected=answers[1]"


def foreign(count: int) -> list[dict[str, Any]]:
    """Rows of a schema that nobody knows."""
    return [
        {"key": n, "answers": [f"yes {n}", f"no {n}"], "meta": {"asked": f"Which answer? yes {n} | no {n}"}}
        for n in range(count)
    ]


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=16)
    return path


def judge(rows: Path, output: Path, *more: str) -> list[str | Path]:
    return ["judge", "--judge", "sandbox", "--input", rows, "--output", output, "--columns", COLUMNS, *more]


@pytest.mark.slow  # several processes
def test_a_killed_run_over_a_table_continues_to_the_bytes_of_one_over_json_lines(tmp_path):
    table = write_table(tmp_path / "rows.parquet", foreign(60))
    lines = tmp_path / "rows.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in foreign(60)))
    whole = run(*judge(lines, tmp_path / "whole.jsonl"))
    assert summary(whole)["rows"] == 60, whole.stderr
    output = tmp_path / "out.jsonl"
    process = start(*judge(table, output))
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if output.exists() and output.stat().st_size:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    process.communicate()
    assert summary(run(*judge(table, output)))["rows"] == 60
    strip = lambda path: sorted((row["id"], row["verdict"], row["status"]) for row in rows_of(path))  # noqa: E731
    assert strip(output) == strip(tmp_path / "whole.jsonl")
    other = run(*judge(table, output, "--columns", COLUMNS.replace("answers[0]", "answers[-1]")))
    assert other.returncode == 2, other.stderr
    write_table(table, foreign(61))
    assert run(*judge(table, output)).returncode in (0, 2)
    assert len(sorted_lines(output)) >= 60


def test_import_and_curate_take_columns(tmp_path):
    table = write_table(tmp_path / "rows.parquet", foreign(12))
    bare = here("data", "import", "--input", table, "--output", tmp_path / "none.jsonl")
    assert bare.returncode == 4
    assert "--columns" in summary(bare)["message"]
    lines = tmp_path / "rows.jsonl"
    lines.write_text('{"question": "Q", "chosen": "x a", "rejected": "x b"}\n' * 2)
    other = here("data", "import", "--input", lines, "--output", tmp_path / "none.jsonl")
    assert "the first: the row has the text column 'question'" in other.stderr
    assert other.stderr.count("--columns prompt=question") == 1
    result = here(
        "data", "import", "--input", table, "--columns", COLUMNS, "--output", tmp_path / "pairs.jsonl"
    )
    assert summary(result)["kept"] == 12, result.stderr
    config = tmp_path / "curate.yaml"
    config.write_text(yaml.safe_dump({"input": [str(table)], "output": str(tmp_path / "curated")}))
    result = here("data", "curate", "--config", config, "--columns", COLUMNS)
    assert summary(result)["rows"] == 12, result.stderr


@pytest.mark.slow  # loads torch and a model
@pytest.mark.parametrize("verb", ["sft", "rlvr", "metarm", "distill"])
def test_stages_read_tables_under_named_columns(tmp_path, verb):
    if verb == "sft":
        rows = [
            {
                "q": [{"role": "user", "content": f"Which? {n}"}],
                "a": [{"role": "assistant", "content": "[[A]]"}],
            }
            for n in range(4)
        ]
        columns, key = "prompt=q,completion=a", "data.train"
    else:
        rows, columns = foreign(4), COLUMNS
        key = "input" if verb == "distill" else "data.train"
        if verb == "metarm":
            rows = [{**row, "why": "end done A ok B bad"} for row in rows]
            columns += ",critique=why"
    shards = tmp_path / "shards"
    shards.mkdir()
    for n in (0, 2):
        write_table(shards / f"part-{n}.parquet", rows[n : n + 2])
    config = next(
        (ROOT / "configs").glob(f"sandbox/{verb}.yaml" if verb != "distill" else "distill/sandbox.yaml")
    )
    args = ["--config", config, "--set", f"{key}={shards}", "--columns", columns, "--dry-run"]
    if verb != "distill":
        args += ["--run-dir", tmp_path / "run", "--set", f"model.path={MODEL}"]
    if verb == "sft":
        args += ["--set", "data.on_unreadable=keep"]
    if verb == "metarm":
        judged = tmp_path / "judged.jsonl"
        asked = here(
            "judge", "--judge", "sandbox", "--input", shards, "--columns", columns, "--output", judged
        )
        assert summary(asked)["rows"] == 4, asked.stderr
        args += ["--set", f"data.judgments={judged}"]
    if verb == "rlvr":
        held = json.dumps({"held": [str(shards)]})
        args += [
            "--set",
            f"validation.splits={held}",
            "--set",
            "validation.limit=3",
            "--set",
            "selection=null",
        ]
    result = here(verb, *args)
    assert result.returncode == 0, result.stderr
    said = json.dumps(summary(result))
    assert '"rows": 4' in said or '"train": 4' in said, said
    shutil.rmtree(shards)
    assert run(verb, *args).returncode == 4
