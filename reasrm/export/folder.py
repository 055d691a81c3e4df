"""`export_judge`: a checkpoint becomes a judge folder, and is called one only after it was loaded back and compared.

Order of things: everything that can be refused without reading weights; the source model, asked about a few rows; the
adapter merged and compared with itself unmerged; the files; the files loaded by plain transformers and compared; the
card; `judge.json`, which makes it a judge; the rename, which makes it appear.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig

from reasrm import __version__
from reasrm.durable import building
from reasrm.errors import ConfigError, EnvironmentProblem, InternalError
from reasrm.export.card import render_card
from reasrm.export.measured import check_measured, read_results
from reasrm.export.merging import (
    attach_adapter,
    bytes_as,
    cast,
    load_model,
    merge,
    stored_weights,
    weight_files,
)
from reasrm.export.overlaps import training_files
from reasrm.export.place import check_apart, check_place
from reasrm.export.source import ExportSource, from_folders, from_run
from reasrm.export.verify import TOLERANCE, Probe, check_same, difference, take_probe
from reasrm.files import file_sha256, hash_files, write_json_atomic
from reasrm.generation.checkpoint import Checkpoint, stop_ids
from reasrm.generation.hf import DTYPES, is_out_of_memory, pick_device
from reasrm.hashing import digest
from reasrm.protocol.spec import JudgeSpec, load_spec

__all__ = ["export_judge"]

_FORMAT_VERSION = 1
_SHARD = "5GB"


@dataclass(frozen=True, slots=True)
class _Plan:
    """How weights travel: as written, and as they are computed with for the comparison."""

    written: str
    compute: str
    copied: bool
    bytes_needed: int
    device: torch.device

    @property
    def rounds(self) -> bool:
        """Whether writing loses digits."""
        return not self.copied and DTYPES[self.written].itemsize < DTYPES[self.compute].itemsize


def export_judge(
    output: str | Path,
    *,
    run: str | Path | None = None,
    checkpoint: str | int | None = None,
    model: str | Path | None = None,
    adapter: str | Path | None = None,
    revision: str | None = None,
    spec: str | JudgeSpec | None = None,
    results: Sequence[str | Path] = (),
    dtype: str = "auto",
    device: str = "auto",
    license: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Write a judge folder and return the summary.

    Args:
        output: The folder to make.
        run: A run folder; its chosen checkpoint is exported, or the newest whole one where none was chosen.
        checkpoint: Another checkpoint of the run: its step, folder or name.
        model: Instead of a run: a model folder (with `adapter` also a hub id). Needs `spec`.
        adapter: Folder of a LoRA adapter of `model`.
        revision: Of a hub id.
        spec: How the judge is asked; a run brings its own.
        results: Folders of `reasrm eval`, for the card.
        dtype: `auto` keeps the number format of the weights; `float32` or `bfloat16` change it.
        device: Where models are compared: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`.
        license: For the card, as the Hub spells it: `apache-2.0`.
        force: Replace an existing judge folder.
        say: Told what happens.

    Raises:
        ConfigError: The arguments, the run, the model or the place cannot be used.
        EnvironmentProblem: Too little space or memory, a damaged checkpoint, a read-only folder.
        LockedError: Another export to this place is running.
        InternalError: What was written is not the model it was made from; nothing is left behind.
    """
    target = check_place(Path(output), force=force)
    source = _resolve(run, checkpoint, model, adapter, revision, spec)
    check_apart(target, source.folders)
    evaluations = [read_results(Path(folder), source.spec) for folder in results]
    plan = _plan(source, dtype, device)
    with building(target, bytes_needed=plan.bytes_needed, unwritable=(SafetensorError,)) as partial:
        with _explaining_memory(source, plan):
            checks = _write_and_compare(source, plan, partial / "model", say)
        check_measured(evaluations, Checkpoint(str(partial / "model")).fingerprint())
        weights = _hash_weights(partial / "model", source.hashes if plan.copied else {})
        identity = _identity(source, plan, weights, hash_files(partial / "model", weights), checks)
        card = render_card(target.name, source, identity, evaluations, license)
        (partial / "README.md").write_text(card, encoding="utf-8")
        write_json_atomic(partial / "judge.json", identity)
    return {
        "output": str(output),
        "spec": source.spec.name,
        "spec_hash": source.spec.hash,
        "checkpoint_step": source.provenance.step if source.provenance else None,
        "merged_adapter": source.adapter is not None,
        "dtype": plan.written,
        "weights_sha256": identity["weights_sha256"],
        **checks,
    }


