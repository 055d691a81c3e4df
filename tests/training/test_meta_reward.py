"""A generation batch through `MetaReward.complete`: rewards by hand, what is learned from, what stays open."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from reasrm.critiques.cases import CritiqueCase
from reasrm.critiques.scores import CritiqueScores
from reasrm.errors import ConfigError
from reasrm.metarm.card import MetaCard
from reasrm.metarm.holdout import is_held_out
from reasrm.metarm.inputs import Encoded
from reasrm.metarm.learner import Lesson, Update
from reasrm.metarm.model import MetaRM
from reasrm.protocol.spec import load_spec
from reasrm.records import Comparison, Critique, Judgment, Message, ParseStatus, Verdict
from reasrm.rewards.base import Rollout, Values
from reasrm.rewards.build import build_reward
from reasrm.rewards.config import RewardSection
from reasrm.training.rlvr.config import MetaRewardSection
from reasrm.training.rlvr.meta_reward import MetaReward, check_meta_reward
from tests.metarm.models import build_metarm, differing, disturb, weights
from tests.tiny import build_tiny_model

pytestmark = pytest.mark.slow

RM_NLHF = {
    "parts": {
        "outcome": {"kind": "outcome", "right": 1.0, "wrong": 0.0, "unparsed": 0.0},
        "format": {"kind": "critique_format"},
        "critique": {"kind": "critique", "weight": 0.5},
    },
    "combine": {"kind": "critique_bonus", "format": "format"},
}
LONG = "x" * 2000 + " 1.0"
"""A critique beyond the 1,500 characters that the format allows."""


@dataclass
class Said:
    """A MetaRM that says what a table says of a critique, and nothing of one that it does not hold.

    Args:
        table: Critique → score of each member.
        fields: Of the card.
    """

    table: Mapping[str, Sequence[float]]
    fields: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.card = MetaCard(spec=load_spec("sandbox"), **self.fields)
        self.encoder = self
        self._texts = list(self.table)

    def eval(self) -> Said:
        return self

    def trained(self) -> dict[str, Any]:
        return {}

    def encode(self, comparison: Comparison, critique: str) -> Encoded | None:
        return Encoded((self._texts.index(critique),), 0) if critique in self.table else None

    def score(self, rows: Sequence[Encoded], batch_size: int) -> torch.Tensor:
        texts = [self._texts[row.ids[0]] for row in rows]
        self.asked += texts
        return torch.tensor([self.table[text] for text in texts])


def rollout(
    row_id: str, critique: str | None, verdict: str | None = "A", *, reference: bool = False
) -> Rollout:
    """A judgment of a comparison whose better response is A."""
    comparison = Comparison(
        id=row_id,
        prompt=(Message("user", f"question {row_id}"),),
        response_a="yes",
        response_b="no",
        target=Verdict("A"),
        critique=Critique(text="A is right.") if reference else None,
    )
    status = ParseStatus.NO_VERDICT if verdict is None else ParseStatus.OK
    said = None if verdict is None else Verdict(verdict)  # type: ignore[arg-type]
    return Rollout(
        comparison, Judgment(status, said, critique=critique), group=f"0:{row_id}|AB", num_tokens=9
    )


def f1_of(cases: Sequence[CritiqueCase]) -> list[CritiqueScores | None]:
    """F1 is the number that a critique ends with; `lost` is a call that failed."""
    found: list[CritiqueScores | None] = []
    for case in cases:
        text = (case.text or "").strip() or "0"
        known = case.comparison.critique is not None and text != "lost"
        found.append(CritiqueScores(f1=float(text.split()[-1])) if known else None)
    return found


def complete(
    metarm: Any, rollouts: Sequence[Rollout], *, learn: bool = True, **section: Any
) -> tuple[MetaReward, Values, Values, dict[str, float]]:
    """Return the MetaReward, the rewards, the MetaRM's numbers and the log of one batch."""
    named = MetaRewardSection(**{"path": "metarm", "mode": "frozen", "holdout": 0.0, **section})
    rewards = RewardSection.model_validate(RM_NLHF)
    meta = MetaReward(named, metarm, rewards)
    return meta, *once(meta, rollouts, learn=learn)


def once(
    meta: MetaReward, rollouts: Sequence[Rollout], *, learn: bool = True
) -> tuple[Values, Values, dict[str, float]]:
    reward = build_reward(meta.rewards, critiques=f1_of)
    parts = reward.ask(rollouts)
    kept = copy.deepcopy(parts)
    scored, numbers = meta.score(reward, rollouts, parts, range(len(rollouts)), learn=learn)
    said = scored.parts["metarm"]
    assert scored.parts == {**kept, "metarm": said}  # the log has what was there before
    return scored.rewards, said, numbers


