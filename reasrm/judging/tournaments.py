"""From pairwise outcomes to one number per player: who meets whom, round by round, and what the results are worth.

A tournament is a generator. It yields a round: matches that can be judged at the same time; it is sent their outcomes
in the same order; it returns the rewards in [0, 1], one per player. An outcome is the first player's share of the
match (1 won, 0.5 drawn, 0 lost, anything between) or None where the judgment was unreadable. A missing match counts
for nobody, and a player without any readable match gets None: an unreadable judgment is never a zero.

- `against_anchor`: everybody meets one reference answer (Rubric-ARM, arXiv 2602.01511: ReMax style).
- `round_robin`: everybody meets everybody; the reward is the mean share.
- `knockout`: one defeat and out (WebArbiter, arXiv 2601.21872, picks an action so).
- `double_elimination`: the loser drops to a second bracket, a second defeat and out, and a champion of the winners'
  bracket has to be beaten twice (bracket reset). The reward is the position from the bottom / (n - 1), ordered inside
  one elimination round by mean share; n = 1 gives 0.5 and n = 2 gives 1 and 0 (RM-NLHF, arXiv 2601.07349, its code).

Deviations from RM-NLHF, where a match is one call that always has a winner. Matches here may be drawn (the two orders
disagree): the better mean share so far advances, then the better seed. Players level on round and mean share the mean
of their positions, and where not one match was decided everybody gets 0.5: seeds alone are no evidence. An unreadable
match is its coin toss, counted 0.5 to 0.5, only where a coin is given.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

__all__ = [
    "Duel",
    "DuelOutcome",
    "Tournament",
    "against_anchor",
    "double_elimination",
    "knockout",
    "play",
    "round_robin",
]

DuelOutcome = float | None
"""The first player's share of a match, or None where it could not be read."""


class Duel(NamedTuple):
    """Two players, by number.

    Args:
        first: Whose share the outcome is.
        second: The opponent.
        meeting: How often the two have met before.
    """

    first: int
    second: int
    meeting: int = 0


Tournament = Generator[list[Duel], Sequence[DuelOutcome], list[DuelOutcome]]


def play(
    tournaments: Sequence[Tournament], ask: Callable[[list[tuple[int, Duel]]], Sequence[DuelOutcome]]
) -> list[list[DuelOutcome]]:
    """Play tournaments side by side, so that each question to the judge holds a round of every one still going.

    Args:
        tournaments: Not started yet.
        ask: Gets the matches of a round, each with its tournament's number, and returns their outcomes.

    Returns:
        The rewards of each tournament.
    """
    rewards: dict[int, list[DuelOutcome]] = {}
    due: dict[int, list[Duel]] = {}

    def advance(number: int, outcomes: Sequence[DuelOutcome] | None) -> None:
        game = tournaments[number]
        try:
            due[number] = next(game) if outcomes is None else game.send(outcomes)
        except StopIteration as end:
            rewards[number] = end.value

    for number in range(len(tournaments)):
        advance(number, None)
    while due:
        now, due = due, {}
        outcomes = iter(ask([(number, match) for number, matches in now.items() for match in matches]))
        for number, matches in now.items():
            advance(number, [next(outcomes) for _ in matches])
    return [rewards[number] for number in range(len(tournaments))]


def against_anchor(num_players: int) -> Tournament:
    """Let everybody meet the anchor, which is player `num_players`. The reward is the outcome."""
    return list((yield [Duel(player, num_players) for player in range(num_players)]))


def round_robin(num_players: int) -> Tournament:
    """Let everybody meet everybody once. The reward is the mean share of the readable matches."""
    matches = [Duel(*pair) for pair in combinations(range(num_players), 2)]
    table = _Table(num_players)
    for match, outcome in zip(matches, (yield matches), strict=True):
        table.enter(match, outcome)
    return [table.mean(player) if table.shares[player] else None for player in range(num_players)]


def knockout(num_players: int, coin: random.Random | None = None) -> Tournament:
    """Play single elimination; player 0 is the first seed. See `double_elimination`."""
    table = _Table(num_players, coin)
    left = list(range(num_players))
    while len(left) > 1:
        matches, bye = table.pair(left)
        winners, losers = table.settle(matches, (yield matches))
        table.eliminate(losers)
        left = [*bye, *winners]
    return table.rewards()


