"""The one way to read a verdict: a completion in, a `Judgment` out, in the order that was shown.

Strict reading, the default everywhere:

1. A completion that the backend cut (`length`), refused (`too_long`) or failed (`error`) has no verdict.
2. Only what follows the thinking is read (`thinking` says where that ends); thinking that never ends leaves nothing.
3. Text is compared after NFKC and without invisible format characters, so full-width brackets and zero-width joins
   neither hide nor forge a verdict. Case and Markdown emphasis around a menu word do not matter.
4. What stands inside a section (rubric, evaluation, quotes) cannot speak: the verdict position begins after the last
   closing section tag and ends where a section opens again.
5. The verdict position must hold exactly one distinct verdict of the menu: none is `no_verdict`, two different ones
   are `ambiguous`, a word that is not on the menu is `off_menu`.
6. A verdict phrase must be a clause of its own; denied, doubted or asked it is none (`clauses` says when it is).

`policy="upstream"` reads as the script of the spec's own suite reads, where that differs, faults included.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Literal, NamedTuple, assert_never

from reasrm.errors import ConfigError
from reasrm.protocol.clauses import find_phrases
from reasrm.protocol.denials import TAKEN_BACK, is_taken_back
from reasrm.protocol.grammar import (
    Grammar,
    MarkedGrammar,
    MenuEntry,
    PhraseGrammar,
    RankingGrammar,
    RubricGrammar,
    ScoreGrammar,
    fold_word,
)
from reasrm.protocol.ranking import read_ranking
from reasrm.protocol.rubric_lists import read_rubric
from reasrm.protocol.spec import JudgeSpec
from reasrm.protocol.thinking import after_thinking, any_of, begins_with_thinking
from reasrm.protocol.upstream import read_upstream, upstream_rule
from reasrm.records import Credited, Judgment, ParseStatus, Verdict
from reasrm.requests import Completion

__all__ = ["ParsingMode", "normalise", "parse"]

ParsingMode = Literal["strict", "upstream"]
_CUT = {
    "length": (ParseStatus.TRUNCATED, "cut at the token limit"),
    "content_filter": (ParseStatus.NO_VERDICT, "withheld by the endpoint's content filter"),
    "too_long": (ParseStatus.TOO_LONG, "the prompt does not fit"),
    "error": (ParseStatus.ERROR, "the call failed"),
}
_BEFORE = " \t\r\n*_`'\":;!("  # no "." or ",": ".5" is not 5
_AFTER = " \t\r\n*_`'\".:;,!()"
# Short and with a letter or operator, but no list, number, quote or code: "D" and "A/B" are, "1, 2" is not.
_LOOKS_LIKE_A_WORD = re.compile(r"(?=.*[^\W\d_]|[<>=])[^\d,;(){}$'\"-]{1,8}")
_TAG_NAME = re.compile(r"[A-Za-z_]\w*")
# Drawn as nothing though not of category Cf: joiners, fillers, variation selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5").union(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)


def parse(
    spec: JudgeSpec, completion: Completion, *, policy: ParsingMode = "strict", num_candidates: int = 2
) -> Judgment:
    """Read one completion.

    Args:
        spec: How the judge was asked.
        completion: What it answered. A replayed decision or replayed scores are taken as they are.
        policy: `strict`, or `upstream` for the reading of the suite's own script.
        num_candidates: Candidates shown to a listwise judge.

    Returns:
        A judgment in the order shown. `verdict`, `score` and `ranking` are set only with status `OK`.

    Raises:
        ConfigError: `policy="upstream"` with a spec that names no upstream reading.
    """
    base = Judgment(
        status=ParseStatus.NO_VERDICT,
        text=completion.text,
        reasoning=completion.reasoning,
        num_tokens=completion.num_tokens,
        finish_reason=completion.finish_reason,
        thinking_open=completion.thinking_open,
        credited=completion.credited,
    )
    grammar = spec.grammar
    if policy == "upstream" and upstream_rule(grammar) is None:
        raise ConfigError(
            f"spec {spec.name!r} names no upstream reading", remedy="leave out --verdict-policy upstream"
        )
    if policy == "upstream" and completion.credited is not None:
        return _admit(spec, _as_credited(base, completion.credited))
    if spec.protocol == "rubric" and (completion.decision is not None or completion.scores is not None):
        return replace(base, detail="a recorded verdict is no rubric")
    if completion.decision is not None:
        return _admit(spec, replace(base, status=ParseStatus.OK, verdict=completion.decision))
    if completion.scores is not None:
        return _admit(spec, _from_scores(base, completion.scores, listwise=spec.protocol == "listwise"))
    if completion.finish_reason in _CUT:
        status, detail = _CUT[completion.finish_reason]
        return replace(base, status=status, detail=completion.error or detail)
    if not completion.text.strip():
        return replace(base, detail=completion.error or "the completion is empty")
    normal = normalise(completion.text)
    answer, written = after_thinking(grammar, normal, thinking_open=completion.thinking_open), ""
    if answer is not None:
        disguised = begins_with_thinking(grammar, normal) and not begins_with_thinking(
            grammar, completion.text
        )
        inside = completion.thinking_open or disguised
        written = after_thinking(grammar, completion.text, thinking_open=inside) or ""
        base = replace(
            base,
            critique=_section(grammar, grammar.critique, written),
            rubric=_section(grammar, grammar.rubric, written),
        )
    if policy == "upstream":
        return _admit(spec, read_upstream(grammar, base))
    if answer is None:
        opened = "the prompt opened the thinking, and it" if completion.thinking_open else "the thinking"
        return replace(base, detail=f"{opened} never ends")
    if isinstance(grammar, RubricGrammar):  # a text to be kept as it was written
        answer = written
    return _admit(spec, _read(grammar, answer, base, num_candidates))


def normalise(text: str) -> str:
    """Return the text as verdicts are compared: NFKC, without invisible characters (zero-width, bidi)."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    hidden = {ord(c): None for c in set(folded) if c in _INVISIBLE or unicodedata.category(c) == "Cf"}
    return folded.translate(hidden)


