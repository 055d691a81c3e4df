"""Which prompts one row needs: its orders, votes and responses, each with a stable request id and its own seed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from reasrm.errors import ConfigError, RowError
from reasrm.hashing import derive_seed
from reasrm.protocol.prompts import as_writer_sees, build_prompt, never_shown
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import CandidateSet, Comparison, Order, PreferencePair, Recorded, Row, as_comparison
from reasrm.requests import Request, SamplingParams

__all__ = [
    "Ask",
    "JudgingOptions",
    "JudgingOrders",
    "as_candidates",
    "check_options",
    "check_shown",
    "check_sightings",
    "not_shown",
    "plan_row",
    "sightings_refused",
]

if TYPE_CHECKING:
    from reasrm.judging.inputs import Scan

_LOG = logging.getLogger("reasrm")
JudgingOrders = Literal["both", "given", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingOptions:
    """How rows are judged.

    Args:
        orders: `both` orders, the row's own (`given`; a preference pair has none and is drawn), or one `random`
            order drawn from id and seed.
        votes: Samples per order.
        seed: Root of every draw.
        sampling: Temperature, top-p and token limit; its seed is ignored, each request derives its own.
        judge_identical: Also ask about identical responses.
        judge_degenerate: Also ask about empty responses.
        recorded_only: Ask for exactly the orders and votes that a row has recorded (replay): the `given` order is
            the recorded one; of two, the row's own.
        code_secret: What the codes of section markers hang on besides the texts, so that who writes a text cannot
            compute any of it. Needs a spec with `codes: 2`.
        rubrics_that_saw_labels: Judge also by rubrics whose authors knew the labels of the very rows.
        missing_rubrics_count: Take a row without the rubric that the spec requires for unreadable, not for an error: a
            writer that fails must not choose which rows a score is of.
    """

    orders: JudgingOrders = "both"
    votes: int = 1
    seed: int = 0
    sampling: SamplingParams = field(default_factory=SamplingParams)
    judge_identical: bool = False
    judge_degenerate: bool = False
    recorded_only: bool = False
    code_secret: str | None = field(default=None, repr=False)
    rubrics_that_saw_labels: bool = False
    missing_rubrics_count: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt of a row: what is shown, and how to map the answer back.

    Args:
        request: What the backend gets.
        order: `AB` for the row's own (or first drawn) order, `BA` for the other.
        vote: Which sample of this order.
        response: Which response a pointwise prompt is about.
        shown: For lists, position k shows response `shown[k]`.
    """

    request: Request
    order: Order
    vote: int
    response: int = 0
    shown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _View:
    """The row as one prompt shows it."""

    row: Comparison | CandidateSet
    order: Order
    response: int = 0
    shown: tuple[int, ...] = ()


def check_options(spec: JudgeSpec, options: JudgingOptions) -> None:
    """Refuse options that a spec cannot follow.

    Raises:
        ConfigError: Its section codes cannot hang on a secret, or it writes rubrics and judges nothing.
    """
    if spec.protocol == "rubric":
        raise ConfigError(
            f"spec {spec.name!r} writes rubrics and judges nothing",
            remedy="write them with `reasrm rubrics write`, and judge by them with --rubrics",
        )
    if options.code_secret is not None and spec.codes < 2:
        raise ConfigError(
            f"the section codes of spec {spec.name!r} cannot hang on a secret",
            remedy="use a spec with `codes: 2`, or leave the secret out",
        )


def check_shown(spec: JudgeSpec, scan: Scan, place: str) -> None:
    """Refuse rows that say what a spec never shows: the judge would decide without it, and nobody would know.

    A rubric that rows bring along is only warned of: data sets carry them for everybody.

    Args:
        spec: How the judge is asked.
        scan: What the rows say.
        place: Their file.

    Raises:
        ConfigError: Rubrics were given for the rows, or rows have a principle.
    """
    hidden = never_shown(spec)
    if "rubric" in hidden and scan.num_rubrics:
        raise not_shown(spec, "rubric", scan.num_rubrics, "--rubrics")
    if "principle" in hidden and scan.shown["principle"]:
        raise not_shown(spec, "principle", scan.shown["principle"], place)
    if "rubric" in hidden and scan.shown["rubric"]:
        _LOG.warning(
            "warning: spec %r never shows a rubric; %d rows have one", spec.name, scan.shown["rubric"]
        )


def check_sightings(spec: JudgeSpec, scan: Scan, place: str, *, allowed: bool) -> bool:
    """Refuse rubrics that carry the labels of the very rows to the judge: its score would be the author's.

    Args:
        spec: How the judge is asked.
        scan: What the rows say.
        place: Their file.
        allowed: Take them all the same.

    Returns:
        Whether the judge is shown such rubrics.

    Raises:
        ConfigError: It would be, and they are not allowed.
    """
    if not scan.num_saw_labels or "rubric" in never_shown(spec):
        return False
    if not allowed:
        raise sightings_refused(scan.num_saw_labels, scan.saw_labels, place)
    _LOG.warning(
        "warning: %d rows are judged by rubrics whose authors knew their labels", scan.num_saw_labels
    )
    return True


def sightings_refused(count: int, ids: Sequence[str], place: str) -> ConfigError:
    """Return the refusal of rubrics whose authors knew the labels of the very rows."""
    named = ", ".join(map(repr, ids)) + (", …" if count > len(ids) else "")
    return ConfigError(
        f"the rubrics of {count} {'row was' if count == 1 else 'rows were'} written by somebody who knew which "
        f"response is preferred: {named}",
        place=place,
        remedy="give rubrics of a writer (`reasrm rubrics write`), or say that it is meant: "
        "--rubrics-that-saw-labels, as a key rubrics_that_saw_labels: true",
    )


