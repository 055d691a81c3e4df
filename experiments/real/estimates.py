"""How long the parts take on two idle cores, from what this model took in trials; pages say what they really took.

Trials in float32 on two idle cores with AVX-512: SFT with all weights 7.0 s for 1,410 tokens, 2.1 judgments a second
with prompts of 138 tokens and answers of 42; a step of RL was timed beside other jobs. Where the CPU multiplies
bfloat16 natively it takes about half as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.real.lab import Size

__all__ = ["minutes", "total_minutes"]

_TRAINED, _READ, _WRITTEN = 0.005, 0.0016, 0.004
"""Seconds for a token: of SFT, of a judge's prompt, of its answer."""
_RL_STEP, _START = 45.0, 15.0
_PROMPT = 147
"""Tokens of the English world's prompts; a rubric adds `_RUBRIC`, a benchmark's row has about as many."""
_RUBRIC, _WRITER_PROMPT = 20, 290
_WRITES = {"answer": 10, "marks": 45, "evidence": 65, "untouched": 128, "llmbar": 40}


def _judged(rows: int, style: str, extra: int = 0) -> float:
    return 2 * rows * ((_PROMPT + extra) * _READ + _WRITES[style] * _WRITTEN) + _START


def minutes(size: Size) -> dict[str, float]:
    """Return the minutes of one seed of each part, stages of earlier parts left out."""
    rows, sft = 4 * size.rows, size.tokens * _TRAINED + 3 * _START
    arms = sum(
        sft + _judged(rows, style) + _judged(size.tune_rows, style)
        for style in ("answer", "marks", "evidence")
    )
    rl = size.rl_steps * _RL_STEP + 2 * _START + _judged(rows, "evidence")
    short = 144 + 9 * size.subset_rows
    transfer = sum(_judged(short, style) for style in ("untouched", "evidence", "evidence"))
    transfer += _judged(short, "llmbar", 100)
    writing = 2 * (rows * (_WRITER_PROMPT * _READ + 60 * _WRITTEN) + _START)
    writing += size.writer_steps * 8 * (_WRITER_PROMPT + 30) * _TRAINED + 2 * _START
    rubrics = sft + _judged(rows, "evidence") + 3 * _judged(rows, "evidence", _RUBRIC) + writing
    human = size.train_pairs * 160 * _TRAINED + 4 * _START + _judged(size.test_pairs, "answer")
    found = {"reasoning": arms, "rl": rl, "transfer": transfer, "rubrics": rubrics, "preferences": human}
    return {name: seconds / 60 for name, seconds in found.items()}


def total_minutes(size: Size, seeds: Mapping[str, Sequence[int]]) -> float:
    """Return the minutes of all parts with their seeds."""
    return sum(minutes(size)[name] * len(numbers) for name, numbers in seeds.items())
