"""Rows by their number: what every world's drawing shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import ClassVar, Generic, TypeVar

from reasrm.errors import ConfigError
from reasrm.hashing import derive_seed
from reasrm.records import CandidateSet, Conversation, PreferencePair

__all__ = ["DrawnRows", "keep_critique"]

SplitT = TypeVar("SplitT", bound=str)


def keep_critique(pair: PreferencePair, share: float) -> PreferencePair:
    """Return the pair, without its critique unless its id is among a share of all; a greater share holds a smaller."""
    kept = derive_seed("has-critique", pair.id) % 2**32 < share * 2**32
    return pair if kept else replace(pair, critique=None)


class DrawnRows(ABC, Generic[SplitT]):
    """Draws rows. Row `n` of a split depends on the configuration, the split and `n` only.

    Attributes:
        splits: Which it has.
    """

    splits: ClassVar[tuple[str, ...]]

    @abstractmethod
    def pair(self, split: SplitT, number: int) -> PreferencePair:
        """Return one preference pair."""

    @abstractmethod
    def candidates(self, split: SplitT, number: int, count: int) -> CandidateSet:
        """Return one prompt with `count` different responses, ranked by the label."""

    def pairs(
        self, split: SplitT, count: int, start: int = 0, without: Container[Conversation] = ()
    ) -> Iterator[PreferencePair]:
        """Yield rows of a split from number `start` on.

        Args:
            split: Which.
            count: How many.
            start: Number of the first.
            without: Prompts of rows to pass over, such as those trained on; later rows take their place, and a row
                keeps its number.

        Raises:
            ConfigError: Hardly any row of the split has another prompt.
        """
        wanted = (self.pair(split, number) for number in range(start, start + 20 * count + 1000))
        found = 0
        for pair in wanted:
            if found == count:
                return
            if pair.prompt not in without:
                found += 1
                yield pair
        if found < count:
            raise ConfigError(
                f"only {found} of {count} rows have a prompt that is not passed over",
                place=f"splits.{split}",
                remedy="ask for fewer",
            )