WITHOUT = [
    rollout("p", "good"),
    rollout("p", "poor"),
    rollout("p", "good", "B"),
    rollout("p", "good", None),
    rollout("p", LONG),
]
WITH = [
    rollout("h", "f1 0.8", reference=True),
    rollout("h", "f1 0.2", reference=True),
    rollout("h", "f1 0.9", "B", reference=True),
    rollout("h", "f1 0.9", None, reference=True),
]
SAID = {"good": [1.4], "poor": [0.9], LONG: [1.5]}


# Rewards by hand


def test_rewards_at_the_published_scale() -> None:
    """A human critique pays 0.5; 1.4 pays 0.5 · 0.4; a wrong verdict and a bad format pay nothing."""
    metarm = Said(SAID)
    _, rewards, scores, numbers = complete(metarm, [*WITH, *WITHOUT])
    assert rewards == pytest.approx([1.5, 1.0, 0.0, -1.0, 1.2, 1.0, 0.0, -1.0, -1.0])
    assert scores == [None] * 4 + [pytest.approx(1.4), pytest.approx(0.9), None, None, None]
    assert metarm.asked == ["good", "poor"]  # of rows whose reward hangs on it, and of no others
    assert numbers == {"metarm/routed": 2 / 9, "metarm/withheld": 0, "metarm/unread": 0}


def test_rewards_at_the_calibrated_scale() -> None:
    _, rewards, _, _ = complete(Said(SAID), [*WITH, *WITHOUT], bonus_scale="calibrated")
    assert rewards == pytest.approx([1.5, 1.0, 0.0, -1.0, 1.4, 1.0, 0.0, -1.0, -1.0])


def test_a_perfect_metarm_pays_half_as_much_where_it_is_as_published() -> None:
    perfect = Said({"good": [1.5], "poor": [1.0]})
    for scale, best in (("published", 1.25), ("calibrated", 1.5)):
        _, rewards, _, _ = complete(perfect, WITHOUT[:2], bonus_scale=scale)
        assert rewards == pytest.approx([best, 1.0])


def test_a_metarm_of_the_part_itself_pays_what_it_says() -> None:
    metarm = Said({"good": [0.8], "poor": [-0.3]}, {"target": "process"})
    _, rewards, _, _ = complete(metarm, WITHOUT, bonus_scale="calibrated")
    assert rewards == pytest.approx([1.4, 1.0, 0.0, -1.0, -1.0])


def test_the_mean_of_the_members_is_the_score() -> None:
    _, rewards, scores, _ = complete(Said({"good": [1.2, 1.6], "poor": [1.0, 1.0]}), WITHOUT[:2])
    assert scores == pytest.approx([1.4, 1.0])
    assert rewards == pytest.approx([1.2, 1.0])


# Groups that stay open


def test_a_group_of_which_one_row_is_too_long_earns_its_outcome() -> None:
    unread = [
        rollout("u", "good"),
        rollout("u", "endless"),
        rollout("u", "good", "B"),
        rollout("u", "good", None),
    ]
    _, rewards, scores, numbers = complete(Said(SAID), [*unread, *WITHOUT[:2]])
    assert rewards == pytest.approx([1.0, 1.0, 0.0, -1.0, 1.2, 1.0])
    assert scores == [pytest.approx(1.4), None, None, None, pytest.approx(1.4), pytest.approx(0.9)]
    assert numbers == {"metarm/routed": 2 / 6, "metarm/withheld": 0, "metarm/unread": 2 / 6}


def test_a_row_that_would_earn_nothing_may_be_too_long() -> None:
    _, rewards, _, numbers = complete(Said(SAID), [*WITHOUT[:2], rollout("p", "endless", "B")])
    assert rewards == pytest.approx([1.2, 1.0, 0.0])
    assert numbers["metarm/unread"] == 0


