"""What is known of files and models travels with them: curation → distillation → run → card. By hash, never by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.export.source import from_run
from reasrm.files import file_sha256
from reasrm.judging.folder import learned_from
from reasrm.runs import RunFolder, checkpoint_folder
from reasrm.runs.origin import checks_of, earlier_stages
from tests.commands import here
from tests.export.runs import make_run

PROMPTS = (
    "Name all the rivers of France that reach the Atlantic",
    "Tell me how bread is baked",
    "Draw a cat",
)


def write(path: Path, prompts: tuple[str, ...]) -> Path:
    rows = ({"prompt": prompt, "chosen": f"yes {n}", "rejected": "no"} for n, prompt in enumerate(prompts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def curate(folder: Path, rows: Path, output: str, benchmark: Path | None) -> Path:
    config: dict[str, Any] = {"input": str(rows), "output": str(folder / output)}
    if benchmark is not None:
        config["decontaminate"] = {"against": {"input": str(benchmark), "name": "ours"}, "on_overlap": "drop"}
    file = folder / f"{output}.yaml"
    file.write_text(json.dumps(config))
    result = here("data", "curate", "--config", file, "--quiet")
    assert result.returncode == 0, result.stderr
    return folder / output / "pairs.jsonl"


def test_what_a_curation_compared_is_known_of_its_files_and_of_what_is_made_of_them(tmp_path):
    benchmark = write(tmp_path / "bench.jsonl", PROMPTS[:1])
    plain = curate(tmp_path, write(tmp_path / "rows.jsonl", PROMPTS), "plain", None)
    assert checks_of(plain, file_sha256(plain)) == ()
    assert not (tmp_path / "plain" / "origin.json").exists()
    curated = curate(tmp_path, plain, "curated", benchmark)
    (check,) = checks_of(curated, file_sha256(curated))
    assert (check.of, check.rows, check.action) == (("pairs.jsonl",), 3, "drop")
    (found,) = check.benchmarks
    assert (found.name, found.prompts, found.rows) == ("ours", 1, 1)
    assert [(file.name, file.sha256) for file in found.files] == [("bench.jsonl", file_sha256(benchmark))]
    again = curate(tmp_path, curated, "again", None)
    assert checks_of(again, file_sha256(again)) == (check,), "a second curation takes it over"

    moved = tmp_path / "curated" / "renamed.jsonl"
    moved.write_bytes(curated.read_bytes())
    assert checks_of(moved, file_sha256(moved)) == (check,), "the hash counts"
    moved.write_bytes(curated.read_bytes() * 2)
    assert checks_of(moved, file_sha256(moved)) == (), "of changed rows nothing is known"
    (tmp_path / "curated" / "origin.json").write_text('{"files": {}, "checks": [{}]}')
    assert checks_of(curated, file_sha256(curated)) == ()


@pytest.mark.slow
def test_traces_inherit_what_their_pairs_went_through(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    assert here("sandbox", "pairs", "--rows", "4", "--output", pairs, "--quiet").returncode == 0
    curated = curate(tmp_path, pairs, "curated", write(tmp_path / "bench.jsonl", PROMPTS))
    config = {
        "stage": "distill",
        "input": str(curated),
        "output": str(tmp_path / "distilled"),
        "spec": "sandbox",
        "teacher": {"judge": "scripted", "scripted": {"error_rate": 0.0, "malformed_rate": 0.0}},
    }
    (tmp_path / "distill.yaml").write_text(json.dumps(config))
    result = here("distill", "--config", tmp_path / "distill.yaml", "--quiet")
    assert result.returncode == 0, result.stderr
    traces = tmp_path / "distilled" / "sft.jsonl"
    (check,) = checks_of(traces, file_sha256(traces))
    assert (check.rows, [found.rows for found in check.benchmarks]) == (4, [0])


def begin(run: Path, model: Path, rows: Path) -> Path:
    """Begin a second stage on a model; nothing is trained."""
    earlier = json.loads((run / "config.json").read_text())
    config = {**earlier, "stage": "rlvr", "base": {"path": str(model), "revision": None, "fingerprint": "22"}}
    folder = run.parent / "second"
    with RunFolder.open(folder, stage="rlvr", config=config, inputs={"train:0": rows}, seed=6, resume=False):
        (folder / "data.json").write_text('{"rows": 3}')
    return folder


@pytest.mark.slow
def test_a_run_knows_the_stages_before_it_even_when_they_are_gone(tmp_path):
    benchmark, rows = write(tmp_path / "bench.jsonl", PROMPTS[:1]), write(tmp_path / "raw.jsonl", PROMPTS)
    curated = curate(tmp_path, rows, "curated", benchmark)
    first = make_run(tmp_path)
    second = begin(first, checkpoint_folder(first, 7), curated)
    (first / "manifest.json").unlink()
    checkpoint_folder(first, 7).rename(checkpoint_folder(second, 9))
    sft, rlvr = earlier_stages(str(checkpoint_folder(second, 9)))
    assert (sft.stage, sft.step, sft.seed, sft.rows, sft.base.name) == ("sft", 7, 5, 8, "base")
    assert sft.inputs["train:0"].name == "rows.jsonl"
    assert sft.inputs["train:0"].checks == ()
    assert (rlvr.stage, rlvr.run, rlvr.step, rlvr.rows) == ("rlvr", "second", 9, 3)
    assert rlvr.base.name == "checkpoint-7"
    (check,) = rlvr.inputs["train:0"].checks
    assert (check.rows, check.benchmarks[0].rows) == (3, 1)


@pytest.mark.slow
def test_an_older_run_is_asked_for_its_model_and_a_judge_folder_for_its_history(tmp_path):
    first = make_run(tmp_path)
    (sft,) = from_run(first).stages
    judge = tmp_path / "judge"
    (judge / "model").mkdir(parents=True)
    (judge / "judge.json").write_text(json.dumps({"earlier": [], "trained": sft.model_dump(mode="json")}))
    assert earlier_stages(str(judge / "model")) == (sft,)
    assert learned_from(judge) == {sft.inputs["train:0"].sha256: "sft train:0"}
    second = begin(first, checkpoint_folder(first, 7), tmp_path / "rows.jsonl")
    manifest = json.loads((second / "manifest.json").read_text())
    assert [stage["stage"] for stage in manifest.pop("before")] == ["sft"]
    (second / "manifest.json").write_text(json.dumps(manifest))
    assert [s.stage for s in earlier_stages(str(checkpoint_folder(second, 1)))] == ["sft", "rlvr"]

    for said in ('{"earlier": [], "trained": {"stage": "sft"}}', '{"earlier": 3, "trained": "x"}', "[]", "{"):
        (judge / "judge.json").write_text(said)
        assert earlier_stages(str(judge / "model")) == ()
    assert earlier_stages("Qwen/Qwen3-8B") == ()


def test_folders_of_older_exports_still_say_what_they_learned_from(tmp_path):
    old = {"trained": {"stage": "sft", "inputs": {"train:0": "ab" * 32}}}
    (tmp_path / "judge.json").write_text(json.dumps(old))
    assert learned_from(tmp_path) == {"ab" * 32: "sft train:0"}
    (tmp_path / "judge.json").write_text('{"trained": {"stage": "sft"}}')
    assert learned_from(tmp_path) == {}
