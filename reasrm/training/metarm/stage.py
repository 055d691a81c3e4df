"""The cold start of a MetaRM: judgments with human critiques in, a regression model of their reward out.

Source: RM-NLHF (arXiv 2601.07349, released cold-start script): sequence classification with one output from the
policy's base, four judgments of the base per row with a human critique, squared error, three epochs, 5 % of the rows
held out. Deviations: which rows are held out follows from their ids, so that no two judgments of one row are on both
sides and the loop of RLVR holds out the same ones; the checkpoint with the least held-out error is the result; batches
are padded on the right.

A run holds, beside what every run holds, `targets.jsonl` (what each judgment is worth), `best.json`, and at the end
`metarm/`, the folder that `reasrm metarm score` and RLVR take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers.trainer_callback import PrinterCallback

from reasrm import __version__
from reasrm.config import ANSWERED_ALIKE
from reasrm.durable import building
from reasrm.errors import InputError, RowError
from reasrm.hashing import digest
from reasrm.metarm.card import CARD
from reasrm.metarm.holdout import is_held_out
from reasrm.metarm.model import MetaRM
from reasrm.runs import CheckpointInfo, RunFolder, result_checkpoint
from reasrm.tables import content_sha256
from reasrm.training.metarm.config import MetaRMStage
from reasrm.training.metarm.rows import MetaRMData, read_comparisons, read_judgments
from reasrm.training.metarm.setup import MetaRMSetup, set_up
from reasrm.training.metarm.setup import plan as plan_metarm
from reasrm.training.metarm.targets import (
    MetaTarget,
    Targets,
    make_targets,
    read_targets,
    wait_for_targets,
    write_targets,
)
from reasrm.training.metarm.trainer import (
    Collator,
    MetaExample,
    MetaRMTrainer,
    SaveWhatIsMeasured,
    measured,
    member_weights,
)
from reasrm.training.stage.driver import VOLATILE, StageKind, finished_checkpoint, numbered
from reasrm.training.stage.listening import Listener, SealTheEnd, Tell
from reasrm.training.stage.models import find_model
from reasrm.training.stage.sharing import note_server

__all__ = ["METARM", "build_trainer", "encode", "encode_data", "label", "plan", "set_up", "train"]

_DREW = {"per_row": 4, "temperature": 0.7, "top_p": 1.0} | dict.fromkeys(
    ("policy", "max_tokens", "seed", "extra_body")
)
"""What runs say of judgments that were read, begun by versions that could draw them, too."""


# What is learned from


def encode_data(setup: MetaRMSetup, listener: Listener | None = None) -> MetaRMData:
    """Read the comparisons of a stage and what judges wrote about them.

    Raises:
        InputError: A file cannot be read, or none of its rows can be learned from.
        ConfigError: The judgments were asked by another spec.
    """
    listener, section = listener or Listener(), setup.stage.data
    listener.say(f"reading {', '.join(section.train)}")
    data = read_comparisons(setup.stage, setup.spec, listener.rows)
    data.judgments = read_judgments(section.judgments, setup.spec)
    if not data.num_judgments:
        raise InputError(
            "no judgment there is about a row of data.train",
            place=", ".join(section.judgments),
            remedy="name the judgments of these rows; ids must be equal",
        )
    return data


def label(setup: MetaRMSetup, data: MetaRMData, run: RunFolder, listener: Listener) -> None:
    """Say what the judgments are worth, and encode them; the writer of the run asks for it, once per run.

    Raises:
        InputError: No judgment can be learned from.
        RewardProblem: A part of the reward threw; the row is named.
    """
    identity = _identity(setup)
    if run.writable:
        data.targets = read_targets(run.path, identity) or _make(setup, run, data, identity, listener)
    else:
        data.targets = wait_for_targets(run.path, identity)
    held_out = {lesson.id for lesson in data.targets.lessons if is_held_out(lesson.id, data.holdout)}
    parts = ([x for x in data.targets.lessons if (x.id in held_out) is out] for out in (False, True))
    data.learned, data.measured = (encode(setup, data, part, data.targets) for part in parts)


def encode(
    setup: MetaRMSetup, data: MetaRMData, lessons: Sequence[MetaTarget], targets: Targets
) -> list[MetaExample]:
    """Return the judgments as ids; those that cannot be read whole are counted among the targets' `left_out`."""
    stage, examples = setup.stage, []
    for lesson in lessons:
        try:
            row = setup.encoder.encode(lesson.order.seen(data.rows[lesson.id]), lesson.critique)
        except (RowError, InputError):
            targets.left_out["not_encodable"] += 1
            continue
        if row is None:
            targets.left_out["too_long"] += 1
            continue
        weights = member_weights(lesson.id, setup.card.members, stage.seed)
        examples.append(MetaExample(row, lesson.target, lesson.right, lesson.process, weights))
    return examples


def _inputs(stage: MetaRMStage) -> dict[str, Path]:
    return numbered(train=stage.data.train, judgments=stage.data.judgments)


