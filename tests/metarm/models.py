"""Small MetaRMs for tests: bases of a few thousand weights, a decoder and an encoder, and rows for them to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from reasrm.generation.checkpoint import Checkpoint
from reasrm.metarm.card import MetaCard
from reasrm.metarm.inputs import Encoded
from reasrm.metarm.model import MetaRM
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Message
from tests.tiny import build_tiny_model

CRITIQUES = (
    "A names three things. B names two.",
    "B is wrong, the sum is 12.",
    "A is short, B is polite and says why: it counts twice.",
    "Both fail.",
)
BASES = {
    "decoder": {},
    "likelihood": {"readout": "likelihood"},
    "encoder": {"form": "plain", "max_tokens": 128},
}
"""Kind of MetaRM → its card."""


def comparison(number: int = 0, **changes: Any) -> Comparison:
    """A comparison whose texts depend on its number."""
    fields: dict[str, Any] = {
        "id": f"q{number}",
        "prompt": (Message("user", f"question {number}"),),
        "response_a": "yes " * (number % 5 + 1),
        "response_b": f"no {number}",
    }
    return Comparison(**{**fields, **changes})


def build_base(folder: Path, kind: str) -> Path:
    """Write a base to a folder, unless it is there, and return the folder."""
    if folder.is_dir():
        return folder
    return build_tiny_encoder(folder) if kind == "encoder" else build_tiny_model(folder, context=512)


def build_metarm(base: Path, *, seed: int = 0, lora: Any | None = None, **card: Any) -> MetaRM:
    """Make an untrained MetaRM, in full precision, of a base."""
    named = MetaCard(**{"spec": load_spec("sandbox"), "max_tokens": 512, **card})
    return MetaRM.create(Checkpoint(str(base)), named, dtype=torch.float32, seed=seed, lora=lora)


def disturb(metarm: MetaRM, seed: int = 0) -> MetaRM:
    """Move every trained weight a little: an untrained readout is zero almost everywhere, and so are adapters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in metarm.trained().values():
            weight += 0.02 * torch.randn(weight.shape, generator=generator)
    return metarm


def encode(metarm: MetaRM, count: int = 7) -> list[Encoded]:
    """Rows of different lengths."""
    rows = [metarm.encoder.encode(comparison(n), CRITIQUES[n % 4] * (1 + n % 2)) for n in range(count)]
    return [row for row in rows if row is not None]


def weights(metarm: MetaRM) -> dict[str, torch.Tensor]:
    """Copies of all weights."""
    return {name: tensor.detach().clone() for name, tensor in metarm.state_dict().items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights that are not the same to the last bit."""
    assert one.keys() == other.keys()
    return [name for name, weight in one.items() if not torch.equal(weight, other[name])]


def build_tiny_encoder(folder: Path, lines: Sequence[str] = CRITIQUES) -> Path:
    """Write a random one-layer BERT with a word-piece tokenizer that has no chat template."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted(
        {w for line in (*lines, "question yes no response a b user") for w in line.lower().split()}
    )
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys((*entries, *words)))}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
        initializer_range=0.3,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
