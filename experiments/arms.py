"""The stages and arms of `reproduce.py`: what is trained from what, and how it is measured, each done once.

Whatever a stage leads to lies in a folder named by the hash of everything that shapes it: its config, the stages before
it, and the code. A stage that was stopped goes on; one that is finished is not done again.
"""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import torch
import yaml

from reasrm.cli.console import note
from reasrm.cli.training import training_listener
from reasrm.demo.config import DemoConfig, RLConfig
from reasrm.demo.stages import (
    UNSEEN,
    cached_base,
    cap_rows,
    make_traces,
    read_pairs,
    unseen_pairs,
    write_pairs,
    write_rlvr_config,
    write_sft_config,
)
from reasrm.files import replacing, write_json_atomic
from reasrm.generation.hf import sample_ids
from reasrm.hashing import derive_seed, digest
from reasrm.judging.batch import judge_file
from reasrm.judging.inputs import JudgeInput
from reasrm.judging.judge import open_judge
from reasrm.judging.plan import JudgingOptions
from reasrm.protocol.spec import JudgeSpec, load_spec
from reasrm.records import Judgment, PreferencePair
from reasrm.requests import SamplingParams
from reasrm.sandbox.measure import measure
from reasrm.sandbox.writing import verdict_text
from reasrm.strictjson import dumps
from reasrm.training.metarm.config import load_metarm_stage
from reasrm.training.metarm.stage import train as train_metarm
from reasrm.training.rlvr.comparisons import ComparisonEncoder, Prompt, read_judgment
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.training.rlvr.stage import train as train_rlvr
from reasrm.training.sft.config import load_sft_stage
from reasrm.training.sft.stage import encode_data, set_up
from reasrm.training.sft.stage import train as train_sft
from reasrm.training.stage.config import ModelSection
from reasrm.training.stage.models import BaseModel, load_weights, open_base
from reasrm.world.config import Split
from reasrm.world.pairs import World
from reasrm.world.rows import keep_critique

__all__ = [
    "MODES",
    "SPLITS",
    "Bench",
    "SandboxLab",
    "Trained",
    "answer_only",
    "code_hash",
    "once",
    "steps_for",
]

SPLITS: tuple[Split, ...] = ("iid", "ood", "hard")
MODES = {"sampled": 1.0, "greedy": 0.0}
_ROOT = Path(__file__).parents[1]
_NOT_CODE = ("demo/report", "demo/run", "evaluation", "export", "curation")
_BATCH = 256


@functools.cache
def code_hash() -> str:
    """Return a hash of all code that results may depend on, taken once per process."""
    files = sorted((_ROOT / "reasrm").rglob("*.py")) + sorted((_ROOT / "reasrm").rglob("*.yaml"))
    names = [path.relative_to(_ROOT).as_posix() for path in files]
    kept = [name for name in names if not name.startswith(tuple(f"reasrm/{part}" for part in _NOT_CODE))]
    kept.append("experiments/arms.py")
    return digest([[name, hashlib.sha256((_ROOT / name).read_bytes()).hexdigest()] for name in kept], 12)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model of an arm.

    Args:
        model: Its folder.
        key: Hash of everything that shaped it.
        trained: Tokens that went through backward passes, over all its stages.
        sampled: Tokens drawn in rollouts.
        seconds: CPU seconds of its last stage.
    """

    model: Path
    key: str
    trained: int = 0
    sampled: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Fixed test rows of one world, as a judge is shown them, by split."""

    pairs: Mapping[Split, Mapping[str, PreferencePair]]
    files: Mapping[Split, Path]


