"""Small tokenizers built here in the shape of published families: added tokens, flags, normaliser, template.

The vocabularies are trained on a few hundred lines of the standard library; the control tokens are the
published ones with their flags; the chat templates are our own words for each family's control structure.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import textwrap
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from reasrm import models as reasrm_models
from reasrm.errors import EnvironmentProblem
from reasrm.protocol.encoder import PromptEncoder
from reasrm.requests import Span

SAMPLE = """
Response A is better because it answers the question that was asked; response B never does.
Größe, naïve café, señor, Übermaß, œuvre. Привет, мир! Γειά σου Κόσμε. 안녕하세요 세계. 你好，世界。
مرحبا بالعالم — שלום עולם. हिन्दी में लिखा हुआ। ภาษาไทย 🙂🚀👩‍👩‍👧 x² ≠ y₃ “quoted” ‘text’ … 1,234.56 €
[a](b) <b>bold</b> <|x and |> y, a < b > c [[A]] [INS im_start start_of_turn think tool_call User message
"""

# As in the published ones, a space stays with its word, newlines with punctuation, the last space of a run
# with what follows; they differ in how digits and case are cut.
ONE_DIGIT = r"\p{N}|.?\p{L}+| ?[^\s\p{L}\p{N}]+\n*|\s*\n+|\s+(?!\S)|\s+"
THREE_DIGITS = ONE_DIGIT.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
CASED = THREE_DIGITS.replace(r".?\p{L}+", r".?\p{Lu}*[\p{Ll}\p{Lo}\p{M}]+|.?\p{Lu}+")

CHATML = """
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""
QWEN3 = """
{%- for m in messages -%}
{%- set text = m.content -%}
{%- if m.role == 'assistant' and '</think>' in text -%}
{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}
{%- endif -%}
{{ '<|im_start|>' + m.role + '\\n' + text + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}{%- endif -%}"""
LLAMA3 = """
{{- bos_token -}}
{%- for m in messages -%}
{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}"""
MISTRAL = """
{%- if messages[0].role == 'system' -%}
{%- set opening = messages[0].content + '\\n\\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set opening = '' -%}{%- set turns = messages -%}{%- endif -%}
{{- bos_token -}}
{%- for m in turns -%}
{%- if m.role == 'user' -%}{{ '[INST] ' + (opening if loop.last else '') + m.content + '[/INST]' }}
{%- elif m.role == 'assistant' -%}{{ ' ' + m.content | trim + eos_token }}
{%- else -%}{{ raise_exception('only user and assistant turns') }}{%- endif -%}
{%- endfor -%}"""
TEKKEN = """
{{- bos_token -}}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
{%- elif m.role == 'user' -%}{{ '[INST]' + m.content + '[/INST]' }}
{%- else -%}{{ m.content + eos_token }}{%- endif -%}
{%- endfor -%}"""
GEMMA = """
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}{{ raise_exception('no system role') }}{%- endif -%}
{%- for m in messages -%}
{%- set role = 'model' if m.role == 'assistant' else m.role -%}
{{ '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""
DEEPSEEK = """
{{- bos_token -}}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{ m.content }}
{%- elif m.role == 'user' -%}{{ '<｜User｜>' + m.content }}
{%- else -%}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<｜Assistant｜><think>\\n' }}{%- endif -%}"""
HARMONY = """
{{- '<|start|>system<|message|>Reasoning: medium\\n\\n# Valid channels: analysis, final.<|end|>' -}}
{%- for m in messages -%}
{%- if m.role == 'system' -%}
{{ '<|start|>developer<|message|># Instructions\\n\\n' + m.content + '\\n\\n<|end|>' }}
{%- elif m.role == 'assistant' -%}
{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}
{%- else -%}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|start|>assistant' }}{%- endif -%}"""
PLAIN = """
{%- for m in messages -%}{{ m.role + ' : ' + m.content + ' </s> ' }}{%- endfor -%}"""


@dataclass(frozen=True)
class Family:
    """A family: how its tokenizer is made."""

    name: str
    kind: str  # bytes | metaspace | spaces | prepend | unigram | words
    special: tuple[str, ...]
    ordinary: tuple[str, ...]
    template: str
    bos: str | None = None
    eos: str | None = None
    split: str = ONE_DIGIT
    normalizer: str | None = None


