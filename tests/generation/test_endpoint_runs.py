"""What an endpoint may do to a run: refuse parameters, stop it, move it, keep it waiting, ask for the key."""

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest

from reasrm.errors import ConfigError, EnvironmentProblem
from reasrm.generation.endpoint import EndpointBackend
from reasrm.generation.endpoint.bodies import one_line
from reasrm.generation.endpoint.keys import Secrets, find_key, read_address
from reasrm.generation.endpoint.refusals import read_refusal
from reasrm.requests import Completion, PromptMessage, Request, Span
from tests.fakes import Endpoint, Reply, ask, chat, echo, refuse

KEY = "sk-FAKE/0123+45'67\"89=="


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("reasrm.generation.endpoint.waiting._FIRST_PAUSE_S", 0.01)


def run(
    endpoint: Endpoint, num: int = 3, *, found: list[Completion] | None = None, **options: Any
) -> list[Completion]:
    """Return the completions of some requests; `found` also has those before an error."""
    options = {"concurrency": 1, **options}
    found = [] if found is None else found
    with closing(EndpointBackend("judge", endpoint.base_url, **options)) as backend:
        for completion in backend.generate(ask(f"q{n}", temperature=0.5, top_p=0.9) for n in range(num)):
            found.append(completion)
    return found


def without(*names: str, status: int = 400, together: str = "") -> Callable[[dict[str, Any]], Reply]:
    """Return an endpoint that refuses what has one of these fields, or two together."""

    def answer(payload: dict[str, Any]) -> Reply:
        refused = next((name for name in names if name in payload), None)
        if refused is not None:
            return refuse(status, f"Unsupported parameter: '{refused}' is not supported with this model")
        if together and all(name in payload for name in together.split()):
            return refuse(status, f"`{'` and `'.join(together.split())}` cannot both be specified")
        return echo(payload)

    return answer


@pytest.mark.parametrize(
    ("answer", "left_out"),
    [
        (without("temperature"), {"temperature"}),
        (without("seed", status=422), {"seed"}),
        (without("temperature", "top_p", "seed"), {"temperature", "top_p", "seed"}),
        (without(together="temperature top_p"), {"top_p"}),
        (without("max_tokens"), set()),
    ],
)
def test_a_refused_parameter_is_left_out_for_the_rest_of_the_run_and_said_once(
    answer: Callable[[dict[str, Any]], Reply], left_out: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    with Endpoint(answer) as endpoint:
        completions = run(endpoint, attempts=1)
    assert [c.finish_reason for c in completions] == ["stop"] * 3
    assert [c.attempts for c in completions][1:] == [1, 1]
    assert {"temperature", "top_p", "seed"} - endpoint.calls[-1].keys() == left_out
    said = [record.message for record in caplog.records if "refuses" in record.message]
    assert len(said) == len(left_out or {"max_tokens"})


def test_what_means_nothing_is_not_sent() -> None:
    with Endpoint() as endpoint, closing(EndpointBackend("m", endpoint.base_url)) as backend:
        list(backend.generate([ask("greedy"), ask("drawn", temperature=0.1)]))
    by_text = {call["messages"][0]["content"]: call for call in endpoint.calls}
    assert by_text["greedy"].keys() == {"model", "messages", "temperature", "max_tokens"}
    assert by_text["drawn"].keys() == {"model", "messages", "temperature", "max_tokens", "seed"}


@pytest.mark.parametrize(
    "message",
    [
        "cannot parse: temperature is not supported with this model",
        "the prompt is too long, and temperature is not supported",
    ],
)
def test_a_refusal_for_another_reason_takes_no_parameter_away(message: str) -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        return refuse(400, message) if payload["messages"][0]["content"] == "q1" else echo(payload)

    with Endpoint(answer) as endpoint:
        completions = run(endpoint)
    assert [c.finish_reason == "stop" for c in completions] == [True, False, True]
    assert "temperature" in endpoint.calls[-1]


def test_a_value_out_of_range_is_the_users_to_mend() -> None:
    with Endpoint(lambda _: refuse(422, "temperature must be less than or equal to 0.3")) as endpoint:
        (completion,) = run(endpoint, 1)
    assert "0.3" in (completion.error or "")
    assert len(endpoint.calls) == 1


def test_a_refused_system_message_goes_in_front_of_the_users(caplog: pytest.LogCaptureFixture) -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        if payload["messages"][0]["role"] == "system":
            return refuse(400, "System role not supported")
        return echo(payload)

    system = PromptMessage("system", (Span("Judge.", trusted=True),))
    requests = [replace(ask(f"q{n}"), messages=(system, *ask(f"q{n}").messages)) for n in range(3)]
    with (
        Endpoint(answer) as endpoint,
        closing(EndpointBackend("m", endpoint.base_url, concurrency=1)) as backend,
    ):
        texts = [c.text for c in backend.generate(requests)]
    assert texts == [f"echo Judge.\n\nq{n}" for n in range(3)]
    assert len(endpoint.calls) == 4
    assert sum("system" in record.message for record in caplog.records) == 1


def after(num_good: int, reply: Reply) -> Callable[[dict[str, Any]], Reply]:
    calls = count()
    return lambda payload: echo(payload) if next(calls) < num_good else reply


QUOTA = Reply(429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})


