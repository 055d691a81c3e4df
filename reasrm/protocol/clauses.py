"""Whether a verdict phrase was said or merely occurs: a phrase speaks as a clause of its own.

Phrases such as `Output (a) is better` are ordinary words, and a judge also denies, doubts, asks and imagines in them.
So one counts only

- at the beginning of the text, a line, a sentence or a clause (behind a comma, colon, dash, bracket or quotation
  mark), or directly behind a word that leads to a clause: `that`, `so`, `therefore`, `believe`, `but`, … (`_LEADS`).
  Behind any other word it is a part of something else: `Output (a) or Output (b) is better`;
- in a clause without a denial or doubt before it: not, n't, neither, nor, whether, might, disagree, hard (to say),
  suppose, … (`_DENIALS`). A comma or a
  conjunction directly before the phrase begins another clause, save where the comma only sets a remark apart
  (`not clear that, all in all, Output (a) is better`); an opinion that the judge denies to hold (`I do not think`)
  reaches to the next comma with a conjunction;
- in a sentence without `if`, `unless` or `were it …` before it, and not directly before `if`, `unless`, `or`, `only`,
  `provided`;
- not as what the sentence speaks of (`that Output (a) is better is not true`), save for a reason (`the reason why
  Output (a) is better is …`);
- not as somebody else's opinion or order: `Assistant (a) thinks that Output (a) is better`, `it claims: Output …`,
  `I was told to say …`;
- in a sentence that is no question. A question mark behind a quotation mark is the quoted text's own.

The words are English ones. Phrases of another language are found as well; only what denies them is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

__all__ = ["find_phrases"]

_JOINING = "and but so yet while whereas therefore thus hence then though although however"
_LEADING = (
    "that believe think feel find say conclude decide determine judge know see argue hold is verdict answer "
    "because since as why overall ultimately clearly evidently obviously consequently accordingly finally moreover "
    "furthermore also indeed still conclusion summary view opinion judgment the my final"
)
_DENYING = (
    "neither nor none nothing nobody whether doubt doubtful deny denies unclear unsure uncertain impossible debatable "
    "false wrong incorrect untrue might may could perhaps maybe possibly argues claims thinks believes says insists "
    "disagree dispute reject refuse decline mistake mistaken hard difficult premature far lack lacks little "
    "insufficient fail fails failed refrain hesitate tempted tempting suppose supposing assume assuming imagine "
    "pretend rather told asked asks wants"
)
_HOLDING = (
    "think believe say claim conclude agree argue find feel see mean assert suggest hold decide judge know"
)
_COORDINATORS = frozenset(_JOINING.split())
_LEADS = _COORDINATORS.union(_LEADING.split())
_NEGATIONS = frozenset(("not", "cannot", "never", "hardly", "no"))
_DENIALS = _NEGATIONS.union(_DENYING.split())
_OPINIONS = frozenset(_HOLDING.split())
_CONDITIONS = frozenset(("if", "unless"))
_INVERTED = frozenset(("were", "had", "should"))  # at the beginning of a clause: a condition
_TAKING_BACK = _CONDITIONS.union(["or", "only", "provided", "assuming"])  # directly behind a phrase
_ABOUT_IT = frozenset(("is", "was", "would"))  # there, the phrase is what is spoken of
_REPORTS = frozenset(
    ["argues", "claims", "thinks", "believes", "says", "insists", "write", "print", "output"]
)  # a colon belongs to these
_HANGING = frozenset(("that", "whether", "nor", "neither", "either", "or"))  # more of the clause is to come
_OPEN = _HANGING | _LEADS  # no sentence ends behind one of these
_WINDOW = 4  # words between `I`, a denial and the opinion it denies


def find_phrases(phrases: Iterable[str], text: str) -> tuple[list[str], list[str]]:
    """Return the phrases that occur in a text, and those of them that are said; each in order, once.

    Args:
        phrases: As the grammar spells them. White space, case and Markdown emphasis do not matter.
        text: Normalised.
    """
    spelled = {_fold(phrase): phrase for phrase in phrases}
    found: list[str] = []
    said: list[str] = []
    sentence = _Sentence()
    for token in _scanner(tuple(spelled)).finditer(re.sub("[*_`]", " ", text).casefold()):
        kind, written = token.lastgroup, token[0]
        if kind == "phrase":
            phrase = spelled[_fold(written)]
            found.append(phrase)
            sentence.phrase(phrase)
        elif kind == "word":
            sentence.word(written.replace("\u2019", "'"))
        elif kind == "pause":
            sentence.pause(written)
        elif kind == "bracket":
            sentence.fresh, sentence.last = False, ""
        elif kind == "quote":  # a question mark behind it is not the judge's
            said += sentence.waiting
            sentence.waiting, sentence.fresh, sentence.last = [], False, ""
        elif kind == "end" or written.count("\n") > 1 or sentence.last not in _OPEN:
            said += [] if "?" in written else sentence.waiting
            sentence = _Sentence()
    said += sentence.waiting
    return list(dict.fromkeys(found)), list(dict.fromkeys(said))


@dataclass(slots=True)
class _Sentence:
    """A sentence up to some place.

    Args:
        waiting: Phrases that are said unless it turns out to be a question.
        fresh: Whether the last of them ends here.
        reasoned: Whether the last phrase follows `why`, so that what is said of it gives the reason.
        last: The word before, empty at the beginning of a clause.
        denied: Whether something in this clause denies it.
        aside: Whether a comma has set a remark apart inside this clause.
        disowned: Whether the judge denies to hold an opinion.
        condition: Whether there is a condition.
        since_me: Words since the judge spoke of itself.
        since_not: Words since it denied something of itself.
    """

    waiting: list[str] = field(default_factory=list)
    fresh: bool = False
    reasoned: bool = False
    last: str = ""
    denied: bool = False
    aside: bool = False
    disowned: bool = False
    condition: bool = False
    since_me: int = _WINDOW
    since_not: int = _WINDOW

    def phrase(self, phrase: str) -> None:
        """Go on behind a phrase."""
        begins = not self.last or self.last in _LEADS or not self.last.isascii()
        denied = self.denied and self.last not in _COORDINATORS
        self.fresh = begins and not (denied or self.disowned or self.condition)
        if self.fresh:
            self.waiting.append(phrase)
        self.reasoned, self.last = self.last == "why", phrase

    def word(self, word: str) -> None:
        """Go on behind a word."""
        if self.fresh and (word in _TAKING_BACK or (word in _ABOUT_IT and not self.reasoned)):
            self.waiting.pop()
        self.fresh = False
        self._opinion(word)
        if word == "doubt" and self.last in ("no", "without", "beyond"):
            self.denied = False
        elif word in _DENIALS or word.endswith("n't"):
            self.denied = True
        self.condition |= (word in _CONDITIONS and self.last != "even") or (
            word in _INVERTED and not self.last
        )
        self.last = word

    def _opinion(self, word: str) -> None:
        self.since_me, self.since_not = self.since_me + 1, self.since_not + 1
        if word in ("i", "we"):
            self.since_me = 0
        elif (word in _NEGATIONS or word.endswith("n't")) and self.since_me <= _WINDOW:
            self.since_not = 0
        elif word in _OPINIONS and self.since_not <= _WINDOW:
            self.disowned = True
        elif word in _COORDINATORS and not self.last:
            self.disowned = False

    def pause(self, mark: str) -> None:
        """Go on behind a comma, a colon or a dash."""
        hanging = self.last in _HANGING or (mark == ":" and self.last in _REPORTS)
        self.denied &= hanging or self.aside
        self.aside, self.fresh, self.last = hanging, False, ""


def _fold(phrase: str) -> str:
    return re.sub(r"[\s*_`]+", " ", phrase).strip().casefold()


@lru_cache(maxsize=64)
def _scanner(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Compile a pattern of all that matters in a text; it never looks back, so reading takes linear time."""
    spelled = (
        r"\s+".join(map(re.escape, phrase.split())) for phrase in sorted(phrases, key=len, reverse=True)
    )
    kinds = {
        "phrase": rf"(?<![a-z0-9])(?:{'|'.join(spelled)})(?![a-z0-9])",
        "line": r"\n[ \t\r\n]*",
        "end": r"[.!?;]+",
        "quote": r"[\"\u201c\u201d\u00ab\u00bb]",
        "pause": r"[,:\u2013\u2014]|(?<=\s)-+(?=\s)",
        "bracket": r"[(\[{#>]",
        "word": r"[a-z]+(?:['\u2019][a-z]+)*|[^\x00-\x7f]",
    }
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()))
