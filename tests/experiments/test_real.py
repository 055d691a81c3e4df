"""The experiments on a real model: measures, claims and pages by hand, rows, and every part on a tiny model."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.real import __main__ as program
from experiments.real import rows, steps
from experiments.real.claims import Family, RealClaims, claims_section, compare, load_claims
from experiments.real.lab import Lab, Size
from experiments.real.measures import Counts, by_row, counts_of, difference, share
from experiments.real.preferences import length_rows
from experiments.real.rubrics import shown_rubrics
from experiments.real.steps import SPEC
from reasrm.demo.stages import write_pairs
from reasrm.durable.log import seal
from reasrm.judged import JudgedRow
from reasrm.protocol.spec import load_spec
from reasrm.records import Judgment, Message, Order, ParseStatus, PreferencePair, RowStatus, Verdict
from tests.commands import ROOT, rows_of
from tests.experiments.shared import in_process
from tests.tiny import build_tiny_model

# --- measures


def judgment(order: Order, winner: str | None) -> Judgment:
    status = ParseStatus.NO_VERDICT if winner is None else ParseStatus.OK
    return Judgment(
        status=status, verdict=winner and Verdict(winner), text="", order=order, vote=0, num_tokens=10
    )


def judged(ab: str | None, ba: str | None) -> JudgedRow:
    return JudgedRow(
        id="r",
        status=RowStatus.OK,
        label="A",
        subset="iid",
        judgments=(judgment(Order.AB, ab), judgment(Order.BA, ba)),
    )


def test_a_row_is_counted_over_both_orders():
    # In order BA the second response is shown first.
    assert counts_of(judged("A", "B")) == Counts(
        split="iid", asked=2, right=1, wrong=1, first=2, both=1, same=0, tokens=20
    )
    assert counts_of(judged("A", "A"))["first"] == 1
    assert counts_of(judged(None, "A")) == Counts(
        split="iid", asked=2, right=1, wrong=0, first=0, both=0, same=0, tokens=20
    )


def row(right: float, wrong: float, first: float = 1, split: str = "iid", same: int = 0) -> Counts:
    both = int(right + wrong == 2)
    return Counts(split=split, asked=2, right=right, wrong=wrong, first=first, both=both, same=same, tokens=8)


def test_shares_are_ratios_over_rows_and_seeds():
    seeds = [{"a": row(2, 0), "b": row(0, 1, 0, "hard")}, {"a": row(1, 1, 2), "b": row(0, 0, 0, "hard")}]
    assert share(seeds, "accuracy").value == 3 / 8
    assert share(seeds, "accuracy or coin").value == (3 + 3 / 2) / 8
    assert share(seeds, "coverage").value == 5 / 8
    assert share(seeds, "first shown").value == 3 / 5
    assert share(seeds, "accuracy", "hard").value == 0
    assert share(seeds, "consistency", "hard").value is None


def test_position_is_the_distance_of_the_first_shown_from_one_half():
    second = [{"a": row(1, 1, 0), "b": row(2, 0, 1)}]  # one of four chose the first
    assert by_row(second, "position") == {"a": [0.5], "b": [0.0]}
    assert by_row([{"a": row(1, 1, 2)}], "position") == {"a": [0.5]}


def test_differences_are_paired_by_row_and_seed():
    claim, by_seed = difference({"a": [1.0, 0.5], "b": [0.0, 0.5]}, {"a": [0.0, 0.5], "b": [0.0, 0.0]})
    assert claim.differences == [0.5, 0.25]
    assert by_seed == [0.5, 0.25]
    with pytest.raises(ValueError, match="different rows"):
        difference({"a": [1.0]}, {"b": [1.0]})


# --- claims


def arms(ours: float, theirs: float, **more: float) -> dict[str, Any]:
    """Twenty rows of one seed; so many of every ten are right in both orders."""

    def arm(share: float) -> list[dict[str, Counts]]:
        return [{str(n): row(2, 0) if n % 10 < 10 * share else row(0, 2) for n in range(20)}]

    return {"ours": arm(ours), "theirs": arm(theirs), **{name: arm(value) for name, value in more.items()}}


def test_a_claim_is_confirmed_on_its_own_side_only():
    claims = [{"ours": "ours", "theirs": "theirs", "what": "accuracy"}]
    claims += [{"ours": "theirs", "theirs": "ours", "what": "accuracy"}]
    claims += [{"ours": "theirs", "theirs": "ours", "what": "accuracy", "margin": 0.99}]
    claims += [{"ours": "ours", "theirs": "nobody", "what": "accuracy"}]
    family = Family.model_validate({"seeds": [0], "level": 0.05, "claims": claims})
    text = claims_section(family, {}, arms(0.9, 0.2), [0])
    lines = [line for line in text.splitlines() if line.startswith(("| ours", "| theirs"))]
    assert [line.split("|")[-2].strip() for line in lines] == [
        "**confirmed**",
        "not confirmed",
        "**confirmed**",
        "not run",
    ]
    assert "+70.0 [" in lines[0]
    assert "| 0.000 |" in lines[0]
    assert "the seeds above" not in text.lower()
    assert "decide none of them" in claims_section(family, {}, arms(0.9, 0.2), [0, 1])


def test_claims_that_were_not_run_are_corrected_for():
    claim = {"ours": "ours", "theirs": "theirs", "what": "accuracy"}
    claims = [claim, *({**claim, "theirs": f"absent {n}"} for n in range(3))]
    found = []
    for family in (claims[:1], claims):
        read = Family.model_validate({"seeds": [0], "level": 0.05, "claims": family})
        line = next(x for x in claims_section(read, {}, arms(0.5, 0.3), [0]).splitlines() if "| ours" in x)
        found.append(float(line.split("|")[-3]))
    assert 0 < found[0] < 0.25
    assert found[1] == pytest.approx(4 * found[0], abs=0.003)


def test_claims_about_rl_are_read_on_the_seeds_of_the_claims_alone(tmp_path):
    one = {split: row(2, 0, split=split) for split in rows.SPLITS}
    about = {"code": "c", "date": "d", "model": "m", "dtype": "float32", "size": asdict(Size()), "stages": {}}
    styles = {style: [one] * 3 for style in ("answer", "marks", "evidence")}
    after = {"arms": {"RL": [one], "its start": [one]}, "best": "marks", "tuned": {}, "seeds": [1]}
    tables = {"reasoning": {"arms": styles, "seeds": [1, 2, 3], **about}, "rl": {**after, **about}}
    program.write_page(tmp_path / "page.md", "reasoning", tables)
    text = (tmp_path / "page.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| RL beats") and "not run" in line]


def test_chance_is_right_in_half_of_all_judgments():
    claim, by_seed = compare(arms(0.5, 0.5), "ours", "chance", "accuracy")
    assert (claim.mean, by_seed) == (0.0, [0.0])


def test_the_claims_name_arms_that_are_run():
    claims = load_claims()
    known = {
        "reasoning": {"answer", "marks", "evidence", "RL", "its start"},
        "transfer": {"untouched", "untouched, LLMBar's form", "evidence", "RL", "chance"},
        "rubrics": {"none", "gold", "own, untouched", "own, taught"},
        "preferences": {"answer", "length", "chance"},
    }
    splits = {"all", *rows.SPLITS, *rows.BENCHMARKS}
    for part in RealClaims.model_fields:
        family: Family = getattr(claims, part)
        assert {name for claim in family.claims for name in (claim.ours, claim.theirs)} <= known[part]
        assert {claim.split for claim in family.claims} <= splits
        assert family.seeds == list(program.SEEDS[part])


# --- rows


def pair(name: str, chosen: str = "yes", rejected: str = "no", **more: Any) -> PreferencePair:
    return PreferencePair(
        id=name, prompt=(Message("user", f"say {name}"),), chosen=chosen, rejected=rejected, **more
    )


def test_an_answer_only_row_holds_the_verdict_of_the_drawn_order(tmp_path):
    path = write_pairs([pair(str(n)) for n in range(40)], tmp_path / "pairs.jsonl")
    found = list(rows.answer_rows(path, SPEC, 0))
    for line in found:
        shown = line["prompt"][-1]["content"]
        right = "A" if "Response A: yes" in shown else "B"
        assert f"Response {right}: yes" in shown
        assert line["completion"][0]["content"] == f"<answer>[[{right}]]</answer>"
    assert 8 < Counter(line["completion"][0]["content"] for line in found)["<answer>[[A]]</answer>"] < 32
    assert list(rows.answer_rows(path, SPEC, 0)) == found


def test_length_takes_the_side_that_it_learnt():
    pairs = {name: pair(name, *texts) for name, texts in {"a": ("long", "x"), "b": ("x", "y")}.items()}
    assert length_rows(pairs, longer=True)["a"]["right"] == 2
    assert length_rows(pairs, longer=False)["a"]["right"] == 0
    assert length_rows(pairs, longer=True)["b"]["right"] == 1


def test_gold_rubrics_are_of_the_rows_that_are_judged(tmp_path):
    plain = list(rows.english("kinds", 3))
    shown = list(rows.english("kinds", 3, rubric_share=1.0))
    assert [replace(one, rubric=None) for one in shown] == plain
    lines = list(rows.gold_lines(shown))
    assert [line["id"] for line in lines] == [one.id for one in plain]
    taught = list(rows.writer_rows(shown, "rubric-writer"))
    assert all("The response" not in line["completion"][0]["content"] for line in taught)
    assert taught[0]["meta"]["spec_hash"] == load_spec("rubric-writer").hash


def test_rubrics_are_shown_with_what_the_checks_find(tmp_path):
    one = pair("1", "a very long walk at dusk", "no")
    path = tmp_path / "rubrics.jsonl"
    text = "The response is better than the other response."
    line = {"id": "1", "criteria": [{"kind": "principle", "text": text}], "condition": "prompt"}
    path.write_text(json.dumps(line) + "\n")
    (said,) = shown_rubrics(path, {"1": one}, 3)
    assert text in said
    assert "checks: comparative in criterion 1" in said
    path.with_name("rubrics.jsonl.errors.jsonl").write_bytes(seal({"code": "off_menu", "text": "Sure!"}))
    assert list(shown_rubrics(path, {"1": one}, 3))[1] == "no rubric (off_menu):\nSure!"


# --- pages and parts


def test_the_pages_that_ship_are_what_the_program_writes(tmp_path, capsys):
    program.main(["--only", "--output", str(tmp_path / "none"), "--pages", str(tmp_path)])
    capsys.readouterr()
    for part in program.PAGES:
        shipped = (ROOT / "docs" / "results" / f"real-{part}.md").read_text()
        if "Not run yet" in shipped:
            assert shipped == (tmp_path / f"real-{part}.md").read_text()


def test_a_page_of_results_is_not_replaced_by_one_without(tmp_path):
    program.main(["--dry-run", "--output", str(tmp_path / "none"), "--pages", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_how_long_it_takes(tmp_path, capsys):
    program.main(["--dry-run", "--output", str(tmp_path / "none")])
    found = json.loads(capsys.readouterr().out)["minutes"]
    assert set(found) == set(program.SEEDS)
    assert 120 < sum(found.values()) <= 300
    assert not (tmp_path / "none").exists()


TINY = {
    "tokens": 30000, "pairs": 16, "rows": 1, "tune-rows": 1, "rl-steps": 1, "rl-pairs": 8, "short": 4000,
    "subset-rows": 1, "writer-steps": 1, "train-pairs": 8, "test-pairs": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A tiny model with random weights, and a few rows in the form of each benchmark."""
    root = tmp_path_factory.mktemp("real")
    build_tiny_model(root / "model", context=4096)
    data = root / "data"
    for file in (*rows.BENCHMARKS.values(), "hh-rlhf/x"):
        (data / file).parent.mkdir(parents=True, exist_ok=True)
    for name in ("natural", "adv_neighbor"):
        line = {"input": f"Say {name}.", "output_1": "I do.", "output_2": "No.", "label": 1}
        (data / "llmbar" / f"{name}.json").write_text(json.dumps([line]))
    bench = [
        {
            "prompt": f"Question {n}?",
            "chosen": "So.",
            "chosen_model": "a",
            "rejected": f"Not {n}.",
            "rejected_model": "b",
        }
        | {"subset": subset, "id": n}
        for n, subset in enumerate(["xstest-should-respond"] * 8 + ["llmbar-natural"] * 8 + ["hep-go"] * 2)
    ]
    pq.write_table(pa.Table.from_pylist(bench), data / rows.BENCHMARKS["RewardBench"])
    with gzip.open(data / "hh-rlhf" / "harmless-base_test.jsonl.gz", "wt") as stream:
        for n in range(30):
            # Words that no other prompt has, or prompts would count as near-duplicates.
            start = f"\n\nHuman: {' '.join(f'w{n}x{k}' for k in range(6))}?\n\nAssistant: "
            stream.write(
                json.dumps({"chosen": f"{start}I would not {n}.", "rejected": f"{start}Do {n}."}) + "\n"
            )
    return root


