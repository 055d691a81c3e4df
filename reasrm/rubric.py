"""Criteria to judge by, and the text in which a judge reads them and a writer writes them.

One criterion is one line: `1. The response names a city. [Hard Rule] (weight 2)`. In parentheses stands what more it
says: `weight -1`, `veto`, `name "Place"`, `category "Essential"`, `choices "none" < "some" < "all"` (worst to best).
`Rubric.read` is the inverse of `Rubric.render`, whatever the texts hold. It also reads what others write in the same
spirit: lists with `-` or `1)`, CDRRM's two headed lists and its JSON (forms: its code, commit 100601c). The placeholder
that CDRRM's code shows a judge where a rubric could not be parsed is no rubric.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

__all__ = [
    "TAGS",
    "Condition",
    "Criterion",
    "CriterionKind",
    "Layout",
    "Rubric",
    "cdrrm_criteria",
    "num_lists",
]

CriterionKind: TypeAlias = Literal["hard_rule", "principle"]
Layout: TypeAlias = Literal["tagged", "two_lists", "json"]
Condition: TypeAlias = Literal["prompt", "pair"]
"""What a rubric is for: any responses to its request, or only the pair that whoever wrote it saw (CDRRM)."""

TAGS: Mapping[CriterionKind | None, str] = {
    "hard_rule": "Hard Rule",
    "principle": "Principle",
    None: "Criterion",
}
"""What stands in brackets after a criterion of each kind."""
_HEADINGS: Mapping[CriterionKind | None, str] = {
    "hard_rule": "Hard Rules:",
    "principle": "Principles:",
    None: "Criteria:",
}
_KINDS = {tag.lower(): kind for kind, tag in TAGS.items()}
_HEADED = {heading.rstrip(":").lower(): kind for kind, heading in _HEADINGS.items()}

_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?"
_STRING = r'"(?:[^"\\]|\\.)*"'
_NOTE = rf"weight {_NUMBER}|veto|(?:name|category) {_STRING}|choices {_STRING}(?: < {_STRING})*"
_NOTES = rf"\((?:(?:{_NOTE})(?:, (?:{_NOTE}))*)?\)"
_LEAD = re.compile(r"(?:[0-9]+[.)]|[-*](?![-*]))\s*")
_TAGGED = re.compile(rf'(.+)\[((?i:hard rule|principle|criterion))\]\s*({_NOTES})?[^\w"]*')
_NOTED = re.compile(rf"(.*) ({_NOTES})")
_HEADING = re.compile(r"[#*\s]*(hard rules|principles|criteria)[:*\s]*", re.I)
_BANNER = "--- Rubric Generation ---"
_PLACEHOLDER = "(Failed to parse rubric)"
_CDRRM: tuple[tuple[str, CriterionKind | None, tuple[str, str]], ...] = (
    ("hard_rules", "hard_rule", ("criterion", "rule")),
    ("principles", "principle", ("description", "principle")),
    ("criteria", None, ("text", "criterion")),  # ours, for what has no kind
)
_CDRRM_TEXTS = {"category": "type", "name": "name", "rationale": "rationale", "test": "test"}
"""What a criterion calls them → what CDRRM's JSON does."""


