"""What a refused command leaves behind: nothing, no lock and no folder, whichever verb it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands import here, summary, write_rows
from tests.export.runs import make_run
from tests.training.metarm_stages import write_lines, write_metarm_stage
from tests.training.stages import write_rlvr_stage, write_stage

pytestmark = pytest.mark.slow


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def judged(folder: Path, *more: str) -> list[Any]:
    rows = write_rows(folder / "rows.jsonl", 2)
    return ["--judge", "replay", "--spec", "mt-bench", "--input", rows, *more, "--output"]


def judge(folder: Path, out: Path) -> list[Any]:
    (folder / "empty.jsonl").touch()
    return [
        "judge",
        "--judge",
        "replay",
        "--spec",
        "mt-bench",
        "--input",
        folder / "empty.jsonl",
        "--output",
        out,
    ]


def unreachable(folder: Path, out: Path) -> list[Any]:
    rows = write_rows(folder / "rows.jsonl", 2)
    judge = "openai:m@http://127.0.0.1:9/v1"  # the discard port, where nobody listens
    return ["judge", "--judge", judge, "--spec", "mt-bench", "--input", rows, "--output", out]


def evaluate(folder: Path, out: Path) -> list[Any]:
    return ["eval", "rm-bench", *judged(folder), out]


def distil(folder: Path, out: Path) -> list[Any]:
    (folder / "empty.jsonl").touch()
    text = f"stage: distill\ninput: {folder / 'empty.jsonl'}\noutput: {out}\nspec: sandbox\n"
    (folder / "distill.yaml").write_text(text + "teacher: {judge: scripted}\n")
    return ["distill", "--config", folder / "distill.yaml"]


def sft(folder: Path, out: Path) -> list[Any]:
    return ["sft", "--config", write_stage(folder, data={"max_tokens": 20}), "--run-dir", out]


def rlvr(folder: Path, out: Path) -> list[Any]:
    return ["rlvr", "--config", write_rlvr_stage(folder, data={"max_prompt_tokens": 5}), "--run-dir", out]


def metarm(folder: Path, out: Path) -> list[Any]:
    config = write_metarm_stage(folder, count=2)
    strangers = [{"id": "another", "judgments": [], "judge": {"name": "x", "spec_hash": "x"}}]
    write_lines(folder / "judged.jsonl", strangers)
    return ["metarm", "--config", config, "--run-dir", out]


def export(folder: Path, out: Path) -> list[Any]:
    run = make_run(folder)
    (weights,) = run.glob("checkpoints/*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    return ["export", "--run", run, "--output", out]


def imported(folder: Path, out: Path) -> list[Any]:
    (folder / "broken.parquet").write_bytes(b"PAR1 no more")
    return ["data", "import", "--source", "trl", "--input", folder / "broken.parquet", "--output", out]


def curate(folder: Path, out: Path) -> list[Any]:
    (folder / "empty.jsonl").touch()
    (folder / "curate.yaml").write_text(f"input: {folder / 'empty.jsonl'}\noutput: {out}\n")
    return ["data", "curate", "--config", folder / "curate.yaml"]


def critiques(folder: Path, out: Path) -> list[Any]:
    (folder / "empty.jsonl").touch()
    return ["critiques", "extract", "--input", folder / "empty.jsonl", "--output", out]


@pytest.mark.parametrize(
    "verb",
    [judge, unreachable, evaluate, distil, sft, rlvr, metarm, export, imported, curate, critiques],
    ids=lambda verb: verb.__name__,
)
def test_a_refused_command_leaves_nothing(verb: Any, tmp_path: Path) -> None:
    words = verb(tmp_path, tmp_path / "new" / "deeper" / "out")
    before = tree(tmp_path)
    result = here(*words)
    assert result.returncode in (2, 4, 5), result.stderr
    assert "error" in summary(result)
    assert tree(tmp_path) == before, result.stderr