def _resolve(
    run: str | Path | None,
    checkpoint: str | int | None,
    model: str | Path | None,
    adapter: str | Path | None,
    revision: str | None,
    spec: str | JudgeSpec | None,
) -> ExportSource:
    if (run is None) == (model is None):
        raise ConfigError(
            "either a run or a model is exported", remedy="pass --run DIR, or --model FOLDER with --spec"
        )
    if run is not None:
        others = {"--adapter": adapter, "--revision": revision, "--spec": spec}
        for flag, value in others.items():
            if value is not None:
                raise ConfigError(f"a run brings its own; {flag} goes with --model", remedy="leave it out")
        return from_run(Path(run), None if checkpoint is None else str(checkpoint))
    if checkpoint is not None:
        raise ConfigError("--checkpoint goes with --run", remedy="name the checkpoint's folder with --model")
    if spec is None:
        raise ConfigError("the model does not say how it is asked", remedy="pass --spec NAME or --spec FILE")
    chosen = spec if isinstance(spec, JudgeSpec) else load_spec(spec)
    return from_folders(str(model), chosen, None if adapter is None else Path(adapter), revision)


def _plan(source: ExportSource, dtype: str, device: str) -> _Plan:
    """Decide number formats and count the bytes; of a hub id, which is not here yet, by its config alone."""
    if dtype not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"no such dtype: {dtype!r}", remedy="use auto, float32 or bfloat16")
    place = pick_device(device)
    if source.model.is_local:
        stored, counts = stored_weights(weight_files(Path(source.model.path)))
        needed = bytes_as(counts, None if dtype == "auto" else dtype)
    else:
        stored, needed = _describe_hub_model(source.model, dtype)
    written = stored if dtype == "auto" else dtype
    copied = source.adapter is None and written == stored
    # A CPU computes half precision slowly, and float32 holds it exactly.
    compute = stored if copied and place.type != "cpu" else "float32"
    return _Plan(written, compute, copied, needed, place)


def _describe_hub_model(checkpoint: Checkpoint, dtype: str) -> tuple[str, int]:
    from transformers import AutoModelForCausalLM

    config = checkpoint.load("AutoConfig")
    stored = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    stored = stored if stored in DTYPES else "float32"
    with torch.device("meta"):
        count = AutoModelForCausalLM.from_config(config, trust_remote_code=False).num_parameters()
    return stored, count * DTYPES[stored if dtype == "auto" else dtype].itemsize


@contextmanager
def _explaining_memory(source: ExportSource, plan: _Plan) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise EnvironmentProblem(
            f"the model does not fit into the memory of {plan.device} as {plan.compute}",
            place=source.model.path,
            remedy="use --device cpu, or a machine with more memory",
        ) from error


