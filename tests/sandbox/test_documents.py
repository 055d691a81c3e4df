"""What the base reads: true evidence, coins where a judge would decide, and nothing of any split."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest

from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import build_prompt
from reasrm.records import ParseStatus
from reasrm.requests import Completion
from reasrm.sandbox.documents import Document, DocumentShares, documents
from reasrm.world.config import SPLITS, WorldConfig
from reasrm.world.critiques import Clause, read_clauses, verdict_of
from reasrm.world.language import HELD_OUT_TOPICS, PREFACES, TOPIC_OF, TOPICS
from reasrm.world.pairs import World, read_task
from reasrm.world.rules import PRINCIPLES, read_rubric
from tests.sandbox.shared import SPEC, encoders, pairs
from tests.world.truth import evidence, meets, total, within

KINDS = {"read": "reading", "check": "checking", "what": "facts", "name": "writing", "judge": "form"}
EQUAL = DocumentShares(**dict.fromkeys(KINDS.values(), 1.0), rubric_share=0.5)
LENIENCY = 0.7
NOTHING: dict[str, Any] = dict.fromkeys(KINDS.values(), 0.0)


@lru_cache
def drawn(shares: DocumentShares, count: int, seed: int = 0) -> tuple[Document, ...]:
    return tuple(itertools.islice(documents(WorldConfig(), shares, SPEC, seed), count))


def only(kind: str, count: int) -> tuple[Document, ...]:
    return drawn(DocumentShares(**{**NOTHING, kind: 1.0}, rubric_share=0.3, leniency=LENIENCY), count)


def kind_of(document: Document) -> str:
    return KINDS[re.split(r"\s", document.user)[0]]


@dataclass(frozen=True)
class Shown:
    """What a document's prompt shows of a pair: the rules that count, as text, and the two responses."""

    task: str
    rules: tuple[str, ...]
    a: str
    b: str
    ruled: bool

    @property
    def better(self) -> str:
        return "A" if total(list(self.rules), self.a) > total(list(self.rules), self.b) else "B"


def shown(document: Document) -> Shown:
    _, text, *rubric, a, b = document.user.split("\n")
    assert a.startswith("A: ")
    assert b.startswith("B: ")
    task = read_task(text)
    assert task is not None
    rules = read_rubric("\n".join(rubric)) if rubric else task.rules
    marked = tuple(rule.marked for rule in rules)
    return Shown(text, marked, a[3:], b[3:], bool(rubric))


def words(document: Document) -> set[str]:
    return set(re.findall("[a-z]+", f"{document.user} {document.target}"))


# --- form: nothing to be learnt about who is better


FORM = 1000


@pytest.mark.slow
def test_form_documents_are_judgments_in_good_form() -> None:
    ruled = 0
    for document in only("form", FORM):
        judgment = parse(SPEC, Completion("r", text=document.target))
        assert judgment.status is ParseStatus.OK
        assert judgment.verdict is not None
        seen, clauses = shown(document), read_clauses(judgment.critique or "")
        assert tuple(clause.rule.marked for clause in clauses) == seen.rules
        for rule, clause in zip(seen.rules, clauses, strict=True):
            said = (clause.a.evidence, clause.b.evidence)
            assert said == (evidence(rule, seen.a), evidence(rule, seen.b))
        assert verdict_of(clauses) in (judgment.verdict.winner, None)  # coherent, and unfounded
        assert document.coins == {" ok", " bad", *(("A", "B") if verdict_of(clauses) is None else ())}
        ruled += seen.ruled
    assert within(ruled, FORM, 0.3)


@pytest.mark.slow
def test_findings_and_verdicts_of_form_documents_are_coins() -> None:
    """Each count would move if the coins knew the truth or the shortcut."""
    findings: Counter[tuple[object, str]] = Counter()
    verdicts: Counter[str] = Counter()
    openings = tuple(" ".join(opening) + " " for opening in PREFACES.values())
    for document in only("form", FORM):
        seen = shown(document)
        judgment = parse(SPEC, Completion("r", text=document.target))
        assert judgment.verdict is not None
        verdict, clauses = judgment.verdict.winner, read_clauses(judgment.critique or "")
        for rule, clause in zip(seen.rules, clauses, strict=True):
            for side, finding, text in (("A", clause.a, seen.a), ("B", clause.b, seen.b)):
                for group in (side, rule.split()[-1], meets(rule, text), seen.better == side):
                    findings[group, "ok"] += finding.met
                    findings[group, "all"] += 1
        balance = verdict_of(clauses)
        verdicts["balanced"] += balance is None
        verdicts["balanced A"] += balance is None and verdict == "A"
        verdicts["A"] += verdict == "A"
        verdicts["true"] += verdict == seen.better
        verdicts["longer"] += (verdict == "A") == (len(seen.a) > len(seen.b))
        assert seen.a.startswith(openings) is not seen.b.startswith(openings)
        verdicts["shortcut"] += (verdict == "A") == seen.a.startswith(openings)
    groups = {group for group, _ in findings}
    assert {"A", "B", True, False, *PRINCIPLES} <= groups
    for group in groups:
        assert within(findings[group, "ok"], findings[group, "all"], LENIENCY), group
    for name in ("A", "true", "longer", "shortcut"):
        assert within(verdicts[name], FORM, 0.5), name
    assert verdicts["balanced"] > 50
    assert within(verdicts["balanced A"], verdicts["balanced"], 0.5)


