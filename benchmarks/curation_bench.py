"""`reasrm data curate` on many synthetic rows: every stage but the judge, as one process, with its peak memory.

    python -m benchmarks.curation_bench [--rows 200000] [--folder DIR]

A tenth of the rows repeats an earlier one, another tenth repeats it with a few words changed, so both kinds of
duplicates have work to do; a thousand benchmark prompts are looked for. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.__main__ import measured

CONFIG = """
input: {folder}/pairs.jsonl
output: {folder}/curated
length: {{unit: words, total: {{max: 100000}}}}
language: {{keep: en}}
decontaminate: {{against: {folder}/benchmark.jsonl, on_overlap: drop}}
duplicates: {{unit: pair}}
balance: {{longer: [0.3, 0.7]}}
splits: {{sizes: {{train: rest, validation: 0.05}}}}
"""
VOCABULARY = [f"word{number:x}" for number in range(20_000)]
REMEMBERED = 5_000


def write_rows(path: Path, count: int, seed: int = 0) -> None:
    """Write pairs of about 1.7 KB: 30 words of prompt, 100 and 80 words of response."""
    rng = random.Random(seed)
    earlier: list[tuple[list[str], list[str], list[str]]] = []
    with path.open("w", encoding="utf-8") as stream:
        for number in range(count):
            kind = rng.random()
            texts = tuple(rng.choices(VOCABULARY, k=size) for size in (30, 100, 80))
            if earlier and kind < 0.2:
                texts = earlier[rng.randrange(len(earlier))]
                if kind < 0.1:
                    texts = (texts[0], [*texts[1], f"more{number}"], texts[2])
            elif len(earlier) < REMEMBERED or rng.random() < 0.01:
                earlier.append(texts)  # type: ignore[arg-type]
            prompt, long, short = map(" ".join, texts)
            chosen, rejected = (long, short) if len(prompt) % 2 else (short, long)
            row = {
                "id": f"row-{number}",
                "prompt": [{"role": "user", "content": prompt}],
                "chosen": [{"role": "assistant", "content": chosen}],
                "rejected": [{"role": "assistant", "content": rejected}],
                "meta": {"source": f"set-{number % 5}"},
            }
            stream.write(json.dumps(row) + "\n")


def write_benchmark(pairs: Path, path: Path, count: int = 1_000) -> None:
    """Take every hundredth row's prompt."""
    with pairs.open(encoding="utf-8") as stream, path.open("w", encoding="utf-8") as out:
        for number, line in enumerate(stream):
            if number % 100 == 0 and number < 100 * count:
                prompt = json.loads(line)["prompt"]
                row = {"id": f"q{number}", "prompt": prompt, "response_a": "x", "response_b": "y"}
                out.write(json.dumps(row) + "\n")


def measure(rows: int, folder: Path) -> dict[str, Any]:
    """Write the inputs, curate them in a process of its own, and return its time, memory and counts."""
    write_rows(folder / "pairs.jsonl", rows)
    write_benchmark(folder / "pairs.jsonl", folder / "benchmark.jsonl")
    config = folder / "curate.yaml"
    config.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    command = [sys.executable, "-m", "reasrm", "data", "curate", "--config", str(config), "--quiet"]
    size = (folder / "pairs.jsonl").stat().st_size
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak_mb, said = measured(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows": rows,
        "input_gib": round(size / 2**30, 2),
        "seconds": round(seconds, 1),
        "rows_per_s": round(rows / seconds),
        "cpu_s": round(cpu_s, 1),
        "rows_per_cpu_s": round(rows / cpu_s),
        "peak_rss_mb": round(peak_mb),
        "kept": said["kept"],
        "dropped": said["dropped"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        found = measure(args.rows, Path(name))
    print(json.dumps({**found, "load_average": os.getloadavg()}))


if __name__ == "__main__":
    main()
