"""The base model of the sandbox: the counterpart of an instruct model, made in about two minutes on a CPU.

It knows the words of the world, reads evidence off responses, writes judgments in good form and follows a rubric it
is given; its findings and verdicts are coins, for it has never seen a true one. Every experiment starts from it. It
is a folder like any other model's, cached under a hash of everything that shapes it; one seed of it is one seed of an
experiment.

Optimizer: Muon for the matrices inside the blocks (Jordan et al. 2024), AdamW for the rest. Measured here: with AdamW
alone, or with small embeddings, the evidence of `include` and `avoid` was still at its base rate after 600 steps.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson
import torch
from pydantic import Field
from safetensors import SafetensorError

from reasrm.config import Config
from reasrm.durable import building
from reasrm.errors import ConfigError
from reasrm.files import write_json_atomic
from reasrm.hashing import digest
from reasrm.protocol.completions import CompletionEncoder
from reasrm.protocol.encoder import PromptEncoder
from reasrm.protocol.spec import load_spec
from reasrm.sandbox.documents import Document, DocumentShares, documents
from reasrm.sandbox.tokenizer import build_tokenizer
from reasrm.world.config import WorldConfig

__all__ = ["BaseConfig", "BaseTraining", "ModelShape", "build_base"]

_VERSION = 1  # raise it when code changes what a configuration leads to
_POOL = 16  # batches that are sorted by length together
_OnStep = Callable[[int, int, float], None]


class ModelShape(Config):
    """A Qwen3-shaped model.

    Args:
        hidden_size: Width.
        intermediate_size: Width inside the MLP.
        num_layers: Blocks.
        num_heads: Attention heads, as many for keys and values.
        head_dim: Width of a head.
        max_positions: Longest prompt and answer together.
        embedding_std: Spread of the initial embeddings.
    """

    hidden_size: int = Field(default=96, gt=0)
    intermediate_size: int = Field(default=192, gt=0)
    num_layers: int = Field(default=3, gt=0)
    num_heads: int = Field(default=3, gt=0)
    head_dim: int = Field(default=32, gt=0)
    max_positions: int = Field(default=1024, gt=0)
    embedding_std: float = Field(default=1.0, gt=0)


class BaseTraining(Config):
    """How the base is trained.

    Args:
        steps: Updates.
        batch_size: Documents per update.
        lr: Of AdamW, for embeddings, output and norms.
        muon_lr: Of Muon, for the matrices inside the blocks.
        warmup_steps: Of a linear rise; then a linear fall to 5 %.
        prompt_weight: Loss weight of prompt tokens; at full weight the evidence was not learnt.
        coin_weight: Loss weight of tokens that are coins; what cannot be learnt is noise in the gradient.
    """

    steps: int = Field(default=1500, gt=0)
    batch_size: int = Field(default=32, gt=0)
    lr: float = Field(default=4e-3, gt=0)
    muon_lr: float = Field(default=0.04, gt=0)
    warmup_steps: int = Field(default=50, ge=0)
    prompt_weight: float = Field(default=0.1, ge=0)
    coin_weight: float = Field(default=0.2, ge=0)


class BaseConfig(Config):
    """Everything that shapes a base.

    Args:
        world: Its language and rules.
        documents: What it reads.
        model: Its shape.
        training: How it learns.
        spec: The protocol whose form it writes; documents are written for this one only.
        seed: Of weights and documents.
    """

    world: WorldConfig = WorldConfig()
    documents: DocumentShares = DocumentShares()
    model: ModelShape = ModelShape()
    training: BaseTraining = BaseTraining()
    spec: Literal["sandbox"] = "sandbox"
    seed: int = Field(default=0, ge=0)

    @property
    def hash(self) -> str:
        """Name of this base among others: 12 hex digits over configuration, spec and tokenizer."""
        vocabulary = build_tokenizer().backend_tokenizer.to_str()
        known = self.model_dump(mode="json", exclude={"world": {"tastes"}})  # no document says them
        return digest([_VERSION, known, load_spec(self.spec).hash, vocabulary], length=12)


def build_base(config: BaseConfig, folder: Path, on_progress: _OnStep | None = None) -> Path:
    """Train a base into a folder, unless it lies there already; return the folder.

    The folder appears whole or not at all. It holds the model, its tokenizer and `base.json` with the configuration.

    Args:
        config: What to build.
        folder: Where.
        on_progress: Called now and then with steps done, steps in all, and the loss.

    Raises:
        ConfigError: The folder holds something else.
        EnvironmentProblem: The folder cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        if _hash_in(folder) == config.hash:
            return folder
        raise ConfigError(
            "holds another base or other files", place=str(folder), remedy="choose another folder"
        )
    started = time.monotonic()
    with building(folder, unwritable=(SafetensorError,)) as partial:
        model, tokenizer = _train(config, on_progress or (lambda done, total, loss: None))
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        record = {
            "hash": config.hash,
            "config": config.model_dump(mode="json"),
            "num_parameters": sum(p.numel() for p in model.parameters()),
            "seconds": round(time.monotonic() - started, 1),
        }
        write_json_atomic(partial / "base.json", record)
    return folder


