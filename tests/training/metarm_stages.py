"""Small MetaRM stages for tests: pairs of the embedded world, judgments of them written by hand, a config."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Order, PreferencePair
from reasrm.sandbox.writing import judgment_text
from reasrm.sources.importing import pair_to_json
from reasrm.world.critiques import Clause, core_arguments
from reasrm.world.pairs import World
from reasrm.world.reading import rules_of
from tests.training.stages import SANDBOX_MODEL, SPEC

PARTS = {
    "outcome": {"kind": "outcome", "right": 1.0, "wrong": 0.0},
    "critique": {"kind": "critique", "weight": 0.5},
    "format": {"kind": "critique_format", "max_lines": None, "max_characters": None},
}
SANDBOX_CRITIQUES = {"extractor": "sandbox", "similarity": "exact", "fatal_rule": False}


def clauses(shown: Comparison, pair: PreferencePair) -> list[Clause]:
    """What is true of a pair, in the order shown."""
    return [Clause.gold(rule, shown.response_a, shown.response_b) for rule in rules_of(pair)]


def decided(pair: PreferencePair) -> bool:
    """Whether a rule decides the pair, so that it has core arguments."""
    return bool(core_arguments(clauses(pair.compare(), pair)))


def world_pairs(count: int, split: str = "train") -> list[PreferencePair]:
    """Pairs that have core arguments."""
    pairs = (pair for pair in World().pairs(split, 3 * count) if decided(pair))  # type: ignore[arg-type]
    return [pair for _, pair in zip(range(count), pairs, strict=False)]


def texts(pair: PreferencePair, order: Order) -> list[str]:
    """Four judgments of a pair: all right; right without reasons; wrong without reasons; no verdict.

    Under RM-NLHF's reward they are worth 1.5, 1 and 0, and the last is of bad format.
    """
    spec = load_spec(SPEC)
    shown = pair.compare() if order is Order.AB else pair.compare().swap()
    assert shown.target is not None
    right, wrong = shown.target.winner, shown.target.swap().winner
    vague = f"<eval>\nboth are fine\n</eval>\n<answer>[[{right}]]</answer>"
    blind = f"<eval>\nit is long\n</eval>\n<answer>[[{wrong}]]</answer>"
    whole = judgment_text(spec, clauses(shown, pair), right)
    return [whole, vague, blind, "<eval>\nboth are fine\n</eval>"]


def judged_row(pair: PreferencePair, orders: Sequence[Order] = (Order.AB, Order.BA)) -> dict[str, Any]:
    """What `reasrm judge` would have written."""
    judgments = [
        {"order": order, "vote": vote, "verdict": None, "status": "ok", "critique": None, "text": text}
        for order in orders
        for vote, text in enumerate(texts(pair, order))
    ]
    spec = load_spec(SPEC)
    return {"id": pair.id, "judgments": judgments, "judge": {"name": "by hand", "spec_hash": spec.hash}}


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_metarm_stage(folder: Path, *, count: int = 8, **sections: Any) -> Path:
    """Write pairs, judgments and a config that learns from them; `sections` are updated or added.

    Args:
        folder: Where to.
        count: Pairs, each judged four times in both orders.
        sections: Of the config.
    """
    pairs = world_pairs(count)
    write_lines(folder / "pairs.jsonl", [pair_to_json(pair) for pair in pairs])
    write_lines(folder / "judged.jsonl", [judged_row(pair) for pair in pairs])
    config: dict[str, Any] = {
        "stage": "metarm",
        "model": {"path": str(SANDBOX_MODEL), "dtype": "float32"},
        "spec": SPEC,
        "data": {
            "train": [str(folder / "pairs.jsonl")],
            "judgments": [str(folder / "judged.jsonl")],
            "holdout": 0.0,
        },
        "metarm": {},
        "rewards": {"parts": PARTS},
        "critique": SANDBOX_CRITIQUES,
        "trainer": {
            "max_steps": 2,
            "per_device_train_batch_size": 8,
            "learning_rate": 1e-3,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "save_steps": 2,
        },
    }
    for name, value in sections.items():
        merge = isinstance(value, dict) and isinstance(config.get(name), dict)
        config[name] = {**config[name], **value} if merge else value
    path = folder / "metarm.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def build_tiny_encoder(folder: Path) -> Path:
    """Write a random BERT of a few thousand weights with a tokenizer of its own, and return the folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw = Tokenizer(models.WordPiece(unk_token=specials[1]))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = [pair.chosen for pair in World().pairs("train", 20)]
    raw.train_from_iterator(
        [*words, "<conv_his> user : Response A : B : </conv_his> <critics> both are fine </critics>"],
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials, show_progress=False),
    )
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        model_max_length=512,
        **dict(
            zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True)
        ),
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
