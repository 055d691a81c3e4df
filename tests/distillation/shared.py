"""A distillation in a test: rows, teachers who answer from a list, the files that come out."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from reasrm.config import parse_config
from reasrm.distillation.config import DistillConfig
from reasrm.distillation.plan import DistillSetup, Teacher
from reasrm.distillation.run import DistillResult, distil
from reasrm.generation.run import RunControl
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.requests import Completion, Request

SPEC = load_spec("rm-r1-short")
RIGHT, WRONG = "A holds. <answer>[[A]]</answer>", "B holds. <answer>[[B]]</answer>"
Answer = str | Completion


class Answers:
    """A backend that answers by the request's id: `PAIR|ORDER|ATTEMPT`, or `PAIR|ORDER|repair-ATTEMPT`.

    Args:
        answer: From an id to a text, or to a completion whose id is filled in. Every answer costs 10 prompt tokens, and
            one per word.
        name: What results call it.
    """

    def __init__(self, answer: Callable[[str], Answer], name: str = "fake") -> None:
        self.name = name
        self.requests: list[Request] = []
        self._answer = answer

    @property
    def identity(self) -> dict[str, str]:
        return {"model": self.name}

    @property
    def asked(self) -> list[str]:
        """The ids of all requests."""
        return [request.id for request in self.requests]

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        for request in requests:
            self.requests.append(request)
            answer = self._answer(request.id)
            if isinstance(answer, str):
                words = len(answer.split())
                yield Completion(request.id, text=answer, num_tokens=words, num_prompt_tokens=10)
            else:
                known = {name: getattr(answer, name) for name in Completion.__slots__}
                yield Completion(**{**known, "request_id": request.id})

    def close(self) -> None:
        """Nothing to release."""


def by_id(answers: dict[str, Answer], default: Answer = RIGHT) -> Callable[[str], Answer]:
    """Answer some ids in their own way."""
    return lambda name: answers.get(name, default)


def ends(finish_reason: str, text: str = RIGHT) -> Completion:
    """A completion that ended in another way than it should."""
    return Completion("-", text=text, finish_reason=finish_reason, error="as planned")


def write_pairs(path: Path, count: int, **extra: Any) -> Path:
    """Write comparisons q0, q1, … whose first response is the better one."""
    rows = [
        {
            "id": f"q{n}",
            "prompt": f"question {n}",
            "response_a": f"good {n}",
            "response_b": f"bad {n}",
            "label": "A",
            **extra,
        }
        for n in range(count)
    ]
    return write_rows(path, rows)


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_setup(
    folder: Path,
    teacher: Answers,
    repair: Answers | None = None,
    *,
    spec: JudgeSpec = SPEC,
    samples: int = 1,
    repairs: int = 1,
    extra: tuple[str, ...] = (),
    **settings: Any,
) -> DistillSetup:
    """Put a distillation of `FOLDER/pairs.jsonl` into `FOLDER/out` together."""
    first = {"judge": "fake", "samples": samples, "temperature": 1.0}
    second = {"judge": "fake", "samples": repairs, "temperature": 1.0, "betrayal": extra}
    whole = {
        "stage": "distill",
        "input": str(folder / "pairs.jsonl"),
        "output": str(folder / "out"),
        "spec": spec.name,
        "orders": "given",
        "teacher": first,
        **({} if repair is None else {"repair": second}),
        **settings,
    }
    config = parse_config(DistillConfig, whole, "test")
    rows = JudgeInput([Path(name) for name in config.input], limit=config.limit)
    first_teacher = Teacher(Judge(spec=spec, backend=teacher), config.teacher)
    if repair is None or config.repair is None:
        return DistillSetup(config, rows, first_teacher)
    return DistillSetup(config, rows, first_teacher, Teacher(Judge(spec=spec, backend=repair), config.repair))


def run(
    folder: Path, *teachers: Answers, control: RunControl | None = None, **settings: Any
) -> DistillResult:
    """Distil."""
    return distil(make_setup(folder, *teachers, **settings), control)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reasons_of(result: DistillResult) -> dict[str, str]:
    """Rejected names and why."""
    return {row["id"]: row["reason"] for row in rows_of(result.files.rejected)}


def ids_of(path: Path) -> list[str]:
    return [row["id"] for row in rows_of(path)]
