"""Brackets drawn up by hand, and what holds for every bracket."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasrm.judging.tournaments import (
    Duel,
    DuelOutcome,
    Tournament,
    against_anchor,
    double_elimination,
    knockout,
    play,
    round_robin,
)

# Double elimination where the lower number always wins, drawn up by hand: the matches of each round, then positions
# from the bottom. An odd line's last has a bye and is first in the next line; who drops comes last.
BY_SEED = {
    1: ([], None),
    2: ([[(0, 1)]], [1, 0]),
    # 2 has a bye, then falls to 0; it meets 1 for the place in the final.
    3: ([[(0, 1)], [(2, 0)], [(1, 2)], [(0, 1)]], [2, 1, 0]),
    4: ([[(0, 1), (2, 3)], [(0, 2), (1, 3)], [(1, 2)], [(0, 1)]], [3, 2, 1, 0]),
    # 3 goes out in the second round, 4 in the third.
    5: (
        [[(0, 1), (2, 3)], [(4, 0), (1, 3)], [(2, 0), (1, 4)], [(1, 2)], [(0, 1)]],
        [4, 3, 2, 0, 1],
    ),
    6: (
        [[(0, 1), (2, 3), (4, 5)], [(0, 2), (1, 3)], [(4, 0), (5, 1)], [(2, 1)], [(4, 1)], [(0, 1)]],
        [5, 4, 2, 0, 3, 1],
    ),
    # 5 and 6 go out together without a win between them: they share positions 1 and 2.
    7: (
        [
            *([(0, 1), (2, 3), (4, 5)], [(6, 0), (2, 4), (1, 3)], [(0, 2), (5, 1), (6, 4)]),
            *([(1, 4)], [(2, 1)], [(0, 1)]),
        ],
        [6, 5, 4, 0, 3, 1.5, 1.5],
    ),
    # 3 and 7 go out first, without a win; then 5 and 6, each with one in three matches.
    8: (
        [
            *([(0, 1), (2, 3), (4, 5), (6, 7)], [(0, 2), (4, 6), (1, 3), (5, 7)]),
            *([(0, 4), (1, 5), (2, 6)], [(1, 2)], [(4, 1)], [(0, 1)]),
        ],
        [7, 6, 4, 0.5, 5, 2.5, 2.5, 0.5],
    ),
}


def run(
    game: Tournament, outcome: Callable[[Duel], DuelOutcome]
) -> tuple[list[list[Duel]], list[DuelOutcome]]:
    """Play one tournament; return its rounds and rewards."""
    rounds: list[list[Duel]] = []

    def ask(batch: Sequence[tuple[int, Duel]]) -> list[DuelOutcome]:
        rounds.append([match for _, match in batch])
        return [outcome(match) for _, match in batch]

    (rewards,) = play([game], ask)
    return rounds, rewards


def lower_wins(match: Duel) -> float:
    return float(match.first < match.second)


def scripted(*outcomes: DuelOutcome) -> Callable[[Duel], DuelOutcome]:
    """Outcomes in the order of asking."""
    left = iter(outcomes)
    return lambda match: next(left)


@pytest.mark.parametrize("num_players", BY_SEED)
def test_double_elimination_where_the_better_seed_wins(num_players):
    rounds, rewards = run(double_elimination(num_players), lower_wins)
    drawn_up, positions = BY_SEED[num_players]
    assert [[match[:2] for match in matches] for matches in rounds] == drawn_up
    expected = [0.5] if positions is None else [p / (num_players - 1) for p in positions]
    assert rewards == pytest.approx(expected)


@pytest.mark.parametrize(("reset_won", "expected"), [(1.0, [1, 0, 0.5]), (0.0, [0.5, 0, 1])])
def test_the_winners_champion_has_to_be_beaten_twice(reset_won, expected):
    # (0,1): 0 · (2,0): 0 · (1,2): 2 · final (0,2): 2, so it is played again.
    rounds, rewards = run(double_elimination(3), scripted(1, 0, 0, 0, reset_won))
    assert [match for matches in rounds for match in matches] == [
        *(Duel(0, 1), Duel(2, 0), Duel(1, 2), Duel(0, 2, 1), Duel(0, 2, 2)),
    ]
    assert rewards == expected


def test_inside_a_round_the_better_mean_share_is_ahead():
    # As for 8, but 5 beats 7 narrowly and 6 beats 7 clearly before: (0 + 0.6 + 0) / 3 against (1 + 0 + 0) / 3.
    def outcome(match: Duel) -> float:
        return 0.6 if match[:2] == (5, 7) else lower_wins(match)

    _, rewards = run(double_elimination(8), outcome)
    assert rewards[5:7] == pytest.approx([2 / 7, 3 / 7])
    # And 7 took 0.4 of that match, 3 nothing.
    assert (rewards[7], rewards[3]) == pytest.approx((1 / 7, 0))


def test_a_draw_advances_the_better_mean_share_and_then_the_better_seed():
    # (0,1) drawn: 0 by its seed. (2,3): 3 wins. (0,3) drawn: 3 has the better mean, 1 against 0.5.
    # Losers: (1,2): 1. Then [1, 0]: 1 beats 0. Final (3,1): 3.
    rounds, rewards = run(double_elimination(4), scripted(0.5, 0, 0.5, 1, 1, 1))
    assert [m[:2] for ms in rounds for m in ms] == [(0, 1), (2, 3), (0, 3), (1, 2), (1, 0), (3, 1)]
    assert rewards == pytest.approx([1 / 3, 2 / 3, 0, 1])


def test_knockout_by_hand():
    # Semi-final losers 1 and 2 lost everything and share; 4 has two byes and loses the final without a win: its round
    # counts first.
    rounds, rewards = run(knockout(5), lower_wins)
    assert [[m[:2] for m in ms] for ms in rounds] == [[(0, 1), (2, 3)], [(4, 0)], [(2, 0)]]
    assert rewards == pytest.approx([1, 0.5 / 4, 3 / 4, 0.5 / 4, 2 / 4])
    assert run(knockout(1), lower_wins) == ([], [0.5])
    assert run(knockout(2), lower_wins)[1] == [1, 0]


def test_round_robin_is_the_mean_share_of_readable_matches():
    # 0 beats 1 and draws with 2; 1 against 2 is unreadable.
    rounds, rewards = run(round_robin(3), scripted(1, 0.5, None))
    assert rounds == [[Duel(0, 1), Duel(0, 2), Duel(1, 2)]]
    assert rewards == [0.75, 0, 0.5]
    assert run(round_robin(1), lower_wins)[1] == [None]


def test_the_anchor_is_nobody_of_the_group():
    rounds, rewards = run(against_anchor(3), scripted(1, None, 0.5))
    assert rounds == [[Duel(0, 3), Duel(1, 3), Duel(2, 3)]]
    assert rewards == [1, None, 0.5]


@pytest.mark.parametrize("bracket", [knockout, double_elimination, round_robin, against_anchor])
def test_nothing_readable_rewards_nobody(bracket):
    assert run(bracket(5), lambda match: None)[1] == [None] * 5


@pytest.mark.parametrize("bracket", [knockout, double_elimination, round_robin])
@pytest.mark.parametrize("num_players", [2, 3, 8])
def test_draws_alone_are_no_evidence_for_a_seed(bracket, num_players):
    assert run(bracket(num_players), lambda match: 0.5)[1] == [0.5] * num_players


@pytest.mark.parametrize("bracket", [knockout, double_elimination])
def test_who_was_never_read_abstains_and_the_others_are_ranked_without_it(bracket):
    _, rewards = run(bracket(4), lambda match: None if 3 in match[:2] else lower_wins(match))
    assert rewards[3] is None
    assert sorted(reward for reward in rewards[:3] if reward is not None) == [0, 0.5, 1]
    assert rewards[0] == 1


def test_a_coin_decides_what_could_not_be_read_and_counts_half():
    seen = {tuple(run(double_elimination(2, random.Random(n)), lambda m: None)[1]) for n in range(20)}
    # One round, and the coin's loser is behind although both shares are 0.5: published as 1 and 0.
    assert seen == {(1.0, 0.0), (0.0, 1.0)}
    first, again = (run(double_elimination(8, random.Random(7)), lambda m: None) for _ in range(2))
    assert first == again
    assert None not in first[1]


def test_tournaments_of_one_batch_are_asked_together():
    asked: list[list[int]] = []

    def ask(batch: list[tuple[int, Duel]]) -> list[float]:
        asked.append([number for number, _ in batch])
        return [lower_wins(match) for _, match in batch]

    rewards = play([double_elimination(4), round_robin(3), double_elimination(1), knockout(2)], ask)
    # Rounds: 4 · 1 · 0 · 1.
    assert asked == [[0, 0, 1, 1, 1, 3], [0, 0], [0], [0]]
    assert rewards == [pytest.approx([1, 2 / 3, 1 / 3, 0]), [1, 0.5, 0], [0.5], [1, 0]]


@pytest.mark.slow
@given(st.integers(2, 17).flatmap(lambda n: st.permutations(range(n))))
def test_a_judge_with_an_opinion_finds_the_best_two(strength):
    num_players = len(strength)
    defeats: Counter[int] = Counter()
    played = []

    def outcome(match: Duel) -> float:
        loser = min(match[:2], key=lambda player: strength[player])
        defeats[loser] += 1
        played.append(match)
        return float(loser == match.second)

    _, rewards = run(double_elimination(num_players), outcome)
    assert len(played) <= 2 * num_players - 1
    by_strength = sorted(range(num_players), key=lambda player: -strength[player])
    assert [rewards[player] for player in by_strength[:2]] == pytest.approx([1, 1 - 1 / (num_players - 1)])
    if num_players > 2:
        assert [defeats[player] for player in by_strength[1:]] == [2] * (num_players - 1)
    assert sum(filter(None, rewards)) == pytest.approx(num_players / 2)
    assert len(set(played)) == len(played), "a match is named once, repetitions by their number"


@pytest.mark.slow
@given(st.integers(1, 12), st.randoms(use_true_random=False), st.booleans())
def test_any_outcomes_end_in_rewards_between_0_and_1(num_players, draw, with_coin):
    coin = random.Random(draw.random()) if with_coin else None
    for bracket in (knockout, double_elimination):
        _, rewards = run(bracket(num_players, coin), lambda match: draw.choice((None, 0, 0.25, 0.5, 1)))
        assert len(rewards) == num_players
        assert all(reward is None or 0 <= reward <= 1 for reward in rewards)
