"""Options, column names, neighbours and critiques: from the flags to the written pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reasrm.cli.data import run_import
from reasrm.errors import ConfigError, InputError
from reasrm.sources import get
from reasrm.sources.importing import ImportReport, import_pairs
from reasrm.sources.pairing import exchange_names
from tests.commands import here as run
from tests.commands import rows_of, summary
from tests.refusals import refused


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def importing(
    tmp_path: Path,
    name: str,
    rows: Sequence[object],
    options: dict[str, str] | None = None,
    columns: dict[str, str] | None = None,
) -> tuple[ImportReport, list[dict[str, Any]]]:
    source = get(name).configured(options or {}, columns or {})
    report = import_pairs([write(tmp_path / "in.jsonl", *rows)], tmp_path / "pairs.jsonl", source=source)
    return report, lines(report.output)


# --- options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("skywork-80k", {"clean": "rm-r2"}, r"no option clean=rm-r2; its options: clean=none\|rm-r1"),
        ("skywork-80k", {"pairs": "all"}, "no option pairs=all"),
        ("trl", {"pairs": "all"}, "'trl' has no option pairs=all; it has no options"),
    ],
)
def test_an_unknown_option_lists_those_there_are(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        get(name).configured(options, {})


@pytest.mark.parametrize("option", ["clean", "clean=none=x", "=none"])
def test_options_are_written_as_name_and_value(tmp_path: Path, option: str) -> None:
    path = write(tmp_path / "in.jsonl", get("skywork-80k").example)
    with pytest.raises(ConfigError, match="option"):
        run_import([path], tmp_path / "p", source="skywork-80k", coerce_scalars=False, options=[option])


def test_options_and_columns_need_a_named_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="speak of one source; name it"):
        run_import([tmp_path], tmp_path, source="auto", coerce_scalars=False, options=["clean=rm-r1"])
    with pytest.raises(ConfigError, match="once"):
        run_import(
            [tmp_path], tmp_path, source="skywork-80k", coerce_scalars=False, options=["clean=none"] * 2
        )


def test_what_an_option_leaves_out_is_dropped_by_name(tmp_path: Path) -> None:
    row = get("skywork-80k").example
    report, pairs = importing(
        tmp_path, "skywork-80k", [row, {**row, "source": "magpie_ultra"}], {"clean": "rm-r1"}
    )
    assert (report.kept, report.dropped) == (1, {"cleaned": 1})
    assert [pair["subset"] for pair in pairs] == ["magpie_pro"]


# --- neighbours --------------------------------------------------------------------------------------------


def rated(prompt: str, response: str, helpfulness: int) -> dict[str, Any]:
    return {"prompt": prompt, "response": response, "helpfulness": helpfulness, "correctness": 3}


def test_neighbours_become_pairs_on_request_and_everything_is_counted(tmp_path: Path) -> None:
    rows = [
        rated("Q1", "worse", 1),
        rated("Q1", "better", 4),
        rated("alone", "x", 2),
        rated("Q2", "first", 3),
        rated("Q2", "second", 2),
        rated("Q3", "even", 2),
        rated("Q3", "equal", 2),
        {**rated("Q4", "bad", 2), "helpfulness": 9},
        rated("Q4", "left", 2),
    ]
    report, pairs = importing(tmp_path, "helpsteer2-ratings", rows, {"pairs": "helpfulness"})
    found = [
        (p["prompt"][0]["content"], p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in pairs
    ]
    assert found == [("Q1", "better", "worse"), ("Q2", "first", "second")]
    assert pairs[0]["meta"] == {
        "margin": 3,
        "chosen_score": 4,
        "rejected_score": 1,
        "chosen_ratings": {"helpfulness": 4, "correctness": 3},
        "rejected_ratings": {"helpfulness": 1, "correctness": 3},
        "source": "helpsteer2-ratings",
    }
    assert (report.rows, report.read, report.kept) == (9, 6, 2)
    assert report.dropped == {"pointwise": 2, "tie": 1, "bad_label": 1}
    report, pairs = importing(tmp_path, "helpsteer2-ratings", rows[:2])
    assert (report.read, report.dropped, pairs) == (2, {"pointwise": 2}, [])


# --- columns -----------------------------------------------------------------------------------------------


CODE = {"task": "Write add.", "good": "a + b", "bad": "a - b"}
COLUMNS = {"input": "task", "accepted": "good", "rejected": "bad"}


def test_columns_of_other_names_are_read_and_marked(tmp_path: Path) -> None:
    report, (pair,) = importing(tmp_path, "code-preference-pairs", [CODE], columns=COLUMNS)
    assert [pair[key][0]["content"] for key in ("prompt", "chosen", "rejected")] == [*CODE.values()]
    assert pair["meta"] == {"source": "code-preference-pairs", "schema": "unverified"}
    assert report.to_json()["schema"] == report.to_json()["files"][0]["schema"] == "unverified"


def test_a_confirmed_schema_under_other_names_is_the_users_word(tmp_path: Path) -> None:
    row = {"q": "Q", "best": "x", "rejected": "y", "id": 7}
    report, (pair,) = importing(tmp_path, "trl", [row], columns={"prompt": "q", "chosen": "best"})
    assert (pair["id"], pair["chosen"][0]["content"]) == ("7", "x")
    assert pair["meta"]["schema"] == report.to_json()["schema"] == "unverified"
    report, (pair,) = importing(tmp_path, "trl", [{"prompt": "Q", "chosen": "x", "rejected": "y"}])
    assert "schema" not in pair["meta"]
    assert "schema" not in report.to_json()


@pytest.mark.parametrize(
    ("name", "columns", "lacking"),
    [
        ("code-preference-pairs", {}, "'input', 'accepted', 'rejected'"),
        ("code-preference-pairs", {**COLUMNS, "accepted": "goood"}, "'goood'"),
        ("trl", {"prompt": "task", "chosen": "best"}, "'best'"),
    ],
)
def test_the_first_row_is_checked(tmp_path: Path, name: str, columns: dict[str, str], lacking: str) -> None:
    with pytest.raises(InputError) as caught:
        importing(tmp_path, name, [CODE], columns=columns)
    assert caught.value.message == (
        f"the first row has no {lacking}, which {name!r} reads; it has 'task', 'good', 'bad'"
    )
    assert caught.value.place == "in.jsonl:1"
    assert "--columns FILE" in str(caught.value)
    assert not (tmp_path / "pairs.jsonl").exists()


def test_a_later_row_without_a_column_is_dropped_by_name(tmp_path: Path) -> None:
    later = {"task": "Q", "good": "x"}
    report, _ = importing(tmp_path, "code-preference-pairs", [CODE, later], columns=COLUMNS)
    assert (report.kept, report.dropped) == (1, {"missing_field": 1})


def test_an_option_that_reads_fewer_columns_asks_for_fewer(tmp_path: Path) -> None:
    row = {k: v for k, v in get("pku-saferlhf").example.items() if k != "safer_response_id"}
    report, _ = importing(tmp_path, "pku-saferlhf", [row], {"label": "better"})
    assert report.kept == 1
    with refused(InputError, "'safer_response_id'"):
        importing(tmp_path, "pku-saferlhf", [row])


def test_a_misspelt_field_gets_the_nearest_one() -> None:
    with refused(ConfigError, "'acepted'", "'accepted'"):
        get("code-preference-pairs").configured({}, {"acepted": "good"})
    with refused(ConfigError, "'zzzz'", "accepted"):
        get("code-preference-pairs").configured({}, {"zzzz": "good"})


@pytest.mark.parametrize("text", ["- input\n", "input: 3\n", "", "input: [a]\n"])
def test_a_file_of_columns_is_checked(tmp_path: Path, text: str) -> None:
    (tmp_path / "columns.yaml").write_text(text)
    with refused(ConfigError, "'field: column'"):
        run_import(
            [tmp_path],
            tmp_path / "p",
            source="trl",
            coerce_scalars=False,
            columns=tmp_path / "columns.yaml",
        )


# --- critiques ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "exchanged"),
    [
        ("@Response 2 is better than @Response 1.", "@Response 1 is better than @Response 2."),
        ("Response A cites, response B guesses.", "Response B cites, response A guesses."),
        ("Assistant A: ok. Response_1 too.", "Assistant B: ok. Response_2 too."),
        ("Response 12 and a response B2 stay, and 1 or so.",) * 2,
        ("A response a bit longer.",) * 2,
        ("It is clearer.",) * 2,
        ("The former is better than @Response 1.", None),
        ("The first response wins.", None),
        ("I like the second one.", None),
        ("Responses 1 and 2 are short; @Response 1 is shorter.", None),
        ("Response A is brief but B says more.", None),
        ("Response A is brief; A's tone is right.", None),
        ("Response A says less than A gives away.", None),
        ("B is better.", None),
        ("The first is better than Response B.", None),
        ("@Response 1 names vitamin B.", "@Response 2 names vitamin B."),
        ("Response 1 and Response 2 differ.", "Response 2 and Response 1 differ."),
        ("@Response 1 beats the other response.", "@Response 2 beats the other response."),
    ],
)
def test_names_in_critiques_are_exchanged(text: str, exchanged: str | None) -> None:
    assert exchange_names(text) == exchanged
    assert exchanged is None or exchange_names(exchanged) == text


@pytest.mark.parametrize("strength", [-2, 2])
def test_a_critique_follows_its_pair_whichever_side_won(tmp_path: Path, strength: int) -> None:
    row = {
        **get("helpsteer3-preference").example,
        "overall_preference": strength,
        "individual_preference": [{"score": strength, "reasoning": "@Response 1 names the number."}],
    }
    _, (pair,) = importing(tmp_path, "helpsteer3-preference", [row])
    named = 1 if strength < 0 else 2
    assert pair["critique"] == f"@Response {named} names the number."
    row["individual_preference"][0]["reasoning"] = "The former names the number."
    _, (pair,) = importing(tmp_path, "helpsteer3-preference", [row])
    if strength < 0:
        assert pair["critique"] == "The former names the number."
    else:
        assert pair["meta"]["critique_text_of_swapped"] == "The former names the number."
        assert "critique" not in pair


# --- commands ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_documented_commands_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    commands = [line.split() for line in page.splitlines() if line.startswith("reasrm data import --source ")]
    (columns,) = (block.split("```")[0] for block in page.split("```yaml\n")[1:])
    (tmp_path / "columns.yaml").write_text(columns)
    examples = {
        "testset-v1.json": get("pandalm").example,
        "skywork.jsonl": get("skywork-80k").example,
        "code.jsonl": {"task": "Write add.", "good_code": "a + b", "bad_code": "a - b"},
    }
    assert {part for command in commands for part in command} >= set(examples)
    for command in commands:
        name = command[command.index("--input") + 1]
        write(tmp_path / name, examples[name])
        words = [str(tmp_path / w) if w.endswith((".json", ".jsonl", ".yaml")) else w for w in command[1:]]
        result = run(*words)
        assert result.returncode == 0, result.stderr
        said = summary(result)
        assert said["kept"] == 1
        assert ("schema" in said) == ("--columns" in command)
        assert ("options" in said) == ("--option" in command)
    wrong = run("data", "import", "--source", "trl", "--option", "a=b", "--input", "x", "--output", "y")
    assert (wrong.returncode, summary(wrong)["exit_code"]) == (2, 2)


@pytest.mark.slow
def test_rm_r1_traces_are_replayed_as_judgments(tmp_path: Path) -> None:
    trace = "<type>Reasoning</type><solution>4</solution><eval>B is right.</eval><answer>[[B]]</answer>"
    path = write(tmp_path / "sft.jsonl", {**get("rm-r1-sets").example, "winner": trace})
    output = tmp_path / "judged.jsonl"
    result = run(
        "judge",
        "--judge",
        "replay",
        "--spec",
        "rm-r1",
        "--orders",
        "given",
        "--input",
        path,
        "--output",
        output,
    )
    assert result.returncode == 0, result.stderr
    (judged,) = rows_of(output)
    assert (judged["verdict"], judged["correct"], judged["judgments"][0]["text"]) == ("B", True, trace)
