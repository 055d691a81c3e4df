"""Advantages by hand, and against TRL's own tensor functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike

from reasrm.errors import InternalError
from reasrm.rewards.advantages import Advantages, compute_advantages
from reasrm.rewards.config import AdvantageSection

NAN = math.nan


def advantages(rewards: ArrayLike, groups: str, **section) -> Advantages:
    """Compute; one letter per row names its group."""
    return compute_advantages(np.array(rewards, dtype=float), list(groups), AdvantageSection(**section))


def test_group_normalised_with_the_sample_deviation() -> None:
    made = advantages([1, -1, -1, 1], "gggg")
    assert made.values == pytest.approx(np.array([1, -1, -1, 1]) / (math.sqrt(4 / 3) + 1e-4))
    # SLATE's check value: sample deviation, eps 1e-6
    made = advantages([2, 1, 0, -1, -2], "ggggg", eps=1e-6)
    assert made.values == pytest.approx([1.265, 0.632, 0, -0.632, -1.265], abs=5e-4)


def test_mean_only_does_not_divide() -> None:
    assert advantages([1, 0, 0, 5, 3], "ggghh", kind="mean_only").values == pytest.approx(
        [2 / 3, -1 / 3, -1 / 3, 1, -1]
    )


def test_leave_one_out() -> None:
    made = advantages([1, 0, 0, 5, 3], "ggghh", kind="leave_one_out")
    assert made.values == pytest.approx([1, -0.5, -0.5, 2, -2])


def test_batch_divides_group_centred_rewards_by_the_deviation_of_all() -> None:
    made = advantages([1, 0, 3, 0], "gghh", kind="batch", eps=0)
    # all four: mean 1, sample variance (0 + 1 + 4 + 1)/3 = 2
    assert made.values == pytest.approx(np.array([0.5, -0.5, 1.5, -1.5]) / math.sqrt(2))


def test_whitened_centres_on_the_whole_batch() -> None:
    made = advantages([1, 0, 3, 0], "gghh", kind="whitened", eps=0)
    assert made.values == pytest.approx(np.array([0, -1, 2, -1]) / math.sqrt(1.5))


def test_stable_reinforce_takes_the_outlier() -> None:
    rewards, groups = [0.0] + [1.0] * 255, [f"g{n}" for n in range(256)]
    plain = AdvantageSection(kind="whitened", eps=1e-8)
    values = compute_advantages(np.array(rewards), groups, plain).values
    assert values[0] == pytest.approx(-15.97, abs=5e-3)
    assert values[1:] == pytest.approx(0.063, abs=5e-4)
    filtered = plain.model_copy(update={"outlier_sigma": 3.0})
    made = compute_advantages(np.array(rewards), groups, filtered)
    assert (made.values[0], made.num_outliers) == (0.0, 1)
    assert np.array_equal(made.values[1:], values[1:])


def test_the_filter_leaves_the_others_as_the_kind_has_them() -> None:
    rewards = [0.0] + [1.0] * 255
    plain = advantages(rewards, "g" * 256)
    made = advantages(rewards, "g" * 256, outlier_sigma=3)
    assert made.values[0] == 0
    assert made.values[0] != plain.values[0]
    assert np.array_equal(made.values[1:], plain.values[1:])
    assert advantages([1, 0, 1, 0], "gggg", outlier_sigma=3).num_outliers == 0


def test_rows_that_abstain_enter_no_mean_and_earn_nothing() -> None:
    for kind in ("group", "mean_only", "leave_one_out", "batch", "whitened"):
        with_none = advantages([1, NAN, 0, 0], "gggg", kind=kind)
        without = advantages([1, 0, 0], "ggg", kind=kind)
        assert with_none.values[[0, 2, 3]] == pytest.approx(without.values)
        assert (with_none.values[1], with_none.num_abstaining) == (0, 1)


def test_dead_groups_are_counted_and_named() -> None:
    made = advantages([1, 1, 0.1, 0.1, 0.1, 1, 0, 1, NAN, NAN, NAN], "aabbbccddee")
    # a and b: equal; c: alive; d: one scorable row; e: none
    assert made.dead_groups == ("a", "b", "d", "e")
    assert (made.num_groups, made.num_dead_groups, made.num_abstaining_groups) == (5, 4, 1)
    assert np.array_equal(np.flatnonzero(made.values), [5, 6])


def test_rows_of_a_group_need_not_stand_together() -> None:
    together = advantages([1, 0, 3, 0], "gghh").values
    assert np.array_equal(advantages([1, 3, 0, 0], "ghgh").values, together[[0, 2, 1, 3]])


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(InternalError, match="infinite"):
        advantages([1, math.inf], "gg")
    with pytest.raises(InternalError, match="for 3 rows"):
        advantages([1, 0], "ggg")


def test_an_empty_batch_has_no_advantages() -> None:
    made = advantages([], "", outlier_sigma=3)
    assert (len(made.values), made.num_groups) == (0, 0)


@pytest.mark.parametrize(("kind", "scale"), [("group", "group"), ("mean_only", "none"), ("batch", "batch")])
def test_trl_gives_the_same(kind: str, scale: str) -> None:
    torch = pytest.importorskip("torch")
    from trl.trainer.utils import nanstd

    rewards = np.random.default_rng(0).choice([-1.0, -0.5, 1.0, NAN], size=(16, 4))
    rewards[0] = NAN
    rewards[1] = [1.0, NAN, NAN, NAN]
    grouped = torch.tensor(rewards)
    centred = grouped - grouped.nanmean(dim=1, keepdim=True)
    deviation = {"group": nanstd(grouped, dim=1, keepdim=True), "batch": nanstd(grouped)}.get(scale)
    expected = centred if deviation is None else centred / (deviation + 1e-4)
    made = advantages(rewards.ravel(), "".join(letter * 4 for letter in "abcdefghijklmnop"), kind=kind)
    assert made.values == pytest.approx(expected.nan_to_num(nan=0.0).ravel().numpy())
