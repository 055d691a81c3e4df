"""SFT rows → token ids: what is learned from, what is left out, and why.

Nothing is cut to fit: a row longer than the limit is dropped and counted, since a judgment without its end would teach
the judge not to give a verdict. The verdict is read from the decoded ids, the way it will be read from a rollout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.generation.encoding import opens_thinking
from reasrm.judging.plan import sightings_refused
from reasrm.pipes import refuse_pipe
from reasrm.protocol.completions import CompletionEncoder
from reasrm.protocol.encoder import PromptEncoder
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import OLD_SPEC, made_with_old_codes
from reasrm.protocol.sft_rows import SAW_LABEL, SFTRow, read_sft_row
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import ParseStatus
from reasrm.requests import Completion
from reasrm.tables import Columns, check_fields, read_rows
from reasrm.training.stage.rows import Dropped, count_reasons, dropped_row, nothing_left

__all__ = [
    "EncodedRows",
    "Example",
    "RowEncoder",
    "encode_files",
    "to_dataset",
]


@dataclass(frozen=True, slots=True)
class Example:
    """A row as the model learns it.

    Args:
        id: The row's id.
        ids: (T,) token ids, prompt and completion.
        num_prompt: How many of them are the prompt's, which carry no loss.
    """

    id: str
    ids: NDArray[np.int32]
    num_prompt: int


@dataclass(slots=True)
class EncodedRows:
    """What became of all rows of some files."""

    examples: list[Example] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason → number of rows dropped for it, commonest first."""
        return count_reasons(self.dropped)

    def lengths(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the lengths of prompts and of completions in tokens, (N,) each."""
        prompts = np.array([example.num_prompt for example in self.examples], dtype=np.int64)
        totals = np.array([len(example.ids) for example in self.examples], dtype=np.int64)
        return prompts, totals - prompts


class RowEncoder:
    """Encodes rows for one model and one spec.

    Args:
        spec: The judge's protocol.
        prompts: The encoder that judging uses.
        completions: The encoder of answers.
        max_tokens: Longest row.
        keep_unreadable: Whether rows without a readable verdict are learned from.
        rubrics_that_saw_labels: Whether rows whose rubric's author knew their label are learned from.
    """

    def __init__(
        self,
        spec: JudgeSpec,
        prompts: PromptEncoder,
        completions: CompletionEncoder,
        *,
        max_tokens: int,
        keep_unreadable: bool = False,
        rubrics_that_saw_labels: bool = False,
    ) -> None:
        self._spec = spec
        self._prompts = prompts
        self._completions = completions
        self._max_tokens = max_tokens
        self._keep_unreadable = keep_unreadable
        self._takes_sightings = rubrics_that_saw_labels
        prompts.refuse_garbling(spec.structural)

    def encode(self, row: SFTRow, place: str) -> Example | Dropped:
        """Return the row as ids, or why it is left out.

        Raises:
            ConfigError: The row was written for another spec, or its rubric carries its label.
        """
        self._check_spec(row, place)
        if row.meta.get(SAW_LABEL) and not self._takes_sightings:
            raise sightings_refused(1, [row.id], place)
        try:
            prompt = self._prompts.encode(row.messages, options=self._spec.template_options).ids
            completion = self._completions.encode(row.completion, prompt)
        except InputError as error:
            return Dropped(row.id, place, "not_encodable", str(error))
        except ConfigError as error:
            at = place if error.place is None else f"{place}: {error.place}"
            raise ConfigError(error.message, place=at, remedy=error.remedy) from error
        total = len(prompt) + len(completion)
        if total > self._max_tokens:
            message = f"{total} tokens, more than {self._max_tokens}"
            return Dropped(row.id, place, "too_long", message, total)
        problem = None if self._keep_unreadable else self._unreadable(row, prompt, completion)
        if problem is not None:
            return Dropped(row.id, place, "unreadable", problem, total)
        return Example(row.id, np.array([*prompt, *completion], dtype=np.int32), len(prompt))

    def _check_spec(self, row: SFTRow, place: str) -> None:
        theirs = row.meta.get("spec_hash")
        if theirs is not None and theirs != self._spec.hash:
            old = made_with_old_codes(self._spec, theirs)
            if old is not None:
                raise ConfigError(f"the row {old}", place=place, remedy=f"{OLD_SPEC}, or make the rows again")
            raise ConfigError(
                f"the row was written for a spec with hash {theirs}, but spec {self._spec.name!r} has hash "
                f"{self._spec.hash}",
                place=place,
                remedy="set spec to the one that the rows were made with, or make the rows again",
            )

    def _unreadable(self, row: SFTRow, prompt: Sequence[int], completion: Sequence[int]) -> str | None:
        """Return why no verdict can be read from what the model would write, or None."""
        text = self._prompts.decode(completion[:-1])
        shown = row.meta.get("num_candidates", 2)
        opened = opens_thinking(self._prompts, prompt, self._spec.grammar.thinking_start)
        written = Completion(row.id, text, thinking_open=opened)
        judgment = parse(self._spec, written, num_candidates=shown if type(shown) is int else 2)
        if judgment.status is ParseStatus.OK:
            return None
        return f"{judgment.status.value}: {judgment.detail or 'no verdict'}"


def encode_files(
    paths: Iterable[str | Path],
    encoder: RowEncoder,
    *,
    limit: int | None = None,
    columns: Columns | None = None,
    progress: Callable[[int], None] = lambda number: None,
) -> EncodedRows:
    """Read and encode all rows of some files, in order.

    Args:
        paths: Files of rows, as `tables.read_rows` reads them.
        encoder: Rows to ids.
        limit: Read at most this many rows.
        columns: Field → the column that holds it.
        progress: Called with the number of rows read, after each.

    Raises:
        InputError: A file cannot be read, or every row is dropped; then the commonest reason is named.
        ConfigError: A row was written for another spec.
    """
    rows = EncodedRows()
    for number, (place, outcome) in enumerate(_rows(paths, columns), 1):
        if limit is not None and number > limit:
            break
        result = encoder.encode(outcome, place) if isinstance(outcome, SFTRow) else outcome
        if isinstance(result, Example):
            rows.examples.append(result)
        else:
            rows.dropped.append(result)
        progress(number)
    if not rows.examples:
        raise nothing_left(paths, rows.dropped, "SFT rows", _REMEDIES)
    return rows


def _rows(paths: Iterable[str | Path], columns: Columns | None) -> Iterator[tuple[str, SFTRow | Dropped]]:
    check_fields(columns or {}, ("id", "prompt", "completion", "meta"), "a row of SFT")
    files = list(paths)
    refuse_pipe(files)
    for path in files:
        for raw in read_rows(path, columns=columns):
            if raw.error is not None or raw.data is None:
                yield raw.place, dropped_row(None, raw.place, raw.error)
                continue
            try:
                yield raw.place, read_sft_row(raw.data, raw.place)
            except RowError as error:
                row_id = raw.data.get("id")
                yield raw.place, dropped_row(row_id if isinstance(row_id, str) else None, raw.place, error)


_REMEDIES = {
    "too_long": "raise data.max_tokens, or use a model with a longer context",
    "unreadable": "set spec to the one that the rows were made with",
}


def to_dataset(examples: Sequence[Example]) -> Any:
    """Return the examples as TRL takes them: `input_ids`, and `completion_mask` which is 1 where loss is.

    TRL leaves rows that come with `input_ids` as they are.
    """
    from datasets import Dataset, Features, List, Value

    columns = {
        "input_ids": [example.ids for example in examples],
        "completion_mask": [
            (np.arange(len(example.ids)) >= example.num_prompt).astype(np.int8) for example in examples
        ],
    }
    features = Features({"input_ids": List(Value("int32")), "completion_mask": List(Value("int8"))})
    return Dataset.from_dict(columns, features=features)
