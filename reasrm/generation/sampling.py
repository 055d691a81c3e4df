"""Sampling whose outcome belongs to the request, not to the batch it happened to be in.

The Gumbel-max trick draws from the softmax exactly: with independent Gumbel noise on the logits, the largest one is
token `k` with probability `softmax(logits)[k]`. The noise is no stream that is used up, but a function: SplitMix64
(Steele, Lea and Flood, 2014) hashes the request's seed, the number of the step and the number of the token to 24 bits
u, and `-log(-log(u))` is standard Gumbel. So a request draws the same noise in any batch, process or device, a whole
batch is drawn at once, and `generate` runs its greedy loop while this processor decides what is largest. Tokens less
likely than 2^-24 are drawn as if they were about as likely as that or never, as with any 32-bit noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, StoppingCriteria

from reasrm.requests import SamplingParams

__all__ = ["SeededSampler", "StopAtMaxTokens", "gumbel_noise", "keep_nucleus"]

_GOLDEN = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed number
_MIX = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1))


def _mix(numbers: torch.Tensor) -> torch.Tensor:
    """Return the finalizer of SplitMix64, a bijection of 64-bit numbers whose bits all depend on each other."""
    for shift, factor in _MIX:
        high = (numbers >> shift) & ((1 << (64 - shift)) - 1)  # torch shifts in copies of the sign
        numbers = (numbers ^ high) * factor
    return numbers


def gumbel_noise(seeds: torch.Tensor, step: int, width: int) -> torch.Tensor:
    """Return standard Gumbel noise, float32 of shape (B, width), that depends on seed, step and column only.

    Args:
        seeds: int64 of shape (B,).
        step: Which draw of each row this is.
        width: How many columns.
    """
    keys = _mix(_mix(seeds) + _signed(step * _GOLDEN))
    columns = torch.arange(1, width + 1, device=seeds.device, dtype=torch.int64) * _GOLDEN
    bits = (_mix(keys[:, None] + columns) >> 40) & 0xFFFFFF
    uniform = (bits.float() + 0.5) * 2.0**-24
    return -(-uniform.log()).clamp_min(2.0**-26).log()


def keep_nucleus(logits: torch.Tensor, top_p: float | torch.Tensor) -> torch.Tensor:
    """Keep the fewest most likely logits whose probabilities reach `top_p` together; the others become -inf.

    Args:
        logits: Shape (V,) or (B, V).
        top_p: Nucleus mass in (0, 1], or one for each row, shape (B, 1).
    """
    if not isinstance(top_p, torch.Tensor) and top_p >= 1.0:
        return logits
    ordered, order = logits.sort(descending=True, stable=True)
    probs = ordered.softmax(-1)
    drop = probs.cumsum(-1) - probs >= top_p
    drop[..., 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), float("-inf"))


class SeededSampler(LogitsProcessor):  # type: ignore[misc]
    """Leaves one finite logit per sampled row, the drawn one; greedy rows (temperature 0) pass unchanged.

    Args:
        rows: The sampling parameters of each row of the batch, in order.
        device: Where the logits live.
    """

    def __init__(self, rows: Sequence[SamplingParams], device: torch.device) -> None:
        drawn = [row for row, params in enumerate(rows) if params.temperature > 0]
        self._rows = torch.tensor(drawn, dtype=torch.int64, device=device)
        self._temperatures = torch.tensor([[rows[row].temperature] for row in drawn], device=device)
        self._top_p = torch.tensor([[rows[row].top_p] for row in drawn], device=device)
        seeds = [_signed(rows[row].seed) for row in drawn]
        self._seeds = torch.tensor(seeds, dtype=torch.int64, device=device)
        self._has_nucleus = any(rows[row].top_p < 1.0 for row in drawn)
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Draw the next token of each sampled row. `scores` is (B, V)."""
        if not len(self._rows):
            return scores
        logits = scores[self._rows].float() / self._temperatures
        if self._has_nucleus:
            logits = torch.where(self._top_p < 1.0, keep_nucleus(logits, self._top_p), logits)
        noise = gumbel_noise(self._seeds, self._step, logits.shape[1])
        self._step += 1
        choices = (logits + noise).argmax(-1)
        drawn = scores.clone()
        drawn[self._rows] = float("-inf")
        drawn[self._rows, choices] = 0.0
        return drawn


def _signed(number: int) -> int:
    """Return the low 64 bits of a number as a signed one."""
    low = number & 0xFFFFFFFFFFFFFFFF
    return low - (1 << 64) if low >> 63 else low


class StopAtMaxTokens(StoppingCriteria):  # type: ignore[misc]
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
