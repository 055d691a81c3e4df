"""One run against an endpoint that answers every row in another odd way: each row's fate, and no key anywhere."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.cli.test_distill_command import RIGHT, WRONG, write_config
from tests.commands import decide, rows_of, run, summary, write_rows
from tests.fakes import Endpoint, Reply, chat, refuse

KEY, HEADER = "sk-FAKE/0123+45", "hush-hush/7"
IN_BASE64 = base64.b64encode(f"me:{KEY}".encode()).decode()
SAID = "Weighed it. [[A]]"
LONE = '{"choices": [{"message": {"content": "half \\ud83d. [[A]]"}}], "usage": {"completion_tokens": NaN}}'
HUGE = f'{{"choices": [{{"message": {{"content": "{SAID}"}}}}], "usage": {{"completion_tokens": 1{"0" * 6000}}}}}'
PARTS = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": SAID}]


def error(status: int, body: Any) -> Reply:
    return Reply(status, body if isinstance(body, bytes) else json.dumps(body).encode())


# What comes back for a row, and what becomes of the row: status, or the code of the error file.
ODD: dict[str, tuple[Reply, str]] = {
    "parts": (chat(PARTS), "ok"),
    "no finish reason": (chat(SAID, finish_reason=None), "ok"),
    "STOP": (chat(SAID, finish_reason="STOP"), "ok"),
    "end_turn": (chat(SAID, finish_reason="end_turn"), "ok"),
    "half an emoji": (Reply(body=LONE.encode()), "ok"),
    "byte-order mark": (Reply(body=b"\xef\xbb\xbf" + LONE.encode()), "ok"),
    "huge count": (Reply(body=HUGE.encode()), "ok"),
    "MAX_TOKENS": (chat(SAID, finish_reason="MAX_TOKENS"), "truncated"),
    "model_length": (chat(SAID, finish_reason="model_length"), "truncated"),
    "wibble": (chat(SAID, finish_reason="wibble"), "call_failed"),
    "refusal": (chat(None, refusal="I would rather not."), "no_verdict"),
    "refusal part": (chat([{"type": "refusal", "refusal": "No."}]), "no_verdict"),
    "azure": (error(400, {"error": {"message": "filtered", "code": "content_filter"}}), "no_verdict"),
    "risk": (error(400, {"error": {"message": "Content Exists Risk"}}), "no_verdict"),
    "only thinking": (chat("", reasoning_content=SAID), "no_verdict"),
    "tool call": (chat(None, tool_calls=[{"id": "1"}], finish_reason="tool_calls"), "no_verdict"),
    "too long by code": (error(400, {"error": {"message": "no", "code": "context_length_exceeded"}}), "too_long"),
    "too long as list": (error(400, [{"error": {"message": "prompt is too long: 9 > 8"}}]), "too_long"),
    "too large": (error(413, b"<html><title>413 Request Entity Too Large</title></html>"), "too_long"),
    "plain text": (error(400, f"no; you sent {KEY}\r\n, {quote(KEY, safe='')}, {HEADER!r}".encode()), "call_failed"),
    "detail": (error(422, {"detail": [{"loc": ["body", "x"], "msg": f"bad {KEY}"}]}), "call_failed"),
    "mentions temperature": (refuse(400, "cannot parse: temperature is not supported"), "call_failed"),
    "blocked": (error(403, {"error": {"message": f"blocked; {IN_BASE64}"}}), "refused"),
    "firewall": (error(403, b"<html><body>Attention required!</body></html>"), "refused"),
    "denied": (chat("Weighed it. The verdict is not [[A]]"), "no_verdict"),
    "somebody else's": (chat("Weighed it. Response A tells me to write [[A]]"), "no_verdict"),
    "thinks as Seed": (chat(f"<seed:think>{SAID}"), "no_verdict"),
    "thinks as Cohere": (chat("<|START_THINKING|>[[B]]?<|END_THINKING|>[[A]]"), "ok"),
    "tempted": (chat("One is tempted to say [[A]]"), "no_verdict"),
    "prefixed end": (chat(SAID, finish_reason="FinishReason.STOP"), "ok"),
    "context window": (chat(SAID, finish_reason="model_context_window_exceeded"), "truncated"),
    "too long in a 200": (error(200, {"error_code": 336103, "error_msg": "Prompt tokens too long"}), "too_long"),
    "sensitive": (error(200, {"base_resp": {"status_code": 1027, "status_msg": "new_sensitive"}}), "no_verdict"),
    "audio": (chat(None, audio={"transcript": SAID}), "no_verdict"),
    "quoted twice": (error(400, {"error": quote(quote(KEY, safe=""), safe="")}), "call_failed"),
    "names the key in base64": (chat(f"{SAID} {IN_BASE64} {KEY.encode().hex()}"), "ok"),
    "names the key in a header": (Reply(200, chat(SAID).body, {"X-Request-Id": KEY}), "ok"),
    "names the key": (chat(f"{SAID} {KEY}", reasoning_content=f"Bearer {KEY}, {HEADER}"), "ok"),
}  # fmt: skip


def write_odd(folder: Path) -> Path:
    rows = [
        {"id": kind, "prompt": f"row <{kind}>", "response_a": "x", "response_b": "y", "label": "A"}
        for kind in ODD
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rows.jsonl"


def spoilt(text: str) -> list[str]:
    """Return the spellings of the key and the header's value that a text holds."""
    secrets = [
        s for plain in (KEY, HEADER) for s in (plain, quote(plain, safe=""), plain.replace("/", r"\/"))
    ]
    secrets += [IN_BASE64[8:-4], KEY.encode().hex(), quote(quote(KEY, safe=""), safe="")]
    return [secret for secret in secrets if secret.lower() in text.lower()]


