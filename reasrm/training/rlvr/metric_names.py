"""The names under which an RLVR run logs numbers, so that an alarm on a name that is never logged can be refused."""

from __future__ import annotations

import re
from collections.abc import Collection

from reasrm.records import ParseStatus

__all__ = ["metric_names", "names_metric"]

_STATUS = "|".join(status.value for status in ParseStatus)
_VERDICTS = rf"accuracy(?:/.+)?|coverage|share_a|tokens|status/(?:{_STATUS})"
_LIBRARY = (
    *(
        "loss",
        "grad_norm",
        "learning_rate",
        "epoch",
        "skipped_steps",
        "num_tokens",
        "entropy",
        "kl",
        "reward",
    ),
    *("reward_std", "frac_reward_zero_std", "entropy_coef", "aux_loss", "policy_loss", "cispo_clip_ratio"),
    *("rewards/judge_reward/mean", "rewards/judge_reward/std", "vespo/phi_seq_mean"),
)
_GROUPS = r"(?:completions|clip_ratio)/[a-z_]+|sampling/[a-z_]+/(?:min|mean|max)"
_META = (*("routed", "withheld", "unread", "learned_rows", "skipped_steps", "loss", "grad_norm"),)


def metric_names(parts: Collection[str], *, meta: bool) -> list[str]:
    """Return the names that a run with these reward parts logs, but for those made of subsets and statuses."""
    rewards = [
        f"reward/{name}{kind}" for name in ("", *(f"{part}/" for part in parts)) for kind in ("mean", "std")
    ]
    own = ("accuracy", "coverage", "share_a", "tokens", "tokens_max", "duplicates", "no_evaluation")
    return [
        *_LIBRARY,
        *rewards,
        *(f"rollouts/{name}" for name in own),
        *("reward/abstaining", "groups/dead", "advantages/outliers"),
        *(("reward/metarm/mean", "reward/metarm/std", *(f"metarm/{name}" for name in _META)) if meta else ()),
    ]


def names_metric(metric: str, parts: Collection[str], splits: Collection[str], *, meta: bool) -> bool:
    """Whether a run logs a number under this name.

    Args:
        metric: The name.
        parts: Names of the reward's parts.
        splits: Names of the validation splits.
        meta: Whether a MetaRM stands in for a part.
    """
    if metric in metric_names(parts, meta=meta) or re.fullmatch(
        rf"{_GROUPS}|rollouts/(?:{_VERDICTS})", metric
    ):
        return True
    if meta and re.fullmatch(r"metarm/heldout_\w+", metric):
        return True
    named = [split for split in splits if metric.startswith(f"eval/{split}/")]
    own = rf"{_VERDICTS}|accuracy_low|accuracy_high|consistency"
    return any(re.fullmatch(own, metric.removeprefix(f"eval/{split}/")) for split in named)
