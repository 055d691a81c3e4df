"""`rubrics write`, and judging by its rubrics: written first, found again, one for all votes; labels are kept out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.protocol.spec import load_spec
from tests.commands import here, rows_of, summary, write_rows
from tests.fakes import Endpoint, Reply, chat

RUBRIC = "1. The response says yes. [Hard Rule]\n2. The response is brief. [Principle]"
VERDICT = "--- Analysis ---\nSo.\n--- Final Judgment ---\nWinner: Response {}"


def answer(payload: dict[str, Any]) -> Reply:
    """Write rubrics, but for question 2, and judge for whoever says yes."""
    system, user = (message["content"] for message in payload["messages"])
    if system.startswith("You write the rubric"):
        return chat("I had rather not." if "question 2" in user else RUBRIC)
    yes_first = user.index("yes ") < user.index("no ", user.index("[Response A"))
    return chat(VERDICT.format("A" if yes_first else "B"))


def blind_spec(folder: Path) -> Path:
    """A judge's spec that shows no rubric."""
    spec = load_spec("sandbox").model_dump(mode="json")
    spec["messages"][0]["text"] = "{{ prompt }} A: {{ response_a }} B: {{ response_b }}"
    path = folder / "blind.yaml"
    path.write_text(json.dumps({**spec, "name": "blind"}))
    return path


def judged_prompts(endpoint: Endpoint) -> list[str]:
    asked = [call["messages"] for call in endpoint.calls]
    return [user["content"] for system, user in asked if not system["content"].startswith("You write")]


def lines(path: Path, *saw: str, **more: Any) -> Path:
    """Rubrics of an author who saw the labels of these rows."""
    criteria = [{"kind": "principle", "text": "is right"}]
    found = [{"id": row, "criteria": criteria, "saw_label": True, **more} for row in saw]
    path.write_text("".join(json.dumps(line) + "\n" for line in found))
    return path


