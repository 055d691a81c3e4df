"""What was recorded comes back unchanged, and what was not says so."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from reasrm.generation.base import Backend
from reasrm.generation.replay import ReplayBackend
from reasrm.records import Recorded, Verdict
from reasrm.requests import Completion, Request
from tests.fakes import FakeBackend, ask


def recorded(recording: Recorded) -> Request:
    return replace(ask("q1"), recorded=recording)


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (Recorded("text", text="so [[A]]"), Completion("q1", text="so [[A]]")),
        (
            Recorded("text", text="so", finish_reason="length"),
            Completion("q1", text="so", finish_reason="length"),
        ),
        (Recorded("decision", decision=Verdict("B")), Completion("q1", decision=Verdict("B"))),
        (Recorded("decision", decision=None), Completion("q1")),
        (Recorded("score", scores=(0.5, -1.0)), Completion("q1", scores=(0.5, -1.0))),
    ],
    ids=["text", "cut text", "decision", "unreadable decision", "scores"],
)
def test_recordings_come_back(recording: Recorded, expected: Completion) -> None:
    assert list(ReplayBackend().generate([recorded(recording)])) == [expected]


def test_missing_recording_is_an_error_that_names_the_request() -> None:
    (completion,) = ReplayBackend().generate([ask("row 7/AB")])
    assert completion.finish_reason == "error"
    assert "'row 7/AB'" in (completion.error or "")


def test_replay_is_lazy() -> None:
    endless = (replace(ask(str(n)), recorded=Recorded("text", text=str(n))) for n in count())
    completions = ReplayBackend().generate(endless)
    assert [next(completions).text for _ in range(3)] == ["0", "1", "2"]
    assert next(endless).id == "3"


@pytest.mark.parametrize("backend", [ReplayBackend(), FakeBackend()], ids=["replay", "fake"])
def test_backends_keep_the_protocol(backend: Backend) -> None:
    assert isinstance(backend, Backend)
    backend.close()
    backend.close()
