"""Memory counted on paper: against real tensors, hand counts, and torch's own mixed precision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dal_auto.case import Shape
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch
from dal_auto.methods.registry import find_method
from dal_auto.planning import memory
from dal_auto.planning.memory import (
    ByteCount,
    count_prediction,
    count_training,
    memory_of,
)
from dal_auto.plans import ConfigurationPlan, Plans


def plans_of(method: str = "DAL", shape: Shape = (16, 24, 16), **configuration) -> Plans:
    content = {"window": shape, "spacing_mm": (4.0, 4.0, 4.0)} | configuration
    plan = ConfigurationPlan(name="any", input_shape=shape, **content)
    settings = find_method(method).default_settings("robust", plan)
    return Plans.parse(
        {
            "training_set": "none",
            "sequences": ["T1", "T2"],
            "configuration": plan.model_dump(mode="json"),
            "method": {"name": method, "settings": settings.model_dump(mode="json")},
        }
    )


def test_bytes_live_from_birth_to_death_and_views_are_free():
    with ByteCount() as count:
        first = torch.empty(1000)
        view = first[10:].view(99, 10)
        assert (count.live, count.peak) == (4000, 4000)
        second = first + 1
        del second
        del first
        assert count.live == 4000  # the view holds it
        del view
        assert (count.live, count.peak) == (0, 8000)


def test_what_is_kept_for_the_backward_pass_counts_until_it():
    with ByteCount() as count, torch.device("meta"):
        weight = torch.empty(1000, requires_grad=True)
        loss = weight.exp().exp().sum()
        assert count.live == 3 * 4000 + 4  # exp keeps its result
        loss.backward()
        del loss
        assert count.live == 2 * 4000  # the weight and its gradient


def peak_on_a_cpu(plans: Plans, brain_mask: torch.Tensor) -> int:
    """Bytes of a step on real tensors, with the optimiser's."""
    with ByteCount() as count:
        method = DAL(plans)
        parameters = list(method.network.parameters())
        moments = [torch.zeros_like(p) for p in parameters for _ in range(2)]
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        whole = torch.ones(2, 2, dtype=torch.bool)
        batch = Batch(torch.rand(2, 2, 16, 24, 16), brain_mask, whole)
        loss = method.training_step(batch, 10**6)["loss"]
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
    assert len(moments) == 2 * len(parameters)
    return count.peak


def test_the_count_is_that_of_the_same_step_on_real_tensors():
    plans, mask = plans_of(), torch.ones(2, 1, 16, 24, 16)
    weights, counted = count_training(plans, amp=False)
    assert weights == sum(p.numel() for p in DAL(plans).network.parameters())
    # A CPU normalises the brain's rows: of a brain that fills the grid, they are a copy more.
    assert 0.9 <= counted / peak_on_a_cpu(plans, mask) <= 1.05
    mask[:, :, :10] = 0
    assert peak_on_a_cpu(plans, mask) < counted, "a brain is smaller than its grid"


def test_activations_that_are_computed_again_are_counted_for_a_gpu_too():
    plans = plans_of()
    kept, again = (
        memory_of(plans.override({"method.settings.checkpoint_activations": on}, "test"), "cuda")
        for on in (False, True)
    )
    assert again is not None and again.training_gb < kept.training_gb


def test_memory_grows_with_the_voxels_and_the_images_of_a_batch():
    def activations(**changes) -> float:
        weights, peak = count_training(plans_of(**changes), amp=False)
        return peak - 16 * weights  # weights, two moments, and gradients

    once = activations(shape=(16, 24, 16))
    assert activations(shape=(32, 48, 32)) / once == pytest.approx(8, rel=0.1)
    assert activations(batch_subjects=4) / once == pytest.approx(2, rel=0.1)


def test_narrower_networks_take_less():
    full, half = (count_training(plans_of(width=width), amp=False) for width in (1.0, 0.5))
    assert half[0] < 0.9 * full[0]
    assert half[1] < 0.6 * full[1]


def test_prediction_takes_far_less_than_training_and_less_in_windows():
    size = (160, 224, 160)
    whole, windows = (
        plans_of(shape=size, spacing_mm=(1.0, 1.0, 1.0), window=window)
        for window in (size, (96, 128, 96))
    )
    assert count_prediction(whole) < 0.2 * count_training(whole, amp=False)[1]
    assert count_prediction(windows) < count_prediction(whole)


def peak(run, device: str, context) -> int:
    torch.manual_seed(0)
    with ByteCount() as count, torch.device(device):
        network = nn.Sequential(
            nn.Conv3d(1, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(8, 8, 3, padding=1)
        )
        image = torch.ones(1, 1, 12, 12, 12)
        with context:
            loss = run(network(image))
        loss.backward()
    return count.peak


def test_mixed_precision_on_no_device_takes_what_torchs_own_takes():
    def run(features):
        return F.linear(features.flatten(1), features.new_ones(2, features[0].numel())).mean()

    real = peak(run, "cpu", torch.autocast("cpu", torch.bfloat16))
    assert peak(run, "meta", memory._autocast(True)) == pytest.approx(real, rel=1e-3)
    full = peak(run, "meta", memory._autocast(False))
    assert full == pytest.approx(peak(run, "cpu", memory._autocast(False)), rel=1e-3)
    assert real < 0.8 * full


def test_operations_that_cuda_keeps_in_float32_are_kept_there():
    with memory._autocast(True), torch.device("meta"):
        features = F.conv3d(torch.empty(1, 2, 4, 4, 4), torch.empty(2, 2, 3, 3, 3))
        assert features.dtype == torch.bfloat16
        assert F.leaky_relu(features).dtype == torch.bfloat16
        assert F.group_norm(features, 2).dtype == torch.float32
        assert features.softmax(1).dtype == torch.float32
        assert F.interpolate(features, scale_factor=2.0).dtype == torch.float32


def test_a_device_needs_more_than_is_counted():
    plans = plans_of().override({"training.amp": False}, "test")
    weights, counted = count_training(plans, amp=False)
    for kind in ("cpu", "cuda", "mps", "xpu"):
        found = memory_of(plans, kind)
        assert found is not None
        assert found.weights == weights
        assert found.training_gb > counted / 1e9
        assert found.prediction_gb < found.training_gb


@pytest.fixture
def counted_anew() -> Iterator[None]:
    """Nothing is kept from other tests, nor for them."""
    memory._memory_of.cache_clear()
    yield
    memory._memory_of.cache_clear()


def test_mixed_precision_counts_on_cuda_alone(monkeypatch, counted_anew):
    asked = []

    def counting(plans, *, amp):
        asked.append(amp)
        return 1, 1

    monkeypatch.setattr(memory, "count_training", counting)
    plans = plans_of()
    for kind in ("cuda", "cpu", "mps"):
        memory_of(plans, kind)
    memory_of(plans.override({"training.amp": False}, "test"), "cuda")
    assert asked == [True, False, False, False]


def test_a_method_that_is_not_trained_by_gradients_has_no_such_need():
    assert memory_of(plans_of("mean-brain"), "cuda") is None


def test_a_method_that_needs_values_is_not_counted(monkeypatch, counted_anew):
    def step(self, batch, step):
        return {"loss": self.network.E_A(batch.images[:, :1]).sum() * math.ceil(batch.images.max())}

    monkeypatch.setattr(DAL, "training_step", step)
    assert memory_of(plans_of(), "cpu") is None
