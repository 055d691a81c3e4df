"""From a judge's name to its backend, without importing more than that backend needs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from reasrm.distillation.config import TeacherSection
from reasrm.errors import ConfigError, EnvironmentProblem, MissingExtraError
from reasrm.extras import require
from reasrm.generation.endpoint import EndpointBackend
from reasrm.generation.hf import HFBackend
from reasrm.generation.replay import ReplayBackend
from reasrm.generation.resolve import BackendOptions, open_backend
from reasrm.generation.vllm_engine import VLLMBackend
from reasrm.requests import Request
from tests.fakes import ask
from tests.refusals import refused
from tests.tiny import build_tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent = tmp_path_factory.mktemp("models")
    build_tiny_model(parent / "judge-7b")
    (parent / "notes.txt").write_text("x")
    return parent


@pytest.mark.parametrize(
    ("judge", "model", "base_url"),
    [
        ("openai:m@http://localhost:8000/v1", "m", "http://localhost:8000/v1"),
        ("openai:org/m:free@https://host.example/api/v1/", "org/m:free", "https://host.example/api/v1"),
        ("openai:m@2025@http://localhost:1/v1", "m@2025", "http://localhost:1/v1"),
        ("openai:gpt-x", "gpt-x", "https://api.openai.com/v1"),
        ("openai:@cf/m@https://h/v1", "@cf/m", "https://h/v1"),
        ("openai:m@https://h/v1/chat/completions", "m", "https://h/v1"),
    ],
)
def test_endpoints(judge: str, model: str, base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    backend = open_backend(judge, concurrency=2, timeout_s=1.0, attempts=3)
    assert isinstance(backend, EndpointBackend)
    assert (backend.identity["model"], backend.base_url) == (model, base_url)


@pytest.mark.parametrize("judge", ["replay", "replay:recorded.jsonl"])
def test_replay(judge: str) -> None:
    assert isinstance(open_backend(judge), ReplayBackend)


def test_a_folder_becomes_a_model_with_the_options_given(models: Path) -> None:
    backend = open_backend(str(models / "judge-7b"), dtype="fp32", batch_size=3, device="cpu", max_context=99)
    assert isinstance(backend, HFBackend)
    assert (backend.name, backend._batch_size, backend._max_context) == (str(models / "judge-7b"), 3, 99)


@pytest.mark.parametrize(
    ("judge", "remedy"),
    [
        ("opnai:gpt@http://h/v1", "did you mean 'openai'"),
        ("replya:x", "did you mean 'replay'"),
        ("zzz:x", "openai:MODEL@BASE_URL"),
        ("openai:", "openai:MODEL"),
        ("openai:m@localhost:8000", "http://HOST:PORT/v1"),
        ("openai:@http://h/v1", "openai:MODEL"),
        ("{models}/judge-7B", "judge-7b"),
        ("{models}/notes.txt", "folder"),
        ("./no/such/folder", "hub id"),
        ("", "hub id"),
        ("my judge", "hub id"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(judge: str, remedy: str, models: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(judge.format(models=models))
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "judge",
    [
        "openai:m@http://me:hush@h/v1",
        "openai:m@me:hush@h/v1",
        "opnai:m@http://me:hush@h/v1",
        "openai:m@http://h/v1?api_key=hush",
    ],
)
def test_a_password_in_a_name_is_refused_unshown(judge: str, models: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend(judge)
    assert "hush" not in str(caught.value)


def test_unknown_engine(models: Path) -> None:
    with refused(ConfigError, "'vllm'"):
        open_backend(str(models / "judge-7b"), backend="vlm")


def test_unknown_option(models: Path) -> None:
    options: dict[str, Any] = {"batchsize": 3}
    with refused(ConfigError, "'batch_size'"):
        open_backend(str(models / "judge-7b"), **options)


def test_the_options_are_those_of_the_backends(models: Path) -> None:
    """One list of names: what a constructor takes is on it, and nothing else."""
    engines = (EndpointBackend, HFBackend, VLLMBackend)
    taken = {name for engine in engines for name in list(inspect.signature(engine).parameters)[1:]}
    assert taken - {"base_url"} == BackendOptions.__annotations__.keys() - {"backend"}
    teacher = TeacherSection(judge="replay").backend_options()
    assert BackendOptions.__annotations__.keys() - teacher.keys() == {"gpu_memory_utilization"}


def test_missing_extra_names_the_command(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with refused(MissingExtraError, "pip install 'reasrm[vllm]'"):
        open_backend(str(models / "judge-7b"), backend="vllm")


def test_an_installed_package_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import package_that_is_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="package_that_is_missing") as caught:
        require("half_installed", "any")
    assert not isinstance(caught.value, MissingExtraError)


class FakeVLLM(ModuleType):
    """The part of vLLM's interface that the backend uses; a request's seed says how its answer ends."""

    def __init__(self) -> None:
        super().__init__("vllm")
        self.options: dict[str, Any] = {}
        self.added: dict[str, tuple[Any, Any]] = {}
        self.aborted: list[str] = []
        self.refused_seed: int | None = None
        self.death: Exception | None = None
        self.llm_engine = self
        self.sampling_params = SimpleNamespace(RequestOutputKind=SimpleNamespace(FINAL_ONLY="final"))
        self._waiting: list[str] = []

    def SamplingParams(self, **params: Any) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(**params)

    def LLM(self, **options: Any) -> FakeVLLM:  # noqa: N802
        self.options = options
        return self

    def add_request(self, request_id: str, prompt: Any, params: Any) -> None:
        if params.seed == self.refused_seed:
            raise ValueError("cannot")
        self.added[request_id] = (prompt, params)
        self._waiting.append(request_id)

    def step(self) -> list[SimpleNamespace]:
        """Finish the newest request, so that order is nothing to rely on."""
        if self.death is not None:
            raise self.death
        request_id = self._waiting.pop()
        params = self.added[request_id][1]
        reason = {0: "stop", 1: "length", 2: "abort"}[params.seed % 3]
        answer = SimpleNamespace(token_ids=[*[70] * 3, *params.stop_token_ids[:1]], finish_reason=reason)
        unfinished = SimpleNamespace(request_id="nobody", finished=False, outputs=[])
        return [unfinished, SimpleNamespace(request_id=request_id, finished=True, outputs=[answer])]

    def abort_request(self, request_ids: list[str]) -> None:
        self.aborted += request_ids


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> FakeVLLM:
    fake = FakeVLLM()
    monkeypatch.setitem(sys.modules, "vllm", fake)
    return fake


def test_vllm_gets_ids_and_settings_per_request(models: Path, vllm: FakeVLLM) -> None:
    backend = open_backend(str(models / "judge-7b"), backend="vllm", max_context=200)
    assert backend.identity["engine"] == "vllm"
    requests = [ask(f"q{n}", "x", temperature=0.5, top_p=0.9, max_tokens=9, seed=n) for n in range(3)]
    requests.append(ask("long", "x" * 300))
    completions = {c.request_id: c for c in backend.generate(requests)}
    assert [completions[f"q{n}"].finish_reason for n in range(3)] == ["stop", "stop", "error"]
    assert completions["q0"].num_tokens == 4
    assert completions["long"].finish_reason == "too_long"
    assert vllm.options["trust_remote_code"] is False
    assert vllm.options["max_model_len"] == 200
    prompt, params = vllm.added["q0"]
    assert all(isinstance(token, int) for token in prompt["prompt_token_ids"])
    assert (params.temperature, params.top_p, params.max_tokens) == (0.5, 0.9, 9)
    assert params.stop_token_ids == [0, 2]
    backend.close()


def test_vllm_is_kept_full_and_no_fuller(models: Path, vllm: FakeVLLM) -> None:
    backend = open_backend(str(models / "judge-7b"), backend="vllm")
    pulled: list[int] = []

    def endless() -> Iterator[Request]:
        for n in count():
            pulled.append(n)
            yield ask(f"q{n}", "x", max_tokens=9, seed=3 * n)

    answers = backend.generate(endless())
    first = [next(answers) for _ in range(5)]
    assert len({c.request_id for c in first}) == 5
    assert len(pulled) < 600
    answers.close()
    assert len(vllm.aborted) == len(pulled) - 5


def test_vllm_refusals_stay_alone_and_a_dead_engine_ends_the_run(models: Path, vllm: FakeVLLM) -> None:
    vllm.refused_seed = 15
    backend = open_backend(str(models / "judge-7b"), backend="vllm")
    requests = [ask(f"q{3 * n}", "x", max_tokens=9, seed=3 * n) for n in range(9)]
    completions = list(backend.generate(requests))
    assert [c.request_id for c in completions if c.finish_reason == "error"] == ["q15"]
    assert len(completions) == 9
    vllm.death = type("EngineDeadError", (Exception,), {})("gone")
    with pytest.raises(EnvironmentProblem, match="gone"):
        list(backend.generate(requests))


def test_nothing_but_the_reference_backend_imports_torch() -> None:
    modules = ["base", "replay", "endpoint", "resolve", "encoding", "checkpoint", "vllm_engine"]
    program = "".join(f"import reasrm.generation.{name}\n" for name in modules)
    program += (
        "import sys; print([m for m in ('torch', 'transformers', 'vllm', 'openai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "remedy"), [("sandbx", "did you mean 'sandbox'"), ("repaly", "did you mean 'replay'")]
)
def test_names_that_are_no_hub_id_are_explained_before_the_hub_is_asked(name, remedy):
    with pytest.raises(ConfigError, match=remedy):
        open_backend(name)
