"""The cold start of a MetaRM: judgments with human critiques in, a regression model of their reward out.

Source: RM-NLHF (arXiv 2601.07349, released cold-start script): sequence classification with one output from the
policy's base, four judgments of the base per row with a human critique, squared error, three epochs, 5 % of the rows
held out. Deviations: which rows are held out follows from their ids, so that no two judgments of one row are on both
sides and the loop of RLVR holds out the same ones; the checkpoint with the least held-out error is the result; batches
are padded on the right.

A run holds, beside what every run holds, `rollouts.jsonl` (the judgments, as `reasrm judge` writes them),
`targets.jsonl` (what each is worth), `best.json`, and at the end `metarm/`, the folder that `reasrm metarm score` and
RLVR take.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from safetensors import SafetensorError
from transformers.trainer_callback import PrinterCallback

from reasrm import __version__
from reasrm.config import ANSWERED_ALIKE
from reasrm.durable import building
from reasrm.errors import InputError, RowError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.hashing import digest
from reasrm.metarm.card import CARD
from reasrm.metarm.holdout import is_held_out
from reasrm.metarm.model import MetaRM
from reasrm.runs import CheckpointInfo, RunFolder, result_checkpoint
from reasrm.tables import content_sha256
from reasrm.training.metarm_config import MetaRMStage
from reasrm.training.metarm_rows import (
    MetaRMData,
    draw_judgments,
    overlap_warning,
    read_comparisons,
    read_judgments,
    summarise,
)
from reasrm.training.metarm_setup import MetaRMSetup, open_policy, plan, policy_path, set_up
from reasrm.training.metarm_targets import (
    MetaTarget,
    Targets,
    make_targets,
    read_targets,
    wait_for_targets,
    write_targets,
)
from reasrm.training.metarm_trainer import (
    Collator,
    MetaExample,
    MetaRMTrainer,
    SaveWhatIsMeasured,
    measured,
    member_weights,
)
from reasrm.training.sharing import note_server
from reasrm.training.stage import (
    VOLATILE,
    Listener,
    SealTheEnd,
    Tell,
    absolute,
    engine_files,
    finished_checkpoint,
    read_trainer_state,
    run_stage,
    stopped,
    train_unless_stopped,
    write_data,
)
from reasrm.training.states import load_state

__all__ = ["MetaRMSetup", "build_trainer", "encode", "encode_data", "plan", "set_up", "train"]

_HOW = ANSWERED_ALIKE | {"backend", "batch_size"}
_VOLATILE = VOLATILE | {f"rollouts.{name}" for name in _HOW}
_VOLATILE |= {"critique.cache", *(f"critique.{name}" for name in ANSWERED_ALIKE)}


# What is learned from


def encode_data(setup: MetaRMSetup, listener: Listener | None = None) -> MetaRMData:
    """Read the comparisons of a stage.

    Raises:
        InputError: A file cannot be read, or none of its rows can be learned from.
    """
    listener = listener or Listener()
    listener.say(f"reading {', '.join(setup.stage.data.train)}")
    data = read_comparisons(setup.stage, setup.spec, listener.rows)
    if warning := overlap_warning(data, setup.stage.data.holdout):
        listener.say(warning)
    return data


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


# Training


def train(
    stage: MetaRMStage,
    place: str,
    folder: Path,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    allow_other_server: bool = False,
) -> dict[str, Any]:
    """Train a MetaRM and return the summary; every process of a launch calls this.

    A signal ends it with a summary that says `interrupted` and the `exit_code`, in training with a checkpoint.

    Args:
        stage: The config.
        place: Its file, for errors.
        folder: The run folder.
        resume: Go on with the run in the folder, from its last whole checkpoint; a finished one is left alone.
        listener: Who is told, in this process.
        allow_other_server: Draw on where another server or served model answered for the policy before.

    Raises:
        ReasrmError: See `set_up`, `encode_data` and `RunFolder.open`.
        RewardProblem: A part of the reward threw; the row is named.
    """
    listener = listener or Listener()
    path = absolute(folder)
    setup = set_up(stage, place, path / "checkpoints")
    return run_stage(
        setup,
        path,
        _inputs(stage),
        resume,
        lambda run: _train(setup, run, listener, resume, allow_other_server),
        # The judgments keep which model drew them, and refuse another one.
        _VOLATILE | ({"rollouts.policy"} if allow_other_server else set()),
    )


def _inputs(stage: MetaRMStage) -> dict[str, Path]:
    """Return the files that a run reads besides its config and its models."""
    files = {"train": stage.data.train, "judgments": stage.rollouts.judgments}
    inputs = {f"{name}:{n}": Path(file) for name, paths in files.items() for n, file in enumerate(paths)}
    return inputs | engine_files(stage)


def _train(
    setup: MetaRMSetup, run: RunFolder, listener: Listener, resume: bool, allow_other_server: bool
) -> dict[str, Any]:
    data = encode_data(setup, listener)
    identity = _identity(setup)
    if run.writable:
        made = _make(setup, run, data, identity, listener, allow_other_server)
        if isinstance(made, int):
            return {"stage": "metarm", "run": str(run.path), **stopped(made)}
        targets = made
    else:
        targets = wait_for_targets(run.path, identity)
    if resume and finished_checkpoint(run) and (run.path / "metarm" / CARD).is_file():
        listener.say(f"{run.path} is finished; nothing is left to do")
        return _summary(run)
    trainer = build_trainer(setup, data, targets, run, listener)
    if train_unless_stopped(trainer, listener, resume):
        step = trainer.state.global_step
        return {"stage": "metarm", "run": str(run.path), "steps": step, **stopped(listener.stop.signum)}
    if not run.writable:
        return {}
    _write_metarm(setup, trainer, run, targets)
    return _summary(run)


def _identity(setup: MetaRMSetup) -> str:
    """Return a hash of all that the targets depend on."""
    stage = setup.stage
    wanted = {"data", "rollouts", "rewards", "critique", "seed"}
    config = stage.model_dump(mode="json", include=wanted)
    config["rollouts"] = {name: v for name, v in config["rollouts"].items() if name not in _HOW}
    config["critique"] = stage.critique.meaning()
    policy = policy_path(stage)
    folder = Checkpoint(policy)
    return digest(
        {
            "config": config,
            "files": {name: content_sha256(path) for name, path in _inputs(stage).items()},
            "spec": setup.spec.hash,
            "policy": folder.fingerprint() if folder.is_local and not stage.rollouts.judgments else policy,
            "target": [setup.card.target, setup.card.weight],
            "reasrm": __version__,
        }
    )


def _make(
    setup: MetaRMSetup,
    run: RunFolder,
    data: MetaRMData,
    identity: str,
    listener: Listener,
    allow_other_server: bool,
) -> Targets | int:
    """Return the targets, made before or now; or the signal that ended the drawing."""
    found = read_targets(run.path, identity)
    if found is not None:
        return found
    for backend in setup.asked:
        note_server(run, "critique", backend, listener.say)
    stage = setup.stage
    files = [Path(file) for file in stage.rollouts.judgments]
    if not files:
        files = [run.path / "rollouts.jsonl"]
        listener.say(
            f"drawing {stage.rollouts.per_row} judgments per row and order of {len(data.rows):,} rows"
        )
        drawn = draw_judgments(
            stage,
            open_policy(setup),
            data,
            files[0],
            lambda done, total: listener.counts("rows judged", done, total),
            say=listener.say,
            allow_other_server=allow_other_server,
        )
        if drawn.signum is not None:
            return drawn.signum
        if drawn.tally.errors:
            listener.say(f"warning: {drawn.tally.errors} rows could not be judged, see {drawn.errors}")
        if not drawn.tally.rows:
            raise InputError(
                "no row could be judged", place=str(drawn.errors), remedy="see the reasons there"
            )
    targets = make_targets(
        stage,
        setup.spec,
        data,
        read_judgments(files, setup.spec),
        setup.reward,
        lambda done, total: listener.counts("critiques scored", done, total),
    )
    _expect_some(targets, files)
    write_targets(run.path, targets, identity, stage.data.holdout)
    return targets


def _expect_some(targets: Targets, files: Sequence[Path]) -> None:
    place = ", ".join(map(str, files))
    if not targets.num_judgments:
        raise InputError(
            "no judgment there is about a row of data.train",
            place=place,
            remedy="name the judgments of these rows; ids must be equal",
        )
    if not targets.lessons:
        reasons = ", ".join(f"{count} {code}" for code, count in targets.left_out.most_common())
        raise InputError(
            f"none of {targets.num_judgments} judgments can be learned from: {reasons}",
            place=place,
            remedy="look at them: does the policy write the spec's tags, and within the limits of critique_format?",
        )


def build_trainer(
    setup: MetaRMSetup, data: MetaRMData, targets: Targets, run: RunFolder, listener: Listener | None = None
) -> MetaRMTrainer:
    """Encode the judgments, load the weights and put the trainer together.

    Raises:
        InputError: No judgment is left to learn from.
    """
    stage, args, listener = setup.stage, setup.arguments, listener or Listener()
    held_out = {lesson.id for lesson in targets.lessons if is_held_out(lesson.id, stage.data.holdout)}
    parts = [[e for e in targets.lessons if (e.id in held_out) is out] for out in (False, True)]
    learned, measured_on = (encode(setup, data, part, targets) for part in parts)
    if run.writable:
        write_data(run, data.dropped, {**summarise(data), **targets.to_json(stage.data.holdout)})
        _say_data(data, targets, listener)
    if not learned:
        raise InputError(
            f"none of {len(parts[0])} judgments can be encoded",
            place=", ".join(stage.data.train),
            remedy="raise metarm.max_tokens, lower data.holdout, or give more rows",
        )
    if not measured_on:
        args.eval_strategy = "no"
        if stage.data.holdout:
            listener.say("warning: no judgment is held out, so nothing is measured; raise data.holdout")
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
        train_dataset=learned,
        eval_dataset=measured_on or None,
        compute_metrics=measured,
        callbacks=[SealTheEnd(), SaveWhatIsMeasured(), Tell(listener)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which belongs to the summary
    return trainer


def _say_data(data: MetaRMData, targets: Targets, listener: Listener) -> None:
    if data.dropped:
        reasons = ", ".join(f"{count} {code}" for code, count in summarise(data)["dropped"].items())
        listener.say(f"warning: {len(data.dropped)} rows left out ({reasons}), {len(data.rows)} kept")
    reasons = ", ".join(f"{count} {code}" for code, count in targets.left_out.most_common()) or "none"
    listener.say(f"{targets.num_judgments} judgments, left out: {reasons}; targets {_shares(targets)}")


def _shares(targets: Targets) -> str:
    """Return how the targets are spread, in words."""
    values = [lesson.target for lesson in targets.lessons]
    kinds = sorted(set(values))
    if len(kinds) > 4:
        return f"mean {statistics.fmean(values):.3f}, deviation {statistics.pstdev(values):.3f}"
    return ", ".join(f"{kind:g}: {values.count(kind) / len(values):.0%}" for kind in kinds)


def _write_metarm(setup: MetaRMSetup, trainer: MetaRMTrainer, run: RunFolder, targets: Targets) -> None:
    """Write the best state as a MetaRM's folder, whole or not at all."""
    result = _result(run)
    trainer.take_weights(result.path)
    stage, manifest = setup.stage, run.read_manifest()
    trained = {
        "rows": len({lesson.id for lesson in targets.lessons}),
        **targets.to_json(stage.data.holdout),
        "inputs": manifest["inputs"],
        "base": setup.base.identity(),
        "policy": None if stage.rollouts.judgments else policy_path(stage),
        "lora": stage.lora is not None,
        "step": result.step,
        "holdout": stage.data.holdout,
        "quality": trainer.best,
        "seed": stage.seed,
        "reasrm": __version__,
    }
    metarm = trainer.model
    metarm.card = setup.card.model_copy(update={"trained": trained})
    with building(run.path / "metarm", unwritable=(SafetensorError,)) as made:
        metarm.save(made)


def _result(run: RunFolder) -> CheckpointInfo:
    result = result_checkpoint(run.path)
    if result is None:
        raise InputError("the run has no checkpoint", place=str(run.path), remedy="train on with --resume")
    return result


def _summary(run: RunFolder) -> dict[str, Any]:
    """Return what became of a run, read from what it wrote."""
    last = finished_checkpoint(run) or _result(run)
    data = orjson.loads((run.path / "data.json").read_bytes())
    progress = load_state(last.path, "rank-0")["progress"]
    losses = [logs["loss"] for logs in read_trainer_state(last)["log_history"] if "loss" in logs]
    return {
        "stage": "metarm",
        "run": str(run.path),
        "metarm": str(run.path / "metarm"),
        "checkpoint": str(_result(run).path),
        **{name: data[name] for name in ("rows", "dropped", "judgments", "left_out", "lessons", "held_out")},
        "steps": last.step,
        "skipped_steps": progress["skipped"][0],
        "loss": losses[-1] if losses else None,
        "quality": progress["best"],
    }
