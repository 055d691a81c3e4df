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
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from reasrm.config import nearest
from reasrm.errors import ConfigError, RowError
from reasrm.hashing import canonical_json, derive_seed, digest
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions, not_shown
from reasrm.judging.processes import exchange, process
from reasrm.judging.referee import Context, Pairing, Referee
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
from reasrm.protocol.prompts import never_shown
from reasrm.records import Conversation
from reasrm.sources.fields import conversation, describe, messages, shared
from reasrm.sources.tools import CALL_ROLES, RESULT_ROLES

__all__ = ["Anchor", "JudgeReward", "Scale", "Scheme", "Unreadable", "as_reward"]

Scheme = Literal["anchor", "round_robin", "tournament", "knockout"]
Scale = Literal["win_rate", "centred"]
Unreadable = Literal["abstain", "coin"]
_Shown = Literal["rubric", "principle", "reference"]
Anchor = Callable[[list[Any]], Sequence[str | None]]
"""From prompts, in the dataset's own form, to one reference answer each, or None."""
T = TypeVar("T")
_LOG = logging.getLogger("reasrm")
_BRACKETS = {"tournament": double_elimination, "knockout": knockout}


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

    def pairing(self, match: Duel) -> Pairing | None:
        """Return who meets whom in words; None if there is no anchor to meet."""
        first, second = self.players[match.first], self.anchors[match.first]
        if match.second < len(self.players):
            return Pairing(self.context, first, self.players[match.second], match.meeting)
        return None if second is None else Pairing(self.context, first, second)


