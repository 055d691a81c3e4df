"""A MetaRM's cold start and its loop under DeepSpeed ZeRO-2 in bfloat16, each in two forks of one program.

Started as `python -m tests.training.zero_runs FOLDER READOUT`, with DS_ACCELERATOR=cpu.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.commands import ROOT
from tests.training.meta_runs import GROUP, together, train, write_meta_stage
from tests.training.metarm_stages import write_metarm_stage

ZERO_2 = {
    "ACCELERATE_USE_CPU": "false",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": str(ROOT / "configs" / "deepspeed" / "zero2.json"),
    "ACCELERATE_DEEPSPEED_ZERO3_INIT": "false",
}
"""What `accelerate launch` sets for configs/accelerate/cpu-2-zero2.yaml."""


def main(folder: Path, readout: str) -> None:
    """Leave `cold` and `loop` in the folder."""
    import deepspeed
    import torch

    from reasrm.training.metarm import stage as metarm_stage
    from reasrm.training.metarm.config import load_metarm_stage
    from reasrm.training.rlvr import stage as rlvr  # noqa: F401  (imported once, for both forks)

    # Compiling DeepSpeed's own operator for processes of one machine takes a minute; without it gloo is used.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    torch.set_num_threads(1)
    batch = {"max_steps": 2, "per_device_train_batch_size": 2}
    cold = write_metarm_stage(folder, count=2, metarm={"readout": readout}, trainer=batch)
    stage = load_metarm_stage(cold, ["trainer.bf16=true"])
    together(lambda rank: metarm_stage.train(stage, str(cold), folder / "cold") and None, **ZERO_2)
    metarm = {"path": str(folder / "cold"), "learning_rate": 1e-3, "rows_per_step": None, "dtype": "bfloat16"}
    short = {"max_steps": 2, "save_steps": 2, "num_iterations": 1, "per_device_train_batch_size": GROUP}
    loop = write_meta_stage(folder, metarm={**metarm, "bonus_scale": "calibrated"}, trainer=short)
    together(lambda rank: train(loop, folder / "loop", "trainer.bf16=true"), **ZERO_2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
