"""What texts show about demands, kind by kind: evidence and finding by hand, and bends that make or break each."""

from __future__ import annotations

import random
import re

import pytest

from reasrm.world.english.bends import BENDS
from reasrm.world.english.checks import EVIDENCE, evidence_of, is_met
from reasrm.world.english.demands import Demand, check, lie
from reasrm.world.english.drafts import Draft, sentences_of
from reasrm.world.english.kinds import KINDS
from reasrm.world.english.phrases import MARKERS
from reasrm.world.english.texts import load_texts
from reasrm.world.rules import RuleCheck

SEA = "The tide is low. Gulls circle above the sand."
LIST = "- The tide is low.\n- Gulls circle above the sand."

CASES = [
    ("lower case", None, SEA, '"The"', False),
    ("lower case", None, "the tide is low.", "none", True),
    ("lower case", None, "the tide is Low.", '"Low."', False),
    ("question", None, SEA, '"above the sand."', False),
    ("question", None, "The tide is low, right?", '"is low, right?"', True),
    ("question", None, "Is it low? It is.", '"low? It is."', False),
    ("question", None, "Low?", '"Low?"', True),
    ("include", "garden", "We sit near the garden.", '"the garden."', True),
    ("include", "garden", "Garden walls are old.", '"Garden"', True),
    ("include", "garden", "The gardener rests.", "none", False),
    ("avoid", "garden", "We sit near the garden.", '"the garden."', False),
    ("avoid", "garden", "The gardener rests.", "none", True),
    ("sentences", "2", SEA, "1 The, 2 Gulls", True),
    ("sentences", "3", SEA, "1 The, 2 Gulls", False),
    ("sentences", "2", "Sure! The tide is low.", "1 Sure, 2 The", True),
    ("sentences", "2", "A Title\nThe tide is low. It is cold.", "1 The, 2 It", True),
    ("sentences", "2", LIST, "1 The, 2 Gulls", True),
    ("sentences", "2", "", "none", False),
    ("sentences", "2", "Salt,oil fry. It is hot.", "1 Salt, 2 It", True),
    ("items", "2", LIST, "1 The, 2 Gulls", True),
    ("items", "3", LIST, "1 The, 2 Gulls", False),
    ("items", "2", SEA, "none", False),
    ("items", "2", f"Sure!\n{LIST}", "1 The, 2 Gulls", True),
    ("first", "Today", "Today, the tide is low.", '"Today, the"', True),
    ("first", "Today", "today it is low.", '"today it"', True),
    ("first", "Today", "- Today, it is low.", '"Today, it"', True),
    ("first", "Today", "Todays are long.", '"Todays are"', False),
    ("first", "Today", "", "none", False),
    ("first", "Today", '"', '""', False),
    ("end", "that is all", "It is low, and that is all.", '"that is all."', True),
    ("end", "that is all", "That is all there is.", '"all there is."', False),
    ("quote", "less is more", 'True to "less is more" it rests.', '"less is more"', True),
    ("quote", "less is more", 'True to "easy does it" it rests.', '"easy does it"', False),
    ("quote", "less is more", 'Not "easy does it" but "Less is more".', '"Less is more"', True),
    ("quote", "less is more", "True to less is more it rests.", "none", False),
    ("language", "French", f"{SEA} La vie est belle.", '"La vie est"', True),
    ("language", "French", f"{SEA} Der Tag ist noch lang.", "none", False),
    ("language", "German", "der tag ist noch lang.", '"der tag ist"', True),
    ("language", "Spanish", "El cielo es azul y la noche es corta.", '"El cielo es"', True),
    ("language", "Spanish", "La vie est belle.", "none", False),
    ("language", "German", "They die in the mist.", "none", False),
    ("digit", None, "It lasts for 3 hours.", '"3"', True),
    ("digit", None, "It lasts for three hours.", "none", False),
    ("no digit", None, "It lasts for 3 hours.", '"3"', False),
    ("no digit", None, "It lasts for three hours.", "none", True),
    ("short", "8", SEA, '"Gulls circle" 5', True),
    ("short", "5", SEA, '"Gulls circle" 5', False),
    ("short", "8", "", "none", False),
    ("title", None, f"A Short Note\n{SEA}", '"Short Note"', True),
    ("title", None, SEA, '"the sand."', False),
    ("title", None, LIST, '"is low."', False),
    ("title", None, "", "none", False),
]


