"""Pairs → prompts → batches: what is dropped and named, both orders side by side, other prompts for dead groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, skip_first_batches
from torch.utils.data import BatchSampler
from transformers import Trainer

from reasrm.errors import ConfigError, InputError
from reasrm.protocol.spec import load_spec
from reasrm.records import Order
from reasrm.requests import SamplingParams
from reasrm.rewards.base import Part, Rollout
from reasrm.training.rlvr.batches import ComparisonSampler, replacements
from reasrm.training.rlvr.comparisons import shown_in_epoch
from reasrm.training.rlvr.config import load_rlvr_stage
from reasrm.training.rlvr.rollouts import SampledJudgment
from reasrm.training.rlvr.stage import Comparisons, encode_data, plan, set_up, train
from reasrm.training.rlvr.trainer import JudgeGRPOTrainer
from reasrm.training.stage.listening import Listener
from tests.commands import rows_of
from tests.refusals import refused
from tests.training.stages import draw, preference, rlvr_trainer, write_rlvr_stage


def labelled(number: int, label: str | None = "A", **extra: Any) -> dict[str, Any]:
    """A comparison as a file of `reasrm judge` has it."""
    row = {"id": f"q{number}", "prompt": f"question {number}", "response_a": "yes", "response_b": "no"}
    return {**row, "label": label, **extra}


def encoded(config: Path, *overrides: str) -> Comparisons:
    stage = load_rlvr_stage(config, overrides)
    return encode_data(set_up(stage, str(config), config.parent / "run" / "checkpoints"))


MIXED = [
    labelled(0),
    labelled(1, None),
    labelled(2, "tie"),
    labelled(3, response_b="yes"),
    labelled(4, response_a=" "),
    labelled(5, prompt="question " * 60),
    labelled(6, response_b=None),
    labelled(7),
]


@pytest.mark.slow
def test_what_cannot_be_learned_from_is_dropped_counted_and_named(tmp_path: Path) -> None:
    """And a run whose right answer is always the same side is warned of."""
    config = write_rlvr_stage(tmp_path, pairs=MIXED, data={"orders": "given", "max_prompt_tokens": 150})
    said: list[str] = []
    stage = load_rlvr_stage(config, ["trainer.max_steps=1"])
    summary = train(stage, str(config), tmp_path / "run", listener=Listener(say=said.append))
    dropped = {row["id"]: row for row in rows_of(tmp_path / "run" / "dropped.jsonl")}
    reasons = {"no_label": 1, "off_menu": 1, "identical": 1, "degenerate": 1, "too_long": 1}
    assert {row["code"] for row in dropped.values()} == {*reasons, dropped["q6"]["code"]}
    assert [dropped[f"q{n}"]["code"] for n in range(1, 6)] == list(reasons)
    assert (dropped["q5"]["line"], dropped["q5"]["num_tokens"] > 150) == (6, True)
    assert summary["rows"] == 2
    assert sum(summary["dropped"].values()) == 6
    data = json.loads((tmp_path / "run" / "data.json").read_bytes())
    assert data["targets"] == {"A": 2}
    assert any("warning: 6 training rows dropped" in text for text in said)
    assert any("in every prompt the better response is A" in text for text in said)


def test_a_principle_that_the_spec_never_shows_is_refused(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path, pairs=[labelled(0), labelled(1, principle="Be kind.")])
    with refused(ConfigError, "pairs.jsonl:2", "never shows a principle"):
        encoded(config, "spec=sandbox")


def test_nobody_is_warned_of_sides_that_are_drawn(tmp_path: Path) -> None:
    data = encoded(write_rlvr_stage(tmp_path, pairs=[labelled(n) for n in range(8)])).train
    assert set(data.targets) == {"A", "B"}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no rows"),
        ([labelled(n, None) for n in range(3)], "none of 3 rows can be learned from; 3 are no_label"),
        ([labelled(0, prompt="word " * 600)], "raise data.max_prompt_tokens"),
    ],
    ids=["empty", "no-labels", "too-long"],
)
def test_a_file_without_anything_to_learn_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        encoded(write_rlvr_stage(tmp_path, pairs=rows))
    assert words in str(caught.value)


def test_an_id_may_stand_once_over_all_files(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path)
    again = tmp_path / "again.jsonl"
    again.write_text(json.dumps(preference(3)) + "\n")
    with pytest.raises(ConfigError, match=r"'q3' stands at .*pairs\.jsonl:4 too"):
        encoded(config, f"data.train=[{tmp_path / 'pairs.jsonl'}, {again}]")


def test_a_tie_is_learned_where_the_spec_knows_one(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path, pairs=MIXED[:3])
    found = encoded(
        config, "spec=mt-bench", "data.max_prompt_tokens=100000", "model.path=" + str(roomy(tmp_path))
    )
    assert found.train.targets["tie"] == 1
    assert found.train.reasons == {"no_label": 1}


def roomy(folder: Path) -> Path:
    """The model with a longer context."""
    from tests.tiny import build_tiny_model

    return build_tiny_model(folder / "roomy", context=8192)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.per_device_train_batch_size=40", "a generation batch takes 10 prompts, and there are 8"),
        ("trainer.per_device_train_batch_size=12", "takes an even number"),
    ],
    ids=["fewer-prompts-than-a-batch", "half-a-pair"],
)
def test_batches_that_cannot_be_filled_are_refused(tmp_path: Path, override: str, words: str) -> None:
    config = write_rlvr_stage(tmp_path, pairs=[preference(n) for n in range(4)], data={"orders": "both"})
    with pytest.raises(ConfigError, match=words):
        rlvr_trainer(config, tmp_path / "run", override)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["trainer.num_iterations=2", "trainer.save_steps=3"], "trainer.save_steps: is 3"),
        (["trainer.num_iterations=2", "trainer.max_steps=5"], "trainer.max_steps: is 5"),
        (
            [
                "trainer.num_iterations=3",
                "trainer.gradient_accumulation_steps=2",
                "trainer.steps_per_generation=1",
            ],
            "a generation batch lasts 3 passes and a step 2",
        ),
        (
            ["trainer.num_iterations=2", "trainer.max_steps=-1", "trainer.num_train_epochs=1.5"],
            "trainer.num_train_epochs: is 1.5",
        ),
        (["lora.dropout=0.1"], "trainer.disable_dropout turns all dropout off"),
        (["trainer.sync_ref_model=true"], "the reference is the model that training starts from"),
        (["rollouts.refill=1", "data.orders=both"], "tear the two orders of a pair apart"),
    ],
    ids=["save", "max", "uneven", "part-of-an-epoch", "dropout", "moving-reference", "refill-both"],
)
def test_settings_that_would_lose_something_are_refused(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    config = write_rlvr_stage(tmp_path, trainer={"save_steps": 2, "max_steps": 4})
    with pytest.raises(ConfigError) as caught:
        set_up(load_rlvr_stage(config, overrides), str(config), tmp_path / "run" / "checkpoints")
    assert words in str(caught.value)


# Which prompts a batch holds


def test_each_epoch_has_an_order_of_its_own() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = ComparisonSampler(7, unit=1, prompts_per_batch=3, group_size=2, repeats=2, seed=seed)
        sampler.set_epoch(epoch)
        rows = list(sampler)
        assert len(rows) == len(sampler) == 2 * 3 * 2 * 2
        for batch in (rows[:12], rows[12:]):
            assert batch[:6] == batch[6:]
            assert batch[:6:2] == batch[1:6:2]
        return rows[:6:2] + rows[12:18:2]

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(len(set(rows)) == 6 for rows in orders)
    assert len({tuple(rows) for rows in orders}) == 4
    assert order(1, 0) == orders[2]


def test_both_orders_of_a_pair_stand_side_by_side() -> None:
    rows = list(ComparisonSampler(10, unit=2, prompts_per_batch=4, group_size=1, repeats=1, seed=0))
    assert len(rows) == 8
    assert all(
        second == first + 1 and first % 2 == 0 for first, second in zip(rows[::2], rows[1::2], strict=True)
    )


def test_a_run_resumed_by_two_processes_goes_on_in_the_order_of_its_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told of the epoch is only the loader that skips batches, and accelerate does not pass it on from there."""
    trainer = rlvr_trainer(write_rlvr_stage(tmp_path), tmp_path / "run")
    sampler = trainer._get_train_sampler()
    shard = BatchSamplerShard(BatchSampler(sampler, 4, False), num_processes=2, process_index=1)
    loader = DataLoaderShard(list(range(8)), batch_sampler=shard, collate_fn=list)
    expected = ComparisonSampler(8, unit=1, prompts_per_batch=2, group_size=4, repeats=1, seed=0)
    expected.set_epoch(3)
    seen: list[list[int]] = []

    def epoch(self: Any, *, train_dataloader: Any, epoch: int) -> None:
        skipping = skip_first_batches(train_dataloader, 2)
        skipping.set_epoch(epoch)
        seen.extend(skipping)

    monkeypatch.setattr(Trainer, "_run_epoch", epoch)
    trainer.state.max_steps = 1
    trainer._run_epoch(train_dataloader=loader, epoch=3)
    rows = list(expected)
    assert seen == [rows[20:24], rows[28:32]]
    trainer.run.close()