def run_parts(
    material: Path, monkeypatch: pytest.MonkeyPatch, *parts: str, runner: Callable[..., Any] = in_process
) -> Path:
    monkeypatch.setattr(steps, "run_command", runner)
    words: list[object] = [
        "--only",
        *parts,
        "--seeds",
        "0",
        "--model",
        material / "model",
        "--data",
        material / "data",
    ]
    words += [word for name, count in TINY.items() for word in (f"--{name}", count)]
    words += ["--output", material / "out", "--pages", material / "pages"]
    program.main(list(map(str, words)))
    pages = {path: path.read_bytes() for path in (material / "pages").iterdir()}
    with monkeypatch.context() as again:
        again.setattr(steps, "run_command", lambda *_: pytest.fail("done twice"))
        program.main(list(map(str, words)))
    assert pages == {path: path.read_bytes() for path in (material / "pages").iterdir()}
    return material / "out"


def test_short_rows_are_chosen_by_length_and_subset(material):
    found = list(rows.benchmark_rows(material / "data", str(material / "model"), 4000, 3))
    assert Counter(one.subset for one in found) == {
        "LLMBar natural": 1,
        "LLMBar adversarial": 1,
        "RewardBench": 3,
    }
    assert {one.meta["subset"] for one in found if one.subset == "RewardBench"} == {"xstest-should-respond"}
    assert not list(rows.benchmark_rows(material / "data", str(material / "model"), 3, 3))


