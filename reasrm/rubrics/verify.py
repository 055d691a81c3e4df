"""Verification: another judge than the author is asked about the pairs under each rubric, and without it.

`judge_file` does the asking, as for any rows: the rubrics under test lie beside their pairs in `candidates.jsonl`, the
bare pairs in `baseline.jsonl`; what the judge said lies in `verify.jsonl` and `without.jsonl`. Both orders, votes and
samples have a seed of their own. What the answers come to is `criteria.verify`.

A judge that is the author confirms itself: the share that is kept says nothing, so equal identities are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from reasrm.criteria.verify import Answer, Verification, answer, kept_by_chance, verify
from reasrm.durable.lookup import sorted_lines
from reasrm.errors import ConfigError, InputError
from reasrm.generation.base import Backend
from reasrm.generation.budget import budget_beside
from reasrm.generation.run import RunControl
from reasrm.hashing import derive_seed, digest
from reasrm.judging.batch import BatchResult, judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import Judge
from reasrm.judging.look import judged_rows
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.prompts import never_shown
from reasrm.protocol.spec import load_spec
from reasrm.records import PreferencePair
from reasrm.rubric import Rubric
from reasrm.rubrics.config import VerifySection
from reasrm.sources.importing import pair_to_json
from reasrm.strictjson import dumps

__all__ = ["Candidate", "RubricOutcome", "Said", "Verified", "Verifier", "make_verifier", "refuse_author"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rubric under test.

    Args:
        name: Unique.
        rubric: The rubric.
        pairs: Labelled pairs of its request; the first decides, the others count for τ.
        any_pair: Whether any of the pairs may be the one that decides: of a rubric that was written for no pair.
    """

    name: str
    rubric: Rubric
    pairs: Sequence[PreferencePair]
    any_pair: bool = False


@dataclass(frozen=True, slots=True)
class RubricOutcome:
    """What came of one rubric.

    Args:
        verification: Whether it is kept, and what it did to the judge.
        without_right: Whether the judge was right without it in all its judgments; None where it could not be read.
        chance: The probability that a coin in the judge's place keeps it.
        pairs: Ids of the pairs asked about.
        under: What was said about each, under the rubric.
    """

    verification: Verification
    without_right: bool | None
    chance: float
    pairs: tuple[str, ...]
    under: tuple[Said, ...]

    def to_json(self, judge: str) -> dict[str, Any]:
        """Return what a kept line says of its verification."""
        verification = self.verification
        return {
            "judge": judge,
            "right": verification.right,
            "asked": verification.asked,
            "pairs_right": sum(said.all_right is True for said in self.under),
            "pairs": len(self.pairs),
            "effect": verification.effect,
            "gain": verification.effect == "helpful",
        }


@dataclass(slots=True)
class Verified:
    """What the judge has said so far.

    Args:
        outcomes: By name of rubric.
        failed: Rubrics about which a call failed, by name: their pairs, and what was said all the same.
        without: Pair → judgments and tokens without a rubric, each pair once.
        replaced: Judgments and tokens about rubrics that are not tested any more.
        ends: How the runs under rubrics and without ended.
    """

    outcomes: dict[str, RubricOutcome] = field(default_factory=dict)
    failed: dict[str, tuple[tuple[str, ...], tuple[Said, ...]]] = field(default_factory=dict)
    without: dict[str, Said] = field(default_factory=dict)
    replaced: list[Said] = field(default_factory=list)
    ends: list[BatchResult] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing ended a run before its time."""
        return all(end.is_whole for end in self.ends)


@dataclass(frozen=True, slots=True)
class Said:
    """The judge's answers about one pair, and their completion tokens, where counted."""

    answers: tuple[Answer, ...]
    tokens: int

    @property
    def all_right(self) -> bool | None:
        """Whether all are right; None if none could be read."""
        return None if all(one is None for one in self.answers) else all(one is True for one in self.answers)


def refuse_author(author: Backend, judge: Backend, section: VerifySection) -> None:
    """Refuse a judge that is the author.

    Raises:
        ConfigError: It is, and nobody said that it may be.
    """
    ours, theirs = author.identity, judge.identity
    same = ours == theirs or ours.get("model") == theirs.get("model")
    prints = {ours.get("fingerprint"), theirs.get("fingerprint")}
    same = same or (len(prints) == 1 and None not in prints and "unknown" not in prints)
    if same and not section.allow_author:
        raise ConfigError(
            f"{judge.name!r} would verify the rubrics that it wrote",
            place="verify: judge",
            remedy="name another judge, or set 'allow_author: true'",
        )