def not_shown(spec: JudgeSpec, name: str, count: int, place: str) -> ConfigError:
    """Return the refusal of rows with a field that a spec never shows."""
    return ConfigError(
        f"spec {spec.name!r} never shows a {name}, and {count} {'row has' if count == 1 else 'rows have'} one",
        place=place,
        remedy=f"choose a spec whose templates show {{{{ {name} }}}}, or leave the {name} out",
    )


def plan_row(spec: JudgeSpec, row: Row, options: JudgingOptions) -> list[Ask]:
    """Return the prompts that judging a row takes.

    Raises:
        RowError: The row does not fit the spec.
    """
    asks: list[Ask] = []
    for view in _views(spec, row, options):
        messages = build_prompt(spec, view.row, view.response, secret=options.code_secret)
        votes = len(row.recorded.get(view.order, ())) if options.recorded_only else options.votes
        for vote in range(votes):
            suffix = f"{view.order}|{vote}|{view.response}"
            seed = derive_seed(options.seed, row.id, suffix)
            request = Request(
                id=f"{row.id}|{suffix}",
                messages=messages,
                sampling=replace(options.sampling, seed=seed),
                recorded=_recording(row, view.order, vote),
                structural=spec.structural,
                template_options=spec.template_options,
                thinking_start=spec.grammar.thinking_start,
            )
            asks.append(Ask(request, view.order, vote, view.response, view.shown))
    if not asks:
        raise RowError(
            "nothing is recorded for this row",
            code="no_recording",
            place=row.id,
            remedy="give a file with recorded judgments, --judge replay:FILE, or a judge that answers",
        )
    first = replace(asks[0], request=replace(asks[0].request, together=len(asks)))
    return [first, *asks[1:]]


def _recording(row: Row, order: Order, vote: int) -> Recorded | None:
    votes = row.recorded.get(order, ())
    return votes[vote] if vote < len(votes) else None


def _views(spec: JudgeSpec, row: Row, options: JudgingOptions) -> list[_View]:
    if spec.protocol == "rubric":
        shown_row = as_writer_sees(spec, row)
        return [_View(shown_row, shown_row.order if isinstance(shown_row, Comparison) else Order.AB)]
    if spec.protocol == "pairwise":
        return _pairwise_views(spec, row, options)
    candidates = as_candidates(row)
    if spec.protocol == "pointwise":
        if options.recorded_only and len(candidates.responses) > 1:
            raise RowError(
                "recorded answers do not say which of several responses they score",
                code="unsupported",
                place=row.id,
                remedy="replay rows with one response, or judge with a model",
            )
        return [_View(candidates, Order.AB, response=n) for n in range(len(candidates.responses))]
    if len(candidates.responses) < 2:
        raise RowError(
            "has one response",
            code="wrong_protocol",
            place=row.id,
            remedy="a listwise spec ranks two or more",
        )
    if options.recorded_only:
        orders = sorted(row.recorded)[: 1 if options.orders == "given" else None]
        return [_recorded_list(candidates, order) for order in orders]
    # A preference pair has no order of its own to be given: its fields name the winner.
    as_given = options.orders == "given" and not isinstance(row, PreferencePair)
    shown = tuple(range(len(candidates.responses))) if as_given else candidates.present(options.seed)
    views = [_View(candidates.reorder(shown), Order.AB, shown=shown)]
    if options.orders == "both":
        views.append(_View(candidates.reorder(shown[::-1]), Order.BA, shown=shown[::-1]))
    return views


def _recorded_list(row: CandidateSet, order: Order) -> _View:
    """Show a list as it was shown when it was recorded: its answers name positions."""
    orders = {answer.shown for answer in row.recorded[order]}
    shown = orders.pop() if len(orders) == 1 else ()
    if sorted(shown) != list(range(len(row.responses))):
        raise RowError(
            "the recorded ranking does not say in which order the responses were shown",
            code="unsupported",
            place=row.id,
            remedy="replay rows that `reasrm judge` wrote, or judge with a model",
        )
    return _View(row.reorder(shown), order, shown=shown)


def _pairwise_views(spec: JudgeSpec, row: Row, options: JudgingOptions) -> list[_View]:
    if isinstance(row, PreferencePair):
        first = row.present(options.seed)
    elif isinstance(row, Comparison):
        first = row.present(options.seed) if options.orders == "random" else row
    else:
        raise RowError(
            f"a list of responses cannot be judged by the pairwise spec {spec.name!r}",
            code="wrong_protocol",
            place=row.id,
            remedy="name two responses response_a and response_b, or choose a pointwise or listwise --spec",
        )
    views = sorted((_View(shown, shown.order) for shown in (first, first.swap())), key=lambda v: v.order)
    if options.orders == "both":
        return views
    if options.recorded_only and options.orders == "given" and not row.recorded.get(first.order):
        return [view for view in views if view.order is not first.order]
    return [view for view in views if view.order is first.order]


def as_candidates(row: Row) -> CandidateSet:
    """Return any row as a set of candidates in the row's own order."""
    if isinstance(row, CandidateSet):
        return row
    pair = as_comparison(row)
    if pair is None:
        raise RowError(f"a {type(row).__name__} has no responses", code="wrong_protocol", place=row.id)
    return CandidateSet(**pair.shared_fields(), responses=(pair.response_a, pair.response_b))