@pytest.mark.parametrize(("kind", "value", "text", "evidence", "met"), CASES)
def test_findings_are_as_a_person_finds_them(
    kind: str, value: str | None, text: str, evidence: str, met: bool
) -> None:
    assert check(Demand(kind, value), text) == RuleCheck(evidence, met)


def test_every_kind_is_checked_both_ways() -> None:
    assert {(kind, met) for kind, _, _, _, met in CASES} == {
        (kind, met) for kind in KINDS for met in (True, False)
    }
    with pytest.raises(ValueError, match="no such kind"):
        evidence_of("rhyme", None, SEA)


BENT = {
    ("lower case", None, True): "the tide is low. gulls circle above the sand.",
    ("lower case", None, False): SEA,
    ("include", "garden", True): "The tide is low. Gulls circle above the sand near the garden.",
    ("avoid", "garden", True): SEA,
    ("sentences", "2", True): SEA,
    ("sentences", "3", True): f"{SEA} Salt dries on the lips.",
    ("items", "2", True): LIST,
    ("first", "Today", True): "Today, the tide is low. Gulls circle above the sand.",
    ("end", "that is all", True): "The tide is low. Gulls circle above the sand, and that is all.",
    (
        "quote",
        "less is more",
        True,
    ): 'The tide is low, true to the saying "less is more". Gulls circle above the sand.',
    ("short", "8", True): SEA,
    ("title", None, False): SEA,
}


@pytest.mark.parametrize(("kind", "value", "meet"), BENT)
def test_a_bend_leaves_english(kind: str, value: str | None, meet: bool) -> None:
    spare = ("Salt dries on the lips.",)
    bent = {
        BENDS[kind](random.Random(seed), Draft.of(SEA), value or "", meet, spare).text for seed in range(20)
    }
    assert BENT[kind, value, meet] in bent


@pytest.mark.parametrize("kind", KINDS)
def test_a_bend_makes_and_breaks_and_makes_again(kind: str) -> None:
    pool = load_texts(None)["a lighthouse"]
    draw = random.Random(3)
    done = 0
    for value in KINDS[kind].values or ("",):
        demand = Demand(kind, value or None)
        for _ in range(10):
            draft = Draft(tuple(draw.sample(pool, 3)))
            for meet in (True, False, True):
                draft = Draft.of(BENDS[kind](draw, draft, value, meet, pool).text)
                done += check(demand, draft.text).met is meet
                assert all(sentence.endswith((".", "?")) for sentence in sentences_of(draft.text))
    assert done == 30 * len(KINDS[kind].values or ("",))


@pytest.mark.parametrize(
    "text", [SEA, LIST, f"Sure! {SEA}", f"A Short Note\n{SEA}", f"Sure!\n{LIST}", "", "Low"]
)
def test_a_draft_is_the_text_it_was_made_of(text: str) -> None:
    assert Draft.of(text).text == text


@pytest.mark.parametrize("kind", KINDS)
def test_a_lie_is_evidence_of_the_right_sort_that_the_text_does_not_show(kind: str) -> None:
    for value in KINDS[kind].values or (None,):
        demand = Demand(kind, value)
        for text in (
            f"{SEA} Salt dries on the lips.",
            f"Sure! {SEA}",
            f"{LIST}\n- Salt dries on the lips.",
            "Low.",
        ):
            truth = check(demand, text)
            false = lie(random.Random(1), demand, text, not truth.met)
            assert false.met is not truth.met
            assert false.evidence != truth.evidence
            assert re.fullmatch(EVIDENCE, false.evidence)
            assert is_met(kind, value, false.evidence) is false.met


def test_languages_share_no_pair_of_markers() -> None:
    names = sorted(MARKERS)
    for first in names:
        for second in names:
            assert first == second or len(MARKERS[first] & MARKERS[second]) < 2
