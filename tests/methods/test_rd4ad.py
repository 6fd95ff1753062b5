"""RD4AD: its student's size and grid, its two losses, its map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dal_auto.errors import InputError, PlansError
from dal_auto.methods import rd4ad
from dal_auto.methods.checkpoint import Checkpoint
from dal_auto.networks.backbone import ARCHITECTURES, Trunk


def test_the_student_is_as_large_as_the_published_code_is():
    """Convolutions, counted from its layer list without the unused one of 1×1: 83.7 million."""
    with torch.device("meta"):
        teacher = Trunk("wide_resnet50_2", 3)
        student = rd4ad.Student(ARCHITECTURES["wide_resnet50_2"], teacher.widths)
        maps = teacher(torch.empty(1, 1, 160, 224))
        found, code = student(maps), student.bottleneck(maps)
    assert code.shape == (1, 2048, 5, 7)
    assert [f.shape for f in found] == [m.shape for m in maps]
    convolutions = [p for p in student.parameters() if p.ndim == 4]
    assert sum(p.numel() for p in convolutions) / 1e6 == pytest.approx(83.7, abs=0.05)


def test_distances_are_those_of_numpy():
    torch.manual_seed(0)
    one, other = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    a, b = one.numpy().reshape(2, -1), other.numpy().reshape(2, -1)
    expected = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(rd4ad.distance(one, other, True).numpy(), expected, rtol=1e-4)
    at = rd4ad.distance(one, other, False)
    u, v = one[1, :, 2, 3].numpy(), other[1, :, 2, 3].numpy()
    by_hand = 1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    assert at.shape == (2, 1, 4, 5) and float(at[1, 0, 2, 3]) == pytest.approx(by_hand, rel=1e-4)


def test_a_student_that_says_what_its_teacher_says_finds_nothing(small_plans, monkeypatch):
    method = rd4ad.RD4AD(small_plans("RD4AD"))
    monkeypatch.setattr(method, "network", lambda maps: maps)
    slices = torch.rand(2, 1, 64, 64)
    _, maps = method.examine(slices, torch.ones_like(slices), range(2))
    assert maps["self-trained"].abs().max() < 1e-5
    assert float(method.slice_losses(slices, torch.ones_like(slices))["loss"]) < 1e-5


def test_without_weights_it_says_what_is_wanted(small_plans):
    with pytest.raises(InputError, match="wide_resnet50_2"):
        rd4ad.RD4AD(small_plans("RD4AD", features="pretrained"))
    with pytest.raises(PlansError, match=r"self_trained\.backbone"):
        rd4ad.RD4AD(small_plans("RD4AD", self_trained={"backbone": "vgg16"}))


def test_weights_of_a_file_are_not_saved_again_and_are_read_again(
    small_plans, resnet18_file, phantom_batch, in_windows
):
    plans = small_plans("RD4AD", **resnet18_file)
    method = rd4ad.RD4AD(plans)
    method.require_files()
    method.prepare(iter(()))  # features of a file need no cohort
    tensors = method.tensors()
    assert tensors and not any(name.startswith("trunk.") for name in tensors)
    again = Checkpoint(plans, tensors).build("cpu")
    new = phantom_batch(3)
    one, two = (
        m.detect(new.images[0, 0], new.brain_mask[0, 0], "T1", in_windows).scores
        for m in (method, again)
    )
    assert list(one) == [""] and torch.equal(one[""], two[""])