def double_elimination(num_players: int, coin: random.Random | None = None) -> Tournament:
    """Play double elimination.

    Players are paired in order of their number, so the caller draws the seeds by numbering them. In an odd bracket
    the last in line has a bye and is first in the next line. Both brackets play their rounds at the same time.

    Args:
        num_players: At least 1.
        coin: Tossed for unreadable matches; without it they count for nobody, and who advances is decided by the mean
            share so far, then by the seed.

    Returns:
        Position from the bottom / (players with a readable match - 1), None for the others.
    """
    table = _Table(num_players, coin)
    upper, lower = list(range(num_players)), list[int]()
    while len(upper) > 1 or len(lower) > 1:
        high, high_bye = table.pair(upper)
        low, low_bye = table.pair(lower)
        outcomes = yield [*high, *low]
        upper_winners, dropped = table.settle(high, outcomes[: len(high)])
        lower_winners, losers = table.settle(low, outcomes[len(high) :])
        table.eliminate(losers)
        upper, lower = [*high_bye, *upper_winners], [*low_bye, *lower_winners, *dropped]
    if num_players == 2:  # the same match again would say nothing new
        table.eliminate(lower)
        lower = []
    while lower:
        final, _ = table.pair([upper[0], lower[0]])
        _, (loser,) = table.settle(final, (yield final))
        if loser == upper[0] and table.defeats[loser] == 1:
            continue  # bracket reset: the first defeat of the winners' champion
        table.eliminate([loser])
        lower = []
    return table.rewards()


class _Table:
    """Shares, defeats and the order of elimination."""

    def __init__(self, num_players: int, coin: random.Random | None = None) -> None:
        self.shares: list[list[float]] = [[] for _ in range(num_players)]
        self.defeats: Counter[int] = Counter()
        self._coin = coin
        self._meetings: Counter[frozenset[int]] = Counter()
        self._eliminated: list[list[int]] = []
        self._decided = False

    def mean(self, player: int) -> float:
        """Mean share of a player; 0.5 before the first readable match."""
        return fmean(self.shares[player]) if self.shares[player] else 0.5

    def pair(self, line: Sequence[int]) -> tuple[list[Duel], list[int]]:
        """Pair neighbours; return the matches and who has a bye."""
        matches = []
        for first, second in zip(line[::2], line[1::2], strict=False):
            both = frozenset((first, second))
            matches.append(Duel(first, second, self._meetings[both]))
            self._meetings[both] += 1
        return matches, list(line[len(line) - len(line) % 2 :])

    def enter(self, match: Duel, outcome: DuelOutcome) -> None:
        """Count a match for both, if it was readable."""
        if outcome is not None:
            self.shares[match.first].append(outcome)
            self.shares[match.second].append(1 - outcome)
            self._decided |= outcome != 0.5

    def settle(self, matches: Sequence[Duel], outcomes: Sequence[DuelOutcome]) -> tuple[list[int], list[int]]:
        """Enter a round; return winners and losers in the order of the matches."""
        ends = [self._end(match, outcome) for match, outcome in zip(matches, outcomes, strict=True)]
        self.defeats.update(loser for _, loser in ends)
        return [winner for winner, _ in ends], [loser for _, loser in ends]

    def _end(self, match: Duel, outcome: DuelOutcome) -> tuple[int, int]:
        first, second, _ = match
        if outcome is None and self._coin is not None:
            self.enter(match, 0.5)
            self._decided = True
            first_wins = self._coin.random() < 0.5
        elif outcome is None or outcome == 0.5:
            first_wins = (-self.mean(first), first) < (-self.mean(second), second)
            self.enter(match, outcome)
        else:
            self.enter(match, outcome)
            first_wins = outcome > 0.5
        return (first, second) if first_wins else (second, first)

    def eliminate(self, players: Sequence[int]) -> None:
        """Close a round: these are out."""
        self._eliminated.append(list(players))

    def rewards(self) -> list[DuelOutcome]:
        """Return each player's position from the bottom among those with a readable match, scaled to [0, 1]."""
        if len(self.shares) == 1:
            return [0.5]
        if not self._decided:
            return [0.5 if shares else None for shares in self.shares]
        rounds = {player: number for number, players in enumerate(self._eliminated) for player in players}
        rated = [player for player, shares in enumerate(self.shares) if shares]
        keys = {player: (rounds.get(player, len(self._eliminated)), self.mean(player)) for player in rated}
        rewards: list[DuelOutcome] = [None] * len(self.shares)
        for player in rated:
            below = sum(keys[other] < keys[player] for other in rated)
            level = sum(keys[other] == keys[player] for other in rated)
            rewards[player] = (below + (level - 1) / 2) / (len(rated) - 1)
        return rewards
