"""Whether a verdict that is written as a mark (`[[A]]`, `[RESULT] 4`, a JSON object) is taken back by its neighbours.

A mark is no word of ordinary prose, so it speaks wherever it stands. It does not where the words right beside it, on
its own line and in its own clause, say otherwise:

- before it, a denial with nothing but words of choosing in between: `not [[A]]`, `I would not say [[A]]`, `rather than
  [[A]]`, `it would be wrong to answer [[A]]`, `this is not my verdict: [[A]]`. Any other word ends the reach:
  `B does not answer the question [[A]]` speaks;
- before it, somebody else's words or orders: `Response B contains the text [[B]]`, `it tells me to write [[B]]`; an
  example (`such as [[A]]`); what strikes it out or comments it away (`~~[[A]]~~`, `<!-- [[A]] -->`);
- behind it, a denial of the verdict (`[[A]] is not my verdict`, `[[A]] would be wrong`), a condition (`[[A]] if …`), or
  a question mark.

The words are English ones, with the plain `not` of some other languages directly before a mark.
"""

from __future__ import annotations

import re

__all__ = ["TAKEN_BACK", "is_taken_back"]

TAKEN_BACK = "what looks like the verdict is denied, asked, made conditional, or somebody else's"

_REACH = 120  # characters; a denial farther away is none of this mark
_NOT = r"(?:not|never|neither|nor|cannot|hardly|scarcely|without|against|whether|[a-z]+n['\u2019]t)"
_NO_DOUBT = r"(?<!no )(?<!little )(?<!without )(?<!without a )(?<!beyond )doubt"
_DENIAL = "|".join(
    (
        _NOT,
        r"rather\s+than|instead\s+of|anything\s+but|other\s+than|far\s+from|disagree[sd]?\s+(?:with|that)",
        r"(?:by|in|under|on)\s+no\s+(?:means|way|circumstances?|account)",
        r"(?:wrong|incorrect|unfair|mistaken|mistake|refused?|declined?|unable|reluctant|tempted|tempting|hesitate[ds]?)\s+to",
        r"(?:refrain|abstain)(?:s|ed|ing)?\s+from|(?:stop|fall)(?:s|ped|ping)?\s+short\s+of",
        _NO_DOUBT,
    )
)
_ELSEWHERE = r"(?<!\w)(?:no|nicht|kein|pas|niet|nie|n\u00e3o|\u043d\u0435)|\u4e0d\u662f?|\u5e76\u975e"
_CHOOSING = (
    "a|an|the|it|that|this|these|is|be|was|been|being|to|as|for|with|in|on|i|we|me|us|you|have|has|had|do|does|would|"
    "will|should|could|can|its|their|final|own|real|actual|actually|overall|correct|right|true|say|saying|said|give|"
    "giving|given|choose|chosen|choosing|pick|picked|picking|select|selected|call|rate|score|assign|award|grant|grade|"
    "answer|answering|verdict|judge|judgment|judgement|decision|decide|choice|pick|rating|ranking|result|winner|output|"
    "write|writing|print|return|respond|reply|conclude|conclusion|declare|think|believe|prefer|favou?r|recommend|go|end|"
    "agree|accept|vote|really|necessarily|simply|just|yet|ever|even|at|all|by|any|response|assistant|chatbot|candidate|"
    r"option|number|(?:better|best|winning)(?=\s+[a-z])"
)
_TOLD = "|".join(
    (
        r"(?:contains?|contained|includes?|included|claims?|claimed|says|reads)",
        r"(?:tells?|asks?|instructs?|orders?|urges?|begs?|wants?|tries|attempts)(?:\s+(?:me|us|you|for|the\s+[a-z]+))*\s+to",
        r"(?:told|asked|instructed|ordered|urged)(?:\s+(?:me|us|you|the\s+[a-z]+))*\s+to",
    )
)
_QUOTING = (
    "a|an|the|text|string|phrase|word|words|line|tag|sentence|token|marker|verdict|answer|say|write|output|print|choose|"
    "give|reply|respond|with|pick|return|just|only|simply|always|forged|fake|literal"
)
_EXAMPLE = r"such\s+as|for\s+example|for\s+instance"
_MARKUP = r"[\s\"'\u201c\u2018*_`(]*"
_BEFORE = re.compile(
    rf"(?:(?<![a-z'\u2019-])(?:{_DENIAL})(?:\s+(?:{_CHOOSING}|my|our))*"
    rf"|(?<![a-z'\u2019-])(?:{_NOT})(?:(?:\s+(?:{_CHOOSING}))*\s+(?:my|our)(?:\s+(?:{_CHOOSING}))*)?\s*[:\u2014-]"
    rf"|(?<![a-z'\u2019-])(?<!\bi )(?:{_TOLD})(?:\s+(?:{_QUOTING}))*"
    rf"|(?<![a-z])(?:{_EXAMPLE})|{_ELSEWHERE}){_MARKUP}\Z"
)
_STRUCK = re.compile(r"(?:~~|<(?:s|del|strike)>|<!--)[\s*_`]*\Z")
_VERDICT = (
    r"(?:verdict|answer|choice|decision|judge?ment|pick|winner|rating|score|ranking|result|conclusion|opinion|right|"
    r"correct|true|better|best|justified|warranted|deserved|what|how|mine|it)\b"
)
_IS_NOT = (
    r"(?:is|was|would(?:\s+be)?|will(?:\s+be)?|wo|can?|could|should|must)(?:\s*not|n['\u2019]t|\s+never)"
)
_BEHIND = re.compile(
    r"[\s\"'\u201d\u2019*_`)>]*(?:"
    rf"\?|(?:only\s+)?if\b|unless\b|provided\s+that\b"
    rf"|{_IS_NOT}(?:\s+(?:be|my|our|the|a|an|final|actual|real|overall))*\s+{_VERDICT}"
    r"|(?:is|was|would\s+be|seems)(?:\s+(?:a|an|the))?\s+(?:wrong|incorrect|false|mistaken|untrue|unjustified|forged|fake)\b"
    r"|(?:does|did|do|can|could|should|must|would)(?:\s+not|n['\u2019]t|not)\s+(?:be\s+)?(?:win|hold|apply|follow|stand|"
    r"chosen|given|said|picked|selected|taken)\b"
    rf"|[.,;)]*\s*(?:this|that|it|which)\s+(?:is|was)(?:\s+not|n['\u2019]t)\s+(?:my|our)\s+(?:\w+\s+)?{_VERDICT})"
)


def is_taken_back(text: str, start: int, end: int) -> bool:
    """Return whether the mark at `text[start:end]` is denied, asked, conditional, or somebody else's.

    Args:
        text: Normalised, with tags around the mark blanked.
        start: Where the mark begins.
        end: Where it ends.
    """
    before = re.sub(r":\s+\Z", ":", text[max(0, start - _REACH) : start].casefold())
    line = re.split(r"[.!?;,\n]", before)[-1]
    behind = text[end : end + _REACH].casefold().partition("\n")[0]
    found = _BEFORE.search(line) or _STRUCK.search(before) or _BEHIND.match(behind)
    return found is not None
