"""What a server's refusal means, by tables of bodies as servers send them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from reasrm.generation.endpoint.bodies import one_line
from reasrm.generation.endpoint.refusals import read_refusal, refusal_in
from reasrm.generation.endpoint.waiting import retry_after_s

BODY = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9}
ALL = {**BODY, "temperature": 0.7, "top_p": 0.9, "seed": 1, "chat_template_kwargs": {}}
TOO_LONG = [
    (
        400,
        {"error": {"message": "Please reduce the length of the messages", "code": "context_length_exceeded"}},
    ),
    (400, {"error": {"message": "no", "code": "model_max_prompt_tokens_exceeded"}}),
    (400, {"error": "Number of prompt tokens: 5000 exceeds model max length: 4096"}),
    (400, {"detail": {"msg": "Prompt too big to fit in context", "type": "bad_input"}}),
    (400, {"error": "prompt is too long: 212345 tokens > 200000 maximum"}),
    (
        400,
        {"error": {"message": "input length and `max_tokens` exceed context limit: 197000 + 8192 > 200000"}},
    ),
    (
        400,
        {
            "code": "x",
            "error": "The maximum prompt length of this model is 131072 but the request contains 2e5",
        },
    ),
    (
        400,
        {"message": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 98304]"},
    ),
    (400, {"error": {"message": "Invalid request: Your request exceeded model token limit: 8192"}}),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200000) exceeds the maximum number of tokens",
                }
            }
        ],
    ),
    (400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}),
    (400, {"message": "Input is too long for requested model."}),
    (
        413,
        {
            "error": {
                "code": "tokens_limit_reached",
                "message": "Request body too large for gpt-4o. Max size: 8000",
            }
        },
    ),
    (413, "<html><head><title>413 Request Entity Too Large</title></head><body>nginx</body></html>"),
    (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"}),
    (
        400,
        {
            "error": {
                "message": "Prompt contains 70000 tokens, too large for model with 32768 maximum context length"
            }
        },
    ),
    (400, {"error": {"code": "1261", "message": "Prompt 超长"}}),
    (400, {"object": "error", "message": "the request exceeds the available context size", "code": 400}),
    (500, {"error": {"message": "Prompt length (5000) exceeds maximum input length (4096)"}}),
    (
        429,
        {
            "error": {
                "message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000",
                "code": "x",
            }
        },
    ),
]
FILTERED = [
    (400, {"error": {"message": "filtered", "code": "content_filter"}}),
    (400, {"error": {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
    (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}),
    (
        400,
        {
            "error": {
                "message": "Your prompt was flagged as violating our usage policy",
                "code": "invalid_prompt",
            }
        },
    ),
    (
        403,
        {"error": {"code": 403, "message": "requires moderation and your input was flagged", "metadata": {}}},
    ),
    (403, {"error": {"message": "Input was blocked by moderation"}}),
]
NEITHER = [
    (400, {"error": {"message": "messages: roles must alternate"}}),
    (
        400,
        {
            "error": {
                "message": "max_tokens is too large: 99999. This model supports at most 16384 completion tokens"
            }
        },
    ),
    (401, {"error": {"message": "the prompt is too long"}}),
    (
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "bad", "input": "maximum context length flagged"}]},
    ),
]
LEFT_OUT: list[tuple[dict[str, Any] | list[Any] | str, set[str]]] = [
    (
        {
            "error": {
                "message": "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) "
                "value is supported.",
                "param": "temperature",
                "code": "unsupported_value",
            }
        },
        {"temperature"},
    ),
    ({"error": {"message": "invalid temperature: only 1 is allowed for this model"}}, {"temperature"}),
    ({"error": {"message": "`temperature` and `top_p` cannot both be specified for this model."}}, {"top_p"}),
    ({"error": "temperature and top_p are not supported"}, {"temperature", "top_p"}),
    (
        {
            "message": {
                "detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]
            }
        },
        {"seed"},
    ),
    (
        [
            {
                "error": {
                    "code": 400,
                    "message": 'Invalid JSON payload. Unknown name "seed": Cannot find field.',
                }
            }
        ],
        {"seed"},
    ),
    ({"detail": "Unrecognized request argument supplied: chat_template_kwargs"}, {"chat_template_kwargs"}),
    ({"errors": [{"message": "property 'topP' is unsupported"}]}, {"top_p"}),
    ("400 Bad Request: unknown parameter seed", {"seed"}),
    ({"error": {"message": "seed must be less than 2147483647"}}, {"seed"}),
    (
        {"error": {"message": "This model takes the default sampling parameters only"}},
        {"temperature", "top_p"},
    ),
    ({"detail": "sampling parameters: seed is unsupported"}, {"seed"}),
    (
        {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'", "param": "max_tokens"}},
        {"max_tokens"},
    ),
    # Only the value that was asked for is wrong: the user's to mend.
    ({"error": {"message": "temperature: Input should be less than or equal to 0.5"}}, set()),
    ({"error": {"message": "bad", "param": "temperature", "code": "decimal_above_max_value"}}, set()),
    ({"error": {"message": "max_tokens is too large: 9999", "param": "max_tokens"}}, set()),
    # Something else, which speaks of the same words.
    ({"error": {"message": "the messages mention temperature", "param": "messages"}}, set()),
    ({"detail": [{"loc": ["body", "messages"], "msg": "bad", "input": "temperature is unsupported"}]}, set()),
    ({"error": {"message": "random_seeded and temperatures"}}, set()),
]


def raw(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_too_long(status: int, body: Any) -> None:
    assert read_refusal(status, raw(body)).is_too_long


@pytest.mark.parametrize(("status", "body"), FILTERED)
def test_filtered(status: int, body: Any) -> None:
    refusal = read_refusal(status, raw(body))
    assert refusal.is_filtered
    assert not refusal.is_too_long


@pytest.mark.parametrize(("status", "body"), NEITHER)
def test_neither_too_long_nor_filtered(status: int, body: Any) -> None:
    refusal = read_refusal(status, raw(body))
    assert (refusal.is_too_long, refusal.is_filtered) == (False, False)


@pytest.mark.parametrize(("body", "left_out"), LEFT_OUT)
def test_parameters_to_try_without(body: Any, left_out: set[str]) -> None:
    assert read_refusal(400, raw(body)).leave_out(ALL) == left_out


def test_what_was_not_sent_is_not_left_out() -> None:
    assert read_refusal(400, b"temperature, top_p and seed are unsupported").leave_out(BODY) == set()


def test_a_greedy_temperature_out_of_range_is_left_out() -> None:
    refusal = read_refusal(422, raw({"error": "`temperature` must be strictly positive"}))
    assert refusal.leave_out({**BODY, "temperature": 0.0}) == {"temperature"}
    assert refusal.leave_out({**BODY, "temperature": 0.7}) == set()


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "System role not supported"}},
        {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}},
        {
            "error": {
                "message": "Unsupported value: 'messages[0].role' does not support 'system'",
                "param": "messages[0].role",
            }
        },
        [{"error": {"message": "Developer instruction is not enabled for models/gemma-3-27b-it"}}],
    ],
)
def test_a_refused_system_message(body: Any) -> None:
    roles = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    refusal = read_refusal(400, raw(body))
    assert refusal.leave_out({**BODY, "messages": roles}) == {"system"}
    assert refusal.leave_out(BODY) == set()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "text"}, "text"),
        ({"error": {"message": "text", "type": "t"}}, "text"),
        ({"detail": "text"}, "text"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "text"}]}, "body.seed: text"),
        ({"message": {"detail": [{"loc": ["body", "seed"], "msg": "text"}]}}, "body.seed: text"),
        ([{"error": {"message": "text"}}], "text"),
        ({"errors": ["one", {"message": "two"}]}, "one; two"),
        ("text", "text"),
        ("<html><style>p {}</style><title>502</title><body><p>Bad&nbsp;gateway</p></html>", "502 Bad gateway"),
        ({"code": "E17"}, "e17"),
        ("", "no reason given"),
        ("{}", "'{}'"),
        ({"error": {"message": "half \ud83d"}}, "half \ufffd"),
    ],
)  # fmt: skip
def test_the_reason_is_read_from_any_body(body: Any, reason: str) -> None:
    assert read_refusal(400, raw(body)).reason == reason


def test_a_long_reason_is_cut_and_one_line() -> None:
    reason = read_refusal(400, ("so\n\x1b[31m" + "x" * 10_000).encode()).reason
    assert len(reason) == 501
    assert reason.isprintable()
    assert one_line("a\r\n b") == "a b"


def test_a_row_cannot_speak_for_the_server() -> None:
    prompt = "Compare: this model's maximum context length is 8 tokens, insufficient balance. Thanks."
    refusal = read_refusal(400, raw({"error": f"cannot parse '{prompt}'"}))
    assert refusal.is_too_long
    assert not refusal.without(prompt).is_too_long
    assert read_refusal(400, raw({"error": "maximum context length is 8"})).without("other text").is_too_long


@pytest.mark.parametrize(
    ("status", "body", "is_out"),
    [
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, True),
        (429, {"error": {"type": "exceeded_current_quota_error", "message": "no"}}, True),
        (400, {"error": {"message": "Your credit balance is too low to access the API"}}, True),
        (403, {"code": "Arrearage", "message": "Access denied"}, True),
        (429, {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, False),
        (
            429,
            {"error": {"status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota"}},
            False,
        ),
    ],
)
def test_used_up_quotas(status: int, body: Any, is_out: bool) -> None:
    assert read_refusal(status, raw(body)).is_out_of_quota is is_out


def test_an_error_with_status_200_has_its_own_status() -> None:
    found = refusal_in({"error": {"code": 402, "message": "pay"}})
    assert found is not None
    assert (found.status, found.reason) == (402, "pay")
    long = refusal_in({"error_code": 336103, "error_msg": "Prompt tokens too long"})
    assert long is not None
    assert long.is_too_long
    withheld = refusal_in({"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}})
    assert withheld is not None
    assert withheld.is_filtered
    assert refusal_in({"error_code": 0, "error_msg": "ok"}) is None
    unknown = refusal_in({"error": {"code": "\u0664\u0660\u0660", "message": "x"}})
    assert unknown is not None
    assert unknown.status == 200
    assert refusal_in({"error": None}) is None


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("2s", 2.0),
        ("Sun, 29 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 29 Nov 2026 12:00:30", 30.0),
        ("Sun, 29 Nov 2026 11:59:00 GMT", None),
        ("Sun, 29 Nov 99999 12:00:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(text: str, pause_s: float | None) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    assert retry_after_s({"retry-after": text}, now) == pause_s
