"""What one step of the optimiser does: rate, precision, sums of batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch
from dal_auto.plans import Plans
from dal_auto.training import optimisation
from dal_auto.training.cohort import Cohort
from dal_auto.training.malloc import keep_freed_memory
from dal_auto.training.optimisation import Optimiser

MakePlans = Callable[..., Plans]
MakeCohort = Callable[..., Cohort]


@pytest.mark.parametrize(("power", "left"), [(0.0, 1.0), (1.0, 0.25), (0.9, 0.25**0.9)])
def test_the_learning_rate_decays_by_the_power(
    make_plans: MakePlans, make_cohort: MakeCohort, power: float, left: float
) -> None:
    plans = make_plans(training__steps=4, training__decay_power=power)
    method, batch = DAL(plans), make_cohort(plans, [0, 1]).batch([0, 1])
    before = copy.deepcopy(dict(method.network.named_parameters()))
    Optimiser(method, "cpu").step([batch], 3, seed=0)
    # Adam's first step is the rate, whatever the gradient, up to its epsilon.
    moved = max(
        float((value.detach() - before[name].detach()).abs().max())
        for name, value in method.network.named_parameters()
    )
    assert moved == pytest.approx(left * plans.training.learning_rate, rel=1e-2)


@pytest.mark.parametrize("offered", [torch.bfloat16, None])
def test_mixed_precision_where_the_processor_has_it(
    make_plans: MakePlans,
    make_cohort: MakeCohort,
    monkeypatch: pytest.MonkeyPatch,
    offered: torch.dtype | None,
) -> None:
    monkeypatch.setattr(optimisation, "half_precision", lambda device: offered)
    plans = make_plans(training__steps=1000, training__amp=True)
    method, batch = DAL(plans), make_cohort(plans, [0, 1]).batch([0, 1])
    seen: set[torch.dtype] = set()
    method.network.R_A.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    losses = Optimiser(method, "cpu").step([batch], 999, seed=0)
    assert seen == {offered or torch.float32}
    assert all(torch.isfinite(value) for value in losses.values())
    assert all(one.dtype == torch.float32 for one in method.network.parameters())


def test_mixed_precision_changes_a_step_little(
    make_plans: MakePlans, make_cohort: MakeCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for offered in (None, torch.bfloat16):
        monkeypatch.setattr(optimisation, "half_precision", lambda device, o=offered: o)
        plans = make_plans(training__steps=1000, training__amp=True)
        torch.manual_seed(0)
        method, batch = DAL(plans), make_cohort(plans, [0, 1]).batch([0, 1])
        found.append(float(Optimiser(method, "cpu").step([batch], 0, seed=0)["loss"]))
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert found[1] != found[0]


def test_kept_memory_is_memory_like_any_other() -> None:
    keep_freed_memory()
    block = torch.ones(16_000_000)
    assert float(block.sum()) == 16_000_000


def test_a_clipped_gradient_has_the_stated_length(
    make_plans: MakePlans, make_cohort: MakeCohort
) -> None:
    plans = make_plans(training__steps=1000, training__clip_norm=1e-3)
    method, batch = DAL(plans), make_cohort(plans, [0, 1]).batch([0, 1])
    Optimiser(method, "cpu").step([batch], 999, seed=0)
    gradients = [p.grad.flatten() for p in method.network.parameters() if p.grad is not None]
    assert float(torch.cat(gradients).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_beta1_and_weight_decay_reach_adam(make_plans: MakePlans, make_cohort: MakeCohort) -> None:
    torch.manual_seed(0)
    plans = make_plans(
        training__beta1=0.5,
        training__weight_decay=0.25,
        training__steps=1000,
    )
    method, batch = DAL(plans), make_cohort(plans, [0, 1]).batch([0, 1])
    optimiser = Optimiser(method, "cpu")
    before = {n: p.detach().clone() for n, p in method.network.named_parameters()}
    optimiser.step([batch], 999, seed=0)
    moments = optimiser.tensors()
    for place, (name, parameter) in enumerate(method.network.named_parameters()):
        assert parameter.grad is not None, name
        decayed = parameter.grad + 0.25 * before[name]
        torch.testing.assert_close(moments[f"{place}.exp_avg"], 0.5 * decayed)


def test_a_step_hands_on_all_that_a_batch_knows(
    make_plans: MakePlans, make_cohort: MakeCohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = make_plans()
    method, plain = DAL(plans), make_cohort(plans, [0, 1]).batch([0, 1])
    tissue = plain.brain_mask[:, 0].long() - 1
    batch = replace(plain, clean=plain.images / 2, tissue=tissue).to("cpu")
    seen: list[Batch] = []
    own_step = method.training_step

    def step(given: Batch, number: int) -> dict[str, torch.Tensor]:
        seen.append(given)
        return own_step(given, number)

    monkeypatch.setattr(method, "training_step", step)
    optimiser = Optimiser(method, "cpu")
    for one in (batch, plain):
        assert optimiser.step([one], 0, seed=0)["loss"].isfinite()
    whole, without = seen
    assert whole.clean is not None and torch.equal(whole.clean, plain.images / 2)
    assert whole.tissue is not None and torch.equal(whole.tissue, tissue)
    assert without.clean is None and without.tissue is None
