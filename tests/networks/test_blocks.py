"""The units of the networks, against torch's own layers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from dal_auto.networks.blocks import ConvBlock, UNet


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_block_is_convolution_then_instance_norm_then_leaky_relu():
    block = ConvBlock(2, 5, stride=2)
    convolution, norm, _ = block
    with torch.no_grad():  # an affine part that does something
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    x = noise(3, 2, 9, 8, 7)
    convolved = F.conv3d(x, convolution.weight, convolution.bias, stride=2, padding=1)
    expected = F.leaky_relu(
        F.instance_norm(convolved, weight=norm.weight, bias=norm.bias), negative_slope=0.01
    )
    torch.testing.assert_close(block(x), expected)


@settings(max_examples=12, deadline=None)
@given(size=st.tuples(*[st.integers(5, 14)] * 3))
def test_a_unet_gives_back_any_input_size(size):
    unet = UNet(1, (2, 3, 4))
    assert unet(noise(1, 1, *size)).shape == (1, 2, *size)


def test_a_unet_does_not_mix_the_images_of_a_batch():
    unet = UNet(1, (4, 6, 8)).eval()
    x = noise(2, 1, 12, 11, 10)
    together = unet(x)
    apart = torch.cat([unet(x[:1]), unet(x[1:])])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cut_off", ["skips", "coarse levels"])
def test_a_unet_joins_what_its_skips_and_its_coarse_levels_see(cut_off):
    unet = UNet(1, (2, 3, 4))
    with torch.no_grad():
        for (convolution, *_), fine in zip(unet.up, (3, 2), strict=True):
            silenced = slice(fine) if cut_off == "skips" else slice(fine, None)
            convolution.weight[:, silenced] = 0
    x = noise(1, 1, 9, 9, 9).requires_grad_()
    unet(x)[..., 4, 4, 4].sum().backward()
    assert x.grad.abs().sum() > 0


def test_every_level_of_a_unet_has_a_part_in_the_result():
    unet = UNet(1, (2, 3, 4))
    unet(noise(1, 1, 9, 9, 9)).square().sum().backward()
    silent = [
        name
        for name, parameter in unet.named_parameters()
        # A bias before a normalisation is cancelled by it.
        if not name.endswith("0.bias") and not parameter.grad.abs().sum() > 0
    ]
    assert not silent


@pytest.mark.parametrize("build", [lambda: ConvBlock(4, 6), lambda: UNet(4, (6, 8, 10))])
def test_the_channels_last_layout_is_kept_and_changes_nothing(build):
    network = build()
    x = noise(2, 4, 8, 9, 10)
    expected = network(x)
    network.to(memory_format=torch.channels_last_3d)
    found = network(x.contiguous(memory_format=torch.channels_last_3d))
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
