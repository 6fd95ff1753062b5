"""UTRAD: its transformer's size, its groups of tokens, its map and its floor."""

from __future__ import annotations

import pytest
import torch

from dal_auto.errors import PlansError
from dal_auto.methods.utrad import model, network


def test_the_transformer_is_as_large_as_the_published_one():
    """Counted from its layer list: 91.7 million."""
    sizes = model.UTRADSettings()
    with torch.device("meta"):
        found = model.UTRADNetwork(448, 64, sizes)
        restored, error = found.transformer(torch.empty(1, 448, 64, 64))
    assert restored.shape == (1, 448, 64, 64) and error.shape == (1, 1, 64, 64)
    assert sum(p.numel() for p in found.parameters()) / 1e6 == pytest.approx(91.7, abs=0.06)
    assert len(found.transformer.down) == 3


def test_groups_hold_neighbours_and_come_back():
    tokens = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    groups = network.grouped(tokens)
    assert groups.shape == (16, 2 * 4, 3)
    # Token (1, 2) of the group in row 0, column 1 of the second slice.
    assert torch.equal(groups[1 * 4 + 2, 1 * 4 + 1], tokens[1, :, 1, 4 + 2])
    assert torch.equal(network.ungrouped(groups, 2, 8), tokens)


def test_no_group_knows_of_another_but_through_the_levels_above():
    """What changes in one group changes it most; others learn of it by their common token."""
    torch.manual_seed(0)
    net = (
        network.UTransformer(
            5, 16, width=16, heads=2, layers=1, feed_forward=16, narrow=4, dropout=0.0
        )
        .double()
        .eval()
    )
    features = torch.rand(1, 5, 16, 16, dtype=torch.float64)
    changed = features.clone()
    changed[0, :, 0:4, 4:8] += 1
    with torch.no_grad():
        one, two = net(features)[0], net(changed)[0]
    apart = (one - two).abs().amax(dim=1)[0]
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[0:4, 4:8] = True
    assert apart[inside].min() > 5 * apart[~inside].max() > 0


def test_the_map_of_all_scales_keeps_a_constant_and_averages_a_peak():
    torch.testing.assert_close(
        model.at_all_scales(torch.full((1, 1, 16, 16), 3.0)), torch.full((1, 1, 16, 16), 3.0)
    )
    peak = torch.zeros(1, 1, 16, 16)
    peak[0, 0, 5, 5] = 1.0
    found = model.at_all_scales(peak)
    # 1 itself, 1/16 of a group at the centre of which it nearly lies, 1/256 of all.
    assert 1 / 3 < float(found[0, 0, 5, 5]) < (1 + 1 / 16 + 1 / 256) / 3
    assert float(found[0, 0, 15, 15]) == pytest.approx(1 / 256 / 3, rel=1e-4)


def test_calibration_finds_the_floor_and_it_is_saved(small_plans, phantom_batch):
    method = model.UTRAD(small_plans("UTRAD"))
    assert float(method.network.median_error) == 0
    method.calibrate([phantom_batch(0), phantom_batch(1)])
    slices, brain = next(method.healthy_slices([phantom_batch(0)], every_nth=4))
    with torch.no_grad():
        predicted = method.network.transformer(method.pyramid(slices))[1].abs()
    assert predicted.min() < method.tensors()["median_error"] < predicted.max()
    assert brain.shape == slices.shape


@pytest.mark.parametrize("side", [32, 96, 128])
def test_a_grid_that_is_no_power_of_4_is_refused(small_plans, side):
    with pytest.raises(PlansError, match="input_side"):
        model.UTRAD(small_plans("UTRAD", input_side=side))
