"""From a seed to preference pairs and candidate sets: endless, and any row by its number alone.

The label is exact: the weighted sum of the rules a response meets, ties drawn again. What was drawn but must not be
shown (rules, writers, the shortcut's place, the margin) lies in `meta`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reasrm.errors import ConfigError
from reasrm.hashing import derive_seed
from reasrm.records import CandidateSet, Critique, Message, PreferencePair, Rubric
from reasrm.world.config import SPLITS, ResponseWriter, Split, WorldConfig
from reasrm.world.critiques import Clause, core_arguments
from reasrm.world.language import (
    AUDIENCES,
    BOASTS,
    CHEERS,
    CLOSINGS,
    COURTESIES,
    NUMBERS,
    PREFACES,
    TOPICS,
)
from reasrm.world.rows import DrawnRows
from reasrm.world.rules import HARD_RULES, PRINCIPLES, Rule, check, read_rule, rubric_of

__all__ = ["World", "WorldPrompt", "WrittenResponse", "read_task", "score"]

_ATTEMPTS = 10_000
_COUNTS = (2, 3, 4)  # how many items a prompt may ask for


@dataclass(frozen=True, slots=True)
class WorldPrompt:
    """A prompt before it is text: who wants what, and by which rules responses are weighed.

    Args:
        topic: What to name.
        audience: For whom; None if the prompt does not say.
        rules: Stated rules in order, then the principle, if one counts.
    """

    topic: str
    audience: str | None
    rules: tuple[Rule, ...]

    @property
    def text(self) -> str:
        """The prompt as a user writes it. Principles are not stated."""
        reader = f" for {self.audience}" if self.audience else ""
        return f"name {self.topic}{reader} : " + " , ".join(
            rule.marked for rule in self.rules if rule.is_hard
        )


@dataclass(frozen=True, slots=True)
class WrittenResponse:
    """A response and who wrote it."""

    text: str
    writer: str


def read_task(text: str) -> WorldPrompt | None:
    """Read a prompt back: the inverse of `WorldPrompt.text`, the audience's principle added. None if it is none."""
    head, colon, tail = text.partition(" : ")
    words = head.split(" ")
    if not colon or words[0] != "name" or len(words) not in (2, 4) or words[1] not in TOPICS:
        return None
    audience = words[3] if len(words) == 4 and words[2] == "for" else None
    if len(words) == 4 and audience not in AUDIENCES:
        return None
    rules = []
    for phrase in tail.split(" , "):
        rule = read_rule(phrase)
        if rule is None or not rule.is_hard:
            return None
        rules.append(rule)
    if audience:
        rules.append(Rule(AUDIENCES[audience]))
    return WorldPrompt(words[1], audience, tuple(rules))


def score(rules: Sequence[Rule], response: str) -> int:
    """Return the weighted sum of the rules that a response meets."""
    words = response.split()
    return sum(rule.weight for rule in rules if check(rule, words).met)


