"""Judged rows to look at: which ones, the texts they were about, and the prompts that were asked.

A judged row names its input row by id and digest; the manifest beside the output names the input files and holds the
spec. A row whose digest no longer fits is shown without its texts: other texts would explain nothing. A prompt is built
anew from row, spec and options, as judging built it, and compared with the hash that the judgment kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from reasrm.config import parse_config
from reasrm.durable import read_manifest, read_records
from reasrm.errors import ConfigError, InputError
from reasrm.hashing import prompt_hash
from reasrm.judged import JudgedRow, read_judged
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.plan import JudgingOptions, plan_row
from reasrm.protocol.escaping import escape_untrusted
from reasrm.protocol.spec import JudgeSpec
from reasrm.records import Judgment, ParseStatus, Row, RowStatus
from reasrm.requests import PromptMessage

__all__ = [
    "KINDS",
    "AskedPrompt",
    "AskedRun",
    "FoundRow",
    "find_judged",
    "join_inputs",
    "judged_file",
    "judged_rows",
]

_READABLE = frozenset({RowStatus.OK, RowStatus.SPLIT})

KINDS: Mapping[str, Callable[[JudgedRow], bool]] = {
    "wrong": lambda row: row.correct is False,
    "split": lambda row: row.status is RowStatus.SPLIT,
    "unreadable": lambda row: (
        any(j.status is not ParseStatus.OK for j in row.judgments) or row.status not in _READABLE
    ),
}
"""What one may ask for: the verdict is not the label, the orders are level, or a judgment was unreadable."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """One judged row and what it was about.

    Args:
        judged: The row as `reasrm judge` wrote it.
        digest: Of the input row that was judged (hex); empty in files of other programs.
        row: The input row, or None where it is not at hand.
        problem: Why it is not at hand.
    """

    judged: JudgedRow
    digest: str = ""
    row: Row | None = None
    problem: str | None = None


def judged_file(path: Path) -> Path:
    """Return the file of judged rows that a path names: itself, or what `reasrm eval` wrote into a folder.

    Raises:
        ConfigError: There is no such file.
    """
    found = path / "judgments.jsonl" if path.is_dir() else path
    if not found.is_file():
        raise ConfigError(
            "there are no judged rows",
            place=str(found),
            remedy="give what judge --output or eval --output wrote",
        )
    return found


def judged_rows(path: Path) -> Iterator[JudgedRow]:
    """Yield the rows of a file of judged rows.

    Raises:
        InputError: The file is damaged, or holds other records.
    """
    return (found.judged for found in _rows(path))


def find_judged(
    path: Path, kinds: Sequence[str] = (), ids: Sequence[str] = (), limit: int | None = None
) -> Iterator[FoundRow]:
    """Yield judged rows in the order of the file, without their texts.

    Args:
        path: A file of judged rows.
        kinds: Names of `KINDS`; a row of any of them is taken. None of them takes every row.
        ids: Take only rows with these ids.
        limit: Stop after so many.

    Raises:
        InputError: The file is damaged, or holds other records than judged rows.
    """
    wanted = frozenset(ids)
    found = (
        row
        for row in _rows(path)
        if (not wanted or row.judged.id in wanted)
        and (not kinds or any(KINDS[kind](row.judged) for kind in kinds))
    )
    return islice(found, limit)


def _rows(path: Path) -> Iterator[FoundRow]:
    for number, line in enumerate(read_records(path), 1):
        yield FoundRow(read_judged(line, f"{path.name}:{number}"), str(line.get("row_digest") or ""))


def join_inputs(found: Sequence[FoundRow], rows: JudgeInput) -> list[FoundRow]:
    """Give judged rows their texts. Reads the input once or twice; memory grows with `found` only.

    Args:
        found: Judged rows.
        rows: The input that they were judged from.
    """
    rows.scan()
    wanted = {row.judged.id for row in found}
    items = {item.id: item for item in rows if item.id in wanted}
    joined = []
    for row in found:
        item = items.get(row.judged.id)
        if item is None or item.row is None:
            joined.append(replace(row, problem="the input has no row of this id"))
        elif row.digest not in ("", item.digest.hex()):
            joined.append(replace(row, problem="the input row is another than the one that was judged"))
        else:
            joined.append(replace(row, row=item.row))
    return joined


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """What one judgment was an answer to.

    Args:
        judgment: As judged.
        messages: Role and content of each message; as an endpoint got them, where one was asked.
        same: Whether it is what the judge was asked; None where the judgment kept no hash.
    """

    judgment: Judgment
    messages: Sequence[Mapping[str, str]]
    same: bool | None


@dataclass(frozen=True, slots=True)
class AskedRun:
    """How the judge of a run was asked, as the manifest beside the output keeps it.

    Args:
        identity: What was equal for the whole run.
        spec: The judge's spec.
        inputs: The input files.
    """

    identity: Mapping[str, Any]
    spec: JudgeSpec
    inputs: tuple[Path, ...]

    @classmethod
    def read(cls, judged: Path) -> AskedRun | None:
        """Return what is kept beside a file of judged rows, or None if nothing is.

        Raises:
            InputError: The spec is not the one that the run was begun with.
        """
        place = judged.with_name(f"{judged.name}.manifest.json")
        manifest = read_manifest(place) or {}
        note = manifest.get("notes", {}).get("asked")
        if note is None:
            return None
        spec = parse_config(JudgeSpec, note["spec"], f"{place}: notes.asked.spec")
        expected = manifest["identity"]["judge"]["spec_hash"]
        if spec.hash != expected:
            raise InputError(
                f"the spec was edited: its hash is {spec.hash}, the run's is {expected}",
                place=str(place),
                remedy="give back what was there",
            )
        return cls(manifest["identity"], spec, tuple(Path(item["path"]) for item in note["inputs"]))

    def prompts(self, found: FoundRow) -> Iterator[AskedPrompt]:
        """Yield what each judgment of a row with its texts was an answer to."""
        if found.row is None:
            return
        is_list = self.spec.protocol == "listwise"
        options = JudgingOptions(
            orders=self.identity["orders"] if is_list else "both",
            seed=self.identity["seed"],
            code_secret=self.identity.get("code_secret"),
        )
        asks = {(a.order, a.response): a for a in plan_row(self.spec, found.row, options)}
        for judgment in found.judged.judgments:
            ask = asks.get((judgment.order, judgment.response))
            if ask is None:
                continue
            kept, messages = judgment.prompt_hash, ask.request.messages
            same = None if kept is None else prompt_hash(messages) == kept
            yield AskedPrompt(judgment, self._as_sent(messages), same)

    def _as_sent(self, messages: Sequence[PromptMessage]) -> list[dict[str, str]]:
        if self.identity["judge"]["model"].get("engine") == "endpoint":
            return escape_untrusted(messages, self.spec.structural)
        return [{"role": message.role, "content": message.text} for message in messages]
