"""From answers to files: kept rubrics, rejected ones, rows for a writer, ledger. A function of rows and answers alone.

Lines stand in the order of their ids, so that the files depend neither on the order of the input nor on that of the
answers. They appear together at the end of a run; each is whole or as it was before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasrm.errors import RowError
from reasrm.generation.admission import source_of
from reasrm.generation.ledger import KEPT, AnswerFiles, Ledger, WriteLine
from reasrm.hashing import request_hash
from reasrm.judging.inputs import InputRow
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.protocol.writer_rows import writer_row
from reasrm.rubrics.config import SynthesisConfig
from reasrm.rubrics.prompts import PROMPT_HASH
from reasrm.rubrics.reading import CheckedRubric
from reasrm.rubrics.relate import Related
from reasrm.rubrics.steps import STEPS, Attempt, Standing, order_seen
from reasrm.rubrics.tasks import Task, Unasked, induced_pairs
from reasrm.rubrics.verify import RubricOutcome, Said, Verified, Verifier
from reasrm.sources.rubric_lines import RubricLine

__all__ = ["JUDGE_STEPS", "Output", "RubricFiles", "assemble", "opened"]

JUDGE_STEPS = ("verify", "without")
"""Steps of the ledger that the judge takes: under a rubric, and without one."""
_RELATE = "relate"  # the step of a model that compares criteria, which belong to many rows


@dataclass(frozen=True, slots=True)
class RubricFiles(AnswerFiles):
    """The files of a synthesis or filter, in one folder."""

    WRITTEN = ("rubrics", "writer-sft", "candidates", "baseline", "verify", "without", "relations")

    @property
    def rubrics(self) -> Path:
        """Kept rubrics."""
        return self.folder / "rubrics.jsonl"

    @property
    def writer(self) -> Path:
        """Rows for a writer's SFT."""
        return self.folder / "writer-sft.jsonl"

    @property
    def relations(self) -> Path:
        """What a model said of criteria."""
        return self.folder / "relations.jsonl"


@dataclass(slots=True)
class Output:
    """Writes lines and counts them.

    Args:
        ledger: What became of everything.
        judge: What kept lines call the verifier.
        verified: What the judge said, or None.
        num_writer_rows: Rows for a writer's SFT.
        num_unfit: Kept rubrics that the writer's grammar does not allow.
    """

    ledger: Ledger
    judge: str | None
    verified: Verified | None
    _write: WriteLine
    num_writer_rows: int = 0
    num_unfit: int = 0
    _counted: set[str] = field(default_factory=set)

    def keep(self, line: RubricLine, outcome: RubricOutcome | None) -> RubricLine:
        """Write a kept line, with its verification; return it as it was written."""
        if outcome is not None:
            said = outcome.to_json(str(self.judge))
            line = replace(line, saw_label=True, provenance={**line.provenance, "verified": said})
        self._write("rubrics", line.id, line.to_json())
        return line

    def reject(self, row_id: str, **line: Any) -> None:
        """Write a rejected line; None is left out."""
        self._write("rejected", row_id, {k: v for k, v in line.items() if v is not None})

    def teach(self, row_id: str, row: Mapping[str, Any]) -> None:
        """Write a row for a writer's SFT."""
        self.num_writer_rows += 1
        self._write("writer", row_id, row)

    def count_row(self, source: str, reason: str, outcome: RubricOutcome | None = None) -> None:
        """Count a row, and what verification came to beside the result without a rubric."""
        counts: dict[str, float] = {}
        if outcome is not None:
            effect = outcome.verification.effect
            counts = {
                "verified": 1,
                "right": outcome.under[0].all_right is True,
                "without_right": outcome.without_right is True,
                "helpful": effect == "helpful",
                "misleading": effect == "misleading",
                "kept_by_chance": outcome.chance,
            }
        self.ledger.add_row(source, reason, **counts)

    def count_judge(self, source: str, reason: str, name: str) -> RubricOutcome | None:
        """Count what asking about a rubric took, and return its outcome, if there is one.

        A pair without a rubric counts where it is met first.
        """
        if self.verified is None:
            return None
        outcome = self.verified.outcomes.get(name)
        found = (outcome.pairs, outcome.under) if outcome else self.verified.failed.get(name, ((), ()))
        pairs, under = found
        for said in under:
            self._add(source, reason, "verify", said)
        for pair in pairs:
            if pair in self.verified.without and pair not in self._counted:
                self._counted.add(pair)
                self._add(source, reason, "without", self.verified.without[pair])
        return outcome

    def count_leftovers(self) -> None:
        """Count what the judge said about rubrics that are not tested any more, and pairs that are not met."""
        if self.verified is not None:
            for said in self.verified.replaced:
                self._add("(none)", "replaced", "verify", said)
            for pair, said in self.verified.without.items():
                if pair not in self._counted:
                    self._add("(none)", "replaced", "without", said)

    def _add(self, source: str, reason: str, step: str, said: Said) -> None:
        self.ledger.add_judgments(source, reason, step, len(said.answers), said.tokens)


