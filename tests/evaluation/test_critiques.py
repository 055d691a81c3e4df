"""Critiques of judged rows against the rows' own: which text, which order, which numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasrm.critiques import CritiqueCase, CritiqueScores
from reasrm.evaluation.critiques import (
    CritiqueEvaluation,
    measure_critiques,
    opened_scorer,
    usual_section,
)
from reasrm.evaluation.run import Evaluation, evaluate
from reasrm.evaluation.table import render_table
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge, open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.metrics.suites import get_suite
from reasrm.protocol.spec import load_spec
from reasrm.records import Order, Recorded, Verdict
from reasrm.requests import Completion, Request, SamplingParams
from reasrm.sandbox.measure import measure_file
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.world.pairs import World
from tests.commands import rows_of
from tests.fakes import FakeBackend
from tests.sandbox.shared import write_pairs

SHORT = "the response is too short"
RIGHT = "the response gives a correct distance"
ROWS: list[dict[str, Any]] = [
    {
        "id": "q1",
        "prompt": "How far?",
        "response_a": "12 km",
        "response_b": "12",
        "label": "A",
        "subset": "x",
        "critique": {
            "arguments": [
                {"about": "B", "stance": "against", "text": SHORT},
                {"about": "A", "stance": "for", "text": RIGHT},
            ]
        },
    },
    {
        "id": "q2",
        "prompt": "When?",
        "response_a": "in 1066",
        "response_b": "in 1967",
        "label": "B",
        "subset": "y",
        "critique": "Response A is wrong about the date.",
    },
    {"id": "q3", "prompt": "Who?", "response_a": "he", "response_b": "she", "label": "A", "subset": "y"},
]
# By id and order shown: what the judge writes, and its verdict, both in the order shown.
SAID = {
    "q1|AB": ("Response B is too short. Response A gives a correct distance.", "A"),  # right, all said
    "q1|BA": ("Response B gives a correct distance.", "B"),  # right; one of two arguments
    "q2|AB": ("Response B is polite.", "B"),  # right, and none of the arguments
    "q2|BA": ("Response B is wrong about the date.", "B"),  # wrong, though the critique is right
    "q3|AB": ("Response B is too short.", "A"),
    "q3|BA": ("Response B is too short.", "A"),
}


def written(form: str = "<critics>{}</critics><choice>[[{}]]</choice>") -> Callable[[Request], str]:
    """The judge of `SAID`, in the form of a spec."""
    return lambda request: form.format(*SAID[request.id[:5]])


class InThinking(FakeBackend):
    """A model whose chat template opens the thinking."""

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        for completion in super().generate(requests):
            yield replace(completion, thinking_open=True)


def run(
    folder: Path,
    rows: Sequence[Mapping[str, Any]] = ROWS,
    *,
    spec: str = "rm-nlhf",
    backend: FakeBackend | None = None,
    critiques: CritiqueEvaluation | None = None,
    options: JudgingOptions | None = None,
    recordings: Mapping[str, Any] | None = None,
) -> Evaluation:
    judge = Judge(spec=load_spec(spec), backend=backend or FakeBackend(written()))
    folder.mkdir(exist_ok=True)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source = JudgeInput([path], recordings=recordings)
    options = options or JudgingOptions()
    return evaluate(get_suite("pairs"), judge, source, folder / "out", options, critiques=critiques)


def values(found: Mapping[str, Any], *names: str) -> list[tuple[float | None, int]]:
    return [(found[name]["value"], found[name]["n"]) for name in names]


NAMES = ("inconsistency", "critique_f1", "critique_precision", "critique_recall")


def test_by_hand(tmp_path: Path) -> None:
    result = run(tmp_path).result
    # F1: 1, 2/3, 0, 1; three right verdicts, one of them inconsistent
    thirds, quarters = [pytest.approx(1 / 3), pytest.approx(2 / 3)], [0.75, 0.625]
    expected = [(value, 2) for value in (*thirds, *quarters)]
    assert values(result["metrics"], *NAMES) == expected
    more = ("critique_average_precision", "critique_soft_recall", "critique_coverage")
    assert values(result["metrics"], *more) == [(0.625, 2), (0.625, 2), (1, 2)]
    subsets = result["critique_subsets"]
    assert values(subsets["x"], *NAMES) == [(0, 1), (pytest.approx(5 / 6), 1), (1, 1), (0.75, 1)]
    assert values(subsets["y"], *NAMES) == [(1, 1), (0.5, 1), (0.5, 1), (0.5, 1)]
    expected_policy = {
        "extractor": "rules",
        "similarity": "stems",
        "threshold": 0.5,
        "repeats": "count",
        "fatal_rule": True,
        "least_f1": 0.5,
        "num_references": 2,
        "num_judgments": 4,
        "num_scored": 4,
    }
    assert expected_policy.items() <= result["policy"]["critiques"].items()
    assert result == json.loads((tmp_path / "out" / "result.json").read_bytes())


def test_the_lines_that_a_person_reads(tmp_path: Path) -> None:
    run(tmp_path)
    lines = {(line["id"], line["order"]): line for line in rows_of(tmp_path / "out" / "critiques.jsonl")}
    assert list(lines) == [("q1", "AB"), ("q1", "BA"), ("q2", "AB"), ("q2", "BA")]
    assert [line["right"] for line in lines.values()] == [True, True, True, False]
    # Shown the other way the fault is A's and the merit B's, and the one thing said is the second of the two.
    assert lines["q1", "BA"] == {
        "id": "q1",
        "order": "BA",
        "vote": 0,
        "right": True,
        "scores": {
            "f1": pytest.approx(2 / 3),
            "precision": 1.0,
            "recall": 0.5,
            "average_precision": 0.5,
            "soft_recall": 0.5,
            "generated": 1,
            "reference": 2,
            "matched": 1,
        },
        "critique": "Response B gives a correct distance.",
        "arguments": [
            {"about": "B", "stance": "for", "text": RIGHT, "fatal": False, "matches": 1, "similarity": 1.0}
        ],
        "reference": [
            {"about": "A", "stance": "against", "text": SHORT, "fatal": False},
            {"about": "B", "stance": "for", "text": RIGHT, "fatal": False},
        ],
    }
    assert lines["q2", "AB"]["arguments"][0]["matches"] is None
    assert lines["q2", "BA"]["reference"][0]["about"] == "B"


def test_the_table_shows_them(tmp_path: Path) -> None:
    table = render_table(run(tmp_path).result)
    lines = {line.split("  ")[0]: " ".join(line.split()) for line in table.splitlines()}
    assert lines["inconsistency"].startswith("inconsistency 0.333 [0.000, 1.000]")
    by_subset = table.split("critiques of")[1].splitlines()
    assert " ".join(by_subset[0].split()) == "inconsistency critique_f1 critique_coverage n"
    assert " ".join(by_subset[3].split()).startswith("y 1.000 [1.000, 1.000] 0.500 [")
    assert "critiques: extractor = rules, similarity = stems, threshold = 0.5" in table
    assert "num_references = 2" in table
    plain = render_table(run(tmp_path / "plain", ROWS[2:]).result)
    assert "critique" not in plain
    assert "inconsistency" not in plain


def test_rows_without_critiques_give_what_they_gave(tmp_path: Path) -> None:
    """Critiques add keys and change none; without them nothing is added, and nothing is written."""
    bare = [{key: value for key, value in row.items() if key != "critique"} for row in ROWS]
    asked = CritiqueEvaluation(similarity="exact", least_f1=0.9)
    with_them, without = run(tmp_path / "with").result, run(tmp_path / "without", bare).result
    run(tmp_path / "asked", bare, critiques=asked)
    out = tmp_path / "without" / "out"
    assert not (out / "critiques.jsonl").exists()
    there = (
        (tmp_path / "asked/out/result.json").read_text().replace(f"{tmp_path}/asked/", f"{tmp_path}/without/")
    )
    assert (out / "result.json").read_text() == there
    assert "critique" not in there.replace(str(tmp_path), "")
    assert with_them.pop("critique_subsets")
    assert with_them["policy"].pop("critiques")
    for name in [name for name in with_them["metrics"] if "critique" in name or name == "inconsistency"]:
        del with_them["metrics"][name]
    assert with_them.pop("data_sha256") != without.pop("data_sha256")
    assert with_them.pop("inputs") != without.pop("inputs")
    assert with_them == without


def test_empty_references_are_none(tmp_path: Path) -> None:
    nothing = [{**ROWS[2], "critique": {"arguments": []}}]
    assert "critiques" not in run(tmp_path, nothing).result["policy"]
    assert not (tmp_path / "out" / "critiques.jsonl").exists()


def test_a_reference_that_argues_nothing_is_not_covered(tmp_path: Path) -> None:
    metrics = run(tmp_path, [{**ROWS[2], "critique": "Both were read."}, ROWS[0]]).result["metrics"]
    assert values(metrics, "critique_coverage", "critique_f1") == [(0.5, 2), (pytest.approx(5 / 6), 1)]


def test_another_section_gives_other_numbers(tmp_path: Path) -> None:
    strict = run(tmp_path / "a", critiques=CritiqueEvaluation(least_f1=0.7)).result
    assert values(strict["metrics"], "inconsistency") == [(pytest.approx(2 / 3), 2)]
    assert strict["policy"]["critiques"]["least_f1"] == 0.7


def test_votes_are_judgments(tmp_path: Path) -> None:
    options = JudgingOptions(votes=3, sampling=SamplingParams(temperature=1.0))
    found = run(tmp_path, options=options).result
    assert values(found["metrics"], "inconsistency") == [(pytest.approx(1 / 3), 2)]
    assert found["policy"]["critiques"]["num_judgments"] == 12
    votes = [line["vote"] for line in rows_of(tmp_path / "out" / "critiques.jsonl")]
    assert votes == [0, 1, 2] * 4


@pytest.mark.slow
@pytest.mark.parametrize("orders", ["given", "random"])
def test_one_order_is_the_order_shown(orders: str, tmp_path: Path) -> None:
    """Whatever order is asked in, its critique is compared in that order."""
    found = run(tmp_path, options=JudgingOptions(orders=orders))  # type: ignore[arg-type]
    both = run(tmp_path / "both")
    read = {(line["id"], line["order"]): line for line in rows_of(both.folder / "critiques.jsonl")}
    lines = rows_of(found.folder / "critiques.jsonl")
    assert len(lines) == 2
    assert all(line == read[line["id"], line["order"]] for line in lines)


def test_a_pair_without_an_order_speaks_of_chosen_first(tmp_path: Path) -> None:
    """In its own order a preference pair's A is the chosen response; its free text says so."""
    pair = {"id": "q1", "prompt": "How far?", "chosen": "12 km", "rejected": "12"}
    pair["critique"] = "Response B is too short. Response A gives a correct distance."
    metrics = run(tmp_path, [pair]).result["metrics"]
    assert values(metrics, *NAMES[:2]) == [(0, 1), (pytest.approx(5 / 6), 1)]


