"""What counts as a leak, by a table of criteria for one request and two responses."""

from __future__ import annotations

import pytest

from reasrm.criteria.leaks import LEAKS, leaks

REQUEST = "Name the capital of France in at most 20 words. Compare option B with the others. Is tea better than coffee?"
RESPONSES = (
    "Paris is the capital of France, and about 2,100,000 people live there. Ask NASA or GPT-4o, says Marie Curie.",
    "I am very sorry, but I cannot help you with that. There are three reasons:\n1. Clear Style matters.",
)


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        # nothing
        ("The response names the city that was asked for.", ""),
        ("The response names the capital of France.", ""),
        ("The response has at most 20 words.", ""),
        ("The response has at most twenty-five words.", ""),
        ("The response is polite and clear.", ""),
        ("A clear answer comes first.", ""),
        ("Gives the right answer.", ""),
        ("The first sentence gives the answer.", ""),
        ("The response states its second step before the third.", ""),
        ("Explains why option B fails.", ""),
        ("Says whether tea is better than coffee.", ""),
        ("The response is longer than one sentence.", ""),
        ("The response gives reasons other than taste.", ""),
        ("Rather than guess, the response says that it does not know.", ""),
        ("The response is in British English.", ""),
        ("Clear style matters more.", ""),
        ("The response sees two sides.", ""),
        ("The answer is what the user wants, not what another person wants.", ""),
        # words of a response
        ("The response says that people live there and why.", ""),
        ("The response does not say I cannot help you.", "leak_span"),
        ("It says: about 2,100,000 people live.", "leak_span leak_number"),
        ("The response says that I am very sorry.", "leak_span"),
        ("The response is the capital of France, and about that.", "leak_span"),
        # numbers
        ("The response gives 2100000 as the population.", "leak_number"),
        ("The response has 3 reasons.", "leak_number"),
        ("The response has three reasons.", "leak_number"),
        ("The response gives a number above 1.", "leak_number"),
        # names
        ("The response names Paris.", "leak_name"),
        ("The response names Paris's mayor.", "leak_name"),
        ("The response quotes Curie.", "leak_name"),
        ("NASA is named as a source.", "leak_name"),
        ("The response does not ask GPT-4o.", "leak_name"),
        # places and labels
        ("Response A is better written.", "position"),
        ("Prefer the first response.", "position"),
        ("Prefer the first.", "position"),
        ("It is as polite as Assistant 2.", "position"),
        ("B names the city.", "position"),
        ("The chosen response names the city.", "position"),
        ("Agrees with the winner.", "position"),
        ("The response that comes first is preferred.", "position"),
        ("Prefer the answer shown last.", "position"),
        ("The left response is polite.", "position"),
        ("Prefer the response on the right.", "position"),
        # comparisons
        ("The response is stronger than average.", "comparative"),
        ("The response is shorter than the other.", "comparative"),
        ("The other response has fewer errors.", "comparative"),
        ("Both responses are polite.", "comparative"),
        ("The better response names the city.", "comparative"),
        ("Compared with the alternative, it is brief.", "comparative"),
        ("The response is superior to Response B.", "position comparative"),
        ("The clearest of the two answers.", "comparative"),
    ],
)
def test_what_leaks(criterion, expected):
    (found,) = leaks([criterion], REQUEST, RESPONSES)
    assert [leak.reason for leak in found] == expected.split()
    assert all(leak.found.lower() in criterion.lower() or leak.reason == "leak_span" for leak in found)


def test_without_responses_only_words_about_them_can_leak():
    found = leaks(["Names Paris in 3 words.", "Prefer the second response."], REQUEST, ())
    assert [[leak.reason for leak in one] for one in found] == [[], ["position"]]


def test_the_length_of_a_run_is_the_callers():
    text = ["It says the people live there now."]
    assert [leak.reason for leak in leaks(text, REQUEST, RESPONSES, ngram=3)[0]] == ["leak_span"]
    assert leaks(text, REQUEST, RESPONSES)[0] == ()
    assert leaks(text, f"{REQUEST} How many people live there?", RESPONSES, ngram=3)[0] == ()


def test_the_order_of_responses_does_not_matter():
    texts = ["Names Paris.", "Says sorry, but I cannot help.", "Has three parts.", "Response B is right."]
    assert leaks(texts, REQUEST, RESPONSES) == leaks(texts, REQUEST, RESPONSES[::-1])
    assert {leak.reason for one in leaks(texts, REQUEST, RESPONSES) for leak in one} <= set(LEAKS)
