"""Private methods of transformers and TRL that are overridden or relied on: a change is named here first."""

from __future__ import annotations

import inspect

from transformers import Trainer
from trl.trainer.sft_trainer import SFTTrainer

from reasrm.training.checkpoints import SafeCheckpoints
from reasrm.training.guards import GuardedSteps

OVERRIDDEN = {
    "train": ["resume_from_checkpoint", "trial", "ignore_keys_for_eval"],
    "training_step": ["model", "inputs", "num_items_in_batch"],
    "log": ["logs", "start_time"],
    "_save_checkpoint": ["model", "trial"],
    "_save": ["output_dir", "state_dict"],
    "_save_optimizer_and_scheduler": ["output_dir"],
    "_save_scaler": ["output_dir"],
    "_save_rng_state": ["output_dir"],
    "_issue_warnings_after_load": ["load_result"],
    "_load_optimizer_and_scheduler": ["checkpoint"],
    "_load_scaler": ["checkpoint"],
    "_load_rng_state": ["checkpoint"],
    "_finalize_training": ["trial", "num_train_samples", "start_time"],
}
"""Methods overridden, with the parameters that the installed versions call them with."""
USED = {
    "_inner_training_loop": [
        "_tr_loss",
        "_total_loss_scalar",
        "_globalstep_last_logged",
        "_initial_global_step",
    ],
    "_run_epoch": ["on_pre_optimizer_step", "_load_rng_state", "max_grad_norm"],
    "_save_checkpoint": ["save_model", "_save_optimizer_and_scheduler", "_save_scaler", "_save_rng_state"],
    "_prepare_for_training": ["_load_optimizer_and_scheduler", "_load_scaler"],
    "_save": ["TRAINING_ARGS_NAME"],
    "_load_from_checkpoint": ["_issue_warnings_after_load", "safe_weights_file", "adapter_safe_weights_file"],
}
"""Names that the methods of transformers are relied on to use."""


def test_the_trainer_is_the_one_this_was_written_for():
    changed = []
    for name, expected in OVERRIDDEN.items():
        method = getattr(Trainer, name, None)
        found = None if method is None else list(inspect.signature(method).parameters)[1:]
        changed += [] if found == expected else [f"{name} takes {found}, not {expected}"]
    for name, words in USED.items():
        source = inspect.getsource(getattr(Trainer, name))
        changed += [f"{name} does not use {word}" for word in words if word not in source]
    source = inspect.getsource(SFTTrainer)
    changed += [
        f"SFTTrainer has no {word}" for word in ("_metrics", "_total_train_tokens") if word not in source
    ]
    assert changed == []


def test_every_private_method_overridden_is_in_the_contract():
    own = {"_run_epoch", *OVERRIDDEN}
    for mixin in (SafeCheckpoints, GuardedSteps):
        overridden = {
            name for name in vars(mixin) if hasattr(Trainer, name) and callable(getattr(Trainer, name))
        }
        assert {name for name in overridden if not name.startswith("__")} <= own
