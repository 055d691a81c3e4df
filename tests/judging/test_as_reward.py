"""A judge as TRL's reward function: what is asked and what it is worth, alone and in two processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterable
from typing import Any

import pytest

import reasrm
from reasrm.errors import ConfigError, EnvironmentProblem, RowError
from reasrm.generation.replay import ReplayBackend
from reasrm.judging.judge import Judge
from reasrm.judging.plan import JudgingOptions
from reasrm.judging.reward_function import JudgeReward, as_reward
from reasrm.protocol.spec import load_spec
from reasrm.requests import Completion, Request, SamplingParams
from tests.commands import ROOT, environment
from tests.fakes import FakeBackend
from tests.refusals import refused


def shown(request: Request) -> list[str]:
    """What others wrote in a prompt: the prompt, what comes with it, then A and B."""
    return [span.text for span in request.messages[-1].spans if not span.trusted]


def longer_wins(request: Request) -> str:
    """A judge that counts characters, cannot read `?`, and goes by position at `=`."""
    *_, a, b = shown(request)
    if "?" in a + b:
        return "who knows"
    if "=" in a + b:
        return "[[A]]"
    return "[[C]]" if len(a) == len(b) else f"[[{'A' if len(a) > len(b) else 'B'}]]"


class Flaky(FakeBackend):
    """Fails on every prompt that holds `!`."""

    def generate(self, requests: Iterable[Request]) -> Generator[Completion, None, None]:
        for request in requests:
            if any("!" in text for text in shown(request)):
                self.requests.append(request)
                yield Completion(request.id, finish_reason="error", error="no route to host")
            else:
                yield from super().generate([request])


def fake(spec: str = "mt-bench", backend: type[FakeBackend] = FakeBackend) -> Judge:
    return Judge(spec=load_spec(spec), backend=backend(longer_wins))


def asked(reward: JudgeReward) -> list[Request]:
    backend = reward.referee.judge.backend
    assert isinstance(backend, FakeBackend)
    return backend.requests


def call(reward: JudgeReward, completions: list[Any], **columns: Any) -> list[float | None]:
    """Judge completions of one prompt."""
    return reward(prompts=["p"] * len(completions), completions=completions, **columns)


def test_round_robin_counts_wins_in_both_orders():
    reward = as_reward(fake())
    assert call(reward, ["aaa", "a", "aa", "b"]) == pytest.approx([1, 0.5 / 3, 2 / 3, 0.5 / 3])
    # Six pairs, each shown in both orders.
    assert len(asked(reward)) == 12
    assert {tuple(shown(request)[-2:]) for request in asked(reward)} >= {("a", "aa"), ("aa", "a")}


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [("round_robin", [1, 0, 1 / 3, 2 / 3]), ("tournament", [1, 0, 1 / 3, 2 / 3])],
)
def test_groups_are_equal_prompts_wherever_they_stand(scheme, expected):
    reward = as_reward(fake(), scheme)
    texts = ["aaaa", "a", "aa", "aaa"]
    prompts = ["p", "q"] * 4
    completions = [text for text in texts for _ in range(2)]
    assert reward(prompts=prompts, completions=completions)[::2] == pytest.approx(expected)
    assert {shown(request)[0] for request in asked(reward)} == {"p", "q"}


def test_seeds_are_drawn_by_content_whatever_the_order_of_the_batch():
    texts = [letter * n for n in (1, 2, 3) for letter in "abc"]  # many draws, which seeds decide
    straight = call(as_reward(fake(), "tournament"), texts)
    assert call(as_reward(fake(), "tournament"), texts[::-1]) == straight[::-1]
    other = as_reward(fake(), "tournament", options=JudgingOptions(seed=1))
    assert call(other, texts) != straight
    # Whoever has one letter never passes one that has three.
    assert max(straight[:3]) < min(straight[6:])


def test_conversations_are_read_as_their_text():
    prompt = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    completions = [
        [{"role": "assistant", "content": "aa"}],
        [
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]},
            {"role": "tool", "content": "12"},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
        ],
        [{"role": "assistant", "content": None}],
    ]
    reward = as_reward(fake())
    assert reward(prompts=[prompt] * 3, completions=completions) == [1, 0.5, 0]
    assert all("u" in shown(request) for request in asked(reward))
    with refused(RowError, "completion 1", "number 7"):
        call(reward, ["a", 7])


def test_equal_and_empty_completions_are_settled_without_the_judge():
    counts: dict[str, Any] = {}
    reward = as_reward(fake())
    rewards = call(reward, ["a", "a", "", " \n"], log_metric=counts.__setitem__)
    assert rewards == pytest.approx([2.5 / 3, 2.5 / 3, 0.5 / 3, 0.5 / 3])
    assert asked(reward) == []
    assert "judge/coverage" not in counts, "no rate over nothing"
    # Copies are one player of a bracket, so seeds do not rank them.
    assert call(as_reward(fake(), "tournament"), ["a", "aa", "a", "", "aa"]) == [0.5, 1, 0.5, 0, 1]
    assert call(as_reward(fake(), "tournament"), ["a"] * 4) == [0.5] * 4
    assert call(as_reward(fake(), "tournament"), ["a"]) == [0.5]
    assert call(as_reward(fake()), ["a"]) == [None]


def test_unreadable_judgments_abstain_and_are_never_zero():
    metrics: dict[str, float] = {}
    extra: dict[str, list[Any]] = {}
    reward = as_reward(fake())
    rewards = call(
        reward, ["a", "aa", "?"], log_metric=metrics.__setitem__, log_extra=extra.__setitem__, other=[1, 2, 3]
    )
    assert rewards == [0, 1, None]
    assert extra == {"judge_matches": [1, 1, 0]}
    assert metrics == pytest.approx(
        {
            "judge/failed": 0,
            "judge/coverage": 1 / 3,
            "judge/cached": 0,
            "judge/drawn": 0,
            "judge/position_a_rate": 0.5,
            "judge/abstained": 1 / 3,
            "judge/matches": 2 / 3,
        }
    )
    assert call(as_reward(fake(), unreadable="coin"), ["a", "aa", "?"]) == [0.25, 0.75, 0.5]


def test_the_coin_of_a_bracket_is_seeded_and_still_leaves_a_winner():
    draws = [
        call(as_reward(fake(), "tournament", unreadable="coin", options=JudgingOptions(seed=n)), ["?", "??"])
        for n in range(8)
    ]
    assert {tuple(draw) for draw in draws} == {(0.0, 1.0), (1.0, 0.0)}
    again = as_reward(fake(), "tournament", unreadable="coin", options=JudgingOptions(seed=3))
    assert call(again, ["?", "??"]) == draws[3]


def test_a_judge_that_goes_by_position_draws():
    metrics: dict[str, float] = {}
    rewards = call(as_reward(fake()), ["=", "a=", "aa="], log_metric=metrics.__setitem__)
    assert rewards == [0.5] * 3
    assert (metrics["judge/position_a_rate"], metrics["judge/drawn"]) == (1, 1)
    assert call(as_reward(fake(), "tournament"), ["=", "a=", "aa="]) == [0.5] * 3


def test_one_order_is_drawn_by_content_at_half_the_price():
    reward = as_reward(fake(), options=JudgingOptions(orders="random"))
    call(reward, [f"{n}=" for n in range(10)])
    pairs = [tuple(shown(request)[-2:]) for request in asked(reward)]
    assert len(pairs) == 45
    assert 10 < sum(a < b for a, b in pairs) < 35
    with pytest.raises(ConfigError, match="rollouts have no order"):
        as_reward(fake(), options=JudgingOptions(orders="given"))


@pytest.mark.parametrize("conversational", [False, True])
def test_the_anchor_comes_from_a_column(conversational):
    anchors: list[Any] = ["aa", "aa", "a=", None]
    if conversational:
        anchors = [text and [{"role": "assistant", "content": text}] for text in anchors]
    reward = as_reward(fake(), "anchor")
    assert call(reward, ["a", "aaa", "aa", "a"], reference=anchors) == [0, 1, 0.5, None]
    assert len(asked(reward)) == 6
    with refused(ConfigError, "'reference'"):
        call(reward, ["a"])


def test_the_anchor_may_be_made_for_the_distinct_prompts():
    given: list[list[str]] = []

    def greedy(prompts: list[str]) -> list[str | None]:
        given.append(prompts)
        return ["aa" if prompt == "p" else None for prompt in prompts]

    reward = as_reward(fake(), "anchor", anchor=greedy)
    assert reward(prompts=["p", "q", "p"], completions=["a", "a", "aaa"]) == [0, None, 1]
    assert given == [["p", "q"]]
    short = as_reward(fake(), "anchor", anchor=lambda prompts: [])
    with refused(ConfigError, "0 answers", "1 prompts"):
        call(short, ["a"])


def test_what_was_judged_is_not_asked_again_and_the_memory_is_bounded():
    metrics: dict[str, float] = {}
    reward = as_reward(fake())
    first = call(reward, ["a", "aa", "?"])
    number = len(asked(reward))
    assert call(reward, ["?", "aa", "a"], log_metric=metrics.__setitem__) == first[::-1]
    assert len(asked(reward)) == number
    assert metrics["judge/cached"] == 1
    small = as_reward(fake(), cache_size=2)
    call(small, ["a", "aa", "aaa"])
    assert call(small, ["a", "aa", "aaa"]) == [0, 0.5, 1]
    assert 6 < len(asked(small)) < 12
    none = as_reward(fake(), cache_size=0)
    call(none, ["a", "aa"])
    call(none, ["a", "aa"])
    assert len(asked(none)) == 4


def test_a_further_meeting_is_a_further_sample_only_where_there_is_chance():
    # n = 3: the two best meet twice.
    texts = ["a", "aa", "aaa"]
    greedy = as_reward(fake(), "tournament")
    sampled = as_reward(
        fake(), "tournament", options=JudgingOptions(sampling=SamplingParams(temperature=1.0))
    )
    assert call(greedy, texts) == call(sampled, texts) == [0, 0.5, 1]
    pairs = [tuple(sorted(shown(request)[-2:])) for request in asked(sampled)]
    assert len(asked(greedy)) < len(asked(sampled))
    assert len(pairs) - len(set(pairs)) * 2 == len(asked(sampled)) - len(asked(greedy))
    seeds = [request.sampling.seed for request in asked(sampled)]
    assert len(set(seeds)) == len(seeds)


def test_the_judge_is_shown_the_columns_it_is_told_to():
    reward = as_reward(fake(), shown=("rubric", "reference"))
    call(reward, ["a", "aa"], rubric=["be long"] * 2, reference=["R"] * 2, principle=["secret"] * 2)
    assert {"be long", "R"} < set(shown(asked(reward)[0]))
    assert "secret" not in shown(asked(reward)[0])
    with refused(ConfigError, "never shows a principle, and 1 row has one"):
        call(as_reward(fake("sandbox")), ["a", "aa"], principle=["be long", None])
    # Another rubric is another group: nothing is compared across.
    apart = as_reward(fake())
    assert call(apart, ["a", "aa"], rubric=["one", "two"]) == [None, None]
    with pytest.raises(ConfigError, match="both the anchor and shown"):
        as_reward(fake(), "anchor", shown=["reference"])


def test_only_the_answer_is_judged_where_one_is_cut_out():
    reward = as_reward(fake(), answer=lambda text: text.rpartition("</think>")[2])
    assert call(reward, ["<think>aaaaaa</think>a", "aa"]) == [0, 1]
    assert all("think" not in "".join(shown(request)) for request in asked(reward))


def test_centred_rewards_are_win_rates_stretched_around_zero():
    assert call(as_reward(fake(), scale="centred"), ["a", "aa", "aaa", "?"]) == [-1, 0, 1, None]


def test_a_failed_call_abstains_is_counted_and_tried_again():
    metrics: dict[str, float] = {}
    reward = as_reward(fake(backend=Flaky))
    assert call(reward, ["a", "aa", "!"], log_metric=metrics.__setitem__) == [0, 1, None]
    assert (metrics["judge/failed"], metrics["judge/coverage"]) == (2, pytest.approx(1 / 3))
    number = len(asked(reward))
    call(reward, ["a", "aa", "!"])
    assert len(asked(reward)) == number + 4, "errors are not remembered"


def test_a_judge_that_fails_on_everything_stops_the_training():
    reward = as_reward(fake(backend=Flaky))
    message = r"fake: the judge failed on all 3 matches: no route to host; mend"
    with pytest.raises(EnvironmentProblem, match=message):
        call(reward, ["a!", "aa!", "aaa!"])
    # It is a matter of one batch: the next one may go well.
    assert call(reward, ["a", "aa"]) == [0, 1]
    silent = as_reward(Judge(spec=load_spec("mt-bench"), backend=ReplayBackend()))
    with refused(EnvironmentProblem, "1 matches"):
        call(silent, ["a", "aa"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "tournement"}, "did you mean 'tournament'"),
        ({"scale": "log"}, "use one of win_rate, centred"),
        ({"unreadable": "zero"}, "use one of abstain, coin"),
        ({"shown": ["meta"]}, "use one of rubric, principle, reference"),
    ],
    ids=["scheme", "scale", "unreadable", "shown"],
)
def test_what_cannot_be_meant_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        as_reward(fake(), **options)


def test_a_judge_that_does_not_compare_is_refused():
    with refused(ConfigError, "pointwise"):
        as_reward(fake("pointwise-10"))


def test_it_is_found_where_users_look_and_named_as_they_say():
    assert as_reward is reasrm.as_reward
    assert as_reward(fake(), name="quality").__name__ == "quality"
    code = "import sys; from reasrm import as_reward, open_judge; "
    code += "as_reward(open_judge('openai:m@http://127.0.0.1:9/v1', spec='mt-bench')); "
    code += "raise SystemExit(bool({'torch', 'transformers', 'trl'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())


PROCESS = """
import json, sys
import torch.distributed as dist
from tests.judging.test_as_reward import Flaky, asked, fake
from reasrm.judging.reward_function import as_reward

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
# Groups p and q of four, the first torn: three rows here, five there.
prompts, completions = ["p"] * 4 + ["q"] * 4, ["a", "aa", "aaa", "aaaa"] * 2
mine = slice(0, 3) if rank == 0 else slice(3, 8)
said = {}
for name, options in (("whole", {}), ("torn", {"gather": False}), ("brackets", {"scheme": "tournament"})):
    reward = as_reward(fake(), **options)
    said[name] = reward(prompts=prompts[mine], completions=completions[mine])
    said[name + " asked"] = len(asked(reward))
