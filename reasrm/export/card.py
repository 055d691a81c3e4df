"""The model card: what the judge is, how it is used, how it was measured, where it comes from, and what is not known.

It is written for somebody who finds the folder on a model hub. Names of files and models are other people's text and
appear as code with everything escaped that could end it. A number that nobody gave is said to be missing, not left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from reasrm.export.markdown import as_code, json_block, table
from reasrm.export.measured import Measurement, describe_measured
from reasrm.export.overlaps import describe_overlaps
from reasrm.export.source import ExportSource, Provenance
from reasrm.files import display_name
from reasrm.protocol.spec import JudgeSpec
from reasrm.runs.origin import BaseIdentity, TrainedStage

__all__ = ["render_card"]

_RECIPE = ("lora", "trainer", "checkpoints", "rewards", "advantages")
_UNKNOWN = "Unknown: the model was not exported from a run."
_ALLOWED = "1e-5 of the largest logit was allowed"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_HUB_SET = re.compile(r"hf:/+([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)([@:/].*)?", re.ASCII)
_DOES = {
    "pairwise": "reads a request and two responses, writes down its reasons, and ends with a verdict: which is better",
    "pointwise": "reads a request and one response, writes down its reasons, and ends with a score",
    "listwise": "reads a request and several responses, writes down its reasons, and ends with a ranking",
    "rubric": "writes the rubric by which responses to a request are judged, and never knows which one is preferred",
}
_ROWS = {
    "pairwise": '{"prompt": "Name a river in France.", "response_a": "The Loire.", "response_b": "Paris."}',
    "pointwise": '{"prompt": "Name a river in France.", "response": "The Loire."}',
    "listwise": '{"prompt": "Name a river in France.", "responses": ["The Loire.", "Paris.", "The Rhine."]}',
    "rubric": '{"prompt": "Name a river in France.", "response_a": "The Loire.", "response_b": "Paris."}',
}


def render_card(
    name: str,
    source: ExportSource,
    identity: Mapping[str, Any],
    evaluations: Sequence[Measurement],
    license: str | None = None,
) -> str:
    """Return the card as Markdown with a YAML header, as model hubs read it.

    Args:
        name: Of the judge folder.
        source: What was exported.
        identity: The content of `judge.json`.
        evaluations: Results to report.
        license: As the Hub spells it, such as `apache-2.0`; nobody else knows it.
    """
    lines = [
        *_header(source, license),
        f"# Judge {as_code(name)}",
        "",
        *_summary(source, license),
        *_usage(source.spec),
        *describe_measured(evaluations),
        *_history(source, identity),
        *_data(source),
        *describe_overlaps(source, evaluations),
        *_recipe(source.provenance),
        *_comparison(identity),
    ]
    return "\n".join(lines) + "\n"


def _header(source: ExportSource, license: str | None) -> list[str]:
    """Return what a hub reads; models and data sets that lie in folders have no name there and are left out."""
    paths = [file.name for stage in source.stages for file in stage.inputs.values()]
    datasets = sorted({found[1] for path in paths if (found := _HUB_SET.fullmatch(path))})
    values = {
        "license": license or "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **({"base_model": source.base.name} if _is_on_hub(source.base) else {}),
        **({"datasets": datasets} if datasets else {}),
        "tags": ["reasrm", "judge", "llm-as-a-judge", "reward-model"],
    }
    return ["---", yaml.safe_dump(values, sort_keys=False).rstrip("\n"), "---", ""]


def _is_on_hub(base: BaseIdentity) -> bool:
    """Whether the base was named by a hub id: its fingerprint is then the commit, or nothing."""
    named = base.fingerprint in (None, base.revision)
    return named and _HUB_ID.fullmatch(base.name) is not None


def _summary(source: ExportSource, license: str | None) -> list[str]:
    spec, words = source.spec, []
    for stage in source.stages:
        rows = "" if stage.rows is None else f" on {stage.rows} rows"
        words.append(f"{as_code(stage.stage)}{rows}")
    trained = " → ".join([as_code(source.base.name), *words])
    menu = ", ".join(map(as_code, spec.allowed_verdicts)) if spec.protocol == "pairwise" else ""
    return [
        f"A language model that {_DOES[spec.protocol]}{f' ({menu})' if menu else ''}.",
        "",
        f"Made from: {trained}.",
        "",
        *(
            []
            if license
            else ["License: not said at the export; those of the base model and the data bind.", ""]
        ),
    ]


def _usage(spec: JudgeSpec) -> list[str]:
    needs = (
        f" This judge needs {', '.join(map(as_code, spec.requires))} on every row." if spec.requires else ""
    )
    verb = ("judge --judge", "--input rows.jsonl --output judged.jsonl")
    told = f"A judged row holds verdict, confidence and the critiques.{needs}"
    if spec.protocol == "rubric":
        verb = ("rubrics write --writer", "--input rows.jsonl --output rubrics.jsonl")
        told = "A judge takes the file as `--rubrics rubrics.jsonl`."
    return [
        "## Use",
        "",
        "The exact prompt and the way to read an answer are in `judge.json`; asked otherwise, verdicts mean little. "
        "`pip install reasrm`, and from inside this folder:",
        "",
        "```sh",
        f"echo '{_ROWS[spec.protocol]}' > rows.jsonl",
        f"reasrm {verb[0]} . {verb[1]}",
        "```",
        "",
        f"{told} As a server, with vLLM:",
        "",
        "```sh",
        "vllm serve ./model --served-model-name judge",
        f"reasrm {verb[0]} openai:judge@http://localhost:8000/v1 --spec judge.json {verb[1]}",
        "```",
        "",
        "`model/` is a plain model folder:",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("./model")',
        'model = AutoModelForCausalLM.from_pretrained("./model")',
        "```",
        "",
    ]


def _history(source: ExportSource, identity: Mapping[str, Any]) -> list[str]:
    """Say of every step since the base what it started from, what it learned from, and what came out."""
    spec, known = source.spec, source.provenance
    rows = [("base", as_code(source.base.name), "-", _identified(source.base))]
    for number, stage in enumerate(source.stages, 1):
        name = f"run {as_code(stage.run)}, step {stage.step}, seed {stage.seed}"
        is_last = number == len(source.stages)
        result = "the weights below" if is_last else _identified(source.stages[number].base)
        rows.append((as_code(stage.stage), name, _learned(stage), result))
    facts = {
        "protocol": f"{spec.protocol}, spec {as_code(spec.name)}, hash {as_code(spec.hash)}",
        "weights": f"{identity['dtype']}, "
        + ("adapter merged" if identity["merged_adapter"] else "all weights as trained")
        + f", SHA-256 {as_code(identity['weights_sha256'])}",
        "exported by": f"`reasrm` {identity['library']['version']}",
    }
    if known is not None and known.manifest.get("git_commit"):
        facts["code version"] = as_code(known.manifest["git_commit"])
    return [
        "## Where it comes from",
        "",
        *table(("step", "name", "learned from", "result"), rows),
        "",
        *table(("what", "value"), facts.items()),
        "",
    ]


def _identified(base: BaseIdentity) -> str:
    if base.revision is not None:
        return f"revision {as_code(base.revision)}"
    return f"fingerprint {as_code(base.fingerprint or '-')}"


def _learned(stage: TrainedStage) -> str:
    names = [as_code(_shown(file.name)) for name, file in stage.inputs.items() if name.startswith("train")]
    rows = "" if stage.rows is None else f"{stage.rows} rows of "
    return rows + (", ".join(names) or "-")


def _shown(name: str) -> str:
    return (
        name.replace("hf:/", "hf://", 1) if name.startswith("hf:/") and not name.startswith("hf://") else name
    )


def _data(source: ExportSource) -> list[str]:
    lines, known = ["## Data", ""], source.provenance
    if known is None:
        return [*lines, _UNKNOWN, ""]
    files = [
        (as_code(stage.stage), as_code(name), as_code(_shown(file.name)), as_code(file.sha256))
        for stage in source.stages
        for name, file in stage.inputs.items()
    ]
    lines += [*table(("stage", "used for", "file", "SHA-256"), files), ""]
    counts = [*_counts("training", known.data.get("rows"), known.data.get("dropped"))]
    counts += _counts("validation", known.data.get("validation_rows"), known.data.get("validation_dropped"))
    return [*lines, *([f"Rows of {as_code(known.stage)}:", "", *counts, ""] if counts else [])]


def _counts(what: str, rows: Any, dropped: Any) -> Iterator[str]:
    """Yield a line on used and dropped rows, one per split where there are several."""
    dropped = dropped or {}
    if isinstance(rows, Mapping):
        for split, number in rows.items():
            yield from _counts(f"{what} split {as_code(split)}", number, dropped.get(split))
    elif rows:
        reasons = ", ".join(f"{number} {as_code(code)}" for code, number in dropped.items()) or "none"
        yield f"- {what}: {rows} used, dropped: {reasons}"


def _recipe(known: Provenance | None) -> list[str]:
    lines = ["## Recipe", ""]
    if known is None:
        return [*lines, _UNKNOWN, ""]
    shown = {name: _without_paths(known.config.get(name)) for name in _RECIPE}
    data = known.config.get("data")
    if isinstance(data, dict):
        shown["data"] = {key: value for key, value in data.items() if key not in ("train", "validation")}
    shown["versions"] = known.manifest["versions"]
    return [
        *lines,
        f"Stage {as_code(known.stage)}, {known.step} optimizer steps. `trainer` holds TRL's own argument names.",
        "",
        *json_block(_without_nothing(shown)),
        "",
    ]


def _without_paths(value: Any) -> Any:
    """Return a config in which a file of the user's is a name, and no path of the machine."""
    if not isinstance(value, Mapping):
        return value
    return {
        key: display_name(child) if key == "file" and isinstance(child, str) else _without_paths(child)
        for key, child in value.items()
    }


