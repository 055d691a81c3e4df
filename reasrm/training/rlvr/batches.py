"""Which prompts a generation batch holds: shuffled anew each epoch, both orders of a pair side by side.

TRL's sampler shuffles single prompts and draws each epoch's order from one stream, so a run that is resumed in its
second epoch would repeat the first. Here the order of an epoch depends on seed and epoch only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from reasrm.hashing import derive_seed

__all__ = ["ComparisonSampler", "replacements"]


class ComparisonSampler(Sampler[int]):
    """Yields row numbers as TRL wants them: each prompt `group_size` times, each batch `repeats` times.

    Args:
        num_prompts: Prompts in all; with `unit` 2 the two orders of a pair stand side by side.
        unit: How many prompts are never torn apart: 2 with both orders, else 1.
        prompts_per_batch: Prompts of a generation batch, over all processes. What is left over at the end of an
            epoch is not used in it.
        group_size: Rollouts of each prompt.
        repeats: How often a batch is yielded.
        seed: Of the shuffling.
        choose: Of the prompts that stand together, which one an epoch shows, from number of the unit and epoch; by
            default all of them.
    """

    def __init__(
        self,
        num_prompts: int,
        *,
        unit: int,
        prompts_per_batch: int,
        group_size: int,
        repeats: int,
        seed: int,
        choose: Callable[[int, int], int] | None = None,
    ) -> None:
        self._units = num_prompts // unit
        self._unit = unit
        self._shown = unit if choose is None else 1
        self._choose = choose
        self._per_batch = prompts_per_batch // self._shown
        self._group_size = group_size
        self._repeats = repeats
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng(derive_seed(self._seed, "epoch", str(self._epoch)))
        order = generator.permutation(self._units).tolist()
        for start in range(0, self._num_batches * self._per_batch, self._per_batch):
            batch = [
                unit * self._unit + place
                for unit in order[start : start + self._per_batch]
                for place in self._places(unit)
            ]
            for _ in range(self._repeats):
                for row in batch:
                    yield from [row] * self._group_size

    def _places(self, unit: int) -> Sequence[int]:
        return range(self._unit) if self._choose is None else (self._choose(unit, self._epoch),)

    def __len__(self) -> int:
        prompts = self._num_batches * self._per_batch * self._shown
        return prompts * self._group_size * self._repeats

    @property
    def _num_batches(self) -> int:
        return self._units // self._per_batch


def replacements(
    num_prompts: int, taken: Sequence[int], count: int, *, seed: int, round_: int, attempt: int
) -> list[int]:
    """Return prompts to draw instead of some, none of them in the batch, as far as there are any.

    Args:
        num_prompts: Prompts in all.
        taken: Those that the batch holds or held.
        count: How many are wanted.
        seed: Root of the draw.
        round_: Number of the generation batch.
        attempt: Which refill of it.
    """
    left = np.setdiff1d(np.arange(num_prompts), np.asarray(taken, dtype=np.int64))
    generator = np.random.default_rng(derive_seed(seed, "refill", f"{round_}:{attempt}"))
    return [int(row) for row in generator.permutation(left)[:count]]