@pytest.mark.slow
def test_without_a_marked_section_all_that_is_written_counts(tmp_path: Path) -> None:
    """Verdict first, critique after; thinking does not count, nor does a sentence that only names the winner."""
    form = "<think>Response A is rude.</think>Assistant {1} is better. [[{1}]]\n\n{0}"
    found = run(tmp_path, spec="mt-bench", backend=FakeBackend(written(form)))
    assert values(found.result["metrics"], "inconsistency") == [(pytest.approx(1 / 3), 2)]
    assert values(found.result["metrics"], *NAMES[1:]) == [(pytest.approx(2 / 3), 2), (0.75, 2), (0.625, 2)]
    unclosed = run(tmp_path / "b", spec="mt-bench", backend=FakeBackend(written("<think>{0} [[{1}]]")))
    assert values(unclosed.result["metrics"], "critique_f1", "critique_coverage") == [(0, 2), (1, 2)]
    inside = run(tmp_path / "c", spec="mt-bench", backend=InThinking(written("{0} [[{1}]]")))
    assert values(inside.result["metrics"], "critique_f1", "critique_coverage") == [(0, 2), (1, 2)]


def test_a_missing_section_is_an_empty_critique(tmp_path: Path) -> None:
    bare = FakeBackend(written("{0}<choice>[[{1}]]</choice>"))
    metrics = run(tmp_path, backend=bare).result["metrics"]
    assert values(metrics, *NAMES) == [(1, 2), (0, 2), (0, 2), (0, 2)]
    assert values(metrics, "critique_coverage") == [(1, 2)]