def test_a_group_of_which_the_members_doubt_earns_its_outcome() -> None:
    """Variances 0.04 and 0 have the mean 0.02; of the other group 0."""
    metarm = Said({"good": [1.2, 1.6], "poor": [1.0, 1.0]})
    group = [rollout("d", "good"), rollout("d", "poor"), rollout("d", "good", "B")]
    sure = [rollout("s", "poor"), rollout("s", "good", "B")]
    _, rewards, scores, numbers = complete(metarm, [*group, *sure], max_variance=0.0199)
    assert rewards == pytest.approx([1.0, 1.0, 0.0, 1.0, 0.0])
    assert scores[:2] == pytest.approx([1.4, 1.0])
    assert numbers == {"metarm/routed": 1 / 5, "metarm/withheld": 2 / 5, "metarm/unread": 0}
    _, rewards, _, numbers = complete(metarm, [*group, *sure], max_variance=0.0201)
    assert rewards == pytest.approx([1.2, 1.0, 0.0, 1.0, 0.0])
    assert numbers == {"metarm/routed": 3 / 5, "metarm/withheld": 0, "metarm/unread": 0}


def test_a_failed_call_among_rows_with_a_reference_is_not_left_to_the_metarm() -> None:
    """Its group was held against a human's critique: the row abstains, unless its reward does not need one."""
    metarm = Said({"lost": [1.4], "good": [1.4]})
    group = [
        rollout("h", "f1 0.8", reference=True),
        rollout("h", "lost", reference=True),
        rollout("h", "lost", "B", reference=True),
    ]
    _, rewards, scores, numbers = complete(metarm, [*group, rollout("p", "good")])
    assert rewards == [1.5, None, 0.0, pytest.approx(1.2)]
    assert scores == [None, None, None, pytest.approx(1.4)]
    assert numbers["metarm/routed"] == 1 / 4


LOST = [
    rollout("h", "lost", reference=True),
    rollout("h", "lost", reference=True),
    rollout("h", "lost", "B", reference=True),
]


def test_calls_that_failed_for_a_whole_group_are_not_left_to_the_metarm() -> None:
    """The row carries a critique: it is none that the MetaRM was made for, and its outcome alone is not its reward."""
    metarm = Said({"lost": [1.4], "good": [1.4]})
    _, rewards, scores, numbers = complete(metarm, [*LOST, rollout("p", "good")])
    assert rewards == [None, None, 0.0, pytest.approx(1.2)]
    assert scores == [None, None, None, pytest.approx(1.4)]
    assert metarm.asked == ["good"]
    assert numbers["metarm/routed"] == 1 / 4


def test_from_calls_that_failed_nothing_is_learned(base: Path, taught: Any) -> None:
    meta = online(base)
    known = rollout("k", "f1 0.8", reference=True)
    once(meta, [*LOST, known])
    assert [lesson.target for step in taught[0] for lesson in step] == [1.5]
    rewards, scores, _ = once(meta, LOST)
    assert sum(len(step) for step in taught[1]) == 0
    assert rewards == [None, None, 0.0]
    assert scores == [None, None, None]


def test_a_group_without_a_right_verdict_is_closed() -> None:
    _, rewards, scores, numbers = complete(
        Said(SAID), [rollout("w", "good", "B"), rollout("w", "good", None)]
    )
    assert rewards == [0.0, -1.0]
    assert scores == [None, None]
    assert numbers["metarm/routed"] == 0


# Learning


def online(base: Path, **section: Any) -> MetaReward:
    named = MetaRewardSection(
        **{"path": "metarm", "holdout": 0.0, "learning_rate": 1e-2, "bonus_scale": "published", **section}
    )
    metarm = disturb(build_metarm(base, members=2))
    return MetaReward(named, metarm, RewardSection.model_validate(RM_NLHF))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("base") / "model", context=512)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[list[list[Lesson]]]:
    """What the learner is given, instead of learning it."""
    given: list[list[list[Lesson]]] = []

    def update(self: Any, steps: list[list[Lesson]]) -> Update:
        given.append([list(step) for step in steps])
        return Update(None, 0, 0, 0, None)

    monkeypatch.setattr("reasrm.training.rlvr.meta_reward.Learner.update", update)
    return given


def test_the_targets_are_the_rewards_of_well_formed_rows_with_a_critique(base: Path, taught: Any) -> None:
    meta = online(base)
    once(meta, [*WITH, rollout("h", LONG, reference=True), rollout("h", " \n", reference=True), *WITHOUT])
    (((right, poor, wrong),),) = taught
    assert [lesson.target for lesson in (right, poor, wrong)] == [1.5, 1.0, 0.0]
    encode = meta.metarm.encoder.encode
    assert [lesson.row for lesson in (right, poor, wrong)] == [
        encode(WITH[n].comparison, WITH[n].judgment.critique or "") for n in range(3)
    ]


