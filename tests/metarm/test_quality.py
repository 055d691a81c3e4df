"""What a MetaRM's numbers are worth, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reasrm.metarm.quality import area_under_curve, calibration_error, quality


def test_all_numbers_of_four_rollouts():
    """Scores 0, 1, 1, 2 against 0, 1, 1.5, 1.5; the first verdict is wrong."""
    found = quality([0, 1, 1, 2], [0, 1, 1.5, 1.5], [False, True, True, True], [0, 0, 1, 1])
    # deviations −1, 0, 0, 1 and −1, 0, 0.5, 0.5; ranks 1, 2.5, 2.5, 4 and 1, 2, 3.5, 3.5
    assert found == {
        "rows": 4.0,
        "mse": pytest.approx(0.5 / 4),
        "variance": pytest.approx(1.5 / 4),
        "pearson": pytest.approx(1.5 / math.sqrt(2 * 1.5)),
        "spearman": pytest.approx(3.75 / 4.5),
        "calibration": pytest.approx((0 + 0 + 0.5 + 0.5) / 4),
        # among right ones: scores 1, 1, 2, true 0, 1, 1
        "right_pearson": pytest.approx((1 / 3) / (2 / 3)),
        "right_spearman": pytest.approx(0.5),
        "right_auc": pytest.approx((0.5 + 1) / 2),
    }


def test_numbers_that_the_data_do_not_determine_are_left_out():
    assert quality([], [], [], []) == {"rows": 0.0}
    constant = quality([1, 1, 1], [0, 1, 1.5], [False, True, True], [0, 0, 1])
    assert constant.keys() == {"rows", "mse", "variance", "calibration", "right_auc"}
    assert constant["mse"] == pytest.approx((1 + 0 + 0.25) / 3)
    assert constant["right_auc"] == 0.5
    known = quality([0.2, 0.9], [1.0, 1.0], [True, True], [1, 1])
    assert known.keys() == {"rows", "mse", "variance", "calibration"}
    assert known["variance"] == 0
    wrong = quality([0.1, 0.2], [0.0, 0.0], [False, False], [0, 1])
    assert wrong.keys() == {"rows", "mse", "variance", "calibration"}


def test_a_perfect_metarm_has_no_error():
    targets = [0, 1, 1.5, 1, 0]
    found = quality(targets, targets, [t > 0 for t in targets], [max(0, 2 * (t - 1)) for t in targets])
    assert (found["mse"], found["calibration"]) == (0, 0)
    for name in ("pearson", "spearman", "right_pearson", "right_spearman", "right_auc"):
        assert found[name] == pytest.approx(1)


def test_calibration_compares_means_in_ten_bins_of_equally_many_scores():
    scores = np.arange(20.0)
    targets = scores + np.tile([1.0, -1.0], 10)  # the two of a bin make up for each other
    assert calibration_error(scores, targets) == 0
    assert calibration_error(scores[::-1], targets[::-1]) == 0
    assert calibration_error(scores, scores + 0.5) == pytest.approx(0.5)
    # 21 rows: the first bin holds three, 0 − 3 each; all others are right
    assert calibration_error(np.arange(21.0), np.arange(21.0) + ([3.0] * 3 + [0.0] * 18)) == pytest.approx(
        9 / 21
    )


def test_the_area_counts_ties_half():
    assert area_under_curve(np.array([3.0, 1.0, 2.0]), np.array([True, False, True])) == 1
    assert area_under_curve(np.array([3.0, 1.0, 2.0]), np.array([False, True, True])) == 0
    assert area_under_curve(np.array([1.0, 1.0, 2.0, 0.0]), np.array([True, False, False, True])) == 0.125
    assert area_under_curve(np.array([1.0, 2.0]), np.array([True, True])) is None
