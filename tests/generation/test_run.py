"""The runner: what is recorded, skipped, told, and when a run does not say that it is done."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reasrm.errors import ConfigError, InputError, RowError
from reasrm.generation.run import DurableRun, Progress, RunControl, RunEnd


@dataclass(frozen=True)
class Item:
    id: str
    digest: bytes = b"\x01"
    error: RowError | None = None
    place: str = "rows.jsonl:1"

    @property
    def where(self) -> Mapping[str, Any]:
        return {"row": self.id}


GOOD = [Item(name) for name in "abc"]
BROKEN = Item("d", error=RowError("is no row", code="bad_json"))


def work(
    output: Path, items: list[Item], total: int | None = None, stop_at: str = "", **control: Any
) -> RunEnd:
    told: list[Progress] = []
    with DurableRun(output, RunControl(on_progress=told.append, **control), kind="test") as run:
        run.start({"input_sha256": str(items), "seed": 0}, lambda: ((i.id, i.digest.hex()) for i in items))
        with run.working():
            for batch in run.batches(items, 2, len(items) if total is None else total):
                for item in batch:
                    run.put(item, {"said": item.id.upper()})
                    if item.id == stop_at:
                        os.kill(os.getpid(), signal.SIGTERM)
        assert told[0].done == run.resume.num_done + run.resume.num_errors
        assert told[-1] == (
            run.journal.num_done + run.journal.num_errors,
            told[0].total,
            run.journal.num_errors,
        )
        return run.end(RunEnd)


def lines(output: Path) -> list[str]:
    return output.read_text().splitlines() if output.exists() else []


def test_items_are_recorded_once_and_what_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    end = work(output, [*GOOD, BROKEN])
    assert (len(lines(output)), end.num_errors, end.signum, end.budget) == (3, 1, None, None)
    assert '"row":"a","said":"A"' in lines(output)[0]
    assert '"row":"d","place":"rows.jsonl:1","code":"bad_json"' in lines(end.errors)[0]
    before = output.read_bytes()
    again = work(output, [*GOOD, BROKEN])
    assert (output.read_bytes(), again.resume.num_done, again.num_errors) == (before, 3, 1)


def test_a_signal_ends_it_and_the_same_call_goes_on(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    end = work(output, GOOD, stop_at="a", drain_s=30)
    assert (end.signum, len(lines(output))) == (signal.SIGTERM, 2)
    assert work(output, GOOD).signum is None
    assert len(lines(output)) == 3


def test_it_is_not_done_before_everything_that_was_counted_came_to_something(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 rows were counted, 3 came to something"):
        work(tmp_path / "out.jsonl", GOOD, total=4)


def test_added_items_are_taken_up_and_changed_ones_refused(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    work(output, GOOD[:2])
    work(output, GOOD)
    assert len(lines(output)) == 3
    with pytest.raises(ConfigError, match=r"1 row differs \(a\)"):
        work(output, [Item("a", b"\x02"), *GOOD[1:]])
