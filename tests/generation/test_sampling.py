"""Seeded sampling draws from the softmax, cut to the nucleus."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from scipy.stats import chi2

from reasrm.generation.sampling import SeededSampler, StopAtMaxTokens, gumbel_noise, keep_nucleus
from reasrm.requests import SamplingParams

CPU = torch.device("cpu")
LOGITS = torch.log(torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(1.0, 5), (0.96, 5), (0.9, 4), (0.71, 3), (0.6, 2), (0.4, 1), (1e-9, 1)],
)
def test_nucleus_is_the_fewest_tokens_that_reach_top_p(top_p: float, kept: int) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    cut = keep_nucleus(LOGITS[order], top_p)
    assert sorted(torch.isfinite(cut).nonzero().flatten().tolist()) == sorted(
        (order < kept).nonzero().flatten().tolist()
    )
    assert torch.equal(cut[order < kept], LOGITS[order][order < kept])


@pytest.mark.parametrize(
    ("temperature", "top_p", "probabilities"),
    [
        (1.0, 1.0, [0.5, 0.2, 0.15, 0.1, 0.05]),
        # Temperature 0.5 squares the probabilities: .25 .04 .0225 .01 .0025, sum .325.
        (0.5, 1.0, [0.25 / 0.325, 0.04 / 0.325, 0.0225 / 0.325, 0.01 / 0.325, 0.0025 / 0.325]),
        (1.0, 0.75, [0.5 / 0.85, 0.2 / 0.85, 0.15 / 0.85, 0.0, 0.0]),
        # The nucleus is taken after the temperature: .769 alone is short of .8, .769 + .123 is not.
        (0.5, 0.8, [0.25 / 0.29, 0.04 / 0.29, 0.0, 0.0, 0.0]),
    ],
)
def test_draws_follow_the_distribution(temperature: float, top_p: float, probabilities: list[float]) -> None:
    num_draws = 6000
    seeds = range(num_draws, 2 * num_draws)
    rows = [SamplingParams(temperature=temperature, top_p=top_p, seed=seed) for seed in seeds]
    drawn = SeededSampler(rows, CPU)(torch.zeros(num_draws, 1), LOGITS.expand(num_draws, -1))
    counts = drawn.argmax(-1).bincount(minlength=5).tolist()
    possible = [(n, p * num_draws) for n, p in zip(counts, probabilities, strict=True) if p > 0]
    assert sum(n for n, _ in possible) == num_draws
    statistic = math.fsum((n - expected) ** 2 / expected for n, expected in possible)
    assert statistic < chi2.ppf(0.999, len(possible) - 1)


@pytest.mark.slow
def test_successive_draws_of_one_row_are_independent() -> None:
    logits = torch.zeros(1, 2)
    sampler = SeededSampler([SamplingParams(temperature=1.0, seed=7)], CPU)
    draws = [int(sampler(torch.zeros(1, 1), logits).argmax()) for _ in range(4000)]
    pairs = torch.tensor([2 * a + b for a, b in pairwise(draws)]).bincount(minlength=4)
    assert float(((pairs - 3999 / 4) ** 2 / (3999 / 4)).sum()) < chi2.ppf(0.999, 3)


def test_greedy_rows_pass_unchanged_beside_sampled_ones() -> None:
    scores = LOGITS.expand(2, -1)
    rows = [SamplingParams(), SamplingParams(temperature=1.0, seed=1)]
    drawn = SeededSampler(rows, CPU)(torch.zeros(2, 1), scores)
    assert torch.equal(drawn[0], LOGITS)
    assert torch.isfinite(drawn[1]).sum() == 1
    assert torch.equal(scores[1], LOGITS)


def test_rows_end_at_their_own_limits() -> None:
    limits = StopAtMaxTokens(10, [1, 3], CPU)
    done = [limits(torch.zeros(2, width), None).tolist() for width in (11, 12, 13)]
    assert done == [[True, False], [True, False], [True, True]]


def test_noise_is_a_function_of_seed_step_and_token() -> None:
    seeds = torch.tensor([3, -1, 3])
    noise = gumbel_noise(seeds, 5, 40)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(gumbel_noise(seeds[1:2], 5, 7)[0], noise[1, :7])
    assert not torch.equal(gumbel_noise(seeds, 6, 40), noise)
    # SplitMix64 of state 1 and 2 × 0x9E3779B97F4A7C15, top 24 bits: 0xE220A8, 0x6E789E (Steele et al., 2014).
    first = gumbel_noise(torch.tensor([0]), 0, 2)[0].tolist()
    expected = [-math.log(-math.log((bits + 0.5) / 2**24)) for bits in (0xE220A8, 0x6E789E)]
    assert first == pytest.approx(expected, rel=1e-5)


def test_a_batch_draws_what_its_rows_draw_alone() -> None:
    rows = [
        SamplingParams(temperature=t, top_p=p, seed=n) for n, (t, p) in enumerate([(1.0, 1.0), (0.7, 0.6)])
    ]
    together = SeededSampler(rows, CPU)(torch.zeros(2, 1), LOGITS.expand(2, -1))
    alone = [SeededSampler([row], CPU)(torch.zeros(1, 1), LOGITS[None]) for row in rows]
    assert torch.equal(together, torch.cat(alone))
