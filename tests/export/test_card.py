"""What the model card says, and what other people's names cannot make it say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from reasrm.errors import InputError
from reasrm.export.card import render_card
from reasrm.export.measured import Measurement, check_measured, read_results
from reasrm.export.source import ExportSource, Provenance, from_run
from reasrm.files import file_sha256
from reasrm.generation.checkpoint import Checkpoint
from reasrm.protocol.spec import builtin_specs, load_spec
from reasrm.runs.origin import BaseIdentity, Benchmark, Check, HashedFile, Input, TrainedStage
from tests.export.runs import SPEC, make_run

IDENTITY = {
    "library": {"name": "reasrm", "version": "1.2.3"},
    "dtype": "float32",
    "rounded": False,
    "merged_adapter": True,
    "weights_sha256": "ab" * 32,
    "comparison": {
        "logits_max_abs_diff": 1.25e-5,
        "largest_logit": 6.5,
        "greedy_identical": True,
        "greedy_tokens": 16,
    },
}


def write_result(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    result = {
        "suite": "pairs",
        "score": 0.75,
        "num_rows": 40,
        "metrics": {
            "score": {"value": 0.75, "ci_low": 0.6, "ci_high": 0.86, "n": 40},
            "coverage": {"value": 1.0, "ci_low": 0.91, "ci_high": 1.0, "n": 40},
            "position_a_rate": {"value": 0.5125, "ci_low": 0.45, "ci_high": 0.57, "n": 80},
            "consistency": {"value": 0.8, "ci_low": 0.65, "ci_high": 0.9, "n": 40},
        },
        "policy": {"orders": "both", "votes": 1},
        "judge": {"name": "/home/somebody/judges/mine/model", "spec_hash": SPEC.hash},
        "data_sha256": "cd" * 32,
        **changes,
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def source(**changes: Any) -> ExportSource:
    provenance = Provenance(
        stage="sft",
        step=120,
        config={
            "lora": {"r": 8},
            "trainer": {"learning_rate": 5e-6},
            "data": {"train": ["x"], "max_tokens": 400},
        },
        manifest={
            "seed": 5,
            "inputs": {"train:0": {"path": "/data/of/somebody/rows.jsonl", "sha256": "ef" * 32}},
            "versions": {"reasrm": "1.2.3", "torch": "2.13.0"},
            "git_commit": "0123abc",
        },
        data={"rows": 990, "dropped": {"too_long": 10}, "validation_rows": 50, "validation_dropped": {}},
    )
    fields: dict[str, Any] = {
        "model": Checkpoint("x"),
        "adapter": None,
        "spec": SPEC,
        "base": HUB,
        "stages": (stage(),),
        "provenance": provenance,
    }
    return ExportSource(**{**fields, **changes})


HUB = BaseIdentity(name="Qwen/Qwen3-8B", revision="f00d", fingerprint="f00d")


def stage(**changes: Any) -> TrainedStage:
    fields: dict[str, Any] = {
        "stage": "sft",
        "run": "mine",
        "step": 120,
        "seed": 5,
        "base": HUB,
        "rows": 990,
        "inputs": {"train:0": Input(name="rows.jsonl", sha256="ef" * 32)},
    }
    return TrainedStage(**{**fields, **changes})


def front_matter(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


def card(*results: Path, **changes: Any) -> str:
    evaluations = [read_results(folder, SPEC) for folder in results]
    return render_card("mine", source(**changes), IDENTITY, evaluations)


def test_the_card_says_where_the_judge_comes_from():
    text = card()
    assert front_matter(text) == {
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "Qwen/Qwen3-8B",
        "tags": ["reasrm", "judge", "llm-as-a-judge", "reward-model"],
    }
    for line in (
        "Made from: `Qwen/Qwen3-8B` → `sft` on 990 rows.",
        "| base | `Qwen/Qwen3-8B` | - | revision `f00d` |",
        "| `sft` | run `mine`, step 120, seed 5 | 990 rows of `rows.jsonl` | the weights below |",
        f"| protocol | pairwise, spec `sandbox`, hash `{SPEC.hash}` |",
        f"| weights | float32, adapter merged, SHA-256 `{'ab' * 32}` |",
        f"| `sft` | `train:0` | `rows.jsonl` | `{'ef' * 32}` |",
        "- training: 990 used, dropped: 10 `too_long`",
        "- validation: 50 used, dropped: none",
        "vllm serve ./model --served-model-name judge",
        "- from the adapter, not merged, to the files: up to 1.25e-05; 1e-5 of the largest logit was allowed",
    ):
        assert line in text.splitlines() or f"\n{line}\n" in text, line
    (recipe,) = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    assert json.loads(recipe) == {
        "data": {"max_tokens": 400},
        "lora": {"r": 8},
        "trainer": {"learning_rate": 5e-6},
        "versions": {"reasrm": "1.2.3", "torch": "2.13.0"},
    }
    assert "/data/of" not in text


def test_what_nobody_measured_is_said_to_be_missing():
    text = card()
    assert "Not measured: no results" in text
    assert "- position-A rate: not measured" in text
    checked = text.split("## Contamination check")[1]
    assert "`sft` `rows.jsonl`: no curation against a benchmark is on record" in checked
    assert "Anything else: not compared." in checked
    bare = card(provenance=None)
    assert bare.count("Unknown: the model was not exported from a run.") == 2


def test_results_come_with_intervals_and_bias(tmp_path):
    text = card(write_result(tmp_path / "one"), write_result(tmp_path / "two", suite="llmbar", metrics={}))
    assert (
        "| `pairs` (`cdcdcdcdcdcd`) | - | 0.750 [0.600, 0.860], n = `40` | `40` | 1.000 [0.910, 1.000], n = `40` | "
        "orders `both`, votes `1` | `model`, taken at its word |"
    ) in text
    assert (
        "| `pairs` (`cdcdcdcdcdcd`) | 0.512 [0.450, 0.570], n = `80` | 0.800 [0.650, 0.900], n = `40` |"
        in text
    )
    assert "| `llmbar` (`cdcdcdcdcdcd`) | not measured | not measured |" in text
    assert "/home/somebody" not in text


def test_critiques_are_told_where_they_were_measured(tmp_path):
    numbers = {"value": 0.25, "ci_low": 0.1, "ci_high": 0.4, "n": 40}
    metrics = dict.fromkeys(("score", "coverage", "inconsistency", "critique_f1"), numbers)
    policy = {"orders": "both", "votes": 1, "critiques": {"extractor": "rules", "similarity": "stems"}}
    text = card(
        write_result(tmp_path / "one", metrics=metrics, policy=policy),
        write_result(tmp_path / "two", suite="llmbar"),
    )
    (line,) = [line for line in text.split("## Critiques")[1].split("## Bias")[0].splitlines() if "`" in line]
    shown = "0.250 [0.100, 0.400], n = `40`"
    assert line == f"| `pairs` (`cdcdcdcdcdcd`) | {shown} | {shown} | not measured | `rules`, `stems` |"
    assert "Critiques" not in card(write_result(tmp_path / "three"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("[]", "no result"),
        ('{"metrics": {"score": 1}}', "no result"),
        ('{"metrics": {}, "judge": {"spec_hash": "0123"}}', "was measured with the spec 0123"),
        ('{"metrics": {}, "judge": {"name": "replay"}}', "was measured with the spec None"),
    ],
    ids=["absent", "damaged", "a list", "no estimate", "another spec", "no spec"],
)
def test_results_of_something_else_are_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError, match=said):
        read_results(tmp_path, SPEC)


HOSTILE = "a`|<script>\n# Owned\n\u202e---\n```\n[x](http://evil)"


def test_hostile_names_stay_inside_their_cell(tmp_path):
    plain = card(write_result(tmp_path / "plain"))
    manifest = {
        "seed": 5,
        "inputs": {HOSTILE: {"path": f"/x/{HOSTILE.replace('/', '')}", "sha256": HOSTILE}},
        "versions": {"reasrm": HOSTILE},
        "git_commit": HOSTILE,
    }
    provenance = Provenance(
        stage=HOSTILE,
        step=1,
        config={"trainer": {HOSTILE: HOSTILE}},
        manifest=manifest,
        data={"rows": 1, "dropped": {HOSTILE: 1}},
    )
    hostile = write_result(
        tmp_path / "hostile", suite=HOSTILE, data_sha256=HOSTILE, policy={"orders": HOSTILE, "votes": HOSTILE},
        judge={"name": HOSTILE, "spec_hash": SPEC.hash},
    )  # fmt: skip
    base = BaseIdentity(name=HOSTILE, revision=HOSTILE, fingerprint=HOSTILE)
    files = {f"train:{HOSTILE}": Input(name=HOSTILE, sha256=HOSTILE)}
    stages = (stage(stage=HOSTILE, run=HOSTILE, base=base, inputs=files),)
    text = render_card(
        HOSTILE,
        source(provenance=provenance, base=base, stages=stages),
        IDENTITY,
        [read_results(hostile, SPEC)],
        HOSTILE,
    )
    header, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(header)["license"] == HOSTILE
    assert "base_model" not in yaml.safe_load(header), "no id of a hub"
    assert "<script>" not in re.sub(r"```json\n.*?\n```", "", body, flags=re.DOTALL)
    assert "\u202e" not in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line
        if not line.startswith("# ")
        else next(line for line in text.splitlines() if line.startswith("# "))
        for line in plain.splitlines()
        if line.startswith("#")
    ], "no new heading"
    assert text.count("\n```") == plain.count("\n```"), "no new block"
    for line in (line for line in text.splitlines() if line.startswith("|")):
        assert line.count("`") % 2 == 0
    lines = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert lines == [line.count("|") for line in plain.splitlines() if line.startswith("|")], "no new column"


def test_a_run_gives_the_card_everything(tmp_path):
    run = make_run(tmp_path, lora=True, data="rows|`x`.jsonl")
    text = render_card("mine", from_run(run), IDENTITY, [])
    assert "rows\\u007c\\u0060x\\u0060.jsonl" in text
    assert "- training: 8 used, dropped: 2 `too_long`" in text
    assert '"max_steps": 7' in text
    assert str(tmp_path) not in text


def test_numbers_of_another_model_are_refused() -> None:
    own = Measurement("own", {"judge": {"fingerprint": "abc"}})
    served = Measurement("served", {"judge": {"fingerprint": None}})
    check_measured([own, served], "abc")
    with pytest.raises(InputError, match=r"another model .*fingerprint abc.*not on this one .xyz"):
        check_measured([served, own], "xyz")


# What was learned from and measured on


def test_rows_that_were_learned_from_and_measured_on_are_named(tmp_path):
    trained, other = "ef" * 32, "01" * 32
    known = source().provenance
    assert known is not None
    files = {"train:0": trained, "validation:held:0": trained, "validation:more:0": other}
    inputs = {name: {"path": f"/data/{name}.jsonl", "sha256": sha} for name, sha in files.items()}
    counts = {"held": {"rows": 50, "prompts": 50}, "more": {"rows": 0, "prompts": 3}}
    leaky = replace(
        known,
        manifest={**known.manifest, "inputs": inputs},
        data={**known.data, "validation_overlap": counts},
    )
    text = card(
        write_result(tmp_path / "a", data_sha256=trained),
        write_result(tmp_path / "b", suite="llmbar"),
        provenance=leaky,
    )
    section = text.split("## Contamination check")[1].split("##")[0]
    for words in (
        "`validation:held:0` is the same file as `train:0`",
        "split `held`: 50 rows are training rows, 50 have the prompt of one",
        "split `more`: 0 rows are training rows, 3 have the prompt of one",
        "suite `pairs` (`efefefefefef`) was measured on the file of",
        "suite `llmbar` (`cdcdcdcdcdcd`): whether its rows share prompts with training rows is unknown",
    ):
        assert words in section
    assert "is the same file" not in card().split("## Contamination check")[1]


def test_prompts_that_a_suite_shares_with_training_rows_are_counted_while_the_files_are_at_hand(tmp_path):
    def write(name: str, *prompts: str) -> dict[str, str]:
        path = tmp_path / name
        rows = ({"prompt": prompt, "response_a": "x", "response_b": name, "label": "A"} for prompt in prompts)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"path": str(path), "sha256": file_sha256(path)}

    known = source().provenance
    assert known is not None
    learned = write("learned.jsonl", "one", "two", "three")
    known = replace(known, manifest={**known.manifest, "inputs": {"train:0": learned}}, config={})
    first, second = write("first.jsonl", "TWO ", "four"), write("second.jsonl", "three", "five", "six")
    result = write_result(tmp_path / "r", inputs=[first, second])
    section = card(result, provenance=known).split("## Contamination check")[1]
    assert "2 of 5 prompts are prompts of training rows of `sft`" in section
    same = write_result(tmp_path / "s", inputs=[first, learned])
    files = {"train:0": Input(name="learned.jsonl", sha256=learned["sha256"])}
    stages = (stage(stage="rlvr", inputs=files), stage(inputs={}))
    assert "measured on the file of `rlvr` `train:0`" in card(same, provenance=known, stages=stages)
    Path(learned["path"]).write_text("another")
    assert "2 of 5" not in card(result, provenance=known)
    assert "whether its rows share prompts with training rows is unknown" in card(result, provenance=known)


def test_a_card_of_two_stages_names_base_data_and_what_was_compared(tmp_path):
    checks = (
        Check(
            of=("raw.jsonl",),
            rows=24,
            action="drop",
            ngram=13,
            min_share=0.5,
            benchmarks=(
                Benchmark(
                    name="hard", files=(HashedFile(name="h.jsonl", sha256="01" * 32),), prompts=12, rows=0
                ),
                Benchmark(
                    name="iid", files=(HashedFile(name="i.jsonl", sha256="02" * 32),), prompts=9, rows=3
                ),
            ),
        ),
    )
    rows = Input(name="hf:/nvidia/HelpSteer3@main", sha256="aa" * 32, checks=checks)
    local = BaseIdentity(name="base", fingerprint="f0")
    sft = stage(rows=110, base=local, inputs={"train:0": Input(name="sft.jsonl", sha256="bb" * 32)})
    started = BaseIdentity(name="checkpoint-120", fingerprint="f1")
    rlvr = stage(stage="rlvr", run="second", step=60, base=started, rows=21, inputs={"train:0": rows})
    known = source().provenance
    assert known is not None
    data = {
        "rows": 21,
        "dropped": {},
        "validation_rows": {"iid": 2},
        "validation_dropped": {"iid": {"tie": 1}},
    }
    known = replace(
        known, stage="rlvr", data=data, config={"lora": None, "data": {"columns": {}}, "trainer": {}}
    )
    text = card(
        write_result(
            tmp_path / "a", inputs=[{"path": "/x/iid.jsonl", "sha256": "cd" * 32}], subsets={"iid": {}}
        ),
        provenance=known,
        base=local,
        stages=(sft, rlvr),
    )
    head = front_matter(text)
    assert head["datasets"] == ["nvidia/HelpSteer3"]
    assert "base_model" not in head, "a folder of this machine is no model of a hub"
    for line in (
        "Made from: `base` → `sft` on 110 rows → `rlvr` on 21 rows.",
        "| base | `base` | - | fingerprint `f0` |",
        "| `sft` | run `mine`, step 120, seed 5 | 110 rows of `sft.jsonl` | fingerprint `f1` |",
        "| `rlvr` | run `second`, step 60, seed 5 | 21 rows of `hf://nvidia/HelpSteer3@main` | the weights below |",
        "- validation split `iid`: 2 used, dropped: 1 `tie`",
        "- `sft` `sft.jsonl`: no curation against a benchmark is on record",
    ):
        assert line in text.splitlines(), line
    compared = [line for line in text.split("At curation")[1].splitlines() if "raw.jsonl" in line]
    assert [line.split(" | ")[1:] for line in compared] == [
        ["24 of `raw.jsonl`", "`hard`: 12 prompts of `h.jsonl` (`010101010101`)", "0 |"],
        ["24 of `raw.jsonl`", "`iid`: 9 prompts of `i.jsonl` (`020202020202`)", "3, removed |"],
    ]
    assert "| `pairs` on `iid.jsonl` (`cdcdcdcdcdcd`) | `iid` | 0.750" in text
    assert "{}" not in text
    assert "null" not in text


@pytest.mark.parametrize("name", builtin_specs())
def test_the_card_of_every_spec_says_what_its_judge_does_and_shows_a_row_for_it(name):
    spec = load_spec(name)
    text = card(spec=spec)
    (row,) = re.findall(r"^echo '(.*)' > rows.jsonl$", text, re.MULTILINE)
    wanted = {"pairwise": "response_b", "pointwise": "response", "listwise": "responses", "rubric": "prompt"}
    assert wanted[spec.protocol] in json.loads(row)
    assert ("reasrm rubrics write --writer ." in text) is (spec.protocol == "rubric")
    assert ("reasrm judge --judge ." in text) is (spec.protocol != "rubric")
    assert all(f"`{field}`" in text.split("```sh")[1] + text for field in spec.requires)
