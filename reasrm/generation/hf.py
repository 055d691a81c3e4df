"""The reference backend: a causal language model of transformers, in this process, on CPU or one GPU.

Prompts go in as ids from `PromptEncoder`, padded on the left. Requests are pulled in windows and batched by
length. What one request gets does not depend on its neighbours: sampling is seeded per request
(`sampling.py`), a batch that runs out of memory is halved, and a batch that fails is bisected until the
failing request stands alone. A checkpoint's own sampling defaults (top-k, repetition penalty) are not
applied: the request says how to sample.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from reasrm.errors import ConfigError, EnvironmentProblem, InputError, InternalError
from reasrm.generation.checkpoint import Checkpoint, context_length, stop_ids
from reasrm.generation.encoding import EncodedRequest, encode_window, failed, read_ids, windows
from reasrm.generation.sampling import SeededSampler, StopAtMaxTokens
from reasrm.protocol.encoder import PromptEncoder
from reasrm.requests import Completion, Request, SamplingParams, TokenScores

__all__ = ["DTYPES", "HFBackend", "has_fast_bfloat16", "is_out_of_memory", "pick_device", "sample_ids"]

_LOG = logging.getLogger("reasrm")
_WINDOW_BATCHES = 8
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class HFBackend:
    """A model folder or hub id, loaded at the first request.

    Args:
        path_or_id: Model folder or hub id. Weights must be safetensors; a folder with its own code is
            refused.
        revision: Branch, tag or commit of a hub id.
        device: `auto` (CUDA if there is one), or a torch device.
        dtype: `auto`, `float32`, `bfloat16` or `float16`. `auto` is the checkpoint's own on CUDA. On a CPU it
            is float32, unless the checkpoint is bfloat16 and the CPU computes that natively: elsewhere half
            precision is tens of times slower.
        batch_size: Most requests per batch.
        max_context: Most tokens of prompt and completion together; by default the model's own limit.

    Raises:
        ConfigError: If the model, the device or the dtype cannot be used; says why.
    """

    def __init__(
        self,
        path_or_id: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 8,
        max_context: int | None = None,
    ) -> None:
        checkpoint = Checkpoint(str(path_or_id), revision)
        checkpoint.check()
        self._checkpoint: Checkpoint | None = checkpoint
        self.name = checkpoint.name
        config = checkpoint.load("AutoConfig")
        self._device = pick_device(device)
        self._dtype = _pick_dtype(dtype, self._device, config)
        commit = getattr(config, "_commit_hash", None)
        self._identity = {
            "model": self.name,
            "revision": commit or revision or "local",
            "dtype": self._dtype,
            "fingerprint": checkpoint.fingerprint() if checkpoint.is_local else commit or "unknown",
            "context": str(context_length(config, max_context)),
        }
        self._set_up(batch_size, max_context)

    @classmethod
    def from_loaded(
        cls, model: Any, tokenizer: Any, name: str, *, batch_size: int = 8, max_context: int | None = None
    ) -> Self:
        """Return a backend around a model that is already in memory, such as one in training.

        Its weights may change between calls; its training mode is put back after each batch.
        """
        backend = cls.__new__(cls)
        backend.name = name
        backend._checkpoint = None
        backend._device = model.device
        backend._dtype = str(model.dtype).removeprefix("torch.")
        backend._identity = {
            "model": name,
            "revision": "loaded",
            "dtype": backend._dtype,
            "fingerprint": "loaded",
        }
        backend._set_up(batch_size, max_context)
        backend._adopt(model, tokenizer)
        return backend

    def _set_up(self, batch_size: int, max_context: int | None) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}", remedy="use 1 or more")
        self._batch_size = batch_size
        self._max_context = max_context
        self._max_tokens_in_batch: float = float("inf")  # falls when memory runs out
        self._model: Any = None
        self._tokenizer: Any = None

    def _adopt(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._encoder = PromptEncoder(tokenizer)
        self._context = context_length(model.config, self._max_context)
        self._stop_ids = stop_ids(tokenizer, model.config, model.generation_config)
        pad = tokenizer.pad_token_id
        self._pad_id: int = pad if pad is not None else min(self._stop_ids, default=0)

    @property
    def identity(self) -> dict[str, str]:
        """Model, revision, dtype, and a fingerprint of the folder; known before anything is loaded."""
        return dict(self._identity)

    def load(self) -> None:
        """Read the weights, if that has not happened.

        Raises:
            ConfigError: If transformers cannot load the model or its tokenizer.
            EnvironmentProblem: If it does not fit into memory.
        """
        if self._model is not None:
            return
        if self._checkpoint is None:
            raise InternalError("a backend made by from_loaded was used after it was closed", place=self.name)
        tokenizer = self._checkpoint.load("AutoTokenizer")
        try:
            model = self._checkpoint.load(
                "AutoModelForCausalLM", dtype=DTYPES[self._dtype], use_safetensors=True
            ).to(self._device)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise EnvironmentProblem(
                f"the model does not fit into the memory of {self._device} as {self._dtype}",
                place=self.name,
                remedy="use a smaller model, --dtype bfloat16 on a GPU, or the vllm backend on several GPUs",
            ) from error
        self._adopt(model.eval(), tokenizer)

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        """Yield completions, window by window, longest prompts first within a window.

        Raises:
            EnvironmentProblem: If the GPU's context is lost, after which no request can succeed.
        """
        self.load()
        for window in windows(requests, _WINDOW_BATCHES * self._batch_size):
            fitting, rejected = encode_window(window, self._encoder, self._context)
            yield from rejected
            while fitting:
                batch = self._next_batch(fitting)
                del fitting[: len(batch)]
                yield from self._complete(batch)

    def _next_batch(self, fitting: Sequence[EncodedRequest]) -> list[EncodedRequest]:
        """Take requests from the front until the batch is full, or as large as one that ran out of memory."""
        batch: list[EncodedRequest] = []
        widest = 0
        for encoded in fitting[: self._batch_size]:
            widest = max(widest, encoded.footprint)
            if batch and widest * (len(batch) + 1) > self._max_tokens_in_batch:
                break
            batch.append(encoded)
        return batch

    def _complete(self, batch: list[EncodedRequest]) -> Iterator[Completion]:
        completions: list[Completion] = []
        reason = None
        out_of_memory = False
        try:
            completions = self._run(batch)
        except Exception as error:
            self._stop_if_hopeless(error, batch)
            reason = f"{type(error).__name__}: {error}"
            out_of_memory = is_out_of_memory(error)
        # Beyond the except block, so that the traceback no longer holds the failed batch's tensors.
        if reason is None:
            yield from completions
            return
        if out_of_memory and self._device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) == 1:
            remedy = "; shorten the row, lower max_tokens, or use a larger device" if out_of_memory else ""
            yield failed(batch[0].request, reason + remedy)
            return
        half = (len(batch) + 1) // 2
        if out_of_memory:
            self._max_tokens_in_batch = half * max(encoded.footprint for encoded in batch)
            _LOG.warning("out of memory with %d requests in a batch; going on with %d", len(batch), half)
        else:
            _LOG.warning("a batch of %d failed (%s); looking for the request at fault", len(batch), reason)
        yield from self._complete(batch[:half])
        yield from self._complete(batch[half:])

    def _stop_if_hopeless(self, error: Exception, batch: Sequence[EncodedRequest]) -> None:
        if self._device.type == "cuda" and "CUDA error" in str(error) and not is_out_of_memory(error):
            raise EnvironmentProblem(
                f"the GPU's context is lost: {error}",
                place=f"requests {[encoded.request.id for encoded in batch]}",
                remedy="start again; if it stops at the same rows, drop them",
            ) from error

    def _run(self, batch: Sequence[EncodedRequest]) -> list[Completion]:
        rows = sample_ids(
            self._model,
            [encoded.ids for encoded in batch],
            [encoded.request.sampling for encoded in batch],
            stop_ids=self._stop_ids,
            pad_id=self._pad_id,
        )
        return [
            read_ids(encoded, ids, encoder=self._encoder, stop_ids=self._stop_ids, pad_id=self._pad_id)
            for encoded, ids in zip(batch, rows, strict=True)
        ]

    def score(self, request: Request, continuations: Sequence[str]) -> list[TokenScores]:
        """Return each continuation's log-probabilities: natural log, one per token, given all before it.

        Continuations are the judge's words, so their control strings count as control tokens. The temperature
        of the request plays no part.

        Raises:
            InputError: If the prompt and a continuation are longer than the model's context.
        """
        self.load()
        prompt = list(self._encoder.encode(request.messages, options=request.template_options).ids)
        tails: list[list[int]] = [
            self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations
        ]
        longest = len(prompt) + max(map(len, tails), default=0)
        if self._context is not None and longest > self._context:
            raise InputError(
                f"prompt and continuation have {longest} tokens, but the model takes {self._context}",
                place=f"request {request.id!r}",
                remedy="shorten the row or use a model with a longer context",
            )
        scores: list[TokenScores] = []
        for start in range(0, len(tails), self._batch_size):
            scores += self._score_batch(prompt, tails[start : start + self._batch_size])
        return scores

    @torch.no_grad()
    def _score_batch(self, prompt: list[int], tails: Sequence[list[int]]) -> list[TokenScores]:
        # Padded on the right: what follows a token cannot change it, and positions are right by themselves.
        rows = [[*prompt, *tail] for tail in tails]
        input_ids, mask = _pad(rows, self._pad_id, self._device, left=False)
        keep = input_ids.shape[1] - len(prompt) + 1  # the last prompt token predicts the first
        with _bare(self._model) as model:
            logits = model(input_ids=input_ids, attention_mask=mask, logits_to_keep=keep).logits
        logprobs = logits.float().log_softmax(-1)  # (B, keep, V)
        return [
            TokenScores(tuple(tail), tuple(logprobs[row, range(len(tail)), tail].tolist()))
            for row, tail in enumerate(tails)
        ]

    def close(self) -> None:
        """Drop the model. A later request loads it again, unless it was handed over by `from_loaded`."""
        self._model = self._tokenizer = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


@torch.no_grad()
def sample_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sequence[SamplingParams],
    *,
    stop_ids: Set[int],
    pad_id: int | None,
    in_step: bool | None = None,
) -> list[list[int]]:
    """Complete prompts in one batch and return what was generated, which may go on after the end.

    Args:
        model: A causal model of transformers; its training mode and generation config come back as they were.
        prompts: Ids, of any lengths.
        sampling: How to sample each.
        stop_ids: Ids at which a row ends.
        pad_id: What rows are filled with.
        in_step: Whether all processes do as many forward passes as the longest needs, as sharded weights want it;
            None: transformers looks whether the model is the wrapper that shards.
    """
    input_ids, mask = _pad(prompts, pad_id, model.device, left=True)
    width = input_ids.shape[1]
    limits = [params.max_tokens for params in sampling]
    # Plain greedy search, in which `SeededSampler` decides what is largest.
    greedy = GenerationConfig(
        max_new_tokens=max(limits),
        do_sample=False,
        eos_token_id=sorted(stop_ids) or None,
        pad_token_id=pad_id,
    )
    with _bare(model) as bare:
        output = bare.generate(
            input_ids=input_ids,
            attention_mask=mask,
            generation_config=greedy,
            logits_processor=LogitsProcessorList([SeededSampler(sampling, input_ids.device)]),
            stopping_criteria=StoppingCriteriaList([StopAtMaxTokens(width, limits, input_ids.device)]),
            synced_gpus=in_step,
        )
    rows: list[list[int]] = output[:, width:].tolist()
    return rows


def _pad(
    rows: Sequence[Sequence[int]], pad_id: int | None, device: torch.device, *, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, both (B, T)."""
    width = max(len(row) for row in rows)
    fill = [[pad_id] * (width - len(row)) for row in rows]
    ids = [[*pad, *row] if left else [*row, *pad] for row, pad in zip(rows, fill, strict=True)]
    mask = [
        [*[0] * len(pad), *[1] * len(row)] if left else [*[1] * len(row), *[0] * len(pad)]
        for row, pad in zip(rows, fill, strict=True)
    ]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