class SandboxLab:
    """Makes stages for one seed.

    Args:
        config: Of base, world, teacher and training; its seed is the seed.
        root: Where everything lies.
        code: Hash of the code, part of every key.
    """

    def __init__(self, config: DemoConfig, root: Path, code: str) -> None:
        self.config = config
        self.root = root
        self.code = code
        self.folder = root / f"seed-{config.seed}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def bench(self, config: DemoConfig, rows: int) -> Bench:
        """Return the test rows of a config's world; they do not depend on the seed."""
        world = World(config.base.world)
        name = digest(config.base.world.model_dump(mode="json"), 8)
        files = {
            split: write_pairs(
                unseen_pairs(world, split, rows, UNSEEN), self.root / f"apart-{name}-{rows}-{split}.jsonl"
            )
            for split in SPLITS
        }
        return Bench({split: read_pairs(path) for split, path in files.items()}, files)

    def base(self) -> Trained:
        """Return the seed's base model."""
        return Trained(cached_base(self.config, self.root), self.config.base.hash)

    def traces(self, config: DemoConfig) -> Path:
        """Return the teacher's traces that are learnt from, at most `config.traces`."""
        shape = [config.base.world.model_dump(mode="json"), config.teacher.model_dump(mode="json")]
        key = digest([*shape, config.pairs, config.traces, self.code], 12)
        output = self.folder / f"traces-{key}.jsonl"
        if not output.exists():
            pairs = write_pairs(
                World(config.base.world).pairs("train", config.pairs), self.folder / f"pairs-{key}.jsonl"
            )
            kept = make_traces(config, load_spec(config.base.spec), pairs, self.folder / f"all-{key}.jsonl")
            cap_rows(kept.output, config.traces, output)
        return output

    def sft(
        self,
        config: DemoConfig,
        rows: Path,
        *,
        steps: int | None = None,
        name: str = "sft",
        spec: str | None = None,
    ) -> Trained:
        """Fine-tune the seed's base on rows, under the base's spec unless another is given."""
        if steps is not None:
            config = config.model_copy(update={"trainer": {**config.trainer, "max_steps": steps}})
        base = self.base()
        shape = [base.key, rows.name, config.trainer, config.seed, self.code]
        key = digest(shape if spec is None else [*shape, load_spec(spec).hash], 12)
        run = self.folder / f"{name}-{key}"
        file = write_sft_config(config, base.model, rows, run.with_suffix(".yaml"), spec)
        done, seconds = self._train(train_sft, load_sft_stage(file), file, run, name)
        return Trained(Path(done["checkpoint"]), key, done["processed_tokens"], 0, seconds)

    def answers(self, rows: Path) -> Path:
        """Return the same rows with nothing but the verdict to learn."""
        output = rows.with_name(rows.name.replace("traces", "answers"))
        return output if output.exists() else answer_only(rows, output, load_spec(self.config.base.spec))

    def steps_for(self, config: DemoConfig, rows: Path, tokens: int) -> int:
        """Return how many SFT steps on rows process as many tokens."""
        file = write_sft_config(config, self.base().model, rows, self.folder / "probe.yaml")
        setup = set_up(load_sft_stage(file), str(file), self.folder / "probe")
        lengths = [len(example.ids) for example in encode_data(setup).train.examples]
        return steps_for(tokens, lengths, config.trainer["per_device_train_batch_size"])

    def pairs(self, config: DemoConfig, rl: RLConfig) -> Path:
        """Return the pairs of RL, of which a share keeps its critique."""
        world = World(config.base.world)
        shape = [world.config.model_dump(mode="json"), config.pairs, rl.pairs, rl.critiques]
        rows = world.pairs("train", rl.pairs, config.pairs)
        return write_pairs(
            (keep_critique(pair, rl.critiques) for pair in rows),
            self.folder / f"rl-pairs-{digest(shape, 8)}.jsonl",
        )

    def metarm(self, policy: Trained, pairs: Path, section: dict[str, Any], name: str) -> Trained:
        """Train a MetaRM from the seed's base, on eight judgments of a policy of each pair with a critique."""
        base = self.base()
        key = digest([base.key, policy.key, pairs.name, section, self.config.seed, self.code], 12)
        run = self.folder / f"{name}-{key}"
        file = run.with_suffix(".yaml")
        stage = {
            "stage": "metarm",
            "model": {"path": str(base.model), "dtype": "float32"},
            "spec": self.config.base.spec,
            "seed": self.config.seed,
            **section,
        }
        judged = run.with_suffix(".judged.jsonl")
        stage["data"] = {"train": [str(pairs)], "judgments": [str(judged)], **section.get("data", {})}
        file.write_text(yaml.safe_dump(stage, sort_keys=False))

        def judge_and_train(*given: Any, **named: Any) -> dict[str, Any]:
            self._judge_pairs(policy, pairs, judged)
            return train_metarm(*given, **named)

        _, seconds = self._train(judge_and_train, load_metarm_stage(file), file, run, name)
        return Trained(run, key, 0, 0, seconds)

    def _judge_pairs(self, policy: Trained, pairs: Path, output: Path) -> None:
        """Write the judgments of a policy about the pairs with a critique, in an order drawn for each."""
        rows = write_pairs(
            (pair for pair in read_pairs(pairs).values() if pair.critique),
            pairs.with_suffix(".critiques.jsonl"),
        )
        judge = open_judge(str(policy.model), spec=self.config.base.spec, batch_size=_BATCH, device="cpu")
        options = JudgingOptions(
            orders="random", votes=8, seed=self.config.seed, sampling=judge.sampling(temperature=1.0)
        )
        with closing(judge.backend):
            judge_file(judge, JudgeInput([rows]), output, options)

    def rlvr(
        self, config: DemoConfig, start: Trained, rl: RLConfig, name: str, metarm: Trained | None = None
    ) -> Trained:
        """Train on labels by GRPO, from a model.

        Args:
            config: Whose world and base it is.
            start: The model.
            rl: How.
            name: Of the run.
            metarm: What `rl.metarm.path` stands for.
        """
        world = World(config.base.world)
        shape = [world.config.model_dump(mode="json"), config.pairs, rl.model_dump(mode="json")]
        meta = None if metarm is None else metarm.key
        key = digest([start.key, *shape, meta, config.seed, self.code], 12)
        pairs = self.pairs(config, rl)
        if metarm is not None and rl.metarm is not None:
            section = rl.metarm.model_copy(update={"path": str(metarm.model)})
            rl = rl.model_copy(update={"metarm": section})
        run = self.folder / f"{name}-{key}"
        file = write_rlvr_config(config, rl, start.model, pairs, run.with_suffix(".yaml"))
        done, seconds = self._train(train_rlvr, load_rlvr_stage(file), file, run, name)
        trained = start.trained + done["processed_tokens"]
        return Trained(
            Path(done["checkpoint"]), key, trained, start.sampled + done["generated_tokens"], seconds
        )

    def _train(
        self, train: Callable[..., dict[str, Any]], stage: Any, file: Path, run: Path, name: str
    ) -> tuple[dict[str, Any], float]:
        """Train into a run folder, or go on; return its summary, and the CPU seconds of the process that did it."""
        started = time.process_time()
        with training_listener(f"seed {self.config.seed} {name}") as listener:
            done = train(stage, str(file), run, resume=True, listener=listener)
        seconds = time.process_time() - started
        return done, float(once(run / "cpu.json", lambda: {"seconds": seconds})["seconds"])

    def measure(self, arm: str, trained: Trained, bench: Bench, rows: int) -> dict[str, Any]:
        """Return what a model scores on the test rows, in both modes, from the cache if it is there."""
        key = digest([trained.key, sorted(path.name for path in bench.files.values()), rows, self.code], 12)
        path = self.folder / f"result-{arm}-{key}.json"

        def made() -> dict[str, Any]:
            note(f"seed {self.config.seed}: measuring {arm}")
            return {
                "arm": arm,
                "seed": self.config.seed,
                "code": self.code,
                "trained_tokens": trained.trained,
                "sampled_tokens": trained.sampled,
                "cpu_seconds": round(trained.seconds, 1),
                "cells": self._cells(trained.model, bench),
            }

        return once(path, made)

    def _cells(self, model: Path, bench: Bench) -> dict[str, Any]:
        section = ModelSection(path=str(model), dtype="float32")
        base = open_base(section)
        weights = load_weights(base, section, torch.float32).eval()
        spec = load_spec(self.config.base.spec)
        encoder = ComparisonEncoder(spec, base, orders="random", seed=0, max_tokens=base.context or 0)
        cells = {}
        for split, pairs in bench.pairs.items():
            prompts = [_prompt(encoder, pair) for pair in pairs.values()]
            for mode, temperature in MODES.items():
                judged = list(_judge(spec, base, weights, prompts, temperature))
                cells[f"{mode} {split}"] = _cell(pairs, judged, split)
        return cells


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON object in a file; it is made now unless it is there."""
    if not path.exists():
        write_json_atomic(path, make())
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def answer_only(rows: Path, output: Path, spec: JudgeSpec) -> Path:
    """Write the same rows with nothing but the verdict to learn."""
    with open(rows, "rb") as lines, replacing(output) as stream:
        for line in lines:
            row = orjson.loads(line)
            row["completion"][0]["content"] = verdict_text(spec, row["meta"]["label"])
            stream.write(dumps(row) + b"\n")
    return output


def steps_for(tokens: int, lengths: Sequence[int], batch: int) -> int:
    """Return the steps that process `tokens` when every epoch shows each row once, its last batch as short as it is."""
    return round(tokens / (sum(lengths) / math.ceil(len(lengths) / batch)))


def _prompt(encoder: ComparisonEncoder, pair: PreferencePair) -> Prompt:
    (prompt,) = _one(encoder.encode(pair, pair.id))
    return prompt


def _one(found: Any) -> Sequence[Prompt]:
    if not isinstance(found, list):
        raise ValueError(f"a test row cannot be shown: {found}")
    return found


def _judge(
    spec: JudgeSpec, base: BaseModel, weights: Any, prompts: Sequence[Prompt], temperature: float
) -> Iterator[tuple[Prompt, Judgment]]:
    """Judge each prompt once, as `reasrm judge` does; neighbours in length share a batch."""
    ordered = sorted(prompts, key=lambda prompt: len(prompt.ids))
    most = spec.sampling.max_tokens
    for start in range(0, len(ordered), _BATCH):
        batch = ordered[start : start + _BATCH]
        sampling = [SamplingParams(temperature, 1.0, most, derive_seed("test", p.key)) for p in batch]
        rows = sample_ids(
            weights, [p.ids.tolist() for p in batch], sampling, stop_ids=base.stop_ids, pad_id=base.pad_id
        )
        for prompt, ids in zip(batch, rows, strict=True):
            yield prompt, read_judgment(spec, base, prompt, ids, most)[0]


def _cell(
    pairs: Mapping[str, PreferencePair], judged: Sequence[tuple[Prompt, Judgment]], split: Split
) -> dict[str, Any]:
    """Return the numbers of one mode and split; `right` is one digit per row in the order of ids."""
    own = {prompt.comparison.id: _own(prompt, judgment) for prompt, judgment in judged}
    findings = measure((pairs[row], [judgment]) for row, judgment in own.items())
    right = "".join(str(int(own[row].winner == "A")) for row in sorted(own))
    return {
        "right": right,
        "accuracy": right.count("1") / len(right),
        "coverage": sum(judgment.winner is not None for judgment in own.values()) / len(own),
        "shortcut": findings.shortcut[split].value,
        "inconsistency": findings.inconsistency[split].value,
        "exact_critiques": findings.exact_critiques[split].value,
        "critique_f1": findings.critique_f1[split].value,
        "evidence": findings.as_dict()["evidence"],
        "tokens": sum(judgment.num_tokens or 0 for _, judgment in judged) / len(judged),
    }


def _own(prompt: Prompt, judgment: Judgment) -> Judgment:
    """Return a judgment with its verdict in the pair's own order."""
    order = prompt.comparison.order
    return replace(order.seen(judgment), order=order)
