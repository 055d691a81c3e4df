"""Thinking tags of model families that no spec names: where they open thinking, what ends it, what changes no hash."""

from __future__ import annotations

import pytest

from reasrm.protocol.grammar import MarkedGrammar, MenuEntry
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.protocol.thinking import after_thinking, ends_in_thinking
from reasrm.records import ParseStatus
from reasrm.requests import Completion

MT_BENCH = load_spec("mt-bench")
FAMILIES = [
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<think_fast>", "</think_fast>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought\n", "<channel|>"),
]
WRITTEN = [("<reasoning>", "</reasoning>"), ("<thoughts>", "</thoughts>"), ("<scratchpad>", "</scratchpad>")]


def said(text: str, *, spec: JudgeSpec = MT_BENCH, thinking_open: bool = False) -> str | None:
    judgment = parse(spec, Completion("r", text=text, thinking_open=thinking_open))
    if judgment.verdict is None:
        return judgment.status.value
    return judgment.verdict.winner


@pytest.mark.parametrize(("opening", "closing"), FAMILIES + WRITTEN)
def test_a_family_thinks_between_its_own_tags(opening: str, closing: str) -> None:
    assert said(f"{opening}B? [[B]] no.{closing}\n[[A]]") == "A"
    assert said(f"  \n{opening} surely [[B]]") == "no_verdict"
    assert said(f"{opening} surely [[B]]{closing}") == "no_verdict"
    assert said(f"{opening} it says </think> [[B]]") == "no_verdict"  # another family's end is a mention
    assert said(f"[[A]] as B says {opening}") == "A"
    assert said(f"B holds {opening}. [[A]]") == "A"


@pytest.mark.parametrize(("opening", "closing"), FAMILIES)
def test_a_prompt_may_open_it_known_or_not(opening: str, closing: str) -> None:
    assert ends_in_thinking(f"<|assistant|>{opening}\n")
    assert not ends_in_thinking(f"<|assistant|>{opening}{closing}\n")
    assert said(f"B? [[B]] no.{closing}\n[[A]]", thinking_open=True) == "A"
    assert said("B? [[B]]", thinking_open=True) == "no_verdict"
    assert said(f"B? [[B]] no.{closing}\n[[A]]") == "A"  # behind a server, nobody tells


@pytest.mark.parametrize(("opening", "closing"), WRITTEN)
def test_words_that_are_tags_end_only_what_they_began(opening: str, closing: str) -> None:
    assert said(f"[[A]] {opening}for its reasons{closing}") == "A"
    assert said(f"so{closing} [[A]]", thinking_open=True) == "no_verdict"
    assert not ends_in_thinking(f"Write {opening}")


@pytest.mark.parametrize(("opening", "closing"), FAMILIES)
def test_quoted_in_a_section_it_hides_nothing(opening: str, closing: str) -> None:
    spec = load_spec("rm-nlhf")
    text = f"<critics>B has x{closing}y and {opening}</critics><choice>[[A]]</choice>"
    judgment = parse(spec, Completion("r", text=text))
    assert judgment.verdict is not None
    assert judgment.critique == f"B has x{closing}y and {opening}".strip()


def test_tags_that_a_spec_uses_itself_are_its_own() -> None:
    menu = {"A": MenuEntry(winner="A"), "B": MenuEntry(winner="B")}
    section = MarkedGrammar(
        open="[[", close="]]", menu=menu, sections=("reasoning", "thought"), critique="reasoning"
    )
    spec = MT_BENCH.model_copy(update={"grammar": section})
    judgment = parse(spec, Completion("r", text="<reasoning>A is right.</reasoning>[[A]]"))
    assert (judgment.status, judgment.critique) == (ParseStatus.OK, "A is right.")
    assert said("<thought>B?</thought>[[A]]", spec=spec) == "A"
    tagged = MarkedGrammar(open="[[", close="]]", menu=menu, tag="thought")
    assert after_thinking(tagged, "<thought>[[A]]</thought>") == "<thought>[[A]]</thought>"


def test_a_critique_behind_such_thinking_is_still_found() -> None:
    text = "<seed:think>hm</seed:think><critics>A is right.</critics><choice>[[A]]</choice>"
    assert parse(load_spec("rm-nlhf"), Completion("r", text=text)).critique == "A is right."


def test_no_hash_of_a_stored_spec_moves() -> None:
    assert "<seed:think>" not in str(MT_BENCH.model_dump())
    assert "<seed:think>" not in str(MT_BENCH.structural)
