"""Phrases that give away that a verdict was known, and those that only sound like it."""

from __future__ import annotations

import pytest

from reasrm.distillation.betrayal import find_betrayal, own_texts
from reasrm.records import Comparison, Message, Rubric, Verdict

BETRAYING = {
    "correct verdict": "The correct verdict here is A.",
    "true label": "This agrees with the true label.",
    "gold decision": "which is the gold decision",
    "given verdict": "Let me see why the given verdict holds.",
    "given answer": "This matches the given answer.",
    "stated conclusion": "so that I come to the stated conclusion",
    "ground truth": "By the ground truth, A wins.",
    "hyphen": "The ground-truth says A.",
    "emphasis": "The **correct** _verdict_ is A.",
    "broken line": "The correct\n   verdict is A.",
    "full width": "The ｃｏｒｒｅｃｔ verdict is A.",
    "zero width": "The cor\u200brect verdict is A.",
    "label says": "The label says A.",
    "human preference": "This reflects the human preference.",
    "previous judgment": "The previous judgment overlooked the sum.",
    "previous judgement": "Unlike the earlier judgement, I find",
    "other judge": "The other judge was misled.",
    "previous analysis": "The previous analysis overlooked this.",
    "told": "I was told that A is better.",
    "told, short": "As I've been told, A.",
    "informed": "We have been informed about the outcome.",
    "told that the answer": "Being told that the first one wins, look at it.",
    "asked to justify": "I am asked to justify that A is better.",
    "supposed to win": "A is supposed to win.",
    "settled": "Since the decision is already settled, I look for reasons.",
    "in advance": "The winner, known in advance, is A.",
    "note": "The note says that A is better.",
    "settled that": "It is settled that the first response is better.",
    "has been settled": "As it has been settled, A wins.",
    "known to be": "Response A is known to be the better one.",
    "knowing": "Knowing that A is the better one, I look for reasons.",
    "judged before": "Somebody judged it before and overlooked the sum.",
    "evaluator": "The previous evaluator preferred B.",
    "according to the note": "According to the note, A is better.",
    "must justify": "I need to justify why A is better.",
    "answer key": "The answer key shows 12.",
}
INNOCENT = {
    "judging": "I am asked to compare two responses. Response A gives the correct answer, 12.",
    "decision": "My final decision is A. This verdict follows from the sum.",
    "instruction": "The instruction says three bullet points; A was given two responses' worth of text.",
    "preference": "I give preference to A; preference is given to the shorter text.",
    "outcome": "A reaches the correct conclusion and describes the expected outcome.",
    "winner": "The winner is A.",
    "known fact": "It is known that water boils at 100 degrees, and as the user settled on A, B says so, too.",
    "duty": "We must argue from what the responses say. I have to reach a decision; I know that both are short.",
    "a note": "The user asks for a note. The note in A is longer, as stated in its heading.",
    "label": "A prints the nutrition label of the bottle.",
    "told by the user": "The user was told by a doctor to rest.",
    "attempt": "In the previous attempt the loop ran once too often.",
    "initial": "My first impression was wrong; the original text has three steps.",
    "justify": "The prompt asks to justify each step, and A is expected to show them.",
}


def row(**fields: str) -> Comparison:
    texts = {"response_a": "good", "response_b": "bad", **fields}
    return Comparison(id="q", prompt=(Message("user", "Which?"),), target=Verdict("A"), **texts)


@pytest.mark.parametrize("text", BETRAYING.values(), ids=BETRAYING)
def test_it_is_found(text: str) -> None:
    assert find_betrayal(f"<eval>{text}</eval> <answer>[[A]]</answer>", own_texts(row())) is not None


@pytest.mark.parametrize("text", INNOCENT.values(), ids=INNOCENT)
def test_it_is_let_pass(text: str) -> None:
    assert find_betrayal(f"<eval>{text}</eval> <answer>[[A]]</answer>", own_texts(row())) is None


QUOTED = "Compare with the ground truth label."


@pytest.mark.parametrize(
    "text",
    [
        'A says "compare with the ground truth label", which is vague.',
        "A says “Compare with the   ground truth label.”",
        "<quote_A>the ground truth label</quote_A> is vague",
        "A writes `ground truth label`.",
        "A writes\n```\nCompare with the ground truth label.\n```",
        "As A has it:\n> with the **ground truth** label\nwhich is vague.",
        'It says "so" and then "ground truth" and "more".',
        "A says “…the ground truth label…”",
    ],
    ids=["straight", "curly", "tag", "back tick", "fence", "quoted line", "among others", "with ellipses"],
)
def test_quotations_of_the_rows_own_texts_do_not_count(text: str) -> None:
    assert find_betrayal(text, own_texts(row(response_a=QUOTED))) is None
    assert find_betrayal(text, own_texts(row())) == "ground truth", "nobody there said so"
    assert find_betrayal(f"{text} The label is A.", own_texts(row(response_a=QUOTED))) is not None


def test_outside_quotation_marks_the_words_count_whoever_used_them_first() -> None:
    """A good trace lost costs a call; a bad one kept costs the student."""
    text = "By the ground truth label A is better."
    assert find_betrayal(text, own_texts(row(response_a=QUOTED))) == "ground truth"


def test_every_text_that_a_judge_may_quote_is_known() -> None:
    whole = Comparison(
        id="q",
        prompt=(Message("user", "one"), Message("assistant", "two")),
        response_a="three",
        response_b="four",
        rubric=Rubric(text="five"),
        principle="six",
        reference="seven",
    )
    assert own_texts(whole) == ("one", "two", "three", "four", "five", "six", "seven")


def test_more_patterns_may_be_given() -> None:
    text = "Das richtige Urteil ist A."
    assert find_betrayal(text, ()) is None
    assert find_betrayal(text, (), (r"richtige\w* Urteil",)) == "richtige urteil"


@pytest.mark.parametrize("mark", ["“", "«", "„", "<quote>", "`", '"'])
def test_marks_that_open_and_never_close_are_read_in_linear_time(mark: str) -> None:
    text = mark * 100_000 + " by the ground truth"
    assert find_betrayal(text, ("good",)) == "ground truth"
