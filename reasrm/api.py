"""The stages as functions: what `reasrm distill`, `data curate`, `sft`, `rlvr`, `metarm` and `eval` do, for programs.

Each reads what its verb reads, writes what its verb writes and returns what its verb prints last, so a program and a
command line can take turns at one folder. They say nothing unless `quiet=False`, and then on stderr. Call one at a
time, and from the main thread if SIGINT and SIGTERM are to end a run with everything finished kept.

`open_judge`, `judge_file`, `as_reward` and `export_judge` are public where they live: `from reasrm import ...`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasrm.judging.judge import Judge
    from reasrm.judging.plan import JudgingOptions
    from reasrm.protocol.spec import JudgeSpec

__all__ = ["curate", "distil", "evaluate", "train"]

_STAGES = ("sft", "rlvr", "metarm")


def train(
    config: str | Path,
    run_dir: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    dry_run: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """Run the training stage that a config describes: `stage: sft`, `rlvr` or `metarm`.

    Under `accelerate launch` every process calls it. The one of rank 0 writes the folder and gets the summary, the
    others get an empty dict.

    Args:
        config: A YAML file, or the name of a config that ships (`smollm2/sft-lora`).
        run_dir: The run's folder; by default `runs/STAGE-CONFIG`.
        overrides: `a.b=value`, applied in order; the value is read as YAML.
        resume: Go on from the last checkpoint; the end is bit for bit that of an undisturbed run (fp32, CPU).
        dry_run: Count rows, tokens, steps and memory (in GiB), and train nothing.
        quiet: Say nothing on stderr.

    Returns:
        The last line of the verb: `output` (the run folder), `steps`, `rows`, `seconds`, and what the stage adds
        (`validation`: split → accuracy in 0..1; `best`: the chosen checkpoint).

    Raises:
        ConfigError: The config names no stage, an unknown key, a wrong value, or a folder of another run.
        InputError: The training rows cannot be used.
        EnvironmentProblem: Too little memory or disk, a damaged checkpoint, a missing package.
        KeyboardInterrupt: A signal ended it after a checkpoint; `resume=True` continues.
    """
    from reasrm.cli.console import heard
    from reasrm.config import read_settings
    from reasrm.errors import ConfigError

    path = Path(config)
    stage = read_settings(path, overrides).get("stage")
    if stage not in _STAGES:
        raise ConfigError(
            f"no training stage: {stage!r}", place=f"{config}: stage", remedy="sft, rlvr or metarm"
        )
    from reasrm.cli.training import run_training

    with heard(quiet=quiet) as said:
        folder = None if run_dir is None else Path(run_dir)
        run_training(stage, path, list(overrides), folder, resume=resume, dry_run=dry_run, quiet=quiet)
    return said


def distil(
    config: str | Path,
    *,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    restart: bool = False,
    retry_errors: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """Let teachers judge labelled pairs, and keep what reaches the label as rows for SFT. The same call continues.

    Args:
        config: A YAML file of `stage: distill`, or the name of one that ships (`distill/rm-r1`).
        overrides: `a.b=value`, applied in order; the value is read as YAML.
        dry_run: Count rows and calls, and ask nobody.
        restart: Move earlier answers aside and begin anew.
        retry_errors: Make calls again that failed after their retries.
        quiet: Say nothing on stderr.

    Returns:
        The last line of `reasrm distill`: `output` (the folder), `sft` (the file of rows), `sft_rows`, `rows` (reason →
        count), `cost` (who was asked → calls and tokens), `exit_code` (3 where calls failed or nothing was readable).

    Raises:
        ConfigError: An unknown key, a wrong value, a teacher that cannot judge under the spec, another run's folder.
        InputError: The pairs cannot be read.
        EnvironmentProblem: An endpoint refuses, or a package is missing.
        KeyboardInterrupt: A signal ended it; the same call continues.
    """
    from reasrm.cli.console import heard
    from reasrm.cli.distill import run_distill

    with heard(quiet=quiet) as said:
        run_distill(
            Path(config),
            overrides,
            dry_run=dry_run,
            restart=restart,
            retry_errors=retry_errors,
            allow_other_server=False,
        )
    return said


def curate(
    config: str | Path,
    *,
    inputs: Sequence[str | Path] = (),
    output: str | Path | None = None,
    overrides: Sequence[str] = (),
    restart: bool = False,
    retry_errors: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """Deduplicate, decontaminate, filter, balance and split preference pairs.

    Args:
        config: A YAML file of `reasrm data curate`, or the name of one that ships.
        inputs: Files of rows, instead of those that the config names.
        output: The folder, instead of the one that the config names.
        overrides: `a.b=value`, applied in order; the value is read as YAML.
        restart: Judge again what the config's judge has judged.
        retry_errors: Ask again about rows whose calls failed.
        quiet: Say nothing on stderr.

    Returns:
        The last line of `reasrm data curate`: `output`, `rows`, `kept`, `dropped` (reason → count), `splits` (name →
        count), `files`.

    Raises:
        ConfigError: An unknown key or a wrong value.
        InputError: A file cannot be read, or rows overlap with a benchmark where the config says so.
        KeyboardInterrupt: A signal ended judging; the same call continues.
    """
    from reasrm.cli.console import heard
    from reasrm.cli.curation import run_curation

    with heard(quiet=quiet) as said:
        run_curation(
            Path(config),
            [*map(Path, inputs)],
            None if output is None else Path(output),
            overrides,
            restart=restart,
            retry_errors=retry_errors,
        )
    return said


def evaluate(
    suite: str,
    judge: str | Judge,
    rows: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    spec: str | JudgeSpec | None = None,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    options: JudgingOptions | None = None,
    restart: bool = False,
    retry_errors: bool = False,
) -> dict[str, Any]:
    """Judge a benchmark's rows and score them with its official metric. The same call continues.

    Args:
        suite: `judgebench`, `llmbar`, `rm-bench`, `pandalm`, `rewardbench`, `alpaca-eval` or `pairs`.
        judge: An opened judge, which stays open, or a name that `open_judge` takes.
        rows: Files that `reasrm eval` reads.
        output: Folder of `judgments.jsonl` and `result.json`.
        spec: How a judge given by name is asked; by default its folder's, else the suite's.
        columns: Field → the column that holds it: `{"prompt": "question", "chosen": "good", "rejected": "bad"}`.
        limit: At most so many rows.
        options: Orders, votes, seed and sampling; by default both orders once, with the spec's sampling.
        restart: Move earlier judgments aside and begin anew.
        retry_errors: Ask again about rows whose calls failed.

    Returns:
        The content of `result.json`: `score` and `coverage` in 0..1, `metrics` (name → value, 95 % interval `ci_low`
        and `ci_high`, number of rows `n`), `subsets`, `policy`, `num_errors`. Empty where no row was judged.

    Raises:
        ConfigError: No such suite or judge, options that do not suit, an output of another evaluation.
        InputError: The rows cannot be read or have no label, or the judge folder was changed.
        EnvironmentProblem: An endpoint refuses, too little memory or disk, or a missing package.
        KeyboardInterrupt: A signal ended it; the same call continues.
    """
    from reasrm.evaluation import run
    from reasrm.generation.run import RunControl
    from reasrm.judging.inputs import JudgeInput
    from reasrm.judging.judge import open_judge
    from reasrm.judging.plan import JudgingOptions
    from reasrm.metrics.suites import get_suite

    known = get_suite(suite)
    opened = (
        open_judge(judge, spec=spec, default_spec=known.default_spec) if isinstance(judge, str) else judge
    )
    paths = [Path(rows)] if isinstance(rows, str | Path) else [*map(Path, rows)]
    options = options or JudgingOptions(sampling=opened.sampling(), recorded_only=judge == "replay")
    with closing(opened.backend) if isinstance(judge, str) else nullcontext():
        done = run.evaluate(
            known,
            opened,
            JudgeInput(paths, columns=columns, limit=limit),
            Path(output),
            options,
            RunControl(restart=restart, retry_errors=retry_errors),
        )
    if done.batch.signum is not None:
        raise KeyboardInterrupt
    return done.result
