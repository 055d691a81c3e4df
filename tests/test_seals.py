"""Sealed checkpoints, without a model: what is complete, what is whole, and what is removed."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem, InternalError
from reasrm.hashing import digest
from reasrm.runs import (
    DamagedCheckpoint,
    checkpoint_folder,
    latest_checkpoint,
    remove_unsealed,
    rotate,
    seal_checkpoint,
    set_aside_after,
    verify_checkpoint,
)
from tests.refusals import refused
from tests.sealed import complete_checkpoints


def write_checkpoint(run: Path, step: int, *, seal: bool = True) -> Path:
    folder = checkpoint_folder(run, step)
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(40)) + bytes([step]))
    (folder / "sub" / "state.json").write_text(json.dumps({"step": step}))
    if seal:
        seal_checkpoint(folder, step, 1, "safe")
    return folder


def test_a_checkpoint_is_complete_when_sealed(tmp_path):
    folder = write_checkpoint(tmp_path, 3, seal=False)
    assert complete_checkpoints(tmp_path) == []
    assert latest_checkpoint(tmp_path) is None
    sealed = seal_checkpoint(folder, 3, 2, "safe")
    assert complete_checkpoints(tmp_path) == [sealed]
    assert verify_checkpoint(folder) == sealed
    assert (sealed.step, sealed.world_size, sealed.format) == (3, 2, "safe")
    assert sorted(sealed.files) == ["model.safetensors", "sub/state.json"]


def test_checkpoints_are_ordered_by_step_not_by_name(tmp_path):
    for step in (9, 100, 20):
        write_checkpoint(tmp_path, step)
    assert [info.step for info in complete_checkpoints(tmp_path)] == [9, 20, 100]
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.step == 100


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


DAMAGE = {"flipped": flip, "truncated": truncate, "deleted": Path.unlink}


@pytest.mark.parametrize("name", ["model.safetensors", "sub/state.json", "checkpoint.json"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_named_and_passed_over(tmp_path, caplog, name, damage):
    before = write_checkpoint(tmp_path, 1)
    folder = write_checkpoint(tmp_path, 2)
    damage(folder / name)
    with pytest.raises(DamagedCheckpoint, match=name):
        verify_checkpoint(folder)
    with caplog.at_level(logging.WARNING, "reasrm"):
        latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert latest.path == before
    if (folder / "checkpoint.json").exists():
        assert name in caplog.text
        with pytest.raises(EnvironmentProblem) as caught:
            latest_checkpoint(tmp_path, strict=True)
        assert caught.value.exit_code == 5


def test_no_byte_of_a_seal_can_change_unseen(tmp_path):
    folder = write_checkpoint(tmp_path, 1)
    info = verify_checkpoint(folder)
    whole = (folder / "checkpoint.json").read_bytes()
    unseen = []
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        (folder / "checkpoint.json").write_bytes(changed)
        try:
            unseen += [] if verify_checkpoint(folder) == info else [position]
        except DamagedCheckpoint:
            continue
    assert unseen == []


def test_pickles_have_no_place_in_a_checkpoint(tmp_path):
    folder = write_checkpoint(tmp_path, 1)
    (folder / "notes.txt").write_text("a person's")
    verify_checkpoint(folder)
    (folder / "optimizer.pt").write_bytes(b"x")
    with refused(DamagedCheckpoint, "optimizer.pt"):
        verify_checkpoint(folder)
    other = write_checkpoint(tmp_path, 2, seal=False)
    (other / "training_args.bin").write_bytes(b"x")
    with pytest.raises(InternalError, match=r"training_args\.bin"):
        seal_checkpoint(other, 2, 1, "safe")
    assert seal_checkpoint(other, 2, 1, "deepspeed").format == "deepspeed"
    verify_checkpoint(other)


def test_when_nothing_is_whole_nothing_is_begun_anew_in_silence(tmp_path):
    for step in (1, 2):
        flip(write_checkpoint(tmp_path, step) / "model.safetensors")
    with refused(EnvironmentProblem, "2 checkpoints"):
        latest_checkpoint(tmp_path)


def test_a_newer_seal_is_refused_with_its_version(tmp_path):
    folder = write_checkpoint(tmp_path, 1)
    seal = json.loads((folder / "checkpoint.json").read_text())
    del seal["sha256"]
    seal["checkpoint_version"] = 2
    (folder / "checkpoint.json").write_text(json.dumps({**seal, "sha256": digest(seal, 64)}))
    with refused(ConfigError, "version 2"):
        latest_checkpoint(tmp_path)


def test_a_checkpoint_under_another_name_is_not_one(tmp_path):
    folder = write_checkpoint(tmp_path, 1)
    folder.rename(folder.with_name("checkpoint-7"))
    with pytest.raises(DamagedCheckpoint, match="another folder"):
        verify_checkpoint(folder.with_name("checkpoint-7"))


def test_rotation_keeps_the_newest(tmp_path):
    for step in (1, 2, 3, 4, 5):
        write_checkpoint(tmp_path, step)
    rotate(tmp_path, 2)
    assert [info.step for info in complete_checkpoints(tmp_path)] == [4, 5]
    with pytest.raises(InternalError):
        rotate(tmp_path, 1)


def test_half_a_removal_never_looks_complete(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step)

    def killed(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate(tmp_path, 2)
    monkeypatch.undo()
    assert [info.step for info in complete_checkpoints(tmp_path)] == [2, 3]
    assert remove_unsealed(tmp_path) == [checkpoint_folder(tmp_path, 1)]
    assert not checkpoint_folder(tmp_path, 1).exists()


def test_damaged_checkpoints_make_room_for_their_steps(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step)
    assert set_aside_after(tmp_path, 1) == [
        tmp_path / "checkpoints" / "checkpoint-2.damaged",
        tmp_path / "checkpoints" / "checkpoint-3.damaged",
    ]
    write_checkpoint(tmp_path, 2)
    set_aside_after(tmp_path, 1)
    assert [info.step for info in complete_checkpoints(tmp_path)] == [1]