class World(DrawnRows[Split]):
    """The world of word lists."""

    splits = SPLITS

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig()

    def pair(self, split: Split, number: int) -> PreferencePair:
        """Return one preference pair.

        Raises:
            ConfigError: The configuration leaves no pair to draw, such as a margin that never occurs.
        """
        draw = random.Random(derive_seed("pair", self.config.seed, split, number))
        margin = self.config.splits[split].margin
        for _ in range(_ATTEMPTS):
            task, rubric = self.draw_task(draw, split)
            good, bad = self.write(draw, task), self.write(draw, task)
            difference = score(task.rules, good.text) - score(task.rules, bad.text)
            if difference < 0:
                good, bad = bad, good
            if difference and good.text != bad.text and margin in (None, abs(difference)):
                return self._as_pair(draw, split, number, task, rubric, good, bad)
        raise ConfigError(
            f"no pair with a margin of {margin or 'any size'} in {_ATTEMPTS} draws",
            place=f"splits.{split}",
            remedy="choose a smaller margin, more rules, or writers who do not all succeed or fail",
        )

    def candidates(self, split: Split, number: int, count: int) -> CandidateSet:
        """Return one prompt with `count` different responses; the label ranks them, equals in order of writing."""
        draw = random.Random(derive_seed("candidates", self.config.seed, split, number))
        for _ in range(_ATTEMPTS):
            task, rubric = self.draw_task(draw, split)
            written = [self.write(draw, task) for _ in range(count)]
            scores = [score(task.rules, response.text) for response in written]
            if len({response.text for response in written}) == count and len(set(scores)) > 1:
                return CandidateSet(
                    id=f"{split}-set-{number}",
                    prompt=(Message("user", task.text),),
                    responses=tuple(response.text for response in written),
                    label=tuple(sorted(range(count), key=lambda n: (-scores[n], n))),
                    rubric=rubric,
                    subset=split,
                    meta={**_task_meta(task), "scores": scores, "writers": [w.writer for w in written]},
                )
        raise ConfigError(f"no {count} different responses in {_ATTEMPTS} draws", remedy="ask for fewer")

    def draw_task(self, draw: random.Random, split: Split) -> tuple[WorldPrompt, Rubric | None]:
        """Draw a prompt, and the rubric that its judge is given, if any."""
        config, its = self.config, self.config.splits[split]
        topics = config.topics(split)
        topic = draw.choice(topics)
        audience = draw.choice(sorted(AUDIENCES)) if draw.random() < config.principle_share else None
        kinds = draw.sample(HARD_RULES, draw.randint(*its.num_rules))
        must = draw.choice(kinds) if draw.random() < config.must_share else None
        rules = [Rule(kind, _value(draw, kind, topic, topics), 2 if kind == must else 1) for kind in kinds]
        with_rubric = draw.random() < config.rubric_share
        if with_rubric:
            rules.append(Rule(draw.choice(PRINCIPLES), None, draw.choice((1, 2))))
        elif audience:
            rules.append(Rule(config.taste(audience)))
        return WorldPrompt(topic, audience, tuple(rules)), rubric_of(rules) if with_rubric else None

    def write(
        self, draw: random.Random, task: WorldPrompt, writer: ResponseWriter | None = None
    ) -> WrittenResponse:
        """Let a writer answer, meeting each rule as often as its skill allows (by luck a little more often)."""
        writer = writer or draw.choice(self.config.writers)
        keeps = {rule.kind: draw.random() < writer.skill for rule in task.rules}
        rules = {rule.kind: rule for rule in task.rules}
        count = draw.choice(_COUNTS)
        if "count" in rules:
            wanted = NUMBERS.index(str(rules["count"].value))
            count = wanted if keeps["count"] else draw.choice([n for n in (wanted - 1, wanted + 1) if n > 0])
        items = self._items(draw, task, count, rules, keeps)
        words = [*items[:-1], writer.joiner, items[-1]] if len(items) > 1 else list(items)
        for kind, extra, usual in (
            ("plain", BOASTS, 0.1),
            ("warm", COURTESIES, 0.15),
            ("merry", CHEERS, 0.15),
        ):
            if (keeps[kind] is (kind != "plain")) if kind in rules else (draw.random() < usual):
                words.insert(draw.randrange(len(words) + 1), draw.choice(extra))
        if "end" in rules and keeps["end"]:
            words.append(str(rules["end"].value))
        elif draw.random() < 0.6:
            words.append(draw.choice([c for c in CLOSINGS if "end" not in rules or c != rules["end"].value]))
        return WrittenResponse(" ".join(words), writer.name)

    def _items(
        self,
        draw: random.Random,
        task: WorldPrompt,
        count: int,
        rules: dict[str, Rule],
        keeps: dict[str, bool],
    ) -> list[str]:
        """Draw the things named: of the topic, with what the rules ask for and forbid put in or left out."""
        include = str(rules["include"].value) if "include" in rules else None
        items = draw.sample([word for word in TOPICS[task.topic] if word != include], count)
        places = draw.sample(range(count), count)
        if include is not None and keeps["include"]:
            items[places.pop()] = include
        if places and "avoid" in rules and not keeps["avoid"]:
            items[places.pop()] = draw.choice(TOPICS[str(rules["avoid"].value)])
        return items

    def _as_pair(
        self,
        draw: random.Random,
        split: Split,
        number: int,
        task: WorldPrompt,
        rubric: Rubric | None,
        good: WrittenResponse,
        bad: WrittenResponse,
    ) -> PreferencePair:
        on_chosen = draw.random() < self.config.shortcut_share(split)
        preface = " ".join(PREFACES[self.config.shortcut.kind])
        texts = [
            f"{preface} {w.text}" if on_chosen is first else w.text
            for w, first in ((good, True), (bad, False))
        ]
        clauses = [Clause.gold(rule, *texts) for rule in task.rules]
        return PreferencePair(
            id=f"{split}-{number}",
            prompt=(Message("user", task.text),),
            chosen=texts[0],
            rejected=texts[1],
            rubric=rubric,
            critique=Critique(core_arguments(clauses)),
            subset=split,
            meta={
                **_task_meta(task),
                "margin": score(task.rules, texts[0]) - score(task.rules, texts[1]),
                "shortcut": "chosen" if on_chosen else "rejected",
                "writers": [good.writer, bad.writer],
            },
        )


def _value(draw: random.Random, kind: str, topic: str, topics: Sequence[str]) -> str:
    if kind == "count":
        return NUMBERS[draw.choice(_COUNTS)]
    if kind == "include":
        return draw.choice(TOPICS[topic])
    if kind == "avoid":
        return draw.choice([other for other in topics if other != topic])
    return draw.choice(CLOSINGS)


def _task_meta(task: WorldPrompt) -> dict[str, object]:
    return {"topic": task.topic, "audience": task.audience, "rules": [rule.marked for rule in task.rules]}