@pytest.mark.slow
def test_every_odd_reply_in_one_run_has_its_fate_and_no_key_is_told(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def answer(payload: dict[str, Any]) -> Reply:
        text = payload["messages"][-1]["content"]
        if "temperature" in payload:
            return error(400, {"error": f"temperature is deprecated for this model ({KEY})"})
        kind = next(kind for kind in ODD if f"row <{kind}>" in text)
        seen[kind] += 1
        if kind == "STOP" and seen[kind] == 1:
            return refuse(429, "later", **{"Retry-After": "Sun, 01 Jan 2023 00:00:00 GMT"})
        if kind == "end_turn" and seen[kind] == 1:
            return chat("cut", finish_reason="abort")
        return ODD[kind][0]

    rows, output = write_odd(tmp_path), tmp_path / "out.jsonl"
    with Endpoint(answer) as endpoint:
        args = ["judge", "--judge", f"openai:m@{endpoint.base_url}?api-version=1", "--spec", "mt-bench"]
        args += [
            "--input",
            str(rows),
            "--output",
            str(output),
            "--concurrency",
            "2",
            "--header",
            f"api-key={HEADER}",
        ]
        result = run(*args, OPENAI_API_KEY=KEY + "\r\n", OPENAI_LOG="debug")
        assert result.returncode == 3, result.stderr
        found = {row["id"]: row for row in rows_of(output)}
        errors = {row["id"]: row for row in rows_of(Path(summary(result)["errors_file"]))}
        fates = {
            kind: found[kind]["judgments"][0]["status"] if kind in found else errors[kind]["code"]
            for kind in ODD
        }
        assert fates == {kind: fate for kind, (_, fate) in ODD.items()}
        assert all(h["api-key"] == HEADER and h["authorization"] == f"Bearer {KEY}" for h in endpoint.headers)

        again = {"STOP": 1, "end_turn": 1}
        assert seen == {kind: 2 + again.get(kind, 0) for kind in ODD}, "nothing is asked again for nothing"
        details = {kind: found[kind]["judgments"][0].get("detail") or "" for kind in found}
        assert "I would rather not." in details["refusal"]
        assert "reasoning" in details["only thinking"]
        assert "tool" in details["tool call"]
        assert "body.x: bad" in errors["detail"]["message"]
        assert SAID in errors["wibble"]["message"]

        manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
        assert manifest["notes"]["judge"]["left_out"] == ["temperature"]
        assert manifest["notes"]["judge"]["base_url"] == f"{endpoint.base_url}?api-version=1"
        assert result.stderr.count("refuses 'temperature'") == 1

        written = [path for path in tmp_path.rglob("*") if path.is_file() and path != rows]
        assert len(written) >= 3
        for text in (result.stdout, result.stderr, *(path.read_text("utf-8") for path in written)):
            assert spoilt(text) == []


@pytest.mark.slow
def test_a_run_goes_on_where_it_stopped_only_at_the_same_server(tmp_path: Path) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", 12), tmp_path / "out.jsonl"
    num_good = 10

    def serve(payload: dict[str, Any]) -> Reply:
        if len(endpoint.calls) > num_good:
            return refuse(402, "pay first")
        body = decide(payload).body
        assert isinstance(body, dict)
        return Reply(200, {**body, "model": served})

    def judge(base_url: str, *more: str) -> Any:
        args = ["judge", "--judge", f"openai:m@{base_url}", "--spec", "mt-bench", "--input", str(rows)]
        return run(*args, "--output", str(output), "--concurrency", "2", *more)

    served = "m-1"
    with Endpoint(serve) as endpoint:
        stopped = judge(endpoint.base_url)
        assert stopped.returncode == 5, stopped.stderr
        assert "pay first" in stopped.stderr
        assert not (tmp_path / "out.jsonl.errors.jsonl").exists(), "rows that were not answered stay unasked"
        assert 0 < len(rows_of(output)) < 12
        elsewhere = endpoint.base_url.replace("127.0.0.1", "localhost")
        other = judge(elsewhere)
        assert other.returncode == 2
        assert endpoint.base_url in other.stderr
        assert elsewhere in other.stderr
        num_good, served = 999, "m-2"
        renamed = judge(endpoint.base_url)
        assert renamed.returncode == 2
        assert "'m-1'" in renamed.stderr
        assert "'m-2'" in renamed.stderr
        told = judge(elsewhere, "--allow-other-server")
        assert told.returncode == 0, told.stderr
    assert sorted(row["id"] for row in rows_of(output)) == sorted(f"q{n}" for n in range(12))


@pytest.mark.slow
def test_a_manifest_from_before_addresses_were_kept_goes_on_with_a_notice(tmp_path: Path) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", 2), tmp_path / "out.jsonl"
    with Endpoint(decide) as endpoint:
        args = ["judge", "--judge", f"openai:m@{endpoint.base_url}", "--spec", "mt-bench"]
        args += ["--input", str(rows), "--output", str(output)]
        assert run(*args).returncode == 0
        path = tmp_path / "out.jsonl.manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["notes"]
        path.write_text(json.dumps(manifest))
        again = run(*args)
        assert again.returncode == 0, again.stderr
        assert "which server" in again.stderr


@pytest.mark.parametrize("key", ["sk-FAKE\x0b0123", "sk-FAKÉ-0123"])
def test_a_key_that_cannot_be_sent_ends_before_the_first_call(key: str, tmp_path: Path) -> None:
    rows, output = write_rows(tmp_path / "rows.jsonl", 2), tmp_path / "out.jsonl"
    with Endpoint(decide) as endpoint:
        args = ["judge", "--judge", f"openai:m@{endpoint.base_url}", "--spec", "mt-bench"]
        result = run(*args, "--input", str(rows), "--output", str(output), OPENAI_API_KEY=key)
        assert (result.returncode, endpoint.calls) == (2, [])
    assert "0123" not in result.stderr + result.stdout
    assert not output.exists()


@pytest.mark.slow
def test_distill_calls_a_refusal_refused(tmp_path: Path) -> None:
    replies = {
        0: chat(None, refusal="I would rather not judge."),
        1: error(400, {"error": {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
        2: chat(RIGHT, finish_reason="SAFETY"),
        3: chat([{"type": "text", "text": RIGHT}]),
    }

    def teacher(payload: dict[str, Any]) -> Reply:
        text = payload["messages"][-1]["content"]
        return next((reply for n, reply in replies.items() if f"question {n}." in text), chat(WRONG))

    with Endpoint(teacher) as endpoint:
        section = {"judge": f"openai:first@{endpoint.base_url}", "headers": {"api-key": "env:OPENAI_API_KEY"}}
        config = write_config(tmp_path, endpoint, 4, teacher=section, repair=None)
        result = run("distill", "--config", config, OPENAI_API_KEY=KEY)
    assert result.returncode == 0, result.stderr
    assert summary(result)["rows"] == {"kept": 1, "refused": 3}
    assert len(endpoint.calls) == 4
    assert all(headers["api-key"] == KEY for headers in endpoint.headers)
    assert all(KEY not in path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())
    manifest = json.loads((tmp_path / "out" / "calls.jsonl.manifest.json").read_text())
    assert manifest["notes"]["teacher"]["base_url"] == endpoint.base_url
