"""What only a world with known truth can tell about a judge, from the rows that `reasrm judge` wrote.

- *inconsistency*: of the right verdicts, the share whose critique misses the true core arguments (F1 < 0.5), the
  outcome-process inconsistency of RM-NLHF (arXiv 2601.07349) with exact matching in place of a scorer model;
- *exact critiques*: of all judgments, the share whose core arguments are exactly the true ones;
- *critique F1*: of all judgments, the mean F1 of their core arguments against the true ones;
- *shortcut agreement*: of the readable verdicts, the share that went to the response that wears the shortcut;
- *evidence accuracy* by kind of rule, against the base rate of always giving the commonest evidence;
- *mark accuracy* by kind of rule: how often a response was rightly said to meet it or not, against the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasrm.judging.look import judged_rows
from reasrm.metrics.intervals import Estimate, bootstrap_ratio
from reasrm.records import Comparison, Critique, Judgment, PreferencePair
from reasrm.world.critiques import Clause, argument_f1, core_arguments
from reasrm.world.reading import read_clauses, reader_of, rules_of
from reasrm.world.rules import RuleCheck

__all__ = ["Findings", "measure", "measure_file"]

_LENIENT = 0.5  # RM-NLHF's threshold of F1


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured, by subset.

    Args:
        inconsistency: Right verdicts with a wrong critique / right verdicts. `n` counts rows.
        exact_critiques: Judgments with exactly the true core arguments / all judgments.
        critique_f1: Sum of F1 over judgments / all judgments.
        shortcut: Verdicts for the response with the shortcut / readable verdicts.
        accuracy: Right verdicts / readable verdicts.
        evidence: By kind of rule: how often the evidence was right, and the base rate, over clauses owed.
        marks: The same of the findings, whatever the evidence.
    """

    inconsistency: dict[str, Estimate]
    exact_critiques: dict[str, Estimate]
    critique_f1: dict[str, Estimate]
    shortcut: dict[str, Estimate]
    accuracy: dict[str, Estimate]
    evidence: dict[str, tuple[float, float]]
    marks: dict[str, tuple[float, float]]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for a JSON file."""
        tables = ("accuracy", "inconsistency", "exact_critiques", "critique_f1", "shortcut")
        return {
            **{name: {key: e.as_dict() for key, e in getattr(self, name).items()} for name in tables},
            **{
                name: {k: {"accuracy": a, "base_rate": b} for k, (a, b) in getattr(self, name).items()}
                for name in ("evidence", "marks")
            },
        }


class _Row:
    """Counts of one row over its judgments."""

    def __init__(self) -> None:
        self.judged = self.readable = self.right = self.inconsistent = self.exact = self.shortcut = 0
        self.f1 = 0.0


def measure_file(output: Path, pairs: Mapping[str, PreferencePair], seed: int = 0) -> Findings:
    """Measure a file that `judge` or `eval` wrote, given the pairs by id."""
    return measure(((pairs[row.id], row.judgments) for row in judged_rows(output)), seed)


def measure(judged: Iterable[tuple[PreferencePair, Iterable[Judgment]]], seed: int = 0) -> Findings:
    """Measure judgments of world pairs.

    Args:
        judged: A pair and its judgments.
        seed: Of the bootstrap; intervals resample rows.
    """
    rows: dict[str, list[_Row]] = defaultdict(list)
    owed: dict[str, list[tuple[RuleCheck, RuleCheck | None]]] = defaultdict(list)
    for pair, judgments in judged:
        row = _Row()
        rows[pair.subset or "all"].append(row)
        for judgment in judgments:
            comparison = judgment.order.seen(pair.compare())
            written = read_clauses(judgment.critique or "")
            for kind, gold, given in _findings(comparison, written):
                owed[kind].append((gold, given))
            f1 = argument_f1(core_arguments(written), (comparison.critique or Critique()).arguments)
            right = judgment.winner == "A"
            favoured = "A" if pair.meta["shortcut"] == "chosen" else "B"
            row.judged += 1
            row.exact += f1 == 1
            row.f1 += f1
            row.readable += judgment.winner is not None
            row.right += right
            row.inconsistent += right and f1 < _LENIENT
            row.shortcut += judgment.winner == favoured
    ratios = {
        "inconsistency": ("inconsistent", "right"),
        "exact_critiques": ("exact", "judged"),
        "critique_f1": ("f1", "judged"),
        "shortcut": ("shortcut", "readable"),
        "accuracy": ("right", "readable"),
    }
    tables = {
        name: {
            subset: bootstrap_ratio(
                [(float(getattr(r, top)), float(getattr(r, bottom))) for r in group], seed
            )
            for subset, group in rows.items()
        }
        for name, (top, bottom) in ratios.items()
    }
    by_kind = sorted(owed.items())
    return Findings(
        **tables,
        evidence={
            kind: _rates([(gold.evidence, said and said.evidence) for gold, said in found])
            for kind, found in by_kind
        },
        marks={
            kind: _rates([(gold.met, said and said.met) for gold, said in found]) for kind, found in by_kind
        },
    )


def _findings(
    comparison: Comparison, written: list[Clause]
) -> Iterator[tuple[str, RuleCheck, RuleCheck | None]]:
    """Yield kind, true finding and given finding for each side of each clause that is owed."""
    given = {clause.rule.words: clause for clause in written}
    reader = reader_of(comparison)
    for rule in rules_of(comparison):
        gold = reader.gold(rule, comparison.response_a, comparison.response_b)
        ours = given.get(rule.words)
        yield rule.kind, gold.a, None if ours is None else ours.a
        yield rule.kind, gold.b, None if ours is None else ours.b


def _rates(found: Sequence[tuple[object, object]]) -> tuple[float, float]:
    commonest = Counter(gold for gold, _ in found).most_common(1)[0][1]
    return sum(gold == given for gold, given in found) / len(found), commonest / len(found)
