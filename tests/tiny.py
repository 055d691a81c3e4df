"""A complete judge-shaped model of a few thousand weights, for tests that need real ids."""

from __future__ import annotations

from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LINES = [
    "Compare the two responses and decide which one is better.",
    "Response A is correct. Response B is wrong because the sum is 12, not 13.",
    "The verdict is [[A]]. The verdict is [[B]].",
    "def add(a, b):\n    return a + b\n",
]


def build_tiny_model(folder: Path, context: int = 2048, *, seed: int = 0) -> Path:
    """Write a random two-layer Qwen3 model with a byte-level tokenizer to a folder, and return the folder.

    Any text can be encoded. `<think>` and `</think>` are special tokens; answers end at `<|im_end|>` or at
    `<|endoftext|>`. The weights are wide enough that distributions are far from uniform.

    Args:
        folder: Where to write; made if absent.
        context: The model's limit of tokens.
        seed: Of the weights.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        _LINES,
        trainers.BpeTrainer(
            vocab_size=320, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=specials[2], pad_token=specials[0], chat_template=CHAT_TEMPLATE
    )
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=context,
        initializer_range=0.3,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
