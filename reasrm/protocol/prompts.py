"""The one way to build a prompt: a spec and a row in, messages of trusted and untrusted spans out.

Templates are Jinja, rendered in a sandbox. Candidate text never passes through the template engine: it is replaced by
sentinels first and put back as untrusted spans afterwards, in one pass, so nothing in it is scanned or escaped, and
the encoder still knows which characters were not ours.

Template variables: `prompt` (the conversation), `response_a`, `response_b` (pairwise), `response` (pointwise),
`candidates` (listwise: objects with `name` and `text`), `rubric`, `principle`, `reference` (each None where absent),
and `nonce`, a per-record code that section markers carry. It hashes all that the prompt shows, so that no text can hold
the code of the prompt it stands in; a secret keeps even its first digits from being guessed.

A rubric writer (protocol `rubric`) sees the request, or the request and two responses as `response_a` and `response_b`,
and nothing else that a row says: whether it sees a pair is what its templates name.

A spec file may come from a stranger, so its template is held to what prompts need: text, these variables,
conditions, filters that cannot grow a text, and one loop over `candidates`. It cannot call, multiply, repeat or
recurse, so what it renders is bounded by its own length and the number of candidates.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reasrm.errors import ConfigError, RowError
from reasrm.hashing import digest, request_hash
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import CandidateSet, Comparison, Conversation, Message, Row, Rubric
from reasrm.requests import PromptMessage, Span
from reasrm.rubric import Condition

__all__ = [
    "OLD_SPEC",
    "as_writer_sees",
    "build_prompt",
    "candidate_names",
    "check_spec",
    "made_with_old_codes",
    "never_shown",
    "record_nonce",
    "warn_of_codes",
    "writes_for",
]

_LOG = logging.getLogger("reasrm")
OLD_SPEC = "give the spec as a file without the key `codes` (`reasrm specs NAME` prints one)"
"""What to do about `made_with_old_codes`."""

_OPEN, _CLOSE = "\ue000", "\ue001"
_SENTINEL = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_MAX_CHARS = 1_000_000
_LANGUAGE = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr),
    *(
        nodes.Getitem,
        nodes.If,
        nodes.For,
        nodes.CondExpr,
        nodes.Compare,
        nodes.Operand,
        nodes.Test,
        nodes.Filter,
    ),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Add, nodes.Sub, nodes.Concat, nodes.Tuple, nodes.List),
)
_OPTIONAL: dict[str, Any] = {"rubric": Rubric(text="a rubric"), "principle": "p", "reference": "r"}
_WARNED: set[str] = set()  # hashes of specs
_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)
_FILTERS = frozenset({"count", "default", "first", "last", "length", "lower", "trim", "upper"})


def candidate_names(count: int) -> tuple[str, ...]:
    """Return the masked names under which a listwise judge sees the candidates, in the order shown."""
    return tuple(f"response-{n}" for n in range(1, count + 1))


def record_nonce(
    spec: JudgeSpec, row: Comparison | CandidateSet, more: Sequence[str] = (), secret: str | None = None
) -> str:
    """Return the code that this record's section markers carry.

    It hashes everything that somebody else wrote together with the row's id and the spec, independent of order and
    label, so that a text would have to contain its own hash to forge a marker.

    Args:
        spec: How the judge is asked. With `codes: 1` the code has 8 hex digits and does not cover rubric, principle,
            reference, `more` and `secret`; with `codes: 2` it has 32 and covers all.
        row: What it is asked about.
        more: Other texts that the prompt shows.
        secret: What nobody who writes a text knows.
    """
    if spec.protocol == "rubric":
        row = as_writer_sees(spec, row)
    texts = (row.response_a, row.response_b) if isinstance(row, Comparison) else row.responses
    prompt = [[message.role, message.content] for message in row.prompt]
    shown = [spec.hash, row.id, prompt, sorted(texts)]
    if spec.codes < 2:
        return digest(shown, length=8)
    rubric = None if row.rubric is None else row.rubric.render()
    return digest([secret, *shown, rubric, row.principle, row.reference, list(more)], length=32)


def build_prompt(
    spec: JudgeSpec,
    row: Comparison | CandidateSet,
    response: int = 0,
    *,
    more: Sequence[str] = (),
    secret: str | None = None,
) -> tuple[PromptMessage, ...]:
    """Render the prompt of one judgment.

    Args:
        spec: How the judge is asked.
        row: What it is asked about, in the order to be shown.
        response: Which response a pointwise prompt is about.
        more: Texts that the caller adds to the prompt: the code of the section markers covers them too.
        secret: What that code hangs on besides; see `record_nonce`.

    Raises:
        RowError: The spec requires a field that the row lacks, or does not fit this kind of row.
        ConfigError: The template cannot be rendered.
    """
    for name in spec.requires:
        if getattr(row, name) is None:
            raise RowError(
                f"spec {spec.name!r} needs the field {name!r}",
                code="missing_field",
                place=row.id,
                remedy=f"add {name!r} to the row or choose another --spec",
            )
    if spec.protocol == "rubric":
        row = as_writer_sees(spec, row)
    untrusted: list[str] = []

    def guard(text: str) -> str:
        untrusted.append(text)
        return f"{_OPEN}{len(untrusted) - 1}{_CLOSE}"

    nonce = record_nonce(spec, row, more, secret)
    variables: dict[str, Any] = {
        "nonce": nonce,
        "prompt": _render_conversation(row.prompt, nonce, guard),
        **({} if spec.protocol == "rubric" else _optional_variables(row, guard)),
        **_response_variables(spec, row, response, guard),
    }
    return tuple(
        PromptMessage(message.role, _split(spec, _render(spec, message.text, variables), untrusted))
        for message in spec.messages
    )


def writes_for(spec: JudgeSpec) -> Condition:
    """Return what the rubrics of a writer are for: a `pair` where its templates show responses, else any `prompt`."""
    sees_pair = any("response_a" in _names(m.text) or "response_b" in _names(m.text) for m in spec.messages)
    return "pair" if sees_pair else "prompt"


def as_writer_sees(spec: JudgeSpec, row: Row) -> Comparison | CandidateSet:
    """Return of a row what a rubric writer may see, and no more: neither its label nor whose request it is.

    Rows with one request are one row to a writer that sees the request only.

    Args:
        spec: Of the writer.
        row: Of any kind; for a pair, in the order to be shown.

    Raises:
        RowError: The writer needs a pair, and the row is none in an order.
    """
    if writes_for(spec) == "prompt":
        return CandidateSet(id=request_hash(row.prompt), prompt=row.prompt, responses=())
    if not isinstance(row, Comparison):
        raise _wrong_protocol(spec, row)
    return Comparison(
        id=row.id, prompt=row.prompt, response_a=row.response_a, response_b=row.response_b, order=row.order
    )


def check_spec(spec: JudgeSpec) -> None:
    """Render a spec for made-up rows, with and without optional fields, before anything is paid for.

    Raises:
        ConfigError: A template cannot be rendered, or never shows what is to be judged.
    """
    for extra in (_required(spec), _OPTIONAL):
        row = _made_up(spec, extra)
        shown = {
            span.text for message in build_prompt(spec, row) for span in message.spans if not span.trusted
        }
        texts = (row.response_a, row.response_b) if isinstance(row, Comparison) else row.responses
        for text in ("the prompt", *texts):
            if text not in shown:
                raise ConfigError(f"the templates never show {text!r}", place=f"spec {spec.name}")


def never_shown(spec: JudgeSpec) -> frozenset[str]:
    """Return the optional fields of a row, of rubric, principle and reference, that no prompt of the spec shows."""
    hidden = set(_OPTIONAL)
    for name, value in _OPTIONAL.items():
        row = _made_up(spec, {**_required(spec), name: value})
        spans = (span for message in build_prompt(spec, row) for span in message.spans)
        text = value.render() if isinstance(value, Rubric) else value
        if any(span.text == text and not span.trusted for span in spans):
            hidden.discard(name)
    return frozenset(hidden)


def warn_of_codes(spec: JudgeSpec) -> None:
    """Say, once in a process, that a checked spec's section markers carry no code, or one that can be forged."""
    warning = _codes_warning(spec)
    if warning is not None and spec.hash not in _WARNED:
        _WARNED.add(spec.hash)
        _LOG.warning("warning: spec %r: %s", spec.name, warning)


