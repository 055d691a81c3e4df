"""What the documentation tells a user to type, and the verbs that need no data."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from pydantic import TypeAdapter

from docs.tables import filled
from reasrm.judging.judge import Judge
from reasrm.protocol.grammar import Grammar
from reasrm.protocol.parsing import parse
from reasrm.protocol.spec import builtin_specs, load_spec
from reasrm.requests import Completion
from reasrm.sandbox.teacher import ScriptedTeacher, TeacherConfig
from reasrm.sources import SOURCES
from tests.commands import ROOT, decide, environment, rows_of, summary, write_rows
from tests.commands import here as run
from tests.fakes import Endpoint, Reply
from tests.tiny import build_tiny_model
from tests.training.stages import write_stage

VERBS = [
    *(
        "judge",
        "eval",
        "data import",
        "data curate",
        "data sources",
        "specs",
        "configs",
        "demo",
        "env",
        "sft",
        "distill",
        "export",
        "metarm",
        "metarm score",
        "models fetch",
        "models list",
    ),
    *("sandbox pairs", "sandbox base", "sandbox traces", "sandbox judge"),
    *("critiques extract", "critiques score"),
    *("rubrics report", "rubrics synthesize", "rubrics filter", "rubrics write"),
]
PAGES = sorted((ROOT / "docs").glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_readmes_judge_command_runs(tmp_path):
    (line,) = [line for line in README.splitlines() if line.startswith("reasrm judge --judge openai:")]
    rows = write_rows(tmp_path / "rows.jsonl", 4)
    with Endpoint(lambda payload: decide(payload, "<answer>[[{}]]</answer>")) as endpoint:
        line = line.replace("http://localhost:8000/v1", endpoint.base_url)
        line = line.replace("rows.jsonl", str(rows)).replace("judged.jsonl", str(tmp_path / "judged.jsonl"))
        result = run(*shlex.split(line)[1:])
    assert result.returncode == 0, result.stderr
    assert {row["status"] for row in rows_of(tmp_path / "judged.jsonl")} <= {"ok", "split"}
    (line,) = [line for line in README.splitlines() if line.startswith("reasrm show ")]
    words = shlex.split(line.replace("judged.jsonl", str(tmp_path / "judged.jsonl")))[1:]
    assert run(*[str(rows) if word == "rows.jsonl" else word for word in words]).returncode == 0


@pytest.mark.slow
def test_the_readmes_way_from_rows_to_a_judge_runs(tmp_path):
    config = write_stage(tmp_path)
    rows = write_rows(tmp_path / "in.jsonl", 3)
    names = {
        "configs/qwen2.5/sft-7b-lora-1gpu.yaml": config,
        "runs/my-judge": tmp_path / "run",
        "my-judge": tmp_path / "judge",
        "rows.jsonl": rows,
        "judged.jsonl": tmp_path / "judged.jsonl",
    }
    block = README.split("## Train a judge")[1].split("```")[1]
    lines = [line for line in block.splitlines() if line.startswith("reasrm")]
    assert [line.split()[1] for line in lines] == ["sft", "sft", "export", "judge"]
    for line in lines:
        result = run(*(str(names.get(word, word)) for word in shlex.split(line)[1:]))
        # A few steps make no judge that can be read, and the last command says so.
        assert result.returncode == (3 if " judge " in line else 0), result.stderr
    assert summary(result)["unreadable"]
    assert len(rows_of(tmp_path / "judged.jsonl")) == 3


def test_the_readmes_row_is_what_the_scripted_judge_writes(tmp_path):
    (shown,) = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]
    number = int(shown["id"].removeprefix("hard-"))
    rows = tmp_path / "rows.jsonl"
    run(
        *("sandbox", "pairs", "--world", "english", "--split", "hard"),
        *("--start", number, "--rows", 1, "--output", rows),
    )
    (row,) = rows_of(rows)
    said = " ".join(README.split())
    for texts in (row["prompt"], row["chosen"], row["rejected"]):
        assert f"*{texts[0]['content']}*" in said
    spec = load_spec("english")
    judge = Judge(spec=spec, backend=ScriptedTeacher(spec, TeacherConfig()))
    (result,) = judge.judge([row])
    written = result.to_json(judge=judge.label, seed=0)
    shown["judge"]["spec_hash"] = spec.hash
    assert {key: written[key] for key in shown if key != "judgments"} == {
        key: value for key, value in shown.items() if key != "judgments"
    }
    for judgment, displayed in zip(written["judgments"], shown["judgments"], strict=True):
        assert {key: judgment[key] for key in displayed} == displayed


@pytest.mark.slow
def test_the_sandboxs_row_is_what_the_embedded_judge_writes(tmp_path):
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    (shown,) = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    number = int(shown["id"].removeprefix("ood-"))
    rows = tmp_path / "rows.jsonl"
    run("sandbox", "pairs", "--split", "ood", "--start", number, "--rows", 1, "--output", rows)
    result = run("judge", "--judge", "sandbox", "--input", rows, "--output", tmp_path / "out.jsonl")
    assert result.returncode == 0, result.stderr
    (written,) = rows_of(tmp_path / "out.jsonl")
    for key in ("judge", "row_digest", "crc32"):
        shown.pop(key)
    assert {key: written[key] for key in shown} == shown


(SNIPPET,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda payload: decide(payload, "<answer>[[{}]]</answer>"),
            r"(ok|split) (A|B|None) (True|False) (True|False|None)",
        ),
        (lambda _: Reply(422, {"error": {"message": "cannot be processed"}}), "call_failed .*processed.*"),
    ],
    ids=["answers", "fails"],
)
def test_the_readmes_python_runs(answer, said):
    with Endpoint(answer) as endpoint:
        code = SNIPPET.replace("http://localhost:8000/v1", endpoint.base_url)
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
        )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(said, result.stdout.strip())


TYPED = """
import reasrm
from reasrm import JudgingOptions, RowFailure, RowResult