@pytest.mark.slow
def test_arms_process_equal_tokens_and_rl_goes_on_from_the_best(material, monkeypatch):
    out = run_parts(material, monkeypatch, "reasoning", "rl")
    table = json.loads((out / "table-reasoning.json").read_bytes())
    stages = [table["stages"][f"{style}, seed 0"] for style in ("answer", "marks", "evidence")]
    for stage in stages:
        assert abs(stage["tokens"] - TINY["tokens"]) <= stage["tokens"] / stage["steps"], "within a step"
    assert stages[0]["steps"] > stages[2]["steps"], "its rows are shorter"
    assert all(len(seeds[0]) == 4 for seeds in table["arms"].values())
    rl = json.loads((out / "table-rl.json").read_bytes())
    assert set(rl["tuned"]) == {"answer", "marks", "evidence"}
    assert rl["stages"]["RL, seed 0"]["steps"] == 1
    text = (material / "pages" / "real-reasoning.md").read_text()
    assert "Not run yet" not in text
    assert "| evidence − marks |" in text
    assert "| RL − its start |" in text
    assert "decide none of them" in text


@pytest.mark.slow
def test_benchmarks_are_judged_before_and_after(material, monkeypatch):
    out = run_parts(material, monkeypatch, "transfer")
    table = json.loads((out / "table-transfer.json").read_bytes())
    assert table["counts"] == {"LLMBar natural": 1, "LLMBar adversarial": 1, "RewardBench": 1}
    assert set(table["arms"]) == {"untouched", "untouched, LLMBar's form", "evidence", "RL"}