def made_with_old_codes(spec: JudgeSpec, recorded: object) -> str | None:
    """Return what to say of what was made with this very spec before it had `codes: 2`, else None.

    Args:
        spec: The spec as it is now.
        recorded: The spec's hash then.
    """
    if spec.codes < 2 or recorded != spec.model_copy(update={"codes": 1}).hash:
        return None
    return f"was made before spec {spec.name!r} had `codes: 2`, which changed the section codes and so every prompt"


def _codes_warning(spec: JudgeSpec) -> str | None:
    if spec.codes == 0:
        return None
    row = _made_up(spec, _required(spec))
    words = "".join(span.text for m in build_prompt(spec, row) for span in m.spans if span.trusted)
    if record_nonce(spec, row) not in words:
        return (
            "no section marker carries a code, so texts can pretend to be sections of the prompt; write {{ nonce }} "
            "into the markers"
        )
    if spec.codes == 1:
        return (
            "the codes of its section markers are of the old kind, which an author of a text can forge; add "
            "`codes: 2` (which changes the prompts)"
        )
    return None


def _required(spec: JudgeSpec) -> dict[str, Any]:
    return {str(name): _OPTIONAL[name] for name in spec.requires}


def _made_up(spec: JudgeSpec, extra: Mapping[str, Any]) -> Comparison | CandidateSet:
    """Return a row for the spec with these optional fields."""
    fields: dict[str, Any] = {"id": "-", "prompt": (Message("user", "the prompt"),), **extra}
    if spec.protocol == "pairwise" or (spec.protocol == "rubric" and writes_for(spec) == "pair"):
        return Comparison(**fields, response_a="response A", response_b="response B")
    if spec.protocol == "rubric":
        return CandidateSet(**fields, responses=())
    texts = ("one response",) if spec.protocol == "pointwise" else ("response A", "response B")
    return CandidateSet(**fields, responses=texts)


