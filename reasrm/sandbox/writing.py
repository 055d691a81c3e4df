"""How a judgment of the world is written down under a spec: clauses in the critique's tag, then the verdict."""

from __future__ import annotations

from collections.abc import Iterable

from reasrm.errors import ConfigError
from reasrm.protocol.grammar import MarkedGrammar
from reasrm.protocol.spec import JudgeSpec
from reasrm.world.critiques import Clause

__all__ = ["judgment_text", "verdict_text"]


def judgment_text(spec: JudgeSpec, clauses: Iterable[Clause], verdict: str) -> str:
    """Return a judgment in the spec's form.

    Raises:
        ConfigError: The spec marks its critique and verdict in another way than by tags.
    """
    critique = getattr(spec.grammar, "critique", None)
    if critique is None:
        raise ConfigError(
            f"spec {spec.name!r} marks no critique", remedy="use sandbox, english, rm-nlhf or rm-r1"
        )
    body = "\n".join(clause.text for clause in clauses)
    return f"<{critique}>\n{body}\n</{critique}>\n{verdict_text(spec, verdict)}"


def verdict_text(spec: JudgeSpec, verdict: str) -> str:
    """Return a bare verdict in the spec's form.

    Raises:
        ConfigError: The spec's verdict is not a menu word inside a tag.
    """
    grammar = spec.grammar
    menu = getattr(grammar, "menu", {})
    letters = all(side in menu and menu[side].winner == side for side in ("A", "B"))
    if not isinstance(grammar, MarkedGrammar) or grammar.tag is None or not letters:
        raise ConfigError(
            f"spec {spec.name!r} does not mark its verdict by A or B inside a tag",
            remedy="use sandbox, english, rm-nlhf or rm-r1",
        )
    return f"<{grammar.tag}>{grammar.open}{verdict}{grammar.close}</{grammar.tag}>"
