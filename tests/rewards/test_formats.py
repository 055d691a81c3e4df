"""Shape: tags once, closed, filled, in order; criteria addressed and explained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reasrm.config import parse_config
from reasrm.errors import ConfigError
from reasrm.records import Criterion, Judgment, ParseStatus, Rubric
from reasrm.rewards.base import Rollout
from reasrm.rewards.parts.completeness import CompletenessPart
from reasrm.rewards.parts.format_answer import FormatAnswerPart
from reasrm.rewards.parts.rubric_format import RubricFormatPart
from reasrm.rewards.reading import after_last, has_layout, has_tags, whole_text
from tests.rewards.rollouts import rollout

WHOLE = "<rubric>be right</rubric><eval>A is right.</eval><answer>[[A]]</answer>"


@pytest.mark.parametrize(
    ("said", "text", "expected"),
    [
        ("A", WHOLE, 2.0),
        ("B", WHOLE, 1.0),  # format without the answer
        ("A", "<eval>A.</eval><answer>[[A]]</answer>", 1.0),  # the answer without the format
        ("B", "<answer>[[B]]</answer>", 0.0),
        (None, WHOLE, 0.0),  # no readable verdict is no format
        ("A", WHOLE.replace("be right", " \n"), 1.0),
        ("A", WHOLE.replace("rubric", "solution"), 2.0),
        ("A", "<solution>4</solution>" + WHOLE, 1.0),  # rubric or solution, not both
        ("A", WHOLE + "<eval>again</eval>", 1.0),
        ("A", WHOLE.replace("</rubric>", ""), 1.0),
        ("A", "<answer>[[A]]</answer><rubric>x</rubric><eval>y</eval>", 1.0),  # decided before it looked
        ("A", "<think><rubric>draft</rubric></think>" + WHOLE, 2.0),
        ("A", "<RUBRIC>x</RUBRIC><Eval>y</Eval><answer>[[A]]</answer>", 2.0),
    ],
)
def test_cold_start_with_the_rubric_format(said, text: str, expected: float) -> None:
    assert RubricFormatPart().build()([rollout(said, text=text)]) == [expected]


def test_cold_start_without_tags_asks_for_a_readable_verdict_only() -> None:
    rows = [rollout("A"), rollout("B"), rollout(None), rollout("A", target=None)]
    assert FormatAnswerPart().build()(rows) == [2.0, 1.0, 0.0, None]


def test_tags_are_names() -> None:
    with pytest.raises(ConfigError, match="write it without brackets"):
        parse_config(FormatAnswerPart, {"tags": ["<eval>"]}, "reward.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>why</think>\n<answer>A</answer>\n", True),
        ("<think>İstanbul</think>\n<answer>A</answer>", True),  # longer in lower case
        ("<think>why</think> so <answer>A</answer>", False),
        ("Well. <think>why</think><answer>A</answer>", False),
        ("<think>why</think><answer>A</answer> Bye.", False),
        ("<think>why</think><answer> </answer>", False),
        ("<answer>A</answer><think>why</think>", False),
        ("<think>a <think>b</think><answer>A</answer>", False),
        ("why</think><answer>A</answer>", False),
    ],
)
def test_a_layout_leaves_room_for_nothing_else(text: str, expected: bool) -> None:
    assert has_layout(text, ("think", "answer")) is expected


def test_the_prompt_may_hold_the_first_tag() -> None:
    assert has_layout("why</think><answer>A</answer>", ("think", "answer"), prefilled=True)
    assert has_layout("<think>why</think><answer>A</answer>", ("think", "answer"), prefilled=True)
    assert not has_layout("<answer>A</answer>", ("think", "answer"), prefilled=True)


def test_thinking_that_the_prompt_opened_is_part_of_the_shape() -> None:
    told = Judgment(ParseStatus.OK, text="why</think><answer>A</answer>", thinking_open=True)
    assert has_layout(whole_text(told), ("think", "answer"))
    assert has_layout(whole_text(replace(told, text=f"<think>{told.text}")), ("think", "answer"))
    assert not has_layout(whole_text(replace(told, thinking_open=False)), ("think", "answer"))
    assert after_last(told, "</think>") == "<answer>A</answer>"
    still = replace(told, text="why <answer>A</answer>")
    assert after_last(still, "</think>") == "", "nothing was written outside the thinking"
    assert after_last(replace(still, thinking_open=False), "</think>") == still.text
    assert after_last(still, "") == still.text


def test_no_tags_are_always_there() -> None:
    assert has_tags("anything", ())


RUBRIC = Rubric(
    criteria=(
        Criterion("hard_rule", "The response names the capital of France."),
        Criterion("principle", "The response explains its historical background."),
    )
)
EXPLAINED = """1. [Hard Rule] A writes Paris at once, while B writes Lyon instead.
2. Only A mentions how the kings moved there."""
CLOSING = "Justification: A meets the rule and tells more.\nWinner: Response A"


def judged(evaluation: str | None, closing: str = CLOSING, **row) -> Rollout:
    return rollout(text=f"{evaluation}\n{closing}", evaluation=evaluation, **{"rubric": RUBRIC, **row})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (judged(EXPLAINED), 1.0),
        (judged(EXPLAINED.splitlines()[0]), 0.75),  # half of 2 × 0.25
        (judged("1. fine\n2. fine"), 0.75),  # addressed, not explained
        (judged(EXPLAINED, "Winner: Response A"), 0.75),
        (judged(EXPLAINED, "Justification: A.\nWinner: Response A"), 0.75),
        (judged(EXPLAINED, "Justification:\nA meets the rule and tells more."), 1.0),
        (judged(EXPLAINED, said=None), 0.75),
        (judged(None, ""), 0.25),  # a bare verdict
        (judged(None, "", said=None), 0.0),
        (judged(EXPLAINED, rubric=None), None),
        (judged("Capital of France: A says Paris here, B says Lyon.\n" + EXPLAINED.splitlines()[1]), 1.0),
        (judged(EXPLAINED, rubric=Rubric(text="1. Names the capital.\n2. Explains its history.")), 1.0),
        (judged(EXPLAINED, rubric=None, own_rubric="1. Names the capital.\n2. Explains its history."), 1.0),
    ],
    ids=[
        "all four",
        "one of two criteria",
        "nothing explained",
        "no justification",
        "a short justification",
        "justified on the next line",
        "no decision",
        "a bare verdict",
        "nothing",
        "no rubric",
        "named by its words",
        "a rubric in free text",
        "the judge's own rubric",
    ],
)
def test_completeness(row: Rollout, expected: float | None) -> None:
    assert CompletenessPart().build()([row]) == [expected]


def test_repeating_the_criteria_explains_nothing() -> None:
    parroted = "\n".join(f"{n}. {c.text}" for n, c in enumerate(RUBRIC.criteria, 1))
    assert CompletenessPart(min_words=3).build()([judged(parroted)]) == [0.75]


def test_a_number_in_the_text_is_no_criterion() -> None:
    lines = "1.5 metres are too short for this, says A.\n2024 was a good year for B, they say."
    section = CompletenessPart(justification=0, decision=0)
    assert section.build()([judged(lines)]) == [0.0]


def test_every_value_is_configurable() -> None:
    section = CompletenessPart(criteria=0.5, explanations=0, justification=0, decision=0.1)
    assert section.build()([judged(None), judged(EXPLAINED)]) == pytest.approx([0.1, 0.6])
    assert section.build()([rollout(None, status=ParseStatus.TRUNCATED, rubric=RUBRIC)]) == [0.0]
