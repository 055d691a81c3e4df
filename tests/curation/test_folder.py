"""The output folder: complete or absent, one writer, never somebody else's files."""

from __future__ import annotations

import json

import pytest

from reasrm.curation import CurationFolder
from reasrm.errors import ConfigError, LockedError
from tests.refusals import refused


def publish(path, names, identity="one", content="x", config=None):
    with CurationFolder(path, []) as folder:
        for name in names:
            (folder.work / name).write_text(content)
        folder.publish(names, {"identity": identity, "config": config})


def test_a_result_is_found_again_and_another_one_is_refused(tmp_path):
    publish(tmp_path / "out", ["pairs.jsonl"])
    with CurationFolder(tmp_path / "out", []) as folder:
        assert folder.finished("one")["files"] == ["pairs.jsonl"]
        with pytest.raises(ConfigError, match="a curation of other inputs"):
            folder.finished("two")


def test_what_differs_is_named(tmp_path):
    config = {"output": "a", "splits": {"train": 0.5, "test": 9}, "length": None}
    publish(tmp_path / "out", ["pairs.jsonl"], config=config)
    other = {"output": "b", "splits": {"train": 0.6, "test": 9}, "length": {"min": 1}}
    with CurationFolder(tmp_path / "out", []) as folder, pytest.raises(ConfigError) as caught:
        folder.finished("two", other)
    assert 'another config: length was null, is {"min":1}; splits.train was 0.5, is 0.6;' in str(caught.value)


def test_replacing_a_result_leaves_nothing_of_it(tmp_path):
    publish(tmp_path / "out", ["train.jsonl", "test.jsonl", "overlap.jsonl"])
    publish(tmp_path / "out", ["pairs.jsonl"], "two", "new")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"pairs.jsonl", "curation.json", "curate.lock"}
    assert (tmp_path / "out" / "pairs.jsonl").read_text() == "new"


def test_a_run_that_fails_changes_nothing(tmp_path):
    publish(tmp_path / "out", ["pairs.jsonl"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    folder = CurationFolder(tmp_path / "out", [])
    (folder.work / "pairs.jsonl").write_text("half")
    folder.close()
    folder.close()
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert after == before


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    out = tmp_path / "out"
    publish(out, ["pairs.jsonl"])
    (out / "work").mkdir()
    (out / "work" / "rows").write_text("half")
    (out / "curation.json").write_text(
        json.dumps({"complete": False, "files": ["pairs.jsonl", "train.jsonl"]})
    )
    (out / "train.jsonl").write_text("moved before the kill")
    with CurationFolder(out, []) as folder:
        assert list(folder.work.iterdir()) == []
        assert folder.finished("anything") is None
    publish(out, ["pairs.jsonl"])
    assert not (out / "train.jsonl").exists()


def test_folders_of_others_and_inputs_inside_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pairs.jsonl").write_text("precious")
    with refused(ConfigError, "'pairs.jsonl'"):
        CurationFolder(tmp_path / "mine", [])
    (tmp_path / "mine" / "curation.json").write_text("{}")
    with pytest.raises(ConfigError, match="not the report of a curation"):
        CurationFolder(tmp_path / "mine", [])
    with pytest.raises(ConfigError, match="lies in the output folder"):
        CurationFolder(tmp_path / "x", [tmp_path / "x" / "pairs.jsonl"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is not a folder"):
        CurationFolder(tmp_path / "file", [])
    assert (tmp_path / "mine" / "pairs.jsonl").read_text() == "precious"


def test_one_writer_at_a_time(tmp_path):
    with CurationFolder(tmp_path / "out", []), pytest.raises(LockedError):
        CurationFolder(tmp_path / "out", [])
    CurationFolder(tmp_path / "out", []).close()