def test_what_was_never_written_abstains(tmp_path: Path) -> None:
    """A prompt that did not fit, and recorded decisions: no critique, no number."""
    long = FakeBackend(written(), too_long={"q1|AB|0|0"})
    metrics = run(tmp_path / "a", backend=long).result["metrics"]
    assert values(metrics, "inconsistency") == [(0.5, 2)]
    assert values(metrics, "critique_f1", "critique_coverage") == [(pytest.approx(5 / 9), 2), (0.75, 2)]

    decided = {"q1": {Order.AB: (Recorded(kind="decision", decision=Verdict("A")),)}}
    folder = tmp_path / "b"
    folder.mkdir()
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n")
    replay = open_judge("replay", spec="rm-nlhf")
    source = JudgeInput([path], recordings=decided)
    options = JudgingOptions(recorded_only=True)
    metrics = evaluate(get_suite("pairs"), replay, source, folder / "out", options).result["metrics"]
    assert values(metrics, "inconsistency", "critique_coverage") == [(None, 0), (0, 1)]


@pytest.mark.slow
def test_a_failed_call_of_the_scorer_is_no_zero(tmp_path: Path) -> None:
    """What the scorer could not get is written as such, and left out."""

    def fails(cases: Iterable[CritiqueCase]) -> list[CritiqueScores | None]:
        return [None if case.comparison.id == "q2" else CritiqueScores(f1=1.0) for case in cases]

    found = run(tmp_path)
    source = JudgeInput([tmp_path / "rows.jsonl"])
    source.scan()
    seen: list[int] = []
    report = measure_critiques(
        source,
        found.batch.output,
        tmp_path / "again.jsonl",
        spec=load_spec("rm-nlhf"),
        section=CritiqueEvaluation(),
        score=fails,
        on_progress=seen.append,
    )
    assert report is not None
    assert report.metrics["critique_f1"].value == 1
    assert report.metrics["critique_coverage"].value == 0.5
    assert (report.policy["num_judgments"], report.policy["num_scored"]) == (4, 2)
    assert [line["scores"] is None for line in rows_of(tmp_path / "again.jsonl")] == [False] * 2 + [True] * 2
    assert seen == [4]