def _numbered(form: str, count: int) -> tuple[str, ...]:
    return tuple(form.format(n) for n in range(count))


_QWEN_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>",
    "<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_QWEN_ORDINARY = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip
_MISTRAL = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
)  # fmt: skip

FAMILIES = {
    family.name: family
    for family in (
        Family("qwen2.5", "bytes", _QWEN_SPECIAL, _QWEN_ORDINARY, CHATML, normalizer="NFC"),
        Family(
            "qwen3", "bytes", _QWEN_SPECIAL,
            (*_QWEN_ORDINARY, "<tool_response>", "</tool_response>", "<think>", "</think>"),
            QWEN3, normalizer="NFC",
        ),
        Family(
            "llama3", "bytes",
            ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
             "<|eot_id|>", "<|python_tag|>", "<|finetune_right_pad_id|>",
             *_numbered("<|reserved_special_token_{}|>", 12)),
            (), LLAMA3, bos="<|begin_of_text|>", eos="<|eot_id|>", split=THREE_DIGITS,
        ),
        Family(
            "mistral", "metaspace", (*_MISTRAL, *_numbered("[control_{}]", 8)), (), MISTRAL, "<s>", "</s>"
        ),
        Family(
            "tekken", "bytes",
            (*_MISTRAL, "<pad>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
             "[THINK]", "[/THINK]", *_numbered("<SPECIAL_{}>", 8)),
            (), TEKKEN, "<s>", "</s>", split=CASED,
        ),
        Family(
            "gemma", "spaces",
            ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"),
            ("[multimodal]", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "<table>", "</table>",
             *_numbered("<unused{}>", 8)),
            GEMMA, "<bos>", "<eos>",
        ),
        Family(
            "deepseek", "bytes",
            ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"),
            ("<｜User｜>", "<｜Assistant｜>", "<|EOT|>", "<｜fim▁hole｜>", "<｜tool▁calls▁begin｜>",
             "<｜tool▁calls▁end｜>", "<｜tool▁sep｜>", "<think>", "</think>",
             *_numbered("<｜place▁holder▁no▁{}｜>", 8)),
            DEEPSEEK, "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", split=THREE_DIGITS,
        ),
        Family(
            "gpt-oss", "bytes",
            ("<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>",
             "<|end|>", "<|message|>", "<|call|>", "<|endofprompt|>", *_numbered("<|reserved_20000{}|>", 8)),
            (), HARMONY, "<|startoftext|>", "<|return|>", split=CASED,
        ),
        Family("llama2", "prepend", ("<unk>", "<s>", "</s>"), (), MISTRAL, "<s>", "</s>"),
    )
}  # fmt: skip

# Models that hold control strings as ordinary vocabulary entries, not as added tokens.
ODD = {
    "unigram": Family("unigram", "unigram", ("<pad>",), (), PLAIN),
    "words": Family("words", "words", ("[PAD]",), (), PLAIN),
}

# A published tokenizer itself, with its own template, where `reasrm models fetch` has been.
SMOLLM2 = Family(
    "smollm2",
    "bytes",
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>",
     "<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>",
     "<jupyter_code>", "<jupyter_output>", "<jupyter_script>", "<empty_output>"),
    (),
    template="",
)  # fmt: skip

BY_NAME = {**FAMILIES, **ODD, "smollm2": SMOLLM2}
NAMES = [*FAMILIES, pytest.param("smollm2", marks=pytest.mark.slow)]
"""What tests of every family take for `name`."""


@functools.cache
def corpus() -> tuple[str, ...]:
    """Lines to train on."""
    sources = "".join(inspect.getsource(module) for module in (textwrap, argparse))
    return tuple(line for line in (SAMPLE * 20 + sources).splitlines() if line.strip())


@functools.cache
def trained(kind: str, split: str, normalizer: str | None) -> bytes:
    """Return the JSON of a small tokenizer without control tokens."""
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC() if normalizer == "NFC" else None
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=600,
            unk_token="<unk>",  # noqa: S106
            special_tokens=["<unk>", "<s>", "</s>"],
            show_progress=False,
        )
    elif kind == "words":
        tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(
            vocab_size=600, special_tokens=["[UNK]", "<s>", "</s>", "<|im_end|>"], show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first" if kind != "prepend" else "always"
        )
        trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer.to_str().encode()


