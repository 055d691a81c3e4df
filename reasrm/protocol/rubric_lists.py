"""Reading what a rubric writer answers: one list of criteria and nothing else.

The text is read as it stands, without folding: a tag in disguise is no tag. Nothing is made of an answer that is no
rubric (CDRRM's code puts a placeholder there, which its judge then reads as one).
"""

from __future__ import annotations

from dataclasses import replace

from reasrm.protocol.grammar import RubricGrammar
from reasrm.records import Judgment, ParseStatus, Rubric
from reasrm.rubric import TAGS, num_lists

__all__ = ["read_rubric"]

_SHOWN = 80


def read_rubric(grammar: RubricGrammar, answer: str, base: Judgment) -> Judgment:
    """Read an answer.

    Args:
        grammar: What a rubric may be.
        answer: What follows the thinking.
        base: The judgment as far as it is known.

    Returns:
        The judgment: `ok` with the rubric, as a judge is shown it; `no_verdict` where there is no list, `ambiguous`
        where there are two, `off_menu` where a line is no criterion, or there are too few, too many or too long ones.
    """
    found = num_lists(answer)
    if not found:
        return replace(base, status=ParseStatus.NO_VERDICT, detail="holds no list of criteria")
    if found > 1:
        return replace(base, status=ParseStatus.AMBIGUOUS, detail=f"holds {found} lists of criteria")
    rubric = Rubric.read(answer)
    problem = _unreadable(answer) if rubric is None else _off_menu(grammar, rubric)
    if rubric is None or problem is not None:
        return replace(base, status=ParseStatus.OFF_MENU, detail=problem)
    return replace(base, status=ParseStatus.OK, rubric=rubric.render())


def _unreadable(answer: str) -> str:
    """Name the first line that is no criterion."""
    lines = (line.strip() for line in answer.splitlines())
    odd = next((line for line in lines if line and Rubric.read(line) is None), "its JSON")
    return f"{odd[:_SHOWN]!r} is no criterion with a tag" if odd != "its JSON" else f"{odd} is no rubric"


def _off_menu(grammar: RubricGrammar, rubric: Rubric) -> str | None:
    count = len(rubric.criteria)
    if not grammar.minimum <= count <= grammar.maximum:
        return f"has {count} criteria, allowed are {grammar.minimum} to {grammar.maximum}"
    for criterion in rubric.criteria:
        words = len(criterion.text.split())
        if words > grammar.longest:
            return f"{criterion.text[:_SHOWN]!r} has {words} words, more than {grammar.longest}"
        if criterion.kind not in grammar.kinds:
            return f"the kind [{TAGS[criterion.kind]}] is not allowed here"
    return None
