"""A data set of the Hub, streamed from a server on loopback: same rows, one commit, errors by name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reasrm.errors import InputError
from reasrm.tables.hub import resolve
from tests.commands import environment
from tests.hub import serving

ROWS = [{"prompt": f"Q{n}", "chosen": f"yes {n}", "rejected": f"no {n}", "gap": None} for n in range(5)]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A server with one data set of two splits; yields the environment of a client."""
    files = {}
    for split, rows in (("train", ROWS), ("test", ROWS[:2])):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
        files[f"data/{split}-00000-of-00001.parquet"] = (tmp_path / "t.parquet").read_bytes()
    with serving(files, tmp_path / "home") as env:
        yield environment(**env)


def judge(env: dict[str, str], rows: str, output: Path) -> tuple[int, dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "reasrm",
        "judge",
        "--judge",
        "sandbox",
        "--input",
        rows,
        "--output",
        str(output),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=env, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_hub_set_gives_the_rows_of_its_files_at_one_commit(tmp_path: Path, hub: dict[str, str]) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    judge(hub, str(tmp_path / "rows.jsonl"), tmp_path / "local.jsonl")
    code, said = judge(hub, "hf://own/er@main/train", tmp_path / "hub.jsonl")
    assert (code, said.get("rows")) == (0, 5), said
    judged = [
        sorted(
            (row["id"], row["verdict"]) for row in map(json.loads, (tmp_path / name).read_text().splitlines())
        )
        for name in ("local.jsonl", "hub.jsonl")
    ]
    assert judged[0] == judged[1]
    code, said = judge(hub, "hf://own/er", tmp_path / "all.jsonl")
    assert (code, "'train'" in said["message"]) == (4, True)
    code, said = judge(hub, "hf://no/body", tmp_path / "none.jsonl")
    assert (code, "404" in said["message"]) == (4, True)


@pytest.mark.parametrize("address", ["hf://name", "hf://own/er/a/b", "hf://own/er@", "hf://own/er:"])
def test_addresses_that_cannot_be_read(address: str) -> None:
    with pytest.raises(InputError, match="hf://owner/name"):
        resolve(address)
