"""The one way to read a verdict: a completion in, a `Judgment` out, in the order that was shown.

Strict reading, the default everywhere:

1. A completion that the backend cut (`length`), refused (`too_long`) or failed (`error`) has no verdict.
2. Only what follows the last closing think tag is read; thinking that never closes leaves nothing to read.
3. Text is compared after NFKC and without invisible format characters, so full-width brackets and zero-width joins
   neither hide nor forge a verdict. Case and Markdown emphasis around a menu word do not matter.
4. What stands inside a section (rubric, evaluation, quotes) cannot speak: the verdict position begins after the last
   closing section tag and ends where a section opens again.
5. The verdict position must hold exactly one distinct verdict of the menu: none is `no_verdict`, two different ones
   are `ambiguous`, a word that is not on the menu is `off_menu`.

`policy="upstream"` reads as the script of the spec's own suite reads, where that differs, faults included.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Literal, assert_never

from reasrm.errors import ConfigError
from reasrm.protocol.grammar import (
    Grammar,
    MarkedGrammar,
    MenuEntry,
    PhraseGrammar,
    RankingGrammar,
    ScoreGrammar,
)
from reasrm.protocol.ranking import read_ranking
from reasrm.protocol.spec import JudgeSpec
from reasrm.protocol.upstream import read_upstream
from reasrm.records import Judgment, ParseStatus, Verdict
from reasrm.requests import Completion

__all__ = ["Policy", "normalise", "parse"]

Policy = Literal["strict", "upstream"]
_CUT = {"length": ParseStatus.TRUNCATED, "too_long": ParseStatus.TOO_LONG, "error": ParseStatus.ERROR}
_EMPHASIS = " \t\r\n*_`'\".:;,!()"
_LOOKS_LIKE_A_WORD = re.compile(r"[A-Za-z<>= ]{1,8}")
_TAG_NAME = re.compile(r"[A-Za-z_]\w*")
_FLAGS = re.IGNORECASE | re.DOTALL


def parse(
    spec: JudgeSpec, completion: Completion, *, policy: Policy = "strict", num_candidates: int = 2
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
        num_tokens=completion.num_tokens,
        finish_reason=completion.finish_reason,
    )
    if completion.decision is not None:
        return _admit(spec, replace(base, status=ParseStatus.OK, verdict=completion.decision))
    if completion.scores is not None:
        return _admit(spec, _from_scores(base, completion.scores))
    if completion.finish_reason in _CUT:
        status = _CUT[completion.finish_reason]
        return replace(base, status=status, detail=completion.error or "cut at the token limit")
    if not completion.text.strip():
        return replace(base, detail="the completion is empty")
    grammar = spec.grammar
    base = replace(
        base,
        critique=_section(grammar, grammar.critique, completion.text),
        rubric=_section(grammar, grammar.rubric, completion.text),
    )
    if policy == "upstream":
        if isinstance(grammar, RankingGrammar) or grammar.upstream is None:
            raise ConfigError(
                f"spec {spec.name!r} names no upstream reading", remedy="leave out --verdict-policy upstream"
            )
        return _admit(spec, read_upstream(grammar, grammar.upstream, base))
    answer = _after_thinking(grammar, normalise(completion.text))
    if answer is None:
        return replace(base, detail="the thinking never ends")
    return _admit(spec, _read(grammar, answer, base, num_candidates))


def normalise(text: str) -> str:
    """Return the text as verdicts are compared: NFKC, without format characters (zero-width, bidi marks)."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return "".join(char for char in folded if unicodedata.category(char) != "Cf")


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
        case _:
            assert_never(grammar)


def _admit(spec: JudgeSpec, judgment: Judgment) -> Judgment:
    """Turn a verdict that this spec does not allow (a tie, say) into `off_menu`."""
    if judgment.verdict is None or judgment.verdict.winner in spec.allowed_verdicts:
        return judgment
    detail = f"the verdict {judgment.verdict.winner!r} is not allowed here"
    return replace(judgment, status=ParseStatus.OFF_MENU, verdict=None, detail=detail)


def _from_scores(base: Judgment, scores: tuple[float, ...]) -> Judgment:
    """One score is a pointwise judgment; two become a verdict, equal ones a tie; more become a ranking."""
    if any(math.isnan(score) for score in scores) or not scores:
        return replace(base, detail=f"the scores {scores} cannot be compared")
    judged = replace(base, status=ParseStatus.OK, scores=scores)
    if len(scores) == 1:
        return replace(judged, score=scores[0])
    if len(scores) == 2:
        first, second = scores
        return replace(judged, verdict=Verdict("A" if first > second else "B" if second > first else "tie"))
    return replace(judged, ranking=tuple(sorted(range(len(scores)), key=lambda n: -scores[n])))


def _after_thinking(grammar: Grammar, text: str) -> str | None:
    """Return what follows the last end of thinking, or None if thinking is open at the end."""
    start = max((m.end() for m in _any_of(grammar.thinking_end).finditer(text)), default=0)
    answer = text[start:]
    return None if _any_of(grammar.thinking_start).search(answer) else answer


@lru_cache(maxsize=256)
def _any_of(literals: tuple[str, ...]) -> re.Pattern[str]:
    """Compile a pattern that matches any of the literals, or nothing for none of them."""
    return re.compile("|".join(map(re.escape, literals)) or r"(?!)", re.IGNORECASE)


def _outside_sections(sections: tuple[str, ...], text: str) -> str:
    """Return what follows the last closing section tag, up to where a section opens again."""
    closing = _any_of(tuple(f"</{name}>" for name in sections))
    text = text[max((m.end() for m in closing.finditer(text)), default=0) :]
    opening = _any_of(tuple(f"<{name}>" for name in sections)).search(text)
    return text if opening is None else text[: opening.start()]


