"""The verbs of the embedded world, and the judge that ships with the package."""

from __future__ import annotations

import hashlib
import json

import pytest

from reasrm.judging.judge import open_judge
from tests.commands import ENVELOPE, ROOT, rows_of, summary, timeless
from tests.commands import here as run

pytestmark = pytest.mark.slow

JUDGE = ROOT / "reasrm" / "sandbox_judge"


def test_pairs_become_traces(tmp_path):
    pairs, traces = tmp_path / "pairs.jsonl", tmp_path / "sft.jsonl"
    made = run("sandbox", "pairs", "--split", "hard", "--rows", 20, "--start", 5, "--output", pairs)
    assert made.returncode == 0, made.stderr
    assert [row["id"] for row in rows_of(pairs)] == [f"hard-{n}" for n in range(5, 25)]
    result = run("sandbox", "traces", "--input", pairs, "--output", traces, "--spec", "rm-nlhf")
    assert result.returncode == 0, result.stderr
    said = summary(result)
    assert said["kept"] + sum(said["reasons"].values()) == 20
    assert all("<choice>" in row["completion"][0]["content"] for row in rows_of(traces))


def test_english_pairs_become_traces_in_the_style_that_is_asked_for(tmp_path):
    pairs, traces, config = tmp_path / "pairs.jsonl", tmp_path / "sft.jsonl", tmp_path / "config.yaml"
    world = ("sandbox", "pairs", "--world", "english", "--rows", 20)
    made = run(*world, "--split", "kinds", "--config", "smollm2/world", "--output", pairs)
    assert made.returncode == 0, made.stderr
    assert {row["meta"]["world"] for row in rows_of(pairs)} == {"english"}
    config.write_text("teacher: {style: marks, error_rate: 0, malformed_rate: 0}\n")
    result = run(
        "sandbox", "traces", "--input", pairs, "--output", traces, "--spec", "english", "--config", config
    )
    assert result.returncode == 0, result.stderr
    assert summary(result)["kept"] == 20
    assert all(
        " A: yes. B: no." in text or " A: no. B: yes." in text for text in map(completion, rows_of(traces))
    )
    for split, said in (("ood", "topics"), ("easy", "kinds")):
        refusal = run(*world, "--split", split, "--output", tmp_path / "x")
        assert refusal.returncode == 2
        assert said in summary(refusal)["message"]


def test_a_file_of_texts_that_is_not_there_is_named(tmp_path):
    config = tmp_path / "world.yaml"
    config.write_text("texts: nowhere.jsonl\n")
    result = run("sandbox", "pairs", "--world", "english", "--config", config, "--output", tmp_path / "x")
    assert result.returncode == 4
    assert "nowhere.jsonl" in summary(result)["message"]


def completion(row):
    return row["completion"][0]["content"]


def test_pairs_are_not_written_over(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("mine\n")
    result = run("sandbox", "pairs", "--output", tmp_path / "pairs.jsonl")
    assert result.returncode == 2
    assert (tmp_path / "pairs.jsonl").read_text() == "mine\n"
    assert run("sandbox", "pairs", "--split", "easy", "--output", tmp_path / "x").returncode == 2


def test_traces_never_replace_their_input(tmp_path):
    pairs = tmp_path / "new" / "folder" / "pairs.jsonl"
    assert run("sandbox", "pairs", "--rows", 3, "--output", pairs).returncode == 0
    before = pairs.read_bytes()
    result = run("sandbox", "traces", "--input", pairs, "--output", pairs)
    assert (result.returncode, pairs.read_bytes()) == (2, before)
    assert "also the input" in summary(result)["message"]


def test_a_base_is_built_once(tmp_path):
    config = ROOT / "configs" / "sandbox" / "demo-tiny.yaml"
    command = ["sandbox", "base", "--config", config, "--output", tmp_path / "base"]
    first = run(*command)
    assert first.returncode == 0, first.stderr
    written = (tmp_path / "base" / "model.safetensors").stat().st_mtime_ns
    assert set(summary(first)) >= ENVELOPE
    again = run(*command)
    assert timeless(summary(again)) == timeless(summary(first))
    assert (tmp_path / "base" / "model.safetensors").stat().st_mtime_ns == written
    other = run(*command, "--seed", 7)
    assert other.returncode == 2
    assert "another base" in summary(other)["message"]


def test_the_embedded_judge_is_small_whole_and_safe():
    weights = JUDGE / "model" / "model.safetensors"
    assert weights.stat().st_size <= 2_000_000
    build = json.loads((JUDGE / "build.json").read_bytes())
    identity = json.loads((JUDGE / "judge.json").read_bytes())
    assert identity["weights_sha256"] == build["weights_sha256"]
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in json.dumps(identity)
    suffixes = {path.suffix for path in JUDGE.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".md", ".jinja"}
    assert open_judge("sandbox").spec.name == "sandbox"


def test_the_embedded_judge_judges_its_world_right_after_installation(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    run("sandbox", "pairs", "--split", "iid", "--rows", 100, "--output", pairs)
    result = run(
        *("judge", "--judge", "sandbox", "--input", pairs, "--output", tmp_path / "out.jsonl"),
        *("--batch-size", 64),
    )
    assert result.returncode == 0, result.stderr
    rows = rows_of(tmp_path / "out.jsonl")
    assert {row["judge"]["name"] for row in rows} == {"sandbox"}
    right = sum(judgment["verdict"] == "A" for row in rows for judgment in row["judgments"])
    assert right >= 140, "of 200 judgments, where a coin gives 100 with a standard deviation of 7"
    assert sum(row["status"] in ("ok", "split") for row in rows) >= 99


def test_the_embedded_judge_on_a_real_benchmark_loses_no_row(tmp_path, real_data):
    rows = real_data / "judgebench" / "gpt-4o-2024-05-13.jsonl"
    result = run(
        *("eval", "judgebench", "--judge", "sandbox", "--input", rows, "--output", tmp_path / "out"),
        *("--batch-size", 16),
    )
    assert result.returncode == 0, result.stderr
    said = summary(result)
    written = rows_of(tmp_path / "out" / "judgments.jsonl")
    assert len(written) == 350
    assert said["coverage"] < 0.1
    statuses = {row["status"] for row in written}
    assert statuses <= {"too_long", "no_verdict", "truncated", "ok", "split", "ambiguous", "off_menu"}
    assert sum(row["status"] == "too_long" for row in written) > 250


@pytest.mark.soak
def test_the_embedded_judge_is_made_again_bit_for_bit(tmp_path):
    import torch

    build = json.loads((JUDGE / "build.json").read_bytes())
    if build["cpu_capability"] != torch.backends.cpu.get_cpu_capability():
        pytest.skip(f"made on {build['cpu_capability']}; other CPUs round differently")
    config = ROOT / "configs" / "sandbox" / "judge.yaml"
    args = ["--config", config, "--work", tmp_path / "work", "--output", tmp_path / "judge"]
    result = run("sandbox", "judge", *args, timeout=3000)
    assert result.returncode == 0, result.stderr
    assert summary(result)["weights_sha256"] == build["weights_sha256"]
