"""What tests of the sandbox share: its tokenizer and encoders, rows of its world, files as the commands write them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.completions import CompletionEncoder
from reasrm.protocol.encoder import PromptEncoder
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.records import PreferencePair
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.sandbox.tokenizer import build_tokenizer
from reasrm.sources.importing import pair_to_json
from reasrm.world.config import WorldConfig
from reasrm.world.pairs import World

SPEC = load_spec("sandbox")
PERFECT = TeacherConfig(error_rate=0, malformed_rate=0)


@lru_cache
def tokenizer() -> Any:
    return build_tokenizer()


@lru_cache
def encoders() -> tuple[PromptEncoder, CompletionEncoder]:
    prompts = PromptEncoder(tokenizer())
    return prompts, CompletionEncoder(prompts, tokenizer(), {tokenizer().eos_token_id})


@lru_cache
def pairs() -> tuple[PreferencePair, ...]:
    """400 training rows, half of them with a rubric, and 100 held-out ones."""
    plain, ruled = World(), World(WorldConfig(seed=1, rubric_share=1.0))
    named = [*plain.pairs("train", 200), *ruled.pairs("train", 200, 200), *plain.pairs("ood", 100)]
    return tuple(named)


def write_pairs(path: Path, rows: Iterable[PreferencePair]) -> Path:
    path.write_text("".join(json.dumps(pair_to_json(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def judged(
    folder: Path,
    rows: Iterable[PreferencePair],
    config: TeacherConfig,
    spec: JudgeSpec = SPEC,
    options: JudgingOptions | None = None,
) -> Path:
    """Let the teacher judge rows into a file, as `reasrm judge` would."""
    folder.mkdir(parents=True, exist_ok=True)
    teacher = Judge(spec=spec, backend=ScriptedTeacher(spec, config))
    source = JudgeInput([write_pairs(folder / "pairs.jsonl", rows)])
    options = options or JudgingOptions(sampling=teacher.sampling())
    return judge_file(teacher, source, folder / "judged.jsonl", options).output
