"""The durable map in one process: paths, manifest, resume, retries, restart, faults of the disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from reasrm.durable import DurableMap, IdentityMismatch, OutputLock, ResumeState, read_records
from reasrm.errors import ConfigError, EnvironmentProblem, InputError, InternalError, LockedError
from tests.durable.driver import digest, record

IDENTITY = {"input_sha256": ["ab"], "judge": {"name": "tiny", "revision": None}, "seed": 0}


def write(
    output: Path, ids: list[str], identity: Mapping[str, Any] = IDENTITY, **options: bool
) -> ResumeState:
    """Start a run, record the ids that are not done, and close it."""
    with DurableMap(output) as journal:
        state = journal.start(identity, **options)
        for row_id in ids:
            if not journal.done(row_id):
                journal.put(row_id, record(row_id), digest(row_id))
    return state


def test_records_come_back_without_their_checksum(tmp_path: Path) -> None:
    with DurableMap(tmp_path / "out.jsonl") as journal:
        journal.start(IDENTITY)
        journal.put("q1", {"verdict": None, "text": "ü\u2028"}, b"\x01\x02\x03\x04\x05\x06\x07\x08")
        assert list(journal.records()) == [
            {"id": "q1", "verdict": None, "text": "ü\u2028", "row_digest": "0102030405060708"}
        ]
        assert journal.done("q1")
        assert not journal.done("q2")
        assert (journal.num_done, journal.num_errors) == (1, 0)
        assert not journal.errors_path.exists()
    (line,) = journal.output.read_bytes().splitlines()
    assert list(json.loads(line)) == ["id", "verdict", "text", "row_digest", "crc32"]


def test_the_manifest_stands_before_the_first_record(tmp_path: Path) -> None:
    with DurableMap(tmp_path / "out.jsonl", kind="distill") as journal:
        state = journal.start(IDENTITY)
        manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
        assert (manifest["manifest_version"], manifest["kind"], manifest["identity"]) == (
            1,
            "distill",
            IDENTITY,
        )
        assert manifest["created_with"]
        assert journal.output.read_bytes() == b""
    assert state == ResumeState()


def test_a_run_is_continued(tmp_path: Path) -> None:
    output = tmp_path / "new folder" / "out.jsonl"
    write(output, ["q1", "q2"])
    state = write(output, ["q1", "q2", "q3"])
    assert (state.num_done, state.resumed, state.warnings) == (2, True, ())
    assert [r["id"] for r in read_records(output)] == ["q1", "q2", "q3"]


def test_errors_are_kept_apart_and_retried_only_on_request(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    failure = {"code": "timeout", "message": "no answer", "attempts": 5, "place": "in.jsonl:2"}
    with DurableMap(output) as journal:
        journal.start(IDENTITY)
        journal.put("q1", record("q1"))
        journal.fail("q2", failure, b"\x01")
        assert journal.done("q2")
        assert list(journal.errors()) == [{"id": "q2", **failure, "row_digest": "01"}]
    with DurableMap(output) as journal:
        state = journal.start(IDENTITY)
        assert (state.num_done, state.num_errors) == (1, 1)
        assert journal.done("q2")
    with DurableMap(output) as journal:
        state = journal.start(IDENTITY, retry_errors=True)
        assert (state.num_done, state.num_errors) == (1, 0)
        assert "out.jsonl.errors.jsonl.old-1" in state.warnings[0]
        assert not journal.done("q2")
        journal.put("q2", record("q2"))
        assert not journal.errors_path.exists()
    assert [r["id"] for r in read_records(output)] == ["q1", "q2"]


def test_errors_of_rows_that_changed_or_went_are_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.jsonl"
    failure = {"code": "bad_label", "message": "no", "attempts": 0}
    with DurableMap(output) as journal:
        journal.start(IDENTITY)
        for row_id, digest in (("same", b"\x01"), ("mended", b"\x02"), ("line:9", b"\x03")):
            journal.fail(row_id, failure, digest)
        journal.fail("pair|AB|1", {"pair": "pair", **failure}, b"\x04")
    before = (tmp_path / "out.jsonl.errors.jsonl").read_bytes()
    now = [("same", "01"), ("mended", "ff"), ("pair", "04"), ("new", "05")]

    def crash(*_: object) -> None:
        raise OSError("power cut")

    with DurableMap(output) as journal, monkeypatch.context() as patch:
        patch.setattr("os.replace", crash)
        with pytest.raises(OSError, match="power cut"):
            journal.start(IDENTITY, current=lambda: iter(now))
    assert (tmp_path / "out.jsonl.errors.jsonl").read_bytes() == before
    for num_retired in (2, 0):
        with DurableMap(output) as journal:
            state = journal.start(IDENTITY, current=lambda: iter(now))
            assert (state.num_errors, len(state.warnings)) == (2, num_retired // 2)
            assert [row["id"] for row in journal.errors()] == ["same", "pair|AB|1"]
            assert journal.done("same")
            assert not journal.done("mended")
    with DurableMap(output) as journal:
        assert journal.start(IDENTITY, current=lambda: iter([])).num_errors == 0
        assert not journal.errors_path.exists()
        journal.fail("same", failure, b"\x01")


def test_an_id_is_recorded_once(tmp_path: Path) -> None:
    with DurableMap(tmp_path / "out.jsonl") as journal:
        journal.start(IDENTITY)
        journal.put("q1", {"a": 1})
        with pytest.raises(InternalError, match="recorded twice"):
            journal.put("q1", {"a": 1})
        for bad in ({"id": "q3"}, {"row_digest": ""}, {"crc32": ""}, {"score": float("nan")}):
            with pytest.raises(InternalError):
                journal.put("q2", bad)
        journal.put("q2", {"id": "q2"})
        assert [r["id"] for r in journal.records()] == ["q1", "q2"]


def test_writing_needs_a_started_open_map(tmp_path: Path) -> None:
    with DurableMap(tmp_path / "out.jsonl") as journal:
        for method in (journal.put, journal.fail):
            with pytest.raises(InternalError, match="before it was started"):
                method("q1", {})
        journal.start(IDENTITY)
        with pytest.raises(InternalError, match="started twice"):
            journal.start(IDENTITY)
    journal.close()
    with pytest.raises(InternalError, match="after it was closed"):
        journal.put("q1", {})


def test_another_identity_is_refused_with_every_difference_named(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write(output, ["q1"])
    before = output.read_bytes()
    other = {"input_sha256": ["cd"], "judge": {"name": "tiny", "revision": "main"}, "votes": 3}
    with pytest.raises(IdentityMismatch) as caught:
        write(output, [], other)
    assert caught.value.differences == {
        "input_sha256": (["ab"], ["cd"]),
        "judge.revision": (None, "main"),
        "seed": (0, "(absent)"),
        "votes": ("(absent)", 3),
    }
    assert caught.value.keys == {"input_sha256", "judge", "seed", "votes"}
    assert caught.value.exit_code == 2
    assert 'judge.revision was null, is "main"' in str(caught.value)
    assert "--restart" in str(caught.value)
    assert output.read_bytes() == before
    with DurableMap(output, kind="distill") as journal, pytest.raises(IdentityMismatch, match="kind was"):
        journal.start(IDENTITY)


def test_changed_rows_are_named_after_a_refusal(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write(output, [f"q{n}" for n in range(1, 31)])
    with DurableMap(output) as journal:
        with pytest.raises(IdentityMismatch):
            journal.start({**IDENTITY, "input_sha256": ["cd"]})
        current = {f"q{n}": digest(f"q{n}").hex() for n in range(2, 33)}
        current["q7"] = current["q19"] = "00" * 8
        changes = journal.changed_rows(current.items())
    assert (changes.num_changed, changes.changed) == (2, ("q7", "q19"))
    assert (changes.num_missing, changes.missing) == (1, ("q1",))
    assert (changes.num_new, changes.new) == (2, ("q31", "q32"))
    assert str(changes) == (
        "2 rows differ (q7, q19), 1 row is gone (q1), 2 rows are new or were not finished (q31, q32)"
    )


def test_restart_moves_everything_aside(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write(output, ["q1"])
    first = output.read_bytes()
    write(output, ["q2"], {"seed": 1}, restart=True)
    state = write(output, ["q3"], {"seed": 2}, restart=True)
    assert (state.num_done, state.resumed) == (0, False)
    assert "out.jsonl.old-2" in state.warnings[0]
    assert (tmp_path / "out.jsonl.old-1").read_bytes() == first
    assert [r["id"] for r in read_records(tmp_path / "out.jsonl.old-2")] == ["q2"]
    assert [r["id"] for r in read_records(output)] == ["q3"]
    assert json.loads((tmp_path / "out.jsonl.manifest.json.old-1").read_bytes())["identity"] == IDENTITY


def test_an_output_without_manifest_is_not_ours(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    with pytest.raises(ConfigError, match="no manifest"):
        write(output, ["q1"])
    assert output.read_text() == "precious\n"
    write(output, ["q1"], restart=True)
    assert (tmp_path / "out.jsonl.old-1").read_text() == "precious\n"
    (tmp_path / "empty.jsonl").touch()
    write(tmp_path / "empty.jsonl", ["q1"])


def test_a_newer_manifest_is_refused_with_its_version(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write(output, ["q1"])
    manifest = tmp_path / "out.jsonl.manifest.json"
    content = {**orjson.loads(manifest.read_bytes()), "manifest_version": 2, "created_with": "9.1"}
    manifest.write_bytes(orjson.dumps(content))
    with pytest.raises(ConfigError, match=r"manifest version 2, written by reasrm 9\.1") as caught:
        write(output, ["q2"])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"manifest_version":1}'])
def test_a_broken_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    output = tmp_path / "out.jsonl"
    write(output, ["q1"])
    (tmp_path / "out.jsonl.manifest.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not a manifest|is damaged"):
        write(output, ["q2"])


@pytest.mark.parametrize(
    "how", ["same", "relative", "symlink", "hard link", "link as input", "errors", "manifest"]
)
def test_an_input_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    source = output = tmp_path / "in.jsonl"
    source.write_text('{"id":"a"}\n')
    if how == "relative":
        monkeypatch.chdir(tmp_path)
        output = Path("../" + tmp_path.name + "/./in.jsonl")
    elif how == "symlink":
        output = tmp_path / "link.jsonl"
        output.symlink_to(source)
    elif how == "hard link":
        output = tmp_path / "link.jsonl"
        output.hardlink_to(source)
    elif how == "link as input":
        source = tmp_path / "link.jsonl"
        source.symlink_to(output)
    elif how in ("errors", "manifest"):
        output = tmp_path / "out"
        source = tmp_path / ("out.errors.jsonl" if how == "errors" else "out.manifest.json")
        source.write_text('{"id":"a"}\n')
    content, names = source.read_bytes(), sorted(os.listdir(tmp_path))
    with pytest.raises(ConfigError, match="is the same file as the input") as caught:
        DurableMap(output, inputs=[tmp_path / "absent.jsonl", source])
    assert caught.value.exit_code == 2
    assert source.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == names


@pytest.mark.parametrize(
    "name", ["a b.jsonl", "zeilen\numbruch.jsonl", "日本é.jsonl", "-x", os.fsdecode(b"\xff")]
)
def test_odd_names_are_written_as_they_are(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ["q1"])
    state = write(tmp_path / name, ["q1", "q2"])
    assert state.num_done == 1
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}.lock", f"{name}.manifest.json"])


def test_unusable_paths_are_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (
        loop,
        tmp_path / ("x" * 250),
        tmp_path / ("é" * 120),
        tmp_path / ("x" * 300),
        tmp_path / "file" / "out.jsonl",
        tmp_path / "folder",
        tmp_path / "nul\0.jsonl",
    ):
        with pytest.raises(ConfigError) as caught:
            DurableMap(path)
        assert caught.value.remedy
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "loop"]


def test_a_symbolic_link_is_followed_and_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(real)
    write(link, ["q1"])
    write(real, ["q2"])
    assert link.is_symlink()
    assert [r["id"] for r in read_records(real)] == ["q1", "q2"]


def test_a_read_only_output_fails_at_construction(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write(output, ["q1"])
    output.chmod(0o444)
    with pytest.raises(EnvironmentProblem, match="read-only") as caught:
        DurableMap(output)
    assert caught.value.exit_code == 5
    if os.geteuid() != 0:
        tmp_path.chmod(0o555)
        with pytest.raises(EnvironmentProblem, match="read-only"):
            DurableMap(tmp_path / "new.jsonl")
        tmp_path.chmod(0o755)


def test_the_lock_is_held_by_the_kernel_and_not_by_the_file(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    lock = tmp_path / "out.jsonl.lock"
    lock.write_text("1 elsewhere\n")
    os.utime(lock, (2**33, 2**33))
    with DurableMap(output):
        assert lock.read_text().startswith(f"{os.getpid()} ")
        with pytest.raises(LockedError, match=f"pid {os.getpid()} on host") as caught:
            DurableMap(output)
        assert caught.value.exit_code == 75
    DurableMap(output).close()


def test_a_refused_start_leaves_the_lock_to_the_next(tmp_path: Path) -> None:
    output, lock = tmp_path / "out.jsonl", tmp_path / "out.jsonl.lock"
    output.write_text("x\n")
    lock.touch()
    with pytest.raises(ConfigError):
        write(output, [])
    with open(lock) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_refused_start_leaves_nothing_that_was_not_there(tmp_path: Path) -> None:
    output = tmp_path / "a" / "b" / "out.jsonl"
    DurableMap(output).close()
    assert os.listdir(tmp_path) == []
    output.parent.mkdir(parents=True)
    output.write_text("x\n")
    with pytest.raises(ConfigError):
        write(output, [])
    assert os.listdir(output.parent) == ["out.jsonl"]


def test_a_lock_counts_only_on_the_file_that_has_its_name(tmp_path: Path, monkeypatch) -> None:
    """Another process removes its lock file between our opening and our locking of it."""
    path, real = tmp_path / "lock", fcntl.flock
    first = OutputLock(path)
    names: list[bool] = []

    def flock(descriptor: int, how: int) -> None:
        if not names:
            first.release(unused=True)
        names.append(path.exists())
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = OutputLock(path)
    assert names == [False, True]
    with pytest.raises(LockedError):
        OutputLock(path)
    second.release()


def failing(real: Any, code: int, after: int = 0, part: int = 0) -> Any:
    """A system call that fails from its `after`-th use on, once having done `part` bytes."""
    calls = 0

    def call(descriptor: int, *data: bytes) -> Any:
        nonlocal calls
        calls += 1
        if calls <= after:
            return real(descriptor, *data)
        if part and calls == after + 1:
            return real(descriptor, data[0][:part])
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("part", [0, 1, 100])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_write_leaves_whole_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, part: int
) -> None:
    output = tmp_path / "out.jsonl"
    with DurableMap(output) as journal:
        journal.start(IDENTITY)
        journal.put("q1", record("q1"))
        before = output.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr("reasrm.durable.log.os.write", failing(os.write, code, part=part))
            with pytest.raises(EnvironmentProblem, match="bytes needed") as caught:
                journal.put("q2", record("q2"))
        assert str(output) in str(caught.value)
        assert caught.value.exit_code == 5
        assert output.read_bytes() == before
        assert not journal.done("q2")
        journal.put("q2", record("q2"))
    assert [r["id"] for r in read_records(output)] == ["q1", "q2"]


def test_a_failing_fsync_surfaces_and_the_run_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.jsonl"
    journal = DurableMap(output)
    journal.start(IDENTITY)
    with monkeypatch.context() as patch:
        patch.setattr("reasrm.durable.log.os.fsync", failing(os.fsync, errno.EIO))
        journal.put("q1", record("q1"))
        with pytest.raises(EnvironmentProblem, match="synced to disk"):
            journal.close()
    assert write(output, ["q1", "q2"]).num_done == 1


def test_the_background_thread_syncs_64_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    synced = threading.Event()
    real = os.fsync

    def noticed(descriptor: int) -> None:
        real(descriptor)
        if threading.current_thread() is not threading.main_thread():
            synced.set()

    with DurableMap(tmp_path / "out.jsonl") as journal:
        journal.start(IDENTITY)
        monkeypatch.setattr("reasrm.durable.log.os.fsync", noticed)
        monkeypatch.setattr("reasrm.durable.log.SYNC_S", 600.0)
        for number in range(64):
            assert not synced.is_set()
            journal.put(f"q{number}", {})
        assert synced.wait(10)


def test_strict_refuses_a_damaged_output(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    write(output, ["q1", "q2", "q3"])
    content = bytearray(output.read_bytes())
    content[content.index(b"q2") + 1] ^= 1
    output.write_bytes(content)
    with pytest.raises(InputError, match="line 2") as caught:
        write(output, [], strict=True)
    assert caught.value.exit_code == 4
    assert output.read_bytes() == content
    with pytest.raises(InputError, match=r"out\.jsonl:2.*damaged"):
        list(read_records(output))
    state = write(output, ["q1", "q2", "q3"])
    assert state.num_done == 2
    assert "line 2" in state.warnings[0]
    assert sorted(r["id"] for r in read_records(output)) == ["q1", "q2", "q3"]


def test_an_error_file_that_was_opened_and_never_written_goes(tmp_path: Path) -> None:
    with DurableMap(tmp_path / "out.jsonl") as journal:
        journal.start({"seed": 0})
        journal.put("a", {"n": 1})
    (tmp_path / "out.jsonl.errors.jsonl").touch()
    with DurableMap(tmp_path / "out.jsonl") as journal:
        assert journal.start({"seed": 0}).num_done == 1
    assert not (tmp_path / "out.jsonl.errors.jsonl").exists()
