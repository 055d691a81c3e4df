"""`reasrm demo`: judge a bundled benchmark file with a real judge's recorded answers, and score it.

The same calls as `reasrm eval llmbar --judge replay`, made three times: short answers, reasoned answers read strictly,
and reasoned answers read as the benchmark's own script reads them.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from reasrm.cli.console import judging_progress, note
from reasrm.durable import IdentityMismatch, read_records
from reasrm.evaluation.run import Evaluation, evaluate
from reasrm.evaluation.suites import get_suite
from reasrm.evaluation.table import format_estimate, render_rows
from reasrm.judging.batch import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.parsing import Policy
from reasrm.records import Comparison
from reasrm.sources import read_file

__all__ = ["run_demo"]


class _Arm(NamedTuple):
    name: str
    file: str
    policy: Policy


_ARMS = (
    _Arm("verdict only", "llmbar_natural_chatgpt_vanilla.jsonl", "strict"),
    _Arm("reasoned, read strictly", "llmbar_natural_chatgpt_swapcot.jsonl", "strict"),
    _Arm("reasoned, read as LLMBar's script does", "llmbar_natural_chatgpt_swapcot.jsonl", "upstream"),
)


def run_demo(output: Path, *, seed: int = 0) -> dict[str, Any]:
    """Run the demo into `output` and return its summary. Running it again continues or reuses what is there."""
    note(
        "LLMBar natural: 100 instructions, two outputs each; the judge is ChatGPT, recorded in both orders.\n"
    )
    evaluations = [_evaluate(arm, output, seed) for arm in _ARMS]
    if not all(run.result for run in evaluations):
        raise KeyboardInterrupt
    note(_table(evaluations))
    note("\n" + _one_row(evaluations[1], _ARMS[1]))
    note(f"\nEverything lies under {output}: per run judgments.jsonl, its manifest, result.json")
    return {
        "command": "demo",
        "output": str(output),
        "seed": seed,
        "runs": {
            arm.name: {
                "score": run.result["score"],
                "interval": run.result["metrics"]["score"],
                "coverage": run.result["coverage"],
                "folder": str(run.folder),
            }
            for arm, run in zip(_ARMS, evaluations, strict=True)
        },
    }


def _evaluate(arm: _Arm, output: Path, seed: int) -> Evaluation:
    judge = open_judge("replay", spec="llmbar", policy=arm.policy)
    options = JudgingOptions(seed=seed, sampling=judge.sampling(), recorded_only=True)
    folder = output / arm.name.replace(",", "").replace("'", "").replace(" ", "-").lower()
    resource = resources.files("reasrm").joinpath("demo_data", arm.file)
    with resources.as_file(resource) as file, judging_progress(arm.name) as on_progress:
        rows = JudgeInput([file], source="llmbar")
        suite = get_suite("llmbar")
        control = RunControl(on_progress=on_progress)
        try:
            return evaluate(suite, judge, rows, folder, options, control)
        except IdentityMismatch:  # another seed or version: the earlier demo is moved aside
            return evaluate(suite, judge, rows, folder, options, replace(control, restart=True))


def _table(evaluations: list[Evaluation]) -> str:
    columns = ("first_order_accuracy", "second_order_accuracy", "both_orders_correct")
    heads = (
        "run",
        "score [95 % interval]",
        "first order",
        "second order",
        "both",
        "unreadable",
        "chose first",
    )
    rows: list[tuple[str, ...]] = [heads]
    for arm, run in zip(_ARMS, evaluations, strict=True):
        unreadable = sum(count for name, count in run.result["parse_status"].items() if name != "ok")
        rows.append(
            (
                arm.name,
                format_estimate(run.result["metrics"]["score"]),
                *(f"{run.result['metrics'][name]['value']:.2f}" for name in columns),
                f"{unreadable} of {sum(run.result['parse_status'].values())}",
                format_estimate(run.result["metrics"]["position_a_rate"]),
            )
        )
    return render_rows(rows)


def _one_row(run: Evaluation, arm: _Arm) -> str:
    """Return one row as a person reads it: the shortest on which the judge changed its mind with the order."""
    lines = sorted(
        read_records(run.batch.output), key=lambda line: sum(len(j["text"]) for j in line["judgments"])
    )
    line = next((line for line in lines if line["status"] == "split"), lines[0])
    resource = resources.files("reasrm").joinpath("demo_data", arm.file)
    with resources.as_file(resource) as file:
        row = next(item.rows[0] for item in read_file(file, "llmbar") if item.rows[0].id == line["id"])
    shown = [("instruction", row.prompt[0].content)]
    if isinstance(row, Comparison):
        shown += [("response A", row.response_a), ("response B", row.response_b)]
    for judgment in line["judgments"]:
        first = "A" if judgment["order"] == "AB" else "B"
        heading = f"judged with {first} shown as Output (a) → {judgment['verdict']} ({judgment['status']})"
        shown.append((heading, judgment["text"]))
    body = "\n".join(f"  {heading}:\n{_wrapped(text)}" for heading, text in shown)
    return (
        f"Row {line['id']}: status {line['status']}, verdict {line['verdict']}, label {line['label']}\n{body}"
    )


def _wrapped(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(
        textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="    ") for line in lines
    )
