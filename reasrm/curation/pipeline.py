"""A whole curation: the stages in their fixed order, each over what the one before left.

    read · length · language · decontamination · exact duplicates · near-duplicates · consistency · balance · splits

What costs little comes first. Contaminated rows go before duplicates are sought, so that no clean row is dropped in
favour of a contaminated one. The judge sees only what is left; sides are balanced after labels may have been flipped.
Every stage notes in the ledger what it drops. The same inputs, config and version give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypedDict

import numpy as np
import orjson

from reasrm.curation.config import CurationConfig, DecontaminationSection
from reasrm.curation.consistency import filter_by_judge
from reasrm.curation.contamination import BenchmarkIndex, BenchmarkPrompt, Overlap, OverlapFile, OverlapFound
from reasrm.curation.duplicates import drop_equal, drop_near
from reasrm.curation.filters import Filter, language_filter, length_filter
from reasrm.curation.ledger import DropLedger
from reasrm.curation.lines import comparisons, flip
from reasrm.curation.sides import balance_lengths, side_report
from reasrm.curation.splits import split_rows
from reasrm.curation.store import Incoming, RowStore, StoredRow
from reasrm.curation.text import draw
from reasrm.durable import IdIndex
from reasrm.errors import ConfigError, InputError
from reasrm.files import file_sha256
from reasrm.records import PreferencePair
from reasrm.strictjson import dumps

__all__ = ["Curated", "Doors", "curate"]

_OnStage = Callable[[str, int, int | None], None]


class _Where(TypedDict):
    row_id: str
    place: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a curation is given from outside, so that it knows no file format and no judge.

    Args:
        to_line: A pair and its source to its line of `pairs.jsonl`.
        judge: Judges the pairs of a file and returns the file of judged rows; for `consistency.run`.
        on_progress: Called with stage, rows done and rows in all (None where unknown), for every row.
    """

    to_line: Callable[[PreferencePair, str | None], dict[str, Any]]
    judge: Callable[[Path], Path] | None = None
    on_progress: _OnStage = lambda stage, done, total: None


@dataclass(slots=True)
class Curated:
    """What a curation made, in its work folder.

    Args:
        files: Names of the files.
        report: Everything that `curation.json` says of them.
    """

    files: list[str]
    report: dict[str, Any]


def curate(
    rows: Iterable[Incoming],
    benchmarks: Iterable[BenchmarkPrompt],
    config: CurationConfig,
    folder: Path,
    doors: Doors,
    *,
    place: str = "config",
) -> Curated:
    """Run all stages that the config names.

    Args:
        rows: Every row of the inputs, usable or not.
        benchmarks: The prompts of the benchmarks that the config names.
        config: What to do.
        folder: An empty folder to work and write in.
        doors: Formats, judge, progress.
        place: The config's name, for errors.

    Raises:
        OverlapFound: Rows overlap with a benchmark and the config says to refuse; `overlap.jsonl` names them.
        ConfigError: The config cannot be carried out.
        InputError: No row is usable, ids repeat, or judged rows do not fit.
    """
    with ExitStack() as stack:
        ledger = DropLedger(stack.enter_context(open(folder / "dropped.jsonl", "wb")))
        store = RowStore(folder / "rows", config.seed)
        stack.callback(store.close)
        run = _Run(config, folder, doors, ledger, store, place)
        run.read(rows, benchmarks)
        run.remove_duplicates()
        run.ask_judge()
        run.balance()
        labels = run.split()
        run.write(labels)
    return Curated(run.files, run.report)


