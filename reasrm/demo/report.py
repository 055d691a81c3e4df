"""What a person reads at the end: the table, and judged rows side by side with the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasrm.evaluation.table import format_estimate, render_rows
from reasrm.judging.look import judged_rows
from reasrm.records import Critique, Judgment, PreferencePair
from reasrm.sandbox.measure import Findings
from reasrm.world.config import Split

__all__ = ["SPLIT_NAMES", "Measured", "evidence_table", "result_table", "shown_rows"]

SPLIT_NAMES = {"iid": "in-domain", "ood": "held-out domain", "hard": "hard"}
_SHARES = ("coverage", "consistency", "inconsistency", "critique_f1", "shortcut")


@dataclass(frozen=True, slots=True)
class Measured:
    """One judge on one split.

    Args:
        judge: What the table calls it.
        split: Of the world.
        result: The suite's result.
        findings: What only this world can tell.
        folder: Where the evaluation lies.
    """

    judge: str
    split: Split
    result: Mapping[str, Any]
    findings: Findings
    folder: Path

    def numbers(self) -> dict[str, Any]:
        """Return the numbers of the table, each with interval and denominator."""
        return {
            "judge": self.judge,
            "split": self.split,
            "accuracy": self.result["metrics"]["score"],
            "coverage": self.result["metrics"]["coverage"],
            "consistency": self.result["metrics"]["consistency"],
            "inconsistency": self.result["metrics"]["inconsistency"],
            "critique_f1": self.result["metrics"]["critique_f1"],
            "shortcut": self.findings.shortcut[self.split].as_dict(),
            "folder": str(self.folder),
        }


def result_table(measured: Sequence[Measured]) -> str:
    """Return the table: one line per judge and split."""
    rows: list[tuple[str, ...]] = [("judge", "split", "accuracy [95 %]", *(_words(name) for name in _SHARES))]
    for item in measured:
        numbers = item.numbers()
        rows.append(
            (
                item.judge,
                SPLIT_NAMES.get(item.split, item.split),
                format_estimate(numbers["accuracy"]),
                *(_share(numbers[name]) for name in _SHARES),
            )
        )
    return render_rows(rows)


def _words(name: str) -> str:
    return name.replace("_", " ").replace(" f1", " F1")


def evidence_table(findings: Findings) -> str:
    """Return how often the evidence was right, by kind of rule, beside the rate of always saying the commonest."""
    heads = ("evidence for", "right", "base rate")
    body = [(kind, f"{right:.2f}", f"{base:.2f}") for kind, (right, base) in findings.evidence.items()]
    return render_rows([heads, *body])


def shown_rows(output: Path, pairs: Mapping[str, PreferencePair], count: int) -> Iterator[str]:
    """Yield judgments as a person reads them, as they were shown: up to half of them wrong, both orders by turns."""
    rows = sorted(judged_rows(output), key=lambda row: row.id)
    right = [row for row in rows if row.correct]
    wrong = [row for row in rows if not row.correct][: count // 2]
    for number, row in enumerate((*wrong, *right[: count - len(wrong)])):
        mistaken = [judgment for judgment in row.judgments if not row.is_right(judgment)]
        judgment = mistaken[0] if mistaken else row.judgments[number % len(row.judgments)]
        yield _judged_row(judgment, pairs[row.id])


def _judged_row(judgment: Judgment, pair: PreferencePair) -> str:
    shown = judgment.order.seen(pair.compare())
    verdict = judgment.order.seen(judgment).verdict
    gold = "; ".join(f"against {a.about}, {a.text}" for a in (shown.critique or Critique()).arguments)
    text = "\n".join(f"    {part}" for part in judgment.text.splitlines())
    return (
        f"{pair.id}  {pair.prompt[0].content}\n"
        f"  A: {shown.response_a}\n"
        f"  B: {shown.response_b}\n"
        f"  the judge writes:\n{text}\n"
        f"  it says {verdict.winner if verdict else 'nothing readable'}; "
        f"the truth is {shown.target.winner if shown.target else '?'} ({gold})"
    )


def _share(estimate: Mapping[str, Any]) -> str:
    return "-" if estimate["value"] is None else f"{estimate['value']:.3f}"
