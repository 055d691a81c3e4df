"""Core arguments read from text by rules."""

from __future__ import annotations

import pytest

from reasrm.critiques import core_arguments
from reasrm.critiques.wording import content_stems, is_verdict_only, stance_of, topic_key


def told(text: str, **how: object) -> list[str]:
    return [f"{a.about}{'+' if a.stance == 'for' else '-'} {a.text}" for a in core_arguments(text, **how)]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("A", "A"),
        ("B", "B"),
        ("**B**", "B"),
        ("[[A]]", "A"),
        ("Response A", "A"),
        ("response B", "B"),
        ("Assistant B", "B"),
        ("Chatbot A", "A"),
        ("Output (a)", "A"),
        ("Output (b)", "B"),
        ("Answer 2", "B"),
        ("Summary 1", "A"),
        ("The first response", "A"),
        ("The second", "B"),
        ("The former", "A"),
        ("the latter", "B"),
    ],
)
def test_names(name: str, side: str) -> None:
    assert told(f"{name} is helpful.") == [f"{side}+ the response is helpful"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n\n",
        "A good answer is short.",
        "A famous, correct answer.",
        "A less clear answer.",
        "[[A]]",
        "My final verdict is Assistant A is significantly better: [[A>>B]]",
        "Overall, Response A is better than Response B.",
        "Therefore I prefer Response B.",
        "Response A discusses Paris.",
        "The style is clear.",
        "The first paragraph is clear.",
        'Response A says "this is wrong".',
    ],
)
def test_what_argues_nothing(text: str) -> None:
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A is correct and B is wrong.", ["A+ the response is correct", "B- the response is wrong"]),
        ("While A is vivid, B is vague.", ["A+ While the response is vivid", "B- the response is vague"]),
        ("A is clear but misses the point.", ["A+ the response is clear", "A- misses the point"]),
        ("A misleads, B convinces.", ["A- the response misleads", "B+ the response convinces"]),
        ("A is clear, short and correct.", ["A+ the response is clear, short and correct"]),
        ("A is vague. It lacks detail.", ["A- the response is vague", "A- It lacks detail"]),
        ("Both responses are wrong.", ["A- the response are wrong", "B- the response are wrong"]),
        ("Neither answer is correct.", ["A- the response is correct", "B- the response is correct"]),
        ("A is better than B because it is concise.", ["A+ it is concise"]),
        (
            "B is more accurate than A.",
            [
                "B+ the response is more accurate than the other response",
                "A- the other response is more accurate than the response",
            ],
        ),
        (
            "Unlike A, B is accurate.",
            [
                "B+ Unlike the other response, the response is accurate",
                "A- Unlike the response, the other response is accurate",
            ],
        ),
    ],
)
def test_clauses_sides_and_stances(text: str, expected: list[str]) -> None:
    assert told(text) == expected


def test_lists_under_headings_take_side_and_stance_from_them() -> None:
    text = (
        "**Strengths of Response B:**\n\n- the tone\n\n2. great length\n\n"
        "Weaknesses:\n* could be more accurate\n\nIt is clear."
    )
    assert told(text) == ["B+ the tone", "B+ great length", "B- could be more accurate", "B+ It is clear"]


def test_feedback_on_one_response_needs_no_name() -> None:
    assert told("It is clear. However, it fails to cite.", about="B") == [
        "B+ It is clear",
        "B- However, it fails to cite",
    ]
    assert told("It is clear.") == []


def test_exchanged_names_give_the_same_arguments_about_the_other_side() -> None:
    text = "A is correct and B is wrong. B is more vivid than A, but it is unsafe. Unlike A, B has no errors."
    other = text.translate(str.maketrans("AB", "BA"))
    assert [a.swap() for a in core_arguments(other)] == list(core_arguments(text))
    assert len(core_arguments(text)) == 7


@pytest.mark.parametrize(
    ("text", "fatal"),
    [
        ("A contains factual errors.", True),
        ("A is completely wrong.", True),
        ("A gives harmful advice.", True),
        ("A has a minor factual error.", False),
        ("A is not harmful.", False),
        ("A is vague.", False),
    ],
)
def test_fatal_faults(text: str, fatal: bool) -> None:
    assert [a.fatal for a in core_arguments(text)] == [fatal]


def test_repeats_are_dropped_and_the_other_stance_is_none() -> None:
    assert told("A is helpful. A is not vague. A was helpful. A is vague.") == [
        "A+ the response is helpful",
        "A+ the response is not vague",
        "A- the response is vague",
    ]


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("correct", "for"),
        ("not correct", "against"),
        ("isn't correct", "against"),
        ("not only correct", "for"),
        ("lacks clear detail", "against"),
        ("does not lack clarity", "for"),
        ("without errors", "for"),
        ("fewer mistakes", "for"),
        ("less accurate", "against"),
        ("not red old big wet correct", "for"),
        ("not in any of them quite correct", "against"),
        ("helpful, yet wrong and vague", "against"),
        ("clear, then wrong", "for"),
        ("fails to tell the whole story in a clear way", "against"),
        ("could be more accurate", "against"),
        ("incorrectly says which is correct", "against"),
        ("completely wrong", "against"),
        ("friendly", "for"),
        ("blue", None),
    ],
)
def test_stances(text: str, stance: str | None) -> None:
    assert stance_of(text) == stance


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        ("a clearer account", "for"),
        ("stronger", "for"),
        ("the strongest of both", "for"),
        ("richer in examples", "for"),
        ("much deeper analysis", "for"),
        ("the friendliest tone", "for"),
        ("weaker", "against"),
        ("vaguer than the other", "against"),
        ("the laziest reading", "against"),
        ("wordier", "against"),
        ("no clearer than the question", "against"),
        ("not weaker", "for"),
        ("could be clearer", "against"),
        ("would be even stronger with sources", "against"),
        ("deep water", None),
        ("dry land", None),
        ("longer and simpler", None),
        ("under the ladder", None),
        ("an interest in forest fires", None),
    ],
)
def test_comparatives_and_superlatives(text: str, stance: str | None) -> None:
    assert stance_of(text) == stance