def test_replacements_are_prompts_that_the_batch_has_not_seen() -> None:
    drawn = [replacements(9, [0, 4, 5], 4, seed=1, round_=round_, attempt=0) for round_ in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(set(rows)) == 4 and not {0, 4, 5} & set(rows) for rows in drawn)
    assert sorted(replacements(5, [0, 4], 9, seed=1, round_=0, attempt=0)) == [1, 2, 3]


# A scripted policy under the real trainer

Script = Callable[[str, int], str]


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[..., JudgeGRPOTrainer]]:
    """Trainers whose policy writes what a script says for a prompt and the number in its group."""
    built: list[JudgeGRPOTrainer] = []

    def make(
        script: Script, *overrides: str, own: Mapping[str, Part] | None = None, **sections: Any
    ) -> JudgeGRPOTrainer:
        config = write_rlvr_stage(tmp_path, watch={"samples": 8, "samples_every": 1}, **sections)
        trainer = rlvr_trainer(config, tmp_path / f"run-{len(built)}", *overrides, parts=own)
        rollouts, counts = trainer.rollouts, dict[str, int]()

        def sample(
            _: Any, keys: Sequence[str], sampling: Sequence[SamplingParams], *__: Any
        ) -> list[SampledJudgment]:
            rows = []
            for key, params in zip(keys, sampling, strict=True):
                number = counts[key] = counts.get(key, -1) + 1
                ids = rollouts.base.tokenizer(script(key, number % 4), add_special_tokens=False)["input_ids"]
                rows.append(rollouts.read(key, [*ids, min(rollouts.base.stop_ids)], params.max_tokens))
            return rows

        rollouts.sample = sample
        built.append(trainer)
        return trainer

    yield make
    for trainer in built:
        trainer.run.close()


