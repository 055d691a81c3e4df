"""Learning online, in one process: gradients by formula, steps that do not depend on how rows are cut, faults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from reasrm.errors import InternalError
from reasrm.generation.checkpoint import Checkpoint
from reasrm.metarm import learner as learning
from reasrm.metarm import model as module
from reasrm.metarm.card import MetaCard
from reasrm.metarm.learner import Learner, Lesson, Update, assert_equal_weights
from reasrm.metarm.model import MetaRM, collate
from reasrm.protocol.spec import load_spec
from reasrm.training.safety.states import load_state, save_state
from tests.metarm.models import BASES, build_base, build_metarm, differing, disturb, encode, weights

pytestmark = pytest.mark.slow

KINDS = list(BASES)
TARGETS = (0.0, 1.0, 1.5, 1.0, 0.0, 1.5, 1.0)
NOTHING = Update(loss=None, rows=0, steps=0, skipped=0, grad_norm=None)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases")
    for kind in KINDS:
        build_base(folder / kind, kind)
    return folder


def metarm_of(bases: Path, kind: str = "likelihood", **card: Any) -> MetaRM:
    return disturb(build_metarm(bases / kind, **{**BASES[kind], "members": 2, **card}))


def lessons(metarm: MetaRM) -> list[Lesson]:
    return [Lesson(row, target) for row, target in zip(encode(metarm), TARGETS, strict=True)]


def loss_of(metarm: MetaRM, found: Sequence[Lesson]) -> torch.Tensor:
    """The mean over rows and members, all rows at once."""
    scores = metarm(**collate([lesson.row for lesson in found], metarm.pad_id))
    targets = torch.tensor([lesson.target for lesson in found])
    return torch.stack([(scores[:, m] - targets).square().mean() for m in range(scores.shape[1])]).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_mean_squared_error(kind: str, bases: Path) -> None:
    metarm = metarm_of(bases, kind)
    found = lessons(metarm)
    expected = torch.autograd.grad(loss_of(metarm, found), list(metarm.trained().values()), allow_unused=True)
    learner = Learner(metarm, batch_size=3)
    squared, count = learner._gradients(found)
    assert count == len(found)
    assert squared / count == pytest.approx(float(loss_of(metarm, found)), rel=1e-5)
    assert any(grad is not None and float(grad.abs().max()) > 0.01 for grad in expected)
    for (name, weight), grad in zip(metarm.trained().items(), expected, strict=True):
        wanted = torch.zeros_like(weight) if grad is None else grad
        assert weight.grad is not None
        assert torch.allclose(weight.grad, wanted, atol=1e-5, rtol=1e-4), name


def test_the_gradient_of_a_bias_is_what_the_formula_says(bases: Path) -> None:
    """dL/db of member m = 2·gain/(N·M) Σ_n (s_nm − t_n)."""
    metarm = metarm_of(bases)
    found = lessons(metarm)
    scores = metarm.score([lesson.row for lesson in found])
    Learner(metarm, batch_size=2)._gradients(found)
    for number, member in enumerate(metarm.members):
        misses = [float(scores[n, number]) - lesson.target for n, lesson in enumerate(found)]
        expected = 2 * module._GAIN / (7 * 2) * sum(misses)
        assert float(member.readout.bias.grad) == pytest.approx(expected, rel=1e-4)


def test_an_update_says_what_it_did_and_moves_weights_by_adamw(bases: Path) -> None:
    """The first step of AdamW moves each weight by the learning rate against its gradient's sign."""
    metarm = metarm_of(bases)
    found = lessons(metarm)
    before, loss = weights(metarm), float(loss_of(metarm, found))
    grads = torch.autograd.grad(loss_of(metarm, found), list(metarm.trained().values()))
    norm = math.sqrt(sum(float(grad.double().square().sum()) for grad in grads))
    done = Learner(metarm, learning_rate=1e-4, max_grad_norm=1e9).update([found])
    assert (done.rows, done.steps, done.skipped) == (7, 1, 0)
    assert done.loss == pytest.approx(loss, rel=1e-5)
    assert done.grad_norm == pytest.approx(norm, rel=1e-4)
    assert not metarm.training  # no dropout
    for (name, weight), grad in zip(metarm.trained().items(), grads, strict=True):
        moved, clear = before[name] - weight.detach(), grad.abs() > 1e-3
        assert torch.allclose(moved[clear], 1e-4 * grad.sign()[clear], atol=2e-6), name
    assert float(loss_of(metarm, found)) < loss
    assert all(weight.grad is None for weight in metarm.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_how_rows_are_cut_into_passes_changes_nothing(kind: str, bases: Path) -> None:
    ends = []
    for size in (16, 3, 1):
        metarm = metarm_of(bases, kind)
        learner = Learner(metarm, learning_rate=1e-3, batch_size=size, max_grad_norm=1e9)
        # A step of AdamW blows up tiny gradients, so it is the gradients' means that are compared, too.
        done = learner.update([lessons(metarm)])
        state = learner.state()["optimizer"]["state"]
        ends.append((done, [entry["exp_avg"] for entry in state.values()]))
    for done, moments in ends[1:]:
        assert done.loss == pytest.approx(ends[0][0].loss, rel=1e-6)
        assert all(
            torch.allclose(m, other, atol=1e-6, rtol=1e-5)
            for m, other in zip(moments, ends[0][1], strict=True)
        )


def test_steps_of_different_sizes_count_every_row_once(bases: Path) -> None:
    """The loss of an update is the mean over all rows, each before its step; an empty step is none."""
    metarm = metarm_of(bases)
    found = lessons(metarm)
    learner = Learner(metarm, learning_rate=1e-3)
    first = float(loss_of(metarm, found[:5]))
    learner.update([found[:5]])
    second = float(loss_of(metarm, found[5:]))
    again = metarm_of(bases)
    done = Learner(again, learning_rate=1e-3).update([found[:5], [], found[5:]])
    assert (done.rows, done.steps) == (7, 2)
    assert done.loss == pytest.approx((5 * first + 2 * second) / 7, rel=1e-5)
    learner.update([found[5:]])
    assert differing(weights(metarm), weights(again)) == []


def test_no_rows_are_no_step(bases: Path) -> None:
    metarm = metarm_of(bases)
    before = weights(metarm)
    learner = Learner(metarm, learning_rate=1e-3, weight_decay=0.1)
    assert learner.update([]) == learner.update([[], []]) == NOTHING
    assert differing(before, weights(metarm)) == []
    assert learner.state()["optimizer"]["state"] == {}


@pytest.mark.parametrize("fault", ["a target", "a gradient"])
def test_a_step_that_is_not_finite_is_left_out(fault: str, bases: Path) -> None:
    """Weights and the optimizer's sums stay as they are, and the next step goes on from them."""
    metarm = metarm_of(bases)
    found = lessons(metarm)
    learner = Learner(metarm, learning_rate=1e-3)
    learner.update([found])
    before, state = weights(metarm), flat(learner)
    if fault == "a target":
        done = learner.update([[*found, Lesson(found[0].row, math.inf)]])
    else:
        weight = metarm.members[1].readout.weight
        handle = weight.register_hook(lambda grad: grad * math.inf)
        done = learner.update([found])
        handle.remove()
        assert done.grad_norm is not None
        assert not math.isfinite(done.grad_norm)
    assert (done.loss, done.rows, done.steps, done.skipped) == (None, 0, 0, 1)
    assert differing(before, weights(metarm)) == []
    assert all(torch.equal(one, other) for one, other in zip(state, flat(learner), strict=True))
    assert learner.update([found]).steps == 1
    twice = metarm_of(bases)
    Learner(twice, learning_rate=1e-3).update([found, found])
    assert differing(weights(metarm), weights(twice)) == []


def flat(learner: Learner) -> list[torch.Tensor]:
    """Copies of the optimizer's sums and counts."""
    state = learner.state()["optimizer"]["state"]
    return [tensor.clone() for entry in state.values() for _, tensor in sorted(entry.items())]


def test_a_long_gradient_is_cut_to_its_longest(bases: Path) -> None:
    """Seen in AdamW's mean of gradients, a tenth of the first one."""
    moments = {}
    for longest in (1e9, 0.25):
        metarm = metarm_of(bases)
        learner = Learner(metarm, max_grad_norm=longest)
        done = learner.update([lessons(metarm)])
        assert done.grad_norm is not None
        assert done.grad_norm > 0.25
        state = learner.state()["optimizer"]["state"]
        moments[longest] = torch.cat([entry["exp_avg"].reshape(-1) for entry in state.values()])
        assert float(moments[longest].norm()) == pytest.approx(0.1 * min(done.grad_norm, longest), rel=1e-3)
    assert torch.nn.functional.cosine_similarity(*moments.values(), dim=0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_gives_back_the_same_bits(kind: str, bases: Path, tmp_path: Path) -> None:
    metarm = metarm_of(bases, kind)
    found = lessons(metarm)
    learner = Learner(metarm, learning_rate=1e-3, weight_decay=0.01)
    learner.update([found[:4], found[4:]])
    save_state(tmp_path, "metarm", learner.state())
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    other = metarm_of(bases, kind)
    resumed = Learner(other, learning_rate=1e-3, weight_decay=0.01)
    resumed.load_state(load_state(tmp_path, "metarm"))
    assert differing(weights(metarm), weights(other)) == []
    assert learner.update([found]) == resumed.update([found])
    assert differing(weights(metarm), weights(other)) == []
    assert all(torch.equal(one, two) for one, two in zip(flat(learner), flat(resumed), strict=True))


def test_another_models_state_is_refused(bases: Path) -> None:
    state = Learner(metarm_of(bases)).state()
    with pytest.raises(InternalError, match="other weights than this one"):
        Learner(metarm_of(bases, members=1)).load_state(state)


def test_one_process_has_nobody_to_differ_from(bases: Path) -> None:
    assert_equal_weights(metarm_of(bases))


# Memory: number formats, buckets, activations computed again


def half(bases: Path, **options: Any) -> MetaRM:
    """A MetaRM whose body is bfloat16."""
    card = MetaCard(spec=load_spec("sandbox"), max_tokens=512, **BASES["likelihood"])
    base = Checkpoint(str(bases / "likelihood"))
    return MetaRM.create(base, card, dtype=torch.bfloat16, seed=0, **options)


def test_weights_in_half_precision_learn_by_their_float32_copies(bases: Path, tmp_path: Path) -> None:
    """A step of 1e-5 is lost on a weight of 0.1 in bfloat16; thirty of them are not. A state gives back the copies."""
    metarm = half(bases)
    learner = Learner(metarm, learning_rate=1e-5)
    before, found = weights(metarm), lessons(metarm)
    name = "members.0.backbone.model.layers.0.mlp.gate_proj.weight"
    learner.update([found])
    moved = (learner.state()["weights"][name] - before[name].float()).abs()
    assert float(moved.max()) == pytest.approx(1e-5, rel=0.02)
    large = before[name].abs() > 0.1
    assert torch.equal(weights(metarm)[name][large], before[name][large])
    learner.update([found] * 30)
    assert not torch.equal(weights(metarm)[name][large], before[name][large])
    for key, copy in learner.state()["weights"].items():
        assert copy.dtype == torch.float32
        assert torch.equal(weights(metarm)[key], copy.to(weights(metarm)[key].dtype)), key
    save_state(tmp_path, "metarm", learner.state())
    other = half(bases)
    resumed = Learner(other, learning_rate=1e-5)
    resumed.load_state(load_state(tmp_path, "metarm"))
    assert learner.update([found]) == resumed.update([found])
    assert differing(weights(metarm), weights(other)) == []
    assert differing(learner.state()["weights"], resumed.state()["weights"]) == []


def test_gradients_of_many_passes_are_added_in_float32(bases: Path) -> None:
    """Seven passes of one row, each of whose gradients is bfloat16: their exact sum, which bfloat16 would round."""
    metarm = half(bases)
    found = lessons(metarm)
    name = "members.0.backbone.model.layers.0.mlp.gate_proj.weight"
    single = []
    for lesson in found:
        weight = half(bases)
        loss = (weight(**collate([lesson.row], weight.pad_id)) - lesson.target).square().sum()
        (grad,) = torch.autograd.grad(loss, [weight.trained()[name]])
        single.append(grad)
    learner = Learner(metarm, batch_size=1)
    learner._gradients(found)
    exact = torch.stack([grad.float() for grad in single]).sum(0) / len(found)
    copy = learner._exact[name].grad
    assert copy is not None
    assert torch.allclose(copy, exact, rtol=1e-5, atol=1e-7)
    assert not torch.equal(copy, copy.bfloat16().float())
    assert metarm.trained()[name].grad is None


def test_buckets_hold_no_more_than_they_may() -> None:
    tensors = [torch.zeros(n) for n in (3, 4, 5, 12, 1, 9)]
    sizes = [[tensor.numel() for tensor in bucket] for bucket in learning._buckets(tensors, 10)]
    assert sizes == [[3, 4], [5], [12], [1, 9]]
    assert list(learning._buckets([], 10)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_activations_computed_again_change_no_gradient(kind: str, bases: Path) -> None:
    """Nor does dropout come with it: the layer alone is in training mode, and only while it learns."""
    plain, again = metarm_of(bases, kind), metarm_of(bases, kind)
    again.checkpoint_activations()
    found = lessons(plain)
    passes = []
    for layer in again.modules():
        if getattr(layer, "gradient_checkpointing", False):
            inner = next(child for child in layer.modules() if isinstance(child, torch.nn.Linear))
            inner.register_forward_pre_hook(lambda module, _: passes.append(module.training))
    assert Learner(again)._gradients(found) == Learner(plain)._gradients(found)
    for (name, weight), other in zip(plain.trained().items(), again.trained().values(), strict=True):
        assert torch.allclose(weight.grad, other.grad, atol=1e-6, rtol=1e-5), name
    members = len(again.members)
    assert len(passes) >= 2 * members, "forward, and again backward"
    assert not any(passes)
    assert not any(module.training for module in again.modules())
