"""A pairwise judge as the reward function of another model: verdicts between rollouts become one number for each.

`as_reward(judge)` returns what TRL's `GRPOTrainer` (1.16) takes as `reward_funcs`: it is called with the prompts and
completions of this process, standard or conversational, and the dataset's other columns, and returns one number per
completion, None where it abstains. Completions of equal prompts are a group and play one of these schemes:

- `round_robin`: all pairs of a group; the mean share of its matches. n(n-1)/2 matches a group.
- `tournament`: double elimination as in RM-NLHF (arXiv 2601.07349); at most 2n-1 matches, position / (n-1).
- `knockout`: single elimination; n-1 matches, position / (n-1).
- `anchor`: each completion against one reference answer, as in Rubric-ARM (arXiv 2602.01511); n matches, mean of the
  wins in both orders.

What neither paper does: unreadable judgments abstain (`tournaments.py` says how), a row with an image or a tool call,
which a judge of text cannot read, abstains and plays with nobody, equal completions draw and share one place of a
bracket, empty ones lose by rule, seeds derive from the texts, and a group that lies on several processes is
judged as one. No torch is imported here; processes are found through `torch.distributed` only if it is loaded.
"""

from __future__ import annotations

import logging
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from reasrm.config import nearest
from reasrm.errors import ConfigError, EnvironmentProblem, RowError
from reasrm.hashing import derive_seed, digest
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.judging.referee import Context, Pairing, Referee
from reasrm.judging.tournaments import (
    Match,
    Outcome,
    Tournament,
    against_anchor,
    double_elimination,
    knockout,
    play,
    round_robin,
)
from reasrm.sources.fields import conversation, describe, messages, shared
from reasrm.sources.tools import CALL_ROLES, RESULT_ROLES

__all__ = ["Anchor", "JudgeReward", "Scale", "Scheme", "Unreadable", "as_reward"]

Scheme = Literal["anchor", "round_robin", "tournament", "knockout"]
Scale = Literal["win_rate", "centred"]
Unreadable = Literal["abstain", "coin"]
Anchor = Callable[[list[Any]], Sequence[str | None]]
"""From prompts, in the dataset's own form, to one reference answer each, or None."""
T = TypeVar("T")
_LOG = logging.getLogger("reasrm")
_BRACKETS = {"tournament": double_elimination, "knockout": knockout}
_SHOWN = ("rubric", "principle", "reference")


@dataclass(frozen=True, slots=True)
class _Rollout:
    """One completion, and what its dataset row says."""

    context: Context
    text: str
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """The rollouts of one prompt as players.

    Args:
        context: Their prompt.
        players: Texts by player.
        player_of: Rollout (by its place in the batch) → player.
        anchors: Reference answers by player, for `anchor`.
    """

    context: Context
    players: tuple[str, ...]
    player_of: Mapping[int, int]
    anchors: tuple[str | None, ...]


