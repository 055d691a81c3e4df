"""Prompt → token ids, such that nobody else's text can become a control token.

Chat templates paste text between control tokens, and tokenizers look for control tokens in the result: a
response that says `<|im_end|>` ends the judge's turn. Here untrusted spans cannot do that, by construction:

1. The template is rendered with random placeholders instead of untrusted text. The tokenizer's own search
   finds the control tokens in this skeleton. They are all there will ever be.
2. In a copy of the tokenizer every control string is renamed to a random alias, among the added tokens and in
   the model's vocabulary (some vocabularies hold control strings as ordinary entries). The copy knows no way
   to a control id but the alias.
3. In the skeleton control tokens are replaced by their aliases and placeholders by the text; the copy encodes
   the whole at once. Added tokens split the text where they do ordinarily, and what is between is normalised,
   prefixed and merged as ordinarily; so clean text gets the ids of `apply_chat_template(tokenize=True)`.

Control tokens are all added tokens, special or not, except white space, and vocabulary entries written like a
published control token. Some tokenizers declare ordinary words or HTML tags as added tokens, as Gemma does:
untrusted text that holds one has it spelled in smaller tokens, and the prompt is flagged. The unknown token
is what any unreadable character becomes; it is the one added token that text can lead to.

White space at the edges of a message stays outside the placeholders, so that templates trim as ordinarily. A
template without a system role gets the system message in front of the first user message. A template that
rewrites text (escapes, upper-cases) or hides it is refused: the judge must read what was written. So is one that
prints today's date, unless the option `date_string` says which day that is: prompts must not change overnight.

Renaming control strings in a copy is our own method. The known alternatives are escaping (placeholders can be
forged) and encoding pieces apart (which changes the ids beside every boundary).
"""

from __future__ import annotations

import re
import secrets
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from typing import Any

import jinja2
import orjson
from tokenizers import Tokenizer

from reasrm.errors import ConfigError, InputError, InternalError
from reasrm.protocol.clock import DAYS, asks_for_day, freeze, frozen_day, suggest_day
from reasrm.protocol.renaming import (
    Control,
    build_copy,
    build_scanner,
    is_space,
    undeclared_controls,
    unknown_id,
    vocabulary_entries,
)
from reasrm.requests import PromptMessage, TemplateOption, merge_system

__all__ = ["EncodedPrompt", "PromptEncoder", "TextEncoder"]