def _fold(text: str) -> str:
    return " ".join(part for line in text.splitlines() if (part := line.strip()))


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of a rubric.

    Args:
        kind: An explicit checkable constraint (hard rule), or an implicit quality (principle); None where its author
            did not say.
        text: What a response is held against. Line breaks are folded, here and in the other texts.
        weight: How much it counts, negative for a flaw; None where its author did not say.
        name: A short name.
        choices: The levels of a graded answer, worst to best; empty where the answer is yes or no.
        category: Its author's own class, `Essential` or `accuracy` for instance.
        veto: Whether failing it decides alone.
        source: Where it comes from: not compared and not shown to a judge.
        test: How to look whether a response meets it (CDRRM), likewise.
        rationale: Why it counts, likewise.
    """

    kind: CriterionKind | None
    text: str
    weight: float | None = None
    name: str | None = None
    choices: tuple[str, ...] = ()
    category: str | None = None
    veto: bool = False
    source: str | None = field(default=None, compare=False)
    test: str | None = field(default=None, compare=False)
    rationale: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for key in ("text", "name", "category", "test", "rationale"):
            if (text := getattr(self, key)) is not None:
                object.__setattr__(self, key, _fold(text))
        object.__setattr__(self, "choices", tuple(map(_fold, self.choices)))

    def to_json(self) -> dict[str, Any]:
        """Return the criterion as files hold it; what it does not say is left out."""
        values = {key: getattr(self, key) for key in Criterion.__slots__}
        values["choices"] = list(self.choices) or None
        values["veto"] = self.veto or None
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Rubric:
    """Criteria to judge by, structured or as free text.

    Args:
        criteria: The criteria.
        text: Free text instead.
        saw_label: Whether whoever wrote it is known to have known which response of its row is preferred: such a rubric
            carries the label to whoever reads it. Not compared and not shown to a judge.
    """

    criteria: tuple[Criterion, ...] = ()
    text: str | None = None
    saw_label: bool = field(default=False, compare=False)

    def render(self, layout: Layout = "tagged") -> str:
        """Return the rubric as a judge reads it; free text comes back as it is.

        Args:
            layout: `tagged`, one numbered list with the kind at the end of each line (OpenRubrics); `two_lists`, a
                headed list for each kind (CDRRM's judge); or `json`, an object with a list for each kind, tests and
                rationales with them (CDRRM's writer). In the last two the order between kinds is lost.
        """
        if self.text is not None:
            return self.text
        if layout == "tagged":
            return "\n".join(
                f"{n}. {c.text} [{TAGS[c.kind]}]{_notes(c)}" for n, c in enumerate(self.criteria, 1)
            )
        if layout == "json":
            return json.dumps(self._cdrrm(), ensure_ascii=False)
        return "\n\n".join(self._headed_lists())

    def _cdrrm(self) -> dict[str, list[dict[str, Any]]]:
        found = {}
        for key, kind, (named, _) in _CDRRM:
            own = [c for c in self.criteria if c.kind == kind]
            if own or kind is not None:
                found[key] = [_cdrrm_json(criterion, named) for criterion in own]
        return found

    def _headed_lists(self) -> Iterator[str]:
        for kind, heading in _HEADINGS.items():
            own = [c for c in self.criteria if c.kind == kind]
            lines = [f"{n}. {c.text}{_notes(c) or _guard(c.text)}" for n, c in enumerate(own, 1)]
            if own or kind is not None:
                yield "\n".join([heading, *(lines or ["None"])])

    @classmethod
    def read(cls, text: str) -> Rubric | None:
        """Return the criteria of a text in either layout or in CDRRM's JSON; None if any line is something else."""
        if text.lstrip().startswith("{"):
            try:
                criteria = cdrrm_criteria(orjson.loads(text))
            except ValueError:
                return None
        else:
            criteria = _read_lines([line.strip() for line in text.splitlines() if line.strip()])
        return cls(criteria) if criteria else None


def num_lists(text: str) -> int:
    """Return how many lists of criteria a text holds, readable or not.

    A list goes on as long as its numbers rise; below a heading they may begin again, and the same heading twice begins
    another list. A text that begins with a brace holds as many as it has JSON objects one after the other, and one more
    for each key that an object names twice.
    """
    if text.lstrip().startswith("{"):
        return _num_objects(text)
    found, last = 0, 0
    headings: set[str] = set()
    for line in map(str.strip, text.splitlines()):
        heading = _HEADING.fullmatch(line)
        lead = _LEAD.match(line)
        if heading is not None:
            again = heading[1].lower() in headings
            headings = {heading[1].lower()} | (set() if again else headings)
            found, last = found + again or 1, 0
        elif lead is not None:
            number = int(digits) if (digits := lead[0].strip(" \t.)")).isdecimal() else last + 1
            found += number <= last or not found
            last = number
    return found


def _num_objects(text: str) -> int:
    found, again = 0, 0

    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal again
        again += len(pairs) - len(dict(pairs))
        return dict(pairs)

    decoder = json.JSONDecoder(object_pairs_hook=count)
    try:
        while text := text.lstrip():
            text = text[decoder.raw_decode(text)[1] :]
            found += 1
    except (ValueError, RecursionError):
        pass
    return found and found + again


def cdrrm_criteria(value: Any) -> tuple[Criterion, ...] | None:
    """Return the criteria of CDRRM's JSON, `hard_rules[].criterion` and `principles[].description`; None if it is none.

    With them stand `type`, `test` and `rationale`, and of ours `name`, `weight`, `choices` and `veto`.

    What the writer says of its own rubric (`pair_consistency_check`) is not looked at.
    """
    if not isinstance(value, dict) or _CDRRM[0][0] not in value:
        return None
    found = []
    for key, kind, names in _CDRRM:
        items = value.get(key, [])
        for item in items if isinstance(items, list) else [None]:
            fields = item if isinstance(item, dict) else {names[0]: item}
            text = next((fields[name] for name in names if name in fields), None)
            if not isinstance(text, str) or not text.strip():
                return None
            weight, choices = fields.get("weight"), fields.get("choices", [])
            if not (weight is None or _is_number(weight)) or not isinstance(choices, list):
                return None
            said = {
                name: fields[own] for name, own in _CDRRM_TEXTS.items() if isinstance(fields.get(own), str)
            }
            veto = fields.get("veto") is True
            found.append(Criterion(kind, text, weight, choices=tuple(map(str, choices)), veto=veto, **said))
    return tuple(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _cdrrm_json(criterion: Criterion, named: str) -> dict[str, Any]:
    """Return a criterion as CDRRM's writer learns it, with what else ours may say."""
    texts = {own: getattr(criterion, name) for name, own in _CDRRM_TEXTS.items()}
    more = {
        "weight": criterion.weight,
        "choices": list(criterion.choices) or None,
        "veto": criterion.veto or None,
    }
    said = {"type": texts.pop("type"), named: criterion.text, **texts, **more}
    return {key: value for key, value in said.items() if value is not None}


def _notes(criterion: Criterion) -> str:
    """Return what stands in parentheses after a criterion, with the blank before it."""
    c, notes = criterion, []
    if c.weight is not None:
        short = f"{c.weight:g}"
        notes.append(f"weight {short if float(short) == c.weight else repr(float(c.weight))}")
    notes += ["veto"] if c.veto else []
    notes += [
        f"{key} {_quoted(text)}" for key in ("name", "category") if (text := getattr(c, key)) is not None
    ]
    notes += ["choices " + " < ".join(map(_quoted, c.choices))] if c.choices else []
    return f" ({', '.join(notes)})" if notes else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _guard(text: str) -> str:
    """Return empty parentheses for a text that ends with some of its own, which must not be read as notes."""
    return " ()" if _NOTED.fullmatch(text) else ""


def _read_lines(lines: list[str]) -> tuple[Criterion, ...] | None:
    lines = lines[1:] if lines[:1] == [_BANNER] else lines
    if not lines or any(line.endswith(_PLACEHOLDER) for line in lines):
        return None
    found = list(_headed(lines) if _HEADING.fullmatch(lines[0]) else map(_tagged, lines))
    return None if None in found else tuple(criterion for criterion in found if criterion is not None)


def _headed(lines: list[str]) -> Iterator[Criterion | None]:
    """Yield the criteria of headed lists, None for what is none or a second list under one heading."""
    left, kind = dict(_HEADED), None
    for line in lines:
        heading = _HEADING.fullmatch(line)
        lead = _LEAD.match(line)
        if heading is not None:
            name = heading[1].lower()
            if name not in left:
                yield None
                return
            kind = left.pop(name)
        elif lead is not None and lead.end() < len(line):
            noted = _NOTED.fullmatch(line, lead.end())
            yield (
                _criterion(kind, noted[1], noted[2]) if noted else _criterion(kind, line[lead.end() :], None)
            )
        elif line != "None":
            yield None


def _tagged(line: str) -> Criterion | None:
    lead = _LEAD.match(line)
    found = _TAGGED.fullmatch(line, lead.end()) if lead else None
    if found is None or not found[1].strip() or found[2].lower() not in _KINDS:
        return None
    return _criterion(_KINDS[found[2].lower()], found[1], found[3])


def _criterion(kind: CriterionKind | None, text: str, notes: str | None) -> Criterion | None:
    said: dict[str, Any] = {}
    try:
        for note in re.finditer(_NOTE, notes or ""):
            key, _, value = note[0].partition(" ")
            strings = [json.loads(quoted) for quoted in re.findall(_STRING, value)]
            match key:
                case "weight":
                    said["weight"] = float(value)
                case "veto":
                    said["veto"] = True
                case "choices":
                    said["choices"] = tuple(strings)
                case name:
                    said[name] = strings[0]
    except ValueError:
        return None
    return Criterion(kind, text, **said) if math.isfinite(said.get("weight", 0.0)) else None
