"""Stages of the experiment on rubrics, each done once: a judge, authors' rubrics, writers, what they write, judging.

As in `arms.py`, whatever a stage leads to lies under a name that is a hash of everything that shapes it, and a stage
that was stopped goes on by the same call.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.arms import SandboxLab, Trained, code_hash, once
from experiments.rubric_rows import SPLITS, TASTES, Rows, principles_of, write_rubrics
from reasrm.cli.console import judging_progress, note
from reasrm.config import parse_config
from reasrm.demo.config import DemoConfig
from reasrm.demo.stages import cap_rows, make_traces, read_pairs, write_pairs
from reasrm.durable import read_records
from reasrm.generation.run import RunControl
from reasrm.hashing import derive_seed, digest
from reasrm.judged import JudgedRow, read_judged
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.spec import load_spec
from reasrm.records import Order
from reasrm.rubrics.report import Material, marks_of_world, report
from reasrm.sources.rubric_lines import Rubrics, load_rubrics
from reasrm.world.config import WorldConfig
from reasrm.world.pairs import World
from reasrm.world.reading import rules_of
from reasrm.world.rules import rubric_of

__all__ = ["BACKEND", "RubricLab", "client_world", "credits_of", "file_hash", "first_credits", "rubric_code"]

JUDGE_PAIRS_FROM = 5_000
"""Number of the first of the client's training pairs that a judge is trained on: behind all synthesis pairs, and before
`UNSEEN`, so that no test row shares a prompt with one."""
BACKEND: dict[str, Any] = {"dtype": "float32", "batch_size": 128}
_TEMPERATURE = 0.7


@functools.cache
def rubric_code() -> str:
    """Return a hash of all code that results may depend on."""
    names = ("rubric_lab.py", "rubric_rows.py", "rubric_stages.py", "rubrics.py")
    found = [hashlib.sha256(Path(__file__).with_name(name).read_bytes()).hexdigest() for name in names]
    return digest([code_hash(), *found], 12)


def client_world(usual: WorldConfig) -> WorldConfig:
    """Return the world of the client, whose audiences value other qualities."""
    return parse_config(WorldConfig, {**usual.model_dump(mode="json"), "tastes": TASTES}, "client's world")


class RubricLab:
    """Makes stages for one seed.

    Args:
        config: Of base, teacher and training; its world is the one that the judge knows.
        root: Where everything lies.
        rows: The test rows.
        code: Hash of the code, part of every key.
    """

    def __init__(self, config: DemoConfig, root: Path, rows: Rows, code: str) -> None:
        self.lab = SandboxLab(config, root, code)
        self.config = config
        self.folder = self.lab.folder
        self.rows = rows
        self.client = World(client_world(config.base.world))
        self.code = code

    def judge(self) -> Trained:
        """Return the judge that all arms but one use: the seed's base after SFT on its teacher's traces."""
        return self.lab.sft(self.config, self.lab.traces(self.config), name="judge")

    def pairs(self, count: int) -> Path:
        """Return the first `count` of the client's training pairs, for synthesis."""
        shape = digest(self.client.config.model_dump(mode="json"), 8)
        return write_pairs(self.client.pairs("train", count), self.folder / f"client-{shape}-{count}.jsonl")

    def computed(self, name: str) -> Path:
        """Return rubrics of the test rows that are computed."""
        slug = name.replace(" ", "-")
        return write_rubrics(
            name, self.rows.pairs.values(), self.folder / f"{slug}-{self.rows.path.stem}.jsonl"
        )

    def judge_pairs(self) -> Path:
        """Return the client's pairs that a judge may learn from; none is a synthesis pair."""
        count = self.config.pairs
        shape = digest(self.client.config.model_dump(mode="json"), 8)
        pairs = self.client.pairs("train", count, JUDGE_PAIRS_FROM)
        return write_pairs(pairs, self.folder / f"client-{shape}-{count}-for-judge.jsonl")

    def trained_judge(self, writer: Trained, rubrics: Path) -> Trained:
        """Return a judge that learnt under a writer's rubrics, from as many traces and steps as the other.

        Args:
            writer: Who wrote.
            rubrics: What it wrote for `judge_pairs`.
        """
        key = digest([writer.key, file_hash(rubrics), self.config.teacher.model_dump(), self.code], 12)
        traces = self.folder / f"traces-under-rubrics-{key}.jsonl"
        if not traces.exists():
            written = load_rubrics(rubrics)
            lines = ((pair, written.find(pair)) for pair in read_pairs(self.judge_pairs()).values())
            pairs = (replace(pair, rubric=line.rubric) for pair, line in lines if line is not None)
            shown = write_pairs(pairs, self.folder / f"pairs-under-rubrics-{key}.jsonl")
            spec = load_spec(self.config.base.spec)
            kept = make_traces(self.config, spec, shown, self.folder / f"all-{traces.name}")
            cap_rows(kept.output, self.config.traces, traces)
        return self.lab.sft(self.config, traces, name="judge-under-rubrics")

    def judged(
        self, judge: Trained, rubrics: Path | None, *, votes: int = 1, temperature: float = 0.0
    ) -> dict[str, JudgedRow]:
        """Return the test rows judged in both orders, going on where an earlier call stopped.

        A row without a rubric is judged without one.

        Raises:
            KeyboardInterrupt: The run was asked to stop.
        """
        shown = None if rubrics is None else load_rubrics(rubrics)
        asked = [None if rubrics is None else file_hash(rubrics), votes, temperature, self.code]
        output = self.folder / f"judged-{digest([judge.key, self.rows.path.name, *asked], 12)}.jsonl"
        seed = derive_seed("rubrics: judging", self.config.seed)
        named = replace(open_judge(str(judge.model), spec=self.config.base.spec, **BACKEND), name=judge.key)
        with (
            closing(named.backend),
            judging_progress(f"seed {self.config.seed} judging") as on_progress,
        ):
            options = JudgingOptions(seed=seed, votes=votes, sampling=named.sampling(temperature=temperature))
            rows = JudgeInput([self.rows.path], rubrics=shown if shown is not None and shown.by_id else None)
            end = judge_file(named, rows, output, options, RunControl(on_progress=on_progress))
        if not end.is_whole:
            raise KeyboardInterrupt
        return {row.id: row for row in map(read_judged, read_records(output))}

    def measure(
        self, arm: str, judge: Trained, rubrics: Path | None, *, swapped: Path | None = None, **facts: Any
    ) -> dict[str, Any]:
        """Return what judging under an arm's rubrics comes to, from the cache if it is there.

        Args:
            arm: Its name.
            judge: Who judges.
            rubrics: The rubrics, None for none.
            swapped: What the same writer wrote with the responses exchanged.
            facts: What else the result says.
        """
        files = [None if path is None else file_hash(path) for path in (rubrics, swapped)]
        path = self._result(arm, [judge.key, files, sorted(facts.items())])

        def made() -> dict[str, Any]:
            note(f"seed {self.config.seed}: measuring {arm}")
            judged = {"arm": self.judged(judge, rubrics)}
            if swapped is not None:
                judged["swapped"] = self.judged(judge, swapped)
            own = judged["arm"]
            result = {
                "arm": arm,
                "seed": self.config.seed,
                "code": self.code,
                **facts,
                "cells": {split: credits_of(own[name] for name in self.rows.of(split)) for split in SPLITS},
                "coverage": _coverage(own.values()),
                "about": {} if rubrics is None else self.about(rubrics, swapped, judged),
            }
            if rubrics is not None and swapped is not None:
                result["orders"] = _orders(load_rubrics(rubrics), judged["arm"], judged["swapped"])
            return result

        return once(path, made)

    def votes(
        self, arm: str, judge: Trained, rubrics: Path | None, calls: Mapping[int, int]
    ) -> dict[str, Any]:
        """Return what the majority of so many sampled judgments of a row comes to.

        Args:
            arm: Its name.
            judge: Who judges.
            rubrics: The rubrics, None for none.
            calls: Judgments that vote → calls that they and the rubric cost.
        """
        shown = None if rubrics is None else file_hash(rubrics)
        path = self._result(f"votes-{arm}", [judge.key, shown, sorted(calls.items())])

        def made() -> dict[str, Any]:
            votes = -(-max(calls) // 2)
            judged = self.judged(judge, rubrics, votes=votes, temperature=_TEMPERATURE)
            cells = {
                str(cost): {
                    split: [first_credits(judged[name], num) for name in self.rows.of(split)]
                    for split in SPLITS
                }
                for num, cost in calls.items()
            }
            return {"arm": arm, "seed": self.config.seed, "by_calls": cells}

        return once(path, made)

    def about(
        self, path: Path, swapped: Path | None, judged: Mapping[str, Mapping[str, JudgedRow]]
    ) -> dict[str, float | None]:
        """Return the numbers of `reasrm rubrics report` on an arm's rubrics, and how often their principle is right."""
        rubrics = load_rubrics(path)
        if not rubrics.by_id:
            return {"rows_with_rubric": 0.0, "right_principle": 0.0}
        pairs = list(self.rows.pairs.values())
        found = report(
            Material(
                rubrics=rubrics,
                rows=pairs,
                marks=marks_of_world(rubrics, pairs),
                gold=load_rubrics(self.computed("gold")),
                swapped=None if swapped is None else load_rubrics(swapped),
                judged=judged,
            ),
            self.config.seed,
        )
        numbers = chain.from_iterable(section.items() for section in found["sections"].values())
        values = {name: estimate["value"] for name, estimate in numbers}
        asked = [pair for pair in pairs if pair.meta.get("audience")]
        lines = ((pair, rubrics.find(pair)) for pair in asked)
        right = [
            line is not None
            and principles_of(line.rubric.criteria) == principles_of(rubric_of(rules_of(pair)).criteria)
            for pair, line in lines
        ]
        return {**values, "right_principle": fmean(right) if right else None}

    def _result(self, arm: str, shape: Sequence[Any]) -> Path:
        key = digest([*shape, self.rows.path.name, self.code], 12)
        return self.folder / f"result-{arm.replace(' ', '-').replace('+', 'and')}-{key}.json"


def file_hash(path: Path) -> str:
    """Return a short hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def credits_of(rows: Iterable[JudgedRow]) -> list[float]:
    """Return for each row the share of its judgments that are right; one that could not be read is not."""
    return [fmean(row.is_right(judgment) is True for judgment in row.judgments) for row in rows]


def first_credits(row: JudgedRow, num: int) -> float:
    """Return what the majority of a row's first `num` judgments earns: 1 if right, 0 if wrong, half if level.

    The orders take turns; which of them begins is drawn by the row, or a taste for a place would look like skill.
    """
    begins = Order.AB if derive_seed("begins", row.id) % 2 else Order.BA
    asked = sorted(row.judgments, key=lambda judgment: (judgment.vote, judgment.order is not begins))[:num]
    right = sum(row.is_right(judgment) is True for judgment in asked)
    wrong = sum(judgment.winner is not None and row.is_right(judgment) is False for judgment in asked)
    return 0.5 if right == wrong else float(right > wrong)


def _orders(
    rubrics: Rubrics, own: Mapping[str, JudgedRow], swapped: Mapping[str, JudgedRow]
) -> list[tuple[float, float]]:
    """Return of each row the credits under the rubrics written with the better response first, and second."""
    found = []
    for name, line in sorted(rubrics.by_id.items()):
        if name in own and name in swapped:
            both = credits_of([own[name], swapped[name]])
            found.append((both[0], both[1]) if line.order is Order.AB else (both[1], both[0]))
    return found


def _coverage(rows: Iterable[JudgedRow]) -> float:
    return fmean(judgment.winner is not None for row in rows for judgment in row.judgments)
