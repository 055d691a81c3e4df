"""Were right verdicts right for the right reasons: judgments' critiques against the rows' reference critiques.

A judgment is compared in the order that the judge saw; its verdict is already in the row's own. Its critique is the
section that its grammar marks, empty if that section is not there. Where the grammar marks none it is all that was
written after thinking: the verdict comes first in 58 of the 200 texts that LLMBar recorded, so the text before it
would lose them, and the word rules read no argument from a sentence that only says who wins. Judgments that never came
to writing (refused prompts, recorded decisions and scores) have no critique to score, and abstain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from reasrm.critiques import CritiqueCase, CritiqueScorer, CritiqueScores
from reasrm.files import replacing
from reasrm.generation.base import Backend
from reasrm.generation.resolve import open_backend
from reasrm.judged import JudgedRow
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.look import judged_rows
from reasrm.metrics.critiques import LEAST_F1, CritiqueOutcome, critique_metrics, critique_subsets
from reasrm.metrics.intervals import Estimate
from reasrm.protocol.spec import JudgeSpec
from reasrm.protocol.thinking import after_thinking
from reasrm.records import Comparison, Judgment, ParseStatus, Row, as_comparison
from reasrm.scorers.config import CritiqueSection
from reasrm.scorers.critiques import BuiltScorer, build_critique_scorer
from reasrm.strictjson import dumps

__all__ = [
    "CritiqueEvaluation",
    "CritiqueReport",
    "check_section",
    "measure_critiques",
    "opened_scorer",
    "usual_section",
]

_BATCH = 256
_NOT_WRITTEN = (ParseStatus.ERROR, ParseStatus.TOO_LONG)


class CritiqueEvaluation(CritiqueSection):
    """How an evaluation scores critiques.

    Args:
        least_f1: A right verdict whose critique has a lower F1 is inconsistent.
    """

    least_f1: Annotated[float, Field(ge=0, le=1)] = LEAST_F1


@dataclass(frozen=True, slots=True, kw_only=True)
class CritiqueReport:
    """What was measured.

    Args:
        metrics: By name.
        subsets: The same for each subset.
        policy: How, and over how many: `num_references` rows with a reference critique and a judgment, their
            `num_judgments`, of which `num_scored` have scores.
    """

    metrics: Mapping[str, Estimate]
    subsets: Mapping[str, Mapping[str, Estimate]]
    policy: Mapping[str, Any]

    def add_to(self, result: dict[str, Any]) -> None:
        """Put the numbers into the content of a `result.json`."""
        result["metrics"] |= _as_json(self.metrics)
        result["critique_subsets"] = {name: _as_json(found) for name, found in self.subsets.items()}
        result["policy"]["critiques"] = dict(self.policy)


def _as_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.as_dict() for name, estimate in estimates.items()}


def usual_section(spec: JudgeSpec) -> CritiqueEvaluation:
    """Return how critiques are scored if nobody says: by word rules; in the sandbox by its own clauses, exactly."""
    if spec.name not in ("sandbox", "english"):
        return CritiqueEvaluation()
    return CritiqueEvaluation(extractor="sandbox", similarity="exact", fatal_rule=False)


def check_section(section: CritiqueEvaluation) -> None:
    """Open what a section names and close it again; nothing is loaded.

    Raises:
        ConfigError: A model or encoder cannot be used.
        MissingExtraError: A package is not installed.
    """
    with opened_scorer(section, None):
        pass


@contextmanager
def opened_scorer(
    section: CritiqueSection, replies: Path | None, flags: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[tuple[BuiltScorer, Backend | None]]:
    """Open what a section names, and say who is asked, if a model is.

    Args:
        section: How critiques are read and compared.
        replies: Where a model's replies are kept, unless the section says where.
        flags: Options of the model's backend that win over the section's.
    """
    if section.asks_model and section.cache is None:
        section = section.model_copy(update={"cache": replies})
    models: list[Backend] = []
    with ExitStack() as stack:

        def opened(name: str, **options: Any) -> Backend:
            models.append(stack.enter_context(closing(open_backend(name, **{**options, **flags}))))
            return models[-1]

        score = build_critique_scorer(section, opened)
        stack.callback(score.close)
        yield score, models[0] if models else None


def measure_critiques(
    rows: JudgeInput,
    judgments: Path,
    output: Path,
    *,
    spec: JudgeSpec,
    section: CritiqueEvaluation,
    score: CritiqueScorer,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> CritiqueReport | None:
    """Score the critiques of judged rows, and write each with its arguments, scores and matches to `output`.

    Args:
        rows: What was judged, scanned.
        judgments: The file of judged rows.
        output: JSONL, one line per judgment of a row with a reference critique, as it was shown.
        spec: How the judge was asked.
        section: What `score` was built of.
        score: Scores a batch of critiques.
        seed: Of the bootstrap.
        on_progress: Called with the judgments scored so far.

    Returns:
        The numbers; None, and no file, if no judged row has a reference critique.
    """
    outcomes: list[CritiqueOutcome] = []
    with replacing(output) as stream:
        cases = _cases(rows, judgments, spec)
        while batch := list(islice(cases, _BATCH)):
            asked = [case for case in batch if case.text is not None]
            found = iter(score([CritiqueCase(case.comparison, case.text) for case in asked]))
            for case in batch:
                scores = None if case.text is None else next(found)
                outcomes.append(case.outcome(scores))
                stream.write(dumps(case.as_json(scores)) + b"\n")
            if on_progress is not None:
                on_progress(len(outcomes))
    if not outcomes:
        output.unlink()
        return None
    return CritiqueReport(
        metrics=critique_metrics(outcomes, least_f1=section.least_f1, seed=seed),
        subsets=critique_subsets(outcomes, least_f1=section.least_f1, seed=seed),
        policy={
            **section.meaning(),
            "num_references": len({outcome.row for outcome in outcomes}),
            "num_judgments": len(outcomes),
            "num_scored": sum(outcome.scores is not None for outcome in outcomes),
        },
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One judgment of a row with a reference critique.

    Args:
        comparison: As shown, with the reference.
        text: The judge's critique; None if it never came to writing.
        right: Whether its verdict is the label; None without a label.
        judgment: As judged.
    """

    comparison: Comparison
    text: str | None
    right: bool | None
    judgment: Judgment

    def outcome(self, scores: CritiqueScores | None) -> CritiqueOutcome:
        return CritiqueOutcome(
            row=self.comparison.id,
            subset=self.comparison.subset,
            right=self.right,
            scores=None if scores is None else scores.numbers(),
        )

    def as_json(self, scores: CritiqueScores | None) -> dict[str, Any]:
        """Return the line that a person reads: A and B are the responses as the judge saw them."""
        line = {
            "id": self.comparison.id,
            "order": self.judgment.order.value,
            "vote": self.judgment.vote,
            "right": self.right,
            "scores": None,
            "critique": self.text,
        }
        if scores is None:
            return line
        matched = {pair.generated: pair for pair in scores.matches}
        said = [
            {
                **asdict(argument),
                "matches": matched[n].reference if n in matched else None,
                "similarity": matched[n].similarity if n in matched else None,
            }
            for n, argument in enumerate(scores.said)
        ]
        return {
            **line,
            "scores": scores.numbers(),
            "arguments": said,
            "reference": [asdict(argument) for argument in scores.meant],
        }