def _read(grammar: Grammar, answer: str, base: Judgment, num_candidates: int) -> Judgment:
    match grammar:
        case MarkedGrammar():
            return _read_marked(grammar, answer, base)
        case PhraseGrammar():
            return _read_phrases(grammar, answer, base)
        case ScoreGrammar():
            return _read_score(grammar, answer, base)
        case RankingGrammar():
            return read_ranking(grammar, answer, base, num_candidates)
        case RubricGrammar():
            return read_rubric(grammar, _outside_sections(grammar.sections, answer), base)
        case _:
            assert_never(grammar)


def _admit(spec: JudgeSpec, judgment: Judgment) -> Judgment:
    """Turn a verdict that this spec does not allow (a tie, say) into `off_menu`."""
    if judgment.verdict is None or judgment.verdict.winner in spec.allowed_verdicts:
        return judgment
    detail = f"the verdict {judgment.verdict.winner!r} is not allowed here"
    return replace(judgment, status=ParseStatus.OFF_MENU, verdict=None, detail=detail)


def _as_credited(base: Judgment, credited: Credited) -> Judgment:
    """Take a recorded text for what its suite's own script took it for."""
    if credited == "none":
        return replace(base, detail="the suite's script found no verdict")
    return replace(base, status=ParseStatus.OK, verdict=Verdict(credited))


def _from_scores(base: Judgment, scores: tuple[float, ...], *, listwise: bool) -> Judgment:
    """One score is a pointwise judgment; two become a verdict, equal ones a tie; a list becomes a ranking."""
    if any(math.isnan(score) for score in scores) or not scores:
        return replace(base, detail=f"the scores {scores} cannot be compared")
    judged = replace(base, status=ParseStatus.OK, scores=scores)
    if len(scores) == 1 and not listwise:
        return replace(judged, score=scores[0])
    if len(scores) == 2 and not listwise:
        first, second = scores
        return replace(judged, verdict=Verdict("A" if first > second else "B" if second > first else "tie"))
    return replace(judged, ranking=tuple(sorted(range(len(scores)), key=lambda n: -scores[n])))


