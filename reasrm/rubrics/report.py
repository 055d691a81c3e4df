"""How good a file of rubrics is, as far as what is given can say: each further file answers further questions.

The arithmetic is `criteria.metrics`. A number rests on what could be had: a criterion without marks, a row that another
file lacks and a judgment that could not be read are left out and seen in the coverages. Marks are numbers that somebody
gave each response on each criterion; the embedded world's are computed (`marks_of_world`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

from reasrm.criteria import metrics
from reasrm.criteria.checks import ChecksSection, check_rubric, lean
from reasrm.criteria.leaks import LEAKS
from reasrm.criteria.metrics import Credit
from reasrm.criteria.verify import answer, effect
from reasrm.errors import InputError, RowError
from reasrm.judged import JudgedRow
from reasrm.metrics.intervals import Estimate
from reasrm.records import CandidateSet, Comparison, Order, PreferencePair, Row
from reasrm.rubric import Criterion
from reasrm.sources import fields
from reasrm.sources.rubric_lines import RubricLine, Rubrics
from reasrm.tables import read_rows
from reasrm.world.reading import Reader, reader_of

__all__ = ["SAYS", "Marks", "Material", "load_marks", "marks_of_world", "report"]

Marks: TypeAlias = tuple[Sequence[float | None], Sequence[float | None]]
"""What the better and the worse response got on each criterion, higher where it has what the criterion names."""
Numbers: TypeAlias = dict[str, Estimate]
_MOST_SHOWN = 20

SAYS: Mapping[str, str] = {
    "criteria": "criteria of a rubric",
    "words": "words of a criterion",
    "redundant": "criteria that an earlier one of their rubric says already",
    "conflict": "criteria that contradict an earlier one",
    "saw_labels": "rubrics whose author knew a label",
    "saw_own_labels": "rows whose rubric's author knew their own label: judging them measures the label",
    "rows_with_rubric": "rows that have a rubric",
    "leak_rate": "criteria that took a name, a number or words from a response, or name places or compare",
    "spread": "standard deviation of a criterion's marks, mean over criteria",
    "correlation": "of a criterion's marks with the label, mean over criteria whose marks differ",
    "aligned": "criteria that prefer the better response of their row",
    "misaligned": "criteria that prefer the worse response",
    "indifferent": "criteria that prefer neither",
    "marked": "criteria with marks of both responses",
    "precision": "criteria that the gold rubric has",
    "recall": "criteria of the gold rubric that are there",
    "stability": "criteria that stay when the writer sees the pair in the other order",
    "accuracy_ab": "the judge is right under the rubric written with the row's first response first",
    "accuracy_ba": "the same with its second response first",
    "ab_minus_ba": "the difference: 0 where it does not matter what the writer saw first",
    "better_is_first": "rows whose first response is the better one: all of preference pairs",
    "accuracy": "judgments that are right, mean over rows",
    "tokens_per_verdict": "tokens generated for each verdict that could be read",
    "gap_closed": "(arm - none) / (gold - none)",
    "arm_minus_none": "points that the rubrics add",
    "gold_minus_none": "points that gold rubrics add: where this interval holds 0 there is no gap to close",
    "helpful": "rows that are right in all judgments only with the rubric",
    "neutral": "rows where it changes nothing",
    "misleading": "rows that are right in all judgments only without it",
    "coverage": "rows with all the answers that the numbers above need",
}
"""What each number of a report is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a report is made from.

    Args:
        rubrics: The rubrics.
        rows: Rows that they are for.
        marks: By row id.
        gold: Gold rubrics, found as the others are.
        swapped: What the same writer wrote with the responses exchanged.
        judged: Judged rows by id, under `none` (no rubric), `arm` (these), `gold` and `swapped`.
        checks: Limits of the leak check; its defaults if None.
    """

    rubrics: Rubrics
    rows: Sequence[Row] = ()
    marks: Mapping[str, Marks] | None = None
    gold: Rubrics | None = None
    swapped: Rubrics | None = None
    judged: Mapping[str, Mapping[str, JudgedRow]] = field(default_factory=dict)
    checks: ChecksSection | None = None


def report(material: Material, seed: int = 0) -> dict[str, Any]:
    """Return the sections that the material allows, each a mapping from names in `SAYS` to estimates.

    Besides `sections`: `reasons` of leaks, `by_criterion` (the commonest texts with what they tell apart), and `judges`
    (who judged which file, since a gap is one judge's).

    Raises:
        InputError: No row has a rubric, or marks are not as many as the criteria they are for.
    """
    joined = [(row, line) for row in material.rows if (line := material.rubrics.find(row)) is not None]
    if material.rows and not joined:
        raise InputError("no row has an id or a prompt that the rubrics name", place="--pairs")
    sections: dict[str, Numbers] = {"rubrics": _own(material, joined, seed)}
    found: dict[str, Any] = {"num_rubrics": len(material.rubrics.by_id), "num_rows": len(material.rows)}
    if joined:
        sections["leaks"], found["reasons"] = _leaks(joined, material.checks, seed)
    if material.marks is not None:
        sections["discrimination"], found["by_criterion"] = _discrimination(joined, material.marks, seed)
    if material.gold is not None:
        sections["against gold"] = _against_gold(material, joined, seed)
    sections |= _order_sections(material, joined, seed)
    sections |= _judged_sections(material.judged, seed)
    found["judges"] = {name: _judges(rows.values()) for name, rows in material.judged.items()}
    found["sections"] = {
        name: {key: estimate.as_dict() for key, estimate in numbers.items()}
        for name, numbers in sections.items()
    }
    return found


def load_marks(path: Path) -> dict[str, Marks]:
    """Read marks: lines `{"id", "chosen": [1, 0, null], "rejected": [0, 0, 1]}`, one number for each criterion.

    Raises:
        InputError: A line is none of these, or repeats an id.
    """
    found: dict[str, Marks] = {}
    for raw in read_rows(path):
        if raw.data is None:
            raise raw.error or InputError("is not a row", place=raw.place)
        name = fields.text(raw.data, "id", raw.place)
        if name in found:
            raise InputError(f"the id {name!r} has marks already", place=raw.place, remedy="keep one line")
        chosen, rejected = (_numbers(raw.data, key, raw.place) for key in ("chosen", "rejected"))
        found[name] = (chosen, rejected)
    return found


def marks_of_world(rubrics: Rubrics, rows: Iterable[Row]) -> dict[str, Marks]:
    """Return the exact marks of the embedded worlds: 1 where a response meets the rule that a criterion states."""
    found: dict[str, Marks] = {}
    for row in rows:
        line, sides = rubrics.find(row), _sides(row)
        if line is not None and sides is not None:
            reader = reader_of(row)
            chosen, rejected = ([_meets(reader, c, text) for c in line.rubric.criteria] for text in sides)
            found[row.id] = (chosen, rejected)
    return found


def _meets(reader: Reader, criterion: Criterion, response: str) -> float | None:
    rule = reader.rule(criterion.text)
    return None if rule is None else float(reader.check(rule, response).met)


def _numbers(row: Mapping[str, Any], key: str, place: str) -> list[float | None]:
    value = row.get(key)
    if not isinstance(value, list) or not all(
        item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in value
    ):
        raise RowError(
            f"field {key!r} is no list of numbers or null",
            code="wrong_type",
            place=place,
            remedy='give {"id", "chosen": [1, 0], "rejected": [0, 0]}, one number for each criterion',
        )
    return value


def _sides(row: Row) -> tuple[str, str] | None:
    """Return the better and the worse response, or None where nobody says which it is."""
    if isinstance(row, PreferencePair):
        return row.chosen, row.rejected
    if isinstance(row, Comparison) and row.target is not None and row.target.winner != "tie":
        texts = row.response_a, row.response_b
        return texts if row.target.winner == "A" else texts[::-1]
    return None


def _responses(row: Row) -> tuple[str, ...]:
    if isinstance(row, CandidateSet):
        return row.responses
    if isinstance(row, PreferencePair):
        row = row.compare()
    return (row.response_a, row.response_b) if isinstance(row, Comparison) else ()


Joined: TypeAlias = Sequence[tuple[Row, RubricLine]]


def _own(material: Material, joined: Joined, seed: int) -> Numbers:
    lines = list(material.rubrics.by_id.values())
    found = metrics.sizes([line.rubric for line in lines if line.rubric.criteria], seed=seed)
    found["saw_labels"] = metrics.share(((line.saw_label, 1) for line in lines), seed)
    if material.rows:
        found["saw_own_labels"] = metrics.share(((line.saw(row), 1) for row, line in joined), seed)
        with_one = {row.id for row, _ in joined}
        found["rows_with_rubric"] = metrics.share(((row.id in with_one, 1) for row in material.rows), seed)
    return found


def _leaks(joined: Joined, limits: ChecksSection | None, seed: int) -> tuple[Numbers, dict[str, int]]:
    checked = [
        (
            line.rubric,
            check_rubric(
                line.rubric, "\n".join(message.content for message in row.prompt), _responses(row), limits
            ),
        )
        for row, line in joined
        if line.rubric.criteria
    ]
    counts = Counter(fault.reason for _, faults in checked for fault in faults)
    return {"leak_rate": metrics.leak_rate(checked, seed)}, {
        reason: counts[reason] for reason in LEAKS if counts[reason]
    }


def _discrimination(
    joined: Joined, marks: Mapping[str, Marks], seed: int
) -> tuple[Numbers, list[dict[str, Any]]]:
    by_text: dict[Criterion, tuple[list[float | None], list[float]]] = defaultdict(lambda: ([], []))
    preferences = []
    for row, line in joined:
        chosen, rejected = marks.get(row.id) or ([None] * len(line.rubric.criteria),) * 2
        _check_lengths(row, line, chosen, rejected)
        preferences.append(
            [
                lean(good, bad, c.weight)
                for c, good, bad in zip(line.rubric.criteria, chosen, rejected, strict=True)
            ]
        )
        for criterion, good, bad in zip(line.rubric.criteria, chosen, rejected, strict=True):
            sign = -1.0 if (criterion.weight or 0) < 0 else None
            given, labels = by_text[Criterion(None, criterion.text, sign)]
            given += [good, bad]
            labels += [1.0, 0.0]
    told = {
        criterion: metrics.discrimination(given, labels, criterion.weight)
        for criterion, (given, labels) in by_text.items()
    }
    leans = metrics.leans(preferences, seed)
    numbers = {
        "spread": metrics.share(((d.spread * d.n, d.n) for d in told.values() if d.spread is not None), seed),
        "correlation": metrics.share(
            ((d.correlation * d.n, d.n) for d in told.values() if d.correlation is not None), seed
        ),
        **{name: leans[name] for name in ("aligned", "misaligned", "indifferent")},
        "marked": leans["coverage"],
    }
    commonest = sorted(told.items(), key=lambda item: (-item[1].n, item[0].text))[:_MOST_SHOWN]
    return numbers, [
        {"text": criterion.text, "spread": d.spread, "correlation": d.correlation, "n": d.n}
        for criterion, d in commonest
    ]


def _check_lengths(row: Row, line: RubricLine, *marks: Sequence[float | None]) -> None:
    wanted = len(line.rubric.criteria)
    counts = " and ".join(str(len(one)) for one in marks)
    if any(len(one) != wanted for one in marks):
        raise InputError(
            f"the rubric of row {row.id!r} has {wanted} criteria, its marks are {counts}",
            place="--marks",
            remedy="give one mark for each criterion, null where nobody could tell",
        )


def _against_gold(material: Material, joined: Joined, seed: int) -> Numbers:
    gold = material.gold or Rubrics()
    if joined:
        both = [(line, gold.find(row)) for row, line in joined]
    else:
        both = [(line, gold.by_id.get(line.id)) for line in material.rubrics.by_id.values()]
    pairs = [(line.rubric, theirs.rubric) for line, theirs in both if theirs is not None]
    if not pairs:
        raise InputError("the gold rubrics are for none of the rows", place="--gold-rubrics")
    return {
        **metrics.against_gold(pairs, seed=seed),
        "coverage": metrics.share(((theirs is not None, 1) for _, theirs in both), seed),
    }


def _order_sections(material: Material, joined: Joined, seed: int) -> dict[str, Numbers]:
    if material.swapped is None:
        return {}
    both: list[tuple[RubricLine, RubricLine]] = []
    for line in material.rubrics.by_id.values():
        other = material.swapped.by_id.get(line.id)
        if other is not None and line.order is not None and other.order is line.order.swap():
            both.append((line, other) if line.order is Order.AB else (other, line))
    if not both:
        raise InputError(
            "no rubric of one file was written in the other order than that of the same id in the other",
            place="--swapped",
            remedy="write them by `reasrm rubrics write`, once with --orders random and once with --orders swap",
        )
    numbers = {"stability": metrics.order_stability([(ab.rubric, ba.rubric) for ab, ba in both], seed=seed)}
    arm, swapped = (material.judged.get(name) for name in ("arm", "swapped"))
    if arm is not None and swapped is not None:
        own = material.rubrics.by_id
        files = {Order.AB: (arm, swapped), Order.BA: (swapped, arm)}
        rows: list[tuple[Credit, Credit]] = []
        for ab, _ in both:
            order = own[ab.id].order or Order.AB
            first, second = files[order]
            rows.append((_credit(first.get(ab.id)), _credit(second.get(ab.id))))
        numbers |= metrics.order_effect(rows, seed)
        labels = [arm[ab.id].label for ab, _ in both if ab.id in arm]
        numbers["better_is_first"] = metrics.share(((label == "A", 1) for label in labels), seed)
    return {"order that the writer saw": numbers}


def _judged_sections(judged: Mapping[str, Mapping[str, JudgedRow]], seed: int) -> dict[str, Numbers]:
    sections: dict[str, Numbers] = {}
    for name, rows in judged.items():
        means = [one for row in rows.values() if (one := _credit(row)) is not None]
        sections[f"judged: {name}"] = {
            "accuracy": metrics.share(((one, 1) for one in means), seed),
            "tokens_per_verdict": metrics.tokens_per_verdict(list(map(_tokens, rows.values())), seed),
        }
    none, arm, gold = (judged.get(name) for name in ("none", "arm", "gold"))
    if none is not None and arm is not None:
        shared = [row for row in arm if row in none]
        effects = [
            effect(under, without) if under and without else None
            for under, without in ((_answers(arm[row]), _answers(none[row])) for row in shared)
        ]
        sections["what rubrics do to the judge"] = metrics.effect_shares(effects)
        if gold is not None:
            credits = [
                (_credit(none.get(row)), _credit(arm[row]), _credit(gold.get(row))) for row in sorted(arm)
            ]
            sections["gap closed"] = metrics.gap_closed(credits, seed)
    return sections


def _answers(row: JudgedRow) -> list[bool | None]:
    """Return whether each judgment came out as the label; nothing where there is no label of a side."""
    if row.label not in ("A", "B", "tie"):
        return []
    return [answer(judgment.winner, row.label) for judgment in row.judgments]


def _credit(row: JudgedRow | None) -> Credit:
    """Return the share of right judgments among those that could be read."""
    known = [one for one in _answers(row) if one is not None] if row is not None else []
    return fmean(known) if known else None


def _tokens(row: JudgedRow) -> tuple[float | None, float]:
    spent = [judgment.num_tokens for judgment in row.judgments]
    verdicts = sum(judgment.winner is not None for judgment in row.judgments)
    return None if None in spent else float(sum(tokens or 0 for tokens in spent)), float(verdicts)


def _judges(rows: Iterable[JudgedRow]) -> list[dict[str, Any]]:
    """Return who judged, each once."""
    seen: dict[str, dict[str, Any]] = {}
    for row in rows:
        seen.setdefault(str(sorted(row.judge.items())), dict(row.judge))
    return list(seen.values())
