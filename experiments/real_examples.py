"""Examples of real critiques for a page: texts, arguments, matches and scores that a person can disagree with.

Drawn by a seed; those chosen as extremes say so. Texts are quoted, shortened, where their licence allows it, else
only the first words of an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.real_measures import Finding, Measure
from experiments.real_texts import Item, TextSet, Written
from reasrm.critiques import CritiqueScores, favoured_side, score_critique
from reasrm.hashing import derive_seed
from reasrm.records import CoreArgument

__all__ = ["EXAMPLES", "examples"]

_DRAWN, _FINDINGS = 4, 2
_TEXT, _ARGUMENT, _SNIPPET = 420, 150, 6
_MARKS = re.compile(r"([\\`*_\[\]<>|#$])")
EXAMPLES = """Four rows are drawn by a seed, then extremes are chosen (lowest and highest F1 between repeats; for
one text a row, the one with most arguments), and up to two are drawn from each kind of finding above. `A+ …` argues
for A, `A- …` against; `!` marks a fatal error. Sides are the row's own, in both orders. `1↔2 0.60` means that the
first argument of one text was matched with the second of the other, and how alike the first similarity of the table
finds them. Extremes and findings show what can go wrong, not how often; errors of the rules are among them.
"""


def examples(texts: TextSet, found: Mapping[str, Any], measure: Measure) -> str:
    """Return drawn, extreme and telling items of a set as Markdown."""
    items = [item for item in texts.items if any(text.arguments for text in item.texts)]
    drawn = sorted(items, key=lambda item: derive_seed("example", item.id))[:_DRAWN]
    blocks = [_example(texts, item, measure, "drawn") for item in drawn]
    blocks += [_example(texts, item, measure, why) for why, item in _extremes(items, measure)]
    for kind, name in (
        ("own critique", "right verdict, own critique for the other"),
        ("other order", "right verdict, the other order's critique for the other"),
    ):
        for shares in list(found["inconsistent"].values())[:1]:
            findings: Sequence[Finding] = sorted(
                shares[kind].findings, key=lambda finding: derive_seed("finding", finding.item.id)
            )
            blocks += [
                _example(texts, finding.item, measure, f"drawn from: {name}")
                for finding in findings[:_FINDINGS]
            ]
    return f"### {texts.name}\n\n" + "\n".join(blocks)


def _extremes(items: Sequence[Item], measure: Measure) -> Iterator[tuple[str, Item]]:
    """Yield the items whose first two texts agree least and most, of those with three arguments in both."""
    scored = [
        (_score(item.texts[0], item.texts[1], measure).f1, item)
        for item in items
        if len(item.texts) > 1 and min(len(text.arguments) for text in item.texts[:2]) > 2
    ]
    if scored:
        ranked = sorted(scored, key=lambda pair: (pair[0], pair[1].id))
        yield "chosen: lowest F1 of those with three arguments in both texts", ranked[0][1]
        yield "chosen: highest F1 of those with three arguments in both texts", ranked[-1][1]
        return
    ranked_single = sorted(items, key=lambda item: (-len(item.texts[0].arguments), item.id))
    yield "chosen: most arguments", ranked_single[0]


def _score(one: Written, two: Written, measure: Measure) -> CritiqueScores:
    return score_critique(one.arguments, two.arguments, measure[0], threshold=measure[1], fatal_rule=False)


def _example(texts: TextSet, item: Item, measure: Measure, why: str) -> str:
    label = f", label {item.target}" if item.target else ""
    lines = [f"**{item.id[:12]}**{label} ({why})\n"]
    for n, text in enumerate(item.texts[:2], 1):
        said = f"verdict {text.verdict}" if text.score is None else f"score {text.score}"
        leans = favoured_side(text.arguments) or "neither"
        lean = "" if text.score is not None else f", arguments for {leans}"
        order = f"order {text.order}, " if len(item.texts) > 1 and text.score is None else ""
        quoted = (
            f" {_quote(text.text, _TEXT)}"
            if texts.quotable
            else f" ({len(text.text.split())} words, not quoted)"
        )
        lines.append(f"- text {n} ({order}{said}{lean}):{quoted}")
        lines += [
            f"    {k}. {_argument(argument, texts.quotable)}" for k, argument in enumerate(text.arguments, 1)
        ]
    if len(item.texts) > 1 and all(text.arguments for text in item.texts[:2]):
        score = _score(item.texts[0], item.texts[1], measure)
        pairs = ", ".join(f"{m.generated + 1}↔{m.reference + 1} {m.similarity:.2f}" for m in score.matches)
        lines.append(
            f"- matched: {pairs or 'nothing'}; F1 {score.f1:.2f}, AP {score.average_precision:.2f}, "
            f"soft recall {score.soft_recall:.2f}"
        )
    return "\n".join(lines) + "\n"


def _argument(argument: CoreArgument, quotable: bool) -> str:
    sign = "+" if argument.stance == "for" else "-"
    words = argument.text.split()
    snippet = " ".join(words[:_SNIPPET]) + (" …" if len(words) > _SNIPPET else "")
    text = _quote(argument.text, _ARGUMENT) if quotable else _quote(snippet, _ARGUMENT)
    return f"`{argument.about}{sign}{'!' if argument.fatal else ''}` {text}"


def _quote(text: str, most: int) -> str:
    """Return a text on one line, shortened, with nothing in it that Markdown would read."""
    flat = " ".join(text.split())
    return _MARKS.sub(r"\\\1", flat if len(flat) <= most else flat[:most].rsplit(" ", 1)[0] + " …")
