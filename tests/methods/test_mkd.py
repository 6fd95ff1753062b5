"""MKD: its clone, its loss, and a map that is the loss's gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dal_auto.errors import PlansError
from dal_auto.methods import mkd
from dal_auto.networks.backbone import VGG


def test_the_clone_is_as_large_as_the_published_one():
    """16, 16, P, 16, 128, P, 16, 16, 256, P, 16, 16, 512, P, 16, 16, 512, P: 0.34 million."""
    with torch.device("meta"):
        source = VGG("vgg16", 5)
        clone = mkd.Clone(source.widths[1:], 16)
        given = torch.empty(1, 1, 64, 64)
        pairs = list(zip(source(given)[1:], clone(source.colours(given)), strict=True))
    assert sum(p.numel() for p in clone.parameters()) / 1e6 == pytest.approx(0.34, abs=0.005)
    assert all(a.shape == b.shape for a, b in pairs)
    widths = [c.out_channels for c in clone.modules() if isinstance(c, nn.Conv2d)]
    assert widths == [16, 16, 16, 128, 16, 16, 256, 16, 16, 512, 16, 16, 512]


def test_the_loss_is_direction_and_length():
    one, same, longer = torch.ones(3, 2, 2, 2), torch.ones(3, 2, 2, 2), 3 * torch.ones(3, 2, 2, 2)
    assert mkd.per_slice([one], [same], 0.5).abs().max() < 1e-6
    torch.testing.assert_close(mkd.per_slice([one], [longer], 0.5), torch.full((3,), 2.0))
    torch.testing.assert_close(
        mkd.per_slice([one, one], [-one, longer], 0.0), torch.full((3,), 2.0)
    )


def test_the_map_is_the_gradient_that_differences_have(small_plans):
    """A voxel's entry is how fast the loss of pools 3 to 5 changes with it, by finite steps."""
    method = mkd.MKD(small_plans("MKD", smoothing_sigma=0.0, input_side=32))
    method.trunk.double()
    method.network.double().eval()
    slices = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        _, maps = method.examine(slices, torch.ones_like(slices), range(2))

        def loss(colours: torch.Tensor) -> torch.Tensor:
            both = method.trunk.stages_of(colours), method.network(colours)
            return mkd.per_slice(both[0][-3:], both[1][-3:], method.settings.weight_square)

        colours, step = method.trunk.colours(slices), 1e-6
        total = 0.0
        for channel in range(3):
            nudge = torch.zeros_like(colours)
            nudge[:, channel, 13, 17] = step
            total += ((loss(colours + nudge) - loss(colours - nudge)) / (2 * step)).abs()
    torch.testing.assert_close(
        maps["self-trained"][:, 0, 13, 17], total * 32 * 32, rtol=1e-3, atol=1e-7
    )
    assert set(maps) == {"self-trained", "self-trained feature"}


def test_only_a_vgg_will_do_and_sides_must_fit(small_plans):
    with pytest.raises(PlansError, match=r"self_trained\.backbone"):
        mkd.MKD(small_plans("MKD", self_trained={"backbone": "resnet18"}))
    with pytest.raises(PlansError, match="input_side"):
        mkd.MKD(small_plans("MKD", input_side=40))