def drawn(trainer: JudgeGRPOTrainer, keys: Sequence[str]) -> dict[str, Any]:
    trainer._metrics["train"].clear()
    return draw(trainer, [key for key in keys for _ in range(4)])


def test_the_consistency_of_both_orders_is_rewarded(scripted: Callable[..., JudgeGRPOTrainer]) -> None:
    """q0|AB says A A B and nothing readable, q0|BA says B B B A, of which B is the same response as A in AB."""
    said = {"q0|AB": ["A", "A", "B", "?"], "q0|BA": ["B", "B", "B", "A"]}
    parts = {"outcome": {"kind": "outcome"}, "both": {"kind": "pair_consistency", "weight": 0.5}}
    trainer = scripted(
        lambda key, number: f"<eval>it</eval><answer>[[{said[key][number]}]]</answer>",
        pairs=[preference(0), preference(1)],
        data={"orders": "both"},
        rewards={"parts": parts},
        trainer={"max_completion_length": 60},
    )
    prompts = trainer.rollouts.prompts
    assert [prompt.comparison.order for prompt in prompts.values()] == [Order.AB, Order.BA] * 2
    targets = [prompt.comparison.target.winner for prompt in prompts.values() if prompt.comparison.target]
    assert targets == ["A", "B", "A", "B"]
    found = drawn(trainer, ["q0|AB", "q0|BA"])
    told = [row["parts"] for row in rows_of(trainer.run.path / "samples.jsonl")]
    assert [row["outcome"] for row in told] == [1, 1, -1, -1, 1, 1, 1, -1]
    # A in AB is B in BA, which 3 of 4 say; B in AB is A in BA; of AB's three readable verdicts two are A.
    consistent = [3 / 4, 3 / 4, 1 / 4, 0, 2 / 3, 2 / 3, 2 / 3, 1 / 3]
    assert [row["both"] for row in told] == pytest.approx(consistent)
    rewards = [
        right + 0.5 * share for right, share in zip([1, 1, -1, -1, 1, 1, 1, -1], consistent, strict=True)
    ]
    assert found["reward"] == pytest.approx(rewards)
    group = np.array(rewards[:4])
    expected = (group - group.mean()) / (group.std(ddof=1) + 1e-4)
    assert found["advantage"][:4] == pytest.approx(expected)