def _without_nothing(value: Any) -> Any:
    """Return a config without keys that say nothing: null, and what is empty."""
    if not isinstance(value, Mapping):
        return value
    kept = {key: _without_nothing(child) for key, child in value.items()}
    return {key: child for key, child in kept.items() if child not in (None, {}, [], ())}


def _comparison(identity: Mapping[str, Any]) -> list[str]:
    """Say what the export compared and how far apart things were."""
    checks = identity["comparison"]
    scale = f"{checks['largest_logit']:.3g}"
    merged, largest = checks.get("merge_logits_max_abs_diff"), checks["logits_max_abs_diff"]
    lines = [
        "## Comparison at export",
        "",
        "The files were loaded back with plain transformers and compared with their source, on the logits of prompts "
        f"made by the spec (largest logit {scale}) and on a greedy judgment of {checks['greedy_tokens']} tokens.",
        "",
    ]
    if merged is not None:
        lines.append(f"- adapter merged in float32: logits moved by up to {merged:.3g}; {_ALLOWED}")
    if identity["rounded"]:
        lines.append(
            f"- from the source to the files, rounded to {identity['dtype']}: logits moved by up to {largest:.3g}, "
            "which is rounding; the files against the rounded weights in memory: 1e-5 of the largest logit allowed, "
            "greedy tokens identical"
        )
    elif identity["merged_adapter"]:
        lines.append(f"- from the adapter, not merged, to the files: up to {largest:.3g}; {_ALLOWED}")
    else:
        lines.append(f"- from the source to the files: {largest:.3g}; none was allowed")
    same = "identical" if checks["greedy_identical"] else "not identical, by rounding"
    return [*lines, f"- greedy tokens of the source and of the files: {same}", ""]
