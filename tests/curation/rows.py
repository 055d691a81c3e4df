"""Small rows for curation, and a run of the whole pipeline on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reasrm.config import parse_config
from reasrm.curation import BenchmarkPrompt, Curated, CurationConfig, Doors, Incoming, curate
from reasrm.curation.store import RowStore
from reasrm.records import Message, PreferencePair
from reasrm.sources.importing import pair_to_json


def pair(row_id: str, prompt: str, chosen: str, rejected: str, **extra: Any) -> PreferencePair:
    """A pair with a prompt of one turn."""
    return PreferencePair(
        id=row_id, prompt=(Message("user", prompt),), chosen=chosen, rejected=rejected, **extra
    )


def incoming(pairs: Iterable[PreferencePair], **extra: Any) -> list[Incoming]:
    """The rows of a file that holds some pairs."""
    return [Incoming(f"in.jsonl:{n}", p, row_id=p.id, source="trl", **extra) for n, p in enumerate(pairs, 1)]


def prompts(*texts: str, benchmark: str = "bench") -> list[BenchmarkPrompt]:
    """The prompts of a benchmark with the rows b0, b1 and so on."""
    return [BenchmarkPrompt(benchmark, f"b{n}", (Message("user", text),)) for n, text in enumerate(texts)]


def config(**sections: Any) -> CurationConfig:
    """A config whose files do not matter."""
    return parse_config(CurationConfig, {"input": "in.jsonl", "output": "out", **sections}, "config")


def run(
    rows: Sequence[Incoming],
    folder: Path,
    benchmarks: Sequence[BenchmarkPrompt] = (),
    judge: Any = None,
    **sections: Any,
) -> Curated:
    """Curate rows into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    doors = Doors(to_line=lambda pair, source: pair_to_json(pair, source=source), judge=judge)
    return curate(rows, benchmarks, config(**sections), folder, doors)


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ids(path: Path) -> list[str]:
    """The ids of a file's rows."""
    return [line["id"] for line in lines(path)]


def reasons(path: Path) -> dict[str, str]:
    """Id → reason of the rows in a file of dropped ones."""
    return {line["id"]: line["reason"] for line in lines(path)}


def store(pairs: Sequence[PreferencePair], path: Path, seed: int = 0) -> RowStore:
    """A frozen store of pairs."""
    made = RowStore(path, seed)
    for row in incoming(pairs):
        assert row.pair is not None
        made.add(row, row.pair, pair_to_json(row.pair, source="trl"), row.pair.id, "trl")
    made.freeze()
    return made