def test_of_the_part_itself_only_right_verdicts_teach(base: Path, taught: Any) -> None:
    metarm = build_metarm(base, target="process")
    section = MetaRewardSection(path="metarm", holdout=0.0, bonus_scale="calibrated")
    once(MetaReward(section, metarm, RewardSection.model_validate(RM_NLHF)), [*WITH, *WITHOUT])
    assert [[lesson.target for lesson in step] for step in taught[0]] == [[1.0, 0.0]]


def test_rows_are_dealt_to_steps_and_passes(base: Path, taught: Any) -> None:
    rows = [rollout("h", f"f1 0.{n}", reference=True) for n in range(5, 10)]
    for section, expected in (
        ({}, [[0, 1, 2, 3, 4]]),
        ({"rows_per_step": 2}, [[0, 3], [1, 4], [2]]),
        ({"rows_per_step": 9, "epochs": 2}, [[0, 1, 2, 3, 4]] * 2),
    ):
        meta = online(base, **section)
        once(meta, rows)
        known = [meta.metarm.encoder.encode(r.comparison, r.judgment.critique or "") for r in rows]
        assert [[known.index(lesson.row) for lesson in step] for step in taught[-1]] == expected


def test_a_batch_without_critiques_teaches_nothing(base: Path) -> None:
    meta = online(base)
    before = weights(meta.metarm)
    _, _, numbers = once(meta, WITHOUT)
    assert differing(before, weights(meta.metarm)) == []
    assert (numbers["metarm/learned_rows"], numbers["metarm/skipped_steps"]) == (0, 0)
    assert "metarm/loss" not in numbers


def test_it_learns_before_it_scores(base: Path) -> None:
    """Trap 7: the scores are those of the model after the update, and not of the one before."""
    meta = online(base)
    stale = disturb(build_metarm(base, members=2))
    assert differing(weights(stale), weights(meta.metarm)) == []
    rewards, scores, numbers = once(meta, [*WITH, *WITHOUT])
    rows = [meta.metarm.encoder.encode(r.comparison, r.judgment.critique or "") for r in WITHOUT[:2]]
    before, after = (model.score(rows).double().mean(1).tolist() for model in (stale, meta.metarm))
    assert scores[4:6] == pytest.approx(after, abs=1e-6)
    assert all(abs(one - other) > 0.01 for one, other in zip(before, after, strict=True))
    assert rewards[4:6] == pytest.approx([1 + 0.5 * max(0.0, s - 1) for s in after], abs=1e-6)
    said = stale.score([encoded(stale)(r) for r in WITH[:3]]).double()
    misses = said - torch.tensor([[1.5], [1.0], [0.0]])
    assert numbers["metarm/loss"] == pytest.approx(float(misses.square().mean()), rel=1e-5)
    assert numbers["metarm/learned_rows"] == 3
    assert numbers["metarm/grad_norm"] > 0


def encoded(metarm: MetaRM) -> Any:
    return lambda r: metarm.encoder.encode(r.comparison, r.judgment.critique or "")


def test_learning_brings_the_scores_near_the_targets(base: Path) -> None:
    meta = online(base, learning_rate=3e-3)
    losses = [once(meta, WITH)[2]["metarm/loss"] for _ in range(12)]
    assert losses[-1] < 0.2 * losses[0]
    said = meta.metarm.score([encoded(meta.metarm)(r) for r in WITH[:3]]).mean(1)
    assert said.tolist() == sorted(said.tolist(), reverse=True)  # 1.5, 1, 0


def test_a_frozen_metarm_never_moves(base: Path) -> None:
    meta = online(base, mode="frozen")
    before = weights(meta.metarm)
    assert meta.learner is None
    _, scores, numbers = once(meta, [*WITH, *WITHOUT])
    assert differing(before, weights(meta.metarm)) == []
    assert "metarm/learned_rows" not in numbers
    assert scores[4] is not None


def test_a_second_look_teaches_nothing_and_is_not_remembered(base: Path) -> None:
    meta = online(base, holdout=0.5)
    rows = held_out_and_not()
    once(meta, rows)
    before, window = weights(meta.metarm), meta.window()
    assert window
    _, _, numbers = once(meta, rows, learn=False)
    assert differing(before, weights(meta.metarm)) == []
    assert meta.window() == window
    assert "metarm/loss" not in numbers
    assert numbers["metarm/heldout_rows"] == len(window)


# Rows held out


def held_out_and_not(poor: str = "f1 0.1") -> list[Rollout]:
    """Rows 0 to 2 are held out, 3 to 5 are not."""
    out = next(f"row-{n}" for n in range(99) if is_held_out(f"row-{n}", 0.5))
    kept = next(f"row-{n}" for n in range(99) if not is_held_out(f"row-{n}", 0.5))
    return [
        rollout(row_id, text, side, reference=True)
        for row_id in (out, kept)
        for text, side in (("f1 0.9", "A"), (poor, "A"), ("f1 0.7", "B"))
    ]


