"""What many claims on one page are worth together, computed from the numbers by seed that the page prints.

A page of 114 intervals of 95 % has several above 0 by luck. Beside each raw interval stands *q*, the p-value of the
t-test over seeds adjusted by Benjamini and Hochberg (1995) over all claims of the page: among the claims with
q ≤ 0.05 at most 5 % are expected to be false. Two things more are mended here. Settings of the process table were
chosen on one seed, so its claims are read without that seed. And "at least as good" is no claim that an interval
around 0 can decide: it is tested for non-inferiority, the lower end of the interval against a margin below 0.

The work is done on the page's own tables, by their headers, so a page that is already corrected comes out the same.

    python -m experiments.corrections docs/reproduction.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import false_discovery_control

from experiments.claims import Claim, p_value
from reasrm.files import replacing

__all__ = ["FDR", "MARGIN", "TUNING_SEED", "corrected"]

FDR = 0.05
"""The share of false ones among claims that are kept."""
MARGIN = 0.01
"""How much worse still counts as "at least as good", as a share (one point)."""
TUNING_SEED = 1
"""The seed on which the settings of the process table were chosen."""
AT_LEAST = "at least as good"
_RAW, _SEEDS = "difference [95 %]", "per seed"
_ABOVE = "above half [95 %]"
_OUT, _READS, _Q, _Q_ALL = "tuning seed out [95 %]", "reads", "q", "q, all seeds"
_BEGIN, _END = "<!-- corrections -->\n", "<!-- end of corrections -->\n"


@dataclass
class _Row:
    """One claim of a table: its cells by header, its numbers by seed, and which of them are left out."""

    line: int
    cells: dict[str, str]
    differences: list[float]
    left_out: int | None

    @property
    def kept(self) -> list[float]:
        return [d for i, d in enumerate(self.differences) if i != self.left_out]

    @property
    def margin(self) -> float:
        return MARGIN if AT_LEAST in self.cells.get("claim", "") else 0.0

    @property
    def holds(self) -> bool:
        return "holds" in self.cells[""]


def corrected(page: str, seeds: Sequence[int] = (0, 1, 2, 3, 4)) -> str:
    """Return the page with corrected columns beside the raw ones, and a section that says what they come to.

    Args:
        page: Markdown with tables of claims, each with a column of numbers by seed.
        seeds: The seeds in the order of that column.
    """
    lines = _without_section(page).splitlines(keepends=True)
    rows: list[_Row] = []
    headers: dict[int, list[str]] = {}
    process = False
    header: list[str] | None = None
    for number, line in enumerate(lines):
        process = (line.startswith("## What a reward")) if line.startswith("## ") else process
        cells = _cells(line)
        if cells is None:
            header = None
        elif header is None:
            header = cells if _SEEDS in cells else []
            if header:
                headers[number] = header
        elif header and len(cells) == len(header) and not set("".join(cells)) <= set("- "):
            named = dict(zip(header, cells, strict=True))
            left_out = seeds.index(TUNING_SEED) if process and TUNING_SEED in seeds else None
            rows.append(_Row(number, named, _numbers(named[_SEEDS]), left_out))
    if not rows:
        return page
    raw = _adjusted([p_value(row.differences) for row in rows])
    now = _adjusted([p_value(row.kept, row.margin) for row in rows])
    for row, q_all, q in zip(rows, raw, now, strict=True):
        row.cells |= {_Q_ALL: _shown(q_all), _Q: _shown(q)}
        row.cells[_SEEDS] = " ".join(
            f"({100 * d:+.1f})" if i == row.left_out else f"{100 * d:+.1f}"
            for i, d in enumerate(row.differences)
        )
        row.cells[_OUT], row.cells[_READS] = _reading(row)
    for number, names in headers.items():
        in_table = [row for row in rows if row.line > number and _table_of(row.line, headers) == number]
        order = _order(names, any(row.left_out is not None for row in in_table))
        lines[number] = _line(order)
        lines[number + 1] = _line(["---"] * len(order))
        for row in in_table:
            lines[row.line] = _line([row.cells[name] for name in order])
    text = "".join(lines)
    at = text.find("\n## ") + 1
    return text[:at] + _section(rows, raw, now) + "\n" + text[at:]


def _table_of(line: int, headers: dict[int, list[str]]) -> int:
    return max(number for number in headers if number < line)


def _order(names: Sequence[str], left_out: bool) -> list[str]:
    """Return the columns: what is claimed, then the reading without the tuning seed, then the raw one."""
    added = {_OUT, _READS, _Q, _Q_ALL}
    own = [name for name in names if name not in added]
    raw = next(name for name in own if name in (_RAW, _ABOVE))
    what = own[: own.index(raw)] if own.index(raw) < own.index(_SEEDS) else own[: own.index(_SEEDS)]
    rest = [name for name in own if name not in (*what, raw, _SEEDS, "")]
    if not left_out:
        return [*what, raw, _SEEDS, "", _Q_ALL, *rest]
    return [*what, _OUT, _READS, _Q, _SEEDS, raw, "", _Q_ALL, *rest]


def _reading(row: _Row) -> tuple[str, str]:
    """Return the interval without the tuning seed, and what it says."""
    claim = Claim(row.kept)
    interval = f"{100 * claim.mean:+.1f} [{100 * claim.low:+.1f}, {100 * claim.high:+.1f}]"
    if not row.margin:
        return interval, claim.verdict
    return interval, "**not worse**" if claim.low > -row.margin else "undecided"


def _adjusted(p_values: Sequence[float]) -> list[float]:
    return [float(q) for q in false_discovery_control(p_values, method="bh")]


def _section(rows: Sequence[_Row], raw: Sequence[float], now: Sequence[float]) -> str:
    held = [row for row in rows if row.holds]
    survive = sum(q <= FDR for row, q in zip(rows, raw, strict=True) if row.holds)
    reads = ("**holds**", "**not worse**")
    read = sum(row.cells[_READS] in reads for row in rows)
    kept = [row for row, q in zip(rows, now, strict=True) if q <= FDR and row.cells[_READS] in reads]
    text = _TEXT.format(
        total=len(rows),
        held=len(held),
        survive=survive,
        read=read,
        kept=len(kept),
        fdr=FDR,
        percent=f"{100 * FDR:g} %",
        seed=TUNING_SEED,
        margin=f"{100 * MARGIN:g}",
    )
    claims = [f"- {_name(row)}: {row.cells[_OUT]}, q = {row.cells[_Q].strip('*')}" for row in kept]
    return "\n".join([_BEGIN, text, *(claims or ["- none"]), "", _END])


_TEXT = """## What survives a correction for many claims

