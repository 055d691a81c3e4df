"""What a bug report needs: versions, devices, paths. Imports nothing heavy to find out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import reasrm

__all__ = ["describe_environment"]

_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "tokenizers",
    "openai",
    "vllm",
    "deepspeed",
    "flash-attn",
)


def describe_environment() -> dict[str, Any]:
    """Return versions of what matters (null where absent), CPU and GPU, and where files come from."""
    return {
        "reasrm": reasrm.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "package_folder": str(Path(reasrm.__file__).parent),
        "hf_home": os.environ.get("HF_HOME"),
        "openai_api_key_set": bool(os.environ.get("OPENAI_API_KEY")),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    result = subprocess.run(query, capture_output=True, text=True, check=False)
    return result.stdout.strip().splitlines() if result.returncode == 0 else []
