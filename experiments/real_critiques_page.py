"""The page of `real_critiques.py`: tables, and the examples of `real_examples`.

What a person judged and wrote lies beside this file: which of a drawn sample of arguments are right
(`real_critiques_hand.json`, by key) and a reading of the results (`real_critiques_notes.md`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import markdown
from experiments.real_examples import EXAMPLES, examples
from experiments.real_measures import LEAST_F1, Measure, Share
from experiments.real_texts import TextSet, Written
from reasrm.files import replacing
from reasrm.hashing import digest
from reasrm.metrics.intervals import Estimate, wilson
from reasrm.records import CoreArgument

__all__ = ["hand_sample", "write_page"]

_BESIDE = Path(__file__).parent
_SAMPLE = 30
Results = Mapping[str, Mapping[str, Any]]


def write_page(path: Path, sets: Sequence[TextSet], found: Results, measures: Mapping[str, Measure]) -> None:
    """Write the page."""
    first = next(iter(measures.values()))
    parts = [
        _HEAD,
        _texts(sets, found),
        _by_hand(sets),
        _agreement(sets, found),
        _validity(sets, found),
        _inconsistency(sets, found),
        (_BESIDE / "real_critiques_notes.md").read_text(),
        "## Examples\n\n" + EXAMPLES,
        *(examples(texts, found[texts.name], first) for texts in sets),
    ]
    with replacing(path) as stream:
        stream.write("\n".join(parts).encode())


_HEAD = """# Critiques of real judges: extraction, matching, scores

Written by `make critiques-page` from recorded texts; do not edit: it is written anew. What was judged by hand and
what a person concluded stands in `experiments/real_critiques_hand.json` and `real_critiques_notes.md`.

**The texts compared here are repeats of one judge, not critiques of two people.** F1 between repeats says how far a
judge gives its own reasons again, as far as rules and a similarity of wordings can see it. It is an upper bound of
agreement by wording, and no measure of quality: a judge that is wrong twice in the same words scores 1.

Arguments are read by the rule extractor (`reasrm.critiques`), no model. Brackets hold 95 % intervals: bootstrap
over items, Wilson's for shares judged by hand. Differences are paired by item.
"""


def hand_sample(texts: TextSet, size: int = _SAMPLE) -> list[tuple[str, Written, CoreArgument]]:
    """Return arguments drawn by the hash of what they are: a key, the text, the argument in the row's own order."""
    drawn = [
        (
            digest(["precision", texts.name, item.id, n, argument.about, argument.stance, argument.text]),
            text,
            argument,
        )
        for item in texts.items
        for n, text in enumerate(item.texts)
        for argument in text.arguments
    ]
    return sorted(drawn, key=lambda one: one[0])[:size]


def _texts(sets: Sequence[TextSet], found: Results) -> str:
    rows = []
    for texts in sets:
        n = found[texts.name]["counts"]
        rows.append(
            [
                *(texts.name, texts.judge, texts.repeats, f"{n['items']:,}", f"{n['texts']:,}"),
                f"{n['empty']:,} ({n['empty'] / n['texts']:.0%})",
                f"{n['mean']:.1f} / {n['median']:g} / {n['most']}",
                *(f"{n['for']:.0%}", f"{n['fatal']:.1%}", f"{n['with_fatal']:.0%}"),
            ]
        )
    head = [
        "set",
        "judge",
        "repeats",
        "items",
        "texts",
        "without an argument",
        "arguments a text: mean / median / most",
    ]
    licences = "\n".join(f"- {texts.name}: {texts.licence}." for texts in sets)
    return (
        "## Texts\n\n"
        + markdown.table([*head, "for", "fatal", "texts with a fatal one"], rows)
        + f"\nLicences:\n\n{licences}\n"
    )


def _by_hand(sets: Sequence[TextSet]) -> str:
    judged = json.loads((_BESIDE / "real_critiques_hand.json").read_text())
    rows = []
    for texts in sets:
        labels = (
            [judged[texts.name].get(key) for key, _, _ in hand_sample(texts)] if texts.name in judged else []
        )
        known = [label for label in labels if label is not None]
        if known:
            right = wilson(known.count("right"), len(known))
            others = f"{known.count('stance')} / {known.count('side')} / {known.count('none')}"
            rows.append([texts.name, f"{known.count('right')} of {len(known)}", _share(right), others])
    head = ["set", "right", "precision", "wrong stance / wrong side / no argument"]
    return "## How well the rules read\n\n" + _BY_HAND + "\n" + markdown.table(head, rows)


