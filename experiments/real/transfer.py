"""Does learning to judge the English world help on benchmarks? It may well not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.real import rows
from experiments.real.claims import CHANCE
from experiments.real.lab import Lab
from experiments.real.measures import Arm
from experiments.real.page import arms_table, differences_table
from experiments.real.reasoning import arm

__all__ = ["page", "run"]

UNTOUCHED, UNTOUCHED_LLMBAR = "untouched", "untouched, LLMBar's form"
_PAIRS = (
    ("evidence", "untouched"),
    ("evidence", UNTOUCHED_LLMBAR),
    ("RL", "evidence"),
    ("evidence", CHANCE),
    ("RL", CHANCE),
    (UNTOUCHED_LLMBAR, CHANCE),
)


def run(lab: Lab, seeds: Sequence[int]) -> dict[str, Any]:
    """Judge the short rows of the benchmarks by the untouched model and by those that were trained."""
    size = lab.size
    tests = lab.file(
        "benchmarks",
        lambda: rows.benchmark_rows(lab.data, lab.model, size.short, size.subset_rows),
        *(lab.model, size.short, size.subset_rows),
    )
    arms: dict[str, Arm] = {}
    for name, spec in ((UNTOUCHED, "english"), (UNTOUCHED_LLMBAR, "llmbar")):
        found, _ = lab.judged(f"benchmarks-untouched-{spec}", lab.model, tests, spec=spec)
        arms[name] = [found] * len(seeds)
    stages = [arm(lab, seed, "evidence") for seed in seeds]
    after = [lab.rl(stage, seed, f"rl-evidence-{seed}") for stage, seed in zip(stages, seeds, strict=True)]
    for name, models in (("evidence", stages), ("RL", after)):
        judged = (
            lab.judged(f"benchmarks-{name}-{seed}", stage.model, tests)
            for stage, seed in zip(models, seeds, strict=True)
        )
        arms[name] = [found for found, _ in judged]
    subsets = Counter(row["split"] for row in arms[UNTOUCHED][0].values())
    return {
        "arms": arms,
        "counts": dict(subsets),
        "stages": {},
    }


def page(table: Mapping[str, Any] | None) -> list[str]:
    """Return what the page says between head and claims."""
    if table is None:
        return [_HEAD]
    size, names = table["size"], {name: name for name in rows.BENCHMARKS}
    counts = ", ".join(f"{name} {count}" for name, count in table["counts"].items())
    chosen = _CHOSEN.format(
        short=size["short"],
        most=size["subset_rows"],
        fewest=rows.FEWEST,
        total=sum(table["counts"].values()),
        counts=counts,
    )
    return [
        _HEAD,
        chosen,
        arms_table(table["arms"], names, "accuracy or coin"),
        "### Paired differences, a coin where nothing can be read\n",
        differences_table(table["arms"], _PAIRS, "accuracy or coin", names),
    ]


_HEAD = """The judge of the arm *evidence*, and the same after RL, on rows that state no demands it learnt of.
*untouched* is the model as it is fetched, asked as the trained judge is; since hardly any of its answers can be read
so, it is also asked in LLMBar's own form, of which it can be read more often. In *accuracy or coin* a judgment that
cannot be read counts half, as if a coin had decided, so that a model is not better for being silent or for being
readable.
"""
_CHOSEN = """Rows were chosen by length before any was judged: request and both responses at most {short} tokens of
this model's tokenizer. All such rows of LLMBar natural and of LLMBar's adversarial neighbours; of RewardBench at most
{most} of a subset, drawn by id, none of its copies of LLMBar, no subset with fewer than {fewest} short rows. {total}
rows ({counts}), each in both orders.
"""