@contextmanager
def opened(
    files: RubricFiles, verifier: Verifier | None, verified: Verified | None, *, writer: bool
) -> Iterator[Output]:
    """Open the files that are written at the end; they appear, with the ledger, when the block ends."""
    named = {"rubrics": files.rubrics, "rejected": files.rejected}
    named |= {"writer": files.writer} if writer else {}
    judge = None if verifier is None else verifier.judge.label["name"]
    with files.written((*STEPS, _RELATE, *JUDGE_STEPS), **named) as (ledger, write):
        output = Output(ledger, judge, verified, write)
        yield output
        output.count_leftovers()


def assemble(
    config: SynthesisConfig,
    verifier: Verifier | None,
    verified: Verified | None,
    related: Related | None,
    files: RubricFiles,
    rows: Iterable[tuple[InputRow, Task | Unasked, Standing | None]],
    admitted: Collection[str],
    author: str,
    chosen: Collection[str],
) -> Output:
    """Write the files of a finished run.

    Args:
        config: The settings.
        verifier: Who verified, or None.
        verified: What it said.
        related: What a model said of criteria, or None.
        files: Where.
        rows: The input, and where each row stands.
        admitted: Ids of the rows that were asked about.
        author: What lines call the author.
        chosen: Ids of the rows whose rubrics teach a writer.
    """
    spec = None if config.writer is None else load_spec(config.writer.spec)
    with opened(files, verifier, verified, writer=spec is not None) as output:
        assembly = _Assembly(config, output, author, spec, chosen)
        for item, task, standing in rows:
            assembly.add(item, task, standing, is_admitted=item.id in admitted)
        if related is not None:
            output.ledger.add_judgments("(none)", "related", _RELATE, related.calls, related.tokens)
    return output


@dataclass(frozen=True, slots=True)
class _Assembly:
    config: SynthesisConfig
    output: Output
    author: str
    spec: JudgeSpec | None
    chosen: Collection[str]

    def add(
        self, item: InputRow, task: Task | Unasked, standing: Standing | None, *, is_admitted: bool
    ) -> None:
        """Count a line of the input and write its answers."""
        source = source_of(item.row, self.config.group_by)
        if isinstance(task, Unasked) or standing is None:
            reason = task.reason if isinstance(task, Unasked) else "over_quota"
            self.output.count_row(source, reason)
            self.output.reject(item.id, id=item.id, reason=reason)
            return
        spoilt = None if is_admitted else "over_quota"
        end = spoilt or (KEPT if standing.kept is not None else str(standing.reason))
        last: RubricOutcome | None = None
        for attempt in standing.attempts:
            last = self._add_attempt(task, attempt, source, end, spoilt) or last
        for step in standing.failed:
            self.output.ledger.add_failure(source, step)
        if not standing.attempts:
            self.output.reject(item.id, id=item.id, reason=end)
        self.output.count_row(source, end, last)

    def _add_attempt(
        self, task: Task, attempt: Attempt, source: str, end: str, spoilt: str | None
    ) -> RubricOutcome | None:
        """Write one answer; return what its verification came to."""
        name = attempt.call.name(task.id)
        reason = attempt.reason or spoilt or end
        self.output.ledger.add_answer(source, reason, attempt.call.step, attempt.record)
        outcome = self.output.count_judge(source, reason, name)
        if reason == KEPT and attempt.written is not None:
            line = self.output.keep(self._line(task, attempt, attempt.written), outcome)
            self._teach(task, line)
        elif attempt.written is not None:
            criteria = [c.to_json() for c in attempt.written.rubric.criteria]
            self.output.reject(
                task.id, id=name, row=task.id, reason=reason, detail=attempt.detail, criteria=criteria
            )
        elif attempt.reason is not None:
            text = str(attempt.record["text"])
            self.output.reject(task.id, id=name, row=task.id, reason=reason, detail=attempt.detail, text=text)
        return outcome

    def _teach(self, task: Task, line: RubricLine) -> None:
        """Write the row from which a writer learns a kept rubric, if it is chosen and fits the writer's grammar."""
        writer = self.config.writer
        if writer is None or self.spec is None or task.id not in self.chosen:
            return
        meta = {"rubric": line.id, "prompt_hash": line.prompt_hash, "author": self.author}
        pair = next(induced_pairs(task))
        try:
            row = writer_row(
                self.spec, pair, line.rubric, orders=writer.orders, seed=self.config.seed, meta=meta
            )
        except RowError:
            self.output.num_unfit += 1
            return
        self.output.teach(task.id, replace(row, id=task.id).to_json())

    def _line(self, task: Task, attempt: Attempt, written: CheckedRubric) -> RubricLine:
        config = self.config
        dropped = [{"reason": f.reason, "criterion": f.criterion} for f in written.dropped]
        provenance = {
            "author": self.author,
            "prompt": PROMPT_HASH,
            "seed": config.seed,
            "pairs": [task.id],
            "step": config.method,
            "call": attempt.call.name(task.id),
            **({"dropped": dropped} if dropped else {}),
        }
        return RubricLine(
            id=task.id,
            rubric=written.rubric,
            prompt_hash=request_hash(task.row.prompt),
            condition="pair" if config.method in ("profiles", "self") else "prompt",
            order=order_seen(config, task),
            saw_label=config.shows_labels,
            provenance=provenance,
        )
