"""The claims that were written down before their seeds ran (`primary_claims.yaml`), and what the seeds say to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from experiments.claims import Claim, Family, Stated, claims_section, decided, holm
from experiments.process_page import measures
from reasrm.config import load_config

__all__ = ["PrimaryClaims", "RubricClaim", "RubricClaims", "load_primary", "primary_section"]

PATH = Path(__file__).with_name("primary_claims.yaml")


class PrimaryClaim(Stated):
    """One arm of a table beats another, or is at most a margin worse."""

    table: Literal["main", "process"]
    what: Literal["in-domain accuracy", "held-out accuracy", "hard accuracy", "consistency"]
    mode: Literal["sampled", "greedy"]

    @property
    def text(self) -> str:
        """The claim in words."""
        return f"{self.beats()}, {self.what}, {self.mode}"

    def differences(self, seeds: Sequence[dict[str, Any]]) -> list[float]:
        """Return ours less theirs, of each seed."""
        measure = measures()[self.what]
        return [measure(seed, self.ours, self.mode) - measure(seed, self.theirs, self.mode) for seed in seeds]


class RubricClaim(Stated):
    """Judging under one arm's rubrics beats judging under another's, or is at most a margin worse."""

    split: Literal["iid", "ood", "hard", "conflict"]


class RubricClaims(Family):
    """The claims of `experiments.rubrics`, with seeds and a level of their own."""

    claims: list[RubricClaim]


class PrimaryClaims(Family):
    """The claims of `experiments.reproduce`; those about rubrics stand apart, under a hash of their own."""

    claims: list[PrimaryClaim]
    rubrics: RubricClaims | None = Field(default=None, exclude=True)


def load_primary(path: Path = PATH) -> PrimaryClaims:
    """Return the claims of the file."""
    return load_config(PrimaryClaims, path)


def primary_section(claims: PrimaryClaims, tables: Mapping[str, dict[str, Any]]) -> str:
    """Return the section of the page.

    Args:
        claims: The claims.
        tables: Of these seeds, by name: `code`, `date`, `rows` and `seeds`; empty before they have run.
    """
    seeds = f"{claims.seeds[0]} to {claims.seeds[-1]}"
    named = [(claim, claim.text) for claim in claims.claims]
    rows, made = "", "Not run yet: `python -m experiments.reproduce --primary`"
    if {claim.table for claim in claims.claims} <= tables.keys():
        found = [claim.differences(tables[claim.table]["seeds"]) for claim in claims.claims]
        rows = decided(named, [(Claim(each), each) for each in found], claims.level, holm, "p, Holm")
        made = ", ".join(f"{n}: code `{t['code']}`, {t['date']}" for n, t in tables.items())
    told = _HEAD.format(seeds=seeds, level=100 * claims.level)
    after = f"{made}. Hash of the claims: `{claims.seal}`."
    return claims_section(f"Primary claims for seeds {seeds}", told, named, rows, after)


_HEAD = """Written down in `experiments/primary_claims.yaml` before these seeds ran. They count together: two-sided
t-tests over seeds {seeds}, adjusted by Holm, at {level:g} %; where a claim has a margin, the test is non-inferiority.
Nothing else that these seeds show is a finding.
"""