def test_a_comparative_is_of_the_quality_it_compares() -> None:
    assert topic_key("clearer") == topic_key("unclear") == topic_key("clarity")
    assert is_verdict_only("Overall, the response is stronger")
    assert not is_verdict_only("the response is clearer")


def test_content_words_are_stems_without_function_words() -> None:
    assert (
        content_stems("The response doesn't cite its sources")
        == content_stems("citing source")
        == {"cite", "sourc"}
    )
    assert content_stems("准确 of the") == {"准", "确"}
    assert is_verdict_only("Overall, the response is slightly better")
    assert not is_verdict_only("better sources")
    assert not is_verdict_only("overall")


@pytest.mark.parametrize(
    ("text", "stance"),
    [
        # Not by stem: useful, creative, generic, effective, original, meaningful.
        ("uses a loop", None),
        ("creates a list", None),
        ("generally", None),
        ("side effects", None),
        ("the original meaning", None),
        ("the problem at hand", None),
        ("usefully", "for"),
        ("could have been more helpful", "against"),
        ("there is room for improvement", "against"),
        ("too many words", "against"),
        ("not too long ago", "against"),
        ("clear and specific too", "for"),
        ("as well as prices", None),
        ("to the right of the cat", None),
        ("avoids errors", "for"),
        ("selects one instead of the correct option", "against"),
        ("no significant information is missing", "for"),
        # Deeds, where no quality is named.
        ("meets the request", "for"),
        ("mentions prices", None),
        ("does not mention prices", "against"),
        ("only repeats the question", "against"),
        ("not only mentions prices", None),
        ("only one is correct", "for"),
    ],
)
def test_words_count_by_form_wishes_and_deeds(text: str, stance: str | None) -> None:
    assert stance_of(text) == stance


def test_a_reason_has_the_stance_of_what_it_is_given_for() -> None:
    assert told("Response B is better because it lists books, while Response A repeats one.") == [
        "B+ it lists books",
        "A- the response repeats one",
    ]
    assert told("Response 1 is correct because crazy can be offensive.") == [
        "A+ the response is correct",
        "A+ crazy can be offensive",
    ]
    assert told("A is better than B because B prints nothing.")[0].startswith("B-")


def test_what_is_granted_ends_at_its_comma() -> None:
    assert told("Although A is clear, helpful and vivid, it is wrong.") == [
        "A+ Although the response is clear, helpful and vivid",
        "A- it is wrong",
    ]


def test_criteria_before_a_colon_have_no_stance() -> None:
    text = (
        "1. **Assistant A:**\n   - **Correctness:** It counts wrongly.\n   - **Helpfulness:** None.\n"
        "2. **Clarity:**\n   - **Assistant B**: Gives clear steps.\n- **Weaknesses:** the tone\n"
    )
    assert told(text) == ["A- It counts wrongly", "B+ Gives clear steps", "B- the tone"]


def test_choices_of_an_exercise_are_no_responses() -> None:
    text = "Assistant A correctly selects option B. Assistant B wrongly selects option A. The answer is (A)."
    assert told(text) == [
        "A+ the response correctly selects option B",
        "B- the response wrongly selects option A",
    ]
    # Where no firmer name is used, an option is one.
    assert told("Option B is correct.") == ["B+ the response is correct"]
    assert told("The assistant misread both answers. The second one is correct.", about="A") == [
        "A+ The second one is correct"
    ]


def test_two_names_joined_and_a_name_that_is_only_likened() -> None:
    assert [a.about for a in core_arguments("Both Assistant A and B give correct code.")] == ["A", "B"]
    assert [a.about for a in core_arguments("Outputs (a) and (b) are correct.")] == ["A", "B"]
    assert told("Assistant B is short. However, like Assistant A, it lacks tests.") == [
        "B- However, like the other response, it lacks tests"
    ]


def test_the_judges_own_solution_plans_code_and_formulas_argue_nothing() -> None:
    text = (
        "Assistant B is clear.\n\n**My answer:**\n\nThis is correct and useful.\n"
        "```python\n# Assistant A is wrong\n```\n"
        "\\[\nA is wrong\n\\]\nWe need to consider whether they are accurate. My solution is efficient.\n"
    )
    assert told(text) == ["B+ the response is clear"]
    # A block without an end is text.
    assert told("```\nAssistant A is wrong.") == ["A- the response is wrong"]


def test_a_quotation_is_not_cut() -> None:
    assert told('A says "It is short. It is wrong, and bad." and is helpful.') == [
        'A+ the response says "It is short. It is wrong, and bad." and is helpful'
    ]


def test_hostile_texts_end() -> None:
    for unit in (
        "```\n",
        "\\[\n",
        "**a:** ",
        "While A, ",
        "A because ",
        "(a) and ",
        "and ",
        "not good ",
        " ",
        '"“',
        "A, ",
        "Response A is bad and ",
        "A is good. ",
        "a: ",
    ):
        assert len(core_arguments(unit * 1000)) <= 1
