"""`reasrm`: train judges that read a prompt and responses, reason in writing, and end with a verdict.

Names are loaded on first use, so that importing the package costs nothing and never imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "CandidateSet": "reasrm.records",
    "Comparison": "reasrm.records",
    "Judge": "reasrm.judging.judge",
    "JudgingOptions": "reasrm.judging.plan",
    "JudgeSpec": "reasrm.protocol.spec",
    "Judgment": "reasrm.records",
    "Message": "reasrm.records",
    "ParseStatus": "reasrm.records",
    "PreferencePair": "reasrm.records",
    "RowFailure": "reasrm.judging.judge",
    "RowResult": "reasrm.judging.aggregate",
    "Rubric": "reasrm.records",
    "SamplingParams": "reasrm.requests",
    "Verdict": "reasrm.records",
    "as_reward": "reasrm.judging.reward_function",
    "curate": "reasrm.api",
    "distil": "reasrm.api",
    "evaluate": "reasrm.api",
    "export_judge": "reasrm.export",
    "judge_file": "reasrm.judging.batch",
    "load_spec": "reasrm.protocol.spec",
    "open_judge": "reasrm.judging.judge",
    "train": "reasrm.api",
}
__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from reasrm.api import curate as curate
    from reasrm.api import distil as distil
    from reasrm.api import evaluate as evaluate
    from reasrm.api import train as train
    from reasrm.export import export_judge as export_judge
    from reasrm.judging.aggregate import RowResult as RowResult
    from reasrm.judging.batch import judge_file as judge_file
    from reasrm.judging.judge import Judge as Judge
    from reasrm.judging.judge import RowFailure as RowFailure
    from reasrm.judging.judge import open_judge as open_judge
    from reasrm.judging.plan import JudgingOptions as JudgingOptions
    from reasrm.judging.reward_function import as_reward as as_reward
    from reasrm.protocol.spec import JudgeSpec as JudgeSpec
    from reasrm.protocol.spec import load_spec as load_spec
    from reasrm.records import CandidateSet as CandidateSet
    from reasrm.records import Comparison as Comparison
    from reasrm.records import Judgment as Judgment
    from reasrm.records import Message as Message
    from reasrm.records import ParseStatus as ParseStatus
    from reasrm.records import PreferencePair as PreferencePair
    from reasrm.records import Rubric as Rubric
    from reasrm.records import Verdict as Verdict
    from reasrm.requests import SamplingParams as SamplingParams
else:

    def __getattr__(name: str) -> object:
        """Import a public name from its home on first use. Type checkers see the imports above."""
        if name not in _HOMES:
            raise AttributeError(f"module 'reasrm' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List public names for completion."""
    return sorted(__all__)