def _optional_variables(row: Comparison | CandidateSet, guard: Any) -> dict[str, Any]:
    return {
        "rubric": None if row.rubric is None else guard(row.rubric.render()),
        "principle": None if row.principle is None else guard(row.principle),
        "reference": None if row.reference is None else guard(row.reference),
    }


def _response_variables(
    spec: JudgeSpec, row: Comparison | CandidateSet, response: int, guard: Any
) -> dict[str, Any]:
    if spec.protocol == "rubric" and writes_for(spec) == "prompt":
        return {}
    if spec.protocol in ("pairwise", "rubric") and isinstance(row, Comparison):
        return {"response_a": guard(row.response_a), "response_b": guard(row.response_b)}
    if spec.protocol == "pointwise" and isinstance(row, CandidateSet):
        return {"response": guard(row.responses[response])}
    if spec.protocol == "listwise" and isinstance(row, CandidateSet):
        names = candidate_names(len(row.responses))
        return {
            "candidates": [
                {"name": name, "text": guard(text)} for name, text in zip(names, row.responses, strict=True)
            ]
        }
    raise _wrong_protocol(spec, row)


def _wrong_protocol(spec: JudgeSpec, row: Row) -> RowError:
    return RowError(
        f"a {type(row).__name__} cannot be shown by the {spec.protocol} spec {spec.name!r}",
        code="wrong_protocol",
        place=row.id,
        remedy="choose a spec whose protocol fits the rows",
    )


def _render_conversation(conversation: Conversation, nonce: str, guard: Any) -> str:
    """One user turn stands alone; longer conversations get turn markers that carry the nonce."""
    if len(conversation) == 1 and conversation[0].role == "user":
        return str(guard(conversation[0].content))
    return "\n\n".join(
        f"[Turn {n} ({nonce}), {guard(message.role)}]\n{guard(message.content)}"
        for n, message in enumerate(conversation, 1)
    )


def _render(spec: JudgeSpec, template: str, variables: dict[str, Any]) -> str:
    try:
        text = _compile(template).render(variables)
    except Exception as error:  # a template is somebody's program: whatever it raises is its fault
        raise ConfigError(f"the template cannot be rendered: {error}", place=f"spec {spec.name}") from error
    if len(text) > _MAX_CHARS:
        raise ConfigError(
            f"the template renders to more than {_MAX_CHARS} characters of its own", place=f"spec {spec.name}"
        )
    return text


@lru_cache(maxsize=64)
def _compile(template: str) -> Template:
    tree = _ENVIRONMENT.parse(template)
    _check_language(tree)
    return _ENVIRONMENT.from_string(tree)


@lru_cache(maxsize=64)
def _names(template: str) -> frozenset[str]:
    """Return the variables that a template names; none of one that cannot be read, which rendering refuses."""
    try:
        return frozenset(node.name for node in _ENVIRONMENT.parse(template).find_all(nodes.Name))
    except TemplateSyntaxError:
        return frozenset()


def _check_language(tree: nodes.Template) -> None:
    """Refuse whatever a prompt does not need; see the module docstring."""
    for node in tree.find_all(nodes.Node):
        name = type(node).__name__
        if isinstance(node, nodes.Filter):
            name, allowed = f"filter {node.name!r}", node.name in _FILTERS
        elif isinstance(node, nodes.For):
            over_candidates = isinstance(node.iter, nodes.Name) and node.iter.name == "candidates"
            allowed = over_candidates and not node.recursive and node.find(nodes.For) is None
            name = "loop over anything but the candidates, or inside another loop"
        else:
            allowed = isinstance(node, (*_LANGUAGE, nodes.Helper))
        if not allowed:
            raise TemplateSyntaxError(f"a spec template cannot use: {name}", node.lineno)


def _split(spec: JudgeSpec, text: str, untrusted: list[str]) -> tuple[Span, ...]:
    """Cut rendered text at its sentinels and put the untrusted texts back."""
    known = {str(n): value for n, value in enumerate(untrusted)}
    spans: list[Span] = []
    for n, piece in enumerate(_SENTINEL.split(text)):
        if n % 2 and piece in known:
            spans.append(Span(known[piece], trusted=False))
        elif n % 2 or _OPEN in piece or _CLOSE in piece:
            raise ConfigError("the template cuts or forges the place of a text", place=f"spec {spec.name}")
        elif piece:
            spans.append(Span(piece, trusted=True))
    return tuple(spans)