def as_reward(
    judge: Judge,
    scheme: Scheme = "round_robin",
    *,
    options: JudgingOptions | None = None,
    scale: Scale = "win_rate",
    unreadable: Unreadable = "abstain",
    anchor_column: str = "reference",
    anchor: Anchor | None = None,
    shown: Sequence[str] = ("rubric", "principle"),
    answer: Callable[[str], str] | None = None,
    gather: bool = True,
    cache_size: int = 100_000,
    name: str = "judge",
) -> JudgeReward:
    """Return a reward function for TRL that asks a judge.

    Args:
        judge: Any pairwise judge, such as `open_judge("sandbox")`.
        scheme: Who is compared with whom.
        options: Orders (`both`, or `random` for one order drawn by content), votes, seed and sampling; by default
            both orders once, with the spec's sampling.
        scale: `win_rate` in [0, 1], or `centred`, the same stretched to [-1, 1].
        unreadable: `abstain`: an unreadable match counts for nobody. `coin`: it counts 0.5 for both, and a seeded
            coin says who advances (RM-NLHF).
        anchor_column: Column with the reference answer of `anchor`, a string or a message list; null abstains.
        anchor: Makes the reference answers instead, such as greedy ones of the policy: called once per batch with
            its distinct prompts.
        shown: Columns that the judge is shown where the dataset has them: any of rubric, principle, reference.
        answer: From a completion's text to what is judged, such as what follows the thinking.
        gather: Let all processes judge whole groups together, where `torch.distributed` runs. Without it each process
            judges its own completions, and a group that lies on two of them plays as two.
        cache_size: Most outcomes remembered. Use 0 if the judge's own weights change meanwhile.
        name: What TRL's log calls the reward.

    Raises:
        ConfigError: The judge or an option does not suit.
    """
    for value, allowed, what in (
        (scheme, get_args(Scheme), "scheme"),
        (scale, get_args(Scale), "scale"),
        (unreadable, get_args(Unreadable), "unreadable"),
        *((column, _SHOWN, "shown") for column in shown),
    ):
        if value not in allowed:
            close = nearest(value, allowed)
            hint = f"did you mean {close!r}?" if close else f"use one of {', '.join(allowed)}"
            raise ConfigError(f"no such {what}: {value!r}", remedy=hint)
    if scheme == "anchor" and anchor is None and anchor_column in shown:
        raise ConfigError(
            f"the column {anchor_column!r} is both the anchor and shown to the judge",
            remedy="name another anchor_column, or leave it out of shown",
        )
    return JudgeReward(
        referee=Referee(judge, options or JudgingOptions(sampling=judge.sampling()), cache_size),
        scheme=scheme,
        scale=scale,
        unreadable=unreadable,
        anchor_column=anchor_column,
        anchor=anchor,
        shown=tuple(shown),
        answer=answer,
        gather=gather,
        name=name,
    )