class JudgeReward:
    """A reward function for TRL that asks a judge. `as_reward` is its other name.

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

    def __init__(
        self,
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
    ) -> None:
        _refuse_unknown("scheme", scheme, Scheme)
        _refuse_unknown("scale", scale, Scale)
        _refuse_unknown("unreadable", unreadable, Unreadable)
        for column in shown:
            _refuse_unknown("shown", column, _Shown)
        if scheme == "anchor" and anchor is None and anchor_column in shown:
            raise ConfigError(
                f"the column {anchor_column!r} is both the anchor and shown to the judge",
                remedy="name another anchor_column, or leave it out of shown",
            )
        self.referee = Referee(judge, options or JudgingOptions(sampling=judge.sampling()), cache_size)
        self.__name__ = name  # what TRL's log reads
        self._scheme = scheme
        self._scale = scale
        self._unreadable = unreadable
        self._anchor_column = anchor_column
        self._anchor = anchor
        self._shown = tuple(shown)
        self._answer = answer
        self._gather = gather
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
        rank, size = process() if self._gather and self._scheme != "anchor" else (0, 1)
        parts = exchange(size, lambda: self._read(prompts, completions, columns))
        rollouts = [rollout for part in parts for rollout in part]
        start = sum(map(len, parts[:rank]))
        results = exchange(size, lambda: self._judge(rollouts, rank, size))
        found = {place: result for part in results for place, result in part.items()}
        mine = [found.get(start + n, (None, 0)) for n in range(len(completions))]
        factor, shift = (1, 0) if self._scale == "win_rate" else (2, -1)
        rewards = [None if reward is None else factor * reward + shift for reward, _ in mine]
        if log_metric is not None:
            for metric, value in self._metrics(mine).items():
                log_metric(f"{self.__name__}/{metric}", value)
        if log_extra is not None:
            log_extra(f"{self.__name__}_matches", [matches for _, matches in mine])
        return rewards

    def _read(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]
    ) -> list[_Rollout | None]:
        """Return the rollouts, None where messages hold something that a judge of text cannot read."""
        used = [column for column in self._shown if column in columns]
        for column in never_shown(self.referee.judge.spec).intersection(used):
            if count := sum(value is not None for value in columns[column]):
                raise not_shown(self.referee.judge.spec, column, count, "the batch")
        contexts: list[Context | None] = []
        for n, prompt in enumerate(prompts):
            place = f"prompt {n} of the batch"
            extra = shared({column: columns[column][n] for column in used}, place)
            turns = self._unless_more_than_text(_turns, prompt, place)
            contexts.append(None if turns is None else Context(turns, **extra))
        anchors = self._anchors(prompts, contexts, columns)
        texts = [self._text(value, f"completion {n} of the batch") for n, value in enumerate(completions)]
        return [
            None if context is None or text is None else _Rollout(context, text, anchor)
            for context, text, anchor in zip(contexts, texts, anchors, strict=True)
        ]

    def _unless_more_than_text(self, read: Callable[[Any, str], T], value: Any, place: str) -> T | None:
        """Read messages; None, and a word about it once, where they hold images, tool calls or half a character."""
        try:
            found = read(value, place)
            canonical_json(found)
            return found
        except TypeError:
            error = RowError("holds half a character", code="not_text", place=place)
        except RowError as caught:
            if not isinstance(value, list):
                raise
            error = caught
        if not self._warned:
            self._warned = True
            _LOG.warning("%s: %s; such rows get no reward", self.__name__, error)
        return None

    def _text(self, value: Any, place: str) -> str | None:
        """Return what is judged of a completion or anchor; None if that holds more than text."""
        text = self._unless_more_than_text(_last_words, value, place)
        return text if text is None or self._answer is None else self._answer(text)

    def _anchors(
        self, prompts: Sequence[Any], contexts: Sequence[Context | None], columns: Mapping[str, Any]
    ) -> list[str | None]:
        if self._scheme != "anchor":
            return [None] * len(prompts)
        if self._anchor is not None:
            distinct = {c: prompt for c, prompt in zip(contexts, prompts, strict=True) if c is not None}
            answers = self._anchor(list(distinct.values()))
            if len(answers) != len(distinct):
                raise ConfigError(
                    f"anchor gave {len(answers)} answers to {len(distinct)} prompts",
                    remedy="return one string, or None, per prompt",
                )
            answer_to: dict[Context | None, Any] = dict(zip(distinct, answers, strict=True))
            given: Sequence[Any] = [answer_to.get(context) for context in contexts]
        elif self._anchor_column in columns:
            given = columns[self._anchor_column]
        else:
            raise ConfigError(
                f"the dataset has no column {self._anchor_column!r} to compare with",
                remedy="add it, name another anchor_column, pass anchor=, or choose scheme='round_robin'",
            )
        return [
            None if value is None else self._text(value, f"anchor {n} of the batch")
            for n, value in enumerate(given)
        ]

    def _judge(
        self, rollouts: Sequence[_Rollout | None], rank: int, size: int
    ) -> dict[int, tuple[DuelOutcome, int]]:
        """Return reward and number of readable matches of each rollout in this process's share of the groups."""
        self.referee.renew_counts()
        members: dict[Context, dict[int, _Rollout]] = defaultdict(dict)
        for place, rollout in enumerate(rollouts):
            if rollout is not None:
                members[rollout.context][place] = rollout
        groups = [self._group(context, members[context]) for context in list(members)[rank::size]]
        matches = [[0] * len(group.players) for group in groups]
        # Brackets toss the coin themselves, since somebody must advance.
        unread = 0.5 if self._unreadable == "coin" and self._scheme not in _BRACKETS else None

        def ask(batch: list[tuple[int, Duel]]) -> list[DuelOutcome]:
            pairings = [groups[number].pairing(match) for number, match in batch]
            decided = iter(self.referee.decide([pairing for pairing in pairings if pairing is not None]))
            outcomes: list[DuelOutcome] = []
            for (number, match), pairing in zip(batch, pairings, strict=True):
                outcome = None if pairing is None else next(decided)
                for player in match[:2]:
                    if outcome is not None and player < len(matches[number]):
                        matches[number][player] += 1
                outcomes.append(unread if outcome is None and pairing is not None else outcome)
            return outcomes

        rewards = play([self._tournament(group) for group in groups], ask)
        return {
            place: (rewards[number][player], matches[number][player])
            for number, group in enumerate(groups)
            for place, player in group.player_of.items()
        }

    def _group(self, context: Context, rollouts: Mapping[int, _Rollout]) -> _Group:
        texts = {place: rollout.text if rollout.text.strip() else "" for place, rollout in rollouts.items()}
        players, player_of = list(texts.values()), {place: player for player, place in enumerate(texts)}
        if self._scheme in _BRACKETS:
            # Equal texts are one player, or a bracket of copies would rank them by their seeds.
            seed = self.referee.options.seed
            players = sorted(set(players), key=lambda text: digest([seed, context, text]))
            player_of = {place: players.index(text) for place, text in texts.items()}
        anchors = tuple(rollout.anchor for rollout in rollouts.values())
        return _Group(context, tuple(players), player_of, anchors)

    def _tournament(self, group: _Group) -> Tournament:
        if self._scheme not in _BRACKETS:
            return {"anchor": against_anchor, "round_robin": round_robin}[self._scheme](len(group.players))
        seed = derive_seed(self.referee.options.seed, "coin", digest([group.context, group.players]))
        coin = random.Random(seed) if self._unreadable == "coin" else None
        return _BRACKETS[self._scheme](len(group.players), coin)

    def _metrics(self, mine: Sequence[tuple[DuelOutcome, int]]) -> dict[str, float]:
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


as_reward = JudgeReward


def _refuse_unknown(what: str, value: str, literal: Any) -> None:
    allowed = get_args(literal)
    if value not in allowed:
        close = nearest(value, allowed)
        hint = f"did you mean {close!r}?" if close else f"use one of {', '.join(allowed)}"
        raise ConfigError(f"no such {what}: {value!r}", remedy=hint)


def _turns(prompt: Any, place: str) -> Conversation:
    """Return the turns of a prompt; a tool's call or result is more than text here, whatever files make of it."""
    for message in prompt if isinstance(prompt, list) else ():
        if isinstance(message, dict) and (
            message.get("tool_calls")
            or message.get("function_call")
            or message.get("role") in (*RESULT_ROLES, *CALL_ROLES)
        ):
            raise RowError("holds a tool call or its result", code="not_text", place=place)
    return conversation({"prompt": prompt}, "prompt", place)


def _last_words(value: Any, place: str) -> str:
    """Return a string as it is, and of messages the last assistant's text that is not empty."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        said = f"must be a string or a list of messages, found {describe(value)}"
        raise RowError(said, code="wrong_type", place=place)
    words = ""
    for turn in value:
        if isinstance(turn, dict) and turn.get("role") == "assistant":
            plain = [{"role": "assistant", "content": turn.get("content") or ""}]
            text = "".join(message.content for message in messages(plain, "content", place))
            words = text if text.strip() else words
    return words
