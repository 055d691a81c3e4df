"""Is the written model the model it came from? Logits on prompts built through the spec, and one greedy judgment.

The comparison is of what a judge does, not of files: prompts go through the same encoder and backend as in judging, so
a lost chat template, a changed stop token or a wrong merge all show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from reasrm.errors import ConfigError, InternalError
from reasrm.generation.checkpoint import context_length, stop_ids
from reasrm.generation.hf import HFBackend
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.encoder import PromptEncoder
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import CandidateSet, Comparison, Message, Row, Rubric
from reasrm.requests import Request, SamplingParams

__all__ = ["TOLERANCE", "Probe", "check_same", "difference", "take_probe"]

TOLERANCE = 1e-5
"""Largest difference of logits between an adapter and its merge, relative to the largest logit, in float32."""
_POSITIONS = 64  # logits of a position depend on everything before it: the last ones speak for all
_MAX_TOKENS = 128
_TEXTS = (
    ("What is 7 + 5?", "12.", "It is 13."),
    ("Reply with one word: what is the colour of snow?", "White", "Snow is a very nice colour, I think."),
    ("Écris « oui » en chinois.", "是的 :-)", "def yes():\n    return True"),
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What a model does with the made-up rows.

    Args:
        prompt_ids: Their prompts.
        logits: For each prompt, of its last tokens: (T, V), float32.
        greedy_ids: The answer to the first prompt, token by token.
        stop_ids: What ends an answer.
    """

    prompt_ids: tuple[tuple[int, ...], ...]
    logits: tuple[torch.Tensor, ...]
    greedy_ids: tuple[int, ...]
    stop_ids: frozenset[int]


def take_probe(model: Any, tokenizer: Any, spec: JudgeSpec) -> Probe:
    """Ask a loaded model about the made-up rows.

    Raises:
        ConfigError: Not even these short prompts fit into the model's context.
    """
    encoder = PromptEncoder(tokenizer)
    encoder.refuse_garbling(spec.structural)
    requests = _requests(spec)
    prompts = [encoder.encode(r.messages, options=r.template_options).ids for r in requests]
    limit = context_length(model.config, None)
    longest = max(map(len, prompts))
    if limit is not None and longest >= limit:
        raise ConfigError(
            f"the spec {spec.name!r} makes prompts of {longest} tokens out of two short answers, but the model "
            f"takes {limit}",
            remedy="use a shorter spec, or a model with a longer context",
        )
    room = _MAX_TOKENS if limit is None else min(_MAX_TOKENS, limit - len(prompts[0]))
    sampling = SamplingParams(max_tokens=min(room, spec.sampling.max_tokens))
    asked = Request("0", requests[0].messages, sampling, template_options=requests[0].template_options)
    (answer,) = HFBackend.from_loaded(model, tokenizer, "probe").generate([asked])
    if answer.token_ids is None:
        raise InternalError(f"the model did not answer: {answer.error}", place="comparison before export")
    return Probe(
        tuple(prompts),
        tuple(_logits(model, ids) for ids in prompts),
        answer.token_ids,
        stop_ids(tokenizer, model.config, model.generation_config),
    )


def _requests(spec: JudgeSpec) -> list[Request]:
    every: dict[str, Any] = {
        "rubric": Rubric(text="1. Is right."),
        "principle": "Be brief.",
        "reference": "12",
    }
    given = {str(name): every[name] for name in spec.requires}
    requests = []
    for number, (prompt, first, second) in enumerate(_TEXTS):
        fields: dict[str, Any] = {"id": f"probe-{number}", "prompt": (Message("user", prompt),), **given}
        row: Row = CandidateSet(**fields, responses=(first, second))
        if spec.protocol in ("pairwise", "rubric"):
            row = Comparison(**fields, response_a=first, response_b=second)
        requests.append(plan_row(spec, row, JudgingOptions(orders="given"))[0].request)
    return requests


@torch.no_grad()
def _logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    input_ids = torch.tensor([list(ids)], device=model.device)
    logits: torch.Tensor = model(input_ids=input_ids, logits_to_keep=_POSITIONS).logits
    return logits[0].float().cpu()


def difference(expected: Probe, found: Probe) -> tuple[float, float]:
    """Return the largest difference of two probes' logits, and the largest logit's size."""
    pairs = list(zip(expected.logits, found.logits, strict=True))
    scale = max(logits.abs().max().item() for logits in expected.logits)
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf"), scale
    return max((one - other).abs().max().item() for one, other in pairs), scale


def check_same(expected: Probe, found: Probe, tolerance: float, what: str) -> float:
    """Compare two probes and return the largest difference of logits.

    Args:
        expected: Of the source.
        found: Of what was made from it.
        tolerance: Largest difference allowed, relative to the largest logit; 0 for none at all.
        what: What was made, for the error.

    Raises:
        InternalError: They differ; names the numbers.
    """
    if expected.prompt_ids != found.prompt_ids:
        raise _differs(what, "the tokenizer gives other prompt ids than the source's")
    if expected.stop_ids != found.stop_ids:
        stops = f"{sorted(expected.stop_ids)} became {sorted(found.stop_ids)}"
        raise _differs(what, f"other tokens end an answer: {stops}")
    largest, scale = difference(expected, found)
    allowed = tolerance * max(scale, 1.0)
    if not largest <= allowed:  # also where it is not a number
        raise _differs(
            what,
            f"logits differ by up to {largest:.3g}, allowed are {allowed:.3g} (largest logit {scale:.3g})",
        )
    if expected.greedy_ids != found.greedy_ids:
        pairs = zip(expected.greedy_ids, found.greedy_ids, strict=False)
        lengths = len(expected.greedy_ids), len(found.greedy_ids)
        at = next((n for n, (one, other) in enumerate(pairs) if one != other), min(lengths))
        raise _differs(
            what,
            f"the greedy judgment differs from token {at} on ({lengths[0]} and {lengths[1]} tokens; logits of the "
            f"prompts differ by up to {largest:.3g})",
        )
    return largest


def _differs(what: str, how: str) -> InternalError:
    return InternalError(
        f"{what} is not the model it was made from: {how}",
        remedy="nothing was exported; check the memory and the disk of this machine, and report it if it stays",
    )