@dataclass(eq=False, kw_only=True)
class JudgeReward:
    """What `as_reward` returns; its arguments are explained there."""

    referee: Referee
    scheme: Scheme
    scale: Scale
    unreadable: Unreadable
    anchor_column: str
    anchor: Anchor | None
    shown: tuple[str, ...]
    answer: Callable[[str], str] | None
    gather: bool
    name: str

    def __post_init__(self) -> None:
        self.__name__ = self.name  # what TRL's log reads
        self._warned = False

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Judge a batch.

        Args:
            prompts: One per completion: a string or messages.
            completions: Strings or message lists, of which the last assistant message with text is judged.
            log_metric: TRL's, for numbers of the batch.
            log_extra: TRL's, for columns of the completions table.
            columns: The dataset's other columns, one value per completion, and what else TRL passes.

        Returns:
            One reward per completion; None where no match of it could be read, or its messages hold more than text.

        Raises:
            ConfigError: The batch lacks the anchor's column.
            RowError: A prompt or completion is neither a string nor messages.
            EnvironmentProblem: The judge failed on everything, here or on another process.
        """
        rank, size = _process() if self.gather and self.scheme != "anchor" else (0, 1)
        parts = _exchange(size, lambda: self._read(prompts, completions, columns))
        rollouts = [rollout for part in parts for rollout in part]
        start = sum(map(len, parts[:rank]))
        results = _exchange(size, lambda: self._judge(rollouts, rank, size))
        found = {place: result for part in results for place, result in part.items()}
        mine = [found.get(start + n, (None, 0)) for n in range(len(completions))]
        rewards = [self._scaled(reward) for reward, _ in mine]
        if log_metric is not None:
            for metric, value in self._metrics(mine).items():
                log_metric(f"{self.name}/{metric}", value)
        if log_extra is not None:
            log_extra(f"{self.name}_matches", [matches for _, matches in mine])
        return rewards

    def _read(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[_Rollout | None]:
        """Return the rollouts, None where messages hold something that a judge of text cannot read."""
        used = [column for column in self.shown if column in columns]
        contexts: list[Context | None] = []
        for n, prompt in enumerate(prompts):
            place = f"prompt {n} of the batch"
            extra = shared({column: columns[column][n] for column in used}, place)
            row = {"prompt": prompt}
            turns = self._readable(prompt, partial(_words, row, place))
            contexts.append(None if turns is None else Context(turns, **extra))
        anchors = self._anchors(prompts, contexts, columns)
        rollouts: list[_Rollout | None] = []
        for n, (context, completion, anchor) in enumerate(zip(contexts, completions, anchors, strict=True)):
            text = self._text(completion, f"completion {n} of the batch")
            rollouts.append(None if context is None or text is None else _Rollout(context, text, anchor))
        return rollouts

    def _readable(self, value: Any, read: Callable[[], T]) -> T | None:
        """Read messages; None, and a word about it once, where they hold images or tool calls."""
        try:
            return read()
        except RowError as error:
            if not isinstance(value, list):
                raise
            if not self._warned:
                self._warned = True
                _LOG.warning("%s: %s; such rows get no reward", self.name, error)
            return None

    def _anchors(
        self, prompts: Sequence[Any], contexts: Sequence[Context | None], columns: Mapping[str, Any]
    ) -> list[str | None]:
        if self.scheme != "anchor":
            return [None] * len(prompts)
        if self.anchor is not None:
            distinct = {
                context: prompt
                for context, prompt in zip(contexts, prompts, strict=True)
                if context is not None
            }
            answers = self.anchor(list(distinct.values()))
            if len(answers) != len(distinct):
                raise ConfigError(
                    f"anchor gave {len(answers)} answers to {len(distinct)} prompts",
                    remedy="return one string, or None, per prompt",
                )
            answer_to = dict(zip(distinct, answers, strict=True))
            given: Sequence[Any] = [None if context is None else answer_to[context] for context in contexts]
        elif self.anchor_column in columns:
            given = columns[self.anchor_column]
        else:
            raise ConfigError(
                f"the dataset has no column {self.anchor_column!r} to compare with",
                remedy="add it, name another anchor_column, pass anchor=, or choose scheme='round_robin'",
            )
        return [
            None if text is None else self._text(text, f"anchor {n} of the batch")
            for n, text in enumerate(given)
        ]

    def _text(self, value: Any, place: str) -> str | None:
        """Return what is judged of a completion or anchor; None if that holds more than text."""
        if isinstance(value, list):
            said = self._readable(value, partial(_last_words, value, place))
            if said is None:
                return None
            text = said
        elif isinstance(value, str):
            text = value
        else:
            raise RowError(
                f"must be a string or a list of messages, found {describe(value)}",
                code="wrong_type",
                place=place,
            )
        return text if self.answer is None else self.answer(text)

    def _judge(
        self, rollouts: Sequence[_Rollout | None], rank: int, size: int
    ) -> dict[int, tuple[Outcome, int]]:
        """Return reward and number of readable matches of each rollout in this process's share of the groups."""
        self.referee.renew_counts()
        by_context: dict[Context, list[int]] = defaultdict(list)
        known = {place: rollout for place, rollout in enumerate(rollouts) if rollout is not None}
        for place, rollout in known.items():
            by_context[rollout.context].append(place)
        groups = [self._group(known, places) for places in list(by_context.values())[rank::size]]
        matches = [[0] * len(group.players) for group in groups]

        def ask(batch: list[tuple[int, Match]]) -> list[Outcome]:
            pairings = [_pairing(groups[number], match) for number, match in batch]
            decided = iter(self.referee.decide([pairing for pairing in pairings if pairing is not None]))
            outcomes = [None if pairing is None else next(decided) for pairing in pairings]
            for (number, match), outcome in zip(batch, outcomes, strict=True):
                for player in match[:2]:
                    if outcome is not None and player < len(matches[number]):
                        matches[number][player] += 1
            return [
                0.5 if outcome is None and pairing is not None and self._ignores_unreadable else outcome
                for outcome, pairing in zip(outcomes, pairings, strict=True)
            ]

        rewards = play([self._tournament(group) for group in groups], ask)
        return {
            place: (rewards[number][player], matches[number][player])
            for number, group in enumerate(groups)
            for place, player in group.player_of.items()
        }

    @property
    def _ignores_unreadable(self) -> bool:
        """Whether a missing match is a draw; brackets toss the coin themselves."""
        return self.unreadable == "coin" and self.scheme not in _BRACKETS

    def _group(self, rollouts: Mapping[int, _Rollout], places: Sequence[int]) -> _Group:
        context = rollouts[places[0]].context
        texts = [text if text.strip() else "" for text in (rollouts[place].text for place in places)]
        anchors = tuple(rollouts[place].anchor for place in places)
        if self.scheme not in _BRACKETS:
            player_of = {place: player for player, place in enumerate(places)}
            return _Group(context, tuple(texts), player_of, anchors)
        # Equal texts are one player, or a bracket of copies would rank them by their seeds.
        players = sorted(set(texts), key=lambda text: digest([self.referee.options.seed, context, text]))
        number_of = {text: number for number, text in enumerate(players)}
        player_of = {place: number_of[text] for place, text in zip(places, texts, strict=True)}
        return _Group(context, tuple(players), player_of, anchors)

    def _tournament(self, group: _Group) -> Tournament:
        if self.scheme == "anchor":
            return against_anchor(len(group.players))
        if self.scheme == "round_robin":
            return round_robin(len(group.players))
        seed = derive_seed(self.referee.options.seed, "coin", digest([group.context, group.players]))
        coin = random.Random(seed) if self.unreadable == "coin" else None
        return _BRACKETS[self.scheme](len(group.players), coin)

    def _scaled(self, reward: Outcome) -> Outcome:
        return reward if reward is None or self.scale == "win_rate" else 2 * reward - 1

    def _metrics(self, mine: Sequence[tuple[Outcome, int]]) -> dict[str, float]:
        """Return numbers of the matches judged here and of this process's completions; no rate over nothing."""
        counts = self.referee.counts
        metrics: dict[str, float] = {"failed": counts.failed}
        for metric, part, whole in (
            ("coverage", counts.readable, counts.asked),
            ("cached", counts.cached, counts.asked),
            ("drawn", counts.drawn, counts.readable),
            ("position_a_rate", counts.first, counts.sided),
            ("abstained", sum(reward is None for reward, _ in mine), len(mine)),
            ("matches", sum(matches for _, matches in mine), len(mine)),
        ):
            if whole:
                metrics[metric] = part / whole
        return metrics


