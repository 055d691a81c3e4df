"""Overlap with benchmark prompts: what counts, what is reported, what is refused."""

from __future__ import annotations

import pytest

from reasrm.curation import BenchmarkIndex, BenchmarkPrompt, OverlapFound
from reasrm.curation.config import DecontaminationSection
from reasrm.errors import InputError
from reasrm.records import Message
from tests.curation.rows import ids, incoming, lines, pair, prompts, run

WORDS = [f"word{number}" for number in range(15)]


def index(*texts, **options):
    section = DecontaminationSection.model_validate({"against": ["b.jsonl"], **options})
    return BenchmarkIndex(prompts(*texts), section)


def find(found, text):
    return found.find((Message("user", text),))


def words(*numbers):
    return " ".join(WORDS[n] if n >= 0 else f"other{-n}" for n in numbers)


def test_thirteen_words_in_a_row_overlap_and_twelve_do_not():
    benchmark = index(words(*range(15)))
    thirteen = find(benchmark, f"before {words(*range(1, 14))} after")
    assert (thirteen.kind, thirteen.benchmark, thirteen.row_id) == ("ngram", "bench", "b0")
    assert thirteen.share == pytest.approx(1 / 3), "one of the three 13-grams of fifteen words"
    assert find(benchmark, f"before {words(*range(1, 13))} after") is None
    assert find(benchmark, words(*range(6), -1, *range(6, 15))) is None


def test_case_and_punctuation_do_not_hide_an_overlap():
    benchmark = index(words(*range(15)))
    loud = ", ".join(WORDS[:14]).upper() + "!"
    assert find(benchmark, loud).share == pytest.approx(2 / 3)


def test_a_shared_phrase_can_be_told_from_a_copied_question():
    text = words(*range(15))
    phrase = find(index(text, min_share=0.5), f"{words(*range(13))} but then something else")
    assert phrase is None
    assert find(index(text, min_share=0.5), f"{words(*range(14))} x").kind == "ngram"


def test_the_benchmark_row_with_the_largest_share_is_named():
    benchmark = index(words(*range(15)) + " and much more text behind it", words(*range(14)))
    overlap = find(benchmark, "so: " + words(*range(14)))
    assert (overlap.row_id, overlap.share) == ("b1", 1.0)


def test_short_prompts_are_looked_for_as_a_whole_and_very_short_ones_by_equality():
    benchmark = index("what is the capital of France?", "Say hi", min_words=6)
    asked = find(benchmark, "Tell me: What is the capital of France, please?")
    assert (asked.kind, asked.row_id) == ("whole", "b0")
    assert find(benchmark, "what is the capital of Spain?") is None
    assert find(benchmark, "please say hi to her") is None
    assert (find(benchmark, "say HI").kind, find(benchmark, "say HI").row_id) == ("exact", "b1")


def test_equality_keeps_symbols():
    benchmark = index("2+2?")
    assert find(benchmark, " 2+2? ").kind == "exact"
    assert find(benchmark, "2-2?") is None


def test_conversations_are_compared_as_a_whole_and_by_user_turn():
    section = DecontaminationSection.model_validate({"against": ["b.jsonl"]})
    talk = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Go on"))
    benchmark = BenchmarkIndex(
        [BenchmarkPrompt("m", "talk", talk), BenchmarkPrompt("m", "single", (Message("user", "Why?"),))],
        section,
    )
    assert benchmark.find((Message("system", "Be brief."), *talk)).row_id == "talk"
    assert benchmark.find((Message("user", "Go on"),)) is None, "a later turn alone is no benchmark prompt"
    assert benchmark.find((*talk, Message("assistant", "x"), Message("user", "WHY?"))).row_id == "single"
    assert benchmark.find((Message("user", "x"), Message("assistant", "Why?"))) is None


def test_equal_prompts_of_one_benchmark_count_once():
    assert index("a b", "A  b", "c").num_prompts == {"bench": 2}


ROWS = [
    pair("clean", "how do magnets work", "well", "badly"),
    pair("copied", words(*range(14)), "yes", "no"),
    pair("equal", "Say hi", "hi", "no"),
]
BENCHMARK = prompts("say hi", words(*range(15)))
AGAINST = {"against": "b.jsonl"}


def test_overlap_is_refused_unless_something_is_said_about_it(tmp_path):
    with pytest.raises(OverlapFound, match=r"2 of 3 rows \(66.67%\)") as refusal:
        run(incoming(ROWS), tmp_path, BENCHMARK, decontaminate=AGAINST)
    assert refusal.value.exit_code == 4
    assert isinstance(refusal.value, InputError)
    assert [line.split(" (")[0] for line in refusal.value.examples] == [
        "'copied' ~ bench 'b1'",
        "'equal' ~ bench 'b0'",
    ]
    assert [
        (line["id"], line["benchmark_id"], line["kind"]) for line in lines(tmp_path / "overlap.jsonl")
    ] == [
        ("copied", "b1", "ngram"),
        ("equal", "b0", "exact"),
    ]


def test_overlap_can_be_dropped_or_kept_and_is_reported_either_way(tmp_path):
    dropped = run(
        incoming(ROWS), tmp_path / "drop", BENCHMARK, decontaminate={**AGAINST, "on_overlap": "drop"}
    )
    assert ids(tmp_path / "drop" / "pairs.jsonl") == ["clean"]
    line = lines(tmp_path / "drop" / "dropped.jsonl")[0]
    assert (line["id"], line["reason"], line["benchmark_id"]) == ("copied", "overlap_ngram", "b1")
    kept = run(incoming(ROWS), tmp_path / "keep", BENCHMARK, decontaminate={**AGAINST, "on_overlap": "keep"})
    assert ids(tmp_path / "keep" / "pairs.jsonl") == ["clean", "copied", "equal"]
    for report in (dropped.report, kept.report):
        assert report["overlap"]["rows"] == 2
        assert report["overlap"]["share"] == pytest.approx(2 / 3)
        assert report["overlap"]["kinds"] == {"exact": 1, "ngram": 1}
        assert report["overlap"]["benchmarks"] == [{"benchmark": "bench", "prompts": 2, "rows": 2}]


def test_without_overlap_nothing_is_refused(tmp_path):
    report = run(incoming(ROWS[:1]), tmp_path, BENCHMARK, decontaminate=AGAINST).report
    assert (report["overlap"]["rows"], report["overlap"]["share"]) == (0, 0.0)


def test_a_benchmark_without_prompts_is_no_reassurance(tmp_path):
    with pytest.raises(InputError, match="no benchmark has a prompt"):
        run(incoming(ROWS), tmp_path, [], decontaminate=AGAINST)
