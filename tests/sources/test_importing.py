"""The import: what is kept, what is dropped and why, and that the report adds up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem, InputError, RowError
from reasrm.records import CoreArgument, Criterion, Critique, Message, PreferencePair, Rubric
from reasrm.sources import SOURCES, get, read_file
from reasrm.sources.importing import ImportReport, import_pairs, pair_to_json
from tests.refusals import refused


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check_sums(report: ImportReport) -> None:
    for file in report.files:
        assert file.read == file.kept + file.dropped.total()
        assert file.read == file.rows or file.sources == ["rm-bench"]
        assert set(file.examples) == set(file.dropped)
    assert report.read == report.kept + sum(report.dropped.values())
    assert len(lines(report.output)) == report.kept
    assert len(lines(report.dropped_output)) == sum(report.dropped.values())


def test_the_winner_becomes_chosen_and_the_rest_is_dropped_by_name(tmp_path: Path) -> None:
    base = {"prompt": "Q", "response_a": "x", "response_b": "y"}
    path = write(
        tmp_path / "in.jsonl",
        {**base, "id": "a", "label": "A"},
        {**base, "id": "b", "label": "B"},
        {**base, "id": "t", "label": "tie"},
        {**base, "id": "n"},
        {**base, "id": "i", "response_b": "x", "label": "A"},
        {**base, "id": "e", "response_b": " \n", "label": "A"},
        {**base, "id": "w", "response_b": True, "label": "A"},
        {**base, "id": "l", "label": 7},
        {"id": "p", "prompt": "Q", "response": "x", "label": 3},
        {"id": "r", "prompt": "Q", "responses": ["x", "y"], "label": 0},
    )
    report = import_pairs([path], tmp_path / "pairs.jsonl")
    check_sums(report)
    assert [(row["id"], row["chosen"][0]["content"]) for row in lines(report.output)] == [
        ("a", "x"),
        ("b", "y"),
    ]
    reasons = [
        "tie",
        "no_label",
        "identical",
        "empty_response",
        "wrong_type",
        "bad_label",
        "pointwise",
        "listwise",
    ]
    assert [row["reason"] for row in lines(report.dropped_output)] == reasons
    assert [row["id"] for row in lines(report.dropped_output)] == list("tniewlpr")
    assert [row["line"] for row in lines(report.dropped_output)] == list(range(3, 11))
    assert (report.rows, report.read, report.kept, report.dropped) == (10, 10, 2, dict.fromkeys(reasons, 1))
    assert report.files[0].examples["tie"] == ["in.jsonl:3 (id t)"]
    assert report.dropped_output == tmp_path / "pairs.dropped.jsonl"
    assert json.loads(json.dumps(report.to_json()))["files"][0]["sources"] == ["rows"]


def test_what_mends_a_dropped_row_is_said_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"question": "Why?", "chosen": "x a", "rejected": "x b"})
    report = import_pairs([path], tmp_path / "pairs.jsonl")
    (line,) = lines(report.dropped_output)
    assert line["message"] == report.files[0].why["unread_text"]
    assert "; pass --columns prompt=question," in line["message"]


def test_a_pair_is_written_as_a_conversational_row_with_explicit_prompt(tmp_path: Path) -> None:
    row = {"id": 7, "chosen": "Say hi. Hello", "rejected": "Say hi. Bye", "meta": {"k": 1}, "subset": "s"}
    report = import_pairs([write(tmp_path / "in.jsonl", row)], tmp_path / "pairs.jsonl")
    assert lines(report.output) == [
        {
            "id": "7",
            "prompt": [{"role": "user", "content": "Say hi."}],
            "chosen": [{"role": "assistant", "content": " Hello"}],
            "rejected": [{"role": "assistant", "content": " Bye"}],
            "meta": {"k": 1, "source": "trl"},
            "subset": "s",
        }
    ]


def test_everything_a_pair_carries_comes_back() -> None:
    pair = PreferencePair(
        id="q",
        prompt=(Message("system", "s"), Message("user", "u")),
        chosen="x",
        rejected="y",
        rubric=Rubric(criteria=(Criterion("hard_rule", "One.", 2.0), Criterion("principle", "Two."))),
        principle="p",
        reference="r",
        critique=Critique(
            arguments=(CoreArgument("B", "against", "Wrong.", fatal=True),), text="A is right."
        ),
        subset="s",
        group="g",
        language="en",
        meta={"k": [1, None]},
    )
    row = json.loads(json.dumps(pair_to_json(pair)))
    assert get("trl").read(row, "p:1") == (pair,)


@pytest.mark.parametrize("label", ["A", "B"])
def test_a_critique_speaks_of_the_pair_that_is_written(tmp_path: Path, label: str) -> None:
    argument = {"about": "B", "stance": "for", "text": "Exact.", "fatal": False}
    row = {"prompt": "Q", "response_a": "x", "response_b": "y", "label": label}
    path = write(tmp_path / "in.jsonl", {**row, "critique": {"arguments": [argument], "text": "B is exact."}})
    (pair,) = lines(import_pairs([path], tmp_path / "pairs.jsonl").output)
    if label == "A":
        assert pair["critique"] == {"arguments": [argument], "text": "B is exact."}
        assert pair["meta"] == {"source": "rows"}
    else:
        assert pair["critique"] == {"arguments": [{**argument, "about": "A"}]}
        assert pair["meta"]["critique_text_of_swapped"] == "B is exact."


def test_equal_rows_without_ids_are_numbered_and_order_does_not_matter(tmp_path: Path) -> None:
    row = {"prompt": "Q", "chosen": "x", "rejected": "y"}
    other = {"prompt": "P", "chosen": "x", "rejected": "y"}
    ids = []
    for n, rows in enumerate([(row, other, row, row), (other, row, row, row)]):
        path = write(tmp_path / f"in{n}.jsonl", *rows)
        report = import_pairs([path], tmp_path / f"pairs{n}.jsonl")
        ids.append([pair["id"] for pair in lines(report.output)])
    first, alone = ids[0][0], ids[0][1]
    assert ids[0] == [first, alone, f"{first}#1", f"{first}#2"]
    assert ids[1] == [alone, first, f"{first}#1", f"{first}#2"]


def test_repeated_ids_are_refused_with_both_places_and_nothing_is_written(tmp_path: Path) -> None:
    row = {"id": "q", "prompt": "Q", "chosen": "x", "rejected": "y"}
    path = write(tmp_path / "in.jsonl", row, {**row, "id": "p"}, row)
    with refused(InputError, "'q'", "in.jsonl:1", "in.jsonl:3"):
        import_pairs([path], tmp_path / "pairs.jsonl")
    with refused(InputError, "4 rows"):
        import_pairs([path, path], tmp_path / "pairs.jsonl", source="trl")
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_a_failed_import_leaves_the_old_output(tmp_path: Path) -> None:
    output = tmp_path / "pairs.jsonl"
    output.write_text("old\n")
    unknown = write(tmp_path / "in.jsonl", {"a": 1})
    with pytest.raises(InputError, match="no source recognises"):
        import_pairs([unknown], output)
    with pytest.raises(InputError, match="cannot be read"):
        import_pairs([tmp_path / "absent.jsonl"], output)
    assert output.read_text() == "old\n"
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "pairs.jsonl"]


def test_usage_errors_are_told_before_anything_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"prompt": "Q", "chosen": "x", "rejected": "y"})
    (tmp_path / "link.jsonl").symlink_to(path)
    for output in (path, tmp_path / "link.jsonl"):
        with pytest.raises(ConfigError, match="is also an input"):
            import_pairs([path], output)
    with refused(ConfigError, "'trl'"):
        import_pairs([path], tmp_path / "pairs.jsonl", source="trll")
    with pytest.raises(ConfigError, match="no input file"):
        import_pairs([], tmp_path / "pairs.jsonl")
    with pytest.raises(EnvironmentProblem, match="the folder cannot be made"):
        import_pairs([path], path / "pairs.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "link.jsonl"]


REAL = {
    "judgebench/gpt-4o-2024-05-13.jsonl": (350, {}),
    "judgebench/judgments_gpt-4o_arena-hard_o1-mini.jsonl": (350, {}),
    "judgebench/judgments_gpt-4o_rm_internlm2-7b.jsonl": (350, {}),
    "llmbar/natural.json": (100, {}),
    "llmbar/adv_neighbor.json": (134, {}),
    "llmbar/judge_natural_chatgpt_swapcot.result.json": (100, {}),
    "llmbar/judge_natural_chatgpt_vanilla.result.json": (100, {}),
    "pandalm/testset-v1.json": (836, {"tie": 105, "empty_response": 52, "wrong_type": 6}),
    "prometheus/hhh_alignment_eval.json": (221, {}),
    "prometheus/mt_bench_eval.json": (0, {"pointwise": 320}),
    "rm-bench/chat_filtered.json": (9 * 129, {}),
    "rm-bench/safety-refuse_filtered.json": (9 * 284, {}),
    "hh-rlhf/harmless-base_test.jsonl.gz": (2303, {"empty_response": 4, "prompt_mismatch": 5}),
    "rm-r1-results/RM-R1-Qwen2.5-Instruct-32B/RMB_BoN_set_Harmlessness_log_result_raw_logs.json": (2, {}),
    "rm-r1-results/RM-R1-Qwen2.5-Instruct-32B/RMB_BoN_set_Helpfulness_log_result_raw_logs.json": (2, {}),
    "rm-r1-results/RM-R1-Qwen2.5-Instruct-32B/RMB_Pairwise_set_Harmlessness_log_result_logs.json": (2, {}),
    "rm-r1-results/RM-R1-Qwen2.5-Instruct-32B/RMB_Pairwise_set_Helpfulness_log_result_logs.json": (2, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_files_add_up_and_their_import_imports_to_itself(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    kept, dropped = REAL[name]
    report = import_pairs([real_data / name], tmp_path / "pairs.jsonl")
    check_sums(report)
    assert (report.kept, report.dropped) == (kept, dropped)
    if kept:
        again = import_pairs([report.output], tmp_path / "again.jsonl")
        check_sums(again)
        assert again.files[0].sources == ["trl"]
        assert again.output.read_bytes() == report.output.read_bytes()


@pytest.mark.slow
def test_real_drops_are_named(real_data: Path, tmp_path: Path) -> None:
    paths = [real_data / "pandalm/testset-v1.json", real_data / "hh-rlhf/harmless-base_test.jsonl.gz"]
    report = import_pairs(paths, tmp_path / "pairs.jsonl")
    pandalm, hh = report.files
    assert [place.split("id ")[1] for place in pandalm.examples["wrong_type"]] == [
        f"{number})" for number in (157, 158, 159, 161, 162, 164)
    ]
    assert len(pandalm.examples["tie"]) == 10
    dropped = lines(report.dropped_output)
    assert [row["line"] for row in dropped if row["reason"] == "prompt_mismatch"] == [
        1255,
        1689,
        1951,
        1953,
        2037,
    ]
    empty = [
        row["line"] for row in dropped if row["reason"] == "empty_response" and "hh-rlhf" not in row["place"]
    ]
    assert empty[-4:] == [87, 517, 926, 1104]
    assert hh.dropped == {"empty_response": 4, "prompt_mismatch": 5}
    coerced = import_pairs(paths[:1], tmp_path / "coerced.jsonl", coerce_scalars=True)
    # All six booleans have a majority and a second response.
    assert (coerced.kept, coerced.dropped) == (842, {"tie": 105, "empty_response": 52})


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_every_example_goes_through_the_import(tmp_path: Path, source: Any) -> None:
    path = write(tmp_path / "in.jsonl", source.example)
    report = import_pairs([path], tmp_path / "pairs.jsonl")
    check_sums(report)
    assert report.files[0].sources == [source.name]
    scored = ("prometheus-absolute", "helpsteer2-ratings", "feedback-collection", "beavertails")
    no_pairs = {**dict.fromkeys(scored, "pointwise"), "alpaca-eval": "no_label", "rmb-bon": "listwise"}
    reason = no_pairs.get(source.name)
    assert report.kept == {"rm-bench": 9}.get(source.name, 0 if reason else 1)
    assert report.dropped == ({reason: 1} if reason else {})
    again = list(read_file(report.output))
    assert [(item.source, item.error) for item in again] == [("trl", None)] * report.kept


def test_row_errors_carry_the_code_that_the_report_counts() -> None:
    with pytest.raises(RowError) as caught:
        get("llmbar").read({"input": "x", "output_1": "a", "output_2": None, "label": 1}, "p:1")
    assert caught.value.code == "wrong_type"


def test_the_folder_of_the_output_is_made(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", {"prompt": "Q", "response_a": "x", "response_b": "y", "label": "A"})
    assert import_pairs([path], tmp_path / "a" / "b" / "pairs.jsonl").kept == 1
