"""vLLM in this process. **Not verified on a GPU**: written to the documented API of vLLM 0.22 to 0.31.

Prompts go in as ids, so the guarantee of `PromptEncoder` holds. Prefix caching is on: templates put first
what many prompts share. Within a window vLLM schedules by itself; a window that fails is bisected, as in the
reference backend.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from reasrm.errors import EnvironmentProblem
from reasrm.extras import require
from reasrm.generation.checkpoint import Checkpoint, context_length, stop_ids
from reasrm.generation.encoding import EncodedRequest, encode_window, failed, read_ids, windows
from reasrm.protocol.encoder import PromptEncoder
from reasrm.requests import Completion, Request

__all__ = ["VLLMBackend"]

_WINDOW = 1024  # several times what an engine runs at once, so that the tail of a window costs little


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
        self._vllm = require("vllm", "vllm")
        self.name = self._checkpoint.path
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
            model=self.name,
            revision=self._checkpoint.revision,
            trust_remote_code=False,
            load_format="safetensors",
            enable_prefix_caching=True,
            **self._options,
        )
        self._stop_ids = stop_ids(tokenizer, self._config, self._checkpoint.generation_config())
        self._pad_id = tokenizer.pad_token_id

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield completions, window by window.

        Raises:
            EnvironmentProblem: If the engine died, after which no request can succeed.
        """
        self.load()
        for window in windows(requests, _WINDOW):
            fitting, rejected = encode_window(window, self._encoder, self._context)
            yield from rejected
            if fitting:
                yield from self._complete(fitting)

    def _complete(self, batch: list[EncodedRequest]) -> Iterator[Completion]:
        try:
            completions = self._run(batch)
        except Exception as error:
            if type(error).__name__ == "EngineDeadError":
                raise EnvironmentProblem(
                    f"vLLM's engine died: {error}", place=self.name, remedy="see its log above; start again"
                ) from error
            if len(batch) == 1:
                completions = [failed(batch[0].request, error)]
            else:
                half = len(batch) // 2
                completions = [*self._complete(batch[:half]), *self._complete(batch[half:])]
        yield from completions

    def _run(self, batch: Sequence[EncodedRequest]) -> list[Completion]:
        outputs = self._engine.generate(
            [{"prompt_token_ids": list(encoded.ids)} for encoded in batch],
            [self._sampling(encoded.request) for encoded in batch],
            use_tqdm=False,
        )
        completions = []
        for encoded, output in zip(batch, outputs, strict=True):
            answer = output.outputs[0]
            if answer.finish_reason not in ("stop", "length"):
                completions.append(failed(encoded.request, f"vLLM ended it with {answer.finish_reason!r}"))
                continue
            completions.append(
                read_ids(
                    encoded,
                    answer.token_ids,
                    encoder=self._encoder,
                    stop_ids=self._stop_ids,
                    pad_id=self._pad_id,
                )
            )
        return completions

    def _sampling(self, request: Request) -> Any:
        params = request.sampling
        return self._vllm.SamplingParams(
            temperature=params.temperature,
            top_p=params.top_p,
            max_tokens=params.max_tokens,
            seed=params.seed,
            stop_token_ids=sorted(self._stop_ids),
            detokenize=False,
        )

    def close(self) -> None:
        """Drop the engine; its workers end with it."""
        self._engine = None
