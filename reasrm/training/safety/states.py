"""The state of optimizers, schedulers and random generators as safetensors and JSON, equal to the last bit.

A state is a tree of dicts, lists, tuples, numbers, text and tensors. Tensors go to `NAME-<i>.safetensors`, all else to
`NAME.json`, where an object with one key that starts with `$` stands for what JSON lacks: `$tensor`, `$tuple`,
`$map` (a dict whose keys are not all text) and `$float` (NaN and infinities). Reading builds these and nothing else.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from reasrm.errors import InternalError

__all__ = ["load_state", "random_states", "restore_random_states", "save_state"]

_SHARD_BYTES = 2 * 2**30


def save_state(folder: Path, name: str, state: Any, *, shard_bytes: int = _SHARD_BYTES) -> None:
    """Write a state as `NAME.json` and, for its tensors, `NAME-<i>.safetensors`.

    Args:
        folder: Where; made if absent.
        name: First part of the file names.
        state: A tree of dicts, lists, tuples, numbers, text and tensors.
        shard_bytes: Begin another file of tensors at this size.

    Raises:
        InternalError: The state holds something else; the path to it is named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {}
    tree = _encode(state, tensors, "")
    shard: dict[str, torch.Tensor] = {}
    num_shards = size = 0
    for key, tensor in tensors.items():
        # A copy of its own: safetensors refuses two names for one storage.
        shard[key] = tensor.detach().cpu().contiguous().clone()
        size += shard[key].nbytes
        if size >= shard_bytes:
            save_file(shard, folder / f"{name}-{num_shards}.safetensors")
            shard, num_shards, size = {}, num_shards + 1, 0
    if shard:
        save_file(shard, folder / f"{name}-{num_shards}.safetensors")
        num_shards += 1
    document = {"num_shards": num_shards, "state": tree}
    (folder / f"{name}.json").write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def load_state(folder: Path, name: str) -> Any:
    """Return a state that `save_state` wrote, its tensors on the CPU."""
    document = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    tensors: dict[str, torch.Tensor] = {}
    for number in range(document["num_shards"]):
        # Copied, since what is loaded is a view of the file, and the file will be removed some day.
        shard = load_file(folder / f"{name}-{number}.safetensors")
        tensors |= {key: tensor.clone() for key, tensor in shard.items()}
    return _decode(document["state"], tensors)


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of all global generators: Python, numpy, torch and the device's own."""
    kind, keys, position, has_gauss, cached = np.random.get_state()
    states = {
        "python": random.getstate(),
        "numpy": (kind, [int(key) for key in keys], position, has_gauss, cached),
        "torch": _hex(torch.get_rng_state()),
    }
    if device.type != "cpu":
        states["device"] = _hex(torch.get_device_module(device).get_rng_state())
    return states


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the global generators back to what `random_states` returned."""
    random.setstate(states["python"])
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_unhex(states["torch"]))
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(_unhex(states["device"]))


def _hex(state: torch.Tensor) -> str:
    return bytes(state.cpu().tolist()).hex()


def _unhex(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)


def _encode(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[path] = value
        return {"$tensor": path}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(child, tensors, f"{path}.{i}") for i, child in enumerate(value)]}
    if isinstance(value, list):
        return [_encode(child, tensors, f"{path}.{i}") for i, child in enumerate(value)]
    if isinstance(value, dict):
        if all(type(key) is str and not key.startswith("$") for key in value):
            return {key: _encode(child, tensors, f"{path}.{key}") for key, child in value.items()}
        pairs = (([key, child], f"{path}.{key}") for key, child in value.items())
        return {"$map": [_encode(pair, tensors, where) for pair, where in pairs]}
    raise InternalError(f"a checkpoint cannot keep {type(value).__name__} at {path or 'its top'}")


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(child, tensors) for child in value]
    if not isinstance(value, dict):
        return value
    content: Any
    tag, content = next(iter(value.items()), ("", None))
    if tag == "$tensor":
        return tensors[content]
    if tag == "$float":
        return float(content)
    if tag == "$tuple":
        return tuple(_decode(child, tensors) for child in content)
    if tag == "$map":
        return {_decode(key, tensors): _decode(child, tensors) for key, child in content}
    return {key: _decode(child, tensors) for key, child in value.items()}