def make_verifier(judge: Judge, section: VerifySection, folder: Path) -> Verifier:
    """Return what verifies rubrics in a folder.

    Args:
        judge: Opened under the spec that shows rubrics.
        section: What is kept.
        folder: Where rows and answers lie.

    Raises:
        ConfigError: The spec shows no rubric, or nothing says how the judge is asked without one.
    """
    if judge.spec.protocol != "pairwise" or "rubric" in never_shown(judge.spec):
        raise ConfigError(
            f"spec {judge.spec.name!r} is not a pairwise one that shows a rubric",
            place="verify: spec",
            remedy="choose a spec whose templates show {{ rubric }}, such as rubric",
        )
    bare = judge.spec
    if section.without_spec is not None:
        bare = load_spec(section.without_spec)
    if "rubric" in bare.requires or bare.protocol != "pairwise":
        raise ConfigError(
            f"spec {bare.name!r} cannot judge a pair without a rubric, and that result stands beside each other one",
            place="without_spec",
            remedy="name a pairwise spec that needs no rubric, such as rm-r1-short",
        )
    if section.votes > 1 and _sampling(judge, section).temperature == 0:
        raise ConfigError(
            f"{section.votes} votes at temperature 0 are the same answer {section.votes} times",
            place="verify",
            remedy="set a temperature, or 'votes: 1'",
        )
    return Verifier(judge, replace(judge, spec=bare), section, folder)


def _sampling(judge: Judge, section: VerifySection) -> Any:
    return judge.sampling(temperature=section.temperature, top_p=section.top_p, max_tokens=section.max_tokens)


