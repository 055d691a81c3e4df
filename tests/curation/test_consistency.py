"""Labels that a judge confirms: kept, dropped, flipped, undecided."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from reasrm.curation.config import ConsistencySection
from reasrm.errors import ConfigError, InputError
from tests.curation.rows import ids, incoming, lines, pair, reasons, run

ROWS = [
    pair(name, f"prompt {name}", "good", "bad")
    for name in ("agrees", "against", "weak", "split", "tie", "unread")
]


def judged(row_id, verdict, confidence, status="ok", label="A"):
    return {"id": row_id, "label": label, "verdict": verdict, "status": status, "confidence": confidence}


VERDICTS = [
    judged("agrees", "A", 1.0),
    judged("against", "B", 1.0),
    judged("weak", "B", 0.75),
    judged("split", None, 0.5, "split"),
    judged("tie", "tie", 1.0),
    judged("someone else's", "B", 1.0),
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def curate(tmp_path, verdicts=VERDICTS, rows=ROWS, **section):
    path = write(tmp_path / "judged.jsonl", verdicts)
    folder = tmp_path / "work"
    return folder, run(incoming(rows), folder, consistency={"judged": path, **section}).report["consistency"]


def test_only_confirmed_labels_stay(tmp_path):
    folder, counts = curate(tmp_path)
    assert ids(folder / "pairs.jsonl") == ["agrees"]
    assert reasons(folder / "dropped.jsonl") == {
        "against": "judge_disagrees",
        "weak": "judge_disagrees",
        "split": "judge_undecided",
        "tie": "judge_undecided",
        "unread": "not_judged",
    }
    assert counts["agreement"] == pytest.approx(1 / 3)
    assert (counts["judge_undecided"], counts["not_judged"]) == (2, 1)


def test_a_sure_judge_flips_the_label_and_the_row_says_so(tmp_path):
    critique = {
        "arguments": [{"about": "A", "stance": "for", "text": "clear", "fatal": False}],
        "text": "A wins.",
    }
    from reasrm.sources.fields import shared

    extra = shared({"critique": critique}, "test")
    rows = [pair("against", "p", "good", "bad", **extra), *ROWS[2:]]
    folder, counts = curate(tmp_path, rows=rows, recycle=True, flip_confidence=0.9)
    (row,) = lines(folder / "pairs.jsonl")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("bad", "good")
    assert row["meta"] == {"source": "trl", "flipped": 1.0, "critique_text_of_swapped": "A wins."}
    assert row["critique"]["arguments"][0]["about"] == "B"
    assert reasons(folder / "dropped.jsonl")["weak"] == "judge_disagrees", (
        "three of four votes are not enough"
    )
    assert counts["flipped"] == 1


def test_what_is_known_of_one_side_goes_with_its_response(tmp_path):
    meta = {"chosen_score": 5, "rejected_score": 1, "chosen_model": "x", "margin": 4, "chosen": "kept"}
    folder, _ = curate(tmp_path, rows=[pair("against", "p", "good", "bad", meta=meta)], recycle=True)
    (row,) = lines(folder / "pairs.jsonl")
    flipped = {"rejected_score": 5, "chosen_score": 1, "rejected_model": "x", "margin": 4, "chosen": "kept"}
    assert row["meta"] == {"source": "trl", **flipped, "flipped": 1.0}


def test_undecided_rows_can_stay_and_a_share_can_be_asked_for(tmp_path):
    folder, _ = curate(tmp_path, undecided="keep", min_confidence=0.75)
    assert ids(folder / "pairs.jsonl") == ["agrees", "weak", "split", "tie", "unread"]


def test_the_label_of_the_judged_row_says_which_side_is_meant(tmp_path):
    verdicts = [judged("agrees", "B", 1.0, label="B"), judged("against", "A", 1.0, label="B")]
    folder, _ = curate(tmp_path, verdicts, undecided="drop")
    assert ids(folder / "pairs.jsonl") == ["agrees"]


@pytest.mark.parametrize(
    ("verdicts", "message"),
    [
        ([judged("x", "A", 1.0)], "no judged row has the id"),
        ([judged("agrees", "A", 1.0), judged("agrees", "B", 1.0)], "was judged before"),
        ([judged("agrees", "A", 1.0, label=None)], "not a judged row of a labelled pair"),
        ([{"id": "agrees", "chosen": "x"}], "status"),
    ],
    ids=["other rows", "twice", "unlabelled", "pairs"],
)
def test_files_that_do_not_fit_are_refused(tmp_path, verdicts, message):
    with pytest.raises(InputError, match=message):
        curate(tmp_path, verdicts)


def test_a_judge_gets_what_is_left_and_only_that(tmp_path):
    seen = []

    def judge(path):
        seen.extend(ids(path))
        return tmp_path / "judged.jsonl"

    write(tmp_path / "judged.jsonl", [judged("a", "A", 1.0)])
    rows = [pair("a", "p", "long answer", "short one"), pair("b", "p", "x", "y")]
    sections = {"consistency": {"run": {"judge": "some"}}, "length": {"response": {"min": 5}}}
    run(incoming(rows), tmp_path / "work", judge=judge, **sections)
    assert seen == ids(tmp_path / "work" / "pairs.jsonl") == ["a"]
    with pytest.raises(ConfigError, match="no judge to run"):
        run(incoming(rows), tmp_path / "without", **sections)


def test_a_judge_or_its_rows_but_not_both():
    for section in ({}, {"judged": "x", "run": {"judge": "y"}}):
        with pytest.raises(ValidationError, match="one of the two"):
            ConsistencySection.model_validate(section)
