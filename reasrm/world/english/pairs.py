"""Rows of the English world: endless, exact, and any row by its number alone.

A response is base sentences bent demand by demand, so that it meets those it should; a check of the finished text has
the last word, and what fails it is drawn again. Splits share no prompt: to which one a prompt may belong depends on its
text.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from reasrm.errors import ConfigError
from reasrm.hashing import derive_seed
from reasrm.records import CandidateSet, Critique, Message, PreferencePair
from reasrm.world.critiques import core_arguments
from reasrm.world.english.bends import BENDS
from reasrm.world.english.config import SPLITS, EnglishConfig, EnglishSplit
from reasrm.world.english.demands import Demand, EnglishPrompt, Remark, check
from reasrm.world.english.drafts import Draft
from reasrm.world.english.kinds import KINDS, excluded
from reasrm.world.english.phrases import OPENER
from reasrm.world.english.texts import load_texts, part_topics
from reasrm.world.rows import DrawnRows
from reasrm.world.rules import Rule, rubric_of

__all__ = ["LEVELS", "EnglishWorld", "score"]

LEVELS = 5
"""Quality levels of a candidate set: weights 2, 1 and 1 make every sum from 0 to 4."""
_ATTEMPTS = 2000
_TRIES = 20
_CLOSED = {"first", "title"}  # demands about the beginning, where an opener would decide
_SIDES: Mapping[EnglishSplit, tuple[int, ...]] = {
    "train": (0, 1, 2, 3),
    "tune": (4,),
}  # by prompt; others have the rest


def score(demands: Iterable[Rule], response: str) -> int:
    """Return the weighted sum of the demands that a response meets."""
    return sum(demand.weight for demand in demands if check(demand, response).met)


class EnglishWorld(DrawnRows[EnglishSplit]):
    """The world of English requests.

    Args:
        config: Its knobs.

    Raises:
        InputError: The base texts cannot be read.
        ConfigError: They are too few.
    """

    splits = SPLITS

    def __init__(self, config: EnglishConfig | None = None) -> None:
        self.config = config or EnglishConfig()
        self._texts = load_texts(self.config.texts)
        self._topics = part_topics(tuple(self._texts), self.config.held_out_topics)

    def topics(self, split: EnglishSplit) -> tuple[str, ...]:
        """Return the topics of a split."""
        return self._topics[split == "topics"]

    def pair(self, split: EnglishSplit, number: int) -> PreferencePair:
        """Return one preference pair.

        Raises:
            ConfigError: The configuration leaves no pair to draw.
        """
        draw = random.Random(derive_seed("english-pair", self.config.seed, split, number))
        on_chosen = draw.random() < self.config.shortcut_share(split)
        marks = self.config.shortcut.marks
        for request, prompt in self._requests(draw, split, self.config.num_rules, self.config.must_share):
            wants = [self._wanted(draw, request), self._wanted(draw, request)]
            wants.sort(key=lambda keeps: -_sum(request, keeps))
            polite = "polite" in marks and not _CLOSED & {rule.kind for rule in request.rules}
            if _sum(request, wants[0]) == _sum(request, wants[1]):
                continue
            for _ in range(_TRIES):
                texts = [
                    self._write(draw, split, request, keeps, OPENER if polite and wears else None)
                    for keeps, wears in zip(wants, (on_chosen, not on_chosen), strict=True)
                ]
                worn, bare = (len((texts[side] or "").split()) for side in (not on_chosen, on_chosen))
                if None not in texts and texts[0] != texts[1] and ("length" not in marks or worn > bare):
                    chosen, rejected = (text or "" for text in texts)
                    pair = self._as_pair(split, number, request, prompt, chosen, rejected)
                    shortcut = {"shortcut": "chosen" if on_chosen else "rejected", "polite": polite}
                    rubric = rubric_of(request.rules) if draw.random() < self.config.rubric_share else None
                    return replace(pair, rubric=rubric, meta={**pair.meta, **shortcut})
        raise AssertionError  # `_requests` has raised

    def candidates(self, split: EnglishSplit, number: int, count: int = LEVELS) -> CandidateSet:
        """Return one prompt with `count` responses of as many quality levels; the label ranks them, best first.

        Args:
            split: Of which.
            number: Of the set.
            count: At most `LEVELS`. With that many there is one response for every sum of weights from 0 to 4.

        Raises:
            ConfigError: More responses are asked for, or none can be written.
        """
        if not 2 <= count <= LEVELS:
            raise ConfigError(f"{count} quality levels", remedy=f"ask for 2 to {LEVELS}")
        draw = random.Random(derive_seed("english-candidates", self.config.seed, split, number))
        for request, prompt in self._requests(draw, split, (0, 0, 1), 1):
            scores = draw.sample(range(LEVELS), count)
            texts = [self._of_level(draw, split, request, level) for level in scores]
            if None not in texts:
                return CandidateSet(
                    id=f"{split}-set-{number}",
                    prompt=(Message("user", prompt),),
                    responses=tuple(text or "" for text in texts),
                    label=tuple(sorted(range(count), key=lambda n: -scores[n])),
                    rubric=rubric_of(request.rules) if draw.random() < self.config.rubric_share else None,
                    subset=split,
                    meta={**_request_meta(request), "scores": scores},
                )
        raise AssertionError  # `_requests` has raised

    def _requests(
        self, draw: random.Random, split: EnglishSplit, num_rules: Sequence[float], must_share: float
    ) -> Iterator[tuple[EnglishPrompt, str]]:
        """Yield requests of a split with their texts.

        Raises:
            ConfigError: None of the last attempts was of use.
        """
        sides = _SIDES.get(split, (5, 6, 7))
        for _ in range(_ATTEMPTS):
            kinds: list[str] = []
            menu = list(self.config.kinds(split))
            draw.shuffle(menu)
            (count,) = draw.choices((1, 2, 3), num_rules)
            for _ in range(count):
                kinds += next(([kind] for kind in menu if not excluded(kind, set(kinds))), [])
            must = draw.choice(kinds) if len(kinds) > 1 and draw.random() < must_share else None
            rules = [Demand(kind, _value(draw, kind), 2 if kind == must else 1) for kind in kinds]
            request = EnglishPrompt(draw.choice(self.topics(split)), tuple(rules))
            text = request.text(draw)
            values = [rule.value for rule in rules if rule.value]
            enough = len(kinds) == count and len(set(values)) == len(values)
            if enough and derive_seed("side", text) % 8 in sides:
                yield request, text
        raise ConfigError(
            f"no row in {_ATTEMPTS} draws",
            place=f"split {split}",
            remedy="choose more kinds, fewer rules or another skill",
        )

    def _wanted(self, draw: random.Random, request: EnglishPrompt) -> tuple[bool, ...]:
        return tuple(draw.random() < self.config.skill for _ in request.rules)

    def _of_level(
        self, draw: random.Random, split: EnglishSplit, request: EnglishPrompt, level: int
    ) -> str | None:
        """Return a response whose weighted sum is `level`."""
        ways = [
            keeps
            for keeps in (tuple(bool(n >> k & 1) for k in range(3)) for n in range(8))
            if _sum(request, keeps) == level
        ]
        keeps = draw.choice(ways)
        written = (self._write(draw, split, request, keeps, None) for _ in range(_TRIES))
        return next((text for text in written if text is not None), None)

    def _write(
        self,
        draw: random.Random,
        split: EnglishSplit,
        request: EnglishPrompt,
        keeps: Sequence[bool],
        opener: str | None,
    ) -> str | None:
        """Bend sentences so that each demand is met or not; None if that did not come out."""
        pool = self._texts[request.topic]
        draft = Draft(tuple(draw.sample(pool, draw.randint(*self.config.num_sentences))), opener=opener)
        bends = {rule.kind: (rule.value or "", keep) for rule, keep in zip(request.rules, keeps, strict=True)}
        if draw.random() < self.config.habit:
            kind = draw.choice(self.config.kinds(split))
            if not excluded(kind, set(bends)) and not (opener and kind in _CLOSED):
                bends[kind] = (_value(draw, kind) or "", draw.random() < 0.5)
        for kind, bend in BENDS.items():
            if kind in bends:
                draft = bend(draw, draft, *bends[kind], pool)
        text = draft.text
        found = all(check(rule, text).met is keep for rule, keep in zip(request.rules, keeps, strict=True))
        return text if found else None

    def _as_pair(
        self,
        split: EnglishSplit,
        number: int,
        request: EnglishPrompt,
        prompt: str,
        chosen: str,
        rejected: str,
    ) -> PreferencePair:
        clauses = [Remark.gold(rule, chosen, rejected) for rule in request.rules]
        margin = score(request.rules, chosen) - score(request.rules, rejected)
        return PreferencePair(
            id=f"{split}-{number}",
            prompt=(Message("user", prompt),),
            chosen=chosen,
            rejected=rejected,
            critique=Critique(core_arguments(clauses)),
            subset=split,
            meta={**_request_meta(request), "margin": margin},
        )


def _sum(request: EnglishPrompt, keeps: Sequence[bool]) -> int:
    return sum(rule.weight for rule, keep in zip(request.rules, keeps, strict=True) if keep)


def _value(draw: random.Random, kind: str) -> str | None:
    values = KINDS[kind].values
    return draw.choice(values) if values else None


def _request_meta(request: EnglishPrompt) -> dict[str, object]:
    return {
        "world": "english",
        "topic": request.topic,
        "kinds": [rule.kind for rule in request.rules],
        "rules": [rule.marked for rule in request.rules],
    }
