"""The claims that were written down before the runs on a real model (`claims.yaml`), and what the runs say to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from experiments.claims import Claim, holm, p_value
from experiments.markdown import table
from experiments.real.measures import Arm, by_row, difference
from reasrm.config import Config, load_config
from reasrm.hashing import digest

__all__ = ["CHANCE", "Family", "RealClaim", "RealClaims", "claims_section", "compare", "load_claims", "shown"]

PATH = Path(__file__).with_name("claims.yaml")
CHANCE = "chance"
"""The arm that is right in half of all judgments; nobody has to judge as it."""


class RealClaim(Config):
    """One arm beats another on the same rows, or is at most a margin worse."""

    ours: str
    theirs: str
    what: Literal["accuracy", "accuracy or coin", "consistency", "position"]
    split: str = "all"
    margin: float = Field(default=0.0, ge=0)


class Family(Config):
    """The claims of one part, which are corrected together."""

    seeds: list[int]
    level: float = Field(gt=0, lt=1)
    claims: list[RealClaim]

    @property
    def seal(self) -> str:
        """Their hash."""
        return digest(self.model_dump(mode="json"), 12)


class RealClaims(Config):
    """The claims of all parts; each part has a hash of its own."""

    reasoning: Family
    transfer: Family
    rubrics: Family
    preferences: Family


def load_claims(path: Path = PATH) -> RealClaims:
    """Return the claims of the file."""
    return load_config(RealClaims, path)


def compare(
    arms: Mapping[str, Arm], ours: str, theirs: str, what: str, split: str = "all"
) -> tuple[Claim, list[float]]:
    """Return how much better one arm is than another, over rows and by seed (`measures.difference`)."""
    mine = by_row(arms[ours], what, split)
    if theirs == CHANCE:
        return difference(mine, {name: [0.5] * len(values) for name, values in mine.items()})
    other = by_row(arms[theirs], what, split)
    return difference(other, mine) if what == "position" else difference(mine, other)


def shown(claim: Claim) -> str:
    """Return mean and interval in points."""
    return f"{100 * claim.mean:+.1f} [{100 * claim.low:+.1f}, {100 * claim.high:+.1f}]"


def claims_section(
    family: Family, names: Mapping[Any, str], arms: Mapping[str, Arm], seeds: Sequence[int]
) -> str:
    """Return the section of a page.

    Args:
        family: The part's claims.
        names: Splits → what the page calls them.
        arms: The rows of each arm that was run, `chance` apart.
        seeds: Which were run.
    """
    said = ["## Claims\n"]
    texts = [_text(claim, names) for claim in family.claims]
    seal = f"Hash of these claims: `{family.seal}`."
    if not arms or list(seeds) != family.seeds:
        wanted = f"seed{'s' * (len(family.seeds) > 1)} {', '.join(map(str, family.seeds))}"
        said += [f"Written down in `experiments/real/claims.yaml` before any run, for {wanted}:\n"]
        said += [f"{n}. {text}" for n, text in enumerate(texts, 1)]
        return "\n".join(
            [*said, *(["\nThe seeds above decide none of them."] if arms else []), f"\n{seal}\n"]
        )
    found = [
        compare(arms, c.ours, c.theirs, c.what, c.split) if {c.ours, c.theirs} <= {*arms, CHANCE} else None
        for c in family.claims
    ]
    # What was not run counts among the claims that are corrected for.
    p_values = holm(
        [
            1.0 if one is None else p_value(one[0].differences, c.margin)
            for one, c in zip(found, family.claims, strict=True)
        ]
    )
    lines = []
    for claim, text, one, p in zip(family.claims, texts, found, p_values, strict=True):
        if one is None:
            lines.append([text, "", "", "", "not run"])
            continue
        over, by_seed = one
        confirmed = p <= family.level and min(by_seed) > -claim.margin
        each = " ".join(f"{100 * value:+.1f}" for value in by_seed)
        lines.append([text, shown(over), each, f"{p:.3f}", "**confirmed**" if confirmed else "not confirmed"])
    said += [_HEAD.format(level=100 * family.level)]
    said += [table(["claim", "difference [95 %]", "by seed", "p, Holm", ""], lines)]
    return "\n".join([*said, f"In points, better is more. {seal}\n"])


_WORDS = {
    "accuracy": "accuracy",
    "accuracy or coin": "accuracy, a coin where nothing can be read",
    "consistency": "consistency of all rows, unreadable ones not consistent",
    "position": "distance of the first-shown share from one half",
}
_HEAD = """Written down in `experiments/real/claims.yaml` before any run. t-tests over rows, of each the mean over
seeds, adjusted by Holm over these claims at {level:g} %; where a claim has a margin, the test is non-inferiority.
Confirmed is what also lies on the claimed side in every seed. Nothing else on this page is a finding.
"""


def _text(claim: RealClaim, names: Mapping[Any, str]) -> str:
    beats = f"is at most {100 * claim.margin:g} points worse than" if claim.margin else "beats"
    where = "all splits" if claim.split == "all" else names.get(claim.split, claim.split)
    return f"{claim.ours} {beats} {claim.theirs}: {_WORDS[claim.what]}, {where}"
