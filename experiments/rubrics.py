"""Do rubrics by contrast help a judge, and which step is it that does? In the embedded world, with a scripted author.

    python -m experiments.rubrics --output runs/rubrics [--seeds 1 2 3 4 5] [--rows 250] [--pairs 1600]
        [--arms "no rubric" contrast gold] [--extra-seeds 2] [--page FILE.md]

Every seed has a base, a judge, an author and writers of its own; test rows are the same for all. The arms and what they
are for stand in `rubric_page.ARMS`, the claims that were made before any run in `primary_claims.yaml`. Growth (100 to
1,600 pairs) and votes (1 and 5, at equal calls) are run for the first seeds only. Seed 0 is for trials. Stages are
shared between arms and cached by a hash of config and code; a stopped program goes on by the same command.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from experiments.primary import load_primary
from experiments.rubric_lab import RubricLab, client_world, rubric_code
from experiments.rubric_page import ARMS, write_rubric_page
from experiments.rubric_rows import COMPUTED, draw_rows
from experiments.rubric_stages import PAIR_SPEC, Filter, synthesis, writer, written
from reasrm.cli.console import chatter_to_stderr, note
from reasrm.cli.sandbox import load_demo_config
from reasrm.files import write_json_atomic
from reasrm.rubrics.config import Method

GROWTH = (100, 200, 400, 800, 1600)
CONFIG = Path(__file__).parents[1] / "configs" / "sandbox" / "judge.yaml"
_TAUGHT: Mapping[str, tuple[Method, Filter]] = {
    "prompt-only": ("prompt_only", "none"),
    "contrast": ("contrast", "none"),
    "contrast + consistency": ("contrast", "consistency"),
    "contrast + gain": ("contrast", "gain"),
    "profiles + consistency": ("profiles", "consistency"),
}
_BEST = "contrast + consistency"
_NONE, _RUBRIC, _GOLD = {3: 3, 11: 11}, {2: 3, 10: 11}, {2: 2, 10: 10}
"""Judgments that vote → calls that they cost with the rubric's."""


def run_seed(lab: RubricLab, arms: Collection[str], num_pairs: int) -> dict[str, Any]:
    """Make and measure the arms of one seed; return results by arm."""
    judge = lab.judge()
    results: dict[str, Any] = {}
    for arm in (arm for arm in ARMS if arm in arms):
        if arm == "no rubric":
            results[arm] = lab.measure(arm, judge, None)
        elif arm in COMPUTED:
            results[arm] = lab.measure(arm, judge, lab.computed(arm))
        elif arm in _TAUGHT:
            results[arm] = _taught(lab, arm, num_pairs)
        else:
            results[arm] = _OTHERS[arm](lab, arm, num_pairs)
    return results


def _taught(lab: RubricLab, arm: str, num_pairs: int, named: str | None = None) -> dict[str, Any]:
    """Measure what a writer writes that learnt an author's rubrics."""
    judge = lab.judge()
    learnt = synthesis(lab, judge, _TAUGHT[arm][0], num_pairs, _TAUGHT[arm][1])
    author = writer(lab, learnt, _slug(arm))
    return lab.measure(named or arm, judge, written(lab, author, lab.rows.path), kept=learnt.kept)


def _pair_writer(lab: RubricLab, arm: str, num_pairs: int) -> dict[str, Any]:
    judge = lab.judge()
    learnt = synthesis(lab, judge, "contrast", num_pairs, "none", PAIR_SPEC)
    author = writer(lab, learnt, "pair", PAIR_SPEC)
    files = [written(lab, author, lab.rows.path, PAIR_SPEC, orders) for orders in ("random", "swap")]
    own, swapped = files if arm == "pair-writer" else files[::-1]
    return lab.measure(arm, judge, own, swapped=swapped, kept=learnt.kept)


def _with_trained_judge(lab: RubricLab, arm: str, num_pairs: int) -> dict[str, Any]:
    learnt = synthesis(lab, lab.judge(), _TAUGHT[_BEST][0], num_pairs, _TAUGHT[_BEST][1])
    author = writer(lab, learnt, _slug(_BEST))
    shown = written(lab, author, lab.judge_pairs())
    judge = lab.trained_judge(author, shown)
    return lab.measure(arm, judge, written(lab, author, lab.rows.path), kept=learnt.kept)


_OTHERS: Mapping[str, Callable[[RubricLab, str, int], dict[str, Any]]] = {
    "pair-writer": _pair_writer,
    "pair-writer, swapped": _pair_writer,
    "writer + trained judge": _with_trained_judge,
}


def run_growth(lab: RubricLab) -> dict[str, Any]:
    """Return results by the number of synthesis pairs."""
    return {str(count): _taught(lab, _BEST, count, f"growth {count}") for count in GROWTH}


def run_votes(lab: RubricLab, num_pairs: int) -> dict[str, Any]:
    """Return what 1 and 5 votes come to, at equal calls."""
    judge = lab.judge()
    learnt = synthesis(lab, judge, _TAUGHT[_BEST][0], num_pairs, _TAUGHT[_BEST][1])
    shown = written(lab, writer(lab, learnt, _slug(_BEST)), lab.rows.path)
    return {
        "no rubric": lab.votes("no rubric", judge, None, _NONE),
        _BEST: lab.votes(_BEST, judge, shown, _RUBRIC),
        "gold": lab.votes("gold", judge, lab.computed("gold"), _GOLD),
    }


def _slug(name: str) -> str:
    return name.replace(" ", "-").replace("+", "and")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing for all seeds; return the table of the page."""
    usual = load_demo_config(arguments.config, 0).base.world
    rows = draw_rows(usual, client_world(usual), arguments.rows, arguments.output)
    code = rubric_code()
    seeds = []
    for number, seed in enumerate(arguments.seeds):
        lab = RubricLab(load_demo_config(arguments.config, seed), arguments.output, rows, code)
        found: dict[str, Any] = {"arms": run_seed(lab, arguments.arms, arguments.pairs)}
        if number < arguments.extra_seeds:
            found |= {"growth": run_growth(lab), "votes": run_votes(lab, arguments.pairs)}
        seeds.append(found)
    return {
        "code": code,
        "date": dt.date.today().isoformat(),
        "rows": arguments.rows,
        "pairs": arguments.pairs,
        "numbers": arguments.seeds,
        "seeds": seeds,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5], help="none: the page alone")
    parser.add_argument("--rows", type=int, default=250, help="test rows of each split")
    parser.add_argument("--pairs", type=int, default=1600, help="pairs that an author is shown")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--extra-seeds", type=int, default=2, help="first seeds with growth and votes")
    parser.add_argument(
        "--config", type=Path, default=CONFIG, help="of base, teacher and the judge's training"
    )
    parser.add_argument("--page", type=Path, help="where to write the page")
    arguments = parser.parse_args(words)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "table.json"
    with chatter_to_stderr():
        if arguments.seeds:
            write_json_atomic(path, run(arguments))
    claims = load_primary().rubrics
    if arguments.page and claims is not None:
        arguments.page.parent.mkdir(parents=True, exist_ok=True)
        write_rubric_page(arguments.page, orjson.loads(path.read_bytes()) if path.exists() else None, claims)
        note(f"the page is {arguments.page}")
    print(
        json.dumps({"output": str(arguments.output), "seeds": arguments.seeds, "page": str(arguments.page)})
    )


if __name__ == "__main__":
    sys.exit(main())
