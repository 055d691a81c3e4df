"""Four experiments on a real model of 135 M weights, each part and seed by itself where time is short.

    python -m experiments.real --output runs/real-parts [--only reasoning rl transfer rubrics preferences]
        [--seeds 1 2 3] [--model smollm2] [--data ../shared/data] [--pages docs/results] [--dry-run]

Parts: `reasoning`, three ways to write traces at equal processed tokens; `rl`, on from the best of them; `transfer` to
benchmarks; `rubrics`; `preferences` of people. Every step is the command that a user types, in a process of its own,
cached by a hash of command, configs and code; the same command continues a run that was stopped or killed. A part
makes whatever stages of other parts it needs. Claims were written down before any run (`claims.yaml`).
`--dry-run` says how long the parts will take on two idle cores.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson

from experiments.real import preferences, reasoning, rubrics, transfer
from experiments.real.claims import Family, claims_section, load_claims
from experiments.real.estimates import minutes, total_minutes
from experiments.real.lab import STYLES, Lab, Size, real_code
from experiments.real.rows import SPLITS
from experiments.real.steps import DTYPES, number_format
from reasrm.cli.console import chatter_to_stderr, note
from reasrm.files import replacing, write_json_atomic

SEEDS: Mapping[str, tuple[int, ...]] = {
    "reasoning": (1, 2, 3),
    "rl": (1, 2, 3),
    "transfer": (1,),
    "rubrics": (1,),
    "preferences": (0,),
}
"""Parts → the seeds that are run if none are named."""
PAGES = {
    "reasoning": "What reasoning is worth to a real model",
    "transfer": "From the English world to benchmarks",
    "rubrics": "Rubrics on a real model",
    "preferences": "Preferences of people",
}

_PARTS: Mapping[str, Any] = {
    "reasoning": reasoning,
    "transfer": transfer,
    "rubrics": rubrics,
    "preferences": preferences,
}


def run_part(lab: Lab, part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing of a part; return its table."""
    seeds = list(arguments.seeds or SEEDS[part])
    started = time.monotonic()
    found = reasoning.run_rl(lab, seeds, arguments.start) if part == "rl" else _PARTS[part].run(lab, seeds)
    note(f"part {part} is done; this call took {(time.monotonic() - started) / 60:.0f} minutes of it")
    about = {
        "seeds": seeds,
        "code": lab.code if lab.code == real_code() else f"{lab.code}, continued by {real_code()}",
        "date": dt.date.today().isoformat(),
        "model": arguments.model,
        "dtype": lab.dtype,
    }
    return {**found, **about, "size": asdict(lab.size)}


def write_page(path: Path, part: str, tables: Mapping[str, dict[str, Any]]) -> None:
    """Write the page of a part, `reasoning` with `rl`, from what has been run."""
    table, rl = tables.get(part), tables.get("rl") if part == "reasoning" else None
    family: Family = getattr(load_claims(), part)
    head = _HEAD.format(
        title=PAGES[part], parts=part if part != "reasoning" else "reasoning rl", time=_time(part)
    )
    said = [head]
    arms: dict[str, Any] = {}
    if table is None:
        said.append(f"Not run yet: `make real-{part}`.\n")
    else:
        arms = dict(table["arms"])
        if rl is not None and rl["seeds"] == table["seeds"]:
            arms |= rl["arms"]
        said.append(_about(table))
    said += reasoning.page(table, rl) if part == "reasoning" else _PARTS[part].page(table)
    said.append(claims_section(family, SPLITS, arms, table["seeds"] if table else []))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write("\n".join(said).encode())


def _time(part: str) -> str:
    each = minutes(Size())
    parts = ("reasoning", "rl") if part == "reasoning" else (part,)
    said = (f"`{name}` {each[name]:.0f} minutes a seed ({len(SEEDS[name])})" for name in parts)
    return ", ".join(said)


def _about(table: Mapping[str, Any]) -> str:
    size = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in table["size"].items())
    seeds = ", ".join(map(str, table["seeds"]))
    return (
        f"Model `{table['model']}`, weights float32, computed in {table['dtype']}; seeds {seeds}, code "
        f"`{table['code']}`, {table['date']}. Size: {size}.\n"
    )


_HEAD = """# {title}

Written by `python -m experiments.real --only {parts}`. Do not edit: it is written anew.

SmolLM2-135M-Instruct on a CPU, all weights. One small model, one small world: a direction, and no evidence for
larger models. Expected on two idle cores: {time}.
"""


def _parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("runs/real-parts"), help="folder of all runs")
    parser.add_argument(
        "--only", nargs="*", choices=SEEDS, default=list(SEEDS), help="parts; none: the pages alone"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="of these parts, instead of each part's own")
    parser.add_argument(
        "--start", choices=STYLES, help="where RL starts, instead of the arm that is best on tune rows"
    )
    parser.add_argument("--model", default="smollm2", help="model folder, or a name of reasrm models fetch")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the benchmarks' files"
    )
    parser.add_argument("--pages", type=Path, help="folder of the pages to write")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="auto", help="what is computed in (`number_format`)"
    )
    parser.add_argument("--code", help="go on with what an earlier code made; the page names both")
    parser.add_argument("--dry-run", action="store_true", help="say how long it takes, and run nothing")
    for field in fields(Size):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=field.default, help=f"default {field.default}")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing, and write the pages."""
    arguments = _parsed(words)
    size = Size(**{field.name: getattr(arguments, field.name) for field in fields(Size)})
    seeds = {part: arguments.seeds or SEEDS[part] for part in arguments.only}
    each = {part: round(minutes(size)[part] * len(numbers), 1) for part, numbers in seeds.items()}
    note(f"expected minutes on two idle cores: {each}, {total_minutes(size, seeds):.0f} in all")
    tables: dict[str, dict[str, Any]] = {}
    with chatter_to_stderr():
        if arguments.only and not arguments.dry_run:
            dtype = number_format(arguments.dtype)
            lab = Lab(arguments.output, arguments.model, size, arguments.data, dtype, arguments.code)
            for part in arguments.only:
                write_json_atomic(arguments.output / f"table-{part}.json", run_part(lab, part, arguments))
    for part in SEEDS:
        path = arguments.output / f"table-{part}.json"
        if path.exists():
            tables[part] = orjson.loads(path.read_bytes())
    if arguments.pages is not None:
        # A page of results that were got elsewhere is not replaced by one that has none.
        run = {"reasoning" if part == "rl" else part for part in tables}
        for part in run if arguments.only else PAGES:
            write_page(arguments.pages / f"real-{part}.md", part, tables)
    print(
        json.dumps(
            {
                "output": str(arguments.output),
                "minutes": each,
                "pages": arguments.pages and str(arguments.pages),
            }
        )
    )


if __name__ == "__main__":
    main()