def _as_before(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config in the shape of versions that could draw judgments, whose runs and targets go on."""
    data = {**config["data"], "orders": "random"}
    return {**config, "rollouts": {"judgments": data.pop("judgments"), **_DREW}, "data": data}


def _identity(setup: MetaRMSetup) -> str:
    """Return a hash of all that the targets depend on."""
    stage = setup.stage
    config = stage.model_dump(mode="json", include={"data", "rewards", "seed"})
    return digest(
        {
            "config": {**_as_before(config), "critique": stage.critique.meaning()},
            "files": {name: content_sha256(path) for name, path in _inputs(stage).items()},
            "spec": setup.spec.hash,
            "policy": find_model(stage.model.path),
            "target": [setup.card.target, setup.card.weight],
            "reasrm": __version__,
        }
    )


def _make(setup: MetaRMSetup, run: RunFolder, data: MetaRMData, identity: str, listener: Listener) -> Targets:
    for backend in setup.asked:
        note_server(run, "critique", backend, listener.say)
    targets = make_targets(
        setup.stage,
        setup.spec,
        data,
        setup.reward,
        lambda done, total: listener.counts("critiques scored", done, total),
    )
    if not targets.lessons:
        reasons = ", ".join(f"{count} {code}" for code, count in targets.left_out.most_common())
        raise InputError(
            f"none of {targets.num_judgments} judgments can be learned from: {reasons}",
            place=", ".join(setup.stage.data.judgments),
            remedy="look at them: does the judge write the spec's tags, and within the limits of critique_format?",
        )
    write_targets(run.path, targets, identity, data.holdout)
    return targets


# Training


def build_trainer(
    setup: MetaRMSetup, data: MetaRMData, run: RunFolder, listener: Listener | None = None
) -> MetaRMTrainer:
    """Load the weights and put the trainer together.

    Raises:
        InputError: No judgment is left to learn from.
    """
    stage, args = setup.stage, setup.arguments
    if not data.learned:
        raise InputError(
            "no judgment that is not held out can be encoded",
            place=", ".join(stage.data.train),
            remedy="raise metarm.max_tokens, lower data.holdout, or give more rows",
        )
    if not data.measured:
        args.eval_strategy = "no"
    metarm = MetaRM.create(
        setup.base.checkpoint,
        setup.card,
        dtype=setup.dtype,
        seed=stage.seed,
        lora=setup.adapters,
        attn_implementation=stage.model.attn_implementation,
    )
    if args.activation_checkpointing:  # the trainer would do it to a model of transformers only
        metarm.checkpoint_activations(**args.activation_checkpointing_kwargs or {})
        args.activation_checkpointing = False
    trainer = MetaRMTrainer(
        run=run,
        keep_checkpoints=stage.checkpoints.keep,
        model=metarm,
        args=args,
        data_collator=Collator(metarm.pad_id),
        train_dataset=data.learned,
        eval_dataset=data.measured or None,
        compute_metrics=measured,
        callbacks=[SealTheEnd(), SaveWhatIsMeasured(), Tell(listener or Listener())],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to the summary
    return trainer


def _write_metarm(setup: MetaRMSetup, data: MetaRMData, trainer: MetaRMTrainer, run: RunFolder) -> None:
    """Write the best state as a MetaRM's folder, whole or not at all."""
    result, targets = result_checkpoint(run.path), data.targets
    if result is None or targets is None:
        raise InputError("the run has no checkpoint", place=str(run.path), remedy="train on with --resume")
    trainer.take_weights(result.path)
    stage, manifest = setup.stage, run.read_manifest()
    trained = {
        "rows": len({lesson.id for lesson in targets.lessons}),
        **targets.to_json(data.holdout),
        "inputs": manifest["inputs"],
        "base": setup.base.identity(),
        "lora": stage.lora is not None,
        "step": result.step,
        "holdout": data.holdout,
        "quality": trainer.best,
        "seed": stage.seed,
        "reasrm": __version__,
    }
    metarm = trainer.model
    metarm.card = setup.card.model_copy(update={"trained": trained})
    with building(run.path / "metarm", unwritable=(SafetensorError,)) as made:
        metarm.save(made)


def _finished(stage: MetaRMStage, run: RunFolder) -> CheckpointInfo | None:
    return finished_checkpoint(run) if (run.path / "metarm" / CARD).is_file() else None


def _report(
    run: RunFolder, data: Mapping[str, Any], progress: Mapping[str, Any], logged: Mapping[str, Any]
) -> dict[str, Any]:
    made = run.path / "metarm"
    return {
        "metarm": str(made) if (made / CARD).is_file() else None,
        **{name: data[name] for name in ("judgments", "left_out", "lessons", "held_out")},
        "loss": logged.get("loss"),
        "quality": progress["best"],
    }


METARM = StageKind(
    name="metarm",
    set_up=set_up,
    inputs=_inputs,
    encode_data=encode_data,
    plan=plan_metarm,
    build_trainer=build_trainer,
    report=_report,
    volatile=VOLATILE | {"critique.cache", *(f"critique.{name}" for name in ANSWERED_ALIKE)},
    earlier=lambda setup: (_as_before(setup.resolved()),),
    label=label,
    seal=_write_metarm,
    finished=_finished,
)
plan, train = METARM.planned, METARM.train
