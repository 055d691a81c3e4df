"""vLLM in this process. **Not run on a GPU by us**; run on the CPU build of 0.32.

Prompts go in as ids, so the guarantee of `PromptEncoder` holds. Prefix caching is on: templates put first what many
prompts share. Requests are fed to the engine and read back one by one, so that a finished row is durable while others
still run. A request that the engine refuses comes back as an error; one that kills the engine ends the run, which the
same command continues.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from reasrm.errors import EnvironmentProblem
from reasrm.extras import require
from reasrm.generation.checkpoint import Checkpoint, context_length, stop_ids
from reasrm.generation.encoding import EncodedRequest, encode_window, failed, read_ids
from reasrm.protocol.encoder import PromptEncoder
from reasrm.requests import Completion, Request

__all__ = ["VLLMBackend"]

_IN_FLIGHT = 512  # about twice what an engine runs at once, so that it never waits for us


class VLLMBackend:
    """A model folder or hub id, served by `vllm.LLM` and loaded at the first request.

    Args:
        path: Model folder or hub id; the same checks as in `HFBackend`.
        revision: Branch, tag or commit of a hub id.
        dtype: `auto` (as stored) or a dtype that vLLM knows.
        tensor_parallel_size: GPUs to split the model over.
        max_context: Most tokens of prompt and completion together; by default the model's own limit.
        gpu_memory_utilization: Share of each GPU's memory that vLLM takes.

    Raises:
        MissingExtraError: If vLLM is not installed.
        ConfigError: If the model cannot be used; says why.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        tensor_parallel_size: int = 1,
        max_context: int | None = None,
        gpu_memory_utilization: float = 0.9,
    ) -> None:
        self._checkpoint = Checkpoint(str(path), revision)
        self._checkpoint.check()
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for results
        self._vllm = require("vllm", "vllm")
        self.name = self._checkpoint.name
        self._config = self._checkpoint.load("AutoConfig")
        self._context = context_length(self._config, max_context)
        self._options = {
            "dtype": dtype,
            "tensor_parallel_size": tensor_parallel_size,
            "max_model_len": self._context,
            "gpu_memory_utilization": gpu_memory_utilization,
        }
        self._engine: Any = None

    @property
    def identity(self) -> dict[str, str]:
        """As in `HFBackend`, and that vLLM ran it, since its numerics differ."""
        commit = getattr(self._config, "_commit_hash", None)
        return {
            "model": self.name,
            "revision": commit or self._checkpoint.revision or "local",
            "dtype": str(self._options["dtype"]),
            "fingerprint": self._checkpoint.fingerprint()
            if self._checkpoint.is_local
            else commit or "unknown",
            "context": str(self._context),
            "engine": "vllm",
        }

    def load(self) -> None:
        """Start the engine, if that has not happened."""
        if self._engine is not None:
            return
        tokenizer = self._checkpoint.load("AutoTokenizer")
        self._encoder = PromptEncoder(tokenizer)
        self._engine = self._vllm.LLM(
            model=self._checkpoint.path,
            revision=self._checkpoint.revision,
            trust_remote_code=False,
            load_format="safetensors",
            enable_prefix_caching=True,
            **self._options,
        )
        self._stop_ids = stop_ids(tokenizer, self._config, self._checkpoint.generation_config())
        self._pad_id = tokenizer.pad_token_id

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield completions as they finish, keeping the engine's queue filled. Closing it aborts what runs.

        Raises:
            EnvironmentProblem: If the engine died, after which no request can succeed.
        """
        self.load()
        engine = self._engine.llm_engine
        source = iter(requests)
        running: dict[str, EncodedRequest] = {}
        try:
            while True:
                for request in islice(source, _IN_FLIGHT - len(running)):
                    refusal = self._add(engine, request, running)
                    if refusal is not None:
                        yield refusal
                if not running:
                    return
                for output in self._step(engine):
                    if output.finished:
                        yield self._read(running.pop(output.request_id), output.outputs[0])
        finally:
            if running:
                engine.abort_request(list(running))

    def _add(self, engine: Any, request: Request, running: dict[str, EncodedRequest]) -> Completion | None:
        """Queue a request, or return the completion of one that cannot be queued."""
        fitting, rejected = encode_window([request], self._encoder, self._context)
        if rejected:
            return rejected[0]
        try:
            prompt = {"prompt_token_ids": list(fitting[0].ids)}
            engine.add_request(request.id, prompt, self._sampling(request))
        except Exception as error:
            self._raise_if_dead(error)
            return failed(request, error)
        running[request.id] = fitting[0]
        return None

    def _step(self, engine: Any) -> list[Any]:
        try:
            return list(engine.step())
        except Exception as error:
            self._raise_if_dead(error)
            raise

    def _raise_if_dead(self, error: Exception) -> None:
        if type(error).__name__ == "EngineDeadError":
            raise EnvironmentProblem(
                f"vLLM's engine died: {error}", place=self.name, remedy="see its log above; start again"
            ) from error

    def _read(self, encoded: EncodedRequest, answer: Any) -> Completion:
        if answer.finish_reason not in ("stop", "length"):
            return failed(encoded.request, f"vLLM ended it with {answer.finish_reason!r}")
        return read_ids(
            encoded, answer.token_ids, encoder=self._encoder, stop_ids=self._stop_ids, pad_id=self._pad_id
        )

    def _sampling(self, request: Request) -> Any:
        params = request.sampling
        return self._vllm.SamplingParams(
            temperature=params.temperature,
            top_p=params.top_p,
            max_tokens=params.max_tokens,
            seed=params.seed,
            stop_token_ids=sorted(self._stop_ids),
            detokenize=False,
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )

    def close(self) -> None:
        """Drop the engine; its workers end with it."""
        self._engine = None