def _write_and_compare(
    source: ExportSource, plan: _Plan, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Write the model folder, load it as anybody would, and return how far it is from its source.

    Raises:
        InternalError: Too far.
    """
    say(f"loading {source.model.path}" + (f" with {source.adapter}" if source.adapter else ""))
    origin, written, checks = _write_model(source, plan, folder, say)
    say("loading it back and comparing")
    again = Checkpoint(str(folder))
    again.check()
    reloaded = load_model(again, plan.compute, plan.device)
    found = take_probe(reloaded, again.load("AutoTokenizer"), source.spec)
    check_same(written, found, 0.0 if plan.copied else TOLERANCE, "the exported model")
    largest, scale = difference(origin, found)
    return {
        "logits_max_abs_diff": largest,
        "largest_logit": scale,
        **checks,
        "greedy_identical": origin.greedy_ids == found.greedy_ids,
        "greedy_tokens": len(found.greedy_ids),
    }


def _write_model(
    source: ExportSource, plan: _Plan, folder: Path, say: Callable[[str], None]
) -> tuple[Probe, Probe, dict[str, Any]]:
    """Write the model folder; return what the source does, what the files should do, and what was found."""
    checks: dict[str, Any] = {}
    tokenizer = source.tokenizer.load("AutoTokenizer")
    model = load_model(source.model, plan.compute, plan.device)
    ends = stop_ids(tokenizer, model.config, model.generation_config)
    adapted = None if source.adapter is None else attach_adapter(model, source.adapter)
    origin = written = take_probe(model, tokenizer, source.spec)
    if adapted is not None:
        say("merging the adapter")
        model = merge(adapted)
    if plan.rounds:
        if adapted is not None:  # where nothing is rounded, the comparison of the files says it
            exact = take_probe(model, tokenizer, source.spec)
            merged = check_same(origin, exact, TOLERANCE, "the merged model")
            checks["merge_logits_max_abs_diff"] = merged
        model = cast(cast(model, plan.written), plan.compute)
        written = take_probe(model, tokenizer, source.spec)
    say(f"writing {plan.written} weights")
    folder.mkdir()
    if plan.copied:
        _copy_weights(source.model, folder)
    else:
        model.config.use_cache = True
        cast(model, plan.written).save_pretrained(folder, max_shard_size=_SHARD)
    tokenizer.save_pretrained(folder)
    _generation_config(source.spec, tokenizer, model.config, ends).save_pretrained(folder)
    del model, adapted
    gc.collect()
    return origin, written, checks


def _copy_weights(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy weight files, and write the config without what training left in it."""
    origin = Path(checkpoint.path)
    files = weight_files(origin)
    index = origin / "model.safetensors.index.json"
    for path in [*files, *([index] if index.is_file() else [])]:
        shutil.copyfile(path, folder / path.name)
    config = checkpoint.load("AutoConfig")
    config.use_cache = True  # trainers switch it off, and every answer would take quadratic time
    config.save_pretrained(folder)


def _generation_config(
    spec: JudgeSpec, tokenizer: Any, config: Any, ends: frozenset[int]
) -> GenerationConfig:
    """Return the spec's own way to sample, and every token that ends an answer.

    A base model's defaults, such as a repetition penalty, would come back in servers that apply them unasked.
    """
    sampling = spec.sampling
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(
        do_sample=sampling.temperature > 0,
        eos_token_id=sorted(ends) or None,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=getattr(config, "bos_token_id", None),
        **(drawn if sampling.temperature > 0 else {}),
    )


def _hash_weights(folder: Path, sealed: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of every weight file; copies must have the hashes of the seal.

    Raises:
        InternalError: A copy has another hash.
    """
    hashes = {path.name: file_sha256(path) for path in weight_files(folder)}
    for name, sha256 in hashes.items():
        if sealed.get(name, sha256) != sha256:
            raise InternalError(f"{name!r} was not copied faithfully", remedy="check the disk and run again")
    return hashes


def _identity(
    source: ExportSource,
    plan: _Plan,
    weights: Mapping[str, str],
    files: Mapping[str, str],
    checks: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of `judge.json`."""
    stages, known = [stage.model_dump(mode="json") for stage in source.stages], source.provenance
    pairs = []
    if (
        known is not None and known.stage != "sft"
    ):  # SFT rows are whole judgments: their prompts are no pair's
        columns = known.config.get("data", {}).get("columns")
        pairs = [{**file, "columns": columns} for file in training_files(known)]
    return {
        "format_version": _FORMAT_VERSION,
        "library": {"name": "reasrm", "version": __version__},
        "spec": source.spec.model_dump(mode="json"),
        "spec_hash": source.spec.hash,
        "base": source.base.model_dump(mode="json"),
        "trained": stages[-1] if stages else None,
        "earlier": stages[:-1],
        "pairs": pairs,
        "merged_adapter": source.adapter is not None,
        "dtype": plan.written,
        "rounded": plan.rounds,
        "weights": dict(weights),
        # Of one file, its own hash; of several, the hash of their names and hashes.
        "weights_sha256": next(iter(weights.values())) if len(weights) == 1 else digest(weights, 64),
        "files": dict(files),
        "comparison": dict(checks),
    }
