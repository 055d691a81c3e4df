"""From judged rows to SFT rows: everything is kept or rejected by name, and prompts are the teacher's, span by span."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasrm.distillation.rejection import KeptTraces, keep_by_label
from reasrm.durable import read_records
from reasrm.errors import ConfigError, EnvironmentProblem, InputError
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.sft_rows import SFTRow, read_sft_row
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.records import Comparison
from reasrm.requests import PromptMessage
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.world.critiques import core_arguments, read_clauses
from tests.fakes import FakeBackend
from tests.sandbox.shared import PERFECT, SPEC, encoders, judged, pairs, write_pairs

NOISY = TeacherConfig(error_rate=0.5, follow_shortcut=0.5, malformed_rate=0.2)
ROWS = {row.id: row for row in pairs()[::8]}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sft_rows(path: Path) -> list[SFTRow]:
    return [read_sft_row(line, f"{path.name}:{n}") for n, line in enumerate(lines(path), 1)]


def judgments(judged_rows: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for record in read_records(judged_rows):
        for judgment in record["judgments"]:
            yield f"{record['id']}|{judgment['order']}|{judgment['vote']}", judgment


def keep(folder: Path, spec: JudgeSpec = SPEC, **options: Any) -> tuple[Path, KeptTraces]:
    """Let a noisy teacher judge the sandbox's rows, and keep what has the right verdict."""
    file = judged(folder, ROWS.values(), NOISY, spec, **options)
    return file, keep_by_label(spec, file, given(folder), folder / "sft.jsonl")


def given(folder: Path) -> JudgeInput:
    """The rows that the teacher judged."""
    return JudgeInput([folder / "pairs.jsonl"])


def seal(path: Path, records: list[dict[str, Any]]) -> Path:
    from reasrm.durable.log import seal as sealed

    path.write_bytes(b"".join(map(sealed, records)))
    return path


# --- what is kept


def test_every_trace_is_kept_or_rejected_by_name(tmp_path: Path) -> None:
    file, result = keep(tmp_path)
    expected: Counter[str] = Counter()
    for _, judgment in judgments(file):
        status, verdict = judgment["status"], judgment["verdict"]
        expected["kept" if verdict == "A" else status if status != "ok" else "wrong_verdict"] += 1
    assert set(expected) == {"kept", "wrong_verdict", "no_verdict", "ambiguous"}
    assert result.kept == expected.pop("kept") == len(lines(result.output))
    assert result.reasons == expected
    assert (result.output, result.rejected) == (tmp_path / "sft.jsonl", tmp_path / "sft.jsonl.rejected.jsonl")
    rejected = lines(result.rejected)
    assert Counter(line["reason"] for line in rejected) == expected
    names = [line["id"] for line in (*lines(result.output), *rejected)]
    assert sorted(names) == sorted(name for name, _ in judgments(file))
    assert len(set(names)) == len(names) == 2 * len(ROWS)


def test_a_kept_trace_has_the_labels_verdict_whatever_its_critique(tmp_path: Path) -> None:
    """The noise that RM-NLHF is about stays in: the verdict is all that is looked at."""
    file, result = keep(tmp_path)
    said = dict(judgments(file))
    wrong = 0
    for row in sft_rows(result.output):
        pair = ROWS[row.meta["pair"]]
        shown = pair.compare() if row.meta["order"] == "AB" else pair.compare().swap()
        assert row.completion == said[row.id]["text"]
        assert row.completion.endswith(f"<answer>[[{row.meta['label']}]]</answer>")
        assert shown.target is not None
        assert row.meta["label"] == shown.target.winner
        assert shown.critique is not None
        wrong += core_arguments(read_clauses(row.completion)) != shown.critique.arguments
    assert 0 < wrong < result.kept / 2
    assert {row.meta["label"] for row in sft_rows(result.output)} == {"A", "B"}


def test_meta_says_where_a_trace_comes_from(tmp_path: Path) -> None:
    _, result = keep(tmp_path)
    row = sft_rows(result.output)[0]
    assert row.meta == {
        "subset": ROWS[row.meta["pair"]].subset,
        "pair": row.meta["pair"],
        "order": row.meta["order"],
        "label": row.meta["label"],
        "teacher": "scripted-teacher",
        "spec": "sandbox",
        "spec_hash": SPEC.hash,
    }
    assert row.id == f"{row.meta['pair']}|{row.meta['order']}|0"


