"""Run folders: who may write, what may be continued, what is kept."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem, InputError, InternalError, LockedError
from reasrm.runs import (
    RunFolder,
)
from tests.refusals import refused

SHA256_OF_ROWS = "82b0cf5da91b6a7e02f031e2da2fa5ed1261dce4c85ae20d63db9d1e84a4c384"
CONFIG = {"model": {"path": "tiny", "lora": None}, "trainer": {"learning_rate": 1e-5, "report_to": "none"}}


@pytest.fixture
def rows(tmp_path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n')
    return path


def begin(folder: Path, rows: Path, *, resume=False, config=CONFIG, stage="sft", seed=3) -> RunFolder:
    volatile = frozenset({"trainer.report_to"})
    return RunFolder.open(
        folder,
        stage=stage,
        config=config,
        inputs={"train": rows},
        seed=seed,
        resume=resume,
        volatile=volatile,
    )


def trained(folder: Path, rows: Path) -> Path:
    """A run that has measured something, closed."""
    with begin(folder, rows) as run:
        run.append_metrics({"step": 1, "loss": 2.5})
    return folder


# The folder


def test_a_new_run_says_what_it_is(tmp_path, rows):
    with begin(tmp_path / "run", rows) as run:
        manifest = run.read_manifest()
        assert run.read_config() == CONFIG
        assert not run.resumed
    assert (manifest["stage"], manifest["seed"]) == ("sft", 3)
    assert manifest["inputs"]["train"] == {"path": str(rows), "sha256": SHA256_OF_ROWS}
    assert {"reasrm", "torch", "transformers", "trl", "peft", "accelerate"} <= set(manifest["versions"])
    assert sorted(path.name for path in run.path.iterdir()) == [
        "checkpoints",
        "config.json",
        "manifest.json",
        "run.lock",
    ]


def test_a_folder_of_an_input_is_hashed_by_names_and_contents(tmp_path, rows):
    def identity(number: int) -> str:
        with begin(tmp_path / f"run{number}", rows.parent / "model") as run:
            return run.read_manifest()["inputs"]["train"]["sha256"]

    model = tmp_path / "model"
    (model / ".cache").mkdir(parents=True)
    (model / "weights").write_text("1")
    first = identity(1)
    (model / ".cache" / "x").write_text("not part of it")
    assert identity(2) == first
    (model / "weights").rename(model / "weights2")
    assert identity(3) != first


def test_a_run_is_continued_only_when_asked(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    with refused(ConfigError, "--resume"):
        begin(folder, rows)
    with begin(folder, rows, resume=True) as run:
        assert run.resumed


def test_resume_begins_where_there_is_no_run(tmp_path, rows):
    with begin(tmp_path / "run", rows, resume=True) as run:
        assert not run.resumed


def test_a_run_that_has_measured_nothing_may_be_begun_with_other_settings(tmp_path, rows):
    begin(tmp_path / "run", rows).close()
    with begin(tmp_path / "run", rows, config={"model": "other"}) as run:
        assert run.read_config() == {"model": "other"}


def test_other_files_are_never_taken_for_a_run(tmp_path, rows):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    with refused(ConfigError, "'config.json'"):
        begin(tmp_path / "mine", rows, resume=True)
    assert (tmp_path / "mine" / "config.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"config": {**CONFIG, "trainer": {"learning_rate": 2e-5}}},
            "trainer.learning_rate was 0.00001, is 0.00002",
        ),
        ({"config": {**CONFIG, "extra": 1}}, r"extra was \(absent\), is 1"),
        ({"config": {"trainer": CONFIG["trainer"]}}, r'model.path was "tiny", is \(absent\)'),
        ({"seed": 4}, "seed was 3, is 4"),
        ({"stage": "rlvr"}, "a run of the stage 'sft', not 'rlvr'; choose another --run-dir"),
    ],
    ids=["changed key", "new key", "key gone", "seed", "stage"],
)
def test_another_run_is_not_continued_and_the_change_is_named(tmp_path, rows, change, named):
    folder = trained(tmp_path / "run", rows)
    with pytest.raises(ConfigError, match=named):
        begin(folder, rows, resume=True, **change)
    begin(folder, rows, resume=True).close()


def test_changed_rows_are_named(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    rows.write_text('{"id": 2}\n')
    with refused(InputError, "'train'", "rows.jsonl"):
        begin(folder, rows, resume=True)


def test_what_cannot_change_the_result_may_change(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    config = {**CONFIG, "trainer": {**CONFIG["trainer"], "report_to": "wandb"}}
    with begin(folder, rows, resume=True, config=config) as run:
        assert run.read_config() == config


def test_an_edited_config_file_hides_no_change(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    other = {**CONFIG, "trainer": {"learning_rate": 1.0}}
    (folder / "config.json").write_text(json.dumps(other))
    with refused(ConfigError, "config.json"):
        begin(folder, rows, resume=True, config=other)


def test_a_run_killed_between_manifest_and_config_is_continued(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    (folder / "config.json").unlink()
    with begin(folder, rows, resume=True) as run:
        assert run.read_config() == CONFIG


def test_other_versions_are_warned_of_and_kept_on_record(tmp_path, rows, caplog):
    folder = trained(tmp_path / "run", rows)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["versions"]["torch"] = "1.0"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with caplog.at_level(logging.WARNING, "reasrm"), begin(folder, rows, resume=True) as run:
        now = run.read_manifest()
    assert "torch 1.0 → " in caplog.text
    assert now["versions"]["torch"] != "1.0"
    assert [entry["versions"]["torch"] for entry in now["earlier"]] == ["1.0"]


def test_a_newer_manifest_is_refused_with_its_version(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"manifest_version": 2, "versions": {"reasrm": "9.9"}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for resume in (False, True):
        with refused(ConfigError, "version 2", "9.9"):
            begin(folder, rows, resume=resume)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"manifest_version": 1}', '{"manifest_version": "1"}'])
def test_a_damaged_manifest_is_refused(tmp_path, rows, content):
    folder = trained(tmp_path / "run", rows)
    (folder / "manifest.json").write_text(content)
    with refused(ConfigError, "manifest.json"):
        begin(folder, rows, resume=True)


def test_two_processes_do_not_write_one_run(tmp_path, rows):
    run = begin(tmp_path / "run", rows)
    with pytest.raises(LockedError) as caught:
        begin(tmp_path / "run", rows, resume=True)
    assert caught.value.exit_code == 75
    run.close()
    run.close()
    begin(tmp_path / "run", rows).close()


def test_a_refusal_leaves_no_lock_behind(tmp_path, rows):
    folder = trained(tmp_path / "run", rows)
    with pytest.raises(ConfigError):
        begin(folder, rows)
    begin(folder, rows, resume=True).close()


def test_a_read_only_folder_is_refused_at_once(tmp_path, rows):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o500)
    with refused(EnvironmentProblem, folder):
        begin(folder, rows)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, rows):
    with refused(ConfigError, rows):
        begin(rows, rows)
    with refused(ConfigError, rows):
        begin(rows / "run", rows)


def test_a_missing_input_is_named(tmp_path):
    with refused(InputError, "'train'"):
        begin(tmp_path / "run", tmp_path / "absent.jsonl")


def test_only_the_writer_writes(tmp_path, rows):
    with begin(tmp_path / "run", rows):
        other = RunFolder.join(tmp_path / "run")
        assert not other.writable
        assert other.read_config() == CONFIG
        with pytest.raises(InternalError, match="not the writer"):
            other.append_metrics({"step": 1})


# Metrics and log


def test_metrics_of_a_resumed_run_read_like_undisturbed_ones(tmp_path, rows):
    with begin(tmp_path / "run", rows) as run:
        for step in (2, 4, 4, 6):
            run.append_metrics({"step": step, "loss": step / 4})
        run.append_metrics({"step": 4, "final": True})
        with open(run.metrics, "ab") as stream:
            stream.write(b'{"step": 3, "lo')
        run.truncate_metrics(4)
        run.append_metrics({"step": 6, "loss": 0.1})
        records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(r["step"], r["loss"]) for r in records] == [(2, 0.5), (4, 1.0), (4, 1.0), (6, 0.1)]


def test_metrics_are_strict_json(tmp_path, rows):
    with begin(tmp_path / "run", rows) as run:
        with pytest.raises(InternalError, match=r"NaN or infinity at \.loss"):
            run.append_metrics({"step": 1, "loss": float("nan")})
        run.truncate_metrics(0)
        assert not run.metrics.exists() or run.metrics.read_bytes() == b""


def test_the_log_is_kept(tmp_path, rows):
    logger = logging.getLogger("reasrm.test")
    with begin(tmp_path / "run", rows) as run:
        with run.logging_to_file():
            logger.info("one thing")
        logger.warning("another")
    text = (tmp_path / "run" / "log.txt").read_text()
    assert "one thing" in text
    assert "another" not in text
