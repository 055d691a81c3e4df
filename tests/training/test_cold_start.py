"""A loop says where it differs from what it goes on from, and does not choose by rows that were learned from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reasrm.errors import ConfigError
from reasrm.metarm.card import MetaCard
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison
from reasrm.runs import RunFolder
from reasrm.training.rlvr.cold_start import compare_with_start, metarm_differences
from reasrm.training.rlvr.config import RLVRStage, load_rlvr_stage
from tests.refusals import refused
from tests.training.meta_runs import write_meta_stage
from tests.training.stages import comparison, sft_row, write_rlvr_stage, write_rows


def started(tmp_path: Path, **sections: object) -> RLVRStage:
    """A stage whose policy was taught `q0` to `q3` and measured on `q4`, `q5`; one trace names its pair in `meta`."""
    rows = [sft_row(n) for n in range(6)]
    rows[0] = replace(rows[0], id="q0|AB|1", meta={**rows[0].meta, "pair": "q0"})
    inputs = {
        "train:0": write_rows(tmp_path / "taught.jsonl", rows[:4]),
        "validation:0": write_rows(tmp_path / "held-out.jsonl", rows[4:]),
    }
    RunFolder.open(tmp_path / "sft", stage="sft", config={}, inputs=inputs, seed=0, resume=True).close()
    return load_rlvr_stage(write_rlvr_stage(tmp_path, model={"path": str(tmp_path / "sft")}, **sections))


def rows(*numbers: int) -> dict[str, Comparison]:
    return {f"q{n}": comparison(n) for n in numbers}


def test_rows_of_both_stages_are_counted(tmp_path: Path) -> None:
    said: list[str] = []
    stage = started(tmp_path)
    other = replace(comparison(1), response_a="another pair", response_b="with the same id")
    measured = {"old": rows(0, 3, 9), "new": {**rows(7), "q1": other}}
    compare_with_start(stage, rows(2, 4, 8), measured, said.append)
    assert len(said) == 2
    assert "validation split old: 2 of 3 rows" in said[0]
    assert "1 of 3 rows to learn from were held out" in said[1]


def test_no_checkpoint_is_chosen_by_rows_that_its_start_was_taught(tmp_path: Path) -> None:
    validation = {"splits": {"old": "x.jsonl", "new": "y.jsonl"}}
    stage = started(tmp_path, validation=validation, selection={})
    with refused(
        ConfigError, "validation.splits.old", "2 of 3 rows", stage.model.path, "allow_training_rows"
    ):
        compare_with_start(stage, {}, {"new": rows(7), "old": rows(0, 3, 9)}, print)
    said: list[str] = []
    stage = started(tmp_path, validation={**validation, "allow_training_rows": True}, selection={})
    compare_with_start(stage, {}, {"old": rows(0)}, said.append)
    assert len(said) == 1
    stage = started(tmp_path, validation=validation, selection={"split": "new"})
    compare_with_start(stage, {}, {"old": rows(0)}, said.append)
    assert len(said) == 2


def test_files_that_changed_since_are_not_compared(tmp_path: Path) -> None:
    said: list[str] = []
    stage = started(tmp_path)
    write_rows(tmp_path / "taught.jsonl", [sft_row(7)])
    compare_with_start(stage, {}, {"old": rows(7)}, said.append)
    (warning,) = said
    assert str(tmp_path / "taught.jsonl") in warning
    (tmp_path / "held-out.jsonl").unlink()
    compare_with_start(stage, rows(4), {}, said.append)
    assert str(tmp_path / "held-out.jsonl") in said[1]


@pytest.mark.parametrize(
    ("before", "words"), [(0.3, None), (0.05, "learned from there"), (0.5, "chosen there")]
)
def test_what_a_metarm_held_out_is_compared(tmp_path: Path, before: float, words: str | None) -> None:
    (tmp_path / "metarm").mkdir()
    stage = load_rlvr_stage(write_meta_stage(tmp_path))
    critique = {"extractor": "sandbox", "similarity": "exact", "fatal_rule": False, "model": None}
    card = MetaCard(spec=load_spec("sandbox"), process={"critique": critique}, trained={"holdout": before})
    found = metarm_differences(stage, card)
    assert len(found) == (words is not None)
    assert words is None or (words in found[0] and f"{before:g}" in found[0])


def test_how_a_metarm_s_critiques_were_scored_is_compared(tmp_path: Path) -> None:
    (tmp_path / "metarm").mkdir()
    stage = load_rlvr_stage(write_meta_stage(tmp_path), ["critique.threshold=0.7"])
    critique = {"extractor": "sandbox", "similarity": "exact", "max_tokens": 4096, "cache": "elsewhere"}
    found = metarm_differences(stage, MetaCard(spec=load_spec("sandbox"), process={"critique": critique}))
    assert [line.partition(",")[0] for line in found] == [
        "critique.fatal_rule is False",
        "critique.max_tokens is None",
        "critique.threshold is 0.7",
    ]
