"""Critiques as rewards: against the reference, within limits, and within their group, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from reasrm.critiques.cases import CritiqueCase, CritiqueScorer, by_rules, scorer
from reasrm.critiques.scores import CritiqueScores
from reasrm.critiques.similarity import stem_overlap
from reasrm.errors import ConfigError
from reasrm.records import CoreArgument, Critique, Order, ParseStatus
from reasrm.rewards.base import Helpers, RewardProblem, Rollout
from reasrm.rewards.build import build_reward
from reasrm.rewards.config import RewardSection
from reasrm.rewards.parts.critique import CritiquePart
from reasrm.rewards.parts.critique_agreement import CritiqueAgreementPart
from reasrm.rewards.parts.critique_diversity import CritiqueDiversityPart
from reasrm.rewards.parts.critique_format import CritiqueFormatPart
from tests.refusals import refused
from tests.rewards.rollouts import rollout

GOLD = Critique(
    arguments=(
        CoreArgument("A", "for", "the response is accurate about dates"),
        CoreArgument("B", "against", "the response lacks examples"),
    )
)
RULES = scorer(by_rules, stem_overlap)


def row(wrote: str | None, **more: Any) -> Rollout:
    return rollout(more.pop("said", "A"), evaluation=wrote, **more)


def answers(*scores: CritiqueScores | None) -> CritiqueScorer:
    """A scorer that gives these."""
    return lambda cases: list(scores)


# --- critique: against the reference


def test_every_score_and_the_cut_at_a_half() -> None:
    found = CritiqueScores(
        precision=0.4, recall=1.0, f1=0.5, average_precision=0.25, soft_recall=0.75, matched=1
    )
    for name, value, cut in (
        ("f1", 0.5, 1.0),  # the threshold itself is enough
        ("precision", 0.4, 0.0),
        ("recall", 1.0, 1.0),
        ("average_precision", 0.25, 0.0),
        ("soft_recall", 0.75, 1.0),
    ):
        assert CritiquePart(score=name, least=None).build(Helpers(critique=answers(found)))([row("x")]) == [
            value
        ]
        assert CritiquePart(score=name).build(Helpers(critique=answers(found)))([row("x")]) == [cut]
    assert CritiquePart(score="recall", least=1.0).build(Helpers(critique=answers(found)))([row("x")]) == [
        1.0
    ]
    assert CritiquePart(least=0.51).build(Helpers(critique=answers(found)))([row("x")]) == [0.0]


def test_what_is_compared_is_the_critique_of_the_comparison_as_shown() -> None:
    # One of two found, one said: F1 = 2·1 / (1 + 2). Shown the other way round, A and B change places.
    said = row("Response A is accurate about dates.", critique=GOLD)
    other = row("Response B is accurate about dates.", critique=GOLD.swap(), order=Order.BA)
    text = "Response A is accurate about dates. Response B lacks examples."
    own = row("Response B is accurate about dates.", critique=Critique(text=text), order=Order.BA)
    wrong = row("Response A is accurate about dates.", critique=Critique(text=text), order=Order.BA)
    soft = CritiquePart(least=None).build(Helpers(critique=RULES))
    assert soft([said, other, own, wrong]) == [pytest.approx(2 / 3)] * 3 + [0.0]


def test_no_critique_scores_zero_and_no_reference_abstains() -> None:
    rows = [
        row(None, critique=GOLD),
        row(" \n", critique=GOLD),
        row("x"),
        row("x", critique=Critique()),
        row("Good.", critique=Critique(text="Hm.")),
    ]
    assert CritiquePart().build(Helpers(critique=RULES))(rows) == [0.0, 0.0, None, None, None]


def test_nobody_is_asked_about_what_nobody_wrote() -> None:
    seen: list[CritiqueCase] = []

    def counting(cases: Sequence[CritiqueCase]) -> list[CritiqueScores | None]:
        seen.extend(cases)
        return [CritiqueScores(f1=1.0)] * len(cases)

    rows = [
        row(None, said=None, status=ParseStatus.ERROR, critique=GOLD),
        row("x", critique=GOLD),
        row(None, said=None, status=ParseStatus.TOO_LONG, critique=GOLD),
    ]
    assert CritiquePart().build(Helpers(critique=counting))(rows) == [None, 1.0, None]
    assert [case.text for case in seen] == ["x"]
    assert CritiquePart().build(Helpers(critique=answers(CritiqueScores())))([rows[0]]) == [None]


def test_a_failed_call_abstains_and_is_no_zero() -> None:
    assert CritiquePart().build(Helpers(critique=answers(None, CritiqueScores())))([row("x"), row("y")]) == [
        None,
        0.0,
    ]


def test_a_scorer_that_gives_too_few_ends_the_run() -> None:
    section = RewardSection.model_validate({"parts": {"critique": {"kind": "critique"}}})
    with refused(RewardProblem, "'critique'", "1 scores", "2 critiques"):
        build_reward(section, critiques=answers(CritiqueScores()))([row("x"), row("y")])


def test_without_a_scorer_the_config_is_refused() -> None:
    section = RewardSection.model_validate({"parts": {"mine": {"kind": "critique"}}})
    with refused(ConfigError, "rewards.parts.mine", "critique:"):
        build_reward(section)


# --- critique_format: RM-NLHF's limits


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("short", 1),
        ("one\ntwo\n\nfour", 1),
        ("\n\n one\ntwo\nthree\nfour \n\n", 1),  # what stands around it is no line of it
        ("one\ntwo\nthree\nfour\nfive", 0),
        ("x" * 1500, 1),
        (" " + "x" * 1500 + "\n", 1),
        ("x" * 1501, 0),
        ("", 0),
        (" \n", 0),
        (None, 0),
    ],
    ids=["short", "four lines", "blanks around", "five lines", "1500", "1500 inside", "1501", "none", "blank", "null"],
)  # fmt: skip
def test_limits_of_the_critique(said: str | None, value: int) -> None:
    assert CritiqueFormatPart().build()([row(said)]) == [value]


def test_a_verdict_has_to_be_there_right_or_wrong() -> None:
    rows = [row("x", said="A"), row("x", said="B"), row("x", said="tie"), row("x", said=None)]
    assert CritiqueFormatPart().build()(rows) == [1, 1, 1, 0]
    cut = row("x", said=None, status=ParseStatus.TRUNCATED)
    failed = row(None, said=None, status=ParseStatus.ERROR)
    assert CritiqueFormatPart().build()([cut, failed]) == [0, None]


def test_limits_can_be_lifted() -> None:
    long, tall = row("x" * 2000), row("x\n" * 20)
    lifted = CritiqueFormatPart(max_lines=None, max_characters=None)
    assert lifted.build()([long, tall, row("")]) == [1, 1, 0]
    assert CritiqueFormatPart(max_lines=None).build()([long, tall]) == [0, 1]
    assert CritiqueFormatPart(max_characters=None).build()([long, tall]) == [1, 0]


# --- critique_agreement: CSR, our form


def test_agreement_is_rewarded_if_right_and_punished_if_wrong() -> None:
    # Stems {red, fox}, {red, fox, jump}, {slow, dog}: 2/3, 0, 0. Means over the two others: 1/3, 1/3, 0.
    rows = [row("red fox"), row("red fox jumps", said="B"), row("slow dog")]
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))(rows) == pytest.approx(
        [1 / 3, -1 / 3, 0.0]
    )


def test_agreement_keeps_to_the_group() -> None:
    rows = [row("fox", group="g"), row("fox", group="h"), row("fox", group="g"), row("dog", group="h")]
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))(rows) == [1.0, 0.0, 1.0, 0.0]


def test_alone_there_is_nobody_to_agree_with() -> None:
    failed = row(None, said=None, status=ParseStatus.ERROR)
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))([row("fox")]) == [None]
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))([row("fox"), failed]) == [
        None,
        None,
    ]
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))([]) == []


def test_an_empty_critique_agrees_with_nothing_whatever_the_similarity_says() -> None:
    def everything(one: Sequence[str], two: Sequence[str]) -> Any:
        assert all(text.strip() for text in (*one, *two))
        return np.ones((len(one), len(two)))

    rows = [row(None), row("fox"), row(" "), row("dog", said="B")]
    # fox and dog are alike to each other only: 1 of 3 others.
    assert CritiqueAgreementPart().build(Helpers(similarity=everything))(rows) == pytest.approx(
        [0, 1 / 3, 0, -1 / 3]
    )
    assert CritiqueAgreementPart().build(Helpers(similarity=everything))([row(None), row("")]) == [0.0, 0.0]


def test_an_unreadable_verdict_is_not_right_and_without_a_label_nobody_is() -> None:
    rows = [row("fox"), row("fox", said=None)]
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))(rows) == [1.0, -1.0]
    assert CritiqueAgreementPart().build(Helpers(similarity=stem_overlap))([row("fox", target=None)] * 2) == [
        None,
        None,
    ]


def test_a_similarity_with_a_direction_is_taken_both_ways() -> None:
    def longer(one: Sequence[str], two: Sequence[str]) -> Any:
        return np.array([[float(len(a) > len(b)) for b in two] for a in one])

    assert CritiqueAgreementPart().build(Helpers(similarity=longer))([row("fox"), row("foxes")]) == [0.5, 0.5]


def test_a_similarity_out_of_range_is_a_fault() -> None:
    section = RewardSection.model_validate({"parts": {"agree": {"kind": "critique_agreement"}}})
    reward = build_reward(section, similarity=lambda one, two: np.full((len(one), len(two)), 2.0))
    with refused(RewardProblem, "2.0", "[0, 1]"):
        reward([row("x"), row("y")])


# --- critique_diversity: SD-E², our form

POINTS = "- The fox is red. A red fox!\n2. It lacks sources."


def test_distinct_points_by_hand() -> None:
    # {fox, red} twice and {lack, source}.
    distinct = CritiqueDiversityPart().build(Helpers(similarity=stem_overlap))
    assert distinct([row(POINTS), row("One point only"), row("..."), row(""), row(None)]) == [2, 1, 0, 0, 0]
    # At threshold 0 anything is alike, above any similarity nothing is.
    one, all_ = CritiqueDiversityPart(threshold=0), CritiqueDiversityPart(threshold=1)
    assert one.build(Helpers(similarity=stem_overlap))([row(POINTS)]) == [1]
    assert all_.build(Helpers(similarity=stem_overlap))([row("The fox is red. A red dog.")]) == [2]
    assert CritiqueDiversityPart(most=1).build(Helpers(similarity=stem_overlap))([row(POINTS)]) == [1]


def test_mean_dissimilarity_by_hand() -> None:
    # Pairs: 0 (the same words), 1, 1.
    unlike = CritiqueDiversityPart(measure="dissimilarity").build(Helpers(similarity=stem_overlap))
    assert unlike([row(POINTS), row("One point only"), row("")]) == pytest.approx([2 / 3, 0, 0])


def test_paraphrases_add_no_point_and_cost_dissimilarity() -> None:
    padded = POINTS + " The fox was red. Red is the fox."
    distinct = CritiqueDiversityPart().build(Helpers(similarity=stem_overlap))
    unlike = CritiqueDiversityPart(measure="dissimilarity").build(Helpers(similarity=stem_overlap))
    assert distinct([row(padded)]) == distinct([row(POINTS)])
    # Five points, four of them one: 4 of 10 pairs differ.
    assert unlike([row(padded)]) == pytest.approx([0.4])


def test_diversity_abstains_only_where_nothing_was_written() -> None:
    distinct = CritiqueDiversityPart().build(Helpers(similarity=stem_overlap))
    failed = row(None, said=None, status=ParseStatus.TOO_LONG)
    assert distinct([failed, row("A point.", said=None), row("A point.", target=None)]) == [None, 1, 1]


def test_only_the_first_points_are_read() -> None:
    sizes: list[int] = []

    def counting(one: Sequence[str], two: Sequence[str]) -> Any:
        sizes.append(len(one))
        return np.eye(len(one))

    thousand = "\n".join(f"point {n}" for n in range(1000))
    assert CritiqueDiversityPart().build(Helpers(similarity=counting))([row(thousand)]) == [64]
    assert sizes == [64]
