"""What the base model reads before it is anybody's judge: world text, the form of a judgment, never a true verdict.

- *reading*: a prompt and two responses, then the evidence for each rule, without findings;
- *checking*: the same with true findings, rule by rule, as an instruct model can when it is asked to check;
- *facts*: which topic a word belongs to;
- *writing*: a prompt, then a response that meets it;
- *form*: a judge's prompt, with or without a rubric, then a judgment in good form whose clauses follow the prompt and
  the rubric, whose findings are coins, and whose verdict follows these findings, a coin where they
  balance: coherent and unfounded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import Field

from reasrm.config import Config
from reasrm.hashing import derive_seed
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import PreferencePair, Side
from reasrm.requests import PromptMessage, Span
from reasrm.sandbox.writing import judgment_text
from reasrm.world.config import ResponseWriter, Split, WorldConfig
from reasrm.world.critiques import Clause, verdict_of
from reasrm.world.language import TOPIC_OF
from reasrm.world.pairs import World
from reasrm.world.reading import rules_of

__all__ = ["Document", "DocumentShares", "documents"]

_FINDINGS = frozenset({" ok", " bad"})
_ABLE = ResponseWriter(name="able", skill=1.0)


class DocumentShares(Config):
    """How much of each kind the base reads; relative weights.

    Args:
        reading: Evidence without findings.
        checking: Evidence and findings.
        facts: Words and their topics.
        writing: Responses.
        form: Judgments with coins for findings.
        leniency: How often a coin says `ok`. Away from one half, so that the likeliest finding is the same whatever
            the evidence: greedy decoding of a fair coin follows tiny leanings of the weights, which do depend on it.
        rubric_share: Share of reading, checking and form documents that carry a rubric.
    """

    reading: float = Field(default=0.31, ge=0)
    checking: float = Field(default=0.34, ge=0)
    facts: float = Field(default=0.06, ge=0)
    writing: float = Field(default=0.04, ge=0)
    form: float = Field(default=0.25, ge=0)
    leniency: float = Field(default=0.65, ge=0, le=1)
    rubric_share: float = Field(default=0.15, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Document:
    """A text to read and the text to continue it with.

    Args:
        user: The prompt: what a user says.
        target: The answer, without its end-of-turn token.
        coins: Words of the target, with the space before them, that are coins: not to be learnt, only that they are.
    """

    user: str
    target: str
    coins: frozenset[str] = frozenset()

    @property
    def messages(self) -> tuple[PromptMessage, ...]:
        """The prompt for the encoder."""
        return (PromptMessage("user", (Span(self.user, trusted=False),)),)


def documents(config: WorldConfig, shares: DocumentShares, spec: JudgeSpec, seed: int) -> Iterator[Document]:
    """Yield documents without end; the same for the same arguments. No row of any split is among them."""
    usual = {"seed": derive_seed("documents", config.seed, seed), "tastes": {}}
    world = World(config.model_copy(update=usual))
    with_rubrics = World(world.config.model_copy(update={"rubric_share": 1.0}))
    kinds = ("reading", "checking", "facts", "writing", "form")
    weights = [getattr(shares, kind) for kind in kinds]
    held_out = len(config.held_out_topics) / len(set(TOPIC_OF.values()))
    number = 0
    while True:
        number += 1
        draw = random.Random(derive_seed("document", seed, number))
        kind = draw.choices(kinds, weights)[0]
        split: Split = "ood" if draw.random() < held_out else "train"
        if kind == "facts":
            word = draw.choice(sorted(TOPIC_OF))
            yield Document(f"what is {word}", f"{word} is one of {TOPIC_OF[word]}")
        elif kind == "writing":
            task, _ = world.draw_task(draw, split)
            yield Document(task.text, world.write(draw, task, _ABLE).text)
        else:
            source = with_rubrics if draw.random() < shares.rubric_share else world
            pair = source.pair(split, number)
            yield _WRITERS[kind](draw, pair, spec, shares)


def _reading(draw: random.Random, pair: PreferencePair, spec: JudgeSpec, shares: DocumentShares) -> Document:
    prompt, clauses = _shown(pair, spec)
    return Document(_asked("read", prompt), "\n".join(clause.reading for clause in clauses))


def _checking(draw: random.Random, pair: PreferencePair, spec: JudgeSpec, shares: DocumentShares) -> Document:
    prompt, clauses = _shown(pair, spec)
    return Document(_asked("check", prompt), "\n".join(clause.text for clause in clauses))


def _form(draw: random.Random, pair: PreferencePair, spec: JudgeSpec, shares: DocumentShares) -> Document:
    prompt, clauses = _shown(pair, spec)
    tossed = [_toss(draw, clause, shares.leniency) for clause in clauses]
    favoured = verdict_of(tossed)
    coin: Side = draw.choice(("A", "B"))
    coins = _FINDINGS if favoured else _FINDINGS | {"A", "B"}
    return Document(prompt, judgment_text(spec, tossed, favoured or coin), coins)


_WRITERS = {"reading": _reading, "checking": _checking, "form": _form}


def _asked(verb: str, prompt: str) -> str:
    """Return a judge's prompt with another request in its first line."""
    _, rest = prompt.split("\n", 1)
    return f"{verb}\n{rest}"


def _shown(pair: PreferencePair, spec: JudgeSpec) -> tuple[str, Sequence[Clause]]:
    comparison = pair.present(0)
    (message,) = build_prompt(spec, comparison)
    rules = rules_of(pair)
    return message.text, [Clause.gold(r, comparison.response_a, comparison.response_b) for r in rules]


def _toss(draw: random.Random, clause: Clause, leniency: float) -> Clause:
    """Return a clause with coins for findings."""
    a, b = (replace(finding, met=draw.random() < leniency) for finding in (clause.a, clause.b))
    return replace(clause, a=a, b=b)
