"""Private methods of transformers and TRL that are overridden or relied on: a change is named here first."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

import reasrm
from reasrm.training.metarm.trainer import MetaRMTrainer
from reasrm.training.rlvr.config import GRPO_OWNED
from reasrm.training.rlvr.setup import _DEFAULTS
from reasrm.training.rlvr.trainer import JudgeGRPOTrainer
from reasrm.training.safety.checkpoints import SafeCheckpoints
from reasrm.training.safety.guards import GuardedSteps
from reasrm.training.stage.config import OWNED

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
        "train_dataloader=train_dataloader",
        "epoch=epoch",
    ],
    "_run_epoch": ["on_pre_optimizer_step", "_load_rng_state", "max_grad_norm"],
    "_save_checkpoint": ["save_model", "_save_optimizer_and_scheduler", "_save_scaler", "_save_rng_state"],
    "_prepare_for_training": ["_load_optimizer_and_scheduler", "_load_scaler"],
    "_save": ["TRAINING_ARGS_NAME"],
    "_load_from_checkpoint": ["_issue_warnings_after_load", "safe_weights_file", "adapter_safe_weights_file"],
}
"""Names that the methods of transformers are relied on to use."""


GRPO_OVERRIDDEN = {
    "log": ["logs", "start_time"],
    "_get_train_sampler": ["dataset"],
    "_generate_and_score_completions": ["inputs"],
    "compute_loss": ["model", "inputs", "return_outputs", "num_items_in_batch"],
    "_get_per_token_logps_and_entropies": [
        *("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"),
        *("compute_aux_loss", "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask"),
        *("spatial_shapes", "num_tiles", "image_sizes", "token_type_ids", "mm_token_type_ids"),
        "image_position_ids",
    ],
    "create_model_card": ["model_name", "dataset_name", "tags"],
}
"""The same of `GRPOTrainer`."""
GRPO_USED = {
    "__init__": [
        *("self._metrics", "self._last_loaded_step", "self.vllm_generation", "self.rollout_func ="),
        *("self._tokenizer = processing_class", "self.eos_token_ids", "self.num_iterations"),
        *("self.num_generations", "self.beta", "self.use_adaptive_entropy"),
        *("self.loss_type", "self.temperature", "self.top_p", "self.max_completion_length", "self.use_vllm"),
        *("self._entropy_bonus_enabled = self.entropy_coef != 0.0 or self.use_adaptive_entropy",),
        *("self.aux_loss_enabled", "self.top_entropy_quantile"),
        *("self.entropy_coef", "self._last_world_entropy", "create_model_from_path(get_config_model_id"),
    ],
    "get_train_dataloader": ["self._get_train_sampler"],
    "_prepare_inputs": [
        *("self._step % generate_every == 0", "self._generate_and_score_completions(generation_batch)"),
        "shuffle_sequence_dict",
    ],
    "_generate": [
        *("self.rollout_func(prompts, self)", '{"prompt_ids", "completion_ids", "logprobs"}'),
        "num_input_tokens_seen",
    ],
    "_calculate_rewards": ["prompts=prompts, completions=completions", "**reward_kwargs", "gather("],
    "_generate_and_score_completions": [
        *("self._generate(prompts)", "inp[key] = values[i]", "self._calculate_rewards(inputs, prompts"),
        *('"advantages": advantages', 'output["old_per_token_logps"]', 'output["importance_sampling_ratio"]'),
        "self.args.gradient_accumulation_steps % generate_every != 0",
    ],
    "compute_loss": ["return self._compute_loss(model, inputs)"],
    "_compute_loss": [
        *("self._get_per_token_logps_and_entropies(", 'inputs.get("old_per_token_logps")'),
        *('inputs["advantages"]', 'inputs["num_items_in_batch"]', "use_bias_correction_kl"),
        *('["grpo", "sapo"]', '== "bnpo"', '== "dr_grpo"', '["cispo", "dapo", "vespo"]'),
    ],
    "_save_checkpoint": ["self.create_model_card("],
}
"""The same of `GRPOTrainer`."""


METARM_OVERRIDDEN = {
    "get_batch_samples": ["epoch_iterator", "num_batches", "device"],
    "compute_loss": ["model", "inputs", "return_outputs", "num_items_in_batch"],
    "_load_from_checkpoint": ["resume_from_checkpoint", "model"],
    "evaluate": ["eval_dataset", "ignore_keys", "metric_key_prefix"],
    "_save": ["output_dir", "state_dict"],
    "_save_checkpoint": ["model", "trial"],
}
"""Methods that the trainer of a MetaRM overrides."""
METARM_USED = {
    "training_step": ["self.loss_is_scaled_for_ga", "num_items_in_batch=num_items_in_batch"],
    "prediction_step": ["return_outputs=True", "self.label_names"],
    "train": ["self._load_from_checkpoint(resume_from_checkpoint)"],
}
"""The same of `Trainer`, for a MetaRM."""


PRIVATE = {
    "generation/adapters.py": "_dist _fix_param_name_to_vllm _iter_named_params",
    "training/safety/checkpoints.py": """
        _finalize_training _globalstep_last_logged _initial_global_step _issue_warnings_after_load
        _load_optimizer_and_scheduler _load_rng_state _load_scaler _metrics _run_epoch _save _save_checkpoint
        _save_optimizer_and_scheduler _save_rng_state _save_scaler _total_loss_scalar _total_train_tokens _tr_loss
    """,
    "training/safety/guards.py": "_save_checkpoint",
    "training/rlvr/trainer.py": """
        _generate_and_score_completions _get_per_token_logps_and_entropies _get_train_sampler _last_world_entropy
    """,
    "training/metarm/trainer.py": "_load_from_checkpoint _save _save_checkpoint",
    "training/rlvr/rollouts.py": "_last_loaded_step _metrics",
    "training/sft/stage.py": "_total_train_tokens",
}
"""Every private name of TRL's and transformers' trainers that is used, overridden or not, by file. Fewer are better."""
SAME_WORD = {"generation/hf.py": "_tokenizer", "generation/sampling.py": "_step"}
"""Names of our own that a trainer has, too."""


def private_names(trainer: type[Any]) -> set[str]:
    """Return the private methods and attributes of a trainer, from the files that it is made of."""
    files = {inspect.getfile(kind) for kind in trainer.__mro__[:-1]}
    text = "".join(Path(file).read_text(encoding="utf-8") for file in files)
    return set(re.findall(r"(?:\bself\.|^    def )(_(?!_)\w+)", text, re.MULTILINE))


def mentioned(path: Path) -> set[str]:
    """Return the names of attributes, of methods of classes, and in texts, of a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                names.add(name)
            case ast.ClassDef(body=body):
                names |= {part.name for part in body if isinstance(part, ast.FunctionDef)}
    return names


