"""Seeded sampling draws from the softmax, cut to the nucleus."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from scipy.stats import chi2

from reasrm.generation.sampling import RowLimits, SeededSampler, keep_nucleus
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
    rows = [SamplingParams(temperature=temperature, top_p=top_p, seed=seed) for seed in range(num_draws)]
    drawn = SeededSampler(rows, CPU)(torch.zeros(num_draws, 1), LOGITS.expand(num_draws, -1))
    counts = drawn.argmax(-1).bincount(minlength=5).tolist()
    possible = [(n, p * num_draws) for n, p in zip(counts, probabilities, strict=True) if p > 0]
    assert sum(n for n, _ in possible) == num_draws
    statistic = math.fsum((n - expected) ** 2 / expected for n, expected in possible)
    assert statistic < chi2.ppf(0.999, len(possible) - 1)


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
    limits = RowLimits(10, [1, 3], CPU)
    done = [limits(torch.zeros(2, width), None).tolist() for width in (11, 12, 13)]
    assert done == [[True, False], [True, False], [True, True]]
