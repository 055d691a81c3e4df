"""`reasrm export` on a run that was really trained: the commands of its page, a process of its own, exit codes."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reasrm.export import export_judge
from reasrm.training.sft.config import load_sft_stage
from reasrm.training.sft.stage import train
from tests.commands import ENVELOPE, ROOT, here, rows_of, run, summary, write_rows
from tests.training.stages import write_stage

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as the page has it: an adapter trained on a tiny model, rows, pairs."""
    place = tmp_path_factory.mktemp("place")
    config = write_stage(place, lora={"r": 4, "alpha": 8}, trainer={"learning_rate": 0.05})
    train(load_sft_stage(config), str(config), place / "runs" / "sandbox" / "sft")
    shutil.copytree(place / "model", place / "runs" / "sandbox" / "base")
    checkpoint = place / "runs" / "sandbox" / "sft" / "checkpoints" / "checkpoint-2"
    adapter = place / "runs" / "sandbox" / "adapter"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(checkpoint / name, adapter / name)
    write_rows(place / "rows.jsonl", 2)
    write_rows(place / "pairs.jsonl", 3)
    return place


def test_every_command_of_the_page_runs(trained, monkeypatch):
    monkeypatch.chdir(trained)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 5
    said = []
    for line in lines:
        done = here(*shlex.split(line)[1:])
        # Two steps do not make a judge, and judging says that nothing could be read.
        assert done.returncode == (3 if line.split()[1] in ("judge", "eval") else 0), done.stderr
        said.append(summary(done))
    assert all(set(line) >= ENVELOPE for line in said)
    first, judged, evaluated, second, other = said
    assert (first["checkpoint_step"], first["merged_adapter"], first["greedy_identical"]) == (2, True, True)
    assert 0 < first["logits_max_abs_diff"] <= 1e-5 * first["largest_logit"]
    assert first["weights_sha256"] == second["weights_sha256"] == other["weights_sha256"]
    assert judged["rows"] == len(rows_of(trained / "judged.jsonl")) == 2
    card = (trained / "judges" / "mine" / "README.md").read_text()
    assert (evaluated["coverage"], evaluated["score"]) == (0.0, None)
    assert re.search(
        r"\| `pairs` on `\w+\.jsonl` \(`\w+`\) \| - \| none: n = `0` \| `3` \| 0\.000 \[0\.000, ", card
    )
    assert "- training: 8 used, dropped: none" in card
    assert str(trained) not in card
    base = load_file(trained / "model" / "model.safetensors")
    merged = load_file(trained / "judges" / "mine" / "model" / "model.safetensors")
    changed = [name for name in base if not torch.equal(base[name], merged[name])]
    assert any("q_proj" in name for name in changed), "an adapter that learned nothing proves nothing"
    assert not list((trained / "judges").glob(".*"))


def test_the_python_of_the_page_loads_the_model(trained, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    export_judge(trained / "judges" / "mine", run=trained / "runs" / "sandbox" / "sft", force=True)
    script = tmp_path / "page.py"
    script.write_text(code)
    monkeypatch.chdir(trained)
    names = runpy.run_path(str(script))
    prompt = names["tokenizer"].apply_chat_template(
        [{"role": "user", "content": "hello"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = names["model"].generate(**prompt, max_new_tokens=5)
    assert answer.shape[1] > prompt["input_ids"].shape[1]


def test_a_process_exports_quietly_and_a_second_is_refused(trained, tmp_path):
    arguments = [
        "export",
        "--run",
        trained / "runs" / "sandbox" / "sft",
        "--output",
        tmp_path / "judge",
        "--quiet",
    ]
    result = run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    said = summary(result)
    assert said["output"] == str(tmp_path / "judge")
    assert (
        said["weights_sha256"]
        == json.loads((tmp_path / "judge" / "judge.json").read_text())["weights_sha256"]
    )
    again = run(*arguments[:-1])
    assert again.returncode == summary(again)["exit_code"] == 2
    (line,) = again.stderr.splitlines()
    assert line == (
        f"error: {tmp_path / 'judge'}: exists already; choose another --output, or pass --force to replace it"
    )
