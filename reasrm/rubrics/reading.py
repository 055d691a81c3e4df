"""What one answer of an author is worth: the rubric that it holds, or the reason why it holds none.

Strict: one list with one tag a line and nothing around it but thinking and one code fence. What an author says
of its own rubric is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reasrm.criteria.checks import Fault
from reasrm.protocol.grammar import RubricGrammar
from reasrm.protocol.refusals import is_refusal
from reasrm.protocol.thinking import after_thinking
from reasrm.requests import Completion
from reasrm.rubric import Rubric, num_lists
from reasrm.rubrics.findings import Rejected

__all__ = ["CheckedRubric", "answer_text", "read_rubric", "recorded"]

_MOST_CHARS = 32_768
_ENDS = {"too_long": "prompt_too_long", "length": "truncated", "content_filter": "refused"}
_FENCE = re.compile(r"\s*```[a-z]*[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL)
_TAG = re.compile(r"\[(?:hard rule|principle|criterion)\]", re.IGNORECASE)
_SOURCES = re.compile(r"<-([0-9.,\s]+)$")
_GRAMMAR = RubricGrammar()


@dataclass(frozen=True, slots=True)
class CheckedRubric:
    """A rubric that passed the checks.

    Args:
        rubric: The rubric.
        dropped: Criteria that were taken out, and why.
    """

    rubric: Rubric
    dropped: tuple[Fault, ...] = ()


def recorded(completion: Completion) -> dict[str, Any]:
    """Return an answer as a journal keeps it, and `answer_text` reads it."""
    optional = {
        "reasoning": completion.reasoning,
        "thinking_open": completion.thinking_open or None,
    }
    return {
        "text": completion.text,
        **{key: value for key, value in optional.items() if value is not None},
        "num_prompt_tokens": completion.num_prompt_tokens,
        "num_tokens": completion.num_tokens,
        "finish_reason": completion.finish_reason,
        "attempts": completion.attempts,
    }


def answer_text(record: Mapping[str, Any]) -> str | Rejected:
    """Return an answer without its thinking, or why there is none.

    The reason is `prompt_too_long`, `truncated`, `refused` or `unreadable`.
    """
    reason = _ENDS.get(record["finish_reason"])
    if reason is not None:
        return Rejected(reason)
    text = str(record["text"])
    if len(text) > _MOST_CHARS:
        return Rejected("unreadable", f"{len(text):,} characters")
    said = after_thinking(_GRAMMAR, text, thinking_open=bool(record.get("thinking_open")))
    if said is None:
        return Rejected("unreadable", "thinking that never ends")
    return Rejected("refused", said.strip()[:80]) if is_refusal(said) else said


def read_rubric(
    text: str,
    find_faults: Callable[[Rubric], Sequence[Fault]],
    *,
    drop_faulty: bool = False,
    known: Collection[str] | None = None,
) -> CheckedRubric | Rejected:
    """Return the rubric of an answer, or the first reason why it is none.

    Args:
        text: The answer, thinking left out.
        find_faults: `check_rubric`, with the request and the responses that the author saw.
        drop_faulty: Take a faulty criterion out and keep the rest, if any.
        known: Numbers of the findings from which each criterion must come; None where there are none.
    """
    fenced = _FENCE.fullmatch(text)
    lines = [line for line in (fenced[1] if fenced else text).splitlines() if line.strip()]
    if not lines:
        return Rejected("no_criteria")
    if known is not None:
        cut = [_SOURCES.search(line) for line in lines]
        for line, found in zip(lines, cut, strict=True):
            named = set(found[1].replace(",", " ").split()) if found else set()
            if not named or not named <= set(known):
                return Rejected("not_derived", line[:80])
        lines = [line[: found.start()] for line, found in zip(lines, cut, strict=True) if found]
    lists = num_lists("\n".join(lines))
    if lists != 1:
        return Rejected("unreadable", f"{lists} lists")
    if any(len(_TAG.findall(line)) != 1 for line in lines):
        return Rejected("unreadable", "not one tag a line")
    rubric = Rubric.read("\n".join(lines))
    if rubric is None or any(criterion.kind is None for criterion in rubric.criteria):
        return Rejected("unreadable", "not a list of criteria")
    faults = tuple(find_faults(rubric))
    if not faults:
        return CheckedRubric(rubric)
    first = faults[0]
    faulty = {fault.criterion for fault in faults}
    kept = tuple(c for n, c in enumerate(rubric.criteria) if n not in faulty)
    if drop_faulty and kept and first.criterion is not None:
        return CheckedRubric(replace(rubric, criteria=kept), faults)
    return Rejected(first.reason, first.found[:200])