def _cases(rows: JudgeInput, judgments: Path, spec: JudgeSpec) -> Iterator[_Case]:
    for own, judged in _with_reference(rows, judged_rows(judgments)):
        for judgment in judged.judgments:
            shown = judgment.order.seen(own)
            yield _Case(shown, _written(spec, judgment), judged.is_right(judgment), judgment)


def _with_reference(rows: JudgeInput, lines: Iterator[JudgedRow]) -> Iterator[tuple[Comparison, JudgedRow]]:
    """Join judged rows with their input by id. Both come in nearly the same order, so few rows wait in memory."""
    items = iter(rows)
    waiting: dict[str, Comparison | None] = {}
    for line in lines:
        while line.id not in waiting and (item := next(items, None)) is not None:
            waiting[item.id] = _referenced(item.row)
        own = waiting.pop(line.id, None)
        if own is not None:
            yield own, line


def _referenced(row: Row | None) -> Comparison | None:
    """Return a pair in its own order if it has a reference critique with anything in it."""
    if row is None or row.critique is None or not (row.critique.arguments or row.critique.text):
        return None
    return as_comparison(row)


def _written(spec: JudgeSpec, judgment: Judgment) -> str | None:
    """Return the judge's critique, empty if it wrote none, None if it never came to writing."""
    status, text = judgment.status, judgment.text
    if status in _NOT_WRITTEN or (status is ParseStatus.OK and not text):
        return None
    if spec.grammar.critique is not None:
        return judgment.critique or ""
    return (after_thinking(spec.grammar, text, thinking_open=judgment.thinking_open) or "").strip()
