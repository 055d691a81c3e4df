"""All stages together: the ledger adds up, the order of rows does not matter, runs repeat to the byte."""

from __future__ import annotations

import json
import random

from reasrm.curation import Incoming
from reasrm.errors import InputError
from tests.curation.rows import ids, incoming, lines, pair, prompts, reasons, run
from tests.refusals import refused

SECTIONS = {
    "length": {"unit": "words", "total": {"max": 60}},
    "language": {"keep": "en"},
    "decontaminate": {"against": "b.jsonl", "on_overlap": "drop"},
    "duplicates": {},
    "balance": {"longer": [0.45, 0.55]},
    "splits": {"sizes": {"train": "rest", "test": 0.2}},
    "swap": True,
}
STAGES = ["read", "length", "language", "decontamination", "exact_duplicates", "near_duplicates", "balance"]


def everything(count=80):
    """Rows for every stage to drop some of, and the benchmark that two of them come from."""
    rng = random.Random(0)
    pairs = []
    for n in range(count):
        text = " ".join(f"w{rng.randrange(10_000)}" for _ in range(30))
        chosen, rejected = ("a longer answer", "short") if n % 4 else ("short", "a longer answer")
        pairs.append(pair(f"r{n}", text, chosen, rejected, meta={"source": f"s{n % 3}"}))
    text = pairs[0].prompt[0].content
    pairs += [
        pair("long", " ".join(["word"] * 70), "x", "y"),
        pair("russian", "привет мир", "да", "нет"),
        pair("copy", text.upper(), "a longer answer", "short"),
        pair("copy of 1", pairs[1].prompt[0].content, "A LONGER answer", "short"),
        pair("like 2", pairs[2].prompt[0].content + " more", "a longer answer", "short"),
    ]
    bad = [Incoming("in.jsonl:900", reason="bad_json", message="not JSON", source="trl")]
    bad += [Incoming("in.jsonl:901", reason="tie", message="a tie", row_id="t", source="rows")]
    return incoming(pairs) + bad, prompts(text)


def test_the_ledger_adds_up(tmp_path):
    rows, benchmark = everything()
    ledger = run(rows, tmp_path, benchmark, **SECTIONS).report["ledger"]
    assert [stage["stage"] for stage in ledger["stages"]] == STAGES
    left = ledger["rows"]
    for stage in ledger["stages"]:
        assert stage["rows"] == left
        left -= sum(stage["dropped"].values())
        assert stage["kept"] == left
        assert stage["dropped"], f"{stage['stage']} had something to drop"
    assert (ledger["rows"], ledger["kept"]) == (len(rows), left)
    kept = ids(tmp_path / "train.jsonl") + ids(tmp_path / "test.jsonl")
    dropped = lines(tmp_path / "dropped.jsonl")
    assert (len(kept), len(dropped)) == (ledger["kept"], ledger["dropped"])
    assert len(kept) + len(dropped) == len(rows)
    names = [row.row_id for row in rows]
    assert sorted(map(str, kept + [line["id"] for line in dropped])) == sorted(map(str, names))
    by_source = {item["source"]: item["kept"] + sum(item["dropped"].values()) for item in ledger["sources"]}
    assert by_source == {"s0": 27, "s1": 27, "s2": 26, "trl": 6, "rows": 1}
    found = reasons(tmp_path / "dropped.jsonl")
    assert {key: found[key] for key in ("long", "russian", "copy", "r0", "t")} == {
        "long": "too_long", "russian": "script", "copy": "overlap_exact", "r0": "overlap_exact", "t": "tie",
    }  # fmt: skip
    assert {line["place"] for line in dropped if line["id"] is None} == {"in.jsonl:900"}


def test_the_same_call_makes_the_same_bytes_and_another_order_the_same_rows(tmp_path):
    rows, benchmark = everything()
    first, second = (run(rows, tmp_path / name, benchmark, **SECTIONS) for name in "ab")
    assert first.report == second.report
    for name in first.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    random.Random(1).shuffle(rows)
    third = run(rows, tmp_path / "c", benchmark, **SECTIONS)
    for name in first.files:
        ours, theirs = (sorted((tmp_path / folder / name).read_bytes().splitlines()) for folder in "ac")
        assert ours == theirs, name
    assert third.report["ledger"] == first.report["ledger"]


def test_a_stage_without_a_section_does_not_run(tmp_path):
    rows, _ = everything()
    curated = run(rows, tmp_path)
    assert curated.files == ["dropped.jsonl", "pairs.jsonl"]
    assert [stage["stage"] for stage in curated.report["ledger"]["stages"]] == ["read"]
    assert ids(tmp_path / "pairs.jsonl") == [row.row_id for row in rows if row.pair]
    assert "overlap" not in curated.report


def test_rows_come_out_as_they_went_in(tmp_path):
    extra = {
        "language": "en",
        "group": "g",
        "principle": "be brief",
        "meta": {"source": "mine", "x": [1, None]},
    }
    run(incoming([pair("p", "Ünïcode\u2028\x85 ?", "ja", "nein", **extra)]), tmp_path, duplicates={})
    (line,) = (tmp_path / "pairs.jsonl").read_bytes().split(b"\n")[:-1]
    assert json.loads(line) == {
        "id": "p",
        "prompt": [{"role": "user", "content": "Ünïcode\u2028\x85 ?"}],
        "chosen": [{"role": "assistant", "content": "ja"}],
        "rejected": [{"role": "assistant", "content": "nein"}],
        **extra,
    }


def test_repeated_ids_are_refused_unless_they_come_from_equal_content(tmp_path):
    rows = [pair("same", "a", "x", "y"), pair("other", "b", "x", "y"), pair("same", "c", "x", "y")]
    with refused(InputError, "'same'", "in.jsonl:1", "in.jsonl:3"):
        run(incoming(rows), tmp_path / "own")
    run(incoming(rows, id_is_derived=True), tmp_path / "derived")
    assert ids(tmp_path / "derived" / "pairs.jsonl") == ["same", "other", "same#1"]


def test_nothing_left_is_an_error_that_says_where_the_rows_went(tmp_path):
    rows = incoming([pair("a", "prompt", "x", "y")])
    with refused(InputError, "1 × too_long"):
        run(rows, tmp_path / "length", length={"prompt": {"max": 2}})
    with refused(InputError, "0 rows", "empty"):
        run([], tmp_path / "empty")
    one_sided = incoming([pair("a", "prompt", "long", "y")])
    with refused(InputError, "1 × chosen_longer"):
        run(one_sided, tmp_path / "sides", balance={"longer": [0.4, 0.6]})