class Verifier:
    """Asks a judge about rubrics, each once, and says what is kept."""

    def __init__(self, judge: Judge, bare: Judge, section: VerifySection, folder: Path) -> None:
        self.judge, self.bare, self.section = judge, bare, section
        self.answers, self.without = folder / "verify.jsonl", folder / "without.jsonl"
        self._candidates, self._baseline = folder / "candidates.jsonl", folder / "baseline.jsonl"
        self._num_asked = (2 if section.orders == "both" else 1) * section.votes

    @property
    def files(self) -> tuple[Path, ...]:
        """What is written."""
        return (self.answers, self.without, self._candidates, self._baseline)

    def __call__(self, candidates: Iterable[Candidate], control: RunControl | None = None) -> Verified:
        """Ask about rubrics, those of earlier calls included, and return what is known of all.

        Args:
            candidates: Every rubric that was ever asked about in this folder, and new ones.
            control: As in judging.

        Raises:
            ConfigError: The folder holds answers of another judge, or under other settings.
        """
        control = control or RunControl()
        pairs = self._write(candidates, keep=not control.restart)
        verified = Verified()
        if not self._candidates.stat().st_size:
            return verified
        for judge, rows, output in (
            (self.judge, self._candidates, self.answers),
            (self.bare, self._baseline, self.without),
        ):
            # Of an earlier run, what is begun anew does not count.
            others = [path for path in (self.answers, self.without) if path != output]
            others = others[: len(verified.ends)] if control.restart else others
            budget = budget_beside(control.budget, others)
            verified.ends.append(self._ask(judge, rows, output, replace(control, budget=budget)))
            if not verified.is_whole:
                return verified
        under, verified.without = _read(self.answers), _read(self.without)
        for name, (rows_of, named, any_pair) in pairs.items():
            said = [under.pop(row, None) for row in rows_of]
            bare = [verified.without.get(pair) for pair in named]
            outcome = self._decide(named, said, bare, any_pair=any_pair)
            if outcome is None:
                verified.failed[name] = named, tuple(one for one in said if one is not None)
            else:
                verified.outcomes[name] = outcome
        verified.replaced = list(under.values())
        return verified

    def _write(
        self, candidates: Iterable[Candidate], *, keep: bool
    ) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]]:
        """Write what is to be judged; return of each rubric its rows and its pairs by id.

        A row is named by the rubric's content, too, and stays in its file, so that a rubric that was edited is asked
        about anew and nothing else is.
        """
        pairs: dict[str, tuple[tuple[str, ...], tuple[str, ...], bool]] = {}
        with ExitStack() as stack:
            old = [_old_lines(path) if keep else {} for path in (self._candidates, self._baseline)]
            write, write_bare = (
                stack.enter_context(sorted_lines(path)) for path in (self._candidates, self._baseline)
            )
            known: set[str] = set()
            for candidate in candidates:
                name = f"{candidate.name}|{digest(candidate.rubric.render(), length=8)}"
                rows = tuple(f"{name}|{n}" for n in range(len(candidate.pairs)))
                ids = tuple(pair.id for pair in candidate.pairs)
                pairs[candidate.name] = rows, ids, candidate.any_pair
                # What an author who knew the label wrote is just what is tested here, on rows that prove nothing else.
                tested = replace(candidate.rubric, saw_label=False)
                for row, pair in zip(rows, candidate.pairs, strict=True):
                    old[0].pop(row, None)
                    write(row, _line(replace(pair, id=row, rubric=tested)))
                    if pair.id not in known:
                        known.add(pair.id)
                        old[1].pop(pair.id, None)
                        write_bare(pair.id, _line(replace(pair, rubric=None)))
            for lines, put in zip(old, (write, write_bare), strict=True):
                for row_id, line in lines.items():
                    put(row_id, line)
        return pairs

    def _ask(self, judge: Judge, rows: Path, output: Path, control: RunControl) -> BatchResult:
        options = JudgingOptions(
            orders=self.section.orders,
            votes=self.section.votes,
            seed=derive_seed("verify", self.section.seed),
            sampling=_sampling(judge, self.section),
        )
        return judge_file(judge, JudgeInput([rows]), output, options, control)

    def _decide(
        self,
        pairs: tuple[str, ...],
        under: Sequence[Said | None],
        without: Sequence[Said | None],
        *,
        any_pair: bool,
    ) -> RubricOutcome | None:
        """Return what the answers come to; None if some are missing."""
        known = [said for said in under if said is not None]
        bare = [said for said in without if said is not None]
        if len(known) < len(under) or len(bare) < len(without):
            return None
        section, found = self.section, None
        for n in range(len(known) if any_pair else 1):
            verification = verify(
                known[n].answers,
                bare[n].answers,
                require=section.require,
                others=[said.answers for m, said in enumerate(known) if m != n],
                tau=section.tau,
                gain=section.gain,
            )
            if found is None or (verification.kept and not found.verification.kept):
                chance = self._chance(len(known), any_pair=any_pair)
                found = RubricOutcome(verification, bare[n].all_right, chance, pairs, tuple(known))
        return found

    def _chance(self, pairs: int, *, any_pair: bool) -> float:
        """Return the probability that a coin in the judge's place keeps a rubric."""
        section, asked = self.section, self._num_asked
        without = asked if section.gain else 0
        if not any_pair:
            others = pairs - 1
            return kept_by_chance(
                asked, require=section.require, others=others, tau=section.tau, without=without
            )
        passes = kept_by_chance(asked, require=section.require)
        needed = max(1, math.ceil((section.tau or 0) * pairs - 1e-9))
        return math.fsum(
            math.comb(pairs, k)
            * passes**k
            * (1 - passes) ** (pairs - k)
            * (1 - 0.5 ** (k * without) * section.gain)
            for k in range(needed, pairs + 1)
        )


def _line(pair: PreferencePair) -> bytes:
    return dumps(pair_to_json(pair)) + b"\n"


def _old_lines(path: Path) -> dict[str, bytes]:
    """Return the lines of an earlier call by id.

    Raises:
        InputError: One was damaged.
    """
    if not path.exists():
        return {}
    with open(path, "rb") as stream:
        try:
            return {str(orjson.loads(line)["id"]): line for line in stream}
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(
                "was damaged", place=str(path), remedy="remove it, or begin anew with --restart"
            ) from error


def _read(path: Path) -> dict[str, Said]:
    """Return what a judge said about each row: whether each judgment was right, and their tokens."""
    found: dict[str, Said] = {}
    for row in judged_rows(path):
        answers = tuple(answer(judgment.winner, "A") for judgment in row.judgments)
        found[row.id] = Said(answers, sum(judgment.num_tokens or 0 for judgment in row.judgments))
    return found
