"""Pages of the experiments on a real model: head, tables of arms and of paired differences, what the stages took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.markdown import table
from experiments.real.claims import compare, shown
from experiments.real.measures import Arm, share
from reasrm.evaluation.table import format_estimate

__all__ = ["arms_table", "differences_table", "stages_table"]

_SHARES = ("coverage", "consistency", "first shown")


def arms_table(arms: Mapping[str, Arm], splits: Mapping[Any, str], what: str = "accuracy") -> str:
    """Return a line for each arm: a share on each split and on all, then what is read beside it."""
    heads = ["arm", *splits.values(), "all", *_SHARES, "tokens"]
    lines = []
    for name, rows in arms.items():
        cells = [format_estimate(share(rows, what, split).as_dict()) for split in (*splits, "all")]
        cells += [format_estimate(share(rows, other).as_dict()) for other in _SHARES]
        lines.append([name, *cells, f"{share(rows, 'tokens').value or 0:.0f}"])
    about = (
        f"{what.capitalize()} over both orders [95 % over rows]. *coverage*: judgments that could be read; "
        "*consistency*: of rows readable in both orders, the same verdict; *first shown*: readable verdicts for the "
        "response that stands first; *tokens*: written for a judgment.\n"
    )
    return f"{table(heads, lines)}\n{about}"


def differences_table(
    arms: Mapping[str, Arm], pairs: Sequence[tuple[str, str]], what: str, splits: Mapping[Any, str]
) -> str:
    """Return a line for each pair of arms: how much better the first is on each split, and by seed."""
    heads = ["difference", *splits.values(), "all", "by seed"]
    lines = []
    for ours, theirs in pairs:
        found = [compare(arms, ours, theirs, what, split) for split in (*splits, "all")]
        by_seed = " ".join(f"{100 * value:+.1f}" for value in found[-1][1])
        lines.append([f"{ours} − {theirs}", *(shown(claim) for claim, _ in found), by_seed])
    return (
        f"{table(heads, lines)}\nPoints [95 % over rows], paired on the same rows; by seed on all of them.\n"
    )


def stages_table(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what each stage of training took."""
    heads = ["stage", "steps", "tokens processed", "of them learnt", "seconds", "peak GiB"]
    lines = []
    for name, facts in stages.items():
        learnt, peak = facts["trained_tokens"], facts["peak_gib"]
        cells = [str(facts["steps"]), f"{facts['tokens']:,}", "-" if learnt is None else f"{learnt:,}"]
        lines.append([name, *cells, f"{facts['seconds']:,.0f}", "-" if peak is None else f"{peak:.1f}"])
    return table(heads, lines)
