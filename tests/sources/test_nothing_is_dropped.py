"""What a row says is read or refused by name: questions in other columns, system turns, tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import RowError
from reasrm.records import Comparison, Message, PreferencePair
from reasrm.sources import SourceRow, detect, get, read_file
from reasrm.tables import given_columns

CHAT = [{"role": "user", "content": "Greet the team."}]


def read(tmp_path: Path, row: dict[str, Any], columns: str | None = None) -> SourceRow:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (item,) = read_file(path, columns=given_columns(columns))
    return item


@pytest.mark.parametrize(
    ("other", "column", "prompt"),
    [
        ({"question": "Why?"}, "question", "Why?"),
        ({"instruction": "Why is it so?"}, "instruction", "Why is it so?"),
        ({"input": "Why?"}, "input", "Why?"),
        ({"query": "Why?"}, "query", "Why?"),
        ({"problem": "Why?"}, "problem", "Why?"),
        ({"messages": CHAT}, "messages", "Greet the team."),
        (
            {"conversations": [{"from": "human", "value": "Greet the team."}]},
            "conversations",
            "Greet the team.",
        ),
        ({"question": "Why?", "system": "Be very brief, please."}, "question", "Why?"),
        ({"what_was_asked": "Why is the sky blue?"}, "what_was_asked", "Why is the sky blue?"),
        (
            {"source": "hh", "instruction": "Sum up.", "input": "A text."},
            "instruction+input",
            "Sum up.\n\nA text.",
        ),
    ],
)
def test_a_question_in_another_column_is_refused_with_the_line_that_mends_it(
    tmp_path: Path, other: dict[str, Any], column: str, prompt: str
) -> None:
    row = {**other, "chosen": "Guten Morgen, Leute", "rejected": "Guten Abend, Leute"}
    item = read(tmp_path, row)
    assert item.error is not None
    assert item.error.code == "unread_text"
    assert repr(column.split("+")[0]) in item.error.message
    assert f"--columns prompt={column}," in str(item.error)
    mended = read(tmp_path, row, f"prompt={column}").rows[0]
    assert isinstance(mended, PreferencePair)
    assert (mended.prompt[-1], mended.chosen) == (Message("user", prompt), "Guten Morgen, Leute")
    if "system" in other:
        assert mended.prompt[0] == Message("system", "Be very brief, please.")


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"id": "q1", "source": "some data set of ours"},
        {"category": "small talk", "score": 3, "tags": ["a", "b"]},
        {"question": "", "system": None, "messages": []},
        {"input": "Guten"},  # said already
    ],
)
def test_an_implicit_prompt_needs_the_sides_to_be_the_only_texts(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    item = read(tmp_path, {**other, "chosen": "Guten Morgen, Leute", "rejected": "Guten Abend, Leute"})
    assert item.error is None
    assert item.rows[0].prompt == (Message("user", "Guten"),)


def test_a_system_turn_beside_plain_strings_is_refused(tmp_path: Path) -> None:
    row = {"system": "Brief!", "chosen": "Guten Morgen, Leute", "rejected": "Guten Abend, Leute"}
    item = read(tmp_path, row)
    assert item.error is not None
    assert ("'system'" in item.error.message, "--columns system= if" in str(item.error)) == (True, True)
    assert read(tmp_path, row, "system=").error is None


def test_sides_that_are_json_share_no_prompt(tmp_path: Path) -> None:
    item = read(
        tmp_path,
        {"chosen": '{"task": "Name a prime.", "a": 7}', "rejected": '{"task": "Name a prime.", "a": 8}'},
    )
    assert item.error is not None
    assert item.error.code == "no_prompt"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "x", "rejected": "y"},
        {"prompt": "Q", "response_a": "x", "response_b": "y"},
        {"prompt": "Q", "responses": ["x", "y"]},
        {"prompt": "Q", "response": "x"},
        {
            "chosen": [*CHAT, {"role": "assistant", "content": "x"}],
            "rejected": [*CHAT, {"role": "assistant", "content": "y"}],
        },
    ],
)
def test_system_and_tools_go_in_front_of_the_prompt(tmp_path: Path, row: dict[str, Any]) -> None:
    tool = {"name": "weather"}
    for key in ("system", "system_prompt"):
        prompt = read(tmp_path, {**row, key: "Answer in rhymes.", "tools": [tool]}).rows[0].prompt
        assert prompt[:2] == (
            Message("system", "Answer in rhymes."),
            Message("system", '[tools]\n{"name":"weather"}'),
        )
        assert prompt[2].role == "user"
    assert read(tmp_path, {**row, "system": " "}).rows[0].prompt[0].role == "user"
    lost = read(tmp_path, {**row, "history": [["Hello", "Hi"]]})
    assert lost.error is not None
    assert (lost.error.code, "--columns history=" in str(lost.error)) == ("unread_text", True)
    assert read(tmp_path, {**row, "history": [["Hello", "Hi"]]}, "history=").error is None


def test_a_system_turn_changes_the_id_and_stands_once(tmp_path: Path) -> None:
    row = {"prompt": "Q", "response_a": "x", "response_b": "y"}
    ids = {read(tmp_path, {**row, "system": text}).rows[0].id for text in ("", "a", "b")}
    assert len(ids) == 3
    turns = [{"role": "system", "content": "a"}, *CHAT]
    assert len(read(tmp_path, {**row, "prompt": turns, "system": "a"}).rows[0].prompt) == 2


def test_a_source_that_reads_no_system_refuses_it(tmp_path: Path) -> None:
    row = {**get("judgebench").example, "system": "Answer in rhymes."}
    item = read(tmp_path, row)
    assert item.error is not None
    assert (item.error.code, "--columns system=" in str(item.error)) == ("unread_text", True)
    assert read(tmp_path, row, "system=").error is None


# --- tools -------------------------------------------------------------------------------------------------


CALL = {"type": "function", "id": "c1", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
AGENT = [
    {"role": "assistant", "content": "I'll look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": '{"celsius": 4}'},
    {"role": "assistant", "content": "Four degrees."},
]
SAID = 'I\'ll look.\n\n[tool call] weather {"city":"Oslo"}\n\n[tool result: weather]\n{"celsius": 4}\n\nFour degrees.'


def test_calls_and_results_are_text_in_prompts_and_responses(tmp_path: Path) -> None:
    row = {"prompt": [*CHAT, *AGENT, *CHAT], "response_a": AGENT, "response_b": "Cold."}
    (found,) = read(tmp_path, row).rows
    assert isinstance(found, Comparison)
    assert found.response_a == SAID
    assert [turn.role for turn in found.prompt] == ["user", "assistant", "tool", "assistant", "user"]
    assert found.prompt[1].content == 'I\'ll look.\n\n[tool call] weather {"city":"Oslo"}'
    implicit = {"chosen": [*CHAT, *AGENT], "rejected": [*CHAT, {"role": "assistant", "content": "Cold."}]}
    (pair,) = read(tmp_path, implicit).rows
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen, pair.rejected, pair.prompt) == (SAID, "Cold.", (Message("user", "Greet the team."),))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
            '[tool call] weather {"city":"Oslo"}\n' * 2,
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": {"x": 1}}},
            '[tool call] f {"x":1}',
        ),
        ({"role": "tool_call", "content": "{'name': 'f', 'arguments': '{}'}"}, "[tool call] f {}"),
        ({"role": "tool_call", "content": "look it up"}, "[tool call] look it up"),
        ({"role": "function", "name": "f", "content": "4"}, "[tool result: f]\n4"),
        ({"role": "ipython", "content": "4"}, "[tool result]\n4"),
    ],
)
def test_one_form_for_every_way_to_write_tools(tmp_path: Path, message: dict[str, Any], said: str) -> None:
    row = {"prompt": [*CHAT, message], "response_a": "x", "response_b": "y"}
    assert read(tmp_path, row).rows[0].prompt[-1].content == said.rstrip("\n")


@pytest.mark.parametrize("tools", ["[]", "", " ", "null", "{}", [], [None], {}, None])
def test_no_tools_are_no_turn_however_they_are_written(tmp_path: Path, tools: Any) -> None:
    row = {"prompt": "Q", "chosen": "x", "rejected": "y", "tools": tools}
    assert read(tmp_path, row).rows[0].prompt == (Message("user", "Q"),)


def test_a_call_of_nothing_is_refused() -> None:
    row = {"prompt": [{"role": "assistant", "content": "", "tool_calls": [{"id": "x"}]}], "response": "x"}
    with pytest.raises(RowError, match="names no tool"):
        detect(row).read(row, "p")


# --- sources -----------------------------------------------------------------------------------------------


def test_an_agents_trajectories_are_pairs() -> None:
    source = get("plan-rewardbench")
    (pair,) = source.read(source.example, "p")
    assert isinstance(pair, PreferencePair)
    assert pair.group == "u-1"
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    assert (
        pair.chosen
        == '[tool call] weather {"city":"Oslo"}\n\n[tool result: weather]\n{"celsius": 4}\n\nFour degrees.'
    )
    assert (pair.rejected, pair.subset) == ("Probably cold.", "planning_single_easy")


def test_votes_of_the_arena_in_three_columns() -> None:
    source = get("arena-55k")
    row = source.example
    for flag, winner in (("winner_model_a", "A"), ("winner_model_b", "B"), ("winner_tie", "tie")):
        votes = {f"winner_{name}": int(f"winner_{name}" == flag) for name in ("model_a", "model_b", "tie")}
        (found,) = source.read({**row, **votes}, "p")
        assert isinstance(found, Comparison)
        assert found.target is not None
        assert (found.target.winner, found.response_b, found.id) == (winner, "Hello!", "30192")
    for wrong in ({"winner_tie": 1}, {"winner_model_b": 0}):
        with pytest.raises(RowError, match="one of three columns is 1"):
            source.read({**row, **wrong}, "p")
    long = {**row, "prompt": '["Hi", "And?"]', "response_a": '["a", "b"]', "response_b": '["c", null]'}
    with pytest.raises(RowError, match="differ before their last reply"):
        source.read(long, "p")
    (found,) = source.configured({"multi_turn": "transcript"}, {}).read(long, "p")
    assert isinstance(found, Comparison)
    assert found.response_a == "Assistant: a\n\nUser: And?\n\nAssistant: b"


def test_rmb_pairs_and_lists() -> None:
    (pair,) = get("rmb").read(get("rmb").example, "p")
    assert isinstance(pair, PreferencePair)
    assert (pair.id, pair.chosen, pair.rejected) == ("9118", "Sleep.", "No.")
    assert (pair.subset, pair.meta) == (
        "Pairwise_set/Helpfulness/Chat/Discussion",
        {"chosen_model": "model-a", "rejected_model": "model-b"},
    )
    (listed,) = get("rmb-bon").read(get("rmb-bon").example, "p")
    assert (listed.id, listed.responses, listed.label) == ("1941", ("Sleep.", "No.", "?"), 0)  # type: ignore[attr-defined]
