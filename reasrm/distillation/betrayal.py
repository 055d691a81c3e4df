"""Does a judgment give away that its writer had been told the verdict?

A repaired trace that says "the correct verdict is A, as stated" teaches the student to speak of what it will never
see. The check is strict on purpose: a good trace lost costs a call, a bad one kept costs the student. It knows English;
other languages need patterns of their own.

Quotations of the row's own texts do not count: what stands in quotation marks, back ticks, a Markdown quote or a
`quote` tag, and occurs word for word in the prompt, a response, the rubric, the principle or the reference. Quotation
marks around anything else protect nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from reasrm.protocol.parsing import normalise
from reasrm.records import Comparison

__all__ = ["PATTERNS", "find_betrayal", "own_texts"]

_VERDICT = r"(?:verdict|decision|label|judge?ment|winner|ruling)s?"
_STATED = r"(?:given|provided|stated|supplied|known|settled|pre-?determined|assigned|specified|established)"
_KNOWN = (
    rf"(?:{_STATED}|correct|right|true|actual|expected|required|intended|desired|target|reference|gold(?:en)?"
    r"|official|instructed|human)"
)
_I_WAS = r"\b(?:i|we)(?: was| were| am| are| have been| had been|'ve been|'m|'re) (?:already |also )?"
_SIDE = r"(?:response|chatbot|output|assistant|answer|candidate|first|second|one)"
PATTERNS: dict[str, str] = {
    "known verdict": rf"\b{_KNOWN} (?:final |overall )?{_VERDICT}\b"
    rf"|\b{_STATED} (?:final |overall )?(?:outcome|conclusion|result)s?\b"
    r"|\b(?:human|annotators?'?|gold|known|stated|settled) preference\b",
    "ground truth": r"\bground[- ]truths?\b",
    "label": r"\b(?:gold|human|preference|true|dataset|annotat(?:ed|ion|or)) labels?\b"
    r"|\bthe label (?:is|was|says|said|states|indicates|shows|tells|given|provided)\b"
    r"|\b(?:according to|per|following) the label\b",
    "given answer": r"\b(?:given|told|predetermined|known) answers?\b|\b(?:answer|solution) key\b",
    "earlier judgment": r"\b(?:previous|prior|earlier|preceding|original|initial|rejected|flawed|mistaken|wrong"
    r"|incorrect|other) (?:judge?ments?|verdicts?|judges?|traces?|rulings?)\b"
    r"|\b(?:previous|prior|earlier|preceding) (?:evaluation|assessment|analysis|critique|evaluator|reviewer)s?\b"
    r"|\bjudged (?:it |this |them |the matter )?(?:before|earlier|previously)\b",
    "was told": rf"{_I_WAS}(?:told|informed|advised|notified|tipped)\b"
    r"|\b(?:told|informed|advised|instructed) (?:me|us) (?:that )?(?:\w+ ){0,5}"
    r"(?:better|best|correct|right|winner|wins)\b"
    rf"|\b(?:told|informed|advised|instructed) that (?:the )?(?:{_VERDICT}|{_SIDE})\b"
    r"|\bas (?:told|instructed|informed) (?:above|beforehand|in advance|in the note)\b",
    "asked to justify": rf"{_I_WAS}(?:asked|instructed|required|supposed|expected|meant) to "
    r"(?:justify|defend|support|argue|reach|arrive|conclude|prefer|choose|pick|side|favou?r|explain why)\b"
    r"|\b(?:i|we) (?:must|have to|need to) (?:justify|defend|argue) (?:why|that|for)\b"
    r"|\b(?:supposed|expected|meant) to (?:win|lose|be (?:the )?(?:better|best|winner|preferred|worse))\b",
    "settled beforehand": rf"\b{_VERDICT} (?:is|was|has been|had been|being) (?:already )?"
    r"(?:known|given|provided|settled|told|fixed|pre-?determined|supplied|specified)\b"
    r"|\b(?:known|decided|settled|determined) (?:beforehand|in advance)\b"
    r"|\b(?:as|since|because|given that)(?: it| this| that)?(?: is| was| has been)? (?:already )?settled\b"
    r"|\b(?:settled|established|determined|stated|known|know|knowing) (?:that|to be) (?:[\w']+ ){0,5}"
    r"(?:better|best|winner|wins|preferred)\b",
    "the note": r"\b(?:the|this|that) (?:note|hint) (?:to the judge|says?|states?|tells?|indicates?|said)\b"
    r"|\bnote to the judge\b|\b(?:according to|per|following|(?:noted|stated|said|told) in) the (?:note|hint)\b",
}
"""Name → regular expression over text in lower case, white space single, emphasis removed, apostrophes straight."""

# No alternative reaches over a second opening mark: linear also where a text opens and never closes.
_QUOTING = re.compile(
    r"<(quote[\w-]*)>((?:(?!<quote).)*?)</\1>|“([^“”]*)”|«([^«»]*)»|„([^„“”]*)[“”]|```(.*?)```|`([^`\n]*)`",
    re.DOTALL | re.IGNORECASE,
)
_QUOTED_LINE = re.compile(r"^[ \t]*>(.*)$", re.MULTILINE)


def own_texts(row: Comparison) -> tuple[str, ...]:
    """Return all texts that a judge of the row may quote."""
    rubric = None if row.rubric is None else row.rubric.render()
    texts = [*(turn.content for turn in row.prompt), row.response_a, row.response_b]
    return (*texts, *(text for text in (rubric, row.principle, row.reference) if text is not None))


def find_betrayal(text: str, texts: Iterable[str], extra: Sequence[str] = ()) -> str | None:
    """Return the phrase by which a judgment betrays that its writer had been told, or None.

    Args:
        text: The judgment, thinking included if the student learns it.
        texts: What the judgment may quote.
        extra: More regular expressions.
    """
    plain = _fold(_without_quotes(normalise(text), [_fold(normalise(own)) for own in texts]))
    for pattern in (*PATTERNS.values(), *extra):
        found = _compile(pattern).search(plain)
        if found:
            return found.group()
    return None


@lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _fold(text: str) -> str:
    """Lower case, no emphasis, one kind of apostrophe and hyphen, single spaces."""
    text = re.sub(r"[*_`]+", "", text).replace("’", "'")
    return " ".join(re.sub(r"[\u2010-\u2014]", "-", text).casefold().split())


def _without_quotes(text: str, texts: Sequence[str]) -> str:
    """Take out what is marked as a quotation and is one."""

    def is_quotation(words: str) -> bool:
        words = _fold(words).strip(" .,;:!?…")
        return bool(words) and any(words in own for own in texts)

    def replace(match: re.Match[str]) -> str:
        words = next((group for group in match.groups()[1:] if group is not None), "")
        return " … " if is_quotation(words) else match.group()

    text = _QUOTING.sub(replace, text)
    text = _QUOTED_LINE.sub(lambda match: " … " if is_quotation(match.group(1)) else match.group(), text)
    pieces = text.split(
        '"'
    )  # straight marks do not say whether they open or close: try every piece between two
    inner = [" … " if is_quotation(piece) else piece for piece in pieces[1:-1]]
    return '"'.join([pieces[0], *inner, *pieces[-1:]]) if len(pieces) > 1 else text
