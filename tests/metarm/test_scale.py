"""What a MetaRM is asked for and what its answer is worth, by hand; trap 6: the released scales do not fit."""

from __future__ import annotations

import pytest

from reasrm.metarm.scale import bonus, target_of


@pytest.mark.parametrize(
    ("right", "process", "weight", "expected"),
    [
        (True, 1.0, 0.5, 1.5),
        (True, 0.0, 0.5, 1.0),
        (False, 1.0, 0.5, 0.0),
        (False, 0.0, 0.5, 0.0),
        (True, 0.4, 0.5, 1.2),
        (True, 0.25, 1.0, 1.25),
    ],
)
def test_the_published_target_is_the_rule_reward(right, process, weight, expected):
    assert target_of("reward", right, process, weight) == pytest.approx(expected, abs=0)


def test_the_process_target_is_the_critique_part_of_right_verdicts():
    assert target_of("process", True, 0.4, 0.5) == 0.4
    assert target_of("process", False, 0.4, 0.5) is None


@pytest.mark.parametrize(
    ("score", "published", "calibrated"),
    [(1.5, 0.5, 1.0), (1.25, 0.25, 0.5), (1.0, 0.0, 0.0), (0.3, 0.0, 0.0), (-2.0, 0.0, 0.0), (2.0, 1.0, 1.0)],
)
def test_the_bonus_of_a_score_at_the_published_weight(score, published, calibrated):
    assert bonus("reward", score, 0.5, "published") == published
    assert bonus("reward", score, 0.5, "calibrated") == calibrated


@pytest.mark.parametrize("scale", ["published", "calibrated"])
@pytest.mark.parametrize(("score", "expected"), [(0.4, 0.4), (1.3, 1.0), (-0.1, 0.0)])
def test_a_score_that_is_the_part_itself_is_cut_to_its_range(scale, score, expected):
    assert bonus("process", score, 0.5, scale) == expected


@pytest.mark.parametrize("weight", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("process", [0.0, 0.25, 1.0])
def test_a_perfect_metarm_pays_what_a_critique_pays_or_the_published_share_of_it(process, weight):
    said = target_of("reward", True, process, weight)
    assert said is not None
    assert bonus("reward", said, weight, "calibrated") == pytest.approx(process)
    assert bonus("reward", said, weight, "published") == pytest.approx(weight * process)
    learned = target_of("process", True, process, weight)
    assert learned is not None
    assert bonus("process", learned, weight, "calibrated") == process