HOPELESS = {
    "expired": refuse(401, "expired"),
    "no money": refuse(402, "pay"),
    "not allowed": refuse(403, "not allowed"),
    "quota": QUOTA,
    "credit": refuse(400, "credit balance is too low"),
    "loading": refuse(503, "loading"),
    "broken": refuse(500, "oops"),
    "no model": refuse(404, "no such model"),
}


@pytest.mark.slow
@pytest.mark.parametrize("num_good", [0, 7])
@pytest.mark.parametrize("reply", HOPELESS.values(), ids=HOPELESS.keys())
def test_what_no_row_can_change_stops_the_run_and_fails_no_row(reply: Reply, num_good: int) -> None:
    found: list[Completion] = []
    with (
        Endpoint(after(num_good, reply)) as endpoint,
        pytest.raises((EnvironmentProblem, ConfigError)) as caught,
    ):
        run(endpoint, 300, found=found, concurrency=4, attempts=2)
    is_users = num_good == 0 and reply.status in (401, 403, 404)
    assert caught.type is (ConfigError if is_users else EnvironmentProblem)
    assert [c.finish_reason for c in found] == ["stop"] * num_good
    assert len(endpoint.calls) <= num_good + 24
    assert "run the same command again" in str(caught.value)
    assert isinstance(reply.body, dict)
    assert reply.body["error"]["message"] in str(caught.value)


def test_a_login_page_instead_of_an_endpoint_stops_the_run() -> None:
    found: list[Completion] = []
    with (
        Endpoint(lambda _: Reply(body=b"<html>log in</html>")) as endpoint,
        pytest.raises(EnvironmentProblem),
    ):
        run(endpoint, 300, found=found, concurrency=4, attempts=2)
    assert (found, len(endpoint.calls) <= 24) == ([], True)


def test_a_used_up_quota_is_not_asked_again() -> None:
    with Endpoint(lambda _: QUOTA) as endpoint, pytest.raises(EnvironmentProblem, match="quota"):
        run(endpoint, 9)
    assert len(endpoint.calls) == 1


def test_the_same_refusal_of_every_request_stops_before_the_first_answer_only() -> None:
    found: list[Completion] = []
    with (
        Endpoint(lambda _: refuse(400, "no model 3 here")) as endpoint,
        pytest.raises(EnvironmentProblem, match="no model"),
    ):
        run(endpoint, 300, found=found, concurrency=4)
    assert (found, len(endpoint.calls) <= 12) == ([], True)
    with Endpoint(after(1, refuse(400, "not this row"))) as endpoint:
        completions = run(endpoint, 30)
    assert [c.finish_reason for c in completions] == ["stop"] + ["error"] * 29


def test_failures_that_an_answer_follows_are_their_rows_own() -> None:
    def answer(payload: dict[str, Any]) -> Reply:
        return echo(payload) if payload["messages"][0]["content"] == "q4" else refuse(500, "oops")

    with Endpoint(answer) as endpoint:
        completions = run(endpoint, 6, attempts=1)
    assert [c.finish_reason for c in completions] == ["error"] * 4 + ["stop", "error"]


