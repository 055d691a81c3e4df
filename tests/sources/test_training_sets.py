"""The readers of training sets: a row of each by hand, its labels, what it refuses, and that no label leaks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasrm.errors import RowError
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.spec import load_spec
from reasrm.records import (
    CandidateSet,
    Comparison,
    Criterion,
    Critique,
    Message,
    Order,
    PreferencePair,
    Recorded,
    Row,
    Rubric,
    Verdict,
)
from reasrm.sources import SOURCES, Source, detect, get
from reasrm.sources.sets.rm_r1_sets import SOURCE as RM_R1


def configured(name: str, **options: str) -> Source:
    return get(name).configured(options, {})


def example(name: str, **changes: Any) -> dict[str, Any]:
    return {**get(name).example, **changes}


def read(source: str | Source, row: dict[str, Any]) -> tuple[Row, ...]:
    return (get(source) if isinstance(source, str) else source).read(row, "f.jsonl:3")


def comparison(source: str | Source, row: dict[str, Any]) -> Comparison:
    (record,) = read(source, row)
    assert isinstance(record, Comparison)
    return record


def refusal(source: str | Source, row: dict[str, Any]) -> RowError:
    with pytest.raises(RowError) as caught:
        read(source, row)
    assert caught.value.place == "f.jsonl:3"
    return caught.value


def user(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


# --- HelpSteer ---------------------------------------------------------------------------------------------


def test_helpsteer2_preference_by_hand() -> None:
    row = comparison("helpsteer2-preference", example("helpsteer2-preference"))
    assert row.prompt == user("Define a comet.")
    assert (row.response_a, row.target) == ("A star with a tail.", Verdict("B"))
    assert row.critique == Critique(text="@Response 2 is better than @Response 1. A comet is no star.")
    assert row.meta == {"strength": 2, "split": "train", "votes": [2, None]}


@pytest.mark.parametrize("name", ["helpsteer2-preference", "helpsteer3-preference"])
def test_a_negative_strength_means_the_first_and_zero_is_a_tie(name: str) -> None:
    key = "preference_strength" if name.startswith("helpsteer2") else "overall_preference"
    found = [comparison(name, example(name, **{key: value})) for value in (-3, -1, 0, 1, 3)]
    assert [row.target.winner for row in found if row.target] == ["A", "A", "tie", "B", "B"]
    assert [row.meta["strength"] for row in found] == [3, 1, 0, 1, 3]
    for wrong in (-100, 4, -4):
        assert refusal(name, example(name, **{key: wrong})).code == "bad_label"
    for wrong in (True, "1", 1.0, None):
        assert refusal(name, example(name, **{key: wrong})).code == "wrong_type"


def test_helpsteer2_votes_agree_with_the_label_or_not() -> None:
    votes = [{"strength": s, "justification": "j"} for s in (-2, 1, -100)]
    row = example("helpsteer2-preference", preference_strength=-1, all_preferences_unprocessed=votes)
    assert comparison("helpsteer2-preference", row).meta["votes"] == [2, -1, None]
    for wrong, code in ((-99, "bad_label"), ("1", "wrong_type")):
        bad = example("helpsteer2-preference", all_preferences_unprocessed=[{"strength": wrong}])
        assert refusal("helpsteer2-preference", bad).code == code


def test_helpsteer2_ratings_are_scores_and_disagreements_their_mean() -> None:
    (row,) = read("helpsteer2-ratings", example("helpsteer2-ratings"))
    assert isinstance(row, CandidateSet)
    assert (row.responses, row.label, row.meta["ratings"]["verbosity"]) == (("Argon.",), 4, 0)
    (row,) = read("helpsteer2-ratings", example("helpsteer2-ratings", helpfulness=[1, 2]))
    assert isinstance(row, CandidateSet)
    assert row.label == 1.5
    for wrong, code in ((5, "bad_label"), ([], "wrong_type"), (True, "wrong_type"), ([1, "2"], "wrong_type")):
        assert refusal("helpsteer2-ratings", example("helpsteer2-ratings", helpfulness=wrong)).code == code


def test_helpsteer3_preference_by_hand() -> None:
    row = comparison("helpsteer3-preference", example("helpsteer3-preference"))
    assert (row.prompt, row.target) == (user("How far is the moon?"), Verdict("A"))
    assert (row.subset, row.language) == ("general", "english")
    assert row.meta == {"strength": 2, "votes": [3, 1, -1]}
    assert row.critique == Critique(
        text="@Response 1 gives the distance.\n\n@Response 1 is more precise than @Response 2."
    )


def test_helpsteer3_code_rows_name_a_programming_language() -> None:
    row = comparison(
        "helpsteer3-preference", example("helpsteer3-preference", domain="code", language="python")
    )
    assert (row.language, row.subset, row.meta["programming_language"]) == (None, "code", "python")


def test_helpsteer3_conversations_are_prompts() -> None:
    row = comparison("helpsteer3-preference", example("helpsteer3-preference", context=turns("Q", "r", "Q2")))
    assert [turn.content for turn in row.prompt] == ["Q", "r", "Q2"]


def test_helpsteer3_feedback_prefers_the_higher_mean_grade() -> None:
    row = comparison("helpsteer3-feedback", example("helpsteer3-feedback"))
    assert row.target == Verdict("B")
    assert row.meta == {"margin": 3.5, "chosen_score": 4.0, "rejected_score": 0.5}
    assert row.critique is not None
    assert row.critique.text is not None
    assert row.critique.text.startswith("Response 1: The response is not helpful.")
    assert "\n\nResponse 2: The response is perfectly helpful." in row.critique.text


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        (["The response is mostly helpful."], ["the response is MOSTLY helpful because"], "tie"),
        (['"The response is partially helpful"'], ["The response is slightly helpful"], "A"),
        (["The response is partially helpful", "No grade."], ["The response is mostly helpful"], "B"),
        (["Good."], ["The response is mostly helpful"], None),
        ([], ["The response is mostly helpful"], None),
    ],
)
def test_helpsteer3_grades(first: list[str], second: list[str], winner: str | None) -> None:
    row = comparison("helpsteer3-feedback", example("helpsteer3-feedback", feedback1=first, feedback2=second))
    assert (row.target and row.target.winner) == winner


# --- UltraFeedback -----------------------------------------------------------------------------------------


def completion(response: str, **ratings: str) -> dict[str, Any]:
    return {"response": response, "annotations": {k: {"Rating": v} for k, v in ratings.items()}}


def test_ultrafeedback_compares_the_best_with_the_worst() -> None:
    row = comparison("ultrafeedback", example("ultrafeedback"))
    assert (row.response_a, row.response_b, row.target) == ("The Danube.", "A mountain.", Verdict("A"))
    assert (row.prompt, row.subset) == (user("Name a river."), "sharegpt")
    assert row.meta == {
        "margin": 3.0,
        "chosen_model": "model-b",
        "rejected_model": "model-a",
        "chosen_score": 5.0,
        "rejected_score": 2.0,
    }
    assert row.critique == Critique(text="Response 1: Right.\n\nResponse 2: Not a river.")


def test_ultrafeedback_compares_all_on_request() -> None:
    rows = read(configured("ultrafeedback", pairs="all"), example("ultrafeedback"))
    assert all(isinstance(row, Comparison) for row in rows)
    found = [(r.response_a, r.response_b, r.target) for r in rows if isinstance(r, Comparison)]
    assert found == [
        ("A mountain.", "The Danube.", Verdict("B")),
        ("A mountain.", "Some river.", Verdict("B")),
        ("The Danube.", "Some river.", Verdict("A")),
    ]
    group = rows[0].group
    assert [row.id for row in rows] == [f"{group}/0-1", f"{group}/0-2", f"{group}/1-2"]
    assert {row.group for row in rows} == {group}


def test_ultrafeedback_scores_by_the_aspects_that_all_have() -> None:
    # Over all its ratings x would lead (5 against 4); honesty is all that both have, and there y leads.
    row = example(
        "ultrafeedback",
        completions=[
            completion("x", helpfulness="5", honesty="3", truthfulness="5"),
            completion("y", helpfulness="N/A", honesty="4"),
            completion("unrated"),
        ],
    )
    found = comparison("ultrafeedback", row)
    assert (found.response_a, found.response_b, found.meta["margin"]) == ("y", "x", 1.0)


def test_ultrafeedback_ties_and_rows_without_ratings() -> None:
    even = [completion("x", honesty="3"), completion("y", honesty="3")]
    tie = comparison("ultrafeedback", example("ultrafeedback", completions=even))
    assert (tie.response_a, tie.response_b, tie.target) == ("x", "y", Verdict("tie"))
    for rated in ([], even[:1], [completion("x", honesty="3"), completion("y", helpfulness="3")]):
        assert refusal("ultrafeedback", example("ultrafeedback", completions=rated)).code == "no_label"


def test_ultrafeedback_binarized_by_hand() -> None:
    row = comparison("ultrafeedback-binarized", example("ultrafeedback-binarized"))
    assert (row.prompt, row.response_a, row.response_b) == (user("Name a fruit."), "Plum.", "Car.")
    assert (row.target, row.group) == (Verdict("A"), "9f2c")
    assert row.meta == {"margin": 6.5, "chosen_score": 8.5, "rejected_score": 2.0}


def test_equal_scores_are_a_tie_unless_the_user_trusts_the_columns() -> None:
    even = example("ultrafeedback-binarized", score_chosen=7, score_rejected=7.0)
    assert comparison("ultrafeedback-binarized", even).target == Verdict("tie")
    assert comparison(configured("ultrafeedback-binarized", equal="keep"), even).target == Verdict("A")
    odd = example("ultrafeedback-binarized", score_chosen=1)
    assert refusal("ultrafeedback-binarized", odd).code == "bad_label"


# --- the sets RM-R1 mixes ----------------------------------------------------------------------------------


def test_skywork_by_hand() -> None:
    (row,) = read("skywork-80k", example("skywork-80k"))
    assert isinstance(row, PreferencePair)
    assert (row.prompt, row.chosen, row.rejected, row.subset) == (user("2+2?"), "4", "5", "magpie_pro")


def test_skywork_conversations_keep_their_shared_turns() -> None:
    (row,) = read(
        "skywork-80k",
        example("skywork-80k", chosen=turns("Q", "r", "Q2", "x"), rejected=turns("Q", "r", "Q2", "y")),
    )
    assert isinstance(row, PreferencePair)
    assert [turn.content for turn in row.prompt] == ["Q", "r", "Q2"]
    assert (row.chosen, row.rejected) == ("x", "y")


def test_rm_r1_cleaning_leaves_one_origin_out() -> None:
    dirty = example("skywork-80k", source="magpie_ultra")
    assert len(read("skywork-80k", dirty)) == 1
    cleaned = configured("skywork-80k", clean="rm-r1")
    assert refusal(cleaned, dirty).code == "cleaned"
    assert len(read(cleaned, example("skywork-80k", source="magpie_pro_llama3.1"))) == 1


def test_skywork_takes_no_row_of_other_columns() -> None:
    row = example("skywork-80k")
    assert detect(row).name == "skywork-80k"
    assert detect({**row, "prompt": "Q"}).name == "trl"
    assert detect({**row, "chosen": "Q x", "rejected": "Q y"}).name == "trl"


CODE = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    ("text", "left", "count"),
    [
        ("x = 1  # bug: off by one\ny = 2", "x = 1\ny = 2", 1),
        ("// Buggy line\nx();", "x();", 1),
        ("x(); /* introduced bugs */", "x();", 1),
        ("a = 1\n    # BUG here\nb = 2", "a = 1\nb = 2", 1),
        ("# adds numbers\ndebug = 1  # debugging aid", "# adds numbers\ndebug = 1  # debugging aid", 0),
        ("open('http://bug.org')", "open('http://bug.org')", 0),
        ("# The bug\n```py\nx = 1 # a bug\n```\n# bug fixed", "# The bug\n```py\nx = 1\n```\n# bug fixed", 1),
        ("```py\nx = 1 # a bug", "```py\nx = 1", 1),
        ("x = 1 # one # two bugs, no more", "x = 1", 1),
        ("bug = 1 # one", "bug = 1 # one", 0),
    ],
)
def test_comments_on_bugs_are_cut_from_code_on_both_sides(text: str, left: str, count: int) -> None:
    row = example("code-preference-pairs", accepted=CODE, rejected=text)
    for changed in (row, {**row, "accepted": text, "rejected": CODE}):
        (pair,) = read("code-preference-pairs", changed)
        assert isinstance(pair, PreferencePair)
        assert {pair.chosen, pair.rejected} == {CODE, left}
        assert pair.meta.get("comments_cut", 0) == count
    (pair,) = read(configured("code-preference-pairs", bug_comments="keep"), row)
    assert isinstance(pair, PreferencePair)
    assert (pair.chosen, pair.rejected, pair.meta) == (CODE, text, {})


def test_a_long_line_of_comment_marks_is_read_in_linear_time() -> None:
    line = "x" + " #" * 200_000
    (pair,) = read("code-preference-pairs", example("code-preference-pairs", rejected=line))
    assert isinstance(pair, PreferencePair)
    assert pair.rejected == line


def test_math_step_dpo_puts_the_shared_beginning_before_both() -> None:
    (row,) = read("math-step-dpo", example("math-step-dpo"))
    assert isinstance(row, PreferencePair)
    assert row.prompt == user("What is 2*3+1?")
    assert row.chosen == "Step 1: 2*3 = 6.\nStep 2: 6+1 = 7. The answer is 7."
    assert row.rejected == "Step 1: 2*3 = 6.\nStep 2: 6+1 = 8. The answer is 8."
    assert (row.reference, row.subset) == ("7", "gsm8k")


# --- Chatbot Arena -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("winner", "target", "meta"),
    [
        ("model_a", "A", {"chosen_model": "model-a", "rejected_model": "model-b"}),
        ("model_b", "B", {"chosen_model": "model-b", "rejected_model": "model-a"}),
        ("tie", "tie", {"tie": "equal"}),
        ("tie (bothbad)", "tie", {"tie": "both_bad"}),
    ],
)
def test_arena_votes(winner: str, target: str, meta: dict[str, str]) -> None:
    row = comparison("chatbot-arena", example("chatbot-arena", winner=winner))
    assert row.target is not None
    assert (row.id, row.target.winner, row.meta, row.language) == ("q1", target, meta, "English")
    assert (row.prompt, row.response_a, row.response_b) == (user("Hi"), "??", "Hello!")
    assert refusal("chatbot-arena", example("chatbot-arena", winner="model_c")).code == "bad_label"


def test_arena_contents_may_be_parts_and_conversations_json() -> None:
    parts = [{"role": m["role"], "content": [{"type": "text", "text": m["content"], "image": None}]}
             for m in turns("Hi", "Yes")]  # fmt: skip
    encoded = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No"}]'
    row = comparison("chatbot-arena", example("chatbot-arena", conversation_a=parts, conversation_b=encoded))
    assert (row.prompt, row.response_a, row.response_b) == (user("Hi"), "Yes", "No")
    for wrong in ("Hi", "[]", [], None, 3):
        assert refusal("chatbot-arena", example("chatbot-arena", conversation_b=wrong)).code == "wrong_type"


def test_arena_conversations_that_part_early_need_a_decision() -> None:
    row = example(
        "chatbot-arena",
        conversation_a=turns("Q", "a1", "Q2", "a2"),
        conversation_b=turns("Q", "b1", "Q2", "b2"),
    )
    error = refusal("chatbot-arena", row)
    assert error.code == "prompt_mismatch"
    assert "multi_turn=transcript" in str(error)
    whole = comparison(configured("chatbot-arena", multi_turn="transcript"), row)
    assert whole.prompt == user("Q")
    assert whole.response_a == "Assistant: a1\n\nUser: Q2\n\nAssistant: a2"
    assert whole.response_b == whole.response_a.replace("a1", "b1").replace("a2", "b2")
    single = example("chatbot-arena")
    assert comparison(configured("chatbot-arena", multi_turn="transcript"), single) == comparison(
        "chatbot-arena", single
    )


# --- Prometheus, OpenRubrics -------------------------------------------------------------------------------


def test_preference_collection_by_hand() -> None:
    row = comparison("preference-collection", example("preference-collection"))
    assert (row.prompt, row.target) == (user("Cheer me up."), Verdict("A"))
    assert row.rubric == Rubric(
        text="[Does the response show empathy?]\nScore 1: None.\nScore 5: It answers the feeling."
    )
    assert row.reference == "I am sorry that today was hard. Shall we talk about it?"
    assert row.critique == Critique(text="Response A answers the feeling, Response B does not.")
    assert row.meta == {"margin": 2, "chosen_score": 4, "rejected_score": 2}
    assert (
        refusal("preference-collection", example("preference-collection", orig_preference="C")).code
        == "bad_label"
    )


def test_a_feedback_that_argues_for_the_other_side_is_no_critique() -> None:
    row = example("preference-collection", orig_preference="B")
    assert comparison("preference-collection", row).critique is None
    assert comparison("preference-collection", row).target == Verdict("B")


@pytest.mark.parametrize(
    "output",
    ["", " " * 200_000, "Feedback: [RESULT] A", "Fine. [RESULT] A or B", "Fine. [RESULT]", "Fine. A"],
)
def test_an_output_of_another_shape_is_no_critique(output: str) -> None:
    row = example("preference-collection", output=output)
    assert comparison("preference-collection", row).critique is None


@pytest.mark.parametrize(("score", "label"), [("2", 2), (2, 2), (" 5 ", 5)])
def test_feedback_collection_by_hand(score: object, label: int) -> None:
    (row,) = read("feedback-collection", example("feedback-collection", orig_score=score))
    assert isinstance(row, CandidateSet)
    assert (row.responses, row.label) == (("Ok.",), label)
    assert row.critique == Critique(text="The response does not answer the feeling.")
    for wrong in ("6", 0, "", None, True, 2.0):
        error = refusal("feedback-collection", example("feedback-collection", orig_score=wrong))
        assert error.code == "bad_label"


def test_openrubrics_by_hand() -> None:
    row = comparison("openrubrics", example("openrubrics"))
    assert (row.target, row.subset) == (Verdict("A"), "instruction_following")
    assert row.rubric == Rubric(
        criteria=(
            Criterion("hard_rule", "The answer has exactly three words."),
            Criterion("principle", "The answer is polite."),
        )
    )
    assert comparison("openrubrics", example("openrubrics", winner="b")).target == Verdict("B")
    assert comparison("openrubrics", example("openrubrics", pair_id=7)).meta == {"pair_id": 7}
    for wrong in ("C", "tie", "", None, 1):
        assert refusal("openrubrics", example("openrubrics", winner=wrong)).code == "bad_label"


@pytest.mark.parametrize("text", ["Be polite.", "1. One. [Hard Rule]\nMore of it", "1. One.", ""])
def test_a_rubric_of_another_shape_stays_text(text: str) -> None:
    assert comparison("openrubrics", example("openrubrics", rubric=text)).rubric == Rubric(text=text)


# --- RM-R1's sets ------------------------------------------------------------------------------------------

TRACE = "<type>Reasoning</type>\n<solution>4</solution>\n<eval>B is right.</eval>\n<answer>[[B]]</answer>"


def asked(content: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Judge."}, {"role": "user", "content": content}]


def conversations(first: str, second: str) -> list[dict[str, str]]:
    return asked(
        "\n\n".join(
            f"[The Start of the Conversation between Chatbot {side} and the Client]\n{text}\n"
            f"[The End of the Conversation between Chatbot {side} and the Client]"
            for side, text in (("A", first), ("B", second))
        )
    )


def test_a_label_and_a_trace_in_the_same_column_are_told_apart() -> None:
    label = comparison("rm-r1-sets", example("rm-r1-sets"))
    assert (label.prompt, label.response_a, label.response_b) == (user("2+2?"), "5", "4")
    assert (label.target, label.recorded, label.meta) == (Verdict("B"), {}, {})
    trace = comparison("rm-r1-sets", example("rm-r1-sets", winner=TRACE))
    assert (trace.prompt, trace.response_a, trace.response_b, trace.id) == (
        label.prompt,
        label.response_a,
        label.response_b,
        label.id,
    )
    assert (trace.target, trace.meta) == (Verdict("B"), {"label_from": "trace"})
    assert trace.recorded == {Order.AB: (Recorded("text", text=TRACE),)}
    for wrong in ("A", "model_c", "", "tie", "Response B is better."):
        assert refusal("rm-r1-sets", example("rm-r1-sets", winner=wrong)).code == "bad_label"


@pytest.mark.parametrize("trace", ["<eval>none", "<answer>[[A]]</answer><answer>[[B]]</answer>"])
def test_a_trace_without_one_verdict_is_no_label(trace: str) -> None:
    assert comparison("rm-r1-sets", example("rm-r1-sets", winner=trace)).target is None


def test_the_short_prompt_of_reasoning_models_is_read_too() -> None:
    message = example("rm-r1-sets")["context_messages"][1]["content"]
    row = example("rm-r1-sets", context_messages=asked(f"Please judge.\n\n{message}\n\nAnswer at last.")[1:])
    found = comparison("rm-r1-sets", row)
    assert (found.prompt, found.response_a, found.response_b) == (user("2+2?"), "5", "4")


@pytest.mark.parametrize("speaker", ["Chatbot B", "Chabot B"])
def test_the_misspelt_speaker_of_multi_turn_prompts_changes_nothing(speaker: str) -> None:
    first = "User: Hi\nChatbot A: Hello\nUser: Sum [1,\n2]\nChatbot A: 3"
    second = f"User: Hi\n{speaker}: Hello\nUser: Sum [1,\n2]\n{speaker}: 12"
    row = comparison("rm-r1-sets", {"context_messages": conversations(first, second), "winner": "model_a"})
    assert row.prompt == (
        Message("user", "Hi"),
        Message("assistant", "Hello"),
        Message("user", "Sum [1,\n2]"),
    )
    assert (row.response_a, row.response_b, row.target) == ("3", "12", Verdict("A"))


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (asked("2+2?"), "missing_section"),
        (asked(RM_R1.example["context_messages"][1]["content"] * 2), "missing_section"),
        (conversations("Chatbot A: x", "User: Q\nChatbot B: y"), "prompt_mismatch"),
        (conversations("User: Q\nChatbot A: x", "User: P\nChatbot B: y"), "prompt_mismatch"),
        (conversations("x", "User: Q\nChatbot B: y"), "missing_section"),
    ],
    ids=["no-markers", "markers-twice", "no-user", "other-question", "no-speaker"],
)
def test_a_judge_prompt_that_cannot_be_taken_apart_is_refused(messages: object, code: str) -> None:
    assert refusal("rm-r1-sets", {"context_messages": messages, "winner": "model_a"}).code == code


# --- PKU ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "safer", "by_better", "by_safer"),
    [(0, 0, "A", "A"), (1, 1, "B", "B"), (1, 0, "B", "A"), (0, 1, "A", "B")],
)
def test_two_labels_count_where_they_agree(better: int, safer: int, by_better: str, by_safer: str) -> None:
    row = example("pku-saferlhf", better_response_id=better, safer_response_id=safer)
    for label, winner in (("better", by_better), ("safer", by_safer)):
        found = comparison(configured("pku-saferlhf", label=label), row)
        assert found.target is not None
        assert (found.target.winner, found.meta["label_from"]) == (winner, [f"{label}_response_id"])
    if better == safer:
        assert comparison("pku-saferlhf", row).target == Verdict("AB"[better])  # type: ignore[arg-type]
    else:
        error = refusal("pku-saferlhf", row)
        assert error.code == "labels_disagree"
        assert "--option label=safer" in str(error)


def test_saferlhf_keeps_what_is_known_of_both_sides() -> None:
    row = comparison("pku-saferlhf", example("pku-saferlhf", better_response_id=1, safer_response_id=1))
    assert row.subset == "some-set"
    assert (row.meta["chosen_is_safe"], row.meta["rejected_severity_level"]) == (False, 0)
    for wrong in (2, True, "0", -1):
        bad = example("pku-saferlhf", better_response_id=wrong)
        assert refusal("pku-saferlhf", bad).code == "bad_label"


def test_beavertails_by_hand() -> None:
    (row,) = read("beavertails", example("beavertails", is_safe=False, category={"a": True, "b": False}))
    assert isinstance(row, CandidateSet)
    assert (row.responses, row.label, row.meta) == (("Knock, knock.",), 0, {"harms": ["a"]})
    assert refusal("beavertails", example("beavertails", is_safe=1)).code == "wrong_type"


# --- all of them -------------------------------------------------------------------------------------------

RM_R1_MESSAGES = RM_R1.example["context_messages"]
EXCHANGED: dict[str, dict[str, Any]] = {
    "helpsteer2-preference": {"preference_strength": -2},
    "helpsteer3-preference": {"overall_preference": 2},
    "helpsteer3-feedback": {
        "feedback1": get("helpsteer3-feedback").example["feedback2"],
        "feedback2": get("helpsteer3-feedback").example["feedback1"],
    },
    "ultrafeedback-binarized": {
        "chosen": get("ultrafeedback-binarized").example["rejected"],
        "rejected": get("ultrafeedback-binarized").example["chosen"],
    },
    "skywork-80k": {
        "chosen": get("skywork-80k").example["rejected"],
        "rejected": get("skywork-80k").example["chosen"],
    },
    "code-preference-pairs": {
        "accepted": get("code-preference-pairs").example["rejected"],
        "rejected": get("code-preference-pairs").example["accepted"],
    },
    "math-step-dpo": {
        "full_chosen": get("math-step-dpo").example["full_rejected"],
        "full_rejected": get("math-step-dpo").example["full_chosen"],
    },
    "chatbot-arena": {"winner": "model_a"},
    "preference-collection": {"orig_preference": "B", "output": "Feedback: B. [RESULT] B"},
    "openrubrics": {"winner": "B"},
    "rm-r1-sets": {"winner": "model_a"},
    "pku-saferlhf": {"better_response_id": 1, "safer_response_id": 1},
}


@pytest.mark.parametrize("name", EXCHANGED)
@pytest.mark.parametrize("seed", [0, 1])
def test_exchanging_the_label_changes_nothing_that_a_judge_is_shown(name: str, seed: int) -> None:
    spec = load_spec("rm-r1")
    (row,) = read(name, example(name))
    (other,) = read(name, example(name, **EXCHANGED[name]))
    assert isinstance(row, PreferencePair | Comparison)
    assert isinstance(other, PreferencePair | Comparison)
    shown, shown_other = row.present(seed), other.present(seed)
    assert shown.target is not None
    assert shown_other.target == shown.target.swap()
    assert build_prompt(spec, shown) == build_prompt(spec, shown_other)
    assert (row.id, row.rubric, row.reference) == (other.id, other.rubric, other.reference)


VARIANTS = {
    f"{source.name}:{option}={value}": source.configured({option: value}, {})
    for source in SOURCES
    for option, values in source.options.items()
    for value in list(values)[1:]
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=3) | st.sampled_from(["Rating", "4"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "response", "annotations", "a", "Rating"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_option_reads_or_refuses_whatever_a_field_holds(name: str, data: st.DataObject) -> None:
    source = VARIANTS[name]
    row = dict(source.example)
    for key in data.draw(st.lists(st.sampled_from([*row, "id", "meta"]), min_size=1, max_size=3)):
        row[key] = data.draw(VALUES)
    try:
        rows = source.read(row, "p:1")
    except RowError as error:
        assert error.place == "p:1"  # noqa: PT017
    else:
        assert all(type(row.id) is str and row.id for row in rows)