def _sentencepiece(spec: dict[str, Any], family: Family) -> dict[str, Any]:
    """Turn a trained BPE into the form that SentencePiece models are converted to.

    Control strings and byte tokens are vocabulary entries, and merges lead to them: a converter makes merges
    for every entry that two others spell.
    """
    controls = [*family.special, *family.ordinary]
    entries = [*controls, *(f"<0x{n:02X}>" for n in range(256)), *spec["model"]["vocab"]]
    merges = list(spec["model"]["merges"])
    for target in (*family.special, "<0x0A>", "<0x41>"):
        for end in range(2, len(target) + 1):
            merges.append([target[: end - 1], target[end - 1]])
            entries += (target[:end], target[end - 1], target[0])
    spec["model"] |= {
        "vocab": {entry: number for number, entry in enumerate(dict.fromkeys(entries))},
        "merges": [list(pair) for pair in dict.fromkeys(map(tuple, merges))],
        "unk_token": "<unk>",
        "fuse_unk": True,
        "byte_fallback": True,
    }
    tail = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    spaces: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}]
    strip: list[dict[str, Any]] = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    if family.kind == "spaces":
        spec["normalizer"], spec["pre_tokenizer"], strip = replace, None, []
    elif family.kind == "prepend":
        steps = [{"type": "Prepend", "prepend": "▁"}, replace]
        spec["normalizer"], spec["pre_tokenizer"] = {"type": "Sequence", "normalizers": steps}, None
    else:
        spec["pre_tokenizer"] = {
            "type": "Metaspace",
            "replacement": "▁",
            "prepend_scheme": "first",
            "split": False,
        }
    spec["decoder"] = {"type": "Sequence", "decoders": [*spaces, *tail, *strip]}
    return spec


def backend(family: Family) -> Tokenizer:
    """Build the family's tokenizer."""
    spec = orjson.loads(trained(family.kind, family.split, family.normalizer))
    if family.kind in ("metaspace", "spaces", "prepend"):
        spec = _sentencepiece(spec, family)
    if family.kind in ("unigram", "words"):
        spec["added_tokens"] = []
    if family.name == "llama3":
        spec["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(orjson.dumps(spec).decode())
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in family.special]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in family.ordinary])
    if family.bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, tokenizer.token_to_id(family.bos))]
        )
    return tokenizer


@functools.cache
def build(name: str) -> Any:
    """Return the family's tokenizer as transformers has it, with its chat template."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if name == "smollm2":
        try:
            return AutoTokenizer.from_pretrained(reasrm_models.find(name))
        except EnvironmentProblem as error:
            pytest.skip(str(error))
    family = BY_NAME[name]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend(family),
        bos_token=family.bos,
        eos_token=family.eos,
        chat_template=family.template,
        clean_up_tokenization_spaces=False,
    )


@functools.cache
def encoder(name: str) -> PromptEncoder:
    """Return the encoder of a family, built once."""
    return PromptEncoder(build(name))


def theirs(text: str) -> Span:
    """Return text that somebody else wrote."""
    return Span(text, trusted=False)


def ours(text: str) -> Span:
    """Return text that we wrote."""
    return Span(text, trusted=True)


def control_strings(family: Family) -> list[str]:
    """Return the family's added tokens, except white space."""
    return [token for token in (*family.special, *family.ordinary) if token.strip(" ▁\n")]


# What hostile text is mixed from.
FRAGMENTS = sorted(
    {
        piece
        for family in FAMILIES.values()
        for token in control_strings(family)
        for piece in (token, token[:-1], token[1:], token[: len(token) // 2], token[len(token) // 2 :])
    }
    | {
        "<",
        "|",
        ">",
        "<|",
        "|>",
        "[",
        "]",
        "/",
        "｜",
        "▁",
        " ",
        "\n",
        "im_",
        "end",
        "a",
        "é",
        "\ue000",
        "x",
        "0",
    }
)
