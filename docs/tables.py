"""Writes the tables of these pages that say what the code holds: `python docs/tables.py`.

A table stands between `<!-- NAME: … -->` and `<!-- end -->`; a test compares. What it says stands beside the code:
in the docstring of a reward part, in the fields of a source, suite or similarity, in a spec's description.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from reasrm.metrics.suites import SUITES
from reasrm.protocol.spec import JudgeSpec, builtin_specs, load_spec
from reasrm.rewards.base import RewardPart
from reasrm.rewards.parts import PARTS
from reasrm.scorers.similarities import SIMILARITIES, get_similarity
from reasrm.sources import SOURCES

FOLDER = Path(__file__).parent
BLOCK = re.compile(r"(<!-- (\w+): [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fields(part: type[RewardPart]) -> dict[str, str]:
    """What the docstrings of a part and of the classes it is made of say of its fields."""
    said: dict[str, str] = {}
    for base in part.__mro__:
        if issubclass(base, RewardPart) and base is not RewardPart:
            _, _, listed = inspect.getdoc(base).partition("\nArgs:\n")
            for name, text in re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", listed, re.MULTILINE):
                said.setdefault(name, " ".join(text.split()))
    return said


def default(part: type[RewardPart], name: str) -> str:
    """The default of a field, as a config would say it."""
    field = part.model_fields[name]
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    value = list(value) if isinstance(value, tuple) else value
    shown = (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=200)
        .split("\n...")[0]
        .strip()
    )
    return f"`{shown}`"


def parts() -> str:
    """One section per part: what its docstring says, then its fields."""
    sections = []
    for part in sorted(PARTS, key=lambda part: part.model_fields["kind"].default):
        said = inspect.getdoc(part).partition("\nArgs:\n")[0]
        paragraphs = [" ".join(text.split()) for text in re.split(r"\n\n|\n(?=[a-z]+: )", said.strip())]
        lines = [
            f"- {text}" if re.match(r"(formula|source|abstains): ", text) else text for text in paragraphs
        ]
        section = "\n\n".join([f"### `{part.model_fields['kind'].default}`", *lines]).replace(
            "\n\n- ", "\n- "
        )
        section = section.replace("\n- formula", "\n\n- formula")
        about = fields(part)
        own = [name for name in part.model_fields if name not in ("kind", "weight")]
        rows = [[f"`{name}`", default(part, name), about[name]] for name in own]
        sections.append(section + ("\n\n" + table(["field", "default", ""], rows) if rows else ""))
    return "\n\n".join(sections)


def sources() -> str:
    """The generic ones first."""
    rows = [
        [f"`{source.name}`", source.becomes] for source in sorted(SOURCES, key=lambda source: -source.generic)
    ]
    return table(["source", "rows become"], rows)


def suites() -> str:
    """What is scored and how."""
    rules = {"wrong": "wrong", "half": "half", "exclude": "left out", "null_vote": "a null vote"}
    rows = []
    for suite in SUITES:
        policy = {"unreadable": suite.policy.unparsed, "tie": suite.policy.tie, "split": suite.policy.split}
        counted = ", ".join(f"{name} {rules[rule]}" for name, rule in policy.items())
        rows.append([f"`{suite.name}`", suite.about, counted, f"`{suite.default_spec}`"])
    return table(["suite", "official score", "default policy", "default spec"], rows)


def verdict(spec: JudgeSpec) -> str:
    """The literals that a spec's verdicts are written in."""
    grammar: Any = spec.grammar
    if grammar.kind == "ranking":
        return f'`{{"{grammar.scores_key}": …, "{grammar.ranking_key}": …}}`'
    opening, tag = getattr(grammar, "open", ""), getattr(grammar, "tag", None)
    marks = {*grammar.thinking_start, *grammar.thinking_end}
    words = [word for word in spec.structural if word.startswith(opening) and word not in marks]
    shown = [f"`<{tag}>{word}</{tag}>`" if tag else f"`{word}`" for word in words if word[0] != "<"]
    return ", ".join(shown if len(shown) < 4 else [shown[0], "…", shown[-1]])


def specs() -> str:
    """What is asked and read."""
    known = [load_spec(name) for name in builtin_specs()]
    rows = [
        [f"`{spec.name}`", spec.protocol, spec.description.removesuffix("."), verdict(spec)] for spec in known
    ]
    return table(["spec", "protocol", "asks for", "verdict"], rows)


def similarities() -> str:
    """What compares texts."""
    known = {name: get_similarity(name) for name in SIMILARITIES}
    rows = [[f"`{name}`", kind.about, kind.source] for name, kind in known.items()]
    return table(["`similarity`", "what it is", "source"], rows)


TABLES: dict[str, Callable[[], str]] = {
    made.__name__: made for made in (parts, sources, suites, specs, similarities)
}


def filled(page: str) -> str:
    """Return a page with its tables as they should be."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{TABLES[block[2]]()}\n\n{block[3]}", page)


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
