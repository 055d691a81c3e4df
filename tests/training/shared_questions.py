"""Two processes reward one batch of rollouts, whose critiques an endpoint reads: what each got, or what stopped it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from reasrm.records import Critique
from tests.rewards.rollouts import rollout
from tests.training.meta_runs import together
from tests.training.stages import write_rlvr_stage

ROWS = 7


def write_critique_stage(folder: Path, base_url: str, **options: Any) -> Path:
    """Write a stage whose reward asks an endpoint for the arguments of critiques."""
    parts = {"outcome": {"kind": "outcome"}, "critique": {"kind": "critique", "least": None}}
    model = {"extractor": "model", "model": f"openai:reader@{base_url}", "attempts": 1, **options}
    return write_rlvr_stage(folder, rewards={"parts": parts}, critique=model)


def batch() -> list[Any]:
    """Rollouts with critiques of their own, all about one reference."""
    reference = Critique(text="the reference")
    return [rollout("A", evaluation=f"text {n}", critique=reference, row_id=f"r{n}") for n in range(ROWS)]


def main(configs: list[Path]) -> None:
    """Reward the batch by each stage, and write beside its config what became of it in each process."""
    from accelerate import PartialState

    from reasrm.errors import ReasrmError
    from reasrm.training.rlvr.config import load_rlvr_stage
    from reasrm.training.rlvr.setup import build_reward_function
    from reasrm.training.stage.sharing import ask_together

    def work(rank: int) -> None:
        PartialState(cpu=True)
        for config in configs:
            reward = build_reward_function(load_rlvr_stage(config))
            try:
                found: Any = ask_together(reward, batch())
            except ReasrmError as error:
                found = [error.exit_code, str(error)]
            (config.parent / f"rank-{rank}.json").write_text(json.dumps(found))

    together(work)


if __name__ == "__main__":
    main([Path(config) for config in sys.argv[1:]])
