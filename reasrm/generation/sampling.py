"""Sampling whose outcome belongs to the request, not to the batch it happened to be in.

Every row has its own random stream, seeded by the request. The Gumbel-max trick draws from the softmax
exactly: with independent Gumbel noise on the logits, the largest one is token `k` with probability
`softmax(logits)[k]`. The noise is written as `-log(Exponential(1))`, which is standard Gumbel. So `generate`
runs its greedy loop, and this processor decides what is largest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, StoppingCriteria

from reasrm.requests import SamplingParams

__all__ = ["RowLimits", "SeededSampler", "keep_nucleus"]


def keep_nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the fewest most likely logits whose probabilities reach `top_p` together; the others become -inf.

    Args:
        logits: Shape (V,).
        top_p: Nucleus mass in (0, 1].
    """
    if top_p >= 1.0:
        return logits
    ordered, order = logits.sort(descending=True, stable=True)
    probs = ordered.softmax(-1)
    mass_before = probs.cumsum(-1) - probs
    drop = mass_before >= top_p
    drop[0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(0, order, drop), float("-inf"))


class SeededSampler(LogitsProcessor):  # type: ignore[misc]
    """Leaves one finite logit per sampled row, the drawn one; greedy rows (temperature 0) pass unchanged.

    Args:
        rows: The sampling parameters of each row of the batch, in order.
        device: Where the logits live. A CPU and a GPU stream of equal seed differ.
    """

    def __init__(self, rows: Sequence[SamplingParams], device: torch.device) -> None:
        self._rows = [
            (row, params, torch.Generator(device=device).manual_seed(params.seed))
            for row, params in enumerate(rows)
            if params.temperature > 0
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Draw the next token of each sampled row. `scores` is (B, V)."""
        if not self._rows:
            return scores
        drawn = scores.clone()
        for row, params, generator in self._rows:
            logits = keep_nucleus(scores[row].float() / params.temperature, params.top_p)
            noise = torch.empty_like(logits).exponential_(generator=generator)
            choice = (logits - noise.clamp_min_(torch.finfo(noise.dtype).tiny).log()).argmax()
            drawn[row] = float("-inf")
            drawn[row, choice] = 0.0
        return drawn


class RowLimits(StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch at its own `max_tokens`.

    Args:
        width: Tokens of the padded prompts.
        limits: Most new tokens of each row.
        device: Where the ids live.
    """

    def __init__(self, width: int, limits: Sequence[int], device: torch.device) -> None:
        self._ends = width + torch.tensor(limits, device=device)

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor | None, **kwargs: object
    ) -> torch.Tensor:
        """Return which rows are done, shape (B,)."""
        return input_ids.shape[1] >= self._ends
