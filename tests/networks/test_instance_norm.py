"""Instance normalisation against torch's layer and against numerical derivatives."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dal_auto.networks.instance_norm import InstanceNorm, _ModulatedNorm, modulated_norm
from dal_auto.networks.region import Region

LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)


def volumes(layout: torch.memory_format, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    drawn = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return (3 * drawn + 5).contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_gradients_are_those_of_torch(layout: torch.memory_format) -> None:
    layer = InstanceNorm(3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, -2.0]))
        layer.bias.copy_(torch.tensor([0.1, 0.0, 3.0]))
    ours, theirs = (volumes(layout).requires_grad_() for _ in range(2))
    expected = F.instance_norm(theirs, weight=layer.weight, bias=layer.bias)
    found = layer(ours)
    torch.testing.assert_close(found, expected)
    down = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).view(found.shape)
    wanted = torch.autograd.grad(expected, (theirs, layer.weight, layer.bias), down)
    torch.testing.assert_close(
        torch.autograd.grad(found, (ours, layer.weight, layer.bias), down), wanted
    )


def test_each_image_has_its_own_modulation() -> None:
    weight, bias = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    x = volumes(torch.channels_last_3d).requires_grad_()
    assert torch.autograd.gradcheck(modulated_norm, (x, weight, bias))


def test_training_and_prediction_agree() -> None:
    layer, x = InstanceNorm(3), volumes(torch.channels_last_3d, torch.float32)
    with torch.no_grad():
        predicted = layer(x)
    torch.testing.assert_close(layer(x.requires_grad_()), predicted)


def test_the_channels_last_layout_is_kept() -> None:
    x = volumes(torch.channels_last_3d).requires_grad_()
    found = InstanceNorm(3).double()(x)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    layer, half = InstanceNorm(3), volumes(torch.channels_last_3d, torch.float32).to(dtype)
    half.requires_grad_()
    full = half.detach().float().requires_grad_()
    found, expected = layer(half), layer(full)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected.to(dtype))
    down = torch.linspace(-1, 1, found.numel()).view(found.shape).to(dtype)
    (gradient,) = torch.autograd.grad(found, half, down)
    (wanted,) = torch.autograd.grad(expected, full, down.float())
    torch.testing.assert_close(gradient, wanted.to(dtype))


@pytest.fixture
def region() -> Region:
    """Other voxels of each of two images; of the second, few."""
    mask = torch.rand(2, 1, 4, 5, 6, generator=torch.Generator().manual_seed(1)) > 0.4
    mask[1, :, 2:] = False
    return Region(mask.double())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_a_region_values_are_those_of_its_voxels_alone(layout, region) -> None:
    x, weight, bias = volumes(layout), torch.tensor([[0.5, 1, -2]] * 2), torch.ones(2, 3)
    found = modulated_norm(x, weight.double(), bias.double(), region)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    inside = region.mask[:, 0] > 0
    for n in range(2):
        voxels = x[n][:, inside[n]]
        normalised = F.instance_norm(voxels[None])[0]
        expected = weight[n][:, None] * normalised + bias[n][:, None]
        torch.testing.assert_close(found[n][:, inside[n]], expected)
        assert not found[n][:, ~inside[n]].any()


def test_with_a_region_the_gradients_are_right(region) -> None:
    weight, bias = (torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    x = volumes(torch.channels_last_3d).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *given: modulated_norm(*given, region), (x, weight, bias)
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_rows_and_passes_over_the_grid_agree(dtype, region, monkeypatch) -> None:
    """What a CPU does, and what other devices do."""
    found = []
    for rows in (True, False):
        weight, bias = (torch.full((2, 3), v, requires_grad=True) for v in (2.0, 0.5))
        x = volumes(torch.channels_last_3d).to(dtype).requires_grad_()
        if rows:
            result = modulated_norm(x, weight, bias, region)
        else:
            result = _ModulatedNorm.apply(x, weight, bias, region.mask.float())
        found.append(
            (result, *torch.autograd.grad(result.float().square().sum(), (x, weight, bias)))
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_an_image_without_any_voxel_inside_is_0() -> None:
    x = volumes(torch.channels_last_3d).requires_grad_()
    empty = Region(torch.zeros(2, 1, 4, 5, 6))
    found = modulated_norm(x, torch.ones(2, 3), torch.ones(2, 3), empty)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert not found.any() and not gradient.any()


def test_a_large_mean_does_not_cancel() -> None:
    x = volumes(torch.channels_last_3d)
    expected = F.instance_norm(x)
    found = InstanceNorm(3)((x + 1000).float().requires_grad_())
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)
