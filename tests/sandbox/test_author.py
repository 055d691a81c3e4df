"""The scripted author: what it makes of each prompt, and each of its faults."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from reasrm.records import Rubric
from reasrm.requests import Request, SamplingParams
from reasrm.rubrics.findings import Finding, read_findings, render_findings
from reasrm.rubrics.prompts import (
    contrast_prompt,
    diagnosis_prompt,
    prompt_only_prompt,
    self_prompt,
    synthesis_prompt,
)
from reasrm.sandbox.author import AuthorConfig, ScriptedAuthor
from reasrm.world.config import WorldConfig
from reasrm.world.pairs import World
from reasrm.world.reading import rules_of
from reasrm.world.rules import Rule, check, read_rubric, rubric_of

PERFECT = {"miss": 0, "invent": 0, "leak": 0, "shortcut": 0, "malformed": 0}
TASTES = {"kids": "plain", "experts": "warm", "guests": "merry"}
PAIRS = list(World(WorldConfig(tastes=TASTES)).pairs("train", 60))


def say(prompts: Sequence[object], **faults: float) -> list[str]:
    author = ScriptedAuthor(AuthorConfig(**{**PERFECT, **faults}))
    requests = [
        Request(f"q{n}", prompt, SamplingParams(seed=n))  # type: ignore[arg-type]
        for n, prompt in enumerate(prompts)
    ]
    return [completion.text for completion in author.generate(requests)]


def contrasts(**faults: float) -> list[str]:
    return say([contrast_prompt(pair.prompt, (pair.chosen, pair.rejected)) for pair in PAIRS], **faults)


def test_a_perfect_author_finds_what_decides_and_nothing_that_tells_nothing_apart() -> None:
    for pair, text in zip(PAIRS, contrasts(), strict=True):
        rules = read_rubric(text)
        hard = [rule for rule in rules_of(pair) if rule.is_hard]
        assert list(rules[: len(hard)]) == hard  # weights included
        for rule in rules[len(hard) :]:
            met = [check(rule, text.split()).met for text in (pair.chosen, pair.rejected)]
            assert met == [True, False]
    found = sum(
        Rule(rule.kind) in read_rubric(text)
        for pair, text in zip(PAIRS, contrasts(), strict=True)
        for rule in rules_of(pair)
        if not rule.is_hard
        and check(rule, pair.chosen.split()).met
        and not check(rule, pair.rejected.split()).met
    )
    assert found >= 5  # tastes that no document states


def test_without_contrast_the_request_is_all_there_is() -> None:
    texts = say([prompt_only_prompt(pair.prompt) for pair in PAIRS])
    texts += say([self_prompt(pair.prompt, (pair.rejected, pair.chosen)) for pair in PAIRS])
    for pair, text in zip([*PAIRS, *PAIRS], texts, strict=True):
        hard = [rule for rule in rules_of(pair) if rule.is_hard]
        rules = read_rubric(text)
        assert list(rules[:-1]) == hard
        assert not rules[-1].is_hard


def test_its_diagnoses_hold_and_lead_to_the_rubric_of_contrast() -> None:
    for number, pair in enumerate(PAIRS[:10]):
        found: list[tuple[Finding, ...]] = []
        for response in (pair.rejected, pair.chosen):
            (text,) = say([diagnosis_prompt(pair.prompt, response)])
            findings = read_findings(text, pair.prompt[0].content, response)
            assert isinstance(findings, tuple), findings
            found.append(findings)
        diagnoses = [render_findings(findings, n)[0] for n, findings in enumerate(found, 1)]
        (text,) = say([synthesis_prompt(pair.prompt, diagnoses, (2, 1))])
        lines = text.splitlines()
        assert all(" <- 2." in line for line in lines)
        plain = "\n".join(line.partition(" <- ")[0] for line in lines)
        assert set(read_rubric(plain)) == set(read_rubric(contrasts()[number]))


@pytest.mark.parametrize("fault", ["miss", "invent", "leak", "shortcut", "malformed"])
def test_each_fault_shows_and_only_where_it_is_asked_for(fault: str) -> None:
    good, bad = contrasts(), contrasts(**{fault: 1.0})
    for pair, was, text in zip(PAIRS, good, bad, strict=True):
        if fault == "miss":
            assert read_rubric(text) == read_rubric(was)[:1]
        elif fault == "invent":
            assert len(text.splitlines()) == len(was.splitlines()) + 1
        elif fault == "leak":
            assert " ".join(pair.chosen.split()[:4]) in text
        elif fault == "shortcut":
            assert text.endswith("sure [Principle]")
        else:
            assert Rubric.read(text) is None or read_rubric(text) == ()
    assert contrasts(**{fault: 1.0}) == bad  # the same seed repeats itself


def test_invented_evidence_is_found_out() -> None:
    pair = PAIRS[0]
    (text,) = say([diagnosis_prompt(pair.prompt, pair.chosen)], invent=1.0)
    assert json.loads(text)
    assert not isinstance(read_findings(text, pair.prompt[0].content, pair.chosen), tuple)


def test_text_of_another_world_gets_no_rubric() -> None:
    pair = PAIRS[0]
    talk = (*pair.prompt, *pair.prompt)
    other = contrast_prompt((type(talk[0])("user", "why is the sky blue?"),), ("a", "b"))
    assert Rubric.read(say([other])[0]) is None


def test_the_gold_rubric_of_a_row_is_what_a_perfect_author_can_reach() -> None:
    """Where the taste decides, the author's rubric and the gold one prefer the same response."""
    for pair, text in zip(PAIRS, contrasts(), strict=True):
        gold = read_rubric(rubric_of(rules_of(pair)).render())
        for rules in (gold, read_rubric(text)):
            good, bad = (
                sum(r.weight * check(r, t.split()).met for r in rules) for t in (pair.chosen, pair.rejected)
            )
            assert good > bad