@contextmanager
def _bare(model: Any) -> Iterator[Any]:
    """Lend the model without dropout and without its generation config, which fills what we leave out."""
    was_training, own_config = model.training, model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    try:
        yield model
    finally:
        model.generation_config = own_config
        model.train(was_training)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; on a CPU torch says so by a plain RuntimeError."""
    words = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(phrase in words for phrase in _NO_MEMORY)
    )


def pick_device(device: str) -> torch.device:
    """Return the device that a user names; `auto` is a GPU if there is one.

    Raises:
        ConfigError: There is no such device, or no GPU.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"no such device: {device!r}", remedy="use auto, cpu, cuda or cuda:N") from error
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {device!r}, but torch finds no GPU", remedy="use --device cpu")
    return picked


def _pick_dtype(dtype: str, device: torch.device, config: Any) -> str:
    dtype = _SHORT_DTYPES.get(dtype, dtype)
    if dtype in DTYPES:
        return dtype
    if dtype != "auto":
        raise ConfigError(f"no such dtype: {dtype!r}", remedy=f"use auto, {', '.join(DTYPES)}")
    stored = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    stored = stored if stored in DTYPES else "float32"
    if device.type == "cuda" or stored == "float32":
        return stored
    if stored == "bfloat16" and has_fast_bfloat16():
        _LOG.info("dtype auto: bfloat16, as stored; this CPU computes it natively")
        return stored
    _LOG.info("dtype auto: float32 instead of the stored %s, which this CPU computes slowly", stored)
    return "float32"


def has_fast_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 natively; others are many times slower in it than in float32."""
    # Not public in torch; an older or newer torch without them counts as slow, which is the safe side.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)
