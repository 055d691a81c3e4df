"""From judged rows to SFT rows: everything is kept or rejected by name, and prompts are the teacher's, span by span."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reasrm.distillation.rejection import KeptTraces, keep_by_label
from reasrm.durable import read_records
from reasrm.errors import EnvironmentProblem, InputError
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.sft_rows import SFTRow, read_sft_row
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.records import CandidateSet, Comparison, Message, PreferencePair, Row
from reasrm.requests import PromptMessage
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.world.critiques import core_arguments, read_clauses
from tests.fakes import FakeBackend
from tests.sandbox.shared import PERFECT, SPEC, encoders, judged, pairs

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


def keep(
    folder: Path, rows: Mapping[str, Row] = ROWS, spec: JudgeSpec = SPEC, **options: Any
) -> tuple[Path, KeptTraces]:
    """Let a noisy teacher judge the sandbox's rows, and keep what has the right verdict."""
    file = judged(
        folder, [row for row in rows.values() if isinstance(row, PreferencePair)], NOISY, spec, **options
    )
    return file, keep_by_label(spec, file, rows, folder / "sft.jsonl")


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
    result = keep_by_label(SPEC, judged(tmp_path, ROWS.values(), PERFECT), ROWS, tmp_path / "sft.jsonl")
    assert (result.kept, result.reasons) == (2 * len(ROWS), Counter())
    assert result.rejected.read_bytes() == b""


def test_the_files_depend_on_no_order_of_arrival(tmp_path: Path) -> None:
    file, result = keep(tmp_path)
    before = (result.output.read_bytes(), result.rejected.read_bytes())
    records = list(read_records(file))
    random.Random(0).shuffle(records)
    shuffled = seal(tmp_path / "shuffled.jsonl", records)
    again = keep_by_label(SPEC, shuffled, dict(reversed(ROWS.items())), tmp_path / "again.jsonl")
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
    rows = {item.id: item.row for item in JudgeInput([source]) if item.row is not None}
    assert all(isinstance(row, Comparison) for row in rows.values())
    result = keep_by_label(SPEC, tmp_path / "judged.jsonl", rows, tmp_path / "sft.jsonl")
    assert [(row.id, row.meta["label"]) for row in sft_rows(result.output)] == [
        ("q0|AB|0", "A"),
        ("q1|AB|0", "B"),
    ]
    assert all("subset" not in row.meta for row in sft_rows(result.output))
    assert result.reasons == {"no_label": 1, "wrong_verdict": 1}
    reasons = {line["id"]: (line["reason"], line["meta"]["label"]) for line in lines(result.rejected)}
    assert reasons == {"q2|AB|0": ("no_label", None), "q3|AB|0": ("wrong_verdict", "tie")}


# --- what is refused


def refused(folder: Path, message: str, file: Path, rows: Mapping[str, Row], spec: JudgeSpec = SPEC) -> None:
    """Refused with this message, and what was there before stays."""
    output = folder / "sft.jsonl"
    output.write_text("earlier")
    with pytest.raises(InputError, match=message):
        keep_by_label(spec, file, rows, output)
    assert output.read_text() == "earlier"
    assert not list(folder.glob("*rejected*"))
    assert not list(folder.glob("*.tmp-*"))


def test_another_spec(tmp_path: Path) -> None:
    file = judged(tmp_path, list(ROWS.values())[:3], PERFECT)
    refused(
        tmp_path,
        rf"judged.jsonl: row 'train-0': was judged under the spec 'sandbox' \({SPEC.hash}\), not 'rm-r1'.*; name the",
        file,
        ROWS,
        load_spec("rm-r1"),
    )
    changed = SPEC.model_copy(update={"sampling": SPEC.sampling.model_copy(update={"max_tokens": 7})})
    refused(tmp_path, "was judged under the spec 'sandbox'", file, ROWS, changed)


def test_a_row_that_was_not_given(tmp_path: Path) -> None:
    file = judged(tmp_path, list(ROWS.values())[:3], PERFECT)
    rows = {name: row for name, row in ROWS.items() if name != "train-8"}
    refused(
        tmp_path,
        r"judged.jsonl: row 'train-8': is none of the rows given; give the file that was",
        file,
        rows,
    )


def test_a_row_that_is_no_pair(tmp_path: Path) -> None:
    spec = load_spec("principle-list")
    row = CandidateSet(id="q", prompt=(Message("user", "?"),), responses=("x", "y", "z"), principle="p")
    source = tmp_path / "rows.jsonl"
    source.write_text(
        json.dumps({"id": "q", "prompt": "?", "responses": ["x", "y", "z"], "principle": "p"}) + "\n"
    )
    judge = Judge(spec=spec, backend=FakeBackend())
    judge_file(judge, JudgeInput([source]), tmp_path / "judged.jsonl")
    refused(
        tmp_path,
        "row 'q': is not a pair; distil from preference pairs",
        tmp_path / "judged.jsonl",
        {"q": row},
        spec,
    )


def test_a_damaged_file(tmp_path: Path) -> None:
    file = judged(tmp_path, list(ROWS.values())[:3], PERFECT)
    file.write_bytes(file.read_bytes().replace(b'"verdict":"A"', b'"verdict":"B"', 1))
    refused(tmp_path, r"judged.jsonl:\d: the record is damaged or was edited", file, ROWS)


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    file = judged(tmp_path, list(ROWS.values())[:3], PERFECT)
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        keep_by_label(SPEC, file, ROWS, tmp_path / "nowhere" / "sft.jsonl")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(
        tmp_path,
        r"none.jsonl: cannot be read: No such file.*; let the teacher",
        tmp_path / "none.jsonl",
        ROWS,
    )