@dataclass(slots=True)
class _Run:
    config: CurationConfig
    folder: Path
    doors: Doors
    ledger: DropLedger
    store: RowStore
    place: str
    report: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=lambda: ["dropped.jsonl"])

    def read(self, rows: Iterable[Incoming], benchmarks: Iterable[BenchmarkPrompt]) -> None:
        """Take in all rows, and drop those that can be told to go one by one."""
        filters = self._filters()
        section = self.config.decontaminate
        index = None if section is None else BenchmarkIndex(benchmarks, section)
        for stage in ("read", *filters, *([] if index is None else ["decontamination"])):
            self.ledger.begin(stage)
        if section is None or index is None:
            self._take_in(rows, filters, lambda pair, where: None)
        else:
            self._decontaminate(rows, filters, section, index)
        self.store.freeze()
        self._refuse_nothing(len(self.store))

    def _take_in(
        self,
        rows: Iterable[Incoming],
        filters: Mapping[str, Filter],
        overlaps: Callable[[PreferencePair, _Where], Overlap | None],
    ) -> None:
        for number, (row, pair, base_id) in enumerate(self._admit(rows)):
            self.doors.on_progress("reading", number, None)
            line = self.doors.to_line(pair, row.source)
            source = str(line["meta"].get("source", row.source))
            where: _Where = {"row_id": pair.id, "place": row.place, "source": source}
            flaws = ((stage, judge(pair)) for stage, judge in filters.items())
            stage, flaw = next((found for found in flaws if found[1] is not None), ("", None))
            if flaw is not None:
                self.ledger.drop(stage, flaw[0], message=flaw[1], **where)
                continue
            overlap = overlaps(pair, where)
            if overlap is not None:
                reason = f"overlap_{overlap.kind}"
                self.ledger.drop("decontamination", reason, **where, **overlap.to_json())
                continue
            self.store.add(row, pair, line, base_id, source)

    def _admit(self, rows: Iterable[Incoming]) -> Iterator[tuple[Incoming, PreferencePair, str]]:
        """Yield usable rows under unique ids, with the id that equal content shares; drop the others.

        Raises:
            InputError: Rows have the same id of their own.
        """
        seen = IdIndex()
        repeats: Counter[str] = Counter()
        clashes: list[tuple[str, str]] = []
        for row in rows:
            self.ledger.num_read += 1
            if row.pair is None:
                self.ledger.drop(
                    "read",
                    row.reason,
                    row_id=row.row_id,
                    place=row.place,
                    source=row.source,
                    message=row.message,
                )
                continue
            pair, base_id = row.pair, row.pair.id
            while not seen.add(pair.id):
                if not row.id_is_derived:
                    clashes.append((pair.id, row.place))
                    break
                repeats[base_id] += 1
                pair = replace(pair, id=f"{base_id}#{repeats[base_id]}")
            if not clashes:
                yield row, pair, base_id
        if clashes:
            self._refuse_clashes(clashes)

    def _refuse_clashes(self, clashes: Sequence[tuple[str, str]]) -> None:
        """Name the first ten rows that repeat an id, and where it stood first if that row was not dropped."""
        self.store.freeze()
        wanted = dict(clashes[:10])
        first: dict[str, str] = {}
        for _, row in self.store.rows():
            row_id = str(row.data()["id"])
            if row_id in wanted:
                first.setdefault(row_id, row.place)
        shown = (
            f"{row_id!r} at {first.get(row_id, 'an earlier row')} and {place}"
            for row_id, place in clashes[:10]
        )
        raise InputError(
            f"{len(clashes)} rows repeat the id of an earlier row: {'; '.join(shown)}",
            place=self.place,
            remedy="make the ids unique, or remove the field to have ids derived from the content",
        )

    def _decontaminate(
        self,
        rows: Iterable[Incoming],
        filters: Mapping[str, Filter],
        section: DecontaminationSection,
        index: BenchmarkIndex,
    ) -> None:
        if not index.num_prompts:
            raise InputError("no benchmark has a prompt", place=f"{self.place}: decontaminate.against")
        with closing(OverlapFile(self.folder / "overlap.jsonl")) as found:
            self.files.append("overlap.jsonl")

            def overlaps(pair: PreferencePair, where: _Where) -> Overlap | None:
                overlap = index.find(pair.prompt)
                if overlap is not None:
                    found.add(pair.id, where["place"], overlap)
                return overlap if section.on_overlap == "drop" else None

            self._take_in(rows, filters, overlaps)
            num_read = self.ledger.num_read
            self.report["overlap"] = {"action": section.on_overlap, **found.report(index, num_read)}
        if found.num_rows and section.on_overlap == "refuse":
            raise OverlapFound(found.num_rows, num_read, found.examples, self.place)

    def _filters(self) -> dict[str, Filter]:
        filters: dict[str, Filter] = {}
        if self.config.length is not None:
            filters["length"] = length_filter(self.config.length, self.place)
        if self.config.language is not None:
            filters["language"] = language_filter(self.config.language, self.place)
        return filters

    def _refuse_nothing(self, num_left: int) -> None:
        if not num_left:
            stages = self.ledger.to_json(Counter())["stages"]
            reasons = [f"{n} × {why}" for stage in stages for why, n in stage["dropped"].items()]
            raise InputError(
                f"none of {self.ledger.num_read} rows is left: {', '.join(reasons) or 'the input is empty'}",
                place=self.place,
                remedy="loosen the filters, or look at the rows",
            )

    def remove_duplicates(self) -> None:
        """Make one of rows that say the same."""
        section = self.config.duplicates
        if section is None:
            return
        if section.exact:
            drop_equal(self.store, section, self.ledger)
        if section.near is not None:
            self.report["near_duplicates"] = drop_near(
                self.store,
                section.unit,
                section.near,
                self.ledger,
                self.folder / "near",
                self.config.seed,
                self._counter("indexing texts"),
                self._counter("comparing texts"),
            )

    def ask_judge(self) -> None:
        """Drop or flip the labels that the judge does not confirm."""
        section = self.config.consistency
        if section is None:
            return
        judged = [Path(name) for name in section.judged]
        if section.run is not None:
            if self.doors.judge is None:
                raise ConfigError("there is no judge to run", place=f"{self.place}: consistency.run")
            candidates = self.folder / "candidates.jsonl"
            with open(candidates, "wb") as stream:
                for _, row in self.store.rows(self._counter("writing candidates")):
                    stream.write(row.line + b"\n")
            judged = [self.doors.judge(candidates)]
        self.report["consistency"] = filter_by_judge(
            self.store, section, judged, self.ledger, self._counter("reading verdicts")
        )

    def balance(self) -> None:
        """Report how the sides differ, and balance their lengths if asked."""
        self.report["sides"] = {"before": side_report(self.store)}
        if self.config.balance is not None:
            balance_lengths(self.store, self.config.balance, self.ledger)
        self.report["sides"]["after"] = side_report(self.store)
        self._refuse_nothing(self.store.num_alive)

    def split(self) -> Any:
        """Return the number of each row's split."""
        section = self.config.splits
        if section is None:
            return np.where(self.store.alive, 0, -1)
        labels, report = split_rows(
            self.store,
            section,
            self.folder / "prompts",
            self.config.seed,
            draw(self.config.seed, "splits"),
            self._counter("indexing prompts"),
            self._counter("comparing prompts"),
        )
        self.report["prompts"] = report
        return labels

    def write(self, labels: Any) -> None:
        """Write every split in the order of the input, and the report's counts."""
        splits = ["pairs"] if self.config.splits is None else list(self.config.splits.sizes)
        kept_by_source: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        on_row = self._counter("writing")
        with ExitStack() as stack:
            pairs = [self._open(stack, f"{name}.jsonl") for name in splits]
            both = [self._open(stack, f"{name}.comparisons.jsonl") for name in splits if self.config.swap]
            for index, row in self.store.rows(on_row):
                number = int(labels[index])
                line = self._line(index, row)
                pairs[number].write(line + b"\n")
                if self.config.swap:
                    for comparison in comparisons(orjson.loads(line)):
                        both[number].write(dumps(comparison) + b"\n")
                counts[splits[number]] += 1
                kept_by_source[self.store.source(index)] += 1
        self.report["splits"] = [
            {
                "split": name,
                "rows": counts[name],
                "file": f"{name}.jsonl",
                "sha256": file_sha256(self.folder / f"{name}.jsonl"),
            }
            for name in splits
        ]
        self.report["ledger"] = self.ledger.to_json(kept_by_source)

    def _line(self, index: int, row: StoredRow) -> bytes:
        confidence = float(self.store.flipped[index])
        return dumps(flip(row.data(), confidence)) if confidence > 0 else row.line

    def _open(self, stack: ExitStack, name: str) -> IO[bytes]:
        self.files.append(name)
        return stack.enter_context(open(self.folder / name, "wb"))

    def _counter(self, stage: str) -> Callable[[int], None]:
        total = self.store.num_alive
        return lambda done: self.doors.on_progress(stage, done, total)
