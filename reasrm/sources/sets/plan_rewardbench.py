"""Plan-RewardBench: two trajectories of an agent that calls tools, one better than the other.

The prompt is what both share, the tools on offer in front of it; the responses are what follows, calls and results as
`sources.tools` writes them. `uuid` names the query, of which there may be several pairs: it is the group, and the
id comes from the content.
"""

from __future__ import annotations

from typing import Any

from reasrm.errors import RowError
from reasrm.records import Conversation, Row
from reasrm.sources import fields
from reasrm.sources.base import Source
from reasrm.sources.fields import RowData
from reasrm.sources.prompts import with_front
from reasrm.sources.sets.trl import make_pair
from reasrm.sources.tools import transcript


def _read(row: RowData, place: str) -> tuple[Row, ...]:
    chosen, rejected = (_messages(row, key, place) for key in ("chosen", "reject"))
    size = 0
    for ours, theirs in zip(chosen[:-1], rejected[:-1], strict=False):
        if ours != theirs:
            break
        size += 1
    prompt = with_front(row, chosen[:size], place)
    if not any(turn.role == "user" for turn in prompt):
        raise RowError("the trajectories share no message of the user", code="no_prompt", place=place)
    known: dict[str, Any] = {"subset": row.get("_lcp_bucket"), "group": row.get("uuid")}
    base = {**known, **row}
    return (make_pair(base, place, prompt, transcript(chosen[size:]), transcript(rejected[size:])),)


def _messages(row: RowData, key: str, place: str) -> Conversation:
    side = fields.required(row, key, place)
    messages = side.get("messages") if isinstance(side, dict) else None
    if not isinstance(messages, list) or not messages:
        raise fields.wrong_type(f"{key}.messages", "a non-empty list of messages", messages, place)
    return fields.messages(messages, f"{key}.messages", place)


SOURCE = Source(
    name="plan-rewardbench",
    url="https://github.com/wyy-1112/Plan-RewardBench",
    licence="data CC-BY-4.0, stated in the repository",
    revision="ffe6fbe923bddf6deea54f92d3ffe2f45f38de54",
    label_rule="`chosen` is the better trajectory, `reject` the worse; there are no ties.",
    becomes="pairs of an agent's trajectories, tools as text",
    example={
        "query": "How cold is it in Oslo?",
        "tools": [{"type": "function", "function": {"name": "weather", "description": "Weather of a city"}}],
        "uuid": "u-1",
        "chosen": {
            "messages": [
                {"role": "user", "content": "How cold is it in Oslo?"},
                {"role": "tool_call", "content": '{"name": "weather", "arguments": {"city": "Oslo"}}'},
                {"role": "tool_response", "content": '{"celsius": 4}', "name": "weather"},
                {"role": "assistant", "content": "Four degrees."},
            ]
        },
        "reject": {
            "messages": [
                {"role": "user", "content": "How cold is it in Oslo?"},
                {"role": "assistant", "content": "Probably cold."},
            ]
        },
        "_lcp_bucket": "planning_single_easy",
    },
    recognises=lambda row: isinstance(row.get("reject"), dict) and "messages" in row["reject"],
    read=_read,
)
