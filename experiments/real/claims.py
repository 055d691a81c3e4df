"""The claims that were written down before the runs on a real model (`claims.yaml`), and what the runs say to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from experiments import claims
from experiments.claims import Claim, Stated, decided, holm
from experiments.real.measures import Arm, by_row, difference
from reasrm.config import Config, load_config

__all__ = ["CHANCE", "Family", "RealClaim", "RealClaims", "claims_section", "compare", "load_claims", "shown"]

PATH = Path(__file__).with_name("claims.yaml")
CHANCE = "chance"
"""The arm that is right in half of all judgments; nobody has to judge as it."""


class RealClaim(Stated):
    """One arm beats another on the same rows, or is at most a margin worse."""

    what: Literal["accuracy", "accuracy or coin", "consistency", "position"]
    split: str = "all"


class Family(claims.Family):
    """The claims of one part, which are corrected together."""

    claims: list[RealClaim]


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
    return claim.interval


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
    named = [(claim, _text(claim, names)) for claim in family.claims]
    seal = f"Hash of these claims: `{family.seal}`."
    if not arms or list(seeds) != family.seeds:
        wanted = f"seed{'s' * (len(family.seeds) > 1)} {', '.join(map(str, family.seeds))}"
        told = f"Written down in `experiments/real/claims.yaml` before any run, for {wanted}:\n"
        undecided = "The seeds above decide none of them.\n\n" if arms else ""
        return claims.claims_section("Claims", told, named, "", undecided + seal)
    found = [
        compare(arms, c.ours, c.theirs, c.what, c.split) if {c.ours, c.theirs} <= {*arms, CHANCE} else None
        for c in family.claims
    ]
    rows = decided(named, found, family.level, holm, "p, Holm", every_seed=True)
    told = _HEAD.format(level=100 * family.level)
    return claims.claims_section("Claims", told, named, rows, f"In points, better is more. {seal}")


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
    where = "all splits" if claim.split == "all" else names.get(claim.split, claim.split)
    return f"{claim.beats('points')}: {_WORDS[claim.what]}, {where}"
