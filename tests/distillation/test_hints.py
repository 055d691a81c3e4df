"""Masked traces: no verdict can be read, no winner is named, the structure stays."""

from __future__ import annotations

import json

import pytest

from reasrm.distillation.hints import mask_hint
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import load_spec
from reasrm.requests import Completion
from tests.commands import ROOT

GOLDEN = [
    json.loads(line) for line in (ROOT / "tests" / "golden" / "verdicts.jsonl").read_text().splitlines()
]


@pytest.mark.slow
def test_no_verdict_of_the_corpus_can_be_read_from_its_hint() -> None:
    masked = 0
    for case in GOLDEN:
        spec = load_spec(case["spec"])
        completion = Completion("x", text=case["text"])
        if spec.protocol != "pairwise" or parse(spec, completion).status != "ok":
            continue
        hint = mask_hint(spec, case["text"])
        assert hint is not None, case["name"]
        assert parse(spec, Completion("x", text=hint)).verdict is None, case["name"]
        masked += 1
    assert masked > 60


RM_R1 = (
    "<type>Chat</type>\n<rubric>Accuracy (60%), tone (40%)</rubric>\n<eval>\n"
    "<quote_A>It is 12.</quote_A> Chatbot A adds the numbers rightly in 3 steps. Chatbot B forgets one.\n"
    "So Chatbot A is clearly better than Chatbot B.\nA: 9, B: 4\n</eval>\n<answer>[[A]]</answer>"
)


def test_the_structure_and_the_findings_stay() -> None:
    assert mask_hint(load_spec("rm-r1"), RM_R1) == (
        "<type>Chat</type>\n<rubric>Accuracy (60%), tone (40%)</rubric>\n<eval>\n"
        "<quote_A>It is 12.</quote_A> Chatbot A adds the numbers rightly in 3 steps. Chatbot B forgets one.\n"
        "So [WINNER].\n[SCORE], [SCORE]\n</eval>\n<answer>[VERDICT]</answer>"
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Response A wins.", "[WINNER]."),
        ("On the whole, B is stronger.", "On the whole, [WINNER]."),
        ("Assistant B's reply is a little weaker here.", "[WINNER] here."),
        ("I prefer Response B for this.", "I [WINNER] for this."),
        ("The better response is B.", "The [WINNER]."),
        ("The winner is therefore Chatbot A!", "The [WINNER]!"),
        ("The first response outperforms the second.", "[WINNER]."),
        ("Output (a) is preferable.", "[WINNER]."),
        ("A > B overall", "[WINNER] overall"),
        ("I go with A.", "I [WINNER]."),
        ("The answer is A.", "The [WINNER]."),
        ("Hence, B.", "[WINNER]."),
        ("Response B is clearly the right choice.", "[WINNER]."),
        ("Chatbot A: 9/10. Chatbot B: 4/10.", "[SCORE]. [SCORE]."),
        ("I give it 8/10, the other 6.5 / 10.", "I give it [SCORE], the other [SCORE]."),
        ("Score: 7. A rating of 4 and 9 out of 10.", "[SCORE]. A [SCORE] and [SCORE]."),
        ("It earns 3 points.", "It earns [SCORE]."),
    ],
)
def test_winners_and_scores_are_masked(text: str, masked: str) -> None:
    assert mask_hint(load_spec("rm-r1"), text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "A good answer names the year.",
        "So A good answer: the right choice of words. Therefore A and B differ in length only.",
        "Chatbot A names 3 birds in step 2; chatbot B names 3/4 of them.",
        "A better sum would be 12.",
        "<summary_B>It lists two options.</summary_B>",
    ],
)
def test_what_gives_nothing_away_stays(text: str) -> None:
    assert mask_hint(load_spec("rm-r1"), text) == text


def test_other_grammars() -> None:
    gate = "--- Final Judgment ---\nJustification: it adds up.\n**Winner**: Response B\n"
    hint = mask_hint(load_spec("rubric"), gate)
    assert hint == "--- Final Judgment ---\nJustification: it adds up.\n**Winner**: [VERDICT]\n"
    assert mask_hint(load_spec("arena-hard"), "So it is [[A>>B]]") == "So it is [VERDICT]"
    assert mask_hint(load_spec("llmbar"), "Output (b) is better.") == "[VERDICT]."
    assert (
        mask_hint(load_spec("prometheus-relative"), "Feedback: x [RESULT] A")
        == "Feedback: x [RESULT] [VERDICT]"
    )


def test_a_prefix_ends_at_a_sentence_or_a_line() -> None:
    text = "One. Two! Three?\nFour\nFive <answer>[[A]]</answer>"
    halves = {ratio: mask_hint(load_spec("rm-r1"), text, ratio) for ratio in (0.1, 0.2, 0.5, 0.99, 1.0)}
    assert halves == {
        0.1: "",
        0.2: "One. ",
        0.5: "One. Two! ",
        0.99: "One. Two! Three?\nFour\n",
        1.0: "One. Two! Three?\nFour\nFive <answer>[VERDICT]</answer>",
    }


def test_a_disguised_verdict_is_masked_in_the_form_in_which_it_is_read() -> None:
    spec = load_spec("mt-bench")
    text = "Fine ［［A］］"
    assert parse(spec, Completion("x", text=text)).status == "ok"
    assert mask_hint(spec, text) == "Fine [VERDICT]"


def test_tags_that_open_and_never_close_are_masked_in_linear_time() -> None:
    text = "<answer>[[A]]</answer>" + "<answer>" * 50_000
    assert mask_hint(load_spec("rm-r1"), text) == "<answer>[VERDICT]</answer>" + "<answer>" * 50_000
