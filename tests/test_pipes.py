"""Copies of pipes: named as the pipe, gone with their process, whole."""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from reasrm.errors import ConfigError, InputError
from reasrm.pipes import as_typed, forget_spooled, pipe_name, refuse_pipe, refuse_stream, settled


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    forget_spooled()
    return folder


def piped(path: Path, content: bytes) -> Path:
    """A FIFO into which somebody writes."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


def test_a_pipe_is_kept_under_its_name_until_the_process_ends(tmp_path: Path, temporary: Path) -> None:
    content = os.urandom(3 << 20)
    copy = settled(piped(tmp_path / "rows.fifo", content))
    assert (copy.name, pipe_name(copy), copy.read_bytes() == content) == ("rows.fifo", "rows.fifo", True)
    assert as_typed(f"{copy}: no") == f"{tmp_path / 'rows.fifo'}: no"
    assert settled(copy) == copy
    forget_spooled()
    assert not list(temporary.iterdir())


def test_files_and_what_is_not_there_stay_as_they_are(tmp_path: Path, temporary: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}")
    for path in (rows, tmp_path, tmp_path / "none"):
        assert settled(path) == path
        assert pipe_name(path) is None
        refuse_pipe([path])
    assert not list(temporary.iterdir())
    with pytest.raises(InputError, match="is a pipe"):
        refuse_pipe([rows, piped(tmp_path / "rows.fifo", b"")])


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_is_not(
    tmp_path: Path, temporary: Path
) -> None:
    stale, used, fresh = (temporary / f"reasrm-pipe-{name}" for name in ("stale", "used", "fresh"))
    other = temporary / "other"
    for folder in (stale, used, fresh, other):
        folder.mkdir()
        (folder / "stdin").touch()
        if folder is not fresh:
            os.utime(folder, (time.time() - 3600,) * 2)
    descriptor = os.open(used, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        copy = settled(piped(tmp_path / "rows.fifo", b"{}"))
        assert set(temporary.iterdir()) == {used, fresh, other, copy.parent}
    finally:
        os.close(descriptor)
        forget_spooled()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/stderr", "/dev/null", "/proc/self/fd/1"])
def test_streams_are_no_outputs(name: str) -> None:
    with pytest.raises(ConfigError, match="name a file"):
        refuse_stream(Path(name))


def test_files_are_outputs(tmp_path: Path) -> None:
    for path in (tmp_path / "out.jsonl", Path("-out.jsonl"), Path("/dev/shm/out.jsonl")):  # noqa: S108
        refuse_stream(path)
