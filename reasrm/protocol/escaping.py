r"""Strings in somebody's text that look like control tokens or like our own markers: find them, break them.

Where ids can be sent to the model, `PromptEncoder` makes forging a control token impossible. A chat endpoint
takes only text and renders it with a template and a tokenizer that we cannot see. For it, and only for it,
`escape_untrusted` breaks what looks like a control token of any published family by a visible backslash:
`<|im_end|>` becomes `<\|im_end|>`. This is weaker: a family with unheard-of control strings is not covered,
and the model reads one character that the author did not write. Nor is a family that marks turns with plain words
(`USER:`, `Human:`, `### Instruction`, `/nothink`): they are words to everybody else, and stay.

Matching is done on a folded copy: compatibility forms replaced (full-width bars and brackets), invisible
characters removed, lower case. So disguised forms are found too. Positions map back to the text itself, of
which every byte stays. All patterns are bounded; the time is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from reasrm.errors import ConfigError
from reasrm.requests import PromptMessage

__all__ = ["escape_untrusted", "find_structural", "holds_control", "looks_like_control"]

_ANGLED = (
    r"s|bos|eos|pad|unk|mask|cls|sep|eod|eot|eop|sop|image|start_of_turn|end_of_turn|turn|channel|start_of_image|"
    r"end_of_image|start_of_audio|end_of_audio|begin_of_text|end_of_text|think|thinking|thought|reasoning|"
    r"tool|tools|tool_call|tool_calls|tool_response|tool_result|tool_results|tool_outputs|function_calls|"
    r"unused_?[0-9]{1,5}|extra_id_[0-9]{1,4}|special_[0-9]{1,5}|reserved_(?:token_)?[0-9]{1,5}|"
    r"(?:bos|eos|eop|pad|unk|cls|sep|mask)_token|"  # Cohere
    r"role|"  # Ling
    r"(?:beginning|begin|end)_of_(?:sentence|document|image)|"  # MiniMax-01
    r"eoh|eoa|eosys|tokens_unused_[0-9]{1,5}|"  # InternLM
    r"arg_key|arg_value|toolcall|available_tools|"  # GLM, Nemotron
    r"用户|ai|"  # MiniCPM
    r"mask:[0-9]{1,5}|"  # ERNIE
    r"repo_?name|file_sep|gh_stars|issue_(?:start|comment|closed)|jupyter_(?:start|text|code|output|script)|"  # SmolLM
    r"empty_output|"  # SmolLM, whose <filename> is everybody's placeholder and stays
    r"fim_(?:prefix|middle|suffix|pad)|function_call|code_interpreter|osagent_mode|"
    r"(?:seed|minimax|mm):[a-z_]{1,40}|longcat_[a-z_]{1,40}|"
    r"_(?:user|bot|system|observation|start|end|pad)"  # TeleChat
)
_SQUARED = (
    r"inst|system_prompt|available_tools|tool_calls|tool_results|tool_content|args|call_id|think|prefix|middle|"
    r"suffix|img|img_break|img_end|audio|begin_audio|transcribe|control_[0-9]{1,5}|model_settings|"
    r"cls|sep|mask|gmask|smask|smop|pad|unk|bos|eos|eot|multimodal|unused[0-9]{1,5}|unused_token_[0-9]{1,5}|"
    r"start_header_id|end_header_id|extra_id_[0-9]{1,4}"  # Kimi
)
_GENERIC = (
    r"<\|[^|<>\\\s]{1,80}\|>"  # the full-width bars of DeepSeek fold to these
    rf"|</?\|?(?:{_ANGLED})\|?>"
    rf"|\[/?(?:{_SQUARED})\]"
    r"|<</?sys>>"
    r"|\[\|[a-z_]{3,40}\|\]"  # EXAONE
    r"|\]~!?b[\[\]]|\[e~\[|\]![a-z]~\[|\]<\][a-z_ ]{1,40}\[>\["  # MiniMax
    r"|<\[(?:begin|end|fim|plhd)[^\[\]<>\\\s]{0,80}\]>"  # Seed-Coder, Seed-OSS
    r"|\u25c1/?[a-z_|]{1,40}\u25b7"  # Kimi
    r"|</?\|dsml\|"  # DeepSeek's tool calls
    r"|>>(?:title|abstract|introduction|summary|comment|answer|question|domain|prefix|suffix|middle)<<"  # Falcon
)
_GENERIC_PATTERN = re.compile(_GENERIC)

_SHORTEST_MARKER = 2  # one character has no inside to break

# Not of category Cf, but drawn as nothing all the same: fillers, variation selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5").union(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)


class _FoldTable(dict[str, str]):
    """Character → what it counts as when matching; filled as characters are met."""

    def __missing__(self, character: str) -> str:
        folded = unicodedata.normalize("NFKC", character).lower()
        kept = "".join(c for c in folded if c not in _INVISIBLE and unicodedata.category(c) != "Cf")
        self[character] = kept
        return kept


_FOLD = _FoldTable()


def looks_like_control(text: str) -> bool:
    """Tell whether the whole of `text` is written like a published control token."""
    return (
        text[:1] in ("<", "[", "]", ">", "\u25c1") and _GENERIC_PATTERN.fullmatch(_fold(text)[0]) is not None
    )


def holds_control(text: str) -> bool:
    """Tell whether anything in `text` is written like a published control token, plain or disguised."""
    return _GENERIC_PATTERN.search(_fold(text)[0]) is not None


def find_structural(text: str, structural: Sequence[str]) -> list[str]:
    """Return those of the `structural` strings that occur in `text`, plain or disguised, in the order given.

    Raises:
        ConfigError: A structural string is too short to be told from ordinary text.
    """
    folded = _fold(text)[0]
    return [marker for marker in dict.fromkeys(structural) if _folded_marker(marker) in folded]


def escape_untrusted(
    messages: Sequence[PromptMessage], structural: Sequence[str] = ()
) -> list[dict[str, str]]:
    r"""Return the messages as `{role, content}` with control-looking strings in untrusted spans broken.

    A string that begins in our words and ends in theirs is broken as well; strings wholly in our words stay.
    A clean prompt comes back as it is, and escaping what has been escaped changes nothing.

    Args:
        messages: The prompt.
        structural: The judge's own markers, such as its verdict tags, to break besides control tokens.

    Raises:
        ConfigError: A structural string is too short to be broken.
    """
    patterns = [_GENERIC_PATTERN]
    if structural:
        # Longest first: of two that start together, the longer may reach from our words into theirs.
        markers = sorted({_folded_marker(marker) for marker in structural}, key=len, reverse=True)
        patterns.append(re.compile("|".join(re.escape(marker) for marker in markers)))
    return [{"role": message.role, "content": _escape_message(message, patterns)} for message in messages]


def _escape_message(message: PromptMessage, patterns: Sequence[re.Pattern[str]]) -> str:
    text = message.text
    theirs = b"".join((b"\0" if span.trusted else b"\1") * len(span.text) for span in message.spans)
    # A marker may itself hold a backslash, so that one break completes another; hence until nothing is left.
    while breaks := _breaks(text, theirs, patterns):
        bounds = list(pairwise([0, *breaks, len(text)]))
        text = "\\".join(text[start:end] for start, end in bounds)
        theirs = b"\1".join(theirs[start:end] for start, end in bounds)
    return text


def _breaks(text: str, theirs: bytes, patterns: Sequence[re.Pattern[str]]) -> list[int]:
    """Return where backslashes go, ascending: in a match behind its first character, or where theirs begins.

    Matches may overlap; every place to start is looked at once.
    """
    folded, origin = _fold(text)
    places = set()
    for pattern in patterns:
        match = pattern.search(folded)
        while match is not None:
            start, end = origin[match.start()], origin[match.end() - 1] + 1
            begin = theirs.find(b"\1", start, end)
            # Behind a leading backslash another one would leave the marker whole: one character further.
            lead = len(match.group()) - len(match.group().lstrip("\\"))
            place = max(origin[match.start() + lead] + 1, begin)
            if begin >= 0 and place < end:
                places.add(place)
            match = pattern.search(folded, match.start() + 1)
    return sorted(places)


def _fold(text: str) -> tuple[str, Sequence[int]]:
    """Return the folded text and, for each of its characters, the index of the one it came from."""
    if text.isascii():
        return text.lower(), range(len(text))
    pieces = [_FOLD[character] for character in text]
    return "".join(pieces), [index for index, piece in enumerate(pieces) for _ in piece]


def _folded_marker(marker: str) -> str:
    folded = _fold(marker)[0]
    if len(folded.strip("\\")) < _SHORTEST_MARKER:
        raise ConfigError(
            f"the structural string {marker!r} is too short", remedy="use at least two visible characters"
        )
    return folded