def test_dead_groups_alone_get_other_prompts(scripted: Callable[..., JudgeGRPOTrainer]) -> None:
    """q0 and q1 to q5 are always right, the others half of the time; none is tried twice, only the new are asked."""
    easy = {f"q{n}" for n in range(6)}

    def script(key: str, number: int) -> str:
        target = trainer.rollouts.prompts[key].comparison.target
        assert target is not None
        wrong = {"A": "B", "B": "A"}[target.winner]
        right = key[:2] in easy or number % 2
        return f"<answer>[[{target.winner if right else wrong}]]</answer>"

    asked: list[list[str]] = []

    def nothing(rollouts: Sequence[Rollout]) -> list[float | None]:
        asked.append([rollout.comparison.id for rollout in rollouts])
        return [0.0] * len(rollouts)

    trainer = scripted(
        script,
        "rollouts.refill=9",
        own={"nothing": nothing},
        rewards={"parts": {"outcome": {"kind": "outcome"}, "nothing": {"kind": "outcome"}}},
        trainer={"max_completion_length": 60},
    )
    keys = {key[:2]: key for key in trainer.rollouts.train_keys}
    start = [keys["q0"], keys["q6"]]
    found = drawn(trainer, start)
    assert found["keys"][4:] == [keys["q6"]] * 4
    assert found["keys"][:4] == [keys["q7"]] * 4  # the only one left that is no dead group
    assert asked[0] == ["q0"] * 4 + ["q6"] * 4
    assert all(ids == ids[:1] * 4 and ids[0] not in ("q0", "q6") for ids in asked[1:])
    assert asked[-1] == ["q7"] * 4
    assert len({ids[0] for ids in asked}) == len(asked)
    assert trainer._metrics["train"]["groups/dead"] == [0]
    first_tokens = trainer.rollouts.num_generated_tokens
    assert first_tokens > sum(map(len, found["completion_ids"]))  # what was thrown away was drawn, too
    again = drawn(trainer, start)
    assert again["keys"] == found["keys"]
    assert trainer.rollouts.num_generated_tokens == 2 * first_tokens
    few = drawn(trainer, [keys["q6"], keys["q7"]])
    assert few["keys"] == [keys["q6"]] * 4 + [keys["q7"]] * 4
    hopeless = {f"q{n}" for n in range(8)}
    easy.update(hopeless)
    drawn(trainer, start)
    assert trainer._metrics["train"]["groups/dead"] == [1]  # both, and nothing is left to try


