"""Judgments as text: in the form of each spec that marks them by tags, and read back by the one parser."""

from __future__ import annotations

import pytest

from reasrm.errors import ConfigError
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import builtin_specs, load_spec
from reasrm.records import ParseStatus, Verdict
from reasrm.requests import Completion
from reasrm.sandbox.writing import judgment_text, verdict_text
from reasrm.world.critiques import Clause, read_clauses
from reasrm.world.rules import Rule

CLAUSES = [Clause.gold(rule, "owl and crow", "enjoy owl") for rule in (Rule("count", "two", 2), Rule("warm"))]
BODY = "must count two A two ok B one bad\nwarm A none bad B enjoy ok"
FORMS = {
    "sandbox": f"<eval>\n{BODY}\n</eval>\n<answer>[[A]]</answer>",
    "rm-nlhf": f"<critics>\n{BODY}\n</critics>\n<choice>[[A]]</choice>",
    "rm-r1": f"<eval>\n{BODY}\n</eval>\n<answer>[[A]]</answer>",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_judgment_in_the_form_of_its_spec(name: str) -> None:
    spec = load_spec(name)
    assert judgment_text(spec, CLAUSES, "A") == FORMS[name]
    assert FORMS[name].endswith(verdict_text(spec, "A"))
    for side in ("A", "B"):
        judgment = parse(spec, Completion("r", text=judgment_text(spec, CLAUSES, side)))
        assert judgment.verdict is not None
        assert judgment.verdict.winner == side
        assert judgment.critique == BODY
        assert read_clauses(judgment.critique) == CLAUSES
        bare = parse(spec, Completion("r", text=verdict_text(spec, side)))
        assert (bare.status, bare.verdict, bare.critique) == (ParseStatus.OK, Verdict(side), None)


@pytest.mark.parametrize("name", sorted(set(builtin_specs()) - {*FORMS, "english"}))
def test_a_spec_that_marks_its_critique_otherwise_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"spec '{name}' (marks|does not mark) .*; use sandbox, english, rm-nlhf or rm-r1"
    ):
        judgment_text(load_spec(name), CLAUSES, "A")


@pytest.mark.parametrize("name", ["mt-bench", "llmbar", "pointwise-10", "principle-list", "rubric"])
def test_a_spec_without_a_tagged_verdict_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"spec '{name}' does not mark its verdict"):
        verdict_text(load_spec(name), "A")