@pytest.mark.parametrize("name", ["sandbox", "rm-nlhf", "rm-r1"])
def test_prompts_are_those_of_judging_span_by_span(tmp_path: Path, name: str) -> None:
    spec = load_spec(name)
    options = JudgingOptions(votes=2)
    _, result = keep(tmp_path, spec=spec, options=options)
    asked: dict[str, tuple[PromptMessage, ...]] = {}
    for row in ROWS.values():
        for ask in plan_row(spec, row, options):
            asked[f"{row.id}|{ask.order}|{ask.vote}"] = ask.request.messages
    kept = sft_rows(result.output)
    assert {row.id.rsplit("|", 1)[1] for row in kept} == {"0", "1"}
    prompts, _ = encoders()
    rejected = [
        read_sft_row({k: v for k, v in line.items() if k != "reason"}, "r") for line in lines(result.rejected)
    ]
    for row in (*kept, *rejected):
        assert row.messages == asked[row.id]
    for row in kept[::20]:
        assert prompts.encode(row.messages).ids == prompts.encode(asked[row.id]).ids


def test_one_drawn_order_is_enough(tmp_path: Path) -> None:
    _, result = keep(tmp_path, options=JudgingOptions(orders="random", seed=4))
    names = {line["id"] for path in (result.output, result.rejected) for line in lines(path)}
    assert names == {f"{row.id}|{row.present(4).order}|0" for row in ROWS.values()}


def test_a_perfect_teacher_loses_nothing(tmp_path: Path) -> None:
    file = judged(tmp_path, ROWS.values(), PERFECT)
    result = keep_by_label(SPEC, file, given(tmp_path), tmp_path / "sft.jsonl")
    assert (result.kept, result.reasons) == (2 * len(ROWS), Counter())
    assert result.rejected.read_bytes() == b""


def test_the_files_depend_on_no_order_of_arrival(tmp_path: Path) -> None:
    file, result = keep(tmp_path)
    before = (result.output.read_bytes(), result.rejected.read_bytes())
    records = list(read_records(file))
    random.Random(0).shuffle(records)
    shuffled = seal(tmp_path / "shuffled.jsonl", records)
    backwards = JudgeInput([write_pairs(tmp_path / "backwards.jsonl", reversed(ROWS.values()))])
    again = keep_by_label(SPEC, shuffled, backwards, tmp_path / "again.jsonl")
    assert (again.output.read_bytes(), again.rejected.read_bytes()) == before


# --- other rows


def test_labelled_comparisons_are_distilled_in_their_own_order(tmp_path: Path) -> None:
    def line(n: int, label: str | None) -> dict[str, Any]:
        row = pairs()[n]
        a, b = (row.rejected, row.chosen) if label == "B" else (row.chosen, row.rejected)
        labelled = {} if label is None else {"label": label}
        return {"id": f"q{n}", "prompt": row.prompt[0].content, "response_a": a, "response_b": b, **labelled}

    source = tmp_path / "rows.jsonl"
    given = [line(0, "A"), line(1, "B"), line(2, None), line(3, "tie")]
    source.write_text("".join(json.dumps(row) + "\n" for row in given))
    teacher = Judge(spec=SPEC, backend=ScriptedTeacher(SPEC, PERFECT))
    judge_file(teacher, JudgeInput([source]), tmp_path / "judged.jsonl", JudgingOptions(orders="given"))
    rows = JudgeInput([source])
    assert all(isinstance(item.row, Comparison) for item in rows)
    result = keep_by_label(SPEC, tmp_path / "judged.jsonl", rows, tmp_path / "sft.jsonl")
    assert [(row.id, row.meta["label"]) for row in sft_rows(result.output)] == [
        ("q0|AB|0", "A"),
        ("q1|AB|0", "B"),
    ]
    assert all("subset" not in row.meta for row in sft_rows(result.output))
    assert result.reasons == {"no_label": 1, "wrong_verdict": 1}
    reasons = {line["id"]: (line["reason"], line["meta"]["label"]) for line in lines(result.rejected)}
    assert reasons == {"q2|AB|0": ("no_label", None), "q3|AB|0": ("wrong_verdict", "tie")}


def test_thinking_apart_from_the_text_is_left_out_or_put_before_it(tmp_path: Path) -> None:
    row = pairs()[0]
    file = judged(tmp_path, [row], PERFECT, options=JudgingOptions(orders="random"))
    (record,) = read_records(file)
    (judgment,) = record["judgments"]
    judgment["reasoning"] = " first this\nthen that [[B]] "
    seal(file, [record])
    left = keep_by_label(SPEC, file, given(tmp_path), tmp_path / "left.jsonl")
    assert sft_rows(left.output)[0].completion == judgment["text"]
    put = keep_by_label(SPEC, file, given(tmp_path), tmp_path / "put.jsonl", thinking="prepend")
    (kept,) = sft_rows(put.output)
    assert kept.completion == f"<think>\nfirst this\nthen that [[B]]\n</think>\n\n{judgment['text']}"
    assert SPEC.grammar.thinking_end[0] == "</think>"
    silent = SPEC.model_copy(update={"template_options": {"enable_thinking": False}})
    with pytest.raises(ConfigError, match="turns thinking off"):
        keep_by_label(silent, file, given(tmp_path), tmp_path / "no.jsonl", thinking="prepend")


