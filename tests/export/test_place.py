"""Where a judge folder may stand, what it may replace, and what a failed export leaves: nothing."""

from __future__ import annotations

import errno
import json
import shutil

import pytest
from safetensors import SafetensorError

from reasrm.durable import building
from reasrm.errors import ConfigError, EnvironmentProblem, LockedError
from reasrm.export import export_judge, folder
from tests.export.runs import FILES, SPEC, files_below, nothing_beside
from tests.refusals import refused

pytestmark = pytest.mark.slow


def test_an_existing_folder_is_replaced_only_when_forced(full_run, tmp_path):
    output = tmp_path / "judge"
    export_judge(output, run=full_run, checkpoint=3)
    before = (output / "judge.json").read_bytes()
    with refused(ConfigError, "--force"):
        export_judge(output, run=full_run)
    assert (output / "judge.json").read_bytes() == before
    export_judge(output, run=full_run, force=True)
    assert json.loads((output / "judge.json").read_text())["trained"]["step"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["judge"]


def test_what_is_no_judge_folder_is_never_replaced(full_run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with refused(ConfigError, tmp_path / "mine"):
        export_judge(tmp_path / "mine", run=full_run, force=True)
    judge = tmp_path / "judge"
    export_judge(judge, run=full_run)
    with refused(ConfigError, judge):
        export_judge(judge, model=judge / "model", spec=SPEC, force=True)
    assert files_below(judge) == FILES
    (tmp_path / "empty").mkdir()
    export_judge(tmp_path / "empty", run=full_run, force=True)
    assert files_below(tmp_path / "empty") == FILES


def test_leftovers_of_killed_exports_are_cleared_and_an_old_folder_comes_back(full_run, tmp_path):
    (tmp_path / ".judge.partial-1" / "model").mkdir(parents=True)
    (tmp_path / ".judge.partial-1" / "judge.json").write_text("{}")
    (tmp_path / ".other.partial-1").mkdir()
    (tmp_path / ".judge.replaced-1").mkdir()
    (tmp_path / ".judge.replaced-1" / "judge.json").write_text('{"kept": true}')
    with (
        refused(EnvironmentProblem, tmp_path),
        building(tmp_path / "judge", bytes_needed=1 << 60),
    ):
        pytest.fail("there is no exbibyte")
    assert json.loads((tmp_path / "judge" / "judge.json").read_text()) == {"kept": True}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial-1", "judge"]
    (tmp_path / ".judge.replaced-1").mkdir()
    export_judge(tmp_path / "judge", run=full_run, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.partial-1", "judge"]
    assert files_below(tmp_path / "judge") == FILES


def test_two_exports_to_one_place_exclude_each_other(full_run, tmp_path):
    with building(tmp_path / "judge", bytes_needed=1), refused(LockedError, tmp_path / ".judge.lock"):
        export_judge(tmp_path / "judge", run=full_run)


def test_no_space_is_said_before_anything_is_loaded(full_run, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "load_model", lambda *_: pytest.fail("weights were read"))
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("reasrm.durable.folders.shutil.disk_usage", lambda _: free)
    with refused(EnvironmentProblem, "1000"):
        export_judge(tmp_path / "new" / "judge", run=full_run)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            r"cannot be written \(\d{6,} bytes needed\): No space",
        ),
        (
            SafetensorError("I/O error: No space left"),
            r"cannot be written \(\d{6,} bytes needed\): I/O error",
        ),
        (MemoryError(), "does not fit into the memory of cpu as float32"),
        (
            RuntimeError("[enforce fail] can't allocate memory"),
            "does not fit into the memory of cpu as float32",
        ),
    ],
    ids=["disk", "disk, as safetensors says it", "memory", "memory, as torch says it"],
)
def test_running_out_on_the_way_leaves_nothing(full_run, tmp_path, monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr(folder, "_copy_weights", fail)
    with pytest.raises(EnvironmentProblem, match=said):
        export_judge(tmp_path / "judge", run=full_run, device="cpu")
    assert nothing_beside(tmp_path / "judge")


def test_a_read_only_folder_and_a_file_in_the_way_are_said(full_run, tmp_path):
    sealed = tmp_path / "sealed"
    sealed.mkdir(mode=0o555)
    with refused(EnvironmentProblem, sealed):
        export_judge(sealed / "judge", run=full_run)
    (tmp_path / "file").write_text("x")
    with refused(ConfigError, tmp_path / "file"):
        export_judge(tmp_path / "file" / "judge", run=full_run)