def test_rows_that_abstain_have_no_advantage(scripted: Callable[..., JudgeGRPOTrainer]) -> None:
    said = ["A", "B", "?", "A"]
    trainer = scripted(
        lambda _, number: f"<answer>[[{said[number]}]]</answer>",
        pairs=[labelled(0), labelled(1)],
        data={"orders": "given"},
        rewards={"parts": {"outcome": {"kind": "outcome", "statuses": {"off_menu": None}}}},
        trainer={"max_completion_length": 60},
    )
    found = drawn(trainer, ["q0|AB", "q1|AB"])
    assert found["reward"] == [1, -1, None, 1] * 2
    a = (1 - 1 / 3) / (np.std([1, -1, 1], ddof=1) + 1e-4)
    assert found["advantage"] == pytest.approx([a, -2 * a, 0, a] * 2)
    assert trainer._metrics["train"]["reward/abstaining"] == [0.25]
    output = trainer._generate_and_score_completions([{"prompt": key} for key in found["keys"]])
    assert output["advantages"].tolist() == pytest.approx([a, -2 * a, 0, a] * 2)


@pytest.mark.slow
def test_a_plan_counts_as_the_trainer_does(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path)
    overrides = [
        "trainer.max_steps=-1",
        "trainer.num_train_epochs=2",
        "trainer.gradient_accumulation_steps=2",
    ]
    setup = set_up(load_rlvr_stage(config, overrides), str(config), tmp_path / "run" / "checkpoints")
    planned: Mapping[str, Any] = plan(setup, encode_data(setup))["batches"]
    assert (planned["prompts_per_generation_batch"], planned["rollouts_per_generation_batch"]) == (4, 16)
    assert (planned["steps_per_epoch"], planned["total_steps"]) == (2, 4)
    said = train(setup.stage, str(config), tmp_path / "run")
    assert said["steps"] == 4


def test_an_order_may_be_drawn_anew_each_epoch(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path)
    anew = rlvr_trainer(config, tmp_path / "anew", "data.orders=each_epoch")
    once = rlvr_trainer(config, tmp_path / "once")

    def shown(trainer: JudgeGRPOTrainer, epoch: int) -> dict[str, str]:
        sampler = trainer._get_train_sampler()
        sampler.set_epoch(epoch)
        keys = [trainer.rollouts.train_keys[row] for row in sampler]
        assert len(keys) == len(sampler) == 8 * 4
        assert all(len(set(keys[start : start + 4])) == 1 for start in range(0, len(keys), 4))
        return dict(key.split("|") for key in keys)

    drawn = [shown(anew, epoch) for epoch in range(24)]
    assert drawn[0] == shown(once, 0) == shown(once, 5)  # the first epoch is that of `random`
    for epoch, orders in enumerate(drawn):
        assert orders == {
            row: str(shown_in_epoch(anew.rollouts.prompts[f"{row}|AB"].comparison, 0, epoch).order)
            for row in orders
        }
    assert all(
        len({orders[row] for orders in drawn}) == 2 for row in drawn[0]
    )  # each pair in both orders, in time
    assert all(set(orders.values()) == {"AB", "BA"} for orders in drawn)
    # Another process, another day: an epoch's orders come from ids, seed and epoch alone.
    assert shown(rlvr_trainer(config, tmp_path / "again", "data.orders=each_epoch"), 7) == drawn[7]
    assert shown(rlvr_trainer(config, tmp_path / "other", "data.orders=each_epoch", "seed=1"), 0) != drawn[0]


