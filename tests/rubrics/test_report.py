"""The report on rubrics: every number by hand, from the files that a user has."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from reasrm.durable.log import seal
from tests.commands import ROOT, here, summary
from tests.fakes import Endpoint, chat

ROWS = [  # two preferences; the better response of each stands in `chosen`
    {"id": "p", "prompt": "name a town", "chosen": "Ulm has 9 gates", "rejected": "no idea"},
    {"id": "q", "prompt": "name a river", "chosen": "the rhine", "rejected": "the sea , sure"},
]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def judged(path: Path, right: dict[str, list[bool | None]], tokens: int = 10) -> Path:
    """Judged rows: for each of the orders whether it was right, None where unreadable."""
    rows = []
    for name, answers in right.items():
        judgments = [
            {
                "order": order,
                "vote": 0,
                "verdict": None if one is None else "A" if one else "B",
                "status": "no_verdict" if one is None else "ok",
                "num_tokens": tokens,
            }
            for order, one in zip(("AB", "BA"), answers, strict=True)
        ]
        rows.append(
            {"id": name, "status": "split", "label": "A", "judgments": judgments, "judge": {"name": "me"}}
        )
    path.mkdir()
    (path / "judgments.jsonl").write_bytes(b"".join(seal(row) for row in rows))
    return path


def rubric(name: str, *texts: str, **extra: Any) -> dict[str, Any]:
    return {"id": name, "criteria": [{"kind": "principle", "text": text} for text in texts], **extra}


def made(tmp_path: Path, *flags: str | Path) -> dict[str, Any]:
    result = here("rubrics", "report", *flags, "--output", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads((tmp_path / "report" / "report.json").read_text())
    page = (tmp_path / "report" / "report.md").read_text()
    assert all(f"| {name} |" in page for numbers in found["sections"].values() for name in numbers)
    return found


def values(found: dict[str, Any], section: str) -> dict[str, Any]:
    return {name: estimate["value"] for name, estimate in found["sections"][section].items()}


def test_a_file_alone_says_lengths_repeats_and_labels_seen(tmp_path):
    rubrics = lines(
        tmp_path / "r.jsonl",
        [
            rubric("p", "names a town", "names a town", "short", saw_label=True),
            rubric("q", "is kind to readers"),
        ],
    )
    found = made(tmp_path, "--rubrics", rubrics)
    assert values(found, "rubrics") == {
        "criteria": 2.0,  # 3 and 1
        "words": 11 / 4,  # 3 + 3 + 1 and 4
        "redundant": 0.25,
        "conflict": 0.0,
        "saw_labels": 0.5,
    }
    assert list(found["sections"]) == ["rubrics"]


def test_a_models_word_adds_repeats_that_words_do_not_show(tmp_path):
    colour, hue, tone = (f"The response names a {word}." for word in ("colour", "hue", "tone"))
    file = lines(
        tmp_path / "rubrics.jsonl", [rubric("p", colour, hue), rubric("q", hue, tone), rubric("r", tone)]
    )
    say = {colour: "same", tone: "hard to say"}
    flags = ("--rubrics", file, "--output", tmp_path / "report")
    with Endpoint(
        lambda payload: chat(next(word for text, word in say.items() if text in text_of(payload)))
    ) as model:
        relate = ("--relate", f"openai:m@{model.base_url}")
        found = made(tmp_path, *flags[:2], *relate)
        assert len(model.calls) == 2
        again = made(tmp_path, *flags[:2], *relate)
        assert len(model.calls) == 2
        said = summary(here("rubrics", "report", *flags, *relate))
    assert found == again
    assert found["related"] == said["related"] == {"same": 1, "unread": 1}
    assert values(found, "rubrics")["redundant"] == pytest.approx(1 / 5)
    assert said["cost"]["relator"]["calls"] == 2
    assert values(made(tmp_path, "--rubrics", file), "rubrics")["redundant"] == 0


def text_of(payload: dict[str, Any]) -> str:
    return str(payload["messages"][-1]["content"])


def test_rows_show_leaks_and_labels_of_their_own(tmp_path):
    rubrics = lines(
        tmp_path / "r.jsonl",
        [
            rubric("p", "names Ulm", "gives 9 gates", saw_label=True),  # a name, a number
            rubric("q", "names a river", "better than the other response", saw_label=True),
            rubric("another", "is kind"),
        ],
    )
    pairs = lines(tmp_path / "pairs.jsonl", [*ROWS, {**ROWS[0], "id": "bare"}])
    found = made(tmp_path, "--rubrics", rubrics, "--pairs", pairs)
    assert values(found, "leaks") == {"leak_rate": 0.75}
    assert found["reasons"] == {"leak_number": 1, "leak_name": 1, "comparative": 1}
    own = values(found, "rubrics")
    assert (own["saw_labels"], own["saw_own_labels"], own["rows_with_rubric"]) == (2 / 3, 1.0, 2 / 3)


def test_marks_say_what_criteria_tell_apart(tmp_path):
    rubrics = lines(
        tmp_path / "r.jsonl", [rubric("p", "good", "bad", "same"), rubric("q", "good", "unknown")]
    )
    marks = lines(
        tmp_path / "m.jsonl",
        [
            {"id": "p", "chosen": [1, 0, 1], "rejected": [0, 1, 1]},
            {"id": "q", "chosen": [1, None], "rejected": [0, 0]},
        ],
    )
    pairs = lines(tmp_path / "pairs.jsonl", ROWS)
    found = made(tmp_path, "--rubrics", rubrics, "--pairs", pairs, "--marks", marks)
    assert values(found, "discrimination") == {
        # good 1/2 over 4 marks, bad 1/2 over 2, same 0 over 2, unknown 0 over its one
        "spread": pytest.approx((0.5 * 4 + 0.5 * 2) / 9),
        "correlation": pytest.approx((1 * 4 - 1 * 2) / 6),
        "aligned": 0.5,
        "misaligned": 0.25,
        "indifferent": 0.25,
        "marked": 0.8,
    }
    assert found["by_criterion"][0] == {"text": "good", "spread": 0.5, "correlation": 1.0, "n": 4}


def test_marks_of_the_world_are_computed(tmp_path):
    rubrics = lines(tmp_path / "r.jsonl", [rubric("q", "include rhine", "plain", "is lovely")])
    pairs = lines(tmp_path / "pairs.jsonl", [{**ROWS[1], "chosen": "rhine", "rejected": "volga"}])
    found = made(tmp_path, "--rubrics", rubrics, "--pairs", pairs, "--marks", "sandbox")
    assert values(found, "discrimination")["aligned"] == 0.5  # `plain` holds for both, `is lovely` is no rule
    assert values(found, "discrimination")["marked"] == pytest.approx(2 / 3)


def test_gold_rubrics_say_precision_and_recall(tmp_path):
    rubrics = lines(tmp_path / "r.jsonl", [rubric("p", "names a town", "rhymes"), rubric("q", "is short")])
    gold = lines(tmp_path / "g.jsonl", [rubric("p", "names a town", "counts gates", "greets readers")])
    found = made(tmp_path, "--rubrics", rubrics, "--gold-rubrics", gold)
    assert values(found, "against gold") == {"precision": 0.5, "recall": 1 / 3, "coverage": 0.5}


def test_judged_rows_say_how_much_of_the_gap_is_closed(tmp_path):
    rubrics = lines(tmp_path / "r.jsonl", [rubric(name, "is short") for name in "abcd"])
    none = judged(
        tmp_path / "none", {"a": [False, False], "b": [True, False], "c": [True, True], "d": [True, True]}
    )
    arm = judged(
        tmp_path / "arm", {"a": [True, True], "b": [True, False], "c": [True, True], "d": [None, None]}, 30
    )
    gold = judged(tmp_path / "gold", {name: [True, True] for name in "abcd"})
    found = made(tmp_path, "--rubrics", rubrics, "--none", none, "--arm", arm, "--gold", gold)
    # Of a, b, c: none 0, 1/2, 1; arm 1, 1/2, 1; gold 1, 1, 1. d cannot be read under the arm.
    assert values(found, "gap closed") == {
        "gap_closed": pytest.approx((2.5 - 1.5) / (3 - 1.5)),
        "arm_minus_none": pytest.approx(1 / 3),
        "gold_minus_none": pytest.approx(0.5),
        "coverage": 0.75,
    }
    low, high = (found["sections"]["gap closed"]["arm_minus_none"][key] for key in ("ci_low", "ci_high"))
    assert 0 <= low < 1 / 3 < high <= 1
    # Right in both orders only with the rubric: a; only without it: d.
    effects = values(found, "what rubrics do to the judge")
    assert effects == {"helpful": 0.25, "neutral": 0.5, "misleading": 0.25, "coverage": 1.0}
    assert values(found, "judged: arm") == {"accuracy": pytest.approx(2.5 / 3), "tokens_per_verdict": 240 / 6}


def test_a_writers_rubrics_from_both_orders_are_compared(tmp_path):
    rubrics = lines(
        tmp_path / "r.jsonl",
        [
            rubric("a", "is short", "rhymes", order="AB"),
            rubric("b", "is kind", order="BA"),
            rubric("c", "x y"),
        ],
    )
    other = lines(
        tmp_path / "s.jsonl",
        [rubric("a", "is short", order="BA"), rubric("b", "is kind", order="AB"), rubric("c", "x y")],
    )
    arm = judged(tmp_path / "arm", {"a": [True, True], "b": [True, False]})
    swapped = judged(tmp_path / "swapped", {"a": [False, False], "b": [True, True]})
    flags = ("--rubrics", rubrics, "--swapped", other, "--arm", arm, "--arm-swapped", swapped)
    assert values(made(tmp_path, *flags), "order that the writer saw") == {
        "stability": 0.8,  # 2 · (1 + 1) of 3 and 2 criteria
        "accuracy_ab": 1.0,  # a as written, b of the other file
        "accuracy_ba": 0.25,
        "ab_minus_ba": 0.75,
        "coverage": 1.0,
        "better_is_first": 1.0,
    }


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--pairs", "{foreign}"), "--pairs"),
        (("--marks", "sandbox"), "--marks"),
        (("--pairs", "{pairs}", "--marks", "{short}"), "2 criteria"),
        (("--pairs", "{pairs}", "--marks", "{pairs}"), "chosen"),
        (("--swapped", "{rubrics}"), "--swapped"),
        (("--arm-swapped", "{rubrics}"), "--arm"),
        (("--none", "{missing}"), "missing"),
        (("--gold-rubrics", "{foreign_rubrics}"), "--gold-rubrics"),
    ],
)
def test_what_cannot_be_reported_is_refused(tmp_path, flags, named):
    files = {
        "rubrics": lines(tmp_path / "r.jsonl", [rubric("p", "is short", "rhymes")]),
        "pairs": lines(tmp_path / "pairs.jsonl", ROWS),
        "foreign": lines(tmp_path / "foreign.jsonl", [{**ROWS[0], "id": "elsewhere"}]),
        "foreign_rubrics": lines(tmp_path / "f.jsonl", [rubric("elsewhere", "is short")]),
        "short": lines(tmp_path / "short.jsonl", [{"id": "p", "chosen": [1], "rejected": [0]}]),
        "missing": tmp_path / "missing",
    }
    words = [flag.format(**files) for flag in flags]
    result = here("rubrics", "report", "--rubrics", files["rubrics"], *words, "--output", tmp_path / "report")
    assert result.returncode in (2, 4)
    assert named in summary(result)["message"]
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_the_commands_of_the_documentation_run(tmp_path, monkeypatch):
    block = (ROOT / "docs" / "rubrics.md").read_text().split("## Report")[1].split("```")[1]
    commands = [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("reasrm ")]
    assert [words[0] for words in commands] == ["judge", "judge", "rubrics"]
    monkeypatch.chdir(tmp_path)
    pairs = Path("runs/sandbox/tastes.jsonl")
    pairs.parent.mkdir(parents=True)
    assert here("sandbox", "pairs", "--rows", 6, "--output", pairs).returncode == 0
    rows = [json.loads(row) for row in pairs.read_text().splitlines()]
    Path("runs/rubrics-sandbox").mkdir()
    lines(
        Path("runs/rubrics-sandbox/rubrics.jsonl"),
        [rubric(row["id"], *row["meta"]["rules"], saw_label=True) for row in rows],
    )
    for words in commands:
        result = here(*words)
        assert result.returncode == 0, result.stderr
    assert summary(result)["saw_own_labels"]["value"] == 1
    assert "discrimination" in json.loads(Path("runs/rubrics-report/report.json").read_text())["sections"]