def _hash_in(folder: Path) -> str | None:
    try:
        return str(orjson.loads((folder / "base.json").read_bytes())["hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def new_model(config: BaseConfig, tokenizer: Any) -> Any:
    """Return an untrained model of the configured shape; the seed decides its weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    shape = config.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=shape.hidden_size,
                intermediate_size=shape.intermediate_size,
                num_hidden_layers=shape.num_layers,
                num_attention_heads=shape.num_heads,
                num_key_value_heads=shape.num_heads,
                head_dim=shape.head_dim,
                max_position_embeddings=shape.max_positions,
                tie_word_embeddings=False,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        torch.nn.init.normal_(model.model.embed_tokens.weight, std=shape.embedding_std)
    return model


def _train(config: BaseConfig, on_progress: _OnStep) -> tuple[Any, Any]:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of one shard
    tokenizer = build_tokenizer()
    model = new_model(config, tokenizer).train()
    settings = config.training
    optimizers = _optimizers(model, settings)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: _rate(settings, step)) for o in optimizers]
    batches = _batches(config, tokenizer)
    for step in range(settings.steps):
        ids_BT, weights_BT = next(batches)
        loss = _loss(model, ids_BT, weights_BT)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        model.zero_grad()
        if step % 20 == 0 or step + 1 == settings.steps:
            on_progress(step + 1, settings.steps, loss.item())
    return model.eval(), tokenizer


def _loss(model: Any, ids_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean of -log p over all tokens but the first; padding weighs 0.

    Padding is on the right, so that causal attention needs no mask.
    """
    logits = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), ids_BT[:, 1:].flatten(), reduction="none"
    )
    weights = weights_BT[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def _optimizers(model: Any, settings: BaseTraining) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=settings.muon_lr, momentum=0.95, weight_decay=0.0),
        torch.optim.AdamW(others, lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(settings: BaseTraining, step: int) -> float:
    rise = (step + 1) / max(settings.warmup_steps, 1)
    left = (settings.steps - step) / max(settings.steps - settings.warmup_steps, 1)
    return min(1.0, rise, max(left, 0.05))


def _batches(config: BaseConfig, tokenizer: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (ids, weights), both (B, T), documents of like length together, in a seeded order."""
    encoder = PromptEncoder(tokenizer)
    completions = CompletionEncoder(encoder, tokenizer, {tokenizer.eos_token_id})
    stream = documents(config.world, config.documents, load_spec(config.spec), config.seed)
    draw = random.Random(config.seed)
    settings = config.training
    size = settings.batch_size

    def encode(document: Document) -> tuple[list[int], list[float]]:
        prompt = encoder.encode(document.messages).ids
        target = completions.encode(document.target)
        coins = {number for word in document.coins for number in encoder.encode_text(word)}
        weights = [settings.prompt_weight] * len(prompt)
        weights += [settings.coin_weight if number in coins else 1.0 for number in target]
        return [*prompt, *target], weights

    while True:
        encoded = sorted((encode(d) for d in itertools.islice(stream, size * _POOL)), key=lambda e: len(e[0]))
        batches = [encoded[n : n + size] for n in range(0, len(encoded), size)]
        draw.shuffle(batches)
        for batch in batches:
            yield (
                _padded([ids for ids, _ in batch], tokenizer.pad_token_id),
                _padded([w for _, w in batch], 0.0),
            )


def _padded(rows: Sequence[Sequence[float]], fill: float) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