def test_answers_under_way_are_kept_when_the_run_stops() -> None:
    started = threading.Barrier(2, timeout=30)

    def answer(payload: dict[str, Any]) -> Reply:
        started.wait()
        if payload["messages"][0]["content"] == "q0":
            return refuse(401, "expired")
        time.sleep(0.2)
        return echo(payload)

    found: list[Completion] = []
    with Endpoint(answer) as endpoint, pytest.raises(ConfigError):
        run(endpoint, 9, found=found, concurrency=2)
    assert [c.text for c in found] == ["echo q1"]


def test_a_date_in_retry_after_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("reasrm.generation.endpoint.call.time.sleep", pauses.append)
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 150))
    replies = iter([refuse(429, "later", **{"Retry-After": when})])
    with Endpoint(lambda payload: next(replies, echo(payload))) as endpoint:
        (completion,) = run(endpoint, 1)
    assert (completion.text, completion.attempts) == ("echo q0", 2)
    assert 140 < pauses[0] <= 150


@contextmanager
def raw_server(head: bytes, drip: bytes, pause_s: float) -> Iterator[str]:
    """A server that begins to answer and then goes on for ever."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=feed, args=(connection,), daemon=True).start()

    def feed(connection: socket.socket) -> None:
        try:
            connection.recv(1 << 16)
            connection.sendall(head)
            while True:
                connection.sendall(drip)
                time.sleep(pause_s)
        except OSError:
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "drip", "pause_s", "named"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{", b" ", 0.02, "0.3 s"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 99999999\r\n\r\n", b" ", 0.02, "0.3 s"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.02, "0.3 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b" " * 65536, 0.0, "MiB"),
    ],
    ids=["dripping answer", "dripping error", "dripping head", "endless answer"],
)
def test_the_timeout_is_for_the_whole_answer_and_its_size_has_a_cap(
    head: bytes, drip: bytes, pause_s: float, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasrm.generation.endpoint.client.MOST_BYTES", 1 << 20)
    timeout_s = 30.0 if named == "MiB" else 0.3
    with (
        raw_server(head, drip, pause_s) as base_url,
        closing(EndpointBackend("m", base_url, attempts=1, timeout_s=timeout_s)) as backend,
    ):
        (completion,) = backend.generate([ask("q1")])
    assert completion.finish_reason == "error"
    assert named in (completion.error or "")


def moved(to: str, status: int = 307) -> Callable[[dict[str, Any]], Reply]:
    return lambda _: Reply(status, b"", {"Location": to})


def test_another_host_is_refused_unless_told_and_never_gets_the_key() -> None:
    with Endpoint() as other:
        target = other.base_url.replace("127.0.0.1", "localhost") + "/chat/completions"
        with Endpoint(moved(target)) as endpoint:
            with pytest.raises(EnvironmentProblem, match="another server"):
                run(endpoint, headers={"X-Secret": "hush-hush-7"})
            assert not other.calls
            told = run(endpoint, headers={"X-Secret": "hush-hush-7"}, follow_redirects=True)
    assert [c.finish_reason for c in told] == ["stop"] * 3
    assert all("hush" not in str(headers) and "FAKE" not in str(headers) for headers in other.headers)


@pytest.mark.parametrize("to", ["/login", "", "http://[", "/v1/chat/completions"])
def test_a_redirect_that_leads_nowhere_is_named(to: str) -> None:
    with Endpoint(moved(to, 302)) as endpoint, pytest.raises(EnvironmentProblem, match="redirects"):
        run(endpoint)
    assert len(endpoint.calls) <= 6


SPELLINGS = [
    KEY,
    repr(KEY),
    repr((KEY + "\r\n").encode()),
    quote(KEY, safe=""),
    quote(KEY).lower(),
    KEY.replace('"', r"\"").replace("/", r"\/"),
    "".join(rf"\u{ord(c):04x}" for c in KEY),
    KEY.replace('"', "&quot;").replace("'", "&#x27;"),
    KEY.replace("+", "&plus;").replace("/", "&sol;"),
    quote(quote(KEY, safe=""), safe=""),
    "".join(f"={ord(c):02X}" for c in KEY),
    "".join(rf"\{ord(c):03o}" for c in KEY),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_the_key_is_passed_on(spelling: str) -> None:
    cleaned = Secrets([KEY]).clean(f"before {spelling} after")
    assert "FAKE" not in cleaned
    assert "0123" not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ENCODED = {
    "base64": _base64(KEY),
    "basic": f"Basic {_base64(f'user:{KEY}')}",
    "basic, another length": _base64(f"me:{KEY}"),
    "inside": _base64(f'{{"key": "{KEY}", "n": 1}}'),
    "url-safe": base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("="),
    "in lines": base64.encodebytes(f"{'x' * 40}{KEY}".encode()).decode(),
    "in JSON": json.dumps(_base64(KEY)).replace("/", "\\/"),
    "quoted": quote(_base64(KEY), safe=""),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex(" ").upper(),
    "colons": KEY.encode().hex(":"),
    "0x": ", ".join(f"0x{byte:02x}" for byte in KEY.encode()),
    "bytes": str(list(KEY.encode())),
    "twice": _base64(KEY * 2),
}


@pytest.mark.parametrize("written", ENCODED.values(), ids=ENCODED.keys())
def test_no_encoding_of_the_key_is_passed_on(written: str) -> None:
    secrets = Secrets([KEY])
    for cleaned in (
        secrets.clean(f"before {written} after"),
        secrets.clean_answer(f"before {written} after"),
    ):
        assert "[key]" in cleaned
        assert cleaned.startswith("before ")
        assert cleaned.endswith(" after")
        for inside in (*(_base64("x" * n + KEY)[4:-4] for n in range(3)), KEY.encode().hex()):
            assert not any(inside[n : n + 6] in cleaned for n in range(len(inside) - 6))


def test_a_message_cut_inside_an_encoded_key_holds_no_part_of_it() -> None:
    said = one_line("x" * 480 + " " + _base64(KEY))
    assert _base64(KEY)[:6] not in Secrets([KEY]).clean(said)


def test_text_that_looks_encoded_stays() -> None:
    text = f"{_base64('nothing secret here at all')} {b'nothing'.hex()} [1, 2, 3] 0x3f"
    for clean in (Secrets([KEY]).clean, Secrets([KEY]).clean_answer):
        assert clean(text) == text


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Bearer tok-ALPHA-12345678", "no such token: tok-ALPHA-12345678"),
        (f"Basic {_base64('me:hush-ALPHA-99')}", "wrong password hush-ALPHA-99"),
        ("sid=ALPHA123456; theme=dark", "unknown session ALPHA123456"),
        ("Bearer tok-ALPHA-12345678", _base64("tok-ALPHA-12345678")),
        ('"tok-ALPHA-12345678"', "no such key: tok-ALPHA-12345678"),
        ("token='tok-ALPHA-12345678'", "no such key: tok-ALPHA-12345678"),
    ],
)
def test_the_secret_part_of_a_header_is_a_secret_by_itself(value: str, told: str) -> None:
    cleaned = Secrets([value]).clean(told)
    assert "[key]" in cleaned
    assert "ALPHA" not in cleaned
    assert _base64("tok-ALPHA-12345678")[4:12] not in cleaned
    assert Secrets([value]).clean("a dark theme for the Bearer") == "a dark theme for the Bearer"


@pytest.mark.parametrize("body", ["{}", "<html><body>{}</body></html>", '{{"error": {{"message": "{}"}}}}'])
@pytest.mark.parametrize("shape", ["cut", "folded", "marked"])
def test_no_part_of_a_key_is_left_where_a_message_was_cut_or_folded(body: str, shape: str) -> None:
    key = "sk-ALPHA-SECRET-98765"
    told = {
        "cut": "x" * 484 + " " + key,
        "folded": key[:8] + "  " + key[8:],
        "marked": key[:8] + "<b>" + key[8:],
    }
    refusal = read_refusal(400, body.format(told[shape]).encode())
    cleaned = Secrets([key]).clean(refusal.reason)
    if shape != "marked" or "html" in body:
        assert "ALPHA" not in cleaned
        assert "SECRET" not in cleaned


def test_a_message_cut_inside_a_code_holds_no_part_of_a_key() -> None:
    key = "sk-ALPHA-SECRET-98765"
    refusal = read_refusal(400, json.dumps({"error": {"code": "x" * 65 + key}}).encode())
    assert "alpha" not in Secrets([key]).clean(refusal.reason).lower()


def test_a_placeholder_for_a_key_is_a_word_like_any_other() -> None:
    for key in ("EMPTY", "none", "placeholder", "x"):
        assert Secrets([key]).clean(f"the answer is {key}") == f"the answer is {key}"
    assert Secrets(["2023-06-01"]).clean_answer("on 2023-06-01") == "on 2023-06-01"


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_server_that_repeats_key_and_headers_leaks_nothing(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def answer(payload: dict[str, Any]) -> Reply:
        said = f"{endpoint.headers[-1]} {quote(KEY)} {_base64(f'me:{KEY}')} {KEY.encode().hex()}"
        body = chat(said, reasoning_content=said).body
        assert isinstance(body, dict)
        return Reply(200, {**body, "model": said}) if status == 200 else refuse(status, said)

    with Endpoint(answer) as endpoint:
        try:
            seen = str(run(endpoint, 2, attempts=1, headers={"X-Secret": "hush-hush-7"}))
        except ConfigError as error:
            seen = str(error)
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"
    assert endpoint.headers[0]["x-secret"] == "hush-hush-7"
    for text in (seen, caplog.text):
        assert "[key]" in seen
        assert "FAKE" not in text
        assert "hush" not in text
        assert _base64(f"me:{KEY}")[4:16] not in text
        assert KEY.encode().hex() not in text


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\r\n"])
def test_a_line_end_behind_the_key_is_stripped(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + end)
    assert find_key(read_address("http://h/v1")) == KEY


@pytest.mark.parametrize(
    "wrong", ["sk-1\n2345678", "sk-1\x002345678"[:4] + "\x7f5678", "sk-ключ-5678", "“sk-5678”"]
)
def test_a_key_that_cannot_be_sent_is_refused_unshown(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    with pytest.raises(ConfigError, match=r"U\+") as caught:
        EndpointBackend("m", "http://h/v1")
    assert "5678" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ConfigError, match="X-A") as caught:
        EndpointBackend("m", "http://h/v1", headers={"X-A": wrong})
    assert "5678" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://me:hush@h/v1",
        "http://hush@h/v1",
        "http://h/v1?api_key=hush",
        "http://h/v1?key=hush",
        "http://h/v1?X-Sig=hush",
        "h:1/v1?token=hush",
        "ftp://me:hush@h",
        "http://h:99999/v1?token=hush",
        "http://h/v1#hush",
    ],
)
def test_secrets_in_an_address_are_refused_unshown(base_url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EndpointBackend("m", base_url)
    assert "hush" not in str(caught.value)


def test_an_address_may_have_a_query_and_calls_more_headers_and_fields() -> None:
    with Endpoint() as endpoint:
        address = f"{endpoint.base_url}/?api-version=2024-10-21"
        options: dict[str, Any] = {
            "headers": {"api-key": "env:OPENAI_API_KEY"},
            "extra_body": '{"provider": {"only": ["x"]}}',
        }
        with closing(EndpointBackend("m", address, **options)) as backend:
            (completion,) = backend.generate([ask("q1")])
            assert backend.base_url == f"{endpoint.base_url}?api-version=2024-10-21"
    assert completion.text == "echo q1"
    assert endpoint.paths == ["/v1/chat/completions?api-version=2024-10-21"]
    assert endpoint.calls[0]["provider"] == {"only": ["x"]}
    assert endpoint.headers[0]["api-key"] == KEY


@pytest.mark.parametrize(
    "options",
    [
        {"extra_body": "{"},
        {"extra_body": "[1]"},
        {"extra_body": {"temperature": 1}},
        {"extra_body": '{"messages": []}'},
        {"headers": {"Host": "x"}},
        {"headers": {"a b": "x"}},
        {"headers": {"x": 7}},
        {"headers": {"x": "env:NO_SUCH_NAME"}},
        {"headers": ["x"]},
        {"timeout_s": float("nan")},
        {"extra_body": {"user": KEY}},
        {"extra_body": {"auth": [{"basic": base64.b64encode(f"me:{KEY}".encode()).decode()}]}},
        {"model": f"judge-{KEY}"},
    ],
)
def test_unusable_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        EndpointBackend(**{"model": "m", "base_url": "http://h/v1", **options})
    assert "FAKE" not in str(caught.value)


def test_a_proxy_is_used_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Endpoint() as endpoint:
        # A proxy that answers itself: it is asked for the whole address.
        monkeypatch.setenv(
            "http_proxy", f"http://me:hush-hush@127.0.0.1:{endpoint.base_url.split(':')[2].split('/')[0]}"
        )
        with (
            pytest.raises(ConfigError, match="404"),
            closing(EndpointBackend("m", "http://far.example/v1")) as backend,
        ):
            list(backend.generate([ask("q1")]))
        assert endpoint.paths == ["http://far.example/v1/chat/completions"]
    with pytest.raises(EnvironmentProblem, match="proxy") as caught:
        list(EndpointBackend("m", "http://far.example/v1", attempts=1).generate([ask("q1")]))
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("http_proxy", "gopher://me:hush-hush@h:1")
    with pytest.raises(EnvironmentProblem, match="proxy") as caught:
        list(EndpointBackend("m", "http://far.example/v1").generate([ask("q1")]))
    assert "hush" not in str(caught.value)


def served_by(name: str | None) -> Callable[[dict[str, Any]], Reply]:
    def answer(payload: dict[str, Any]) -> Reply:
        body = echo(payload).body
        assert isinstance(body, dict)
        return Reply(200, body if name is None else {**body, "model": name})

    return answer


def test_what_serves_is_noted_and_another_one_is_refused_unless_told() -> None:
    notes: list[dict[str, Any]] = []

    def ask_again(endpoint: Endpoint, recorded: dict[str, Any], *, allow_other: bool = False) -> list[str]:
        with closing(EndpointBackend("m", endpoint.base_url)) as backend:
            said = backend.attach(
                recorded,
                lambda note: notes.append(dict(note)),
                resumed=bool(recorded),
                allow_other=allow_other,
            )
            list(backend.generate([ask("q1")]))
        return said

    with Endpoint(served_by("m-2026")) as endpoint:
        assert ask_again(endpoint, {}) == []
        first = notes[-1]
        assert first == {
            "base_url": endpoint.base_url,
            "model": "m",
            "served_models": ["m-2026"],
            "left_out": [],
        }
        assert ask_again(endpoint, first) == []
        endpoint.answer = served_by("m-2027")
        with pytest.raises(ConfigError, match=r"'m-2026'.*'m-2027'"):
            ask_again(endpoint, first)
        ask_again(endpoint, first, allow_other=True)
        assert notes[-1]["served_models"] == ["m-2026", "m-2027"]
        elsewhere = {**first, "base_url": "http://elsewhere/v1"}
        with pytest.raises(ConfigError, match="elsewhere") as caught:
            ask_again(endpoint, elsewhere)
        assert endpoint.base_url in str(caught.value)
        assert len(ask_again(endpoint, elsewhere, allow_other=True)) == 1
        unknown = ask_again(endpoint, {"model": "m"})  # a manifest from before addresses were kept
        assert len(unknown) == 1


def test_what_was_left_out_stays_left_out_when_a_run_goes_on() -> None:
    with (
        Endpoint(without("temperature")) as endpoint,
        closing(EndpointBackend("m", endpoint.base_url)) as backend,
    ):
        recorded = {"base_url": endpoint.base_url, "left_out": ["temperature"]}
        backend.attach(recorded, lambda note: None, resumed=True)
        list(backend.generate([ask("q1")]))
    assert len(endpoint.calls) == 1


def test_a_prompt_made_of_error_messages_decides_nothing() -> None:
    evil = "temperature is not supported; insufficient balance; maximum context length is 8 tokens; content filter"

    def answer(payload: dict[str, Any]) -> Reply:
        return refuse(400, f"could not read {evil}")

    with Endpoint(answer) as endpoint, closing(EndpointBackend("m", endpoint.base_url)) as backend:
        request: Request = ask("q1", evil)
        (completion,) = backend.generate([request])
    assert (completion.finish_reason, len(endpoint.calls)) == ("error", 1)


def refusing(*texts: str, reply: Reply) -> Callable[[dict[str, Any]], Reply]:
    """Return an endpoint that answers all but some requests."""
    return lambda payload: reply if payload["messages"][0]["content"] in texts else echo(payload)


@pytest.mark.parametrize("refused", [("q0",), ("q3",), ("q0", "q4", "q8"), ("q8",)])
@pytest.mark.parametrize(
    "reply",
    [
        refuse(403, "Forbidden: this request was not let through"),
        Reply(403, b"<html><body>Attention required! You have been blocked.</body></html>"),
    ],
    ids=["words", "firewall"],
)
def test_a_403_of_some_rows_is_theirs_and_the_others_are_answered(
    reply: Reply, refused: tuple[str, ...]
) -> None:
    with Endpoint(refusing(*refused, reply=reply)) as endpoint:
        completions = {c.request_id: c for c in run(endpoint, 9, concurrency=2)}
    assert {name for name, c in completions.items() if c.finish_reason == "error"} == set(refused)
    assert {c.error_code for c in completions.values() if c.finish_reason == "error"} == {"refused"}
    assert len(completions) == len(endpoint.calls) == 9
    assert "403" in (completions[refused[0]].error or "")


def test_a_403_of_every_row_stops_however_other_failures_are_mixed_in() -> None:
    calls = count()
    replies = (refuse(403, "no"), refuse(500, "oops"))

    def answer(payload: dict[str, Any]) -> Reply:
        return echo(payload) if payload["messages"][0]["content"] == "q0" else replies[next(calls) % 2]

    found: list[Completion] = []
    with Endpoint(answer) as endpoint, pytest.raises(EnvironmentProblem):
        run(endpoint, 300, found=found, concurrency=2, attempts=1)
    assert [c.text for c in found] == ["echo q0"]
    assert len(endpoint.calls) <= 12


@pytest.mark.parametrize("num", [1, 5])
def test_a_403_before_any_answer_is_the_keys(num: int) -> None:
    found: list[Completion] = []
    with Endpoint(lambda _: refuse(403, "no access")) as endpoint, pytest.raises(ConfigError, match="key"):
        run(endpoint, num, found=found, concurrency=2)
    assert (found, len(endpoint.calls)) == ([], num)


def test_a_403_of_the_rows_left_over_is_theirs_where_the_server_answered_an_earlier_run() -> None:
    with Endpoint(lambda _: refuse(403, "blocked")) as endpoint:
        for served, num, stops in ((["m"], 2, False), ([], 2, True), (["m"], 300, True)):
            with closing(EndpointBackend("m", endpoint.base_url, concurrency=1)) as backend:
                recorded = {"base_url": endpoint.base_url, "served_models": served}
                backend.attach(recorded, lambda note: None, resumed=True)
                if stops:
                    with pytest.raises(ConfigError):
                        list(backend.generate(ask(f"q{n}") for n in range(num)))
                else:
                    completions = list(backend.generate(ask(f"q{n}") for n in range(num)))
                    assert [c.error_code for c in completions] == ["refused"] * num


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_waited_for_whatever_its_status(status: int) -> None:
    replies = iter([refuse(status, "secondary rate limit", **{"Retry-After": "0.01"})])
    with Endpoint(lambda payload: next(replies, echo(payload))) as endpoint:
        (completion,) = run(endpoint, 1)
    assert (completion.text, completion.attempts) == ("echo q0", 2)
