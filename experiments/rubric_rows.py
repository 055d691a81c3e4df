"""Rows of the experiment on rubrics, and the rubrics that need no writer: explicit rules, a drawn principle, gold.

The judge learns in the usual world, where an audience's unwritten quality is one that its base has read of. Test rows
and synthesis pairs belong to a client with other tastes: the same requests, of which each audience values another
quality, and nobody says so. *Conflict* rows are in-domain rows that the judge's own taste decides wrongly or not at
all: there a rubric must say what the judge cannot know.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from reasrm.demo.stages import UNSEEN, read_pairs, write_pairs
from reasrm.files import replacing
from reasrm.hashing import derive_seed, digest, request_hash
from reasrm.records import PreferencePair, Rubric
from reasrm.rubric import Criterion
from reasrm.sources.rubric_lines import RubricLine
from reasrm.strictjson import dumps
from reasrm.world.config import Split, WorldConfig
from reasrm.world.pairs import World, read_task, score
from reasrm.world.reading import rules_of
from reasrm.world.rules import PRINCIPLES, Rule, read_rule, rubric_of

__all__ = [
    "COMPUTED",
    "SPLITS",
    "TASTES",
    "Rows",
    "TestSplit",
    "draw_rows",
    "is_conflict",
    "principles_of",
    "usual_rules",
    "write_rubrics",
]

TestSplit = Literal["iid", "ood", "hard", "conflict"]
SPLITS: tuple[TestSplit, ...] = ("iid", "ood", "hard", "conflict")
TASTES = {"kids": "plain", "experts": "warm", "guests": "merry"}
"""The client's tastes; in the usual world kids value `merry`, experts `plain` and guests `warm`."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Test rows, each with its split as subset.

    Args:
        path: The file of all.
        pairs: By id.
    """

    path: Path
    pairs: Mapping[str, PreferencePair]

    def of(self, split: TestSplit) -> list[str]:
        """Return the ids of a split, sorted."""
        return sorted(name for name, pair in self.pairs.items() if pair.subset == split)


def usual_rules(pair: PreferencePair) -> tuple[Rule, ...]:
    """Return the rules by which a judge of the usual world weighs a row: the stated ones and that world's taste."""
    task = read_task(pair.prompt[0].content)
    if task is None:
        raise ValueError(f"{pair.id} is no row of the world")
    return task.rules


def is_conflict(pair: PreferencePair) -> bool:
    """Whether the usual world's taste would not choose the better response."""
    rules = usual_rules(pair)
    return score(rules, pair.chosen) <= score(rules, pair.rejected)


def draw_rows(usual: WorldConfig, client: WorldConfig, each: int, root: Path) -> Rows:
    """Return `each` rows of every split; they do not depend on the seed of an experiment.

    Args:
        usual: The world that the judge knows.
        client: The world that labels the rows.
        each: Rows of a split.
        root: Where the file lies.
    """
    key = digest([usual.model_dump(mode="json"), client.model_dump(mode="json"), each], 8)
    path = root / f"rubric-rows-{key}.jsonl"
    if not path.exists():
        write_pairs(_drawn(World(usual), World(client), each), path)
    return Rows(path, read_pairs(path))


def _drawn(usual: World, client: World, each: int) -> Iterator[PreferencePair]:
    """Yield rows that share no prompt with training rows of either world."""
    seen = {pair.prompt for world in (usual, client) for pair in world.pairs("train", UNSEEN)}
    splits: tuple[Split, ...] = ("iid", "ood", "hard")
    for split in splits:
        yield from client.pairs(split, each, UNSEEN, without=seen)
    # Of about eight in-domain rows one is a conflict; these begin behind all that `iid` may have drawn.
    found = filter(is_conflict, client.pairs("iid", 20 * each, 3 * UNSEEN, without=seen))
    yield from (replace(pair, subset="conflict") for pair in islice(found, each))


def _explicit(pair: PreferencePair) -> Rubric:
    return rubric_of([rule for rule in rules_of(pair) if rule.is_hard])


def _random(pair: PreferencePair) -> Rubric:
    """The explicit rules, and for each audience some principle, drawn by the row."""
    hard = [rule for rule in rules_of(pair) if rule.is_hard]
    draw = random.Random(derive_seed("random principle", pair.id))
    return rubric_of([*hard, *([Rule(draw.choice(PRINCIPLES))] if pair.meta.get("audience") else [])])


def _gold(pair: PreferencePair) -> Rubric:
    return rubric_of(rules_of(pair))


COMPUTED: Mapping[str, Callable[[PreferencePair], Rubric]] = {
    "explicit rules": _explicit,
    "random principle": _random,
    "gold": _gold,
}


def write_rubrics(name: str, pairs: Iterable[PreferencePair], path: Path) -> Path:
    """Write the computed rubrics of an arm, one line a row."""
    if not path.exists():
        with replacing(path) as stream:
            for pair in pairs:
                line = RubricLine(
                    id=pair.id,
                    rubric=COMPUTED[name](pair),
                    prompt_hash=request_hash(pair.prompt),
                    provenance={"writer": f"computed: {name}"},
                )
                stream.write(dumps(line.to_json()) + b"\n")
    return path


def principles_of(criteria: Sequence[Criterion]) -> frozenset[str]:
    """Return the principles of the world among criteria; other texts are none."""
    rules = (read_rule(criterion.text) for criterion in criteria)
    return frozenset(rule.kind for rule in rules if rule is not None and not rule.is_hard)
