"""The fault table, end to end: the real command, a real HTTP endpoint on loopback, real signals."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest

import reasrm
from tests.commands import decide, rows_of, run_piped, sorted_lines, start, summary, write_rows
from tests.commands import here as run
from tests.fakes import Endpoint, Reply, chat

WRONG_LABELS = (7, "C", -100, "", "A > B")
SANDBOX_MODEL = Path(reasrm.__file__).with_name("sandbox_judge") / "model"
SEPARATORS = "a\u2028b\u2029c\u0085d\x0be\x0cf"


def judge_args(endpoint: Endpoint, rows: Path, output: Path, *more: str) -> list[str]:
    return [
        "judge",
        "--judge",
        f"openai:fake@{endpoint.base_url}",
        "--spec",
        "mt-bench",
        "--input",
        str(rows),
        "--output",
        str(output),
        *more,
    ]


def held(free: int, go_on: threading.Event):
    """An endpoint that answers some calls and keeps the others waiting, however slow the machine is."""
    asked = itertools.count()

    def answer(payload: dict) -> Reply:
        if next(asked) >= free:
            go_on.wait(timeout=120)
        return decide(payload)

    return answer


def slow(delay_s: float):
    """An endpoint that thinks for a while."""

    def answer(payload: dict) -> Reply:
        time.sleep(delay_s)
        return decide(payload)

    return answer


def kill_until_done(tmp_path: Path, kills: int, count: int, concurrency: int) -> None:
    """F1: kill -9 at random points, run again, compare with a run that nobody disturbed."""
    rows = write_rows(tmp_path / "rows.jsonl", count)
    output = tmp_path / "out.jsonl"
    draw = random.Random(1)
    with Endpoint(slow(0.004)) as endpoint:
        args = judge_args(endpoint, rows, output, "--concurrency", str(concurrency))
        for _ in range(kills):
            before = output.stat().st_size if output.exists() else 0
            process = start(*args)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if output.exists() and output.stat().st_size > before:
                    break
                time.sleep(0.002)
            time.sleep(draw.random() * 0.03)
            process.kill()
            process.communicate()
        killed_calls = len(endpoint.calls)
        result = run(*args)
        assert result.returncode == 0, result.stderr
        total_calls = len(endpoint.calls)
        clean = tmp_path / "clean.jsonl"
        assert run(*judge_args(endpoint, rows, clean)).returncode == 0
    ids = [row["id"] for row in rows_of(output)]
    assert sorted(ids) == sorted(f"q{n}" for n in range(count))
    assert sorted_lines(output) == sorted_lines(clean)
    assert killed_calls < total_calls or killed_calls == 2 * count
    assert total_calls - 2 * count <= kills * 2 * (concurrency + 64)


@pytest.mark.slow
def test_f1_killed_runs_lose_nothing_and_repeat_nothing(tmp_path):
    kill_until_done(tmp_path, kills=10, count=150, concurrency=4)


@pytest.mark.soak
def test_f1_soak_two_hundred_kills(tmp_path):
    kill_until_done(tmp_path, kills=200, count=2000, concurrency=8)


def mend_and_pipe_until_done(tmp_path: Path, kills: int, count: int) -> None:
    """F1 with an input that is mended between the kills, and comes as a file or through a pipe by turns."""
    rows, output, errors = (
        tmp_path / "rows.jsonl",
        tmp_path / "out.jsonl",
        tmp_path / "out.jsonl.errors.jsonl",
    )
    good = write_rows(rows, count).read_text().splitlines()
    lines = list(good)
    damaged = list(range(3, count, max(count // kills, 1)))[:kills]
    for n in damaged:
        lines[n] = good[n].replace('"label": "A"', '"label": "?"') if n % 2 else good[n][:-1]
    draw = random.Random(2)
    with Endpoint(slow(0.004)) as endpoint:
        for n in damaged:
            rows.write_text("\n".join(lines) + "\n")
            piped = n % 3 == 0
            args = judge_args(endpoint, Path("-") if piped else rows, output, "--concurrency", "4")
            before = output.stat().st_size if output.exists() else 0
            process = start(*args, piped=rows if piped else None)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                if output.exists() and output.stat().st_size > before:
                    break
                time.sleep(0.002)
            time.sleep(draw.random() * 0.05)
            process.kill()
            process.communicate()
            if process.returncode >= 0:  # it was faster than the kill: every row came to something
                assert process.returncode == 3
                done = [row["id"] for row in rows_of(output)] + [row["id"] for row in rows_of(errors)]
                assert len(done) == len(set(done)) == count
            lines[n] = good[n]
        rows.write_text("\n".join(lines) + "\n")
        result = run_piped(*judge_args(endpoint, Path("-"), output), piped=rows)
        assert result.returncode == 0, result.stderr
        clean = tmp_path / "clean.jsonl"
        assert run(*judge_args(endpoint, rows, clean)).returncode == 0
    assert not errors.exists()
    assert sorted(row["id"] for row in rows_of(output)) == sorted(f"q{n}" for n in range(count))
    assert sorted_lines(output) == sorted_lines(clean)
    assert summary(result)["rows"] == count


@pytest.mark.slow
def test_f1_kills_between_mended_rows_and_pipes(tmp_path):
    mend_and_pipe_until_done(tmp_path, kills=3, count=60)


@pytest.mark.soak
def test_f1_soak_twenty_kills_between_mended_rows_and_pipes(tmp_path):
    mend_and_pipe_until_done(tmp_path, kills=20, count=1500)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["-", "/dev/stdin", "fifo"])
def test_what_comes_through_a_pipe_is_judged_and_continued(tmp_path, how):
    rows, output, fifo = (
        write_rows(tmp_path / "rows.jsonl", 5),
        tmp_path / "out.jsonl",
        tmp_path / "rows.fifo",
    )
    os.mkfifo(fifo)

    def judged(endpoint: Endpoint):
        args = judge_args(endpoint, fifo if how == "fifo" else Path(how), output, "--limit", "4")
        if how != "fifo":
            return run_piped(*args, piped=rows)
        threading.Thread(target=fifo.write_bytes, args=(rows.read_bytes(),), daemon=True).start()
        return run(*args)

    with Endpoint(decide) as endpoint:
        first = judged(endpoint)
        assert first.returncode == 0, first.stderr
        assert summary(first)["rows"] == len(rows_of(output)) == 4
        again = judged(endpoint)
        assert (again.returncode, summary(again)["resumed"], len(endpoint.calls)) == (0, 4, 8)
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["piped"] == ["rows.fifo" if how == "fifo" else "stdin"]
    assert manifest["identity"]["input_sha256"] == [hashlib.sha256(rows.read_bytes()).hexdigest()]


def test_messages_name_a_pipe_as_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reading, writing = os.pipe()
    os.write(writing, b'{"prompt": 1}\n')
    os.close(writing)
    pipe = f"/dev/fd/{reading}"
    result = run("judge", "--judge", "sandbox", "--input", pipe, "--output", tmp_path / "out.jsonl")
    os.close(reading)
    assert result.returncode == 4
    for said in (result.stderr, summary(result)["message"]):
        assert f"{pipe}:1" in said
        assert str(tmp_path) not in said


@pytest.mark.slow
def test_every_verb_that_reads_rows_twice_takes_a_pipe(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 4, critique="Response A is right. Response B is wrong.")
    curation = tmp_path / "curate.yaml"
    curation.write_text(json.dumps({"input": ["-"], "output": str(tmp_path / "curated")}))
    verbs = {
        "kept": ["data", "import", "--input", "-", "--output", str(tmp_path / "pairs.jsonl")],
        "rows": ["data", "curate", "--config", str(curation)],
        "extracted": ["critiques", "extract", "--input", "-", "--output", str(tmp_path / "arguments.jsonl")],
        "num_rows": [
            "eval",
            "pairs",
            "--judge",
            "sandbox",
            "--input",
            "-",
            "--output",
            str(tmp_path / "eval"),
        ],
    }
    for key, verb in verbs.items():
        for _ in range(2):
            result = run_piped(*verb, piped=rows)
            assert result.returncode == 0, result.stderr
            assert summary(result)[key] == 4, verb


def test_training_refuses_a_pipe(tmp_path):
    config = Path(__file__).resolve().parents[2] / "configs/sandbox/sft.yaml"
    fifo = tmp_path / "rows.fifo"
    os.mkfifo(fifo)
    sets = [f"data.train={fifo}", f"model.path={SANDBOX_MODEL}"]
    result = run("sft", "--config", config, "--run-dir", tmp_path / "run", "--set", sets[0], "--set", sets[1])
    assert result.returncode == 4, result.stderr
    assert "is a pipe" in summary(result)["message"]


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_stream_is_no_output(tmp_path, output):
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    judge = ("judge", "--judge", "openai:x@http://127.0.0.1:9/v1", "--spec", "mt-bench")
    for verb in (judge, ("data", "import")):
        result = run(*verb, "--input", rows, "--output", output)
        assert result.returncode == 2, result.stderr
        assert "name a file" in summary(result)["message"]


def test_a_run_without_one_readable_judgment_says_so(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 6), tmp_path / "out.jsonl"
    with Endpoint(lambda _: chat("I would\x1b[2J rather not.")) as endpoint:
        args = judge_args(endpoint, rows, output, "--concurrency", "1")
        stopped = run(*args, "--max-unreadable", "3")
        assert (stopped.returncode, summary(stopped)["stopped"]) == (3, "max_unreadable")
        assert "rather not" in stopped.stderr
        assert "\x1b" not in stopped.stderr
        asked = len(endpoint.calls)
        assert asked < 12
        same = run(*args, "--max-unreadable", "3")
        assert (same.returncode, len(endpoint.calls)) == (3, asked)
        whole = run(*args)
        assert (whole.returncode, summary(whole)["unreadable"]) == (3, "no_verdict")
        assert len(endpoint.calls) == 12
    assert len(rows_of(output)) == 6
    too_long = Reply(
        400, {"error": {"message": "maximum context length is 8", "code": "context_length_exceeded"}}
    )
    with Endpoint(lambda _: too_long) as endpoint:
        result = run(*judge_args(endpoint, rows, tmp_path / "long.jsonl"))
        assert (result.returncode, summary(result)["parse_status"]) == (0, {"too_long": 12})


def test_mended_rows_are_tried_again_and_their_errors_go(tmp_path):
    rows, output, errors = (
        tmp_path / "rows.jsonl",
        tmp_path / "out.jsonl",
        tmp_path / "out.jsonl.errors.jsonl",
    )
    good = write_rows(rows, 8).read_text().splitlines()

    def write(lines: dict[int, str]) -> None:
        rows.write_text("\n".join(lines.get(n, line) for n, line in enumerate(good)) + "\n")

    label, cut, poison = good[1].replace('"A"', '"?"'), good[3][:-1], good[5].replace("question", "poison")
    twice = good[6].replace('"label"', '"prompt": "other", "label"')

    def answer(payload: dict) -> Reply:
        if "poison" in payload["messages"][-1]["content"]:
            return Reply(422, {"error": {"message": "cannot process this"}})
        return decide(payload)

    def failed() -> set[str]:
        return {row["id"] for row in rows_of(errors)}

    with Endpoint(answer) as endpoint:
        args = judge_args(endpoint, rows, output)
        write({1: label, 3: cut, 5: poison, 6: twice})
        assert run(*args).returncode == 3
        assert failed() == {"q1", "line:rows.jsonl:4", "q5", "line:rows.jsonl:7"}
        calls = len(endpoint.calls)
        write({3: cut, 5: poison})
        assert run(*args).returncode == 3
        assert failed() == {"line:rows.jsonl:4", "q5"}
        assert len(endpoint.calls) == calls + 4, (
            "two rows, two orders each; what did not change is not asked again"
        )
        write({1: good[1], 3: "{still wrong"})
        again = run(*args)
        assert failed() == {"line:rows.jsonl:4"}
        assert (summary(again)["rows"], summary(again)["errors"]) == (7, 1)
        write({})
        assert run(*args).returncode == 0
        assert not errors.exists()
        assert len(rows_of(output)) == 8


def test_text_of_rows_moves_no_cursor(tmp_path):
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    evil = "a\x1b]0;owned\x07\u202e\x9b31m\nerror: forged"
    row = {"prompt": "p", "response_a": "x", "response_b": "y"}
    rows.write_text(
        json.dumps({"id": evil, **row}) + "\n" + json.dumps({"id": evil, **row, "label": evil}) + "\n"
    )
    for args in ([], ["--dedupe", "first"]):
        result = run(
            "judge", "--judge", "replay", "--spec", "mt-bench", "--input", rows, "--output", output, *args
        )
        for text in (result.stdout, result.stderr):
            assert not any(c in text for c in "\x1b\x07\u202e\x9b")
            assert not any(line.startswith("error: forged") for line in text.splitlines())
        assert summary(result)["exit_code"] == 4


def test_the_limits_of_rows_and_gzip_files_are_flags(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3, meta={"long": "x" * 2000})
    more = tmp_path / "rows.jsonl.gz"
    more.write_bytes(gzip.compress(rows.read_bytes() * 100))
    dry = (
        "judge",
        "--judge",
        "sandbox",
        "--spec",
        "mt-bench",
        "--dry-run",
        "--output",
        str(tmp_path / "o.jsonl"),
    )
    result = run(*dry, "--input", rows, "--max-row-bytes", "1000")
    assert result.returncode == 4
    assert "--max-row-bytes" in result.stderr
    assert run(*dry, "--input", rows).returncode == 0
    packed = ("data", "import", "--input", more, "--output", str(tmp_path / "pairs.jsonl"))
    result = run(*packed, "--max-unpacked-bytes", "1000")
    assert result.returncode == 4
    assert "--max-unpacked-bytes" in result.stderr
    assert "id of an earlier row" in run(*packed).stderr


@pytest.mark.slow
@pytest.mark.parametrize(("sig", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_f3_a_signal_drains_and_the_run_continues(tmp_path, sig, code):
    rows, output = write_rows(tmp_path / "rows.jsonl", 300), tmp_path / "out.jsonl"
    go_on = threading.Event()
    with Endpoint(held(40, go_on)) as endpoint:
        args = judge_args(endpoint, rows, output, "--concurrency", "4")
        process = start(*args)
        wait_for_rows(output, 5)
        process.send_signal(sig)
        time.sleep(0.5)  # the signal is noticed while calls are out
        go_on.set()
        stdout, stderr = process.communicate(timeout=40)
        assert process.returncode == code, stderr
        stopped = json.loads(stdout.splitlines()[-1])
        assert stopped["interrupted"] is True
        assert 0 < stopped["rows"] < 300
        assert stopped["rows"] == len(rows_of(output))
        result = run(*args)
    assert result.returncode == 0
    assert summary(result)["resumed"] == stopped["rows"]
    assert len({row["id"] for row in rows_of(output)}) == 300


@pytest.mark.slow
def test_f3_a_second_signal_ends_at_once(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 50), tmp_path / "out.jsonl"
    hold = {"s": 0.01}

    def answer(payload: dict) -> Reply:
        time.sleep(hold["s"])
        return decide(payload)

    with Endpoint(answer) as endpoint:
        process = start(*judge_args(endpoint, rows, output, "--concurrency", "2"))
        wait_for_rows(output, 2)
        hold["s"] = 20.0
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None, "the first signal waits for what is in flight"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=5)
    assert process.returncode == 130
    assert "once more to end at once" in stderr
    said = json.loads(stdout.splitlines()[-1])
    assert (said["interrupted"], said["outcome"], said["exit_code"]) == (True, "interrupted", 130)
    assert all(row["status"] for row in rows_of(output))


def wait_for_rows(output: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if output.exists() and output.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError("the run never began")


def finished_run(tmp_path: Path, endpoint: Endpoint, count: int = 12) -> tuple[Path, Path, list[str]]:
    rows, output = write_rows(tmp_path / "rows.jsonl", count), tmp_path / "out.jsonl"
    args = judge_args(endpoint, rows, output)
    assert run(*args).returncode == 0
    return rows, output, args


@pytest.mark.slow
def test_f5_f6_a_torn_and_a_damaged_line_are_judged_again(tmp_path):
    with Endpoint(decide) as endpoint:
        _, output, args = finished_run(tmp_path, endpoint)
        whole = sorted_lines(output)
        data = bytearray(output.read_bytes())
        lines = bytes(data).splitlines(keepends=True)
        middle = sum(map(len, lines[:4])) + lines[4].index(b"Weighed")
        data[middle] ^= 1  # still valid JSON: only the checksum can tell
        output.write_bytes(bytes(data[:-7]))
        strict = run(*args, "--strict")
        assert strict.returncode != 0
        calls = len(endpoint.calls)
        result = run(*args)
        assert result.returncode == 0, result.stderr
        assert "line 5" in result.stderr or ":5" in result.stderr
        assert len(endpoint.calls) - calls == 4, "two rows, two orders each"
    assert sorted_lines(output) == whole


@pytest.mark.slow
def test_f7_repeated_ids_are_refused_by_name(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    first = rows.read_text().splitlines()[0]
    rows.write_text(rows.read_text() + first + "\n")
    args = ["judge", "--judge", "openai:x@http://127.0.0.1:9/v1", "--spec", "mt-bench", "--dry-run"]
    args += ["--input", str(rows), "--output", str(tmp_path / "out.jsonl")]
    result = run(*args)
    assert result.returncode == 4
    assert "rows.jsonl:1" in result.stderr
    assert "rows.jsonl:4" in result.stderr
    assert run(*args, "--dedupe", "first").returncode == 0
    rows.write_text(rows.read_text() + first.replace("yes 0", "other") + "\n")
    different = run(*args, "--dedupe", "first")
    assert different.returncode == 4
    assert "different content" in different.stderr


@pytest.mark.slow
def test_f8_ids_derived_from_content_survive_reordering(tmp_path):
    rows = [{"prompt": f"p{n}", "response_a": "x", "response_b": "y"} for n in (1, 2, 3, 1, 1)]
    outputs = []
    with Endpoint(decide) as endpoint:
        for name, order in (("a", [0, 1, 2, 3, 4]), ("b", [2, 3, 1, 4, 0])):
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(rows[n]) + "\n" for n in order))
            output = tmp_path / f"{name}.out.jsonl"
            assert run(*judge_args(endpoint, path, output)).returncode == 0
            outputs.append({row["id"]: row["verdict"] for row in rows_of(output)})
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 5
    assert sum("#" in row_id for row_id in outputs[0]) == 2


@pytest.mark.slow
def test_f9_one_writer_wins_and_the_others_exit_75(tmp_path):
    rows, output = write_rows(tmp_path / "rows.jsonl", 60), tmp_path / "out.jsonl"
    go_on = threading.Event()
    with Endpoint(held(8, go_on)) as endpoint:
        args = judge_args(endpoint, rows, output, "--concurrency", "4")
        winner = start(*args)
        wait_for_rows(output, 1)
        losers = [start(*args) for _ in range(3)]
        for loser in losers:
            _, stderr = loser.communicate(timeout=60)
            assert loser.returncode == 75, stderr
            assert str(winner.pid) in stderr
        go_on.set()
        winner.communicate(timeout=60)
        assert winner.returncode == 0
    assert len({row["id"] for row in rows_of(output)}) == len(rows_of(output)) == 60


@pytest.mark.parametrize("how", ["same", "symlink", "hardlink", "relative"])
def test_f10_the_output_is_never_the_input(tmp_path, how):
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    before = rows.read_bytes()
    output = tmp_path / "out.jsonl"
    if how == "same":
        output = rows
    elif how == "symlink":
        output.symlink_to(rows)
    elif how == "hardlink":
        os.link(rows, output)
    else:
        output = tmp_path / "." / "x" / ".." / "rows.jsonl"
        (tmp_path / "x").mkdir()
    result = run("judge", "--judge", "replay", "--spec", "mt-bench", "--input", rows, "--output", output)
    assert result.returncode in (2, 4)
    assert rows.read_bytes() == before


@pytest.mark.slow
def test_f11_a_changed_input_is_refused_and_the_rows_are_named(tmp_path):
    with Endpoint(decide) as endpoint:
        rows, output, args = finished_run(tmp_path, endpoint)
        done = output.read_bytes()
        rows.write_text(rows.read_text().replace("yes 7", "yes seven"))
        result = run(*args)
        assert result.returncode == 2
        assert "q7" in result.stderr
        assert output.read_bytes() == done
        again = run(*args, "--restart")
        assert again.returncode == 0
    assert (tmp_path / "out.jsonl.old-1").read_bytes() == done


@pytest.mark.slow
def test_another_seed_or_spec_is_another_run(tmp_path):
    with Endpoint(decide) as endpoint:
        _, _, args = finished_run(tmp_path, endpoint)
        result = run(*args, "--seed", "7")
    assert result.returncode == 2
    assert "seed" in result.stderr


def test_f12_to_f22_bad_lines_are_named_and_the_others_judged(tmp_path):
    good = {"prompt": "p", "response_a": "x", "response_b": "y", "label": "B"}
    lines = [
        json.dumps({"id": "ok1", **good}).encode(),
        b'{"id": "utf8", "prompt": "\xff\xfe", "response_a": "x", "response_b": "y"}',
        b'{"id": "nan", "prompt": "p", "response_a": "x", "response_b": "y", "meta": {"v": NaN}}',
        b"[" * 100_000,
        json.dumps({"id": "bool", **good, "response_a": True}).encode(),
        json.dumps({"id": "null", **good, "response_b": None}).encode(),
        json.dumps({"id": "gone", "prompt": "p", "response_a": "x"}).encode(),
        *(
            json.dumps({"id": f"label{n}", **good, "label": label}).encode()
            for n, label in enumerate(WRONG_LABELS)
        ),
        json.dumps({"id": "separators", **good, "prompt": SEPARATORS}, ensure_ascii=False).encode(),
        json.dumps({"id": "same", **good, "response_b": "x"}).encode(),
        json.dumps({"id": "empty", **good, "response_b": ""}).encode(),
        b"",
        json.dumps({"id": "ok2", **good}).encode(),
    ]
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    with Endpoint(decide) as endpoint:
        result = run(*judge_args(endpoint, rows, output))
        assert result.returncode == 3, result.stderr
        assert len(endpoint.calls) == 6
    statuses = {row["id"]: row["status"] for row in rows_of(output)}
    assert set(statuses) == {"ok1", "separators", "same", "empty", "ok2"}
    assert (statuses["same"], statuses["empty"]) == ("identical", "degenerate")
    errors = rows_of(Path(summary(result)["errors_file"]))
    assert len(errors) == 11
    assert all("rows.jsonl:" in error["place"] for error in errors)
    assert {error["code"] for error in errors} >= {"bad_utf8", "wrong_type", "missing_field", "bad_label"}


@pytest.mark.slow
def test_f26_f27_f28_statuses_are_never_verdicts(tmp_path):
    answers = {
        "too long": Reply(
            400, {"error": {"message": "maximum context length is 8", "code": "context_length_exceeded"}}
        ),
        "cut": chat("so [[A]]", finish_reason="length"),
        "both": chat("[[A]] or [[B]]"),
        "nothing": chat("I cannot say."),
        "thought": chat("<think>[[A]]</think> hm"),
        "menu": chat("[[D]]"),
        "fine": chat("[[C]]"),
    }

    def answer(payload: dict) -> Reply:
        text = payload["messages"][-1]["content"]
        return next(reply for key, reply in answers.items() if f"ask {key}" in text)

    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text(
        "".join(
            json.dumps(
                {"id": key, "prompt": f"ask {key}", "response_a": "x", "response_b": "y", "label": "A"}
            )
            + "\n"
            for key in answers
        )
    )
    with Endpoint(answer) as endpoint:
        result = run(*judge_args(endpoint, rows, output))
        assert result.returncode == 0, result.stderr
        floor = run(*judge_args(endpoint, rows, output, "--min-coverage", "0.5"))
        assert floor.returncode == 3
    found = {row["id"]: (row["status"], row["verdict"], row["correct"]) for row in rows_of(output)}
    assert found == {
        "too long": ("too_long", None, None),
        "cut": ("truncated", None, None),
        "both": ("ambiguous", None, None),
        "nothing": ("no_verdict", None, None),
        "thought": ("no_verdict", None, None),
        "menu": ("off_menu", None, None),
        "fine": ("ok", "tie", False),
    }
    assert summary(result)["coverage"] == 1 / 7


@pytest.mark.slow
def test_f29_f30_faults_are_ridden_out_and_a_poison_row_stays_alone(tmp_path):
    def answer(payload: dict) -> Reply:
        if "question 13\n" in payload["messages"][-1]["content"]:
            return Reply(422, {"error": {"message": "cannot process this"}})
        return decide(payload)

    rows, output = write_rows(tmp_path / "rows.jsonl", 100), tmp_path / "out.jsonl"
    with Endpoint(answer, fault_rate=0.05, seed=3, hang_s=1.5) as endpoint:
        args = judge_args(endpoint, rows, output, "--timeout", "1")
        result = run(*args)
        assert result.returncode == 3, result.stderr
        errors = rows_of(Path(summary(result)["errors_file"]))
        assert [error["id"] for error in errors] == ["q13"]
        assert "cannot process this" in errors[0]["message"]
        assert len(rows_of(output)) == 99
        assert summary(run(*args))["rows"] == 99, "errors are not tried again unasked"
        endpoint.answer = decide
        healed = run(*args, "--retry-errors")
        assert healed.returncode == 0
    assert len(rows_of(output)) == 100


def test_f39_an_unwritable_output_fails_before_anything_is_asked(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    sealed, blocked = tmp_path / "sealed.jsonl", tmp_path / "file"
    sealed.touch(mode=0o444)
    blocked.write_text("not a folder")
    with Endpoint(decide) as endpoint:
        for output, code in ((sealed, 5), (blocked / "out.jsonl", 2)):
            result = run(*judge_args(endpoint, rows, output))
            assert result.returncode == code, result.stderr
            assert str(output) in result.stderr
        assert not endpoint.calls


@pytest.mark.slow
@pytest.mark.parametrize("name", ["with space.jsonl", "ünïcode-判.jsonl", "new\nline.jsonl"])
def test_f41_odd_file_names_work(tmp_path, name):
    rows = write_rows(tmp_path / name, 2)
    output = tmp_path / f"out {name}"
    with Endpoint(decide) as endpoint:
        assert run(*judge_args(endpoint, rows, output)).returncode == 0
    assert len(rows_of(output)) == 2


@pytest.mark.slow
def test_f45_a_spec_file_cannot_run_code_and_a_typo_is_explained(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", 1)
    canary = tmp_path / "canary"
    evil = tmp_path / "evil.yaml"
    evil.write_text(f"name: !!python/object/apply:os.system ['touch {canary}']\n")
    args = [
        "judge",
        "--judge",
        "replay",
        "--input",
        str(rows),
        "--output",
        str(tmp_path / "o.jsonl"),
        "--spec",
    ]
    result = run(*args, str(evil))
    assert result.returncode == 2
    assert not canary.exists()
    shown = json.loads(run("specs", "mt-bench").stdout.splitlines()[-1])["spec"]
    shown["gramar"] = shown.pop("grammar")
    typo = tmp_path / "typo.json"
    typo.write_text(json.dumps(shown))
    result = run(*args, str(typo))
    assert result.returncode == 2
    assert "gramar" in result.stderr
    assert "'grammar'" in result.stderr
    assert run(*args, "mt-bnch").returncode == 2