def test_a_plan_counts_one_prompt_per_pair_and_epoch(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path)

    def planned(orders: str) -> dict[str, Any]:
        stage = load_rlvr_stage(config, [f"data.orders={orders}"])
        setup = set_up(stage, str(config), tmp_path / "out")
        return plan(setup, encode_data(setup))

    once, anew, both = map(planned, ("random", "each_epoch", "both"))
    assert (once["rows"], anew["rows"], both["rows"]) == (8, 8, 16)
    assert anew["batches"]["steps_per_epoch"] == once["batches"]["steps_per_epoch"]
    assert anew["targets"] == {"A": 8, "B": 8}
    with pytest.raises(ConfigError, match="refill"):
        load_rlvr_stage(config, ["data.orders=each_epoch", "rollouts.refill=1"])


@pytest.mark.parametrize(
    ("combine", "advantages", "warned"),
    [
        ("group_zscore", "group", True),
        ("group_zscore", "whitened", True),
        ("group_zscore", "mean_only", False),
        ("weighted_sum", "group", False),
    ],
)
def test_a_spread_that_is_divided_out_twice_is_warned_of(
    tmp_path: Path, combine: str, advantages: str, warned: bool
) -> None:
    config = write_rlvr_stage(tmp_path)
    words = [f"rewards.combine.kind={combine}", f"advantages.kind={advantages}"]
    setup = set_up(load_rlvr_stage(config, words), str(config), tmp_path / "out")
    said: list[str] = []
    encode_data(setup, Listener(say=said.append))
    assert any("group_zscore" in line for line in said) is warned


def test_rows_of_validation_are_drawn_and_not_the_first(tmp_path: Path) -> None:
    """The draw hangs on the seed and the ids; files in another order hold the same sample, in theirs."""
    config = write_rlvr_stage(tmp_path, pairs=[preference(n) for n in range(100, 108)])
    held_out = [preference(n) for n in range(10, 70)]

    def drawn(rows: list[dict[str, Any]], *more: str) -> list[str]:
        path = tmp_path / "held-out.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        data = encoded(config, f"validation.splits={{held: [{path}]}}", "validation.limit=20", *more)
        return [prompt.comparison.id for prompt in data.validation["held"].prompts]

    ids = [row["id"] for row in held_out]
    first = drawn(held_out)
    assert len(set(first)) == 20
    assert first == sorted(first, key=ids.index)
    assert len(set(first) & set(ids[:20])) < 15
    assert sorted(drawn(held_out[::-1])) == sorted(first)
    assert drawn(held_out, "seed=1") != first
    assert drawn(held_out, "validation.limit=60") == ids
    assert drawn(held_out[:20]) == ids[:20]


# Rows that are learned from and measured on


