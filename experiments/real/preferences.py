"""One set of people's preferences: HH-RLHF harmless, split by prompt; SFT on verdicts against chance and length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.real import rows
from experiments.real.claims import CHANCE
from experiments.real.lab import Lab, Size
from experiments.real.measures import Arm, Counts
from experiments.real.page import arms_table, differences_table, stages_table
from experiments.real.steps import SPEC, sets
from reasrm.demo.stages import read_pairs
from reasrm.records import PreferencePair

__all__ = ["length_rows", "page", "run"]

FILE = "hh-rlhf/harmless-base_test.jsonl.gz"
_RATE = "trainer.learning_rate=1.0e-4"


def run(lab: Lab, seeds: Sequence[int]) -> dict[str, Any]:
    """Curate, train and judge; the length baseline is the better of longer and shorter on the training pairs."""
    arms: dict[str, list[dict[str, Counts]]] = {"answer": [], "length": []}
    table: dict[str, Any] = {"arms": arms, "stages": {}, "longer": [], "pairs": []}
    for seed in seeds:
        train, test = _splits(lab, seed)
        lines = lab.file("human", partial(rows.answer_rows, train, SPEC, seed), train, SPEC, seed)
        learnt, judged = read_pairs(train), read_pairs(test)
        steps = max(1, len(learnt) // 8)
        stage = lab.sft(f"sft-human-{seed}", lines, seed, steps=steps, more=(_RATE,))
        found, _ = lab.judged(f"human-{seed}", stage.model, test)
        longer = fmean(_longer(pair) for pair in learnt.values())
        arms["answer"].append(found)
        arms["length"].append(length_rows(judged, longer >= 0.5))
        table["stages"][f"answer, seed {seed}"] = stage.facts
        table["longer"].append(longer)
        table["pairs"].append([len(learnt), len(judged)])
    return table


def _splits(lab: Lab, seed: int) -> tuple[Path, Path]:
    size = lab.size
    lengths = (f"length.tokenizer={lab.model}", f"length.total.max={size.short}")
    sizes = f"splits.sizes={{train: {size.train_pairs}, test: {size.test_pairs}, spare: rest}}"
    given = sets((*lengths, sizes, f"seed={seed}"))
    words = ("data", "curate", "--config", "data/human-pairs", "--input", lab.data / FILE, *given)
    folder, _ = lab.step(f"human-pairs-{seed}", *words)
    return folder / "train.jsonl", folder / "test.jsonl"


def _longer(pair: PreferencePair) -> float:
    """Whether the preferred response is the longer one in characters; half if they are equal."""
    return ((len(pair.chosen) > len(pair.rejected)) + (len(pair.chosen) >= len(pair.rejected))) / 2


def length_rows(pairs: Mapping[str, PreferencePair], longer: bool) -> dict[str, Counts]:
    """Return what taking the longer response comes to, or the shorter one."""
    found = {}
    for name, pair in pairs.items():
        right = _longer(pair) if longer else 1 - _longer(pair)
        found[name] = Counts(
            split="", asked=2, right=2 * right, wrong=2 - 2 * right, first=1, both=1, same=1, tokens=0
        )
    return found


def page(table: Mapping[str, Any] | None) -> list[str]:
    """Return what the page says between head and claims."""
    size = asdict(Size()) if table is None else table["size"]
    head = _HEAD.format(short=size["short"])
    if table is None:
        return [head]
    arms: Mapping[str, Arm] = table["arms"]
    pairs = (("answer", CHANCE), ("answer", "length"), ("length", CHANCE))
    shares = ", ".join(f"{100 * value:.1f} %" for value in table["longer"])
    counts = ", ".join(f"{train:,} and {test:,}" for train, test in table["pairs"])
    return [
        head,
        f"Pairs to learn from and to judge: {counts}. Among the former people preferred the longer response in "
        f"{shares}, from which *length* has its direction.\n",
        arms_table(arms, {}),
        differences_table(arms, pairs, "accuracy", {}),
        stages_table(table["stages"]),
    ]


_HEAD = """Pairs of HH-RLHF, harmless, its test file (people preferred one of two replies; some texts are offensive):
those with request and both replies of at most {short} tokens, near-duplicates removed, split by prompt so that no
prompt, and none like it, is on both sides (`configs/data/human-pairs.yaml`). The judge learns nothing but verdicts,
each pair once in a drawn order. *length* always takes the longer reply, or always the shorter one, whichever is right
more often on the pairs that are learnt from.
"""
