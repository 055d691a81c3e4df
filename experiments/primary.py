"""The claims that were written down before their seeds ran (`primary_claims.yaml`), and what the seeds say to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from experiments.claims import Claim, holm, p_value
from experiments.process_page import measures
from reasrm.config import Config, load_config
from reasrm.hashing import digest

__all__ = ["PrimaryClaims", "RubricClaim", "RubricClaims", "load_primary", "primary_section"]

PATH = Path(__file__).with_name("primary_claims.yaml")


class PrimaryClaim(Config):
    """One arm beats another, or is at most a margin worse."""

    table: Literal["main", "process"]
    ours: str
    theirs: str
    what: Literal["in-domain accuracy", "held-out accuracy", "hard accuracy", "consistency"]
    mode: Literal["sampled", "greedy"]
    margin: float = Field(default=0.0, ge=0)

    @property
    def text(self) -> str:
        """The claim in words."""
        beats = f"is at most {100 * self.margin:g} point worse than" if self.margin else "beats"
        return f"{self.ours} {beats} {self.theirs}, {self.what}, {self.mode}"

    def differences(self, seeds: Sequence[dict[str, Any]]) -> list[float]:
        """Return ours less theirs, of each seed."""
        measure = measures()[self.what]
        return [measure(seed, self.ours, self.mode) - measure(seed, self.theirs, self.mode) for seed in seeds]


class RubricClaim(Config):
    """Judging under one arm's rubrics beats judging under another's, or is at most a margin worse."""

    ours: str
    theirs: str
    split: Literal["iid", "ood", "hard", "conflict"]
    margin: float = Field(default=0.0, ge=0)


class RubricClaims(Config):
    """The claims of `experiments.rubrics`, with seeds and a level of their own."""

    seeds: list[int]
    level: float = Field(gt=0, lt=1)
    claims: list[RubricClaim]


class PrimaryClaims(Config):
    """The seeds, the level of all claims together, and the claims; those about rubrics stand apart."""

    seeds: list[int]
    level: float = Field(gt=0, lt=1)
    claims: list[PrimaryClaim]
    rubrics: RubricClaims | None = None


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
    lines = [f"## Primary claims for seeds {seeds}\n", _HEAD.format(seeds=seeds, level=100 * claims.level)]
    if {claim.table for claim in claims.claims} - tables.keys():
        lines += [f"{n}. {claim.text}" for n, claim in enumerate(claims.claims, 1)]
        lines.append(f"\nNot run yet: `python -m experiments.reproduce --primary`. {_seal(claims)}\n")
        return "\n".join(lines)
    found = [claim.differences(tables[claim.table]["seeds"]) for claim in claims.claims]
    p_values = holm([p_value(d, c.margin) for d, c in zip(found, claims.claims, strict=True)])
    lines += ["| claim | difference [95 %] | by seed | p, Holm | |", "| --- | --- | --- | --- | --- |"]
    for claim, differences, p in zip(claims.claims, found, p_values, strict=True):
        confirmed = p <= claims.level and Claim(differences).mean > -claim.margin
        cells = Claim(differences).text.split(" | ")[:2]
        lines.append(
            f"| {claim.text} | {' | '.join(cells)} | {p:.3f} | {'**confirmed**' if confirmed else 'not confirmed'} |"
        )
    made = ", ".join(f"{n}: code `{t['code']}`, {t['date']}" for n, t in tables.items())
    lines.append(f"\n{made}. {_seal(claims)}\n")
    return "\n".join(lines)


def _seal(claims: PrimaryClaims) -> str:
    return f"Hash of the claims: `{digest(claims.model_dump(mode='json', exclude={'rubrics'}), 12)}`."


_HEAD = """Written down in `experiments/primary_claims.yaml` before these seeds ran. They count together: two-sided
t-tests over seeds {seeds}, adjusted by Holm, at {level:g} %; where a claim has a margin, the test is non-inferiority.
Nothing else that these seeds show is a finding.
"""