_BY_HAND = """Thirty extracted arguments of each set, drawn by hash, were read in their context by one annotator,
who also wrote the rules (a language model, at that): right if the text argues this, about this response, with this
stance; a fragment or a sentence about something else is no argument. An argument that later rules do not extract
any more drops out of the count.
"""


def _agreement(sets: Sequence[TextSet], found: Results) -> str:
    rows = []
    for texts in sets:
        for name, table in found[texts.name]["agreement"].items():
            names = ("repeats f1", "another row f1", "coin stances f1", "itself f1")
            cells = [_number(table[column]) for column in names]
            more = [_number(table[f"repeats {score}"]) for score in ("soft_recall", "average_precision")]
            rows.append(
                [texts.name, name, str(table["repeats f1"].n), *cells, _number(table["difference"]), *more]
            )
    head = ["set", "similarity", "items", "F1 of repeats", "another row", "coin stances", "itself"]
    return (
        "## F1 between repeats of one judge\n\n"
        + markdown.table([*head, "repeats - another row", "soft recall", "AP"], rows)
        + "\n*items*: with two texts that have arguments. *coin stances*: of one of the two. PandaLM has one text for\n"
        "each row: no repeats, and its coin is compared with the text itself.\n"
    )


def _validity(sets: Sequence[TextSet], found: Results) -> str:
    rows = [
        [texts.name, name, _number(estimate), str(estimate.n)]
        for texts in sets
        for name, estimate in found[texts.name]["validity"].items()
    ]
    return (
        "## Do the arguments go with what the judge decided\n\n"
        + _VALIDITY
        + "\n"
        + markdown.table(["set", "what", "value", "items"], rows)
    )


_VALIDITY = """*own verdict*: share of texts with a clear verdict whose arguments speak for the response that the
verdict names (`favoured_side`: each argument counts one; balanced ones are left out). *label*: the same against the
label, and *verdict is the label* the verdicts' accuracy on the same texts. For feedback on one response: rank
correlation of (for - against) / all with the judge's own score from 1 to 5.
"""


def _inconsistency(sets: Sequence[TextSet], found: Results) -> str:
    rows = []
    for texts in sets:
        for n, (name, shares) in enumerate(found[texts.name]["inconsistent"].items()):
            if not n:
                rows += [
                    _inconsistent_row(texts, kind, shares[kind]) for kind in ("own critique", "other order")
                ]
            rows.append(_inconsistent_row(texts, f"F1 < {LEAST_F1:g}, {name}", shares["F1"]))
    rows = [row for row in rows if row[2] != "0 of 0"]
    head = [
        "set",
        "right verdict, and",
        "count",
        "share",
        "verdict of the other order: label / tie / other / unreadable",
    ]
    return "## Right verdict, wrong critique\n\n" + _INCONSISTENCY + "\n" + markdown.table(head, rows)


_INCONSISTENCY = """*own critique*: the arguments of the same text speak for the other response. *other order*:
those of the text written with the responses exchanged do. *F1*: the two texts agree by less than the threshold. The
denominator is the right verdicts of which it can be told (the arguments lean to a side; both texts have arguments).
The last column says which verdict the other order's text of a finding gave: where that is the other response, the
critique went with its own verdict and the judge as a whole turned round.
"""


def _inconsistent_row(texts: TextSet, kind: str, share: Share) -> list[str]:
    others = [(finding.item.target, finding.other.verdict) for finding in share.findings if finding.other]
    counted = [
        sum(verdict == target for target, verdict in others),
        sum(verdict == "tie" for _, verdict in others),
        sum(verdict not in (target, "tie", None) for target, verdict in others),
        sum(verdict is None for _, verdict in others),
    ]
    said = " / ".join(map(str, counted)) if others else "-"
    return [texts.name, kind, f"{len(share.findings)} of {share.of}", _share(share.estimate), said]


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    return f"{estimate.value:.2f} [{estimate.ci_low:.2f}, {estimate.ci_high:.2f}]"


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    return f"{estimate.value:.0%} [{estimate.ci_low:.0%}, {estimate.ci_high:.0%}]"