**Named afterwards**: the correction, its level, the margin and the family were chosen when the numbers by seed were
known. They are computed from those numbers as printed here, in tenths of a point, by `python -m
experiments.corrections`; nothing was run again.

| reading | claims | intervals that hold | of these with q ≤ {fdr} |
| --- | --- | --- | --- |
| raw, all seeds | {total} | {held} | {survive} |
| tuning seed out of the process tables, non-inferiority where a claim says so | {total} | {read} | {kept} |

*q* is the p-value of the t-test over seeds adjusted by Benjamini and Hochberg over all {total} claims of this page:
among claims with q ≤ {fdr} at most {percent} are expected to be false. A raw interval that holds with q above is a
hint, no more. The settings of the process table were chosen on seed {seed}, so its claims are read without it (its
number stands in brackets), which leaves fewer seeds and wider intervals; the tables of arms keep all seeds, as "±
over seeds". "At least as good" is read as non-inferiority: **not worse** where the interval lies above a margin of
−{margin} point. Settings of the first table were tried on seed 0, which stays in: one trial of two numbers.

Claims that survive the second reading:
"""


def _name(row: _Row) -> str:
    what = [row.cells[name] for name in ("claim", "what", "mode", "split") if name in row.cells]
    if "claim" not in row.cells:
        what.insert(0, "More than half is recovered by the MetaRM")
    return ", ".join(what)


def _without_section(page: str) -> str:
    return re.sub(re.escape(_BEGIN) + ".*?" + re.escape(_END) + "\n?", "", page, flags=re.DOTALL)


def _cells(line: str) -> list[str] | None:
    text = line.rstrip("\n")
    return (
        [cell.strip() for cell in text[1:-1].split("|")]
        if text.startswith("|") and text.endswith("|")
        else None
    )


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|\n"


def _numbers(cell: str) -> list[float]:
    return [float(number.strip("()")) / 100 for number in cell.split()]


def _shown(q: float) -> str:
    shown = f"{q:.3f}" if q >= 0.001 else "<0.001"
    return f"**{shown}**" if q <= FDR else shown


def main() -> None:
    """Correct a page in place."""
    path = Path(sys.argv[1])
    text = corrected(path.read_text())
    with replacing(path) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main()
