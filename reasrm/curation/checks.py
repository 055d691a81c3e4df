"""What a curation compared with benchmarks, kept beside its files for whatever is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasrm.curation.config import BenchmarkSection, CurationConfig, DecontaminationSection
from reasrm.files import display_name
from reasrm.runs.origin import ORIGIN, Benchmark, Check, HashedFile, checks_of, write_origin
from reasrm.tables import content_sha256

__all__ = ["benchmark_name", "keep_checks"]


def benchmark_name(section: BenchmarkSection) -> str:
    """Return what reports call a benchmark."""
    return section.name or Path(section.input).name.partition(".")[0]


def keep_checks(config: CurationConfig, report: Mapping[str, Any], folder: Path) -> list[str]:
    """Write the comparisons that the rows went through, here and before; return the names of the files written.

    Args:
        config: Of the curation.
        report: What `curation.json` says.
        folder: Where the splits lie.
    """
    checks = [check for file in report["inputs"] for check in checks_of(file["path"], file["sha256"])]
    if config.decontaminate is not None:
        checks.append(_own(config.decontaminate, report))
    if not checks:
        return []
    made = [item["file"] for item in report["splits"]]
    made += [f"{item['split']}.comparisons.jsonl" for item in report["splits"] if config.swap]
    write_origin(folder, made, checks)
    return [ORIGIN]


def _own(section: DecontaminationSection, report: Mapping[str, Any]) -> Check:
    files: dict[str, tuple[HashedFile, ...]] = {}
    for item in section.against:
        name = benchmark_name(item)
        file = HashedFile(name=display_name(item.input), sha256=content_sha256(item.input))
        files[name] = (*files.get(name, ()), file)
    overlap = report["overlap"]
    found = (
        Benchmark(
            name=item["benchmark"], files=files[item["benchmark"]], prompts=item["prompts"], rows=item["rows"]
        )
        for item in overlap["benchmarks"]
    )
    return Check(
        of=tuple(display_name(file["path"]) for file in report["inputs"]),
        rows=report["ledger"]["rows"],
        action=overlap["action"],
        ngram=section.ngram,
        min_share=section.min_share,
        benchmarks=tuple(found),
    )
