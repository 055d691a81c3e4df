"""How a judge was measured: results of `reasrm eval`, and what the card says of them.

Several results may be of one suite, so each is called by its suite, its files and their hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from reasrm.errors import InputError
from reasrm.export.markdown import as_code, short_hash, table
from reasrm.files import display_name
from reasrm.protocol.spec import JudgeSpec

__all__ = ["Measurement", "check_measured", "describe_measured", "read_results"]

_BIAS = {"position_a_rate": "position-A rate", "consistency": "consistency"}
_CRITIQUES = {"inconsistency": "inconsistency", "critique_f1": "F1", "critique_coverage": "coverage"}
_MISSING = "not measured"
_MOST_NAMES = 4


@dataclass(frozen=True, slots=True)
class Measurement:
    """A `result.json` and the name of its folder."""

    folder: str
    result: Mapping[str, Any]

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Estimates by name."""
        found: Mapping[str, Any] = self.result["metrics"]
        return found

    @property
    def files(self) -> Sequence[Mapping[str, str]]:
        """What was judged: `sha256`, and `path` where it is known."""
        return self.result.get("inputs") or [{"sha256": str(self.result.get("data_sha256"))}]

    @property
    def name(self) -> str:
        """What tells it from other results, as Markdown."""
        names = _names([display_name(file["path"]) for file in self.files if "path" in file])
        where = f" on {names}" if names else ""
        return f"{as_code(self.result.get('suite'))}{where} ({short_hash(self.result.get('data_sha256'))})"


def read_results(folder: Path, spec: JudgeSpec) -> Measurement:
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
    return Measurement(display_name(folder.resolve()), result)


def check_measured(evaluations: Sequence[Measurement], fingerprint: str) -> None:
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


def describe_measured(evaluations: Sequence[Measurement]) -> list[str]:
    """Return the card's sections on metrics, critiques and bias."""
    return [*_metrics(evaluations), *_critiques(evaluations), *_bias(evaluations)]


def _metrics(evaluations: Sequence[Measurement]) -> list[str]:
    lines = ["## Metrics", ""]
    if not evaluations:
        return [*lines, "Not measured: no results of `reasrm eval` were given to the export.", ""]
    columns = ("suite and file", "splits or subsets", "score [95 %]", "rows", "coverage", "asked", "judge")
    return [*lines, *table(columns, map(_row, evaluations)), ""]


def _row(evaluation: Measurement) -> tuple[str, ...]:
    result = evaluation.result
    policy, sampling = result.get("policy") or {}, result.get("sampling") or {}
    asked = f"orders {as_code(policy.get('orders'))}, votes {as_code(policy.get('votes'))}"
    if "temperature" in sampling:
        asked += f", T {as_code(sampling['temperature'])}"
    checked = result["judge"].get("fingerprint") is not None
    name = as_code(Path(str(result["judge"].get("name"))).name)
    return (
        evaluation.name,
        _names(list(result.get("subsets") or {})) or "-",
        _estimate(evaluation.metrics.get("score")),
        as_code(result.get("num_rows")),
        _estimate(evaluation.metrics.get("coverage")),
        asked,
        "this model" if checked else f"{name}, taken at its word",
    )


def _critiques(evaluations: Sequence[Measurement]) -> list[str]:
    """Say how far the reasons can be trusted, where that was measured."""
    measured = [e for e in evaluations if "critique_f1" in e.metrics]
    if not measured:
        return []
    lines = [
        "## Critiques",
        "",
        "Inconsistency: right verdicts whose critique misses the reference's core arguments. Coverage: judgments whose "
        "critique could be scored.",
        "",
    ]
    rows = []
    for evaluation in measured:
        how = (evaluation.result.get("policy") or {}).get("critiques") or {}
        read_by = f"{as_code(how.get('extractor'))}, {as_code(how.get('similarity'))}"
        rows.append((*_numbers(evaluation, _CRITIQUES), read_by))
    return [*lines, *table(("suite and file", *_CRITIQUES.values(), "extractor, similarity"), rows), ""]


def _bias(evaluations: Sequence[Measurement]) -> list[str]:
    lines = [
        "## Bias",
        "",
        "Position-A rate: share of readable verdicts for the response shown first; 0.5 is even. Consistency: the same "
        "verdict in both orders. Other biases (length, style, self-preference): not measured.",
        "",
    ]
    if not evaluations:
        return [*lines, *(f"- {word}: {_MISSING}" for word in _BIAS.values()), ""]
    rows = [_numbers(evaluation, _BIAS) for evaluation in evaluations]
    return [*lines, *table(("suite and file", *_BIAS.values()), rows), ""]


def _numbers(evaluation: Measurement, names: Mapping[str, str]) -> tuple[str, ...]:
    return (evaluation.name, *(_estimate(evaluation.metrics.get(name)) for name in names))


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(as_code, names[:_MOST_NAMES])) + more


def _estimate(value: Any) -> str:
    if not isinstance(value, dict):
        return _MISSING
    if not isinstance(value.get("value"), int | float):
        return f"none: n = {as_code(value.get('n'))}"
    low, high = value.get("ci_low"), value.get("ci_high")
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return f"{value['value']:.3f}"
    return f"{value['value']:.3f} [{low:.3f}, {high:.3f}], n = {as_code(value.get('n'))}"