def leaky(config: Path, name: str, rows: list[dict[str, Any]]) -> str:
    path = config.with_name(f"{name}.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"validation.splits={{{name}: [{path}]}}"


def swapped(number: int) -> dict[str, Any]:
    """A training row under another id, the responses the other way round."""
    return labelled(number, "B", id=f"s{number}", response_a=f"no {number}", response_b=f"yes {number}")


TRAINED = [preference(n) for n in range(8)]


def test_rows_that_are_learned_from_choose_no_checkpoint_unasked(tmp_path: Path) -> None:
    config = write_rlvr_stage(tmp_path, pairs=TRAINED)
    same = leaky(config, "held", [preference(20), swapped(3), preference(4)])
    with pytest.raises(ConfigError, match=r"2 of 3 rows .* are training rows.*allow_training_rows") as caught:
        encoded(config, same, "selection={}")
    assert (caught.value.exit_code, caught.value.place) == (2, "validation.splits.held")
    allowed = encoded(config, same, "selection={}", "validation.allow_training_rows=true")
    assert allowed.to_json()["validation_overlap"] == {"held": {"rows": 2, "prompts": 2}}
    encoded(config, same)  # measured, and nothing chosen by it
    encoded(config, leaky(config, "held", [preference(20)]), "selection={}")


@pytest.mark.slow
def test_rows_that_share_a_prompt_are_named_and_not_refused(tmp_path: Path) -> None:
    other = labelled(3, id="o3", response_a="perhaps", response_b="never")
    config = write_rlvr_stage(tmp_path, pairs=TRAINED)
    said: list[str] = []
    stage = load_rlvr_stage(
        config, [leaky(config, "held", [other, preference(20)]), "selection={}", "trainer.max_steps=1"]
    )
    train(stage, str(config), tmp_path / "run", listener=Listener(say=said.append))
    (line,) = (text for text in said if "validation split held" in text)
    assert "of 2 rows" in line
    assert "0 are training rows and 1 have the prompt of one" in line
    kept = json.loads((tmp_path / "run" / "data.json").read_bytes())
    assert kept["validation_overlap"] == {"held": {"rows": 0, "prompts": 1}}


# --- rubrics


def with_rubrics(folder: Path, *saw: str, **data: Any) -> Path:
    """A stage whose pairs have rubrics in a file, some of which saw the labels."""
    path = folder / "rubrics.jsonl"
    lines = [
        {"id": f"q{n}", "criteria": [{"text": f"is {n}"}], "saw_label": f"q{n}" in saw} for n in range(4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pairs = [labelled(n) for n in range(4)]
    return write_rlvr_stage(folder, pairs=pairs, data={"rubrics": str(path), **data})


def test_a_rollout_is_shown_the_rubric_of_its_pair(tmp_path: Path) -> None:
    data = encoded(with_rubrics(tmp_path))
    shown = [prompt.comparison.rubric.render() for prompt in data.train.prompts if prompt.comparison.rubric]
    assert shown == [f"1. is {n} [Criterion]" for n in range(4)]
    plain = encoded(write_rlvr_stage(tmp_path, pairs=[labelled(n) for n in range(4)]))
    for with_one, without in zip(data.train.prompts, plain.train.prompts, strict=True):
        assert len(with_one.ids) > len(without.ids)
    assert data.to_json()["rubrics"] == {"train": 4}
    assert "rubrics_that_saw_labels" not in data.to_json()


def test_rubrics_that_saw_the_labels_of_what_is_learned_or_measured_are_refused(tmp_path: Path) -> None:
    with refused(ConfigError, "'q1'", "'q3'", "2 rows", "rubrics_that_saw_labels"):
        encoded(with_rubrics(tmp_path, "q1", "q3"))
    data = encoded(with_rubrics(tmp_path, "q1", "q3", rubrics_that_saw_labels=True))
    assert data.to_json()["rubrics_that_saw_labels"] == {"train": 2}
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text(json.dumps(labelled(9)) + "\n")
    config = with_rubrics(tmp_path)
    with (tmp_path / "rubrics.jsonl").open("a") as file:
        file.write(json.dumps({"id": "q9", "rubric": "the label is A", "saw_label": True}) + "\n")
    with refused(ConfigError, "'q9'", "held-out.jsonl"):
        encoded(config, f"validation.splits.test={held_out}")


def test_rubrics_that_nothing_shows_or_names_are_refused(tmp_path: Path) -> None:
    config = with_rubrics(tmp_path)
    spec = load_spec("sandbox").model_dump(mode="json")
    spec["messages"][0]["text"] = "{{ prompt }} A: {{ response_a }} B: {{ response_b }}"
    (tmp_path / "blind.yaml").write_text(json.dumps(spec))
    with refused(ConfigError, "never shows a rubric"):
        encoded(config, f"spec={tmp_path / 'blind.yaml'}")
    (tmp_path / "rubrics.jsonl").write_text('{"id": "elsewhere", "rubric": "x"}\n')
    with refused(InputError, "data.rubrics"):
        encoded(config)
