"""What one answer of a teacher is worth: the reason to reject it, or none, and the SFT row it becomes.

The prompt of a row is always the one that a rollout sees, span by span, also where the teacher was asked in other
words. Thinking that an endpoint returns apart from its text can be put in front of it as `<think>…</think>`; what the
student will write is then read again by the spec's grammar, so that a trace whose verdict would be lost is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reasrm.distillation.config import Thinking
from reasrm.errors import ConfigError
from reasrm.protocol.parsing import parse
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.refusals import is_refusal
from reasrm.protocol.sft_rows import SAW_LABEL, SFTRow
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Comparison, Judgment, Order, PreferencePair, Row
from reasrm.requests import Completion, PromptMessage

__all__ = ["check_thinking", "completion_text", "make_row", "read_written", "reason_to_reject", "shown"]


def shown(row: PreferencePair | Comparison, order: Order) -> Comparison:
    """Return a row as one order shows it, target included."""
    comparison = row.compare() if isinstance(row, PreferencePair) else row
    return order.seen(comparison)


def check_thinking(spec: JudgeSpec, thinking: Thinking) -> None:
    """Refuse to write thinking for a student whose prompt turns it off.

    Raises:
        ConfigError: It does.
    """
    if thinking == "prepend" and spec.template_options.get("enable_thinking") is False:
        raise ConfigError(
            f"spec {spec.name!r} turns thinking off, and the rows would hold thinking",
            place="thinking: prepend",
            remedy="use 'thinking: leave_out', or a spec with thinking",
        )


def completion_text(text: str, reasoning: str | None, thinking: Thinking) -> str:
    """Return what the student is to write."""
    if thinking == "leave_out" or not (reasoning or "").strip() or text.lstrip().startswith("<think>"):
        return text
    return f"<think>\n{str(reasoning).strip()}\n</think>\n\n{text.lstrip()}"


def read_written(spec: JudgeSpec, completion: Completion, written: str) -> Judgment:
    """Read an answer as the student would give it; how it ended stays."""
    as_written = Completion(
        completion.request_id,
        text=written,
        finish_reason=completion.finish_reason,
        error=completion.error,
        thinking_open=completion.thinking_open,
    )
    return parse(spec, as_written)  # a replayed bare decision has no text, and so no verdict


def reason_to_reject(judgment: Judgment, label: str | None, text: str) -> str | None:
    """Return why a trace is not kept, or None: a parse status, `refused`, `no_label` or `wrong_verdict`.

    Args:
        judgment: The trace, read.
        label: The right verdict in the order shown.
        text: What the teacher answered, apart from its thinking.
    """
    if judgment.finish_reason == "content_filter":
        return "refused"
    if judgment.status == "no_verdict" and is_refusal(text):
        return "refused"
    if judgment.status != "ok" or judgment.verdict is None:
        return judgment.status.value
    if label is None:
        return "no_label"
    return None if judgment.verdict.winner == label else "wrong_verdict"


def make_row(
    spec: JudgeSpec,
    row: Row,
    comparison: Comparison,
    name: str,
    completion: str,
    teacher: str,
    **more: Any,
) -> SFTRow:
    """Return the SFT row of a trace.

    Args:
        spec: The student's protocol.
        row: The pair.
        comparison: The pair as it was shown.
        name: The row's id.
        completion: What the student is to write.
        teacher: Who wrote it.
        more: Anything else for `meta`; None is left out.
    """
    messages = build_prompt(spec, comparison)
    meta: Mapping[str, Any] = {
        **({} if row.subset is None else {"subset": row.subset}),
        "pair": row.id,
        "order": comparison.order.value,
        "label": None if comparison.target is None else comparison.target.winner,
        "teacher": teacher,
        "spec": spec.name,
        "spec_hash": spec.hash,
        **({SAW_LABEL: True} if _sees_label(messages, row) else {}),
        **{key: value for key, value in more.items() if value is not None},
    }
    return SFTRow(name, messages, completion, meta)


def _sees_label(messages: Sequence[PromptMessage], row: Row) -> bool:
    """Whether a prompt shows a rubric whose author knew the row's label."""
    if row.rubric is None or not row.rubric.saw_label:
        return False
    text = row.rubric.render()
    return any(span.text == text and not span.trusted for message in messages for span in message.spans)
