"""Run one `reasrm` command in this process, and write what it took beside its own summary.

    python benchmarks/measured.py PEAK.json VERB [flags of the verb]

The command is the real one, its exit code is kept. `peak_gib` is what PyTorch held at most on the GPU, or, on a CPU,
how far the resident memory rose above what it was once the libraries were imported. A program of its own, so that
`accelerate launch` can start it; only the main process writes.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

# `python benchmarks/measured.py` puts benchmarks/ first on the import path; the package lies one folder up.
sys.path[0] = str(Path(__file__).resolve().parents[1])


def _status(name: str) -> float:
    """Return a field of /proc/self/status in GiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def main() -> None:
    """Measure the command given by the arguments."""
    output, words = Path(sys.argv[1]), sys.argv[2:]
    import torch

    for module in ("trl", "peft", "transformers.trainer", f"reasrm.training.{words[0]}.stage"):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:
            continue
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # begins the high-water mark anew
    began = time.perf_counter()

    def write() -> None:
        if int(os.environ.get("RANK", "0")):
            return
        on_gpu = torch.cuda.is_available()
        peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else _status("VmHWM") - before
        seconds = time.perf_counter() - began
        output.write_text(json.dumps({"peak_gib": round(peak, 3), "seconds": round(seconds, 2)}))

    leave = os._exit

    def end(code: int) -> NoReturn:
        write()
        leave(code)

    atexit.register(write)
    os._exit = end  # by which a command ends whose code is not 0, past what is registered
    sys.argv = ["reasrm", *words]
    from reasrm.cli import main as command

    command()


if __name__ == "__main__":
    main()
