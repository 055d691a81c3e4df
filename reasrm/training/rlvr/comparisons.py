"""Preference pairs → prompts of rollouts, by the encoder that judging uses; what cannot be learned from is counted.

A prompt is a comparison as shown, in one order. Its key, `ID|AB` or `ID|BA`, names it in batches, logs and seeds.
A pair without a label, a tie where the spec knows none, equal or empty responses and prompts that are too long are
dropped and named, never cut.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.generation.encoding import EncodedRequest, read_ids
from reasrm.hashing import derive_seed
from reasrm.judging.aggregate import rule_status
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.plan import not_shown, sightings_refused
from reasrm.pipes import refuse_pipe
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import build_prompt, never_shown
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Judgment, PreferencePair, Row, as_comparison
from reasrm.requests import Request, SamplingParams
from reasrm.sources.rubric_lines import Rubrics
from reasrm.tables import Columns
from reasrm.training.stage.models import BaseModel
from reasrm.training.stage.rows import Dropped, count_reasons, dropped_row, nothing_left

__all__ = [
    "ComparisonEncoder",
    "EncodedComparisons",
    "Orders",
    "Prompt",
    "read_comparisons",
    "read_judgment",
    "shown_in_epoch",
]

Orders = Literal["random", "each_epoch", "both", "given"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A comparison as shown, with the prompt that asks about it as ids (int32).

    Args:
        comparison: In the order shown, with its target.
        ids: The prompt.
    """

    comparison: Comparison
    ids: NDArray[np.int32]

    @property
    def key(self) -> str:
        """What names the prompt in a run."""
        return f"{self.comparison.id}|{self.comparison.order}"


@dataclass(slots=True)
class EncodedComparisons:
    """What became of all rows of some files. With both orders, or one drawn each epoch, a pair's two stand together.

    Args:
        prompts: What is asked.
        dropped: Rows that are not.
        saw_labels: Rows shown with a rubric whose author knew their label.
        num_rubrics: Prompts with a rubric of a given file.
    """

    prompts: list[Prompt] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    saw_labels: list[str] = field(default_factory=list)
    num_rubrics: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """Reason → number of rows dropped for it, commonest first."""
        return count_reasons(self.dropped)

    @property
    def targets(self) -> dict[str, int]:
        """Target, as shown → prompts."""
        winners = (p.comparison.target.winner for p in self.prompts if p.comparison.target)
        return dict(sorted(Counter(winners).items()))

    def rows(self) -> dict[str, Comparison]:
        """Return the pairs by id, each in one order."""
        return {prompt.comparison.id: prompt.comparison for prompt in self.prompts}

    def lengths(self) -> NDArray[np.int64]:
        """Return the lengths of the prompts in tokens, (N,)."""
        return np.array([len(prompt.ids) for prompt in self.prompts], dtype=np.int64)


class ComparisonEncoder:
    """Encodes pairs for one model and one spec.

    Args:
        spec: The judge's protocol.
        base: The model.
        orders: How pairs are shown.
        seed: Root of the drawn orders.
        max_tokens: Longest prompt.

    Attributes:
        shows_rubrics: Whether the spec does.
    """

    def __init__(
        self, spec: JudgeSpec, base: BaseModel, *, orders: Orders, seed: int, max_tokens: int
    ) -> None:
        self._spec = spec
        self._base = base
        self._orders = orders
        self._seed = seed
        self._max_tokens = max_tokens
        hidden = never_shown(spec)
        self._hides_principles = "principle" in hidden
        self.shows_rubrics = "rubric" not in hidden
        base.prompts.refuse_garbling(spec.structural)

    def encode(self, row: Row, place: str) -> list[Prompt] | Dropped:
        """Return the prompts of a row, one or two, or why it is left out.

        Raises:
            ConfigError: The row has a principle, which the spec never shows.
        """
        if self._hides_principles and row.principle is not None:
            raise not_shown(self._spec, "principle", 1, place)
        problem = self._unusable(row)
        if problem is not None:
            return Dropped(row.id, place, *problem)
        prompts: list[Prompt] = []
        for shown in self._shown(row):
            try:
                messages = build_prompt(self._spec, shown)
                ids = self._base.prompts.encode(messages, options=self._spec.template_options).ids
            except RowError as error:
                return Dropped(row.id, place, error.code, str(error))
            except InputError as error:
                return Dropped(row.id, place, "not_encodable", str(error))
            if len(ids) > self._max_tokens:
                message = f"{len(ids)} tokens, more than {self._max_tokens}"
                return Dropped(row.id, place, "too_long", message, len(ids))
            prompts.append(Prompt(shown, np.array(ids, dtype=np.int32)))
        return prompts

    def _unusable(self, row: Row) -> tuple[str, str] | None:
        if not isinstance(row, PreferencePair | Comparison):
            return "not_a_pair", f"a {type(row).__name__} is no pair of responses"
        target = row.target if isinstance(row, Comparison) else row.compare().target
        if target is None:
            return "no_label", "nobody says which response is better"
        if target.winner not in self._spec.allowed_verdicts:
            return (
                "off_menu",
                f"the label is {target.winner!r}, which spec {self._spec.name!r} does not allow",
            )
        status = rule_status(row)
        return None if status is None else (status.value, "there is nothing to choose between the responses")

    def _shown(self, row: Row) -> Sequence[Comparison]:
        comparison = as_comparison(row)
        assert comparison is not None  # noqa: S101 - `_unusable` has looked
        given = self._orders == "given" and isinstance(row, Comparison)
        if self._orders in ("both", "each_epoch"):
            return comparison, comparison.swap()
        return (comparison if given else comparison.present(self._seed),)


