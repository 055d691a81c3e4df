"""Public shapes of rubrics: what recognises a row of each, and one small function that reads its criteria.

Nothing is made up on the way. A criterion whose file does not say whether it is a hard rule or a principle has no
kind, and a weight keeps its sign: RubricHub's exporter clamps pitfalls away, here they stay. Verdicts, scores and
answers that lie beside a rubric (RubricHub's `sft_RuFT`, CDRRM's own word on its consistency) are not read.

No data file was at hand for any of these. A shape is verified where its owner's code or description was; otherwise
what is read says `schema: unverified`. A pitfall of RaR has a negative weight whether its text says what is wrong (most
of RaR-Medicine, by a third party's count) or that it is avoided (most of RaR-Science): who adds weights up must look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from reasrm.errors import RowError
from reasrm.rubric import Condition, Criterion, Rubric, cdrrm_criteria
from reasrm.sources import fields
from reasrm.sources.fields import RowData

__all__ = ["RUBRIC_SHAPES", "Condition", "RubricShape", "rubric_shape"]

_NUMBERED = re.compile(r"\s*(?:[0-9]+[.)]|[-*])\s*")
_IMPORTANCE = re.compile(r"(.*)\(importance:\s*([0-9]{1,3})\s*/\s*100\)\W*", re.I)
_RAR_CATEGORY = re.compile(r"\s*(Essential|Important|Optional|Pitfall) Criteri(?:a|on):", re.I)
_LEAVE_OUT = "leave out rows without criteria"


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricShape:
    """One public shape.

    Args:
        name: What it is called in provenance.
        url: Where it lives.
        recognises: Whether a row, by its keys, is of this shape.
        read: Turns a row into a rubric; the second argument is the row's place, for errors.
        prompt: The column of the request.
        ids: Columns that name a row, first match wins.
        condition: What the rubrics are for.
        saw_label: Whether the author knew which response is preferred; True, too, where labels were at hand and the
            set does not say.
        verified: Whether the owner's code or description was at hand.
    """

    name: str
    url: str
    recognises: Callable[[RowData], bool]
    read: Callable[[RowData, str], Rubric]
    prompt: str = "prompt"
    ids: tuple[str, ...] = ("id",)
    condition: Condition = "prompt"
    saw_label: bool = False
    verified: bool = False


def rubric_shape(row: RowData) -> RubricShape | None:
    """Return the shape of a row, None if it is of none."""
    return next((shape for shape in RUBRIC_SHAPES if shape.recognises(row)), None)


def _openrubrics(row: RowData, place: str) -> Rubric:
    text = fields.words(row, "rubric", place)
    return Rubric.read(text) or Rubric(text=text)


def _rubrichub(row: RowData, place: str) -> Rubric:
    return _objects(
        row["reward_model"], "rubrics", place, within="reward_model.", text="criterion", weight="points"
    )


def _points(row: RowData, place: str) -> Rubric:
    return _objects(row, "rubrics", place, text="criterion", weight="points", category=_axis)


def _axis(item: Mapping[str, Any]) -> str | None:
    tags = item.get("tags")
    tags = tags if isinstance(tags, list) else []
    return next((tag[5:] for tag in tags if isinstance(tag, str) and tag.startswith("axis:")), None)


def _rar(row: RowData, place: str) -> Rubric:
    return _objects(row, "rubric", place, text="description", name="title", category=_rar_category)


def _rar_category(item: Mapping[str, Any]) -> str | None:
    found = _RAR_CATEGORY.match(item["description"])
    return found[1].capitalize() if found else None


def _auto_rubric(row: RowData, place: str) -> Rubric:
    if row["rubric_valid"] not in ("True", True):
        raise RowError(
            f"field 'rubric_valid' is {fields.describe(row['rubric_valid'])}: the rubric did not reproduce the ranking",
            code="invalid_rubric",
            place=place,
            remedy="keep the rows that say 'True'",
        )
    return _texts(row, "rubrics", place)


def _chasing_the_tail(row: RowData, place: str) -> Rubric:
    return _objects(row, "rubrics", place, text="criterion")


def _wildchecklists(row: RowData, place: str) -> Rubric:
    found = []
    for line in _lines(fields.words(row, "requirements", place)):
        marked = _IMPORTANCE.fullmatch(line)
        found.append(Criterion(None, marked[1], float(marked[2])) if marked else Criterion(None, line))
    return Rubric(tuple(found))


def _rubricbench(row: RowData, place: str) -> Rubric:
    text = fields.words(row, "rubrics", place)
    if isinstance(_decoded(text), list):
        return _texts(row, "rubrics", place)
    return Rubric(tuple(map(_criterion, _lines(text))))


def _tinker(row: RowData, place: str) -> Rubric:
    return _objects(row, "rubric_items", place, text="rubric_str")


def _oumi(row: RowData, place: str) -> Rubric:
    return _objects(row, "rubrics", place, text="description")


def _cdrrm(row: RowData, place: str) -> Rubric:
    found = cdrrm_criteria(row)
    if found:
        return Rubric(found)
    expected = "fields 'hard_rules' and 'principles' must be lists of {criterion} and {description}"
    seen = " and ".join(fields.describe(row.get(key)) for key in ("hard_rules", "principles"))
    raise RowError(f"{expected}, found {seen}", code="wrong_type", place=place, remedy=_LEAVE_OUT)


def _cdrrm_lists(row: RowData, place: str) -> Rubric:
    text = fields.words(row, "formatted_rubric", place)
    found = Rubric.read(text)
    if found is not None:
        return found
    raise RowError(
        f"field 'formatted_rubric' is {fields.describe(text)}, not lists under 'Hard Rules:' and 'Principles:'",
        code="unreadable_rubric",
        place=place,
        remedy="leave the row out: where a rubric was not readable, CDRRM's code writes a placeholder",
    )


def _objects(
    row: RowData,
    key: str,
    place: str,
    *,
    text: str,
    weight: str = "weight",
    name: str = "name",
    category: Callable[[Mapping[str, Any]], str | None] = lambda item: None,
    within: str = "",
) -> Rubric:
    """Read a list of objects; the caller says what their fields are called."""
    found = []
    for item, where in _items(row, key, place, within):
        if not isinstance(item, dict):
            raise fields.wrong_type(where, f"an object with {text!r}", item, place)
        said = fields.words(item, text, place, where)
        number = fields.number(item, weight, place, where)
        title = fields.optional_text(item, name, f"{place}: {where}")
        found.append(Criterion(None, said, number, title, category=category(item)))
    return Rubric(tuple(found))


def _texts(row: RowData, key: str, place: str) -> Rubric:
    """Read a list of strings."""
    items = [fields.words({where: item}, where, place) for item, where in _items(row, key, place)]
    return Rubric(tuple(map(_criterion, items)))


def _criterion(text: str) -> Criterion:
    """Return the criterion of one text, of the kind that a tag at its end says."""
    tagged = Rubric.read(f"- {text}")
    return tagged.criteria[0] if tagged else Criterion(None, text)


def _items(row: RowData, key: str, place: str, within: str = "") -> Iterator[tuple[Any, str]]:
    """Yield the items of a list that is not empty, with their places in the row."""
    items = _decoded(fields.required(row, key, place))
    if not isinstance(items, list) or not items:
        message = f"field {within + key!r} must be a list of criteria, found {fields.describe(items)}"
        raise RowError(message, code="wrong_type", place=place, remedy=_LEAVE_OUT)
    for n, item in enumerate(items):
        yield item, f"{within}{key}[{n}]"


def _decoded(value: Any) -> Any:
    """Return a value of which somebody made JSON in a string."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _lines(text: str) -> list[str]:
    """Return the items of a written list without their numbers; a line without one goes on with the last item."""
    found: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        lead = _NUMBERED.match(line)
        if lead or not found:
            found.append(line[lead.end() :] if lead else line)
        else:
            found[-1] += f" {line.strip()}"
    return [line for line in found if line.strip()]


