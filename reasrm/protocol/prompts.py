"""The one way to build a prompt: a spec and a row in, messages of trusted and untrusted spans out.

Templates are Jinja, rendered in a sandbox. Candidate text never passes through the template engine: it is replaced by
sentinels first and put back as untrusted spans afterwards, in one pass, so nothing in it is scanned or escaped, and
the encoder still knows which characters were not ours.

Template variables: `prompt` (the conversation), `response_a`, `response_b` (pairwise), `response` (pointwise),
`candidates` (listwise: objects with `name` and `text`), `rubric`, `principle`, `reference` (each None where absent),
and `nonce`, a per-record code that section markers carry so that no candidate can forge one.

A spec file may come from a stranger, so its template is held to what prompts need: text, these variables,
conditions, filters that cannot grow a text, and one loop over `candidates`. It cannot call, multiply, repeat or
recurse, so what it renders is bounded by its own length and the number of candidates.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reasrm.errors import ConfigError, RowError
from reasrm.hashing import digest
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import CandidateSet, Comparison, Conversation, Message, Rubric
from reasrm.requests import PromptMessage, Span

__all__ = ["build_prompt", "candidate_names", "check_spec", "record_nonce"]

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
_FILTERS = frozenset({"count", "default", "first", "last", "length", "lower", "trim", "upper"})


def candidate_names(count: int) -> tuple[str, ...]:
    """Return the masked names under which a listwise judge sees the candidates, in the order shown."""
    return tuple(f"response-{n}" for n in range(1, count + 1))


def record_nonce(spec: JudgeSpec, row: Comparison | CandidateSet) -> str:
    """Return the code that this record's section markers carry.

    It hashes everything a candidate's author controls together with the row's id and the spec, independent of order
    and label, so that a text would have to contain its own hash to forge a marker.
    """
    texts = (row.response_a, row.response_b) if isinstance(row, Comparison) else row.responses
    prompt = [[message.role, message.content] for message in row.prompt]
    return digest([spec.hash, row.id, prompt, sorted(texts)], length=8)


def build_prompt(
    spec: JudgeSpec, row: Comparison | CandidateSet, response: int = 0
) -> tuple[PromptMessage, ...]:
    """Render the prompt of one judgment.

    Args:
        spec: How the judge is asked.
        row: What it is asked about, in the order to be shown.
        response: Which response a pointwise prompt is about.

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
    untrusted: list[str] = []

    def guard(text: str) -> str:
        untrusted.append(text)
        return f"{_OPEN}{len(untrusted) - 1}{_CLOSE}"

    nonce = record_nonce(spec, row)
    variables: dict[str, Any] = {
        "nonce": nonce,
        "prompt": _render_conversation(row.prompt, nonce, guard),
        "rubric": None if row.rubric is None else guard(row.rubric.render()),
        "principle": None if row.principle is None else guard(row.principle),
        "reference": None if row.reference is None else guard(row.reference),
        **_response_variables(spec, row, response, guard),
    }
    return tuple(
        PromptMessage(message.role, _split(spec, _render(spec, message.text, variables), untrusted))
        for message in spec.messages
    )


def check_spec(spec: JudgeSpec) -> None:
    """Render a spec for made-up rows, with and without optional fields, before anything is paid for.

    Raises:
        ConfigError: A template cannot be rendered, or never shows what is to be judged.
    """
    every: dict[str, Any] = {"rubric": Rubric(text="a rubric"), "principle": "p", "reference": "r"}
    required: dict[str, Any] = {str(name): every[name] for name in spec.requires}
    for extra in (required, every):
        fields: dict[str, Any] = {"id": "-", "prompt": (Message("user", "the prompt"),), **extra}
        texts: tuple[str, ...] = (
            ("one response",) if spec.protocol == "pointwise" else ("response A", "response B")
        )
        row: Comparison | CandidateSet = CandidateSet(**fields, responses=texts)
        if spec.protocol == "pairwise":
            row = Comparison(**fields, response_a=texts[0], response_b=texts[1])
        shown = {
            span.text for message in build_prompt(spec, row) for span in message.spans if not span.trusted
        }
        for text in ("the prompt", *texts):
            if text not in shown:
                raise ConfigError(f"the templates never show {text!r}", place=f"spec {spec.name}")


def _response_variables(
    spec: JudgeSpec, row: Comparison | CandidateSet, response: int, guard: Any
) -> dict[str, Any]:
    if spec.protocol == "pairwise" and isinstance(row, Comparison):
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
    raise RowError(
        f"a {type(row).__name__} cannot be judged by the {spec.protocol} spec {spec.name!r}",
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
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    tree = environment.parse(template)
    _check_language(tree)
    return environment.from_string(tree)


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