def _pairing(group: _Group, match: Match) -> Pairing | None:
    """Return who meets whom in words; None if there is no anchor to meet."""
    first = group.players[match.first]
    if match.second < len(group.players):
        return Pairing(group.context, first, group.players[match.second], match.meeting)
    anchor = group.anchors[match.first]
    return None if anchor is None else Pairing(group.context, first, anchor)


def _words(row: Mapping[str, Any], place: str) -> Any:
    """Return the turns of a prompt; a tool's call or result is more than text here, whatever files make of it."""
    prompt = row["prompt"]
    for message in prompt if isinstance(prompt, list) else ():
        if isinstance(message, dict) and (
            message.get("tool_calls")
            or message.get("function_call")
            or message.get("role") in (*RESULT_ROLES, *CALL_ROLES)
        ):
            raise RowError("holds a tool call or its result", code="not_text", place=place)
    return conversation(row, "prompt", place)


def _last_words(turns: Sequence[Any], place: str) -> str:
    """Return the text of the last assistant message that has any; an empty one behind an answer says nothing."""
    said = ""
    for turn in turns:
        if isinstance(turn, dict) and turn.get("role") == "assistant":
            plain = [{"role": "assistant", "content": turn.get("content") or ""}]
            text = "".join(message.content for message in messages(plain, "content", place))
            said = text if text.strip() else said
    return said


def _process() -> tuple[int, int]:
    """Return this process's rank and the number of processes that train together."""
    if "torch.distributed" not in sys.modules:
        return 0, 1
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def _exchange(size: int, make: Callable[[], T]) -> list[T]:
    """Return what `make` returns on each process, by rank. An error on one is an error on all, so that none waits."""
    if size == 1:
        return [make()]
    import torch.distributed as dist

    made: T | None = None
    error: Exception | None = None
    try:
        made = make()
    except Exception as caught:
        error = caught
    parts: list[Any] = [None] * size
    dist.all_gather_object(parts, (made, None if error is None else f"{type(error).__name__}: {error}"))
    if error is not None:
        raise error
    for rank, (_, message) in enumerate(parts):
        if message is not None:
            raise EnvironmentProblem(message, place=f"process {rank}", remedy="see its log")
    return [part for part, _ in parts]