def test_rubrics_are_written_to_a_file_and_judged_by(tmp_path):
    rows, rubrics = write_rows(tmp_path / "rows.jsonl", 4), tmp_path / "rubrics.jsonl"
    with Endpoint(answer) as endpoint:
        model = f"openai:m@{endpoint.base_url}"
        told = here("rubrics", "write", "--writer", model, "--input", rows, "--output", rubrics)
        said = summary(told)
        assert (told.returncode, said["exit_code"], said["outcome"]) == (3, 3, "incomplete")
        assert (said["written"], said["asked"], said["failed"]) == (3, 4, {"no_verdict": 1})
        assert said["progress"] == {"unit": "rubrics", "total": 4, "done": 4, "failed": 1}
        assert said["cost"]["writer"]["calls"] == 4
        rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:2]))
        how = ("--judge", model, "--spec", "rubric", "--input", rows, "--rubrics", rubrics)
        done = here("judge", *how, "--output", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    assert summary(done)["rubrics"] == {"with": 2, "without": 0}
    assert all(RUBRIC in prompt for prompt in judged_prompts(endpoint))
    assert [row["correct"] for row in rows_of(tmp_path / "out.jsonl")] == [True, True]


def test_a_dry_run_shows_the_writers_prompt_and_asks_nobody(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    how = ("--writer", "openai:m@http://127.0.0.1:9/v1", "--input", rows, "--output", tmp_path / "r.jsonl")
    done = here("rubrics", "write", *how, "--dry-run")
    assert (done.returncode, summary(done)["asked"]) == (0, 3)
    assert "question 0" in done.stderr
    assert "yes 0" not in done.stderr
    pairs = here("rubrics", "write", *how, "--spec", "rubric-writer-pair", "--orders", "swap", "--dry-run")
    assert "yes 0" in pairs.stderr


def test_rubrics_are_written_before_judging_and_found_again(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 4), tmp_path / "out.jsonl"
    with Endpoint(answer) as endpoint:
        model = f"openai:m@{endpoint.base_url}"
        how = ("--judge", model, "--spec", "rubric", "--input", rows, "--rubrics", f"write:{model}")
        votes = ("--votes", "2", "--temperature", "0.7")
        done = here("judge", *how, *votes, "--output", output)
        assert done.returncode == 3, "the row whose rubric is missing could not be judged"
        (written,) = tmp_path.glob("out.jsonl.rubrics-*[0-9a-f].jsonl")
        said = summary(done)
        assert said["written"] == {
            "output": str(written),
            "written": 3,
            "asked": 4,
            "failed": {"no_verdict": 1},
        }
        assert (said["rubrics"], said["errors"]) == ({"with": 3, "without": 1}, 1)
        assert (said["cost"]["writer"]["calls"], said["cost"]["judge"]["calls"]) == (4, 12)
        prompts = judged_prompts(endpoint)
        assert (len(prompts), len(set(prompts))) == (12, 6), (
            "all votes of an order are asked under one rubric"
        )
        asked = len(endpoint.calls)
        again = here("judge", *how, *votes, "--output", output)
        anew = here("judge", *how, *votes, "--output", output, "--restart")
        assert (again.returncode, anew.returncode) == (3, 3)
        assert len(endpoint.calls) == asked + 12, "judging anew does not write anew"


def test_an_evaluation_writes_its_rubrics_into_its_folder(tmp_path):
    rows, folder = write_rows(tmp_path / "rows.jsonl", 2), tmp_path / "result"
    with Endpoint(answer) as endpoint:
        model = f"openai:m@{endpoint.base_url}"
        how = ("--judge", model, "--spec", "rubric", "--input", rows, "--rubrics", f"write:{model}")
        done = here("eval", "pairs", *how, "--output", folder)
    assert done.returncode == 0, done.stderr
    assert summary(done)["score"] == 1.0
    assert len(list(folder.glob("rubrics-*[0-9a-f].jsonl"))) == 1
    assert "rubrics_that_saw_labels" not in json.loads((folder / "result.json").read_bytes())["policy"]


def test_a_budget_is_one_for_writing_and_judging(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 2), tmp_path / "out.jsonl"
    with Endpoint(answer) as endpoint:
        model = f"openai:m@{endpoint.base_url}"
        how = ("--judge", model, "--spec", "rubric", "--input", rows, "--rubrics", f"write:{model}")
        limits = ("--price", "1,1", "--budget", "0.004")
        done = here("judge", *how, *limits, "--output", output)
        assert (done.returncode, summary(done)["stopped"]) == (3, "budget")
        spent = summary(done)
        enough = here("judge", *how, "--price", "1,1", "--budget", "1", "--output", output)
    assert (spent["cost"]["writer"]["calls"], spent["cost"]["judge"]["calls"]) == (2, 0)
    assert spent["money"] == pytest.approx(2 * 10 / 1e6)
    assert enough.returncode == 0, enough.stderr
    assert summary(enough)["money"] == pytest.approx(6 * 10 / 1e6)
    assert summary(enough)["cost"]["writer"]["calls"] == 2


@pytest.mark.parametrize("verb", [("judge",), ("eval", "pairs")], ids=["judge", "eval"])
def test_rubrics_that_saw_the_labels_of_the_rows_are_refused(tmp_path, verb):
    rows, output = write_rows(tmp_path / "rows.jsonl", 3), tmp_path / "out"
    rubrics = lines(tmp_path / "rubrics.jsonl", "q0", "q2")
    with Endpoint(answer) as endpoint:
        how = (
            "--judge",
            f"openai:m@{endpoint.base_url}",
            "--spec",
            "rubric",
            "--input",
            rows,
            "--output",
            output,
        )
        refused = here(*verb, *how, "--rubrics", rubrics)
        assert refused.returncode == 2
        for named in ("'q0'", "'q2'", "2 rows", "--rubrics-that-saw-labels"):
            assert named in refused.stderr
        assert here(*verb, *how, "--rubrics", rubrics, "--dry-run").returncode == 2
        assert endpoint.calls == []
        taken = here(*verb, *how, "--rubrics", rubrics, "--rubrics-that-saw-labels")
    assert taken.returncode == 3, "q1 has no rubric"
    folder = output if verb[0] == "eval" else output.parent
    name = "judgments.jsonl" if verb[0] == "eval" else output.name
    manifest = json.loads((folder / f"{name}.manifest.json").read_bytes())
    assert manifest["identity"]["rubrics_that_saw_labels"] is True
    if verb[0] == "eval":
        assert json.loads((output / "result.json").read_bytes())["policy"]["rubrics_that_saw_labels"] == 2


def test_rubrics_of_the_same_request_and_those_inside_rows_count_too(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    given = lines(tmp_path / "rubrics.jsonl", "elsewhere", prompt="question 1", condition="prompt")
    embedded = {"criteria": [{"text": "is right"}], "saw_label": True}
    inside = write_rows(tmp_path / "inside.jsonl", 1, rubric=embedded)
    innocent = write_rows(tmp_path / "innocent.jsonl", 1, rubric={"criteria": [{"text": "is right"}]})
    with Endpoint(answer) as endpoint:
        how = ("--judge", f"openai:m@{endpoint.base_url}", "--spec", "rubric")
        by_request = here("judge", *how, "--input", rows, "--rubrics", given, "--output", tmp_path / "a")
        of_row = here("judge", *how, "--input", inside, "--output", tmp_path / "b")
        free = here("judge", *how, "--input", innocent, "--output", tmp_path / "c")
        hidden = here(
            *("judge", "--judge", f"openai:m@{endpoint.base_url}", "--spec", blind_spec(tmp_path)),
            *("--input", inside, "--output", tmp_path / "d", "--dry-run"),
        )
    assert [run.returncode for run in (by_request, of_row, free, hidden)] == [2, 2, 0, 0]
    assert "'q1'" in by_request.stderr
    assert "'q0'" in of_row.stderr


def test_a_writer_is_no_judge_and_a_judge_that_hides_rubrics_needs_none(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 1)
    model = "openai:m@http://127.0.0.1:9/v1"
    how = ("--judge", model, "--input", rows, "--output", tmp_path / "out.jsonl")
    for more, named in (
        (("--spec", "rubric-writer"), "reasrm rubrics write"),
        (("--spec", blind_spec(tmp_path), "--rubrics", f"write:{model}"), "blind"),
        (("--spec", "rubric", "--rubrics", f"write:{model}", "--dry-run"), "reasrm rubrics write"),
    ):
        done = here("judge", *how, *more)
        assert done.returncode == 2, more
        assert named in done.stderr
    wrong = here(
        "rubrics", "write", "--writer", model, "--spec", "rubric", "--input", rows, "--output", tmp_path / "r"
    )
    assert wrong.returncode == 2
    assert "rubric-writer" in wrong.stderr
