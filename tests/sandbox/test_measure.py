"""What the world's truth tells about judgments: one example by hand, and files of teachers that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import InputError
from reasrm.records import (
    CoreArgument,
    Critique,
    Judgment,
    Message,
    Order,
    ParseStatus,
    PreferencePair,
    Verdict,
    Winner,
)
from reasrm.sandbox.measure import Findings, measure, measure_file
from reasrm.sandbox.teacher import TeacherConfig
from reasrm.world.pairs import World
from tests.sandbox.shared import PERFECT, judged


def row(
    name: str, rules: list[str], chosen: str, rejected: str, faults: list[str], **fields: Any
) -> PreferencePair:
    """A row whose rejected response has `faults` and whose chosen one has none."""
    return PreferencePair(
        id=name,
        prompt=(Message("user", "name birds : " + " , ".join(rules)),),
        chosen=chosen,
        rejected=rejected,
        critique=Critique(tuple(CoreArgument("B", "against", fault) for fault in faults)),
        **fields,
    )


def said(order: str, winner: Winner | None, critique: str | None) -> Judgment:
    verdict = None if winner is None else Verdict(winner)
    status = ParseStatus.OK if verdict else ParseStatus.NO_VERDICT
    return Judgment(status, verdict, critique=critique, order=Order(order))


FIRST = row(
    "first",
    ["count two", "must end done"],
    "owl and crow done",
    "owl also crow also swan over",
    ["count two : three", "end done : over"],
    subset="iid",
    meta={"rules": ["count two", "must end done"], "shortcut": "rejected"},
)
SECOND = row(
    "second",
    ["include owl"],
    "owl and crow",
    "sure swan",
    ["include owl : none"],
    subset="iid",
    meta={"rules": ["include owl"], "shortcut": "rejected"},
)
THIRD = row(
    "third",
    ["count two"],
    "sure owl and crow",
    "swan",
    ["count two : one"],
    subset="hard",
    meta={"rules": ["count two"], "shortcut": "chosen"},
)
JUDGED = [
    (
        FIRST,
        [
            # right, and so is the critique
            said("AB", "A", "count two A two ok B three bad\nmust end done A done ok B over bad"),
            # shown the other way: right, but one finding is false and the other rule is left out: F1 0 of 2
            said("BA", "A", "count two A three ok B two ok"),
        ],
    ),
    (
        SECOND,
        [
            said("AB", None, None),
            # wrong, though the critique is exactly right
            said("BA", "B", "include owl A none bad B owl ok"),
        ],
    ),
    (THIRD, [said("AB", "B", "count two A owl ok B one bad")]),
]


def values(findings: Findings, name: str) -> dict[str, tuple[float | None, int]]:
    return {subset: (e.value, e.n) for subset, e in getattr(findings, name).items()}


def test_by_hand() -> None:
    findings = measure(JUDGED)
    # readable: 2 + 1, of which 2 right; the third row's only judgment is wrong
    assert values(findings, "accuracy") == {"iid": (pytest.approx(2 / 3), 2), "hard": (0, 1)}
    # of two right verdicts one has a wrong critique; the hard row has no right verdict
    assert values(findings, "inconsistency") == {"iid": (0.5, 1), "hard": (None, 0)}
    # two of four; the hard one is exact: `B` is faulted for `one`
    assert values(findings, "exact_critiques") == {"iid": (0.5, 2), "hard": (1, 1)}
    assert values(findings, "critique_f1") == {"iid": (0.5, 2), "hard": (1, 1)}
    # two verdicts for the plain response, one for the one with the shortcut; the hard verdict is against it
    assert values(findings, "shortcut") == {"iid": (pytest.approx(1 / 3), 2), "hard": (0, 1)}
    # count: two three | three two | two one, given two three | three two | owl one; "two" is half of them
    # end: done over | nothing; include: nothing | none owl
    assert findings.evidence == {
        "count": (pytest.approx(5 / 6), 0.5),
        "end": (0.5, 0.5),
        "include": (0.5, 0.5),
    }
    # count: met or not T F | F T | T F, given T F | T T | T F: the false mark is the one with the false evidence,
    # and `owl ok` is a true mark with evidence that is none
    assert findings.marks == {
        "count": (pytest.approx(5 / 6), 0.5),
        "end": (0.5, 0.5),
        "include": (0.5, 0.5),
    }
    assert list(findings.evidence) == sorted(findings.evidence)


def test_half_of_the_arguments_are_lenient_enough() -> None:
    """F1 = 0.5 is consistent (the threshold of RM-NLHF is met), but not exact."""
    critique = "count two A two ok B three bad\nwarm A none ok B none bad\nend done A done ok B done ok"
    findings = measure([(FIRST, [said("AB", "A", critique)])])
    assert values(findings, "inconsistency") == {"iid": (0, 1)}
    assert values(findings, "exact_critiques") == {"iid": (0, 1)}
    assert values(findings, "critique_f1") == {"iid": (0.5, 1)}


def test_nothing_and_rows_without_subset() -> None:
    assert measure([]) == Findings({}, {}, {}, {}, {}, {}, {})
    whole = PreferencePair(
        **{**FIRST.shared_fields(), "subset": None}, chosen=FIRST.chosen, rejected=FIRST.rejected
    )
    assert set(measure([(whole, [said("AB", "B", "")])]).accuracy) == {"all"}


def test_the_report_is_json() -> None:
    report = measure(JUDGED).as_dict()
    tables = {"accuracy", "inconsistency", "exact_critiques", "critique_f1", "shortcut"}
    assert set(report) == tables | {"evidence", "marks"}
    assert report["accuracy"]["hard"] == {"value": 0.0, "ci_low": 0.0, "ci_high": 0.0, "n": 1}
    assert report["inconsistency"]["hard"]["value"] is None
    assert report["evidence"]["end"] == {"accuracy": 0.5, "base_rate": 0.5}


def test_intervals_depend_on_the_seed_only() -> None:
    assert measure(JUDGED, 1) == measure(reversed(JUDGED), 1)


@pytest.mark.slow
def test_a_perfect_teachers_file(tmp_path: Path) -> None:
    rows = [*World().pairs("iid", 60), *World().pairs("hard", 60)]
    findings = measure_file(judged(tmp_path, rows, PERFECT), {row.id: row for row in rows})
    for subset in ("iid", "hard"):
        assert findings.accuracy[subset].value == findings.exact_critiques[subset].value == 1
        assert findings.inconsistency[subset].value == 0
        assert findings.critique_f1[subset].value == 1
        mine = [row for row in rows if row.subset == subset]
        expected = sum(row.meta["shortcut"] == "chosen" for row in mine) / len(mine)
        assert findings.shortcut[subset].value == pytest.approx(expected)
        assert findings.accuracy[subset].n == 60
    assert {accuracy for accuracy, _ in findings.evidence.values()} == {1.0}
    assert all(0 < base_rate < 1 for _, base_rate in findings.evidence.values())


def test_a_careless_teachers_file(tmp_path: Path) -> None:
    """Every critique is wrong and every verdict the shortcut's: what rejection by label would keep."""
    rows = list(World().pairs("train", 80))
    config = TeacherConfig(error_rate=1, follow_shortcut=1, malformed_rate=0)
    findings = measure_file(judged(tmp_path, rows, config), {row.id: row for row in rows})
    assert findings.exact_critiques["train"].value == 0
    assert findings.shortcut["train"].value == 1
    share = sum(row.meta["shortcut"] == "chosen" for row in rows) / len(rows)
    assert findings.accuracy["train"].value == pytest.approx(share)
    inconsistency = findings.inconsistency["train"].value
    assert inconsistency is not None
    assert 0.2 < inconsistency < 1


def test_rows_of_another_world() -> None:
    foreign = PreferencePair(id="q", prompt=(), chosen="x", rejected="y", meta={"shortcut": "chosen"})
    with pytest.raises(InputError, match="q: is not a row of the sandbox"):
        measure([(foreign, [said("AB", "A", "")])])
