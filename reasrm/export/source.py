"""What is exported, resolved before any weight is read: whose weights, which adapter, which spec, and their history.

From a run, everything comes from the run folder itself: the spec as it was trained with, the base model by its
fingerprint, the newest checkpoint whose every byte is what its seal says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasrm.config import parse_config
from reasrm.durable import read_object
from reasrm.errors import ConfigError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.protocol.prompts import check_spec
from reasrm.protocol.spec import JudgeSpec
from reasrm.runs import CheckpointInfo, RunFolder, checkpoint_folder, result_checkpoint, verify_checkpoint
from reasrm.runs.origin import BaseIdentity, TrainedStage, shareable, trained_stages

__all__ = ["ExportSource", "Provenance", "from_folders", "from_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a run recorded about how its weights came to be.

    Args:
        stage: `sft`, for one.
        step: Optimizer steps of the checkpoint.
        config: The resolved config.
        manifest: Inputs with hashes, versions, commit.
        data: Counts of the rows that were trained on; empty where the stage writes none.
    """

    stage: str
    step: int
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """What is exported.

    Args:
        model: Whole weights: a full checkpoint, or the model that the adapter belongs to.
        adapter: Folder of a LoRA adapter, if there is one.
        spec: The protocol.
        base: Name of what the first training started from: a hub id or a folder's name, and revision and fingerprint.
        stages: The trainings since, oldest first.
        hashes: SHA-256 of weight files by name, where a seal says them.
        provenance: What the run recorded; None for a bare model.
    """

    model: Checkpoint
    adapter: Path | None
    spec: JudgeSpec
    base: BaseIdentity
    stages: tuple[TrainedStage, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    provenance: Provenance | None = None

    @property
    def tokenizer(self) -> Checkpoint:
        """Where the tokenizer lies: beside the adapter if it was saved there, else with the model."""
        if self.adapter is not None and (self.adapter / "tokenizer.json").is_file():
            return Checkpoint(str(self.adapter))
        return self.model

    @property
    def folders(self) -> tuple[Path, ...]:
        """The local folders that are read."""
        local = (Path(self.model.path),) if self.model.is_local else ()
        return local if self.adapter is None else (*local, self.adapter)


def from_run(run: Path, checkpoint: str | None = None) -> ExportSource:
    """Resolve a checkpoint of a run.

    Args:
        run: The run folder.
        checkpoint: A step, or the checkpoint's folder or its name; by default the one that was chosen, or the newest
            that is whole.

    Raises:
        ConfigError: The folder holds no run or no such checkpoint, or the base model is not the one trained from.
        EnvironmentProblem: The checkpoint is damaged.
    """
    folder = RunFolder.join(run)
    manifest, config = folder.read_manifest(), folder.read_config()
    if manifest["stage"] == "metarm":
        raise ConfigError(
            "the run trained a MetaRM, which is no judge",
            place=str(folder.path),
            remedy=f"take {folder.path / 'metarm'} as it is: `reasrm metarm score` and RLVR read it",
        )
    sealed = _pick(folder, checkpoint)
    place = str(folder.path / "config.json")
    spec = parse_config(JudgeSpec, config.get("spec"), f"{place}: spec")
    check_spec(spec)
    base, model = _base_identity(config, place), Checkpoint(str(sealed.path))
    adapter = sealed.path if (sealed.path / "adapter_config.json").is_file() else None
    if adapter is not None:
        model = _open_base(base)
    model.check()
    stages = trained_stages(folder.path, manifest, config, sealed.step)
    return ExportSource(
        model=model,
        adapter=adapter,
        spec=spec,
        base=stages[0].base,
        stages=stages,
        hashes={name: sha256 for name, (sha256, _) in sealed.files.items()} if adapter is None else {},
        provenance=Provenance(
            stage=str(manifest["stage"]),
            step=sealed.step,
            config=config,
            manifest=manifest,
            data=read_object(folder.path / "data.json") or {},
        ),
    )


def from_folders(
    model: str, spec: JudgeSpec, adapter: Path | None = None, revision: str | None = None
) -> ExportSource:
    """Resolve a model, with or without an adapter, that no run of ours describes.

    Args:
        model: A folder; with an adapter also a hub id.
        spec: How the judge is asked.
        adapter: Folder of a LoRA adapter.
        revision: Of a hub id.

    Raises:
        ConfigError: The model or the adapter cannot be used.
    """
    checkpoint = Checkpoint(model, revision)
    if adapter is None and not checkpoint.is_local:
        raise ConfigError(
            f"there is no folder {model!r}",
            remedy="download the model first, for instance with `hf download`",
        )
    check_spec(spec)
    checkpoint.check()
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise ConfigError(
            "holds no adapter_config.json", place=str(adapter), remedy="name an adapter's folder"
        )
    fingerprint = checkpoint.fingerprint() if checkpoint.is_local else None
    base = {"path": model, "revision": revision, "fingerprint": fingerprint}
    return ExportSource(model=checkpoint, adapter=adapter, spec=spec, base=shareable(base))


def _pick(run: RunFolder, checkpoint: str | None) -> CheckpointInfo:
    if checkpoint is None:
        newest = result_checkpoint(run.path)
        if newest is None:
            raise ConfigError(
                "no checkpoint is complete yet",
                place=str(run.checkpoints),
                remedy="train on with --resume until one is saved",
            )
        return newest
    named = checkpoint_folder(run.path, int(checkpoint)) if checkpoint.isdecimal() else Path(checkpoint)
    if not named.is_dir() and named.name == checkpoint:
        named = run.checkpoints / checkpoint
    if named.resolve().parent != run.checkpoints.resolve() or not named.is_dir():
        known = sorted(path.name for path in run.checkpoints.glob("checkpoint-*")) or ["none"]
        raise ConfigError(
            f"the run has no checkpoint {checkpoint!r}",
            place=str(run.checkpoints),
            remedy=f"it has: {', '.join(known)}",
        )
    return verify_checkpoint(named.resolve())


def _base_identity(config: Mapping[str, Any], place: str) -> dict[str, str | None]:
    base = config.get("base")
    if not isinstance(base, dict) or not isinstance(base.get("path"), str):
        raise ConfigError("does not say what the run started from", place=f"{place}: base")
    return {name: base.get(name) for name in ("path", "revision", "fingerprint")}


def _open_base(base: Mapping[str, str | None]) -> Checkpoint:
    """Return the model that an adapter was trained on, or say why it is not there any more."""
    path, revision, fingerprint = str(base["path"]), base["revision"], base["fingerprint"]
    checkpoint = Checkpoint(path, revision)
    was_local = fingerprint is not None and fingerprint != revision
    if was_local and not checkpoint.is_local:
        raise ConfigError(
            f"the adapter's base model {path!r} is not there",
            remedy="put it back, or name both with --model and --adapter",
        )
    if was_local and checkpoint.fingerprint() != fingerprint:
        raise ConfigError(
            f"is not the model that the run was trained on: its fingerprint is {checkpoint.fingerprint()}, "
            f"it was {fingerprint}",
            place=path,
            remedy="give back what was there",
        )
    return checkpoint