def _contents(tag: str, text: str) -> list[str]:
    """Return the contents of every `<tag>…</tag>`; an opening tag inside another starts it anew."""
    name = re.escape(tag)
    return re.findall(rf"<{name}>((?:(?!<{name}>).)*?)</{name}>", text, _FLAGS)


def _marked_words(grammar: MarkedGrammar | ScoreGrammar, text: str) -> list[str]:
    """Return what stands between the grammar's open and close literals."""
    start = rf"(?:^|\n)[ \t>*#_-]*{re.escape(grammar.open)}" if grammar.line_start else re.escape(grammar.open)
    if grammar.close == "\n":
        return [word.strip(_EMPHASIS) for word in re.findall(rf"{start}([^\n]*)", text, re.IGNORECASE)]
    stop = re.escape(grammar.close)
    return [word.strip(_EMPHASIS) for word in re.findall(rf"{start}([^\n\[\]]{{0,80}}?){stop}", text, re.IGNORECASE)]


def _key(word: str) -> str:
    """Menu words are compared without case, spaces and emphasis."""
    return re.sub(r"[\s*_`]+", "", word).casefold()


def _distinct(base: Judgment, verdicts: Iterable[Verdict], missing: str) -> Judgment:
    """Settle on the only verdict there is."""
    found = list(dict.fromkeys(verdicts))
    if not found:
        return replace(base, status=ParseStatus.NO_VERDICT, detail=missing)
    if len(found) > 1:
        names = ", ".join(f"{v.winner}" + (f" ({v.strength})" if v.strength is not None else "") for v in found)
        return replace(base, status=ParseStatus.AMBIGUOUS, detail=f"speaks for several verdicts: {names}")
    return replace(base, status=ParseStatus.OK, verdict=found[0])


def _read_marked(grammar: MarkedGrammar, answer: str, base: Judgment) -> Judgment:
    if grammar.heading is not None:
        _, heading, answer = answer.rpartition(grammar.heading)
        if not heading:
            return replace(base, detail=f"the heading {grammar.heading!r} is missing")
    places = [_outside_sections(grammar.sections, answer)]
    if grammar.tag is not None:
        places = _contents(grammar.tag, places[0])
        if not places:
            return replace(base, detail=f"no complete <{grammar.tag}> in the verdict position")
    menu = {_key(word): entry.verdict() for word, entry in grammar.menu.items()}
    words = [word for place in places for word in _marked_words(grammar, place)]
    if grammar.tag is not None and not words:
        return replace(base, status=ParseStatus.OFF_MENU, detail=f"<{grammar.tag}> holds no menu word")
    strange = [word for word in words if _key(word) not in menu]
    if grammar.tag is None:
        strange = [word for word in strange if _LOOKS_LIKE_A_WORD.fullmatch(word) or grammar.close == "\n"]
    known = [menu[_key(word)] for word in words if _key(word) in menu]
    if strange and known:
        return replace(
            base, status=ParseStatus.AMBIGUOUS, detail=f"also says {strange[0]!r}, which is not on the menu"
        )
    if strange:
        return replace(base, status=ParseStatus.OFF_MENU, detail=f"{strange[0]!r} is not on the menu")
    return _distinct(base, known, "no verdict in the verdict position")


def _read_phrases(grammar: PhraseGrammar, answer: str, base: Judgment) -> Judgment:
    answer = _outside_sections(grammar.sections, answer)
    whole: Mapping[str, MenuEntry] = {_key(phrase): entry for phrase, entry in grammar.whole.items()}
    only = whole.get(_key(answer.strip().rstrip(".")))
    if only is not None:
        return replace(base, status=ParseStatus.OK, verdict=only.verdict())
    folded = re.sub(r"[\s*_`]+", " ", answer).casefold()
    said = [entry.verdict() for phrase, entry in grammar.phrases.items() if phrase.casefold() in folded]
    return _distinct(base, said, "none of the verdict phrases is there")


def _read_score(grammar: ScoreGrammar, answer: str, base: Judgment) -> Judgment:
    words = _marked_words(grammar, _outside_sections(grammar.sections, answer))
    if not words:
        return replace(base, detail="no score in the verdict position")
    scores: list[float] = []
    for word in words:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}(\.[0-9]{1,9})?", word):
            return replace(base, status=ParseStatus.OFF_MENU, detail=f"{word[:40]!r} is not a number")
        score = float(word)
        if not grammar.minimum <= score <= grammar.maximum or (grammar.integer and not score.is_integer()):
            allowed = f"{grammar.minimum:g} to {grammar.maximum:g}" + (", whole" if grammar.integer else "")
            return replace(base, status=ParseStatus.OFF_MENU, detail=f"{word} is not in {allowed}")
        scores.append(score)
    if len(set(scores)) > 1:
        return replace(base, status=ParseStatus.AMBIGUOUS, detail=f"gives several scores: {sorted(set(scores))}")
    return replace(base, status=ParseStatus.OK, score=scores[0])


def _section(grammar: Grammar, name: str | None, text: str) -> str | None:
    """Return the text of a section: of a tag from its first opening to its last closing, or of a heading."""
    if name is None:
        return None
    if _TAG_NAME.fullmatch(name):
        found = re.search(rf"<{re.escape(name)}>(.*)</{re.escape(name)}>", text, _FLAGS)
        return None if found is None else found[1].strip()
    _, heading, rest = text.partition(name)
    if not heading:
        return None
    end = getattr(grammar, "heading", None)
    return (rest.partition(end)[0] if end else rest).strip()
