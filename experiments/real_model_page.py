"""The page of `real_model.py`: the table, what the stages took, judgments to read, what a person wrote about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import markdown
from experiments.real.rows import SPLITS
from reasrm.evaluation.table import format_estimate
from reasrm.files import replacing

__all__ = ["HEADS", "MODELS", "write_real_page"]

MODELS = {
    "untouched": "the model as it is fetched",
    "SFT": "after the teacher's traces",
    "RLVR": "then rewarded by the label alone",
    "RLVR + critique": "then by the label and the F1 of its critique",
}
_SHARES = {
    "coverage": "coverage",
    "consistency": "consistency",
    "position_a_rate": "first shown",
    "critique_f1": "critique F1",
    "inconsistency": "inconsistency",
}
HEADS = ("model", *SPLITS.values(), *_SHARES.values(), "tokens", "seconds")
_NOTES = Path(__file__).with_name("real_model_notes.md")


def write_real_page(path: Path, table: Mapping[str, Any] | None) -> None:
    """Write the page; what a person wrote about the table stands in `real_model_notes.md` beside this file.

    Args:
        path: Where.
        table: What `real_model.run` returns; None before anything has run.
    """
    parts = [_HEAD, "## After each stage\n"]
    if table is None:
        parts.append("Not run yet: `make real`.\n")
    else:
        parts += [
            _models(table["judged"]),
            _ABOUT,
            "## What each sees\n",
            _seen(table["seen"]),
            "## What the stages took\n",
            _stages(table["stages"]),
            _about_run(table),
        ]
        if _NOTES.exists():
            parts.append(_NOTES.read_text(encoding="utf-8"))
        parts += ["## Three judgments\n", markdown.texts(table["shown"])]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write("\n".join(parts).encode())


_HEAD = """# A real language model, from its weights to a judge

Written by `make real`. Do not edit: it is written anew.

SmolLM2-135M-Instruct (Apache-2.0, `reasrm models fetch smollm2`) goes through the pipeline on a CPU: traces of a
scripted teacher, SFT on them, RLVR on labels, RLVR on labels and critiques, export. Prompts are requests in English
with checkable rules; labels and critiques of reference follow from the rules, so both are exact. **What this shows** is
what each stage does to a real model with a real tokenizer. **What it does not show** is skill at judging beyond these
rules: the teacher is a script, and one run has one seed.

The stages are the configs of `configs/smollm2/`; each step is the command of `reasrm` that their heads give, in a
process of its own. `make real` is the small size, `make real-full` the large one; a run that was stopped goes on by the
same command.
"""

_ABOUT = """
Each test row is judged in both orders, greedily. Accuracy counts readable rows, and a row that changes its mind half.
*coverage*: rows with a readable verdict; *consistency*: the same verdict in both orders; *first shown*: verdicts for
the response that stands first; *critique F1*: the judge's reasons against the true ones; *inconsistency*: right
verdicts whose reasons are not the true ones (F1 < 0.5); *tokens*: written per judgment; *seconds*: of all judgments,
loading included. Brackets are 95 % intervals over rows.
"""


def _models(judged: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, found in judged.items():
        result = found["result"]
        cells = [
            *(format_estimate(result["subsets"].get(split)) for split in SPLITS),
            *(format_estimate(result["metrics"].get(share)) for share in _SHARES),
            f"{found['tokens']:.0f}",
            f"{found['seconds']:,.0f}{_lost(found)}",
        ]
        rows.append((name, *cells))
    told = "; ".join(f"*{name}*: {about}" for name, about in MODELS.items())
    unread = "; ".join(
        f"*{name}*: {_statuses(found['result']['parse_status'])}" for name, found in judged.items()
    )
    return f"{markdown.table(HEADS, rows)}\n{told}.\n\nHow the judgments could be read: {unread}.\n"


def _seen(seen: Mapping[str, Mapping[str, Any]]) -> str:
    """Return by kind of rule how often a judge quotes the right evidence and marks a response rightly."""
    first = next(iter(seen.values()))

    def cell(found: Mapping[str, Any], kind: str, rate: str) -> str:
        return " / ".join(f"{found[name][kind][rate]:.2f}" for name in ("evidence", "marks"))

    rows = [
        (kind, cell(first, kind, "base_rate"), *(cell(found, kind, "accuracy") for found in seen.values()))
        for kind in first["marks"]
    ]
    return (
        f"{markdown.table(('rule', 'commonest', *seen), rows)}\nBy kind of rule: how often the evidence that a judge "
        "gives for a response is the true one, and how often its mark (met, not met) is. *commonest*: always giving "
        "the commonest.\n"
    )


def _statuses(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


_STAGE_HEADS = (
    "stage",
    "steps",
    "tokens trained",
    "seconds a step",
    "seconds",
    "peak GiB",
    "estimate GiB",
    "ratio",
)


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, took in stages.items():
        peak, estimate = took["peak_gib"], took["estimate_gib"]
        rows.append(
            (
                name,
                str(took["steps"]),
                f"{took['tokens']:,}",
                f"{took['seconds_per_step']:.1f}",
                f"{took['seconds']:,.0f}{_lost(took)}",
                "-" if peak is None else f"{peak:.2f}",
                f"{estimate:.2f}",
                "-" if peak is None else f"{peak / estimate:.2f}",
            )
        )
    return (
        f"{markdown.table(_STAGE_HEADS, rows)}\n*peak*: resident memory above that of the imported libraries; "
        "*estimate*: what `--dry-run` says before anything is loaded; *seconds*: the whole command; *a step*: "
        "training alone, checkpoints included.\n"
    )


def _lost(took: Mapping[str, Any]) -> str:
    """Mark a step that was killed together with the program, so that nobody knows how long its first part was."""
    return " †" if took["parts"] != took["ended"] else ""


def _about_run(table: Mapping[str, Any]) -> str:
    much = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in table["settings"].items())
    codes = ", ".join(f"`{code}`" for code in table["code"])
    versions = ", ".join(f"{name} {version}" for name, version in table["machine"]["versions"].items())
    took = [*table["judged"].values(), *table["stages"].values()]
    lost = (
        " † was killed on its way and continued; the killed part is in neither its seconds nor its peak."
        if any(map(_lost, took))
        else ""
    )
    return (
        f"Size {table['size']} ({much}), seed 0, weights float32, computed in {table['dtype']}, "
        f"{table['seconds'] / 60:,.0f} minutes in all on "
        f"{table['machine']['cores']} cores of {table['machine']['processor']}, {versions}, code {codes}, "
        f"{table['date']}.{lost}\n"
    )