def test_every_private_name_is_known():
    """What an upgrade moves, and what is newly relied on, is seen here."""
    theirs = set().union(*map(private_names, (Trainer, SFTTrainer, GRPOTrainer, VLLMGeneration)))
    found = {}
    package = Path(reasrm.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(r"^(from|import) (trl|transformers)\b", text, re.MULTILINE) or "VLLMGeneration" in text:
            found[path.relative_to(package).as_posix()] = mentioned(path) & theirs
    for name, same in SAME_WORD.items():
        found[name] -= {same}
    assert {name: names for name, names in found.items() if names} == {
        name: set(names.split()) for name, names in PRIVATE.items()
    }


def changes(
    trainer: type[Any], overridden: Mapping[str, Sequence[str]], used: Mapping[str, Sequence[str]]
) -> list[str]:
    """Name what is not as it was."""
    changed = []
    for name, expected in overridden.items():
        method = getattr(trainer, name, None)
        found = None if method is None else list(inspect.signature(method).parameters)[1:]
        changed += (
            [] if found == list(expected) else [f"{trainer.__name__}.{name} takes {found}, not {expected}"]
        )
    for name, words in used.items():
        source = inspect.getsource(getattr(trainer, name))
        changed += [f"{trainer.__name__}.{name} does not use {word}" for word in words if word not in source]
    return changed


def test_the_trainer_is_the_one_that_a_metarm_was_written_for():
    assert changes(Trainer, METARM_OVERRIDDEN, METARM_USED) == []


def test_the_trainer_is_the_one_this_was_written_for():
    changed = changes(Trainer, OVERRIDDEN, USED)
    source = inspect.getsource(SFTTrainer)
    changed += [
        f"SFTTrainer has no {word}" for word in ("_metrics", "_total_train_tokens") if word not in source
    ]
    assert changed == []


def test_the_grpo_trainer_is_the_one_this_was_written_for():
    changed = changes(GRPOTrainer, GRPO_OVERRIDDEN, GRPO_USED)
    changed += changes(
        VLLMGeneration,
        {"generate": ["prompts", "images", "num_generations", "profiler"], "sync_weights": []},
        {"generate": ["temperature = self.temperature"]},
    )
    fields = {field.name for field in dataclasses.fields(GRPOConfig)}
    changed += [f"GRPOConfig has no {name}" for name in _DEFAULTS if name not in fields]
    changed += [f"GRPOConfig has no {name}" for name in GRPO_OWNED if name not in fields | OWNED.keys()]
    assert changed == []


def test_every_method_overridden_is_in_the_contract():
    for mixins, trainer, own in (
        ((SafeCheckpoints, GuardedSteps), Trainer, {"_run_epoch", *OVERRIDDEN}),
        ((JudgeGRPOTrainer,), GRPOTrainer, GRPO_OVERRIDDEN.keys()),
        ((MetaRMTrainer,), Trainer, METARM_OVERRIDDEN.keys()),
    ):
        for mixin in mixins:
            overridden = {name for name in vars(mixin) if callable(getattr(trainer, name, None))}
            assert {name for name in overridden if not name.startswith("__")} <= set(own)
