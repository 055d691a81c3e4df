"""Critiques that try to be paid for nothing, under each form of the reward: by hand, and as the page has them.

The reference has N = 4 core arguments (N = 1 where a row says so); the right verdict is A. F1 = 2·m/(n + N) with n
arguments said and m matched; AP = Σ P@k·I(k)/N. Forms, o the outcome (1 or 0) and p the critique's part:

    released   −1 if critique or verdict is missing or too long, else o + 0.5·[F1 ≥ 0.5], the bonus only where o = 1
    ungated    the same with the bonus also where o = 0
    soft       o + 0.5·F1 where o = 1
    strict     o + 0.5·[F1 ≥ 0.75] where o = 1
    rationale  o·AP, no rule of format
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from reasrm.config import parse_config
from reasrm.critiques.cases import by_rules, scorer
from reasrm.critiques.similarity import stem_overlap
from reasrm.records import Critique, Winner
from reasrm.rewards.build import Scored, build_reward
from reasrm.rewards.config import RewardSection
from tests.commands import ROOT
from tests.rewards.rollouts import rollout

PAGE = (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")
SCORER = scorer(by_rules, stem_overlap)
GOLD = (
    "Response A is accurate about dates. Response A gives a helpful summary. "
    "Response B is misleading about prices. Response B lacks examples."
)
ONE = "Response A is accurate about dates."


def false(number: int) -> str:
    """That many arguments that the reference does not have."""
    return " ".join(f"Response A is clear about topic{n}." for n in range(number))


OUTCOME = {"kind": "outcome", "right": 1, "wrong": 0, "unparsed": 0}


def bonus(combine: dict[str, Any] | None = None, **part: Any) -> dict[str, Any]:
    """RM-NLHF's reward with something changed."""
    return {
        "parts": {
            "outcome": OUTCOME,
            "format": {"kind": "critique_format"},
            "critique": {"kind": "critique", "weight": 0.5, **part},
        },
        "combine": {"kind": "critique_bonus", "format": "format", **(combine or {})},
    }


FORMS = {
    "released": bonus(),
    "ungated": bonus({"gated": False}),
    "soft": bonus(least=None),
    "strict": bonus(least=0.75),
    "rationale": {
        "parts": {
            "outcome": OUTCOME,
            "critique": {"kind": "critique", "score": "average_precision", "least": None},
        },
        "combine": {"kind": "multiplicative"},
    },
}

PROMPT = (
    "Judge which chatbot answers the user better. Think about accuracy and safety.\n"
    "Question: name a city in France.\nResponse A: Paris, which is in France.\nResponse B: London."
)
REPEATED = (
    "Response A is accurate about dates. Response A is accurate about its dates.\n"
    "About dates, response A is accurate. The dates of response A are accurate."
)
SAME_WORDS = (
    "Response A is not accurate about dates. Response A does not give a helpful summary. "
    "Response B is not misleading about prices. Response B does not lack examples."
)
OTHER_WORDS = (
    "Response A is misleading on chronology. Response A is vague in its overview. "
    "Response B is correct on costs. Response B is rich in illustrations."
)
TURNED = (
    "Response B is accurate about dates. Response B gives a helpful summary. "
    "Response A is misleading about prices. Response A lacks examples."
)