def _has(key: str, field: str) -> Callable[[RowData], bool]:
    """Return whether a row has a list under a key in which an object has a field."""

    def recognises(row: RowData) -> bool:
        items = _decoded(row.get(key))
        return isinstance(items, list) and any(isinstance(item, dict) and field in item for item in items)

    return recognises


def _columns(*keys: str) -> Callable[[RowData], bool]:
    return lambda row: all(key in row for key in keys)


_HUB = "https://huggingface.co/datasets"
_CDRRM_URL = "https://github.com/ldcan/CDRRM"

RUBRIC_SHAPES: tuple[RubricShape, ...] = (
    RubricShape(
        name="cdrrm",
        url=_CDRRM_URL,
        recognises=_columns("hard_rules"),
        read=_cdrrm,
        prompt="instruction",
        ids=("pair_id", "sid", "id"),
        condition="pair",
        saw_label=True,
        verified=True,
    ),
    RubricShape(
        name="cdrrm-lists",  # written by the trained writer, which is not told the label
        url=_CDRRM_URL,
        recognises=_columns("formatted_rubric"),
        read=_cdrrm_lists,
        prompt="instruction",
        ids=("sid",),
        condition="pair",
        verified=True,
    ),
    RubricShape(
        name="rubrichub",
        url=f"{_HUB}/sojuL/RubricHub_v1",
        recognises=lambda row: isinstance(row.get("reward_model"), dict) and "rubrics" in row["reward_model"],
        read=_rubrichub,
    ),
    RubricShape(
        name="rubrichub-sft",
        url=f"{_HUB}/sojuL/RubricHub_v1",
        recognises=_columns("rubric_judge_details", "rubrics"),
        read=_points,
        prompt="query",
        ids=("sample_id",),
    ),
    RubricShape(
        name="rar",
        url=f"{_HUB}/ScaleAI/RaR-Medicine",
        recognises=_has("rubric", "description"),
        read=_rar,
        prompt="question",
    ),
    RubricShape(
        name="auto-rubric",  # its author is told the ranks
        url=f"{_HUB}/agentscope-ai/Auto-Rubric",
        recognises=_columns("rubric_valid", "rubrics"),
        read=_auto_rubric,
        prompt="input",
        ids=("unique_id",),
        saw_label=True,
    ),
    RubricShape(
        name="rubricbench",  # written by people; as the paper is quoted, without sight of the responses
        url=f"{_HUB}/DonJoey/rubricbench",
        recognises=_columns("case_id", "rubrics"),
        read=_rubricbench,
        prompt="instruction",
        ids=("case_id",),
    ),
    RubricShape(
        name="healthbench",
        url="https://github.com/openai/simple-evals",
        recognises=_has("rubrics", "points"),
        read=_points,
        ids=("prompt_id", "id"),
        verified=True,
    ),
    RubricShape(
        name="chasing-the-tail",
        url=f"{_HUB}/JunkaiZ/Rubrics",
        recognises=_has("rubrics", "criterion"),
        read=_chasing_the_tail,
        verified=True,
    ),
    RubricShape(
        name="wildchecklists",
        url=f"{_HUB}/viswavi/wildchecklists",
        recognises=_columns("requirements", "prompt"),
        read=_wildchecklists,
    ),
    RubricShape(
        name="tinker",
        url="https://github.com/thinking-machines-lab/tinker-cookbook",
        recognises=_columns("rubric_items"),
        read=_tinker,
        prompt="convo",
        verified=True,
    ),
    RubricShape(
        name="oumi",
        url="https://github.com/oumi-ai/oumi",
        recognises=_has("rubrics", "description"),
        read=_oumi,
    ),
    RubricShape(
        name="openrubrics",  # its author is told which response is better
        url=f"{_HUB}/OpenRubrics/OpenRubric-v2",
        recognises=lambda row: "instruction" in row and isinstance(row.get("rubric"), str),
        read=_openrubrics,
        prompt="instruction",
        ids=("pair_id", "id"),
        saw_label=True,
    ),
)
"""All shapes, in the order in which they are tried."""