_PROBE = "A b\n\n  \"c\" 'd' <e> & \\f {{ g }}\té漢\u0301 1."
_ORDINARY = ("Response A is better, by 10 to 9.",)


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the model gets it.

    Args:
        ids: Token ids.
        flagged: Whether untrusted text held control strings, which the ordinary way would have obeyed.
    """

    ids: tuple[int, ...]
    flagged: bool


class TextEncoder:
    """Encodes untrusted text for one tokenizer, with or without a chat template.

    Args:
        tokenizer: A fast tokenizer of transformers.

    Attributes:
        control_ids: Ids that untrusted text never becomes.

    Raises:
        ConfigError: The tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ConfigError(
                f"the tokenizer {type(tokenizer).__name__} is not a fast tokenizer",
                remedy="use a model whose folder has a tokenizer.json",
            )
        self._tokenizer = tokenizer
        self._backend = backend
        self._survived: set[str] = set()
        self._nonce = "".join(secrets.choice(string.ascii_lowercase) for _ in range(24))

        spec = orjson.loads(backend.to_str())
        entries = vocabulary_entries(spec["model"])
        undeclared = undeclared_controls(spec, entries)
        declared = [token for token in spec["added_tokens"] if not is_space(token["content"])]
        # An alias ends in a digit: with it no combining mark of the text behind can melt.
        self._controls = {
            token["content"]: Control(
                token["id"], f"{self._nonce}{number:06d}", token["lstrip"], token["rstrip"]
            )
            for number, token in enumerate((*declared, *undeclared))
        }
        unknown = unknown_id(spec, entries)
        self.control_ids = frozenset(c.id for c in self._controls.values() if c.id != unknown)
        self._scanner = build_scanner(spec, undeclared, self._nonce)
        self._scanned = {self._scanner.token_to_id(content): c for content, c in self._controls.items()}
        self._start = self._nonce + "start"
        self._copy = build_copy(spec, self._controls, self._start)
        if any(self._copy.token_to_id(c.alias) != c.id for c in self._controls.values()):
            raise InternalError("the tokenizer's ids cannot be copied", remedy="report the tokenizer's name")

    def refuse_garbling(self, texts: Sequence[str] = ()) -> None:
        """Refuse a tokenizer that does not give back what it was given: a judge would read and write rubbish.

        Case, white space and compatibility forms may change: that is how some read.

        Args:
            texts: What must survive besides ordinary words, such as the judge's markers.

        Raises:
            ConfigError: Naming the text and what became of it.
        """
        for text in (*_ORDINARY, *texts):
            if text in self._survived:
                continue
            again = self._backend.decode(list(self.encode_text(text)), skip_special_tokens=False)
            if _bare(again) != _bare(text):
                raise ConfigError(
                    f"the tokenizer turns {text[:60]!r} into {again[:60]!r}",
                    place=f"tokenizer {getattr(self._tokenizer, 'name_or_path', '')}".rstrip(),
                    remedy="use the tokenizer that the model was trained with: its files belong into the folder",
                )
            self._survived.add(text)

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Return the ids of untrusted text as it is encoded after a control token; none is a control id."""
        return self._encode_aliased(self._start + text, [])[1:]

    def _encode_aliased(self, aliased: str, controls: Sequence[Control]) -> tuple[int, ...]:
        ids: Sequence[int] = self._copy.encode(_encodable(aliased), add_special_tokens=False).ids
        wanted = [control.id for control in controls if control.id in self.control_ids]
        if [i for i in ids if i in self.control_ids] != wanted:
            raise InternalError(
                "the encoded prompt does not hold the control tokens of its template",
                remedy="report the tokenizer's name",
            )
        return tuple(ids)


class PromptEncoder(TextEncoder):
    """Encodes prompts for one tokenizer.

    Args:
        tokenizer: A fast tokenizer of transformers with a chat template.

    Attributes:
        merges_system: Whether the system message is put in front of the first user message.

    Raises:
        ConfigError: The tokenizer is not a fast one, has no chat template, or a template that rewrites text.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        # Both cases, so that a template that changes case is noticed; not a word character at the ends.
        self._placeholder = "\ue000xQ" + self._nonce + "{}Qx\ue001"
        self._placeholder_pattern = re.compile(self._placeholder.format("([0-9]+)"))
        # Some decoders take the first token's space for a prefix of theirs. So they get another first token.
        loses_space = self._decode(list(self.encode_text(" x"))) != " x"
        anchors = (text for text, c in self._controls.items() if loses_space and c.id in self.control_ids)
        self._anchor = next(anchors, "")
        self.merges_system = self._lacks_system_role()
        self._checked: set[str] = set()
        self._refuse_rewriting({})

    def encode(
        self,
        messages: Sequence[PromptMessage],
        add_generation_prompt: bool = True,
        options: Mapping[str, TemplateOption] | None = None,
    ) -> EncodedPrompt:
        """Return the prompt's ids; for clean text those that the tokenizer's own chat template gives.

        Args:
            messages: The prompt. Roles count as trusted.
            add_generation_prompt: Whether to end with what opens the judge's turn.
            options: Variables of the chat template, such as `enable_thinking`.

        Raises:
            ConfigError: The template fails on these messages, drops or rewrites some of their text, or prints a date
                that no option freezes.
            InputError: Text with an unpaired surrogate, which no tokenizer can encode.
        """
        options = options or {}
        messages = self._accepted(messages, options)
        chat, texts = self._with_placeholders(messages)
        skeleton = self._render(chat, add_generation_prompt, options)
        missing = set(range(len(texts))) - {int(n) for n in self._placeholder_pattern.findall(skeleton)}
        if missing:
            raise ConfigError(
                "the chat template drops or changes a part of the prompt",
                place=f"chat template, text starting with {texts[min(missing)][:60]!r}",
                remedy="use a template that renders every message as it is",
            )
        pieces = self._fill(skeleton, texts)
        aliased = "".join(text if control is None else control.alias for text, control in pieces)
        ids = self._encode_aliased(aliased, [control for _, control in pieces if control is not None])
        ends = accumulate(len(text) for text, _ in pieces)
        expected = [
            (end - len(text), end, control)
            for (text, control), end in zip(pieces, ends, strict=True)
            if control is not None
        ]
        return EncodedPrompt(ids=ids, flagged=self._scan("".join(text for text, _ in pieces)) != expected)

    def check(
        self,
        messages: Sequence[PromptMessage],
        options: Mapping[str, TemplateOption],
        structural: Sequence[str] = (),
    ) -> None:
        """Refuse what would be wrong with every prompt of this kind; looked at once for each kind.

        Args:
            messages: The prompt; only its roles count.
            options: Variables of the chat template.
            structural: The judge's markers, which must survive the tokenizer.

        Raises:
            ConfigError: The template fails, rewrites text or prints a date that no option freezes, or the tokenizer
                loses text.
        """
        self._accepted(messages, options)
        self.refuse_garbling(structural)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids that follow a control token: nothing is left out, trimmed or tidied."""
        ids = list(ids)
        if ids and self._anchor:
            ids.insert(0, self._controls[self._anchor].id)
        return self._decode(ids).removeprefix(self._anchor)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._backend.decode(ids, skip_special_tokens=False)
        return text

    def _render(
        self,
        chat: list[dict[str, str]],
        add_generation_prompt: bool,
        options: Mapping[str, TemplateOption],
        day: date | None = None,
    ) -> str:
        try:
            frozen = freeze(self._tokenizer.get_chat_template(), options, day)
            rendered: str = self._tokenizer.apply_chat_template(
                chat, tokenize=False, add_generation_prompt=add_generation_prompt, **options, **frozen
            )
        except (jinja2.TemplateError, ValueError) as error:
            roles = ", ".join(message["role"] for message in chat)
            raise ConfigError(
                f"the chat template cannot render the roles [{roles}]: {error}",
                remedy="use an instruction-tuned model's tokenizer, or set its chat_template",
            ) from error
        return rendered

    def _with_placeholders(self, messages: Sequence[PromptMessage]) -> tuple[list[dict[str, str]], list[str]]:
        """Return the chat with placeholders for untrusted text, and the texts they stand for."""
        chat: list[dict[str, str]] = []
        texts: list[str] = []
        for message in messages:
            content = ""
            said = [n for n, span in enumerate(message.spans) if span.text.strip()] or [0]
            for n, span in enumerate(message.spans):
                text = "" if span.trusted else span.text
                text = text.lstrip() if n <= said[0] else text
                text = text.rstrip() if n >= said[-1] else text
                before, _, after = span.text.partition(text) if text else (span.text, "", "")
                content += before + (self._placeholder.format(len(texts)) if text else "") + after
                texts += [text] if text else []
            chat.append({"role": message.role, "content": content})
        return chat, texts

    def _fill(self, skeleton: str, texts: Sequence[str]) -> list[tuple[str, Control | None]]:
        """Return the filled skeleton in pieces: text, and control tokens as the template wrote them."""
        holes = [(*match.span(), int(match[1])) for match in self._placeholder_pattern.finditer(skeleton)]
        found: list[tuple[int, int, int | Control]] = [*holes, *self._scan(skeleton)]
        pieces: list[tuple[str, Control | None]] = []
        position = 0
        for start, end, what in sorted(found, key=lambda item: item[:2]):
            if start < position:  # an added token inside a placeholder
                continue
            pieces.append((skeleton[position:start], None))
            pieces.append((texts[what], None) if isinstance(what, int) else (skeleton[start:end], what))
            position = end
        return [*pieces, (skeleton[position:], None)]

    def _scan(self, text: str) -> list[tuple[int, int, Control]]:
        """Return where the ordinary tokenizer sees control tokens, less the white space they swallow."""
        encoding = self._scanner.encode(_encodable(text), add_special_tokens=False)
        found = []
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            control = self._scanned.get(number)
            if control is not None:
                source = text[start:end]
                begin = end - len(source.lstrip()) if control.lstrip else start
                found.append((begin, start + len(source.rstrip()) if control.rstrip else end, control))
        return found

    def _lacks_system_role(self) -> bool:
        chat = [{"role": "system", "content": self._placeholder.format(0)}, {"role": "user", "content": "x"}]
        try:
            return chat[0]["content"] not in self._render(chat, True, {})
        except ConfigError:
            return True

    def _accepted(
        self, messages: Sequence[PromptMessage], options: Mapping[str, TemplateOption]
    ) -> Sequence[PromptMessage]:
        """Return messages as the template takes them, once it is known to write roles and options like these as is."""
        if self.merges_system:
            messages = merge_system(messages)
        roles = [message.role for message in messages]
        key = repr((roles, sorted(options.items())))
        if key not in self._checked:
            self._refuse_rewriting(options)
            self._refuse_moving_date(roles, options)
            self._checked.add(key)
        return messages

    def _refuse_moving_date(self, roles: Sequence[str], options: Mapping[str, TemplateOption]) -> None:
        """Render the same roles on two days, unless the day is frozen."""
        template = self._tokenizer.get_chat_template()
        if not asks_for_day(template) or frozen_day(options) is not None:
            return
        chat = [{"role": role, "content": "x"} for role in roles]
        one, other = (self._render(chat, True, options, day) for day in DAYS)
        if one != other:
            raise ConfigError(
                "the chat template prints today's date, so that prompts would change overnight",
                place="chat template",
                remedy=f"freeze it in the spec: template_options: {{date_string: {suggest_day(template)!r}}}",
            )

    def _refuse_rewriting(self, options: Mapping[str, TemplateOption]) -> None:
        """Check that the template puts text into the prompt as it is."""
        for role in ("user",) if self.merges_system else ("system", "user"):
            others = [] if role == "user" else [{"role": "user", "content": "x"}]
            hole = self._placeholder.format(0)
            skeleton = self._render([{"role": role, "content": hole}, *others], True, options)
            rendered = self._render([{"role": role, "content": _PROBE}, *others], True, options)
            if hole not in skeleton or skeleton.replace(hole, _PROBE) != rendered:
                raise ConfigError(
                    f"the chat template drops or rewrites the text of {role} messages",
                    place="chat template",
                    remedy="use a template that renders every message as it is",
                )


def _bare(text: str) -> str:
    """Return what must survive of a text."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds an unpaired surrogate, U+{ord(text[error.start]):04X}",
            remedy="repair the text's encoding or drop the row",
        ) from error
    return text