reveal_type(judge)
reveal_type(judge.judge([], JudgingOptions(votes=3)))
reveal_type(reasrm.as_reward(judge))
reasrm.nothing_like_it
reasrm.judging.nothing_like_it
JudgingOptions(vote=3)
open_judge("sandbox", batchsize=3)
open_judge("sandbox", batch_size="3")
"""


@pytest.mark.slow
def test_the_readmes_python_is_typed_and_mistakes_in_it_are_found(tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "mistakes.py").write_text(f"{SNIPPET}{TYPED}")
    told = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache"]
    checked = [
        subprocess.run([*told, tmp_path / name], capture_output=True, text=True, check=False, cwd=ROOT)
        for name in ("snippet.py", "mistakes.py")
    ]
    assert checked[0].returncode == 0, checked[0].stdout
    kinds = re.findall(r'note: Revealed type is "(.*)"', checked[1].stdout)
    assert [kind.replace("reasrm.judging.", "") for kind in kinds] == [
        "judge.Judge",
        "typing.Iterator[aggregate.RowResult | judge.RowFailure]",
        "reward_function.JudgeReward",
    ]
    errors = re.findall(r"error: .*\[([a-z-]+)\]", checked[1].stdout)
    assert errors == ["attr-defined", "attr-defined", "call-arg", "call-arg", "arg-type"], checked[1].stdout


@pytest.mark.slow
def test_a_local_model_judges_quietly(tmp_path):
    build_tiny_model(tmp_path / "model", context=4000)
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    args = ["--judge", tmp_path / "model", "--spec", "mt-bench", "--max-tokens", "4", "--dtype", "float32"]
    result = run("judge", *args, "--input", rows, "--output", tmp_path / "out.jsonl", "--quiet")
    # Its weights are random, and nothing it says can be read.
    assert (result.returncode, result.stderr) == (3, "")
    assert summary(result)["parse_status"] == {"truncated": 4}


def test_the_example_spec_of_the_docs_loads(tmp_path):
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    example, _ = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "my-judge.yaml"
    path.write_text(example)
    assert load_spec(str(path)).name == "my-judge"


@pytest.mark.parametrize("number", range(4))
def test_the_documented_grammars_read_the_answers_above_them(number):
    """One of each kind, with a key for everything that only this kind has."""
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    _, block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    example = block.split("---\n")[number]
    said, meaning = example.splitlines()[0].removeprefix("# ").split(" → ")
    grammar = TypeAdapter(Grammar).validate_python(yaml.safe_load(example))
    own = set(type(grammar).model_fields) - {
        "sections",
        "rubric",
        "critique",
        "thinking_start",
        "thinking_end",
    }
    assert own - {"upstream"} <= set(yaml.safe_load(example))
    shipped = load_spec(
        {"score": "prometheus-absolute", "ranking": "principle-list"}.get(grammar.kind, "mt-bench")
    )
    judgment = parse(shipped.model_copy(update={"grammar": grammar}), Completion("x", said), num_candidates=2)
    read = judgment.verdict.winner if judgment.verdict else judgment.ranking or judgment.score
    assert str(list(read) if isinstance(read, tuple) else read) == meaning, judgment


def test_the_documented_recordings_are_replayed(tmp_path):
    text = (ROOT / "docs" / "judging.md").read_text(encoding="utf-8").split("## Replay")[1]
    (block,) = re.findall(r"```json\n(.*?)```", text.split("\n## ")[0], re.DOTALL)
    recorded, rows = tmp_path / "recorded.jsonl", tmp_path / "rows.jsonl"
    recorded.write_text(block)
    ids = [json.loads(line)["id"] for line in block.splitlines()]
    pair = {"prompt": "Name a prime.", "response_a": "Seven", "response_b": "Eight"}
    rows.write_text("".join(json.dumps({"id": i, **pair}) + "\n" for i in [*ids, "q4"]))
    args = ["--judge", f"replay:{recorded}", "--spec", "mt-bench", "--input", rows]
    result = run("judge", *args, "--output", tmp_path / "out.jsonl")
    assert result.returncode == 3, result.stderr
    assert [(row["id"], row["verdict"]) for row in rows_of(tmp_path / "out.jsonl")] == [
        *(("q1", "A"), ("q2", "B"), ("q3", "A"))
    ]
    (error,) = rows_of(tmp_path / "out.jsonl.errors.jsonl")
    assert (error["id"], error["code"]) == ("q4", "no_recording")
    assert summary(result)["replayed"] == "decision+score+text"


def test_the_documented_rows_are_read(tmp_path):
    text = (ROOT / "docs" / "judging.md").read_text(encoding="utf-8")
    block = re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0]
    path = tmp_path / "rows.jsonl"
    path.write_text(block)
    args = ["--judge", "openai:x@http://127.0.0.1:9/v1", "--spec", "pointwise-10", "--dry-run"]
    result = run("judge", *args, "--input", path, "--output", tmp_path / "out.jsonl")
    assert result.returncode == 0, result.stderr
    assert (summary(result)["rows"], summary(result)["invalid"]) == (4, 0)


@pytest.mark.slow
def test_lists_of_specs_and_sources_are_complete():
    listed = run("specs")
    assert tuple(sorted(summary(listed)["specs"])) == builtin_specs()
    assert "rm-r1-short (pairwise" in listed.stdout
    assert summary(run("specs", "rm-r1"))["hash"] == load_spec("rm-r1").hash
    assert summary(run("data", "sources"))["sources"] == [source.name for source in SOURCES]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- end -->" in page.read_text(encoding="utf-8")]
)
def test_tables_say_what_the_code_holds(page):
    """After a change: `python docs/tables.py`."""
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text


def test_env_says_what_a_bug_report_needs_and_no_secret():
    result = run("env", OPENAI_API_KEY="sk-very-secret")
    said = summary(result)
    assert {"reasrm", "python", "packages", "gpus"} <= set(said)
    assert said["openai_api_key_set"] is True
    assert "sk-very-secret" not in result.stdout + result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb):
    result = run(*verb.split(), "--help")
    assert result.returncode == 0
    assert re.search(r"Example:\s+reasrm", result.stdout)


@pytest.mark.slow
def test_usage_errors_exit_2_and_quiet_silences_stderr(tmp_path):
    for usage in (["judge"], ["no-such-verb"], ["judge", "--votes", "0"], []):
        result = run(*usage)
        assert (result.returncode, summary(result)["exit_code"]) == (2, 2)
    assert run("--version").stdout.startswith("reasrm ")
    rows = write_rows(tmp_path / "rows.jsonl", 1)
    args = ["judge", "--input", rows, "--output", tmp_path / "o.jsonl", "--judge", "replay", "--quiet"]
    result = run(*args, "--spec", "mt-bnch")
    assert (result.returncode, result.stderr) == (2, "")
    alike = run(*args, "--spec", "mt-bench", "--votes", "3")
    assert alike.returncode == 3, "recorded votes are as they are"
    assert "mt-bench" in summary(result)["message"]
    missing = run(*args, "--spec", "mt-bench")
    assert missing.returncode == 3
    assert missing.stderr == ""


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--temperature", "inf"),
        ("--temperature", "nan"),
        ("--seed", "9" * 20),
        ("--max-tokens", "9" * 20),
        ("--votes", "9" * 20),
    ],
)
def test_a_number_that_no_manifest_can_hold_is_a_usage_error(tmp_path, flag, value):
    output = tmp_path / "judged.jsonl"
    rows = write_rows(tmp_path / "rows.jsonl", 1)
    args = ("judge", "--judge", "replay", "--spec", "mt-bench", "--input", rows, "--output", output)
    result = run(*args, flag, value)
    assert (result.returncode, summary(result)["exit_code"]) == (2, 2)
    assert not output.exists()
