"""The endpoint backend against a real server on the loopback interface, well-behaved and not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.generation.endpoint import EndpointBackend
from reasrm.requests import Completion, PromptMessage, Request, SamplingParams, Span
from tests.fakes import FAULTS, Endpoint, Fault, Reply, ask, chat, echo, refuse

KEY = "sk-test-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("reasrm.generation.endpoint.waiting._FIRST_PAUSE_S", 0.01)


def complete(endpoint: Endpoint, *requests: Request, **options: Any) -> list[Completion]:
    backend = EndpointBackend("judge", endpoint.base_url, **options)
    completions = {completion.request_id: completion for completion in backend.generate(requests)}
    backend.close()
    return [completions[request.id] for request in requests]


def test_what_is_sent_and_what_is_read() -> None:
    request = Request(
        "q1",
        (
            PromptMessage("system", (Span("Judge.", trusted=True),)),
            PromptMessage("user", (Span("Text: ", trusted=True), Span("a <|im_end|> b", trusted=False))),
        ),
        SamplingParams(temperature=0.7, top_p=0.9, max_tokens=11, seed=2**62 + 1),
    )
    with Endpoint(lambda _: chat("so [[A]]", reasoning_content="hm", finish_reason="length")) as endpoint:
        (completion,) = complete(endpoint, request)
    assert completion == Completion(
        "q1",
        text="so [[A]]",
        finish_reason="length",
        num_tokens=3,
        num_prompt_tokens=7,
        reasoning="hm",
        attempts=1,
    )
    (call,) = endpoint.calls
    assert call == {
        "model": "judge",
        "messages": [
            {"role": "system", "content": "Judge."},
            {"role": "user", "content": r"Text: a <\|im_end|> b"},
        ],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 11,
        "seed": 2**62 + 1,
    }
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "text", "text": "so "},
    {"type": "image_url", "image_url": {}},
    {"type": "text", "text": "A"},
]
LOST = '{"choices": [{"message": {"content": "half \\ud83d A"}}], "usage": {"completion_tokens": NaN}}'
HUGE = '{"choices": [{"message": {"content": "A"}}], "usage": {"completion_tokens": %s, "prompt_tokens": -3}}'


@pytest.mark.parametrize(
    ("reply", "text", "finish_reason", "reasoning"),
    [
        (chat("x", finish_reason="eos_token"), "x", "stop", None),
        (chat(None, finish_reason="length", reasoning="hm"), "", "length", "hm"),
        (chat("x", finish_reason="content_filter"), "x", "content_filter", None),
        (chat("x", finish_reason="SAFETY"), "x", "content_filter", None),
        (chat("x", finish_reason=None), "x", "stop", None),
        (chat("x", finish_reason=""), "x", "stop", None),
        (chat("x", finish_reason="STOP"), "x", "stop", None),
        (chat("x", finish_reason="end_turn"), "x", "stop", None),
        (chat("x", finish_reason="FINISH_REASON_STOP"), "x", "stop", None),
        (chat("x", finish_reason="FinishReason.MAX_TOKENS"), "x", "length", None),
        (chat("x", finish_reason="model_context_window_exceeded"), "x", "length", None),
        (chat("x", finish_reason="tool_calls"), "x", "stop", None),
        (chat("x", finish_reason="MAX_TOKENS"), "x", "length", None),
        (chat("x", finish_reason="model_length"), "x", "length", None),
        (chat(PARTS), "so A", "stop", "hm"),
        (chat([]), "", "stop", None),
        (chat([{"type": "output_text", "text": {"value": "A"}}, "B"]), "AB", "stop", None),
        (chat(None, refusal="I will not."), "I will not.", "content_filter", None),
        (chat([{"type": "refusal", "refusal": "No."}]), "No.", "content_filter", None),
        (Reply(body=LOST.encode()), "half \ufffd A", "stop", None),
        (Reply(body=b"\xef\xbb\xbf" + LOST.encode()), "half \ufffd A", "stop", None),
        (Reply(body=(HUGE % ("9" * 5000)).encode()), "A", "stop", None),
        (Reply(body=(HUGE % "1e999").encode()), "A", "stop", None),
    ],
)
def test_answers_of_every_shape_cost_one_call(
    reply: Reply, text: str, finish_reason: str, reasoning: str | None
) -> None:
    with Endpoint(lambda _: reply) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    found = (completion.text, completion.finish_reason, completion.reasoning)
    assert found == (text, finish_reason, reasoning)
    assert completion.attempts == len(endpoint.calls) == 1
    assert completion.num_tokens in (3, None)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (chat("", reasoning_content="the answer is A"), "reasoning"),
        (chat([{"type": "thinking", "thinking": "the answer is A"}]), "reasoning"),
        (chat("", reasoning_details=[{"type": "reasoning.text", "text": "it is A"}]), "all 7 characters"),
        (chat("", reasoning_details=[{"type": "reasoning.encrypted", "data": "eA"}]), "reasoning_details"),
        (chat(None, audio={"transcript": "[[A]]"}), "audio"),
        (chat(None, tool_calls=[{"id": "1"}], finish_reason="tool_calls"), "tool"),
    ],
)
def test_an_answer_without_text_is_named_and_thinking_is_not_read(reply: Reply, named: str) -> None:
    with Endpoint(lambda _: reply) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert (completion.text, completion.finish_reason, completion.attempts) == ("", "stop", 1)
    assert named in (completion.error or "")


@pytest.mark.parametrize(
    ("word", "num_calls", "kept"),
    [("abort", 2, ""), ("error", 2, ""), ("wibble", 1, "it said 'so A'"), (7, 1, "so A")],
)
def test_a_broken_answer_is_asked_for_again_and_an_unknown_end_keeps_the_text(
    word: Any, num_calls: int, kept: str
) -> None:
    with Endpoint(lambda _: chat("so A", finish_reason=word)) as endpoint:
        (completion,) = complete(endpoint, ask("q1"), attempts=2)
    assert (completion.finish_reason, completion.attempts) == ("error", num_calls)
    assert str(word) in (completion.error or "")
    assert kept in (completion.error or "")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_is_survived(fault: Fault) -> None:
    with Endpoint(fault_rate=0.5, faults=[fault], hang_s=1.0, seed=3) as endpoint:
        completions = complete(endpoint, *(ask(f"q{n}") for n in range(8)), timeout_s=0.3, attempts=9)
    assert [c.text for c in completions] == [f"echo q{n}" for n in range(8)]
    assert endpoint.injected[fault] > 0
    assert sum(c.attempts for c in completions) == len(endpoint.calls)
    assert sum(c.attempts - 1 for c in completions) == endpoint.injected[fault]


def run_with_faults(num_rows: int, concurrency: int) -> None:
    with Endpoint(fault_rate=0.05, hang_s=5.0, seed=1) as endpoint:
        backend = EndpointBackend("judge", endpoint.base_url, concurrency=concurrency, timeout_s=3.0)
        completions = list(backend.generate(ask(f"q{n}") for n in range(num_rows)))
        backend.close()
    failed = [c for c in completions if c.finish_reason != "stop"]
    assert len(failed) <= num_rows * 0.0001
    assert sorted(c.request_id for c in completions) == sorted(f"q{n}" for n in range(num_rows))
    assert all(c.text == f"echo {c.request_id}" for c in completions if c.finish_reason == "stop")
    assert set(endpoint.injected) == set(FAULTS)
    assert sum(c.attempts - 1 for c in completions) + len(failed) == sum(endpoint.injected.values())
    assert endpoint.most_at_once <= concurrency + endpoint.injected["timeout"]


@pytest.mark.slow
def test_all_of_400_rows_survive_five_percent_faults() -> None:
    run_with_faults(400, concurrency=16)


@pytest.mark.soak
def test_20000_rows_survive_five_percent_faults() -> None:
    run_with_faults(20_000, concurrency=64)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 3}}]}',
        b'{"error": {}}',
        b'{"choices": [{"message": {"content": "A"}}], "choices": [{"message": {"content": "B"}}]}',
        b'{"choices": [{"message": {"content": "A", "content": "B"}}]}',
    ],
    ids=[
        *("empty", "html", "array", "no choices", "wrong content", "error with status 200"),
        *("choices twice", "content twice"),
    ],
)
def test_a_200_without_answer_is_asked_again_and_then_named(body: bytes) -> None:
    with Endpoint(lambda _: Reply(body=body)) as endpoint:
        (completion,) = complete(endpoint, ask("q1"), attempts=2)
    assert completion.finish_reason == "error"
    assert "'q1'" in (completion.error or "")
    assert completion.attempts == len(endpoint.calls) == 2


def beside(text: str, *, in_choice: bool = False, **fields: Any) -> Reply:
    """An answer with something beside it."""
    body = chat(text).body
    assert isinstance(body, dict)
    (body["choices"][0] if in_choice else body).update(fields)
    return Reply(200, body)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (beside("[[A]]", error={"message": "upstream died", "code": 502}), "upstream died"),
        (beside("[[A]]", error="overloaded"), "overloaded"),
        (beside("[[A]]", error={"metadata": {"raw": "x"}}), "no reason given"),
        (beside("[[A]]", in_choice=True, error={"message": "provider gone", "code": 502}), "provider gone"),
        (beside("[[A]]", in_choice=True, error={"message": "slow down", "code": 429}), "slow down"),
        (beside("[[A]]", object="error", message="engine dead", code=500), "engine dead"),
        (beside("[[A]]", base_resp={"status_code": 1013, "status_msg": "internal"}), "internal"),
        (chat("[[A]]", role="user"), "'user'"),
        (chat("[[A]]", role="system"), "'system'"),
    ],
)
def test_a_text_beside_a_failure_is_no_answer(reply: Reply, named: str) -> None:
    with Endpoint(lambda _: reply) as endpoint:
        (completion,) = complete(endpoint, ask("q1"), attempts=2)
    assert (completion.finish_reason, completion.text, completion.attempts) == ("error", "", 2)
    assert named in (completion.error or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"error": None},
        {"error": {}},
        {"error": {"code": 0, "message": "success"}},
        {"error": {"code": None, "message": ""}},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
    ],
)
@pytest.mark.parametrize("in_choice", [False, True])
def test_an_error_that_says_nothing_is_none(fields: dict[str, Any], in_choice: bool) -> None:
    reply = beside("[[A]]", in_choice=in_choice, **fields)
    with Endpoint(lambda _: reply) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert (completion.finish_reason, completion.text) == ("stop", "[[A]]")


def test_no_money_left_is_understood_in_a_200_too() -> None:
    reply = Reply(
        200, {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    )
    with Endpoint(lambda _: reply) as endpoint, pytest.raises(EnvironmentProblem, match="balance"):
        complete(endpoint, *(ask(f"q{n}") for n in range(9)), concurrency=1)
    assert len(endpoint.calls) == 1


def first_call_only(reply: Reply) -> Callable[[dict[str, Any]], Reply]:
    calls = count()
    return lambda payload: reply if next(calls) == 0 else echo(payload)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_beyond_the_sdks_cap_is_waited_for(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("reasrm.generation.endpoint.call.time.sleep", pauses.append)
    with Endpoint(first_call_only(refuse(status, "later", **{"Retry-After": "150.5"}))) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert pauses == [150.5]
    assert (completion.text, completion.attempts) == ("echo q1", 2)


def test_retry_after_beyond_the_timeout_ends_the_request() -> None:
    with Endpoint(lambda _: refuse(429, "quota is used up", **{"Retry-After": "86400"})) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert (completion.finish_reason, completion.attempts) == ("error", 1)
    assert "quota is used up" in (completion.error or "")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens."),
        (400, "The input (3000 tokens) is longer than the model's context length (2048 tokens)."),
        (400, "the request exceeds the available context size. try increasing the context size"),
        (400, "The decoder prompt (length 3000) is longer than the maximum model length of 2048."),
        (422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 and 200"),
        (400, "prompt is too long: 212345 tokens > 200000 maximum"),
    ],
)
def test_prompt_too_long(status: int, message: str) -> None:
    with Endpoint(lambda _: refuse(status, message)) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert (completion.finish_reason, completion.attempts) == ("too_long", 1)
    assert message in (completion.error or "")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "messages: roles must alternate"),
        (400, "max_tokens is too large: 99999. This model supports at most 16384 completion tokens"),
        (422, "bad seed"),
    ],
)
def test_other_refusals_are_not_repeated(status: int, message: str) -> None:
    with Endpoint(lambda _: refuse(status, message)) as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert (completion.finish_reason, completion.attempts) == ("error", 1)
    assert message in (completion.error or "")
    assert "'q1'" in (completion.error or "")
    assert len(endpoint.calls) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_key_or_model_refused_at_once_ends_the_run(status: int) -> None:
    with (
        Endpoint(lambda _: refuse(status, f"no {KEY}")) as endpoint,
        pytest.raises(ConfigError) as caught,
    ):
        complete(endpoint, *(ask(f"q{n}") for n in range(5)), concurrency=2)
    assert "judge" in str(caught.value)
    assert KEY not in str(caught.value)


def test_nobody_listens() -> None:
    with Endpoint() as endpoint:
        pass
    with pytest.raises(EnvironmentProblem, match="cannot be reached"):
        complete(endpoint, ask("q1"), attempts=1)


def test_newer_name_of_max_tokens_is_found_out_once() -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        if "max_tokens" in payload:
            return refuse(400, "Unsupported parameter: use 'max_completion_tokens' instead.")
        return echo(payload)

    with Endpoint(answer) as endpoint:
        completions = complete(endpoint, *(ask(f"q{n}", max_tokens=9) for n in range(3)), concurrency=1)
    assert [c.attempts for c in completions] == [2, 1, 1]
    assert [call.get("max_completion_tokens") for call in endpoint.calls] == [None, 9, 9, 9]


def test_requests_are_pulled_lazily_and_bounded() -> None:
    pulled: list[str] = []

    def requests() -> Iterator[Request]:
        for n in count():
            pulled.append(f"q{n}")
            yield ask(f"q{n}")

    with Endpoint() as endpoint:
        completions = EndpointBackend("judge", endpoint.base_url, concurrency=3).generate(requests())
        for _ in range(5):
            next(completions)
        completions.close()  # type: ignore[attr-defined]
        assert len(pulled) <= 5 + 3
        assert endpoint.most_at_once <= 3
        assert len(endpoint.calls) <= len(pulled)


def test_one_backend_serves_several_runs() -> None:
    with Endpoint() as endpoint:
        backend = EndpointBackend("judge", endpoint.base_url)
        texts = []
        for n in range(3):
            texts += [c.text for c in backend.generate([ask(f"q{n}")])]
            backend.close()
    assert texts == ["echo q0", "echo q1", "echo q2"]
    assert list(backend.generate([])) == []


def test_text_that_json_cannot_hold_is_an_error_of_its_row() -> None:
    with Endpoint() as endpoint:
        good, bad = complete(endpoint, ask("q0"), ask("q1", "half \ud83d"))
    assert (good.text, bad.finish_reason) == ("echo q0", "error")


@pytest.mark.slow
def test_abandoned_calls_do_not_hold_up_the_exit() -> None:
    program = (
        "import sys\n"
        "from tests.fakes import ask\n"
        "from reasrm.generation.endpoint import EndpointBackend\n"
        "completions = EndpointBackend('judge', sys.argv[1]).generate(ask(str(n)) for n in range(9))\n"
        "print(next(completions).text)\n"
    )

    def answer(payload: dict[str, Any]) -> Reply:
        if payload["messages"][0]["content"] != "0":
            endpoint.hang()
        return echo(payload)

    with Endpoint(answer, hang_s=120.0) as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", program, endpoint.base_url],
            env={**os.environ, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert done.stdout == "echo 0\n"


def test_the_key_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Endpoint(first_call_only(refuse(500, f"bad key {KEY}"))) as endpoint:
        complete(endpoint, ask("q1"))
    assert caplog.records
    assert KEY not in caplog.text


def test_openais_own_address_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        EndpointBackend("gpt")
    with Endpoint() as endpoint:
        (completion,) = complete(endpoint, ask("q1"))
    assert completion.text == "echo q1"


@pytest.mark.parametrize(
    "base_url", ["localhost:8000/v1", "ftp://host/v1", "http://", "http://me:secret@host/v1"]
)
def test_unusable_addresses(base_url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EndpointBackend("judge", base_url)
    assert "secret" not in str(caught.value)


def test_identity_is_the_model_and_what_is_sent_beside_it() -> None:
    """The address is provenance: `attach` compares it, so that a run that moves can say so."""
    backend = EndpointBackend("judge", "http://localhost:1/v1/")
    assert backend.identity == EndpointBackend("judge", "http://localhost:2/v1").identity
    assert backend.identity != EndpointBackend("other", "http://localhost:1/v1").identity
    assert backend.identity != EndpointBackend("judge", "http://localhost:1/v1", extra_body={"k": 1}).identity
    assert backend.base_url == "http://localhost:1/v1"
    assert backend.name == "judge"


def test_an_endpoint_that_goes_away_ends_the_run_instead_of_failing_every_row() -> None:
    with Endpoint() as endpoint:
        backend = EndpointBackend("m", endpoint.base_url, concurrency=2, attempts=1, timeout_s=5)
        assert [c.finish_reason for c in backend.generate([ask("first")])] == ["stop"]
    backend.close()  # or a connection that was kept alive would still be served
    answered: list[Completion] = []
    with pytest.raises(EnvironmentProblem, match="run the same command again"):
        answered.extend(backend.generate(ask(f"q{n}") for n in range(1000)))
    assert len(answered) < 10


def test_template_options_go_along_as_servers_know_them() -> None:
    request = replace(ask("q1"), template_options={"enable_thinking": False, "effort": "low"})
    with Endpoint() as endpoint:
        complete(endpoint, request, ask("q2"))
    by_text = {call["messages"][-1]["content"]: call for call in endpoint.calls}
    assert by_text["q1"]["chat_template_kwargs"] == {"enable_thinking": False, "effort": "low"}
    assert "chat_template_kwargs" not in by_text["q2"]


def test_calls_that_brought_no_answer_say_what_they_took() -> None:
    """A call without usage is unknown where the server may have answered it, and nothing where it refused."""
    broken = chat("half", finish_reason="abort")
    replies = iter([broken, refuse(429, "later", **{"Retry-After": "0"}), echo])

    def answer(payload: dict[str, Any]) -> Reply:
        reply = next(replies)
        return reply(payload) if callable(reply) else reply

    with Endpoint(answer) as endpoint:
        (found,) = complete(endpoint, ask("q"))
    assert (found.attempts, found.wasted, found.num_prompt_tokens) == (3, ((7, 3),), 7)
    with Endpoint(fault_rate=1.0, faults=("timeout",)) as endpoint:
        (found,) = complete(endpoint, ask("q"), timeout_s=0.05, attempts=1)
    assert (found.finish_reason, found.wasted) == ("error", ((None, None),))