@pytest.mark.slow
def test_a_judge_is_asked_under_rubrics_of_its_own_and_none(material, monkeypatch):
    out = run_parts(material, monkeypatch, "rubrics")
    table = json.loads((out / "table-rubrics.json").read_bytes())
    assert all(len(seeds[0]) == 4 for seeds in table["arms"].values())
    assert table["about"]["gold, seed 0"]["recall"]["value"] == 1.0
    assert table["written"]["own, taught, seed 0"]["asked"] == 4
    assert all(len(texts) == 3 for texts in table["shown"].values())


@pytest.mark.slow
def test_human_preferences_are_learnt_from_after_a_stop(material, monkeypatch):
    asked: list[str] = []

    def runner(words: list[str], measured: Path) -> tuple[int, dict[str, Any], float | None]:
        asked.append(words[0])
        first = asked.count("sft") == 1
        return (130, {}, None) if first and words[0] == "sft" else in_process(words, measured)

    with pytest.raises(SystemExit, match="130"):
        run_parts(material, monkeypatch, "preferences", runner=runner)
    run_parts(material, monkeypatch, "preferences", runner=runner)
    assert asked == ["data", "sft", "sft", "judge"]
    out = material / "out"
    table = json.loads((out / "table-preferences.json").read_bytes())
    assert table["pairs"] == [[8, 2]]
    assert table["longer"] == [1.0]
    assert share(table["arms"]["length"], "accuracy").value == 1.0


def test_another_size_or_command_is_another_file(tmp_path):
    lab = Lab(tmp_path, "model", Size(rows=1, tune_rows=1), tmp_path)
    other = Lab(tmp_path, "model", Size(rows=2, tune_rows=1), tmp_path)
    assert lab.tests() != other.tests()
    assert len(rows_of(other.tests())) == 8
    assert lab.tests("tune") == other.tests("tune")