def test_what_is_held_out_teaches_nothing(base: Path) -> None:
    """Other critiques there leave the weights as they are; another one elsewhere does not."""
    ends = []
    for place in (None, 1, 4):
        rows = held_out_and_not()
        if place is not None:
            rows[place] = held_out_and_not("quite another critique 1.0")[place]
        meta = online(base, holdout=0.5)
        rewards, _, numbers = once(meta, rows)
        assert numbers["metarm/learned_rows"] == 3
        ends.append(weights(meta.metarm))
        assert rewards[0] == 1.5  # they are paid what their critique says, like all others
        assert rewards[1] == (1.5 if place == 1 else 1.0)
    assert differing(ends[0], ends[1]) == []
    assert differing(ends[0], ends[2]) != []


def test_what_is_held_out_measures(base: Path) -> None:
    meta = online(base, holdout=0.5)
    rows = held_out_and_not()
    _, scores, numbers = once(meta, rows)
    said = meta.metarm.score([encoded(meta.metarm)(r) for r in rows[:3]]).double().mean(1).tolist()
    assert scores[:3] == pytest.approx(said, abs=1e-6)
    assert scores[3:] == [None] * 3
    targets = [1.5, 1.0, 0.0]
    assert meta.window() == [
        [pytest.approx(s, abs=1e-6), t, float(t > 0), p]
        for s, t, p in zip(said, targets, (1.0, 0.0, 1.0), strict=True)
    ]
    expected = sum((s - t) ** 2 for s, t in zip(said, targets, strict=True)) / 3
    assert numbers["metarm/heldout_mse"] == pytest.approx(expected, rel=1e-5)
    assert numbers["metarm/heldout_rows"] == 3
    assert {f"metarm/heldout_{name}" for name in ("pearson", "spearman", "calibration", "right_auc")} <= set(
        numbers
    )


def test_the_window_holds_the_last_rows_and_is_taken_over(base: Path) -> None:
    first = online(base, holdout=0.5, window=5)
    for _ in range(2):
        once(first, held_out_and_not())
    assert len(first.window()) == 5
    second = online(base, holdout=0.5, window=5)
    second.load_window(first.window())
    assert second.window() == first.window()
    assert first.learner is not None
    assert second.learner is not None
    second.learner.load_state(copy.deepcopy(first.learner.state()))
    ends = [once(meta, held_out_and_not())[2] for meta in (first, second)]
    assert ends[0] == ends[1]
    assert first.window() == second.window()


def test_a_frozen_metarm_is_measured_too(base: Path) -> None:
    meta = online(base, holdout=0.5, mode="frozen")
    _, _, numbers = once(meta, held_out_and_not())
    assert numbers["metarm/heldout_rows"] == 3


# What does not fit together


def section(**fields: Any) -> MetaRewardSection:
    return MetaRewardSection(path="metarm", **fields)


def card(**fields: Any) -> MetaCard:
    return MetaCard(spec=load_spec("sandbox"), **fields)


def test_a_metarm_that_fits_is_taken() -> None:
    rewards = RewardSection.model_validate(RM_NLHF)
    part = {"kind": "critique", "score": "f1", "least": 0.5, "weight": 9.0}
    check_meta_reward(section(), rewards, card())
    check_meta_reward(section(), rewards, card(process={"part": part, "critique": {}}))
    check_meta_reward(section(bonus_scale="calibrated"), rewards, card(target="process", weight=2.0))


@pytest.mark.parametrize(
    ("said", "known", "place", "words"),
    [
        ({"fills": "format"}, {}, "metarm.fills", "a part of kind 'critique_format'"),
        ({}, {"weight": 0.25}, "metarm.path", "a weight of 0.25, and the part 'critique' has 0.5"),
        ({}, {"target": "process"}, "metarm.bonus_scale", "bonus_scale is 'published'"),
        (
            {},
            {"process": {"part": {"kind": "critique", "score": "recall", "least": 0.5}}},
            "metarm.path",
            "'score': 'recall'",
        ),
    ],
)
def test_a_metarm_of_something_else_is_refused(said: Any, known: Any, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_meta_reward(section(**said), RewardSection.model_validate(RM_NLHF), card(**known))
    assert caught.value.place == place
    assert words in str(caught.value)
    assert caught.value.remedy
