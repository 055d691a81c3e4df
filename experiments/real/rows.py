"""Rows of the experiments on a real model: the English world, short rows of benchmarks, what is learnt from each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from reasrm.config import load_config
from reasrm.curation.config import LengthSection, Range
from reasrm.curation.filters import length_filter
from reasrm.demo.stages import read_pairs
from reasrm.files import replacing
from reasrm.hashing import derive_seed, request_hash
from reasrm.judging.inputs import JudgeInput
from reasrm.protocol.prompts import build_prompt
from reasrm.protocol.sft_rows import SFTRow
from reasrm.protocol.spec import load_spec
from reasrm.protocol.writer_rows import writer_row
from reasrm.records import PreferencePair
from reasrm.sandbox.writing import verdict_text
from reasrm.sources.importing import as_pair
from reasrm.sources.rubric_lines import RubricLine
from reasrm.strictjson import dumps
from reasrm.world.english.config import EnglishConfig, EnglishSplit
from reasrm.world.english.pairs import EnglishWorld

__all__ = [
    "BENCHMARKS",
    "FEWEST",
    "SPLITS",
    "answer_rows",
    "benchmark_rows",
    "english",
    "gold_lines",
    "write_lines",
    "writer_rows",
]

_WORLD = Path(__file__).parents[2] / "configs" / "smollm2" / "world.yaml"
SPLITS: Mapping[EnglishSplit, str] = {
    "iid": "in-domain",
    "topics": "new topics",
    "kinds": "new kinds",
    "hard": "hard",
}
"""Test splits of the English world → what pages call them."""
BENCHMARKS: Mapping[str, str] = {
    "LLMBar natural": "llmbar/natural.json",
    "LLMBar adversarial": "llmbar/adv_neighbor.json",
    "RewardBench": "rewardbench/filtered-00000-of-00001.parquet",
}
FEWEST = 8
"""A subset of RewardBench with fewer short rows is left out."""


def english(
    split: EnglishSplit, count: int, start: int = 0, rubric_share: float = 0.0
) -> Iterator[PreferencePair]:
    """Yield rows of the English world of `configs/smollm2/world.yaml`; no prompt is in two splits."""
    config = load_config(EnglishConfig, _WORLD).model_copy(update={"rubric_share": rubric_share})
    return EnglishWorld(config).pairs(split, count, start)


def write_lines(lines: Iterable[Mapping[str, object]], path: Path) -> None:
    """Write JSON lines, whole or not at all."""
    with replacing(path) as stream:
        for line in lines:
            stream.write(dumps(line) + b"\n")


def benchmark_rows(data: Path, tokenizer: str, most_tokens: int, most: int) -> Iterator[PreferencePair]:
    """Yield the short rows of the benchmarks, each with its benchmark as subset.

    Short is a request that has, with both responses, at most `most_tokens` tokens. All such rows of LLMBar are taken;
    of RewardBench at most `most` of a subset, drawn by id, none of its copies of LLMBar, and no subset that has hardly
    any.

    Args:
        data: The folder with the benchmarks' files.
        tokenizer: Of the model that will judge.
        most_tokens: How long a row may be.
        most: Rows of one subset of RewardBench.
    """
    section = LengthSection(unit="tokens", tokenizer=tokenizer, total=Range(max=most_tokens))
    too_long = length_filter(section, "benchmark rows")
    for name, file in BENCHMARKS.items():
        rows = (as_pair(item.row, None) for item in JudgeInput([data / file]) if item.row is not None)
        short = [pair for pair in rows if isinstance(pair, PreferencePair) and too_long(pair) is None]
        for pair in short if name != "RewardBench" else _drawn(short, most):
            meta = {**pair.meta, "subset": pair.subset}
            yield replace(pair, id=f"{file.partition('/')[0]}-{pair.id}", subset=name, meta=meta)


def _drawn(pairs: Iterable[PreferencePair], most: int) -> Iterator[PreferencePair]:
    found: defaultdict[str, list[PreferencePair]] = defaultdict(list)
    for pair in pairs:
        found[pair.subset or ""].append(pair)
    known = {
        name: rows for name, rows in found.items() if len(rows) >= FEWEST and not name.startswith("llmbar")
    }
    return chain.from_iterable(
        sorted(rows, key=lambda pair: derive_seed("transfer", pair.id))[:most]
        for _, rows in sorted(known.items())
    )


def answer_rows(pairs: Path, spec_name: str, seed: int) -> Iterator[dict[str, object]]:
    """Yield rows of SFT with nothing but the verdict to learn, of pairs in drawn orders."""
    spec = load_spec(spec_name)
    for pair in read_pairs(pairs).values():
        shown = pair.present(derive_seed("answer only", seed))
        label = "A" if shown.response_a == pair.chosen else "B"
        meta = {"spec_hash": spec.hash, "label": label}
        yield SFTRow(pair.id, build_prompt(spec, shown), verdict_text(spec, label), meta).to_json()


def writer_rows(pairs: Iterable[PreferencePair], spec_name: str) -> Iterator[dict[str, object]]:
    """Yield rows of SFT for a writer of rubrics, of pairs with their gold rubrics."""
    spec = load_spec(spec_name)
    for pair in pairs:
        if pair.rubric is not None:
            yield writer_row(spec, pair, pair.rubric).to_json()


def gold_lines(pairs: Iterable[PreferencePair]) -> Iterator[dict[str, object]]:
    """Yield the gold rubrics of pairs as a file of rubrics holds them."""
    for pair in pairs:
        if pair.rubric is not None:
            name = {"writer": "computed: gold"}
            line = RubricLine(
                id=pair.id, rubric=pair.rubric, prompt_hash=request_hash(pair.prompt), provenance=name
            )
            yield line.to_json()