@pytest.mark.slow
def test_rows_are_joined_by_id_in_any_order(tmp_path: Path) -> None:
    found = run(tmp_path)
    lines = found.batch.output.read_bytes().splitlines(keepends=True)
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_bytes(b"".join(reversed(lines)))
    source = JudgeInput([tmp_path / "rows.jsonl"])
    source.scan()
    section = CritiqueEvaluation()
    with opened_scorer(section, tmp_path / "replies") as (score, _):
        report = measure_critiques(
            source, shuffled, tmp_path / "c.jsonl", spec=load_spec("rm-nlhf"), section=section, score=score
        )
    assert report is not None
    again: dict[str, Any] = {"metrics": {}, "policy": {}}
    report.add_to(again)
    assert {name: found.result["metrics"][name] for name in again["metrics"]} == again["metrics"]


@pytest.mark.slow
def test_the_sandbox_is_measured_as_the_sandbox_measures(tmp_path: Path) -> None:
    """A teacher that errs, and the package's tiny judge, sampled: the same inconsistency to the last digit."""
    spec = load_spec("sandbox")
    pairs = [*World().pairs("iid", 40), *World().pairs("hard", 40)]
    source = write_pairs(tmp_path / "pairs.jsonl", pairs)
    careless = TeacherConfig(error_rate=0.3, malformed_rate=0.05)
    teacher = Judge(spec=spec, backend=ScriptedTeacher(spec, careless))
    few = write_pairs(tmp_path / "few.jsonl", [*pairs[:4], *pairs[-4:]])
    for judge, path, temperature in ((teacher, source, 0.0), (open_judge("sandbox"), few, 1.3)):
        options = JudgingOptions(seed=3, sampling=judge.sampling(temperature=temperature))
        folder = tmp_path / path.stem
        found = evaluate(get_suite("pairs"), judge, JudgeInput([path]), folder, options)
        truth = measure_file(found.batch.output, {pair.id: pair for pair in pairs}, seed=3)
        subsets = found.result["critique_subsets"]
        assert subsets.keys() == {"iid", "hard"}
        for name, estimate in truth.inconsistency.items():
            assert subsets[name]["inconsistency"] == estimate.as_dict()
        assert 0 < found.result["metrics"]["inconsistency"]["value"] < 1
        assert found.result["policy"]["critiques"]["extractor"] == "sandbox"
    assert usual_section(load_spec("rm-r1")).extractor == "rules"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "file", "spec"),
    [
        ("llmbar", "llmbar/judge_natural_chatgpt_swapcot.result.json", "llmbar"),
        ("judgebench", "judgebench/judgments_gpt-4o_arena-hard_o1-mini.jsonl", "arena-hard"),
    ],
    ids=["llmbar", "judgebench"],
)
def test_recorded_texts_against_themselves(
    suite: str, file: str, spec: str, real_data: Path, tmp_path: Path
) -> None:
    """Each row's reference is what the judge wrote of its own order: there it agrees, in the other it may not."""
    text = (real_data / file).read_text(encoding="utf-8")
    rows = json.loads(text) if text[0] == "[" else [json.loads(line) for line in text.splitlines()]
    rows = rows[:100]
    for row in rows:
        if suite == "llmbar":
            row["critique"] = row["results"][-1]["swap = False"]["completion"][0]
        else:
            row["critique"] = row["judgments"][0]["judgment"]["response"]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    section = CritiqueEvaluation(fatal_rule=False)
    options = JudgingOptions(recorded_only=True)
    judge, out = open_judge("replay", spec=spec), tmp_path / "out"
    found = evaluate(get_suite(suite), judge, JudgeInput([path]), out, options, critiques=section).result
    scored = [line for line in rows_of(out / "critiques.jsonl") if line["scores"]]
    own, other = ([line for line in scored if line["order"] == order] for order in ("AB", "BA"))
    assert len(own) == len(other) > 40
    means = [sum(line["scores"]["f1"] for line in part) / len(part) for part in (own, other)]
    assert means[0] > 0.95  # not 1: what a text says both ways matches nothing
    assert means[1] < 0.3
    inconsistent = [line for line in scored if line["right"] and line["scores"]["f1"] < 0.5]
    right = [line for line in scored if line["right"]]
    value = found["metrics"]["inconsistency"]["value"]
    assert value == pytest.approx(len(inconsistent) / len(right))
    assert found["policy"]["critiques"]["num_judgments"] == 2 * len(rows)
