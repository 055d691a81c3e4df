"""The model card: what the judge is, where it comes from, how it was measured, and what was not.

Names of files and models are other people's text: they appear as code with everything escaped that could end it. A
number that nobody gave is said to be missing, never left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from reasrm.errors import InputError
from reasrm.export.overlaps import as_code, describe_overlaps
from reasrm.export.source import Provenance, Source
from reasrm.files import display_name
from reasrm.protocol.spec import JudgeSpec

__all__ = ["Evaluation", "check_measured", "read_results", "render_card"]

_RECIPE = ("lora", "trainer", "checkpoints")
_BIAS = {"position_a_rate": "position-A rate", "consistency": "consistency"}
_MISSING = "not measured"
_ALLOWED = "1e-5 of the largest logit was allowed"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A `result.json` and the name of its folder."""

    folder: str
    result: Mapping[str, Any]


def read_results(folder: Path, spec: JudgeSpec) -> Evaluation:
    """Read the `result.json` of an evaluation folder.

    Raises:
        InputError: It is missing or damaged, or another spec was evaluated.
    """
    path = folder / "result.json"
    remedy = "name a folder that `reasrm eval` wrote"
    try:
        result = orjson.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", place=str(path), remedy=remedy) from error
    except orjson.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error}", place=str(path), remedy=remedy) from error
    metrics = result.get("metrics") if isinstance(result, dict) else None
    if not isinstance(metrics, dict) or not all(isinstance(value, dict) for value in metrics.values()):
        raise InputError("is no result of an evaluation", place=str(path), remedy=remedy)
    judge = result.get("judge")
    judged_with = judge.get("spec_hash") if isinstance(judge, dict) else None
    if judged_with != spec.hash:
        raise InputError(
            f"was measured with the spec {judged_with}, and this judge has {spec.hash}",
            place=str(path),
            remedy="evaluate this judge, and give that folder",
        )
    return Evaluation(display_name(folder.resolve()), result)


def check_measured(evaluations: Sequence[Evaluation], fingerprint: str) -> None:
    """Refuse results of another model folder than the one with this fingerprint.

    Results that carry no fingerprint, such as those of a judge behind an endpoint, are taken at their word.

    Raises:
        InputError: A result was measured on other files.
    """
    for evaluation in evaluations:
        measured = evaluation.result["judge"].get("fingerprint")
        if measured not in (None, fingerprint):
            raise InputError(
                f"was measured on another model (fingerprint {measured}), not on this one ({fingerprint})",
                place=evaluation.folder,
                remedy="evaluate the exported judge folder, and give that result",
            )


def render_card(
    name: str, source: Source, identity: Mapping[str, Any], evaluations: Sequence[Evaluation]
) -> str:
    """Return the card as Markdown with a YAML header.

    Args:
        name: Of the judge folder.
        source: What was exported.
        identity: The content of `judge.json`.
        evaluations: Results to report.
    """
    lines = [
        *_header(source),
        f"# Judge {as_code(name)}",
        "",
        "A language model that reads a prompt and responses, reasons in writing, and ends with a verdict. Exported "
        f"by `reasrm` {identity['library']['version']}; `judge.json` holds how it is asked and read.",
        "",
        *_facts(source, identity),
        *_data(source.provenance),
        *_recipe(source.provenance),
        *_metrics(evaluations),
        *_critiques(evaluations),
        *_bias(evaluations),
        *describe_overlaps(source.provenance, [evaluation.result for evaluation in evaluations]),
        *_comparison(identity),
        *_usage(),
    ]
    return "\n".join(lines) + "\n"


def _header(source: Source) -> list[str]:
    return [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        f"base_model: {_quoted(source.base['name'])}",
        "tags: [reasrm, judge, reward-model]",
        "---",
        "",
    ]


def _facts(source: Source, identity: Mapping[str, Any]) -> list[str]:
    base, spec, known = source.base, source.spec, source.provenance
    rows = {
        "base model": as_code(base["name"]),
        "base revision": as_code(base["revision"] or "-"),
        "base fingerprint": as_code(base["fingerprint"] or "-"),
        "protocol": f"{spec.protocol}, spec {as_code(spec.name)}, hash {as_code(spec.hash)}",
        "weights": f"{identity['dtype']}, "
        + ("adapter merged" if identity["merged_adapter"] else "all weights as trained")
        + f", SHA-256 {as_code(identity['weights_sha256'])}",
    }
    if known is not None:
        rows["trained by"] = f"stage {as_code(known.stage)}, step {known.step}, seed {known.manifest['seed']}"
        rows["code version"] = as_code(known.manifest.get("git_commit") or "-")
    return [*_table(("what", "value"), rows.items()), ""]


def _data(known: Provenance | None) -> list[str]:
    lines = ["## Data", ""]
    if known is None:
        return [*lines, "Unknown: the model was not exported from a run.", ""]
    inputs = known.manifest["inputs"].items()
    files = [
        (as_code(name), as_code(Path(file["path"]).name), as_code(file["sha256"])) for name, file in inputs
    ]
    lines += [*_table(("used for", "file", "SHA-256"), files), ""]
    counts = known.data
    if "rows" in counts:
        for what, rows, dropped in (
            ("Training", counts["rows"], counts.get("dropped")),
            ("Validation", counts.get("validation_rows", 0), counts.get("validation_dropped")),
        ):
            reasons = (
                ", ".join(f"{number} {as_code(code)}" for code, number in (dropped or {}).items()) or "none"
            )
            lines.append(f"- {what}: {rows} rows used, dropped: {reasons}")
        lines.append("")
    return lines


