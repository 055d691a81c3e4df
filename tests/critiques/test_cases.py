"""Batches of critiques against references: orders, abstentions, failed calls, what is asked and how often."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reasrm.config import parse_config
from reasrm.critiques import (
    CritiqueCase,
    CritiqueScores,
    CritiqueText,
    References,
    by_rules,
    exact,
    scorer,
    stem_overlap,
)
from reasrm.critiques.cases import Arguments
from reasrm.critiques.scores import score_critique, score_critiques
from reasrm.critiques.similarity import Block
from reasrm.errors import ConfigError
from reasrm.records import Comparison, CoreArgument, Critique, Message, Order, Verdict
from reasrm.scorers.config import CritiqueSection

TEXT = "Response A is accurate about dates. Response B lacks examples."


def row(critique: Critique | None = None, name: str = "r", **more) -> Comparison:
    return Comparison(
        id=name,
        prompt=(Message("user", "When was the war?"),),
        response_a=f"{name}: in 1618",
        response_b=f"{name}: long ago",
        critique=critique,
        target=Verdict("A"),
        **more,
    )


def case(critique: Critique | None, text: str | None, **more) -> CritiqueCase:
    return CritiqueCase(row(critique, **more), text)


class Extractor:
    """Reads by rules, keeps what it was given, and fails on the texts that say so."""

    def __init__(self) -> None:
        self.given: list[CritiqueText] = []
        self.batches = 0

    def __call__(self, texts: Sequence[CritiqueText]) -> list[Arguments | None]:
        self.given += texts
        self.batches += 1
        return [
            None if "FAIL" in item.text else found for item, found in zip(texts, by_rules(texts), strict=True)
        ]


def test_scores_of_a_batch_by_hand() -> None:
    human = Critique(text=TEXT)
    scores = scorer(by_rules, stem_overlap)(
        [
            case(human, TEXT),
            case(human, "Response A is accurate about dates. Response A is polite."),
            case(human, "Response B is accurate about dates."),
            case(human, "I like trains."),
        ]
    )
    assert scores[0] is not None
    assert (scores[0].f1, scores[0].matched) == (1.0, 2)
    assert scores[1] is not None
    assert (scores[1].precision, scores[1].recall, scores[1].f1) == (0.5, 0.5, 0.5)
    assert scores[2] == CritiqueScores(generated=1, reference=2)
    assert scores[3] == CritiqueScores(reference=2)


def test_without_a_reference_it_abstains_and_without_a_critique_it_gives_zero() -> None:
    extract = Extractor()
    score = scorer(extract, stem_overlap)
    nothing = [case(None, TEXT), case(Critique(), TEXT), case(Critique(text=" \n"), TEXT)]
    assert score(nothing) == [None, None, None]
    assert extract.given == []
    # A reference that argues nothing is read once, and the judge's critique not at all.
    assert score([case(Critique(text="I like trains."), TEXT)]) == [None]
    assert [item.text for item in extract.given] == ["I like trains."]
    human = Critique(text=TEXT)
    assert (
        score([case(human, None), case(human, ""), case(human, " \n")]) == [CritiqueScores(reference=2)] * 3
    )
    assert [item.text for item in extract.given[1:]] == [TEXT]


def test_a_failed_call_costs_its_case_and_is_made_again() -> None:
    extract = Extractor()
    score = scorer(extract, stem_overlap)
    human = Critique(text=TEXT)
    found = score([case(human, "FAIL"), case(human, TEXT), case(Critique(text="FAIL"), TEXT)])
    assert [None if s is None else s.f1 for s in found] == [None, 1.0, None]
    assert score([case(Critique(text="FAIL"), TEXT)]) == [None]
    assert [item.text for item in extract.given].count(
        "FAIL"
    ) == 3  # the failed reference was asked for again


def test_references_are_read_once() -> None:
    extract = Extractor()
    score = scorer(extract, stem_overlap)
    human = Critique(text=TEXT)
    score([case(human, "Response A is polite."), case(human, "Response A is rude.")])
    score([case(human, "Response A is polite.")])
    score([CritiqueCase(row(human).swap(), "Response A is polite.")])  # shown the other way round
    assert [item.text for item in extract.given].count(TEXT) == 1
    # The same words about other responses are another reference: a model may read them otherwise.
    score([case(human, "Response A is polite.", name="other")])
    assert [item.text for item in extract.given].count(TEXT) == 2


def test_kept_references_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr("reasrm.critiques.cases._KEPT", 2)
    extract = Extractor()
    references = References(extract)
    rows = [row(Critique(text=TEXT), name=str(n)) for n in range(3)]
    for number in (0, 1, 0, 2, 0, 1):
        assert references([rows[number]])[0] == by_rules([CritiqueText(rows[0], TEXT)])[0]
    assert [item.comparison.id for item in extract.given] == ["0", "1", "2", "1"]


def test_a_reference_text_speaks_of_the_rows_own_order() -> None:
    """The text calls the responses A and B as in the row; the judge saw them the other way round."""
    shown = row(Critique(text=TEXT)).swap()
    assert shown.order is Order.BA
    (arguments,) = References(by_rules)([shown])
    assert arguments is not None
    assert [(a.about, a.stance) for a in arguments] == [("B", "for"), ("A", "against")]
    score = scorer(by_rules, stem_overlap)
    right, wrong = score(
        [
            CritiqueCase(shown, "Response B is accurate about dates. Response A lacks examples."),
            CritiqueCase(shown, TEXT),
        ]
    )
    assert right is not None
    assert right.f1 == 1.0
    assert wrong is not None
    assert wrong.f1 == 0.0


def test_the_extractor_of_a_reference_sees_the_responses_that_its_text_names() -> None:
    extract = Extractor()
    shown = row(Critique(text=TEXT)).swap()
    scorer(extract, stem_overlap)([CritiqueCase(shown, "Response B is polite.")])
    reference, written = extract.given
    assert (reference.comparison.response_a, reference.comparison.order) == ("r: in 1618", Order.AB)
    assert (written.comparison.response_a, written.comparison.order) == ("r: long ago", Order.BA)
    for item in (reference, written):
        assert item.comparison.target is None
        assert item.comparison.critique is None


@pytest.mark.parametrize("order", [Order.AB, Order.BA])
def test_structured_arguments_are_mapped_with_the_row_and_taken_before_the_text(order: Order) -> None:
    own = row(Critique((CoreArgument("A", "for", "accurate dates"),), text="Response B is rude."))
    shown = own if order is Order.AB else own.swap()
    extract = Extractor()
    said = f"Response {'A' if order is Order.AB else 'B'} has accurate dates."
    (scores,) = scorer(extract, stem_overlap)([CritiqueCase(shown, said)])
    assert scores is not None
    assert scores.f1 == 1.0
    assert [item.text for item in extract.given] == [said]


def test_swapping_a_case_changes_nothing() -> None:
    human = Critique(text=TEXT)
    said = "Response A is accurate about dates. Response B is rude and lacks examples."
    turned = said.replace("Response A", "Response X").replace("Response B", "Response A").replace("X", "B")
    score = scorer(by_rules, stem_overlap)
    one, other = score([CritiqueCase(row(human), said), CritiqueCase(row(human).swap(), turned)])
    assert one == other
    assert one is not None
    assert one.f1 > 0.5


def test_repeats_cost_what_the_section_says() -> None:
    human, said = Critique(text=TEXT), f"{TEXT} Response A is accurate about the dates."
    found = {
        repeats: scorer(by_rules, stem_overlap, repeats=repeats)([case(human, said)])[0]
        for repeats in ("count", "unique", "zero")
    }
    assert {name: s.f1 for name, s in found.items() if s is not None} == {
        "count": pytest.approx(4 / 5),
        "unique": 1.0,
        "zero": 0.0,
    }


class Matcher:
    """1 for all pairs; NaN where a text says so. Keeps what it was asked, a batch at a time."""

    def __init__(self) -> None:
        self.asked: list[list[Block]] = []

    def __call__(self, generated: Sequence[str], reference: Sequence[str]) -> np.ndarray:
        return self.many([(generated, reference)])[0]

    def many(self, blocks: Sequence[Block]) -> list[np.ndarray]:
        self.asked.append(list(blocks))
        return [np.full((len(one), len(two)), np.nan if "FAIL" in one else 1.0) for one, two in blocks]


def args(*said: str) -> list[CoreArgument]:
    return [CoreArgument(s[0], "for" if s[1] == "+" else "against", s[3:]) for s in said]


def test_a_similarity_hears_of_a_batch_at_once_and_only_of_arguments_with_a_partner() -> None:
    matcher = Matcher()
    pairs = [
        (args("A+ one", "B- other", "A- nobody"), args("A+ uno", "B+ niemand", "B- otro")),
        (args("A+ one"), args("B+ uno")),
        (args("A+ FAIL"), args("A+ uno")),
        ([], args("A+ uno")),
    ]
    scores = score_critiques(pairs, matcher)
    assert matcher.asked == [[(["one", "other"], ["uno", "otro"]), (["FAIL"], ["uno"])]]
    # Of the first, both match and a third of each list is over; nothing agrees in the second; the third failed.
    assert [None if s is None else s.f1 for s in scores] == [pytest.approx(2 / 3), 0.0, None, 0.0]


def test_nobody_is_asked_about_a_critique_that_is_zero_for_its_repeats() -> None:
    matcher = Matcher()
    twice = args("A+ FAIL", "A+ FAIL")
    assert score_critiques([(twice, args("A+ uno"))], matcher, repeats="zero") == [
        CritiqueScores(generated=2, reference=1)
    ]
    assert matcher.asked == [[]]


def test_one_critique_alone_has_to_be_compared() -> None:
    with pytest.raises(ConfigError, match="similarity: the value nan"):
        score_critique(args("A+ FAIL"), args("A+ uno"), Matcher())


def test_exact_compares_words_and_counts_repeats_by_them() -> None:
    assert exact(["a  b", "b a", ""], ["a b", " a\tb\n"]).tolist() == [[1, 1], [0, 0], [0, 0]]
    # `one` and `two` are no content words: by those, all three would be one argument.
    said = args("A- count one : two", "A- count two : one", "A- count  one : two")
    scores = score_critique(said, args("A- count one : two", "A- count two : one"), exact)
    assert (scores.matched, scores.generated, scores.reference) == (2, 3, 2)


def test_a_contradiction_in_other_words_for_the_same_quality_is_seen() -> None:
    both = by_rules(
        [CritiqueText(row(), "Response A is accurate about dates. Response A is wrong about the dates.")]
    )
    assert both[0] is not None
    assert [a.stance for a in both[0]] == ["for", "against"]
    assert score_critique(both[0], args("A+ accurate about dates"), stem_overlap).matched == 0
    # Two qualities of one thing are no contradiction, and neither is a fault in part.
    for said in (
        "Response A is accurate about dates. Response A is verbose about dates.",
        "Response A is accurate about dates. Response A is wrong about the prices.",
    ):
        (kept,) = by_rules([CritiqueText(row(), said)])
        assert kept is not None
        assert score_critique(kept, args("A+ accurate about dates"), stem_overlap).matched == 1


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"extractor": "model"}, "'extractor: model' needs 'model'"),
        ({"similarity": "model"}, "'similarity: model' needs 'model'"),
        ({"model": "m"}, "'model' is used by"),
        ({"similarity": "sentence_encoder"}, "'similarity: sentence_encoder' needs 'encoder'"),
        ({"similarity": "token_embeddings"}, "'similarity: token_embeddings' needs 'encoder'"),
        ({"encoder": "e"}, "'encoder' is used by"),
        ({"encoder_revision": "main"}, "'encoder_revision' is of an encoder"),
        ({"cache": "answers"}, "'cache' keeps a model's replies"),
        ({"extractor": "model", "model": "sandbox"}, "'model: sandbox' answers no questions"),
        ({"extractor": "sandbox", "repeats": "zero"}, "would never apply"),
        ({"threshold": 1.5}, "key 'threshold'"),
        ({"similarity": "steams"}, "did you mean 'stems'"),
    ],
    ids=[
        "extractor without model",
        "similarity without model",
        "model without use",
        "sentence encoder without encoder",
        "token embeddings without encoder",
        "encoder without use",
        "revision without encoder",
        "cache without model",
        "model that answers nothing",
        "repeats of a set",
        "threshold",
        "misspelt",
    ],
)
def test_a_section_that_cannot_work_is_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config(CritiqueSection, section, "config.yaml")


def test_a_section_with_nothing_in_it_is_the_offline_one() -> None:
    section = CritiqueSection()
    assert (section.extractor, section.similarity, section.threshold) == ("rules", "stems", 0.5)
    assert (section.repeats, section.fatal_rule, section.asks_model) == ("count", True, False)
    asking = CritiqueSection(extractor="model", model="openai:m@http://localhost:1/v1", cache=Path("kept"))
    assert asking.asks_model
