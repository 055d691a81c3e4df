"""Weights as trained → weights of one plain model: loaded from safetensors, adapters merged, number format changed.

Adapters are merged in float32, whatever they were trained in: in half precision a merge rounds twice. peft's own
loader is not used: it falls back to pickles and to the hub where a file is missing, and its config can name modules to
import. The adapter's config is read as data, and only settings that leave the base weights alone are taken.
"""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from reasrm.errors import ConfigError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.generation.hf import DTYPES

__all__ = [
    "attach_adapter",
    "bytes_as",
    "cast",
    "load_model",
    "merge",
    "stored_weights",
    "weight_files",
]

_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}
_ADAPTER_CONFIG, _ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TAKEN = frozenset(
    (
        *("r", "lora_alpha", "target_modules", "exclude_modules", "fan_in_fan_out", "bias", "use_rslora"),
        *("modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern"),
        *("use_dora", "lora_bias", "target_parameters", "trainable_token_indices", "ensure_weight_tying"),
    )
)
_IGNORED = frozenset(
    (
        *("task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
        *("lora_dropout", "init_lora_weights", "loftq_config", "eva_config", "corda_config", "auto_mapping"),
        *("megatron_core", "qalora_group_size", "runtime_config", "lora_ga_config"),
    )
)
_HARMLESS_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a model's weights: one, or those that its index names.

    Raises:
        ConfigError: The index is damaged, or names a file that is absent or lies elsewhere.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("is no index of weight files", place=str(index)) from error
    for name in names:
        plain = isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
        if not plain or not (folder / name).is_file():
            raise ConfigError(f"names {name!r}, which is no weight file of this folder", place=str(index))
    return [folder / name for name in names]


def stored_weights(files: list[Path]) -> tuple[str, dict[str, int]]:
    """Read from the headers of weight files in which number format most weights are, and the count of each.

    Raises:
        ConfigError: A file is absent or damaged, or most weights are in no format that can be exported.
    """
    counts: Counter[str] = Counter()
    for path in files:
        try:
            with safe_open(path, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118  (no mapping)
                    part = tensors.get_slice(name)
                    counts[part.get_dtype()] += math.prod(part.get_shape())
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"cannot be read as safetensors: {error}", place=str(path)) from error
    most = counts.most_common(1)[0][0] if counts else "none"
    if most not in _STORED:
        known = ", ".join(_STORED.values())
        raise ConfigError(
            f"weights are stored as {most}, not as one of {known}",
            place=str(files[0].parent),
            remedy="export unquantised weights",
        )
    return _STORED[most], dict(counts)


def load_model(checkpoint: Checkpoint, dtype: str, device: torch.device) -> Any:
    """Load a model in a number format, for inference, and see that every weight came from the files.

    Raises:
        ConfigError: transformers cannot load it, or would make up weights that the files lack.
    """
    model, info = checkpoint.load(
        "AutoModelForCausalLM", dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True
    )
    model = model.to(device)
    for fault in ("missing_keys", "mismatched_keys"):
        if info[fault]:
            names = sorted(map(str, info[fault]))
            raise ConfigError(
                f"{len(names)} weights are {fault.removesuffix('_keys')}, such as {names[0]!r}",
                place=checkpoint.path,
                remedy="name a folder that holds all weights of the model that its config describes",
            )
    return model.eval()


def attach_adapter(model: Any, folder: Path) -> Any:
    """Put a LoRA adapter into a model, not merged, and return peft's wrapper around it.

    The model itself computes with the adapter from here on. Ask it and not the wrapper, whose `generate` writes over
    the model's generation config.

    Raises:
        ConfigError: The adapter is of another kind, changes the base weights, or does not fit the model.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    settings = _adapter_settings(folder)
    try:
        tensors = load_file(folder / _ADAPTER_WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ConfigError(
            f"cannot be read as safetensors: {error}", place=str(folder / _ADAPTER_WEIGHTS)
        ) from error
    try:
        config = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, inference_mode=True, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            adapted = get_peft_model(model, config)
        loaded: Any = set_peft_model_state_dict(adapted, tensors)
        wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ConfigError(
            f"the adapter does not fit the base model: {str(error).splitlines()[0]}",
            place=str(folder),
            remedy="name the base model that the adapter was trained on",
        ) from error
    odd = sorted({*loaded.unexpected_keys, *(wanted - tensors.keys())})
    if odd:
        raise ConfigError(
            f"{len(odd)} weights of the adapter are unknown or missing, such as {odd[0]!r}",
            place=str(folder),
            remedy="name the base model that the adapter was trained on",
        )
    return adapted.eval()


def _adapter_settings(folder: Path) -> dict[str, Any]:
    path = folder / _ADAPTER_CONFIG
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError("is no config of an adapter", place=str(path)) from error
    if not isinstance(found, dict) or found.get("peft_type") != "LORA":
        kind = found.get("peft_type") if isinstance(found, dict) else None
        raise ConfigError(f"the adapter is of kind {kind!r}; only LORA can be exported", place=str(path))
    start = found.get("init_lora_weights")
    if start not in _HARMLESS_STARTS:
        raise ConfigError(
            f"init_lora_weights is {start!r}, which changes the base model's own weights",
            place=str(path),
            remedy="merge it with the program that trained it, and export the result with --model",
        )
    for name, value in found.items():
        if value and name not in _TAKEN | _IGNORED:
            raise ConfigError(f"{name!r} is set, which cannot be merged", place=str(path))
    return {name: found[name] for name in sorted(_TAKEN & found.keys())}


def merge(adapted: Any) -> Any:
    """Merge an attached adapter into its model, in place, and return the plain model.

    Raises:
        ConfigError: The merged weights are not finite.
    """
    model = adapted.merge_and_unload(safe_merge=False)
    _check_finite(model)
    return model


def cast(model: Any, dtype: str) -> Any:
    """Round a model's weights to a number format, in place. Its buffers, such as rotary frequencies, stay exact.

    Raises:
        ConfigError: Some weights are too large for it.
    """
    for weight in model.parameters():
        weight.data = weight.data.to(DTYPES[dtype])
    _check_finite(model)
    return model


def _check_finite(model: Any) -> None:
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ConfigError(
                f"the weight {name!r} is not finite in {str(weight.dtype).removeprefix('torch.')}",
                remedy="export an earlier checkpoint, or with --dtype float32",
            )


def bytes_as(counts: dict[str, int], dtype: str | None) -> int:
    """Return the bytes of weights counted by `stored_weights`, as stored (None) or in another format."""
    size = None if dtype is None else DTYPES[dtype].itemsize
    return sum(number * (size or _BYTES.get(kind, 8)) for kind, number in counts.items())