def _recipe(known: Provenance | None) -> list[str]:
    lines = ["## Recipe", ""]
    if known is None:
        return [*lines, "Unknown: the model was not exported from a run.", ""]
    shown = {name: known.config.get(name) for name in _RECIPE if name in known.config}
    data = known.config.get("data")
    if isinstance(data, dict):
        shown["data"] = {key: value for key, value in data.items() if key not in ("train", "validation")}
    versions = known.manifest["versions"]
    return [
        *lines,
        f"Stage {as_code(known.stage)}, {known.step} optimizer steps. `trainer` holds TRL's own argument names.",
        "",
        *_json_block({**shown, "versions": versions}),
        "",
    ]


def _metrics(evaluations: Sequence[Evaluation]) -> list[str]:
    lines = ["## Metrics", ""]
    if not evaluations:
        return [*lines, "Not measured: no results of `reasrm eval` were given to the export.", ""]
    columns = ("suite", "score [95 %]", "rows", "coverage", "orders × votes", "judged as", "data SHA-256")
    rows = []
    for evaluation in evaluations:
        result = evaluation.result
        metrics, policy = result["metrics"], result.get("policy") or {}
        rows.append(
            (
                as_code(result.get("suite")),
                _estimate(metrics.get("score")),
                str(result.get("num_rows", "-")),
                _estimate(metrics.get("coverage")),
                f"{as_code(policy.get('orders'))} × {as_code(policy.get('votes'))}",
                as_code(Path(str(result["judge"].get("name"))).name),
                as_code(result.get("data_sha256")),
            )
        )
    return [*lines, *_table(columns, rows), ""]


def _critiques(evaluations: Sequence[Evaluation]) -> list[str]:
    """Say how far the reasons can be trusted, where that was measured."""
    measured = [e for e in evaluations if "critique_f1" in e.result["metrics"]]
    if not measured:
        return []
    lines = [
        "## Critiques",
        "",
        "Inconsistency: right verdicts whose critique misses the reference's core arguments. Coverage: judgments whose "
        "critique could be scored.",
        "",
    ]
    names = ("inconsistency", "critique_f1", "critique_coverage")
    rows = []
    for evaluation in measured:
        result = evaluation.result
        how = (result.get("policy") or {}).get("critiques") or {}
        rows.append(
            (
                as_code(result.get("suite")),
                *(_estimate(result["metrics"].get(name)) for name in names),
                f"{as_code(how.get('extractor'))}, {as_code(how.get('similarity'))}",
            )
        )
    return [*lines, *_table(("suite", "inconsistency", "F1", "coverage", "extractor, similarity"), rows), ""]


def _bias(evaluations: Sequence[Evaluation]) -> list[str]:
    lines = [
        "## Bias",
        "",
        "Position-A rate: share of readable verdicts for the response shown first; 0.5 is even. Consistency: the same "
        "verdict in both orders. Other biases (length, style, self-preference): not measured.",
        "",
    ]
    if not evaluations:
        return [*lines, *(f"- {word}: {_MISSING}" for word in _BIAS.values()), ""]
    rows = [
        (as_code(e.result.get("suite")), *(_estimate(e.result["metrics"].get(name)) for name in _BIAS))
        for e in evaluations
    ]
    return [*lines, *_table(("suite", *_BIAS.values()), rows), ""]


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


def _usage() -> list[str]:
    return [
        "## Use",
        "",
        "From inside this folder, with `reasrm`, which asks and reads as in training:",
        "",
        "```sh",
        "reasrm judge --judge . --input rows.jsonl --output judged.jsonl",
        "reasrm judge --judge . --backend vllm --input rows.jsonl --output judged.jsonl",
        "```",
        "",
        "As a server, with vLLM:",
        "",
        "```sh",
        "vllm serve ./model --served-model-name judge",
        "reasrm judge --judge openai:judge@http://localhost:8000/v1 --spec judge.json --input rows.jsonl "
        "--output judged.jsonl",
        "```",
        "",
        "With transformers alone; the prompt must still be the spec's, or the verdict means little:",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("./model")',
        'model = AutoModelForCausalLM.from_pretrained("./model")',
        "```",
    ]


def _estimate(value: Any) -> str:
    if not isinstance(value, dict):
        return _MISSING
    if not isinstance(value.get("value"), int | float):
        return "undefined"
    low, high = value.get("ci_low"), value.get("ci_high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{low:.3f}, {high:.3f}], n = {as_code(value.get('n'))}"


def _table(columns: Sequence[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _quoted(value: Any) -> str:
    """Return somebody's text as a YAML string."""
    return json.dumps(str(value), ensure_ascii=True)


def _json_block(value: Mapping[str, Any]) -> list[str]:
    """Return a value as a block of JSON. Strings keep to their line, so none can close the block."""
    return ["```json", *json.dumps(value, indent=2, sort_keys=True, default=str).split("\n"), "```"]