def shown_in_epoch(comparison: Comparison, seed: int, epoch: int) -> Comparison:
    """Return a comparison in the order that id, seed and epoch draw; in epoch 0 the one that is drawn once for all."""
    return comparison.present(derive_seed(seed, "order", epoch) if epoch else seed)


def read_comparisons(
    files: Sequence[str],
    encoder: ComparisonEncoder,
    *,
    limit: int | None = None,
    draw: int | None = None,
    columns: Columns | None = None,
    rubrics: Rubrics | None = None,
    rubrics_that_saw_labels: bool = False,
    progress: Callable[[int], None] = lambda number: None,
) -> EncodedComparisons:
    """Read and encode the pairs of some files, in order.

    Args:
        files: Of any schema that `reasrm judge` reads.
        encoder: Pairs to prompts.
        limit: Take at most this many rows.
        draw: Seed by which these are drawn from all rows, by their ids; None takes the first ones.
        columns: Field → the column that holds it.
        rubrics: Shown with the pairs that have one among them.
        rubrics_that_saw_labels: Take also rubrics whose authors knew the labels of the very pairs.
        progress: Called with the number of rows taken, after each.

    Raises:
        InputError: A file cannot be read, or every row is dropped; then the commonest reason is named.
        ConfigError: An id occurs twice, or rubrics carry the labels of their rows.
    """
    found = EncodedComparisons()
    seen: dict[str, str] = {}
    read = partial(_rows, files, columns, rubrics)
    rows = read(limit) if limit is None or draw is None else _drawn(read(None), limit, draw)
    for number, (place, row) in enumerate(rows, 1):
        if isinstance(row, Dropped):
            found.dropped.append(row)
        else:
            first = seen.setdefault(row.id, place)
            if first != place:
                raise ConfigError(
                    f"the id {row.id!r} stands at {first} too", place=place, remedy="make the ids unique"
                )
            result = encoder.encode(row, place)
            if isinstance(result, Dropped):
                found.dropped.append(result)
            else:
                found.prompts += result
                if encoder.shows_rubrics and row.rubric is not None and row.rubric.saw_label:
                    found.saw_labels.append(row.id)
        progress(number)
    if found.saw_labels and not rubrics_that_saw_labels:
        raise sightings_refused(len(found.saw_labels), found.saw_labels[:10], ", ".join(files))
    if not found.prompts:
        raise nothing_left(files, found.dropped, "preference pairs", _REMEDIES)
    if rubrics is not None:
        found.num_rubrics = sum(rubrics.find(prompt.comparison) is not None for prompt in found.prompts)
    return found


def _rows(
    files: Sequence[str], columns: Columns | None, rubrics: Rubrics | None, limit: int | None
) -> Iterator[tuple[str, Row | Dropped]]:
    refuse_pipe(files)
    for item in JudgeInput([Path(file) for file in files], limit=limit, columns=columns, rubrics=rubrics):
        if item.row is not None:
            yield item.place, item.row
        else:
            yield item.place, dropped_row(item.id, item.place, item.error)


def _drawn(
    rows: Iterable[tuple[str, Row | Dropped]], limit: int, seed: int
) -> Iterator[tuple[str, Row | Dropped]]:
    """Yield a sample of the rows, in their order. Which rows depends on the seed and the ids, not on the order."""

    def key(item: tuple[int, tuple[str, Row | Dropped]]) -> tuple[int, int]:
        number, (place, row) = item
        return derive_seed(seed, "sample", row.id or place), number

    chosen = heapq.nsmallest(limit, enumerate(rows), key=key)
    yield from (item for _, item in sorted(chosen, key=lambda item: item[0]))


_REMEDIES = {
    "too_long": "raise data.max_prompt_tokens, or use a model with a longer context",
    "no_label": "give preference pairs, or comparisons with a label",
    "off_menu": "choose a spec that allows this verdict",
}


def read_judgment(
    spec: JudgeSpec, base: BaseModel, prompt: Prompt, ids: Sequence[int], max_tokens: int
) -> tuple[Judgment, tuple[int, ...]]:
    """Read what was generated for a prompt exactly as judging reads it.

    Args:
        spec: The judge's protocol.
        base: The model.
        prompt: What was asked.
        ids: What was generated, perhaps with more behind its end.
        max_tokens: Most tokens of a completion.

    Returns:
        The judgment in the order shown, and the ids of the completion with its end-of-turn id.
    """
    sampling = SamplingParams(max_tokens=max_tokens)
    request = Request(prompt.key, (), sampling, thinking_start=spec.grammar.thinking_start)
    completion = read_ids(
        EncodedRequest(request, tuple(prompt.ids)),
        ids,
        encoder=base.prompts,
        stop_ids=base.stop_ids,
        pad_id=base.pad_id,
    )
    judgment = replace(parse(spec, completion), order=prompt.comparison.order)
    return judgment, tuple(completion.token_ids or ())