def test_thinking_that_hides_the_verdict_from_the_student_is_rejected(tmp_path: Path) -> None:
    """`<thinking>` opens thinking for the parser, and nothing closes it behind the answer."""
    file = judged(tmp_path, [pairs()[0]], PERFECT, options=JudgingOptions(orders="random"))
    (record,) = read_records(file)
    text = record["judgments"][0]["text"]
    record["judgments"][0] |= {"text": f"<thinking>{text}", "reasoning": "hm"}
    seal(file, [record])
    for thinking in ("leave_out", "prepend"):
        result = keep_by_label(SPEC, file, given(tmp_path), tmp_path / "sft.jsonl", thinking=thinking)
        assert (result.kept, result.reasons) == (0, {"no_verdict": 1})


# --- what is refused


def refused(folder: Path, message: str, file: Path, rows: Path, spec: JudgeSpec = SPEC) -> None:
    """Refused with this message, and what was there before stays."""
    output = folder / "sft.jsonl"
    output.write_text("earlier")
    with pytest.raises(InputError, match=message):
        keep_by_label(spec, file, JudgeInput([rows]), output)
    assert output.read_text() == "earlier"
    assert not list(folder.glob("*rejected*"))
    assert not list(folder.glob("*.tmp-*"))


THREE = list(ROWS.values())[:3]


def test_another_spec(tmp_path: Path) -> None:
    file = judged(tmp_path, THREE, PERFECT)
    refused(
        tmp_path,
        rf"judged.jsonl: row 'train-0': was judged under the spec 'sandbox' \({SPEC.hash}\), not 'rm-r1'.*; name the",
        file,
        tmp_path / "pairs.jsonl",
        load_spec("rm-r1"),
    )
    changed = SPEC.model_copy(update={"sampling": SPEC.sampling.model_copy(update={"max_tokens": 7})})
    refused(tmp_path, "was judged under the spec 'sandbox'", file, tmp_path / "pairs.jsonl", changed)


def test_a_row_that_was_not_given(tmp_path: Path) -> None:
    file = judged(tmp_path, THREE, PERFECT)
    rows = write_pairs(tmp_path / "fewer.jsonl", [row for row in THREE if row.id != "train-8"])
    message = r"judged.jsonl: row 'train-8': is none of the rows given; give the file that was"
    refused(tmp_path, message, file, rows)


def test_a_row_that_has_changed_since(tmp_path: Path) -> None:
    """The same id is not enough: the label may be another now."""
    file = judged(tmp_path, THREE, PERFECT)
    swapped = replace(THREE[1], chosen=THREE[1].rejected, rejected=THREE[1].chosen)
    rows = write_pairs(tmp_path / "changed.jsonl", [THREE[0], swapped, THREE[2]])
    message = r"judged.jsonl: row 'train-8': was judged when changed.jsonl:2 was another row; give the file"
    refused(tmp_path, message, file, rows)


def test_a_row_that_is_no_pair(tmp_path: Path) -> None:
    spec = load_spec("principle-list")
    source = tmp_path / "rows.jsonl"
    source.write_text(
        json.dumps({"id": "q", "prompt": "?", "responses": ["x", "y", "z"], "principle": "p"}) + "\n"
    )
    judge = Judge(spec=spec, backend=FakeBackend())
    judge_file(judge, JudgeInput([source]), tmp_path / "judged.jsonl")
    message = "row 'q': is not a pair; distil from preference pairs"
    refused(tmp_path, message, tmp_path / "judged.jsonl", source, spec)


def test_a_damaged_file(tmp_path: Path) -> None:
    file = judged(tmp_path, THREE, PERFECT)
    file.write_bytes(file.read_bytes().replace(b'"verdict":"A"', b'"verdict":"B"', 1))
    message = r"judged.jsonl:\d: the record is damaged or was edited"
    refused(tmp_path, message, file, tmp_path / "pairs.jsonl")


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    file = judged(tmp_path, THREE, PERFECT)
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        keep_by_label(SPEC, file, given(tmp_path), tmp_path / "nowhere" / "sft.jsonl")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    rows = write_pairs(tmp_path / "pairs.jsonl", THREE)
    message = r"none.jsonl: cannot be read: No such file.*; let the teacher"
    refused(tmp_path, message, tmp_path / "none.jsonl", rows)
