"""The stages as functions: what they return is what their verbs print, and the process lives on."""

from __future__ import annotations

import inspect
import json
import signal
from pathlib import Path

import pytest

import reasrm
from reasrm.cli import console
from reasrm.errors import ConfigError
from tests.commands import here, summary, timeless
from tests.refusals import refused
from tests.training.stages import write_stage

FUNCTIONS = ("train", "evaluate", "export_judge", "curate", "distil", "open_judge", "as_reward", "judge_file")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_gives_and_raises(name: str) -> None:
    function = getattr(reasrm, name)
    function = function.__init__ if inspect.isclass(function) else function
    text = inspect.getdoc(getattr(reasrm, name)) or ""
    takes = [arg for arg in inspect.signature(function).parameters if arg not in ("self", "backend_options")]
    assert [arg for arg in takes if f"    {arg}: " not in text] == []
    assert "Raises:" in text


@pytest.mark.slow
def test_training_and_export_say_what_their_verbs_say(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = write_stage(tmp_path)
    plan = reasrm.train(config, dry_run=True)
    assert (plan["outcome"], plan["rows"], plan["output"]) == ("planned", 8, None)
    done = reasrm.train(config, tmp_path / "run")
    assert (done["outcome"], done["steps"], done["output"]) == ("done", 2, str(tmp_path / "run"))
    out = capfd.readouterr()
    assert '"verb"' not in out.out
    again = summary(here("sft", "--config", config, "--run-dir", tmp_path / "run", "--resume"))
    assert timeless(again) == timeless(done)
    exported = reasrm.export_judge(tmp_path / "judge", run=tmp_path / "run")
    assert exported["spec"] == reasrm.open_judge(str(tmp_path / "judge")).spec.name


def test_a_config_of_no_stage_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "none.yaml"
    config.write_text("stage: distill\n")
    with refused(ConfigError, config, "distill"):
        reasrm.train(config)


@pytest.mark.slow
def test_distilled_and_curated_by_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here("sandbox", "pairs", "--rows", 30, "--output", "runs/sandbox/pairs.jsonl")
    distilled = reasrm.distil("distill/sandbox", overrides=["limit=6"])
    assert (distilled["exit_code"], distilled["output"]) == (0, "runs/distill-sandbox")
    assert distilled["sft_rows"] == len(Path(distilled["sft"]).read_text().splitlines())
    (tmp_path / "curate.yaml").write_text("input: [runs/sandbox/pairs.jsonl]\noutput: curated\n")
    curated = reasrm.curate("curate.yaml", output=tmp_path / "mine")
    assert (curated["rows"], curated["output"]) == (30, str(tmp_path / "mine"))


@pytest.mark.slow
def test_an_evaluation_takes_a_name_or_an_opened_judge(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    here("sandbox", "pairs", "--rows", 4, "--output", rows)
    named = reasrm.evaluate("pairs", "sandbox", rows, tmp_path / "named")
    assert named == json.loads((tmp_path / "named" / "result.json").read_bytes())
    assert (named["coverage"], named["num_rows"]) == (1.0, 4)
    judge = reasrm.open_judge("sandbox")
    options = reasrm.JudgingOptions(sampling=judge.sampling(), orders="given")
    opened = reasrm.evaluate("pairs", judge, [rows], tmp_path / "opened", options=options, limit=2)
    assert (opened["num_rows"], opened["policy"]["orders"]) == (2, "given")


def test_what_a_verb_says_is_heard_and_a_signal_is_an_interrupt() -> None:
    with console.heard(quiet=True) as said:
        console.finish({"command": "judge", "errors": 2}, 3)
    assert (said["outcome"], said["exit_code"], said["errors"]) == ("incomplete", 3, 2)
    with pytest.raises(KeyboardInterrupt), console.heard(quiet=True):
        console.finish({"command": "judge", "interrupted": True}, 128 + signal.SIGTERM)
    assert not console.is_quiet()