def _outside_sections(sections: tuple[str, ...], text: str) -> str:
    """Return what follows the last closing section tag, up to where a section opens again."""
    closing = any_of(tuple(f"</{name}>" for name in sections))
    text = text[max((m.end() for m in closing.finditer(text)), default=0) :]
    opening = any_of(tuple(f"<{name}>" for name in sections)).search(text)
    return text if opening is None else text[: opening.start()]


class _Mark(NamedTuple):
    """A word between the grammar's literals, and where in the verdict position the whole of it stands."""

    word: str
    start: int
    end: int


def _contents(tag: str, text: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return where the content of every `<tag>…</tag>` stands, and of every `<tag>` opened anew or never closed."""
    closing = any_of((f"</{tag}>",))
    openings = [match.span() for match in any_of((f"<{tag}>",)).finditer(text)]
    closed: list[tuple[int, int]] = []
    unclosed: list[tuple[int, int]] = []
    for (_, start), (until, _) in pairwise([*openings, (len(text), 0)]):
        end = closing.search(text, start, until)
        (unclosed if end is None else closed).append((start, until if end is None else end.start()))
    return closed, unclosed


def _marks(
    grammar: MarkedGrammar | ScoreGrammar, text: str, place: tuple[int, int] | None = None
) -> list[_Mark]:
    """Return what stands between the grammar's open and close literals, in all of a text or in one place of it."""
    start = "[*_`]*".join(map(re.escape, grammar.open))  # `**Winner**:` is `Winner:`
    if grammar.line_start:
        start = rf"(?:^|\n)[ \t>*#_-]*{start}"
    rest = r"([^\n]*)" if grammar.close == "\n" else rf"([^\n\[\]]{{0,80}}?){re.escape(grammar.close)}"
    begin, end = place or (0, len(text))
    found = re.finditer(start + rest, text[begin:end], re.IGNORECASE)
    return [
        _Mark(m[1].lstrip(_BEFORE).rstrip(_AFTER), begin + m.end() - len(m[0].lstrip()), begin + m.end())
        for m in found
    ]


def _unless_taken_back(
    judgment: Judgment, text: str, places: Iterable[tuple[int, int]], tag: str | None
) -> Judgment:
    """Return a judgment that was read, or that its verdict was only denied, asked or somebody else's."""
    if judgment.status is not ParseStatus.OK:
        return judgment
    if tag is not None:
        text = any_of((f"<{tag}>", f"</{tag}>")).sub(lambda found: " " * len(found[0]), text)
    if not all(is_taken_back(text, start, end) for start, end in places):
        return judgment
    return replace(judgment, status=ParseStatus.NO_VERDICT, verdict=None, score=None, detail=TAKEN_BACK)


def _distinct(base: Judgment, verdicts: Iterable[Verdict], missing: str) -> Judgment:
    """Settle on the only verdict there is."""
    found = list(dict.fromkeys(verdicts))
    if not found:
        return replace(base, status=ParseStatus.NO_VERDICT, detail=missing)
    if len(found) > 1:
        names = ", ".join(
            f"{v.winner}" + (f" ({v.strength})" if v.strength is not None else "") for v in found
        )
        return replace(base, status=ParseStatus.AMBIGUOUS, detail=f"speaks for several verdicts: {names}")
    return replace(base, status=ParseStatus.OK, verdict=found[0])


def _read_marked(grammar: MarkedGrammar, answer: str, base: Judgment) -> Judgment:
    if grammar.heading is not None:
        _, heading, answer = answer.rpartition(grammar.heading)
        if not heading:
            return replace(base, detail=f"the heading {grammar.heading!r} is missing")
    text = _outside_sections(grammar.sections, answer)
    menu = {fold_word(word): entry.verdict() for word, entry in grammar.menu.items()}
    if grammar.tag is None:
        marks = _marks(grammar, text)
    else:
        closed, unclosed = _contents(grammar.tag, text)
        if not closed:
            return replace(base, detail=f"no complete <{grammar.tag}> in the verdict position")
        marks = [mark for place in closed for mark in _marks(grammar, text, place)]
        if not marks:
            return replace(base, status=ParseStatus.OFF_MENU, detail=f"<{grammar.tag}> holds no menu word")
        marks += [mark for place in unclosed for mark in _marks(grammar, text, place)]
    strange = [mark.word for mark in marks if fold_word(mark.word) not in menu]
    if grammar.tag is None:
        strange = [word for word in strange if _LOOKS_LIKE_A_WORD.fullmatch(word) or grammar.close == "\n"]
    known = [mark for mark in marks if fold_word(mark.word) in menu]
    if strange and known:
        return replace(
            base, status=ParseStatus.AMBIGUOUS, detail=f"also says {strange[0]!r}, which is not on the menu"
        )
    if strange:
        return replace(base, status=ParseStatus.OFF_MENU, detail=f"{strange[0]!r} is not on the menu")
    verdicts = (menu[fold_word(mark.word)] for mark in known)
    judgment = _distinct(base, verdicts, "no verdict in the verdict position")
    return _unless_taken_back(judgment, text, (mark[1:] for mark in known), grammar.tag)


def _read_phrases(grammar: PhraseGrammar, answer: str, base: Judgment) -> Judgment:
    answer = _outside_sections(grammar.sections, answer)
    whole: Mapping[str, MenuEntry] = {fold_word(phrase): entry for phrase, entry in grammar.whole.items()}
    only = whole.get(fold_word(answer.strip().rstrip(".")))
    if only is not None:
        return replace(base, status=ParseStatus.OK, verdict=only.verdict())
    found, said = find_phrases(grammar.phrases, answer)
    judgment = _distinct(
        base, (grammar.phrases[phrase].verdict() for phrase in found), "none of the verdict phrases is there"
    )
    if judgment.status is ParseStatus.OK and not said:
        detail = f"{found[0]!r} is not said as a clause of its own"
        return replace(base, status=ParseStatus.NO_VERDICT, detail=detail)
    return judgment


def _read_score(grammar: ScoreGrammar, answer: str, base: Judgment) -> Judgment:
    text = _outside_sections(grammar.sections, answer)
    marks = _marks(grammar, text)
    if not marks:
        return replace(base, detail="no score in the verdict position")
    scores: list[float] = []
    for word, _, _ in marks:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?", word):
            return replace(base, status=ParseStatus.OFF_MENU, detail=f"{word[:40]!r} is not a number")
        score = float(word)
        if not grammar.minimum <= score <= grammar.maximum or (grammar.integer and not score.is_integer()):
            allowed = f"{grammar.minimum:g} to {grammar.maximum:g}" + (", whole" if grammar.integer else "")
            return replace(base, status=ParseStatus.OFF_MENU, detail=f"{word} is not in {allowed}")
        scores.append(score)
    if len(set(scores)) > 1:
        return replace(
            base, status=ParseStatus.AMBIGUOUS, detail=f"gives several scores: {sorted(set(scores))}"
        )
    judgment = replace(base, status=ParseStatus.OK, score=scores[0])
    return _unless_taken_back(judgment, text, (mark[1:] for mark in marks), None)


def _section(grammar: Grammar, name: str | None, text: str) -> str | None:
    """Return the text of a section: of a tag from its first opening to its last closing, or of a heading."""
    if name is None:
        return None
    if _TAG_NAME.fullmatch(name):
        opening = any_of((f"<{name}>",)).search(text)
        if opening is None:
            return None
        closings = list(any_of((f"</{name}>",)).finditer(text, opening.end()))
        return text[opening.end() : closings[-1].start()].strip() if closings else None
    _, heading, rest = text.partition(name)
    if not heading:
        return None
    end = getattr(grammar, "heading", None)
    if end is not None:
        return rest.partition(end)[0].strip()
    before, mark, after = rest.rpartition(getattr(grammar, "open", "\n"))
    return (before if mark else after).strip()
