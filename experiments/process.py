"""RM-NLHF's and RationaleRM's claims in kind: what a reward on the critique adds to a reward on the verdict.

Arms of RL from one start, a judge distilled from a teacher that is careless in 70 % of its traces (40 % elsewhere):
half of the careless verdicts follow the polite opening, so rejection by label keeps many right verdicts with wrong
reasons. Every arm has the same rows, updates and rollouts, and all but `AP × outcome` the same format rule. A quarter
of the rows keeps its critique where an arm says 25 %. The MetaRM's cold start, from the base, sees judgments of the
start about that quarter and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.arms import Bench, SandboxLab, Trained
from reasrm.config import parse_config
from reasrm.demo.config import DemoConfig, RLConfig
from reasrm.rewards.config import RewardSection
from reasrm.scorers.config import CritiqueSection
from reasrm.training.rlvr.config import MetaRewardSection

__all__ = ["careless", "run_process"]

_SHARE = 0.25
_STEPS = 4 / 3
"""Updates, for each that the demo makes."""
_OUTCOME = {"kind": "outcome", "right": 1, "wrong": 0, "unparsed": 0}
_BONUS = {"kind": "critique_bonus", "format": "format"}
_EXACT = CritiqueSection(extractor="sandbox", similarity="exact", fatal_rule=False)
_READING = _EXACT.model_dump(mode="json")
_PUBLISHED: dict[str, Any] = {"kind": "critique", "weight": 0.5, "least": 0.5}
_SOFT: dict[str, Any] = {"kind": "critique", "weight": 0.5, "least": None}
_HOLDOUT = 0.1


def careless(config: DemoConfig) -> DemoConfig:
    """Return the config with the careless teacher, who is shown more pairs for as many traces."""
    teacher = config.teacher.model_copy(update={"error_rate": 0.7})
    return config.model_copy(update={"teacher": teacher, "pairs": 900})


def run_process(lab: SandboxLab, bench: Bench, rows: int) -> dict[str, Any]:
    """Train and measure all arms of one seed; return results by arm. The lab's config has the careless teacher."""
    config = lab.config
    usual = config.rlvr or RLConfig()
    start = lab.sft(config, lab.traces(config), name="careless-sft")
    quarter = lab.pairs(config, _rl(usual, _rewards(_SOFT), critiques=_SHARE))
    published = _metarm(lab, start, quarter, _PUBLISHED, "metarm-published", _COLD_PUBLISHED)
    ours = _metarm(lab, start, quarter, _SOFT, "metarm-ours", _COLD_OURS)

    def rl(name: str, rewards: RewardSection, metarm: Trained | None = None, **rest: Any) -> Trained:
        return lab.rlvr(config, start, _rl(usual, rewards, **rest), f"process-{name}", metarm)

    soft, cut = _rewards(_SOFT), _rewards(_PUBLISHED)
    few: dict[str, Any] = {"critiques": _SHARE}
    arms = {
        "SFT start": start,
        "outcome only": rl("outcome", _rewards(None)),
        "F1 on all rows": rl("f1", soft),
        "F1 on 25 %": rl("f1-quarter", soft, **few),
        "25 % + MetaRM": rl("metarm", soft, ours, section=_ONLINE, **few),
        "25 % + MetaRM, frozen": rl("metarm-frozen", soft, ours, section=_FROZEN, **few),
        "AP × outcome": rl("ap", _RATIONALE),
        "published F1 on all rows": rl("published", cut),
        "published 25 % + MetaRM": rl("metarm-published", cut, published, section=_ONLINE_PUBLISHED, **few),
    }
    return {name: lab.measure(_slug(name), trained, bench, rows) for name, trained in arms.items()}


_COLD_PUBLISHED: dict[str, Any] = {
    "metarm": {"readout": "last_token", "target": "reward"},
    "trainer": {"max_steps": 160, "learning_rate": 5e-4},
}
_COLD_OURS: dict[str, Any] = {
    "metarm": {"readout": "likelihood", "target": "process"},
    "trainer": {"max_steps": 80, "learning_rate": 3e-4},
}
_ONLINE = MetaRewardSection(
    path="metarm", bonus_scale="calibrated", learning_rate=1e-4, holdout=_HOLDOUT, batch_size=64
)
_FROZEN = _ONLINE.model_copy(update={"mode": "frozen"})
_ONLINE_PUBLISHED = _ONLINE.model_copy(update={"bonus_scale": "published"})


def _metarm(
    lab: SandboxLab, start: Trained, pairs: Any, part: Mapping[str, Any], name: str, cold: Mapping[str, Any]
) -> Trained:
    section = {
        "metarm": {**cold["metarm"], "max_tokens": 512},
        "data": {"holdout": _HOLDOUT},
        "rewards": _rewards(part).model_dump(mode="json"),
        "critique": _READING,
        "trainer": {
            "per_device_train_batch_size": 64,
            "per_device_eval_batch_size": 256,
            "logging_steps": 10,
            **cold["trainer"],
        },
    }
    return lab.metarm(start, pairs, section, name)


def _rewards(part: Mapping[str, Any] | None) -> RewardSection:
    """Return RM-NLHF's reward: −1 for a bad format, else the outcome, plus a critique part gated by it."""
    parts: dict[str, Any] = {"outcome": _OUTCOME, "format": {"kind": "critique_format"}}
    if part is not None:
        parts["critique"] = part
    return parse_config(RewardSection, {"parts": parts, "combine": _BONUS}, "rewards")


_RATIONALE = parse_config(
    RewardSection,
    {
        "parts": {
            "outcome": _OUTCOME,
            "critique": {"kind": "critique", "score": "average_precision", "least": None},
        },
        "combine": {"kind": "multiplicative"},
    },
    "rewards",
)


def _rl(
    usual: RLConfig,
    rewards: RewardSection,
    *,
    critiques: float = 1.0,
    section: MetaRewardSection | None = None,
) -> RLConfig:
    reads = "critique" in rewards.parts
    return usual.model_copy(
        update={
            "critiques": critiques,
            "rewards": rewards,
            "critique": _EXACT if reads else None,
            "metarm": section,
            "trainer": {**usual.trainer, "max_steps": round(_STEPS * usual.trainer["max_steps"])},
        }
    )


def _slug(name: str) -> str:
    for mark, word in (("%", "percent"), ("×", "times"), ("+", "and"), (",", "")):
        name = name.replace(mark, word)
    return "process-" + name.lower().replace(" ", "-")