# name, verdict, critique, reference, then released, ungated, soft, strict, rationale
CASES: list[tuple[str, Winner | None, str, str, tuple[float, ...]]] = [
    # n = m = N = 4: F1 = 1, AP = 1.
    ("honest, everything found", "A", GOLD, GOLD, (1.5, 1.5, 1.5, 1.5, 1)),
    # n = m = 2: F1 = 4/6, AP = (1/1 + 2/2)/4.
    ("honest, half found", "A", f"{ONE} Response B lacks examples.", GOLD, (1.5, 1.5, 1 + 1 / 3, 1, 0.5)),
    # No sentence of it judges: n = 0, F1 = AP = 0. What is left is the right verdict.
    ("copied prompt", "A", PROMPT, GOLD, (1, 1, 1, 1, 0)),
    # n = 4 + 8, m = 4: F1 = 8/16, exactly the threshold. The hits come first: AP = (1 + 1 + 1 + 1)/4.
    ("all four and 8 false ones", "A", f"{GOLD} {false(8)}", GOLD, (1.5, 1.5, 1.25, 1, 1)),
    # n = 4 + 9: F1 = 8/17 = 0.47. Average precision does not see what follows the last hit.
    ("all four and 9 false ones", "A", f"{GOLD} {false(9)}", GOLD, (1, 1, 1 + 4 / 17, 1, 1)),
    # The same, hits in places 10 to 13: AP = (1/10 + 2/11 + 3/12 + 4/13)/4.
    (
        "9 false ones and all four", "A", f"{false(9)} {GOLD}", GOLD,
        (1, 1, 1 + 4 / 17, 1, (1 / 10 + 2 / 11 + 3 / 12 + 4 / 13) / 4),
    ),
    # N = 1, n = 3, m = 1: F1 = 2/4. Two false arguments for one true one still earn the whole bonus.
    ("the only one and 2 false ones", "A", f"{ONE} {false(2)}", ONE, (1.5, 1.5, 1.25, 1, 1)),
    # N = 1, n = 4: F1 = 2/5.
    ("the only one and 3 false ones", "A", f"{ONE} {false(3)}", ONE, (1, 1, 1.2, 1, 1)),
    # n = 4 and m = 1, for a repeat matches nothing: F1 = 2/8, AP = 1/4.
    ("one argument four times", "A", REPEATED, GOLD, (1, 1, 1.125, 1, 0.25)),
    # Each argument is also turned round in the same words, which silences both: m = 0.
    ("both stances, same words", "A", f"{GOLD} {SAME_WORDS}", GOLD, (1, 1, 1, 1, 0)),
    # In other words that goes unnoticed: n = 8, m = 4, F1 = 8/12, AP = 1.
    ("both stances, other words", "A", f"{GOLD} {OTHER_WORDS}", GOLD, (1.5, 1.5, 1 + 1 / 3, 1, 1)),
    # F1 = AP = 1 and o = 0: only the gate stands between this and half a point.
    ("wrong verdict against a perfect critique", "B", GOLD, GOLD, (0, 0.5, 0, 0, 0)),
    # Every side exchanged: m = 0. The right verdict is paid all the same, as outcome alone would.
    ("right verdict against its critique", "A", TURNED, GOLD, (1, 1, 1, 1, 0)),
    # No critique: bad format; RationaleRM's form has F1 = AP = 0 to say.
    ("empty critique", "A", " \n", GOLD, (-1, -1, -1, -1, 0)),
    # True of another row: n = 2, m = 0.
    (
        "another row's critique", "A",
        "Response A is robust against crashes. Response B is verbose in its code.", GOLD, (1, 1, 1, 1, 0),
    ),
    # Perfect, and one line too long: bad format, which RationaleRM's form does not look at.
    ("perfect critique on five lines", "A", GOLD.replace(". ", ".\n") + "\nThat is all.", GOLD, (-1,) * 4 + (1,)),
    # A perfect critique and no readable verdict.
    ("perfect critique, no verdict", None, GOLD, GOLD, (-1, -1, -1, -1, 0)),
]  # fmt: skip
NAMES = [name for name, *_ in CASES]


def score(form: dict[str, Any], said: Winner | None, text: str, reference: str) -> Scored:
    section = parse_config(RewardSection, form, "reward.yaml")
    row = rollout(said, evaluation=text, critique=Critique(text=reference))
    return build_reward(section, critiques=SCORER)([row])


@pytest.mark.parametrize(("name", "said", "text", "reference", "rewards"), CASES, ids=NAMES)
def test_what_it_earns(name, said: Winner | None, text: str, reference: str, rewards) -> None:
    earned = [score(form, said, text, reference).rewards[0] for form in FORMS.values()]
    assert earned == pytest.approx(list(rewards)), name


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_how_many_false_arguments_a_threshold_forgives(number: int) -> None:
    # All N found and k false ones: F1 = 2N/(2N + k). At least 0.5 as long as k ≤ 2N, at least 0.75 while k ≤ 2N/3.
    reference = " ".join(f"Response B is wrong about matter{n}." for n in range(number))

    def paid(form: str, k: int) -> bool:
        said = f"{reference} {false(k)}"
        return score(FORMS[form], "A", said, reference).parts["critique"] == [1.0]

    assert paid("released", 2 * number)
    assert not paid("released", 2 * number + 1)
    assert paid("strict", 2 * number // 3)
    assert not paid("strict", 2 * number // 3 + 1)


def test_under_the_soft_form_every_false_argument_costs() -> None:
    earned = [score(FORMS["soft"], "A", f"{ONE} {false(k)}", ONE).rewards[0] for k in range(5)]
    assert earned == pytest.approx([1 + 0.5 * 2 / (2 + k) for k in range(5)])


def test_the_gate_pays_no_wrong_verdict_whatever_is_written() -> None:
    for _, _, text, reference, _ in CASES:
        for form in ("released", "soft", "strict", "rationale"):
            (reward,) = score(FORMS[form], "B", text, reference).rewards
            assert reward is not None
            assert reward <= 0


def test_no_hack_earns_more_than_honesty() -> None:
    honest = dict(zip(FORMS, CASES[0][4], strict=True))
    for _, said, text, reference, _ in CASES:
        for form, best in honest.items():
            (reward,) = score(FORMS[form], said, text, reference).rewards
            assert reward is not None
            assert reward <= best


def test_the_page_says_the_same_numbers() -> None:
    _, _, rest = PAGE.partition("### What hacks earn")
    table = {
        cells[0]: [float(cell.replace("−", "-").strip("*")) for cell in cells[1:]]
        for line in re.split(r"\n#{2,3} ", rest)[0].splitlines()
        if line.startswith("| ") and not line.startswith(("| critique", "| ---"))
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert list(table) == NAMES
    for name, _, _, _, rewards in CASES:
        assert table[name] == pytest.approx(list(rewards), abs=0.005), name
