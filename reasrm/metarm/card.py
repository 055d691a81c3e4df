"""What a MetaRM's folder says about itself: what it reads, what its number means, what it was trained on.

A folder holds `metarm.json` (this card) and `member-<i>/`, each a model folder of transformers in safetensors.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from reasrm.config import Config
from reasrm.protocol.spec import JudgeSpec

__all__ = ["CARD", "Form", "MetaCard", "Readout", "Target"]

CARD = "metarm.json"

Readout = Literal["last_token", "likelihood"]
Form = Literal["judge", "plain"]
Target = Literal["reward", "process"]


class MetaCard(Config):
    """The identity of a MetaRM.

    Args:
        form: `judge`: the prompt that a judge gets, then the critique in its tag; `plain`: conversation and responses
            between tags, no chat template (RM-NLHF's form; the one for encoders). Neither shows the verdict.
        spec: Whose prompt and whose tags, for the form `judge`; whose verdict is hidden, for both.
        readout: `last_token`: sequence classification with one output (RM-NLHF); `likelihood`: ours, see `model.py`.
        target: `reward`: right + weight · p for right verdicts, else 0 (RM-NLHF: 0, 1, 1.5); `process`: p of right
            verdicts, others are not learned from (ours). p is the critique part of the reward.
        weight: Of p in the target.
        members: Independent models; their mean is the score, their variance its doubt.
        max_tokens: Longest input.
        process: How p was computed: the reward part and the critique section, for comparison.
        trained: What it was trained on: counts, hashes, base.
    """

    version: Literal[1] = 1
    form: Form = "judge"
    spec: JudgeSpec
    readout: Readout = "last_token"
    target: Target = "reward"
    weight: PositiveFloat = 0.5
    members: PositiveInt = 1
    max_tokens: PositiveInt = Field(default=10_240)
    process: dict[str, Any] = Field(default_factory=dict)
    trained: dict[str, Any] = Field(default_factory=dict)

    @property
    def auto_class(self) -> str:
        """What transformers loads a member by."""
        return (
            "AutoModelForCausalLM" if self.readout == "likelihood" else "AutoModelForSequenceClassification"
        )

    @property
    def task(self) -> str:
        """What a member is for, as peft names it."""
        return "CAUSAL_LM" if self.readout == "likelihood" else "SEQ_CLS"
