"""Authors' rubrics and writers, as stages of the experiment on rubrics."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from experiments.arms import Trained, once
from experiments.rubric_lab import BACKEND, RubricLab, file_hash
from reasrm.cli.console import note
from reasrm.config import parse_config
from reasrm.demo.stages import cap_rows
from reasrm.hashing import derive_seed, digest
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.protocol.spec import load_spec
from reasrm.protocol.writer_rows import WriterOrders
from reasrm.rubrics.config import Method, SynthesisConfig
from reasrm.rubrics.run import SynthesisSetup, synthesize
from reasrm.rubrics.verify import make_verifier
from reasrm.rubrics.write import WritingOptions, write_rubrics
from reasrm.sandbox.author import AuthorConfig, ScriptedAuthor

__all__ = ["PAIR_SPEC", "WRITER_SPEC", "Filter", "Synthesis", "synthesis", "writer", "written"]

Filter = Literal["none", "consistency", "gain"]
WRITER_SPEC = "sandbox-rubric-writer"
PAIR_SPEC = str(Path(__file__).with_name("rubric-writer-pair.yaml"))
AUTHOR = {"miss": 0.05, "invent": 0.3, "leak": 0.05, "shortcut": 0.05, "malformed": 0.04}
"""Its principle tells nothing apart in three of ten rubrics; its other faults are rare."""
STEPS = 450
"""Updates of a writer, whatever it learns from: 150 were too few for the principle."""


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What an author and a filter left.

    Args:
        rows: For a writer's SFT; its name says what it was made from.
        kept: Rubrics that were kept.
        facts: What else the ledger says.
    """

    rows: Path
    kept: int
    facts: Mapping[str, Any]


def synthesis(
    lab: RubricLab, judge: Trained, method: Method, count: int, keep: Filter, spec: str = WRITER_SPEC
) -> Synthesis:
    """Return what a writer learns from: an author's rubrics for `count` pairs, those that the filter keeps.

    One folder holds a method's answers and the judge's, whatever is kept of them, so that nobody is asked twice.

    Args:
        lab: The stages.
        judge: Who verifies.
        method: How the author is asked.
        count: Pairs.
        keep: `none`, `consistency`, or `gain` as well.
        spec: Of the writer.
    """
    pairs = lab.pairs(count)
    author = parse_config(AuthorConfig, {**AUTHOR, "seed": lab.config.seed}, "author")
    shape = [pairs.name, judge.key, method, author.model_dump(mode="json"), lab.config.seed, lab.code]
    folder = lab.folder / f"synthesis-{method}-{count}-{digest(shape, 12)}"
    rows = folder.with_name(f"writer-rows-{keep}-{digest([*shape, keep, load_spec(spec).hash], 12)}.jsonl")
    said = rows.with_suffix(".json")

    def made() -> dict[str, Any]:
        note(f"seed {lab.config.seed}: {method}, {count} pairs, filter {keep}")
        config = _config(lab, pairs, folder, method, author, judge, keep, spec)
        opened = open_judge(str(judge.model), spec=lab.config.base.spec, **BACKEND)
        with closing(opened.backend):
            verifier = None if config.verify is None else make_verifier(opened, config.verify, folder)
            source = ScriptedAuthor(author)
            result = synthesize(
                SynthesisSetup(config=config, rows=JudgeInput([pairs]), author=source, verifier=verifier)
            )
        if result.written is None or result.signum is not None:
            raise KeyboardInterrupt
        cap_rows(result.files.writer, None, rows)
        return {"kept": result.written.num_writer_rows, "rows": dict(result.written.ledger.rows())}

    found = once(said, made)
    return Synthesis(rows, found["kept"], found)


def _config(
    lab: RubricLab,
    pairs: Path,
    folder: Path,
    method: Method,
    author: AuthorConfig,
    judge: Trained,
    keep: Filter,
    spec: str,
) -> SynthesisConfig:
    verify = None
    if keep != "none":
        verify = {
            "judge": str(judge.model),
            "spec": lab.config.base.spec,
            "gain": keep == "gain",
            "seed": lab.config.seed,
        }
    value = {
        "stage": "rubrics",
        "input": [str(pairs)],
        "output": str(folder),
        "method": method,
        "author": {"judge": "scripted", "scripted": author.model_dump(mode="json")},
        "verify": verify,
        "writer": {"spec": spec},
        "seed": lab.config.seed,
    }
    return parse_config(SynthesisConfig, value, str(folder))


def writer(lab: RubricLab, learnt: Synthesis, name: str, spec: str = WRITER_SPEC) -> Trained:
    """Return a writer: the seed's base after SFT on rubrics; each makes as many updates."""
    return lab.lab.sft(lab.config, learnt.rows, steps=STEPS, name=f"writer-{name}", spec=spec)


def written(
    lab: RubricLab, author: Trained, rows: Path, spec: str = WRITER_SPEC, orders: WriterOrders | None = None
) -> Path:
    """Return what a writer writes for rows; a request for which it writes nothing readable has no rubric.

    Args:
        lab: The stages.
        author: The writer.
        rows: What it is asked about.
        spec: How.
        orders: In which order it is shown pairs.
    """
    asked = open_judge(str(author.model), spec=spec, **BACKEND)
    options = WritingOptions(
        sampling=asked.sampling(), orders=orders, seed=derive_seed("rubrics: writing", lab.config.seed)
    )
    shape = [author.key, file_hash(rows), asked.spec.hash, orders, lab.code]
    output = lab.folder / f"written-{digest(shape, 12)}.jsonl"
    with closing(asked.backend):
        if not write_rubrics(replace(asked, name=author.key), JudgeInput([rows]), output, options).is_whole:
            raise KeyboardInterrupt
    return output