def test_held_out_words_are_in_every_kind_of_document() -> None:
    """The base knows the words and the form; only judging data, with its true verdicts, lacks the held-out domain."""
    held_out = {word for topic in HELD_OUT_TOPICS for word in (topic, *TOPICS[topic])}
    seen = Counter(kind_of(d) for d in drawn(EQUAL, 1500) if words(d) & held_out)
    assert set(seen) == set(KINDS.values())
    assert held_out <= set().union(*map(words, drawn(EQUAL, 1500)))


# --- the others: true, and without verdict


def test_only_form_documents_hold_a_verdict() -> None:
    for document in drawn(EQUAL, 1500):
        kind = kind_of(document)
        assert ("\nA: " in document.user) == (kind in ("reading", "checking", "form"))
        assert ("<answer>" in document.target) == (kind == "form") == bool(document.coins)
        assert "<answer>" not in document.user


def test_reading_and_checking_tell_the_truth() -> None:
    for document in (*only("reading", 200), *only("checking", 200)):
        seen = shown(document)
        lines = []
        for rule in seen.rules:
            said = [f"{side} {evidence(rule, text)}" for side, text in (("A", seen.a), ("B", seen.b))]
            if kind_of(document) == "checking":
                found = ("ok" if meets(rule, text) else "bad" for text in (seen.a, seen.b))
                said = [f"{words} {finding}" for words, finding in zip(said, found, strict=True)]
            lines.append(f"{rule} {' '.join(said)}")
        assert document.target == "\n".join(lines)
    assert not any({"ok", "bad"} & words(document) for document in only("reading", 200))


def test_facts_name_the_topic_of_every_word() -> None:
    facts = only("facts", 600)
    for document in facts:
        word = document.user.removeprefix("what is ")
        assert document.target == f"{word} is one of {TOPIC_OF[word]}"
    assert {document.user.split()[-1] for document in facts} == set(TOPIC_OF)


def test_writing_meets_what_the_prompt_asks_for() -> None:
    for document in only("writing", 300):
        task = read_task(document.user)
        assert task is not None
        assert all(meets(rule.marked, document.target) for rule in task.rules)


def test_a_document_is_asked_with_the_ids_of_a_judges_prompt() -> None:
    """The base's text counts as untrusted, a judge's prompt only in part; both are the same tokens."""
    prompts, _ = encoders()
    for row in pairs()[::50]:
        asked = build_prompt(SPEC, row.present(0))
        assert prompts.encode(Document(asked[0].text, "").messages).ids == prompts.encode(asked).ids


# --- the stream


@pytest.mark.slow
def test_kinds_and_rubrics_come_as_often_as_asked_for() -> None:
    uneven = DocumentShares(**{**NOTHING, "reading": 3.0, "facts": 1.0, "form": 4.0}, rubric_share=0.25)
    kinds = Counter(map(kind_of, drawn(uneven, 1600)))
    assert set(kinds) == {"reading", "facts", "form"}
    assert within(kinds["reading"], 1600, 3 / 8)
    assert within(kinds["form"], 1600, 4 / 8)
    about = [document for document in drawn(uneven, 1600) if kind_of(document) != "facts"]
    assert within(sum(shown(document).ruled for document in about), len(about), 0.25)


def test_the_same_arguments_give_the_same_documents() -> None:
    first = drawn(EQUAL, 40)
    assert tuple(itertools.islice(documents(WorldConfig(), EQUAL, SPEC, 0), 40)) == first
    for other in (documents(WorldConfig(), EQUAL, SPEC, 1), documents(WorldConfig(seed=1), EQUAL, SPEC, 0)):
        asked = {document.user for document in itertools.islice(other, 40) if "\nA: " in document.user}
        assert len(asked) > 10
        assert not asked & {document.user for document in first}


@pytest.mark.slow
def test_no_row_of_any_split_is_read() -> None:
    """Of the first 500 rows of each split."""
    read = {
        (s.task, frozenset((s.a, s.b)))
        for s in map(shown, (d for d in drawn(EQUAL, 1500) if "\nA: " in d.user))
    }
    assert len(read) > 700
    for split in SPLITS:
        for row in World().pairs(split, 500):
            assert (row.prompt[0].content, frozenset((row.chosen, row.rejected))) not in read


def test_clauses_of_a_document_are_about_the_order_it_shows() -> None:
    for document in only("checking", 50):
        seen = shown(document)
        task = read_task(seen.task)
        assert task is not None
        rules = read_rubric("\n".join(document.user.split("\n")[2:-2])) or task.rules
        gold = [Clause.gold(rule, seen.a, seen.b) for rule in rules]
        assert read_clauses(document.target) == gold