try:
    as_reward(fake(backend=Flaky))(prompts=["r", "r"], completions=["x!" if rank else "x", 7 if rank else "y"])
except Exception as error:
    said["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_judge_whole_groups_together(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = (json.loads(output) for output, _ in outputs)
    assert first["whole"] + second["whole"] == pytest.approx([0, 1 / 3, 2 / 3, 1] * 2)
    assert first["brackets"] + second["brackets"] == pytest.approx([0, 1 / 3, 2 / 3, 1] * 2)
    assert (first["whole asked"], second["whole asked"]) == (12, 12), "each judged one group"
    # Left to themselves, three of p play without the best one, which is alone.
    assert first["torn"] + second["torn"] == pytest.approx([0, 0.5, 1, None, 0, 1 / 3, 2 / 3, 1])
    assert first["error"].startswith("EnvironmentProblem: process 1: RowError: completion 1 of the batch")
    assert second["error"].startswith("RowError: completion 1 of the batch")


# Messages that hold more than an answer

IMAGE = {"type": "image", "image": "x.png"}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}


@pytest.mark.parametrize(
    "behind",
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": " \n"},
        {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": []},
        CALL,
        {"role": "tool", "content": "12"},
    ],
    ids=["empty", "null", "blank", "empty part", "no part", "a call", "a tool"],
)
def test_an_answer_followed_by_an_empty_message_is_judged_by_the_answer(behind: dict[str, Any]) -> None:
    def answered(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": text}, behind]

    reward = as_reward(fake())
    assert reward(prompts=["p"] * 2, completions=[answered("aa"), answered("a")]) == [1, 0]
    assert reward(prompts=["p"] * 2, completions=[answered("a"), [behind]]) == [1, 0]


@pytest.mark.parametrize(
    "odd",
    [
        [{"role": "user", "content": [IMAGE, {"type": "text", "text": "what?"}]}],
        [{"role": "user", "content": "add"}, CALL, {"role": "tool", "content": "3"}],
        [{"role": "user", "content": None}],
    ],
    ids=["an image", "a tool call", "nothing"],
)
@pytest.mark.parametrize("scheme", ["round_robin", "tournament", "knockout", "anchor"])
def test_a_prompt_that_is_more_than_text_abstains_alone(odd: Any, scheme: Any) -> None:
    plain = [{"role": "user", "content": "u"}]
    reward = as_reward(fake(), scheme)
    got = reward(
        prompts=[plain, odd, plain, odd],
        completions=["aa", "aaa", "a", "a"],
        **({"reference": ["b", "b", "b", "b"]} if scheme == "anchor" else {}),
    )
    assert got[1] is got[3] is None
    assert None not in (got[0], got[2])
    assert reward(prompts=[odd], completions=["a"], reference=["b"]) == [None]


def test_an_answer_with_an_image_abstains_alone() -> None:
    pictured = [{"role": "assistant", "content": [IMAGE]}]
    assert as_reward(fake())(prompts=["p"] * 3, completions=["aa", pictured, "a"]) == [1, None, 0]
    with pytest.raises(RowError, match="prompt 0"):
        as_reward(fake())(prompts=[7], completions=["a"])


def test_half_a_character_abstains_alone() -> None:
    assert as_reward(fake())(prompts=["p"] * 3, completions=["aa", "\ud83d", "a"]) == [1, None, 0]
    odd = [{"role": "user", "content": "p \udc80"}]
    assert as_reward(fake())(prompts=["p", odd, "p"], completions=["aa", "aa", "a"]) == [1, None, 0]


def test_anchors_are_not_asked_for_about_prompts_that_cannot_be_read() -> None:
    asked_about: list[Any] = []

    def anchor(prompts: list[Any]) -> list[str]:
        asked_about.extend(prompts)
        return ["b"] * len(prompts)

    odd = [{"role": "user", "content": [IMAGE]}]
    got = as_reward(fake(), "anchor", anchor=anchor)(prompts=["p", odd], completions=["aa", "aa"])
    assert (asked_about, got[1]) == (["p"], None)
