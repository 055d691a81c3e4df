"""Critique scorers as configs ask for them: the sandbox's against its own F1, models that fail, every similarity."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasrm.critiques import CritiqueCase, CritiqueText
from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.records import Comparison, Critique, Message
from reasrm.requests import Completion, Request
from reasrm.rewards.base import Helpers
from reasrm.rewards.parts.critique import CritiquePart
from reasrm.scorers.config import CritiqueSection
from reasrm.scorers.critiques import build_critique_scorer, build_similarity, by_clauses
from reasrm.world.critiques import Clause, argument_f1, core_arguments, read_clauses
from reasrm.world.pairs import World
from reasrm.world.reading import rules_of
from tests.refusals import refused
from tests.rewards.rollouts import rollout
from tests.scorers.test_similarities import JUDGE, encoder_folder

TEXT = "Response A is accurate about dates. Response B lacks examples."
SANDBOX = CritiqueSection(extractor="sandbox", similarity="exact", fatal_rule=False)


def case(reference: str | None, text: str | None) -> CritiqueCase:
    comparison = Comparison(
        id="r",
        prompt=(Message("user", "When?"),),
        response_a="in 1618",
        response_b="long ago",
        critique=None if reference is None else Critique(text=reference),
    )
    return CritiqueCase(comparison, text)


def corrupted(draw: random.Random, lines: list[str]) -> str:
    """A critique as a bad judge writes it: clauses left out, turned, said again, moved, with noise between."""
    kept: list[str] = []
    for line in lines:
        chance = draw.random()
        if chance < 0.2:
            continue
        if chance < 0.4:
            words = line.split()
            place = draw.choice([n for n, word in enumerate(words) if word in ("ok", "bad")])
            words[place] = "bad" if words[place] == "ok" else "ok"
            line = " ".join(words)
        elif chance < 0.5:
            line = line.replace("must ", "") if line.startswith("must ") else f"must {line}"
        elif chance < 0.6:
            line = line[: draw.randrange(len(line))]
        kept.append(line)
        if chance > 0.85:
            kept.append(draw.choice(kept))
    if draw.random() < 0.3:
        draw.shuffle(kept)
    return "\n".join([*kept, *(["A and B are pretty"] if draw.random() < 0.2 else [])])


@pytest.mark.slow
def test_the_sandbox_scorer_is_the_worlds_f1() -> None:
    draw, score = random.Random(5), build_critique_scorer(SANDBOX)
    cases, expected = [], []
    for pair in World().pairs("train", 500):
        shown = pair.present(0)
        gold = [Clause.gold(rule, shown.response_a, shown.response_b).text for rule in rules_of(pair)]
        text = corrupted(draw, gold)
        cases.append(CritiqueCase(shown, text))
        assert shown.critique is not None
        expected.append(argument_f1(core_arguments(read_clauses(text)), shown.critique.arguments))
    found = score(cases)
    assert [None if scores is None else scores.f1 for scores in found] == pytest.approx(expected)
    # The sample says something: perfect, partly right and hopeless critiques, and repeats.
    assert {0.0, 1.0} < set(expected)
    assert 0.2 < sum(0 < value < 1 for value in expected) / len(expected) < 0.8
    texts = [case.text or "" for case in cases]
    assert sum(len(set(text.splitlines())) < len(text.splitlines()) for text in texts) > 50


def test_a_reference_of_the_world_as_text_gives_the_same_in_either_order() -> None:
    score = build_critique_scorer(SANDBOX)
    for pair in World().pairs("hard", 40):
        own = pair.compare()
        lines = [Clause.gold(rule, own.response_a, own.response_b).text for rule in rules_of(pair)]
        as_text = replace(own, critique=Critique(text="\n".join(lines)))
        said = "\n".join(Clause.gold(rule, own.response_b, own.response_a).text for rule in rules_of(pair))
        structured, read = score([CritiqueCase(own.swap(), said), CritiqueCase(as_text.swap(), said)])
        assert structured == read
        assert read is not None
        assert read.f1 == 1.0


def test_clauses_said_twice_count_once() -> None:
    clause = "count three A two bad B three ok"
    (found,) = by_clauses([CritiqueText(case(None, None).comparison, f"{clause}\nmust {clause}\nnoise")])
    assert found is not None
    assert [(a.about, a.stance, a.text, a.fatal) for a in found] == [
        ("A", "against", "count three : two", True)
    ]


@pytest.mark.parametrize(
    ("similarity", "encoder"),
    [
        ("stems", None),
        ("exact", None),
        ("bleu", None),
        ("rouge_l", None),
        ("token_embeddings", JUDGE),
        ("sentence_encoder", encoder_folder()),
    ],
    ids=["stems", "exact", "bleu", "rouge_l", "token_embeddings", "sentence_encoder"],
)
def test_every_similarity_finds_the_same_critique_and_not_another(
    similarity: str, encoder: Path | None
) -> None:
    section = CritiqueSection(similarity=similarity, encoder=None if encoder is None else str(encoder))
    other = "Response A is rude. Response B is polite."
    same, turned, nothing = build_critique_scorer(section)(
        [case(TEXT, TEXT), case(TEXT, other), case(None, TEXT)]
    )
    assert same is not None
    assert same.f1 == 1.0
    assert turned is not None
    assert turned.f1 == 0.0  # the sides agree with no stance
    assert nothing is None


def test_a_paraphrase_is_found_by_an_encoder_and_not_by_stems() -> None:
    human = "Response B forgets to say where its claims come from."
    said = "Response B fails to cite any sources."
    found = [
        build_critique_scorer(section)([case(human, said)])[0]
        for section in (
            CritiqueSection(),
            CritiqueSection(similarity="sentence_encoder", encoder=str(encoder_folder()), threshold=0.4),
        )
    ]
    assert [None if scores is None else scores.f1 for scores in found] == [0.0, 1.0]


class Model:
    """Lists a critique's words as arguments about A, pairs equal ones, and fails where a text says so."""

    def __init__(self) -> None:
        self.identity = {"model": "fake"}
        self.asked: list[Request] = []
        self.batches = 0

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        self.batches += 1
        for request in requests:
            self.asked.append(request)
            texts = [span.text for message in request.messages for span in message.spans if not span.trusted]
            if any("FAIL" in text for text in texts):
                yield Completion(request.id, finish_reason="error", error="503")
            elif request.id.startswith("extractor"):
                words = [w for w in texts[0].split() if w.isalpha()]
                listed = [{"about": "A", "stance": "for", "text": w, "fatal": False} for w in words]
                yield Completion(request.id, text=json.dumps(listed))
            else:
                marks = [span.text for message in request.messages for span in message.spans if span.trusted]
                rows = sum("[G" in mark and "," in mark for mark in marks)
                said, meant = texts[:rows], texts[rows:]
                same = [
                    [g, r]
                    for g, one in enumerate(said, 1)
                    for r, two in enumerate(meant, 1)
                    if one.lower() == two.lower()
                ]
                yield Completion(request.id, text=json.dumps(same))


