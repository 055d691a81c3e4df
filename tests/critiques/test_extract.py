"""Core arguments read from text by rules."""

from __future__ import annotations

import pytest

from reasrm.critiques import core_arguments, distinct, read_critique
from reasrm.critiques.wording import content_stems, is_verdict_only, stance_of
from reasrm.records import CoreArgument, Critique


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
        "**Strengths of Response B:**\n- the tone\n2. great length\n\n"
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


def test_a_critique_that_lists_its_arguments_is_not_read_again() -> None:
    own = CoreArgument("A", "for", "kind")
    assert read_critique(Critique((own, own), "B is vague.")) == (own,)
    assert [a.about for a in read_critique(Critique(text="B is vague."))] == ["B"]
    assert distinct([]) == read_critique(Critique()) == ()


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


def test_hostile_texts_end() -> None:
    for unit in ("and ", "not good ", " ", '"“', "A, ", "Response A is bad and ", "A is good. ", "a: "):
        assert len(core_arguments(unit * 1000)) <= 1
