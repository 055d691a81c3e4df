"""The claims that were written down before the runs on a real model (`claims.yaml`), and what the runs say to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from experiments.claims import Claim, holm, p_value
from experiments.real.measures import Rows, by_row, difference
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
    arms: Mapping[str, Rows], ours: str, theirs: str, what: str, split: str = "all"
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
    family: Family, names: Mapping[str, str], arms: Mapping[str, Rows], seeds: Sequence[int]
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
    known = [c for c in family.claims if {c.ours, c.theirs} <= {*arms, CHANCE}]
    found = [compare(arms, c.ours, c.theirs, c.what, c.split) for c in known]
    p_values = holm([p_value(over.differences, c.margin) for (over, _), c in zip(found, known, strict=True)])
    said += [_HEAD.format(level=100 * family.level)]
    said += ["| claim | difference [95 %] | by seed | p, Holm | |", "| --- | --- | --- | --- | --- |"]
    results = dict(zip(map(id, known), zip(found, p_values, strict=True), strict=True))
    for claim, text in zip(family.claims, texts, strict=True):
        if id(claim) not in results:
            said.append(f"| {text} | | | | not run |")
            continue
        (over, by_seed), p = results[id(claim)]
        confirmed = p <= family.level and min(by_seed) > -claim.margin
        each = " ".join(f"{100 * value:+.1f}" for value in by_seed)
        verdict = "**confirmed**" if confirmed else "not confirmed"
        said.append(f"| {text} | {shown(over)} | {each} | {p:.3f} | {verdict} |")
    return "\n".join([*said, f"\nIn points, better is more. {seal}\n"])


_WORDS = {
    "accuracy": "accuracy",
    "accuracy or coin": "accuracy, a coin where nothing can be read",
    "consistency": "consistency",
    "position": "distance of the first-shown share from one half",
}
_HEAD = """Written down in `experiments/real/claims.yaml` before any run. t-tests over rows, of each the mean over
seeds, adjusted by Holm over these claims at {level:g} %; where a claim has a margin, the test is non-inferiority.
Confirmed is what also lies on the claimed side in every seed. Nothing else on this page is a finding.
"""


def _text(claim: RealClaim, names: Mapping[str, str]) -> str:
    beats = f"is at most {100 * claim.margin:g} points worse than" if claim.margin else "beats"
    where = "all splits" if claim.split == "all" else names.get(claim.split, claim.split)
    return f"{claim.ours} {beats} {claim.theirs}: {_WORDS[claim.what]}, {where}"