def test_a_model_extracts_and_matches_and_its_failures_cost_their_cases_only(tmp_path: Path) -> None:
    model = Model()
    section = CritiqueSection(extractor="model", similarity="model", model="m", cache=tmp_path / "answers")
    opened = []

    def open_backend(name: str, **options: Any) -> Model:
        opened.append(name)
        return model

    cases = [
        case("Accurate sourced", "accurate wordy"),
        case("Accurate sourced", "FAIL"),
        case("FAIL", "accurate"),
        case("Accurate sourced", None),
        case(None, "accurate"),
    ]
    score = build_critique_scorer(section, open_backend)
    found = score(cases)
    assert opened == ["m"]
    assert [None if scores is None else scores.f1 for scores in found] == [0.5, None, None, 0.0, None]
    assert score.costs["extractor"].failures == {"error": 2}
    assert score.costs["matcher"].questions == 1
    score.close()
    score.close()
    # Another run asks only what failed.
    model.asked.clear()
    again = build_critique_scorer(section, open_backend)
    assert again(cases) == found
    assert len(model.asked) == 2
    again.close()


def test_a_failed_match_costs_its_case_only() -> None:
    section, model = CritiqueSection(similarity="model", model="m"), Model()
    reference = "Response A is accurate about dates."
    found = build_critique_scorer(section, lambda name, **options: model)(
        [case(reference, reference), case(reference, "Response A is accurate about xFAILx.")]
    )
    assert (len(model.asked), model.batches) == (2, 1)  # both at the same time
    assert found[0] is not None
    assert found[0].f1 == 1.0
    assert found[1] is None


@pytest.mark.parametrize("failing", ["extractor", "matcher"])
def test_where_every_call_of_a_batch_fails_training_ends_with_the_reason(failing: str) -> None:
    """One of two, or one text that a model cannot read, costs its rows only."""
    reference, lost = Critique(text="accurate sourced"), "FAIL" if failing == "extractor" else "xFAILx-y"
    asks = {"extractor": "model"} if failing == "extractor" else {"similarity": "model"}
    if failing == "matcher":
        reference, lost = Critique(text="Response A is accurate."), "Response A is accurate about xFAILx."
    score = build_critique_scorer(CritiqueSection(model="m", **asks), lambda name, **options: Model())
    part = CritiquePart(least=None).build(Helpers(critique=score))
    fine = reference.text
    bad = [rollout("A", evaluation=f"{lost} {'very ' * n}", critique=reference) for n in range(2)]
    assert part([*bad, rollout("A", evaluation=fine, critique=reference)]) == [None, None, 1.0]
    with pytest.raises(EnvironmentProblem, match=r"503.*--resume") as caught:
        part(bad)
    assert caught.value.exit_code == 5
    # A batch without a reference asks nobody, whatever became of the last one.
    assert part([rollout("A", evaluation=fine)]) == [None]
    assert score.failure is None


def test_one_text_that_no_model_can_read_is_its_own_fault() -> None:
    def unreadable(requests: Iterable[Request]) -> Iterator[Completion]:
        yield from (Completion(request.id, text="I would rather not.") for request in requests)

    model = Model()
    model.generate = unreadable  # type: ignore[method-assign]
    score = build_critique_scorer(
        CritiqueSection(model="m", extractor="model"), lambda name, **options: model
    )
    part = CritiquePart(least=None).build(Helpers(critique=score))
    one = rollout("A", evaluation="x", critique=Critique(text="accurate"))
    assert part([one, one]) == [None, None]
    two = rollout("A", evaluation="x", critique=Critique(text="wordy"), row_id="r2")
    with pytest.raises(EnvironmentProblem, match="rather not"):
        part([one, two])


def test_a_model_that_nobody_can_open_is_named() -> None:
    with refused(ConfigError, "critique.model", "'m'"):
        build_critique_scorer(CritiqueSection(extractor="model", model="m"))
    with pytest.raises(ConfigError, match="use another similarity here"):
        build_similarity(CritiqueSection(similarity="model", model="m"))
