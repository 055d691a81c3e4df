"""A synthesis in a test: pairs, an author and a judge who answer from a script, the files that come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasrm.config import parse_config
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.protocol.spec import load_spec
from reasrm.requests import Completion, Request
from reasrm.rubrics.config import SynthesisConfig, VerifySection
from reasrm.rubrics.relate import Relator
from reasrm.rubrics.run import SynthesisResult, SynthesisSetup, synthesize
from reasrm.rubrics.verify import Verifier, make_verifier

GOOD = "1. The response names a colour. [Hard Rule]\n2. The response is calm. [Principle]"
Answer = str | Completion
WHOLE = ("rubrics.jsonl", "rejected.jsonl", "ledger.jsonl", "writer-sft.jsonl")


class Stopped(BaseException):
    """The process is killed here."""


class Author:
    """A backend that answers by the request's id: `PAIR|STEP|N`; every answer costs 10 prompt tokens, one a word.

    Args:
        answer: From a request to a text, or to a completion whose id is filled in.
        dies_after: Answers after which it is killed.
    """

    name = "author"

    def __init__(
        self, answer: Callable[[Request], Answer] = lambda request: GOOD, dies_after: int | None = None
    ) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._left = dies_after

    @property
    def identity(self) -> dict[str, str]:
        return {"model": self.name}

    @property
    def asked(self) -> list[str]:
        """The ids of all requests."""
        return [request.id for request in self.requests]

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        for request in requests:
            if self._left is not None:
                if self._left == 0:
                    raise Stopped
                self._left -= 1
            self.requests.append(request)
            answer = self._answer(request)
            if isinstance(answer, str):
                words = len(answer.split())
                yield Completion(request.id, text=answer, num_tokens=words, num_prompt_tokens=10)
            else:
                yield replace(answer, request_id=request.id)

    def close(self) -> None:
        """Nothing to release."""


class JudgeModel(Author):
    """A judge under spec `sandbox`, which shows `judge`, request, rubric if any, and the responses.

    Args:
        decide: From (request, rubric or None, response A, response B) to what is said, `A` or `B` for instance.
        dies_after: As of an author.
    """

    name = "judge"

    def __init__(
        self, decide: Callable[[str, str | None, str, str], str], dies_after: int | None = None
    ) -> None:
        def answer(request: Request) -> str:
            texts = [s.text for m in request.messages for s in m.spans if not s.trusted]
            rubric = texts[1] if len(texts) == 4 else None
            return f"<answer>[[{decide(texts[0], rubric, texts[-2], texts[-1])}]]</answer>"

        super().__init__(answer, dies_after)


def right(request: str, rubric: str | None, a: str, b: str) -> str:
    """Decide for the response that begins with `good`."""
    return "A" if a.startswith("good") else "B"


def first(request: str, rubric: str | None, a: str, b: str) -> str:
    """Decide for the first response, whatever it says."""
    return "A"


def needs_rubric(request: str, rubric: str | None, a: str, b: str) -> str:
    """Decide rightly under a rubric, for the first response without."""
    return right(request, rubric, a, b) if rubric else "A"


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def pair(n: int, **extra: Any) -> dict[str, Any]:
    """A preference pair about question n."""
    return {
        "id": f"q{n}",
        "prompt": f"question {n}: name a colour",
        "chosen": f"good answer {n} azure",
        "rejected": f"bad answer {n} brick",
        **extra,
    }


def write_pairs(path: Path, count: int, **extra: Any) -> Path:
    return write_lines(path, (pair(n, **extra) for n in range(count)))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make_verifier_of(folder: Path, model: Author, **settings: Any) -> Verifier:
    """Return a verifier under spec `sandbox`."""
    section = parse_config(VerifySection, {"judge": "fake", **settings}, "test")
    return make_verifier(Judge(spec=load_spec("sandbox"), backend=model), section, folder)


def make_setup(
    folder: Path,
    author: Author,
    judge: Author | None = None,
    *,
    verify: Any = None,
    relator: Author | None = None,
    **settings: Any,
) -> SynthesisSetup:
    """Put a synthesis of `FOLDER/pairs.jsonl` into `FOLDER/out` together."""
    samples = settings.pop("samples", 1)
    whole = {
        "stage": "rubrics",
        "input": str(folder / "pairs.jsonl"),
        "output": str(folder / "out"),
        "author": {"judge": "fake", "samples": samples, "temperature": 1.0},
        **({} if judge is None else {"verify": {"judge": "fake", **(verify or {})}}),
        **settings,
    }
    config = parse_config(SynthesisConfig, whole, "test")
    rows = JudgeInput([Path(name) for name in config.input], limit=config.limit)
    verifier = None if judge is None else make_verifier_of(Path(config.output), judge, **(verify or {}))
    section = config.checks.relate
    asked = None
    if relator is not None and section is not None:
        asked = Relator(relator, section, Path(config.output) / "relations.jsonl")
    return SynthesisSetup(config=config, rows=rows, author=author, verifier=verifier, relator=asked)


def run(
    folder: Path,
    author: Author,
    judge: Author | None = None,
    *,
    control: RunControl | None = None,
    **settings: Any,
) -> SynthesisResult:
    """Synthesise."""
    return synthesize(make_setup(folder, author, judge, **settings), control)


def reasons(result: SynthesisResult) -> dict[str, int]:
    """What became of the rows."""
    assert result.written is not None
    return result.written.ledger.rows()


def adds_up(folder: Path, num_rows: int) -> None:
    """Rows add up to the input, answers to the calls, tokens to their tokens, judgments to the judge's."""
    lines = rows_of(folder / "ledger.jsonl")
    calls = rows_of(folder / "calls.jsonl") if (folder / "calls.jsonl").exists() else []
    assert sum(line["rows"] for line in lines) == num_rows
    assert sum(line["answers"] for line in lines) == len(calls)
    for step in {call["step"] for call in calls}:
        mine = [call for call in calls if call["step"] == step]
        costs = [line[step] for line in lines if step in line]
        for key, counted in (("prompt_tokens", "num_prompt_tokens"), ("completion_tokens", "num_tokens")):
            assert sum(cost[key] for cost in costs) == sum(call[counted] or 0 for call in mine)
    for step, name in (("verify", "verify"), ("without", "without")):
        path = folder / f"{name}.jsonl"
        judged = [j for row in rows_of(path) for j in row["judgments"]] if path.exists() else []
        costs = [line[step] for line in lines if step in line]
        assert sum(cost["calls"] for cost in costs) == len(judged)
        assert sum(cost["completion_tokens"] for cost in costs) == sum(j["num_tokens"] or 0 for j in judged)
    kept = sum(line["rows"] for line in lines if line["reason"] == "kept")
    assert kept == len(rows_of(folder / "rubrics.jsonl"))
