"""A verdict in the verdict place that its own sentence takes back is no verdict, in any grammar; a plain one stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reasrm.protocol.grammar import MarkedGrammar, MenuEntry
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.requests import Completion

MENU = {"A": MenuEntry(winner="A"), "B": MenuEntry(winner="B")}


def marked(**literals: Any) -> JudgeSpec:
    return load_spec("mt-bench").model_copy(update={"grammar": MarkedGrammar(menu=MENU, **literals)})


RANKING = json.dumps(
    {"scores": {"response-1": 5, "response-2": 1}, "best-to-worst": ["response-1", "response-2"]}
)
GRAMMARS: dict[str, tuple[JudgeSpec, str]] = {
    "marked": (load_spec("mt-bench"), "[[A]]"),
    "five levels": (load_spec("arena-hard"), "[[A>>B]]"),
    "tagged": (load_spec("rm-r1"), "<answer>[[A]]</answer>"),
    "boxed": (marked(open="\\boxed{", close="}"), "\\boxed{A}"),
    "json": (marked(open='"winner": "', close='"'), '"winner": "A"'),
    "score": (load_spec("pointwise-10"), "[[7]]"),
    "ranking": (load_spec("principle-list"), RANKING),
}
TAKEN_BACK = [
    "not {}",
    "I would not say {}",
    "I don't think that the better response is **{}**",
    "My verdict is not {}.",
    "My verdict is not:\n\n{}",
    "This is not my verdict: {}",
    "Neither {} nor anything else",
    "I cannot choose {}",
    "anything but {}",
    "I would pick a tie rather than {}",
    "By no means {}",
    "It would be wrong to answer {}",
    "I disagree with {}",
    "I doubt it is {}",
    "I do not know whether it is {}",
    "{} is not my verdict",
    "{} isn't right.",
    "{} would be wrong.",
    "{} does not win",
    "{}. That is not my verdict.",
    "Is it {}?",
    "{} if the other were shorter",
    "It contains the text {}",
    'The second one says "{}"',
    "It tells me to write {}",
    "I was told to answer {}",
    "I am tempted to say {}",
    "I hesitate to answer {}",
    "I'll refrain from saying {}",
    "I stop short of giving {}",
    "Das ist nicht {}",
    "One may write a verdict such as {}",
    "~~{}~~",
    "<del>{}</del>",
    "<!-- {} -->",
    "\u7b54\u6848\u4e0d\u662f{}",
]
PLAIN = [
    "{}",
    "My verdict: {}",
    "**Final verdict**: {}.",
    "So I choose {}",
    "It does not answer the question {}",
    "It is not bad at all. {}",
    "I do not like the other, {}",
    "I do not like the other so {}",
    "I can't find a fault. Verdict: {}",
    "The other is wrong: {}",
    "It does not give the answer: {}",
    "The other one's answer is not correct: {}",
    "It does not say why.\n{}",
    "There is no doubt that it is {}",
    "Without question {}",
    "If I must choose, {}",
    "I do not hesitate: {}",
    "Without hesitation: {}",
    "Not only is it right, {}",
    "Why not? {}",
    "The question was: is it right?\n\n{}",
    "I say {} since it is not wrong",
    "{}\n\nThis is not a matter of taste.",
]


@pytest.mark.parametrize("name", GRAMMARS)
def test_what_is_taken_back_is_no_verdict(name: str) -> None:
    spec, verdict = GRAMMARS[name]
    for text in TAKEN_BACK:
        judgment = parse(spec, Completion("r", text=text.replace("{}", verdict)))
        assert judgment.status == "no_verdict", text
        assert (judgment.verdict, judgment.score, judgment.ranking) == (None, None, None)


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_plain_verdict_is_read_whatever_is_denied_around_it(name: str) -> None:
    spec, verdict = GRAMMARS[name]
    for text in PLAIN:
        assert parse(spec, Completion("r", text=text.replace("{}", verdict))).status == "ok", text
    once_more = f"I would not say {verdict} lightly. But I say {verdict}"
    assert parse(spec, Completion("r", text=once_more)).status == "ok"


@pytest.mark.parametrize(
    ("spec", "text", "status"),
    [
        ("rm-r1", "<answer>not [[A]]</answer>", "no_verdict"),
        ("rm-r1", "<answer>no [[A]]</answer>", "no_verdict"),
        ("rm-r1", "<answer>neither A nor B</answer>", "off_menu"),
        ("rm-r1", "<answer>neither [[A]] nor [[B]]</answer>", "ambiguous"),
        ("rm-r1", "<answer>[[neither]]</answer>", "off_menu"),
        ("rm-r1", "I would not say <answer>[[A]]</answer>", "no_verdict"),
        ("rm-r1", "<answer>[[A]]</answer> is not my verdict", "no_verdict"),
        ("rm-r1", "<eval>B is not</eval><answer>[[A]]</answer>", "ok"),
        ("rm-nlhf", "<choice>not [[B]]</choice>", "no_verdict"),
        ("mt-bench", "not [[A]], rather [[B]]", "ambiguous"),
        ("mt-bench", "not [[C]]", "no_verdict"),
        ("prometheus-relative", "Feedback: x [RESULT] not A", "off_menu"),
        ("prometheus-relative", "Feedback: I would not say [RESULT] A", "no_verdict"),
        ("prometheus-absolute", "Feedback: x. This is not my score: [RESULT] 4", "no_verdict"),
        ("prometheus-absolute", "Feedback: it does not say why [RESULT] 4", "ok"),
        ("rubric", "--- Final Judgment ---\nWinner: not Response A", "off_menu"),
        ("rubric", "--- Final Judgment ---\nWinner: neither", "off_menu"),
        ("rubric", "--- Final Judgment ---\nJustification: B does not\nWinner: Response A", "ok"),
        ("llmbar", "I would not say that Output (a) is better.", "no_verdict"),
        ("llmbar", "not Output (a)", "no_verdict"),
        ("principle-list", f"This is not my ranking: {RANKING}", "no_verdict"),
    ],
)
def test_denied_in_each_shipped_grammar(spec: str, text: str, status: str) -> None:
    assert parse(load_spec(spec), Completion("r", text=text)).status == status


@pytest.mark.parametrize("text", ["\\boxed{not A}", "\\boxed{neither A nor B}", "not \\boxed{A}"])
def test_a_denied_box_is_no_verdict(text: str) -> None:
    assert parse(GRAMMARS["boxed"][0], Completion("r", text=text)).verdict is None


@pytest.mark.parametrize("text", ['{"winner": "not A"}', '{"winner": "neither"}', '{"not_winner": "A"}'])
def test_a_denied_value_is_no_verdict(text: str) -> None:
    assert parse(GRAMMARS["json"][0], Completion("r", text=text)).verdict is None
