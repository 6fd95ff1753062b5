"""FPI: its network's size, its patches, its labels."""

from __future__ import annotations

import pytest
import torch

from dal_auto.methods import fpi, shapes


def test_the_network_is_as_large_as_the_published_code_is():
    """Counted from its layer list, independently of this code."""
    with torch.device("meta"):
        network = fpi.WideResidualNet(16, 4)
        assert network(torch.empty(1, 1, 256, 256)).shape == (1, 1, 256, 256)
        coarse = torch.nn.Sequential(*list(network)[:6])(torch.empty(1, 1, 256, 256))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(4.16, abs=0.005)
    assert coarse.shape == (1, 256, 16, 16)
    assert all(c.bias is None for c in network.modules() if isinstance(c, torch.nn.Conv2d))


def test_squares_have_the_published_sizes_and_centres():
    torch.manual_seed(0)
    squares = shapes.drawn_squares(500, 200, (0.05, 0.2), 0.5, torch.device("cpu"))[:, 0]
    for along in (squares.amax(dim=1), squares.amax(dim=2)):
        lengths = along.sum(dim=1)
        assert 18 <= lengths.min() <= 22 and 78 <= lengths.max() <= 80
        place = (torch.arange(200) + 0.5) / 200
        centres = (along * place).sum(dim=1) / lengths
        assert 0.245 <= centres.min() < 0.27 and 0.73 < centres.max() <= 0.755
    sides = squares.amax(dim=1).sum(dim=1), squares.amax(dim=2).sum(dim=1)
    assert ((sides[0] - sides[1]).abs() <= 1).all(), "squares, up to a voxel"


def test_partners_are_mixed_by_hand_and_labelled_by_what_is_foreign():
    torch.manual_seed(0)
    pairs = torch.rand(4, 1, 6, 6)
    pairs[2, 0, 2, 2] = pairs[0, 0, 2, 2] + 0.001  # nobody can tell
    patches = torch.zeros_like(pairs)
    patches[:, :, 1:4, 2:5] = 1
    mixing = torch.tensor([0.2, 0.5, 0.9, 0.6])[:, None, None, None]
    mixed, label = fpi.interpolated(pairs, patches, mixing, 0.01)
    for one, other in ((0, 2), (1, 3), (2, 0), (3, 1)):
        alpha = float(mixing[one])
        for h in range(6):
            for w in range(6):
                x, y = float(pairs[one, 0, h, w]), float(pairs[other, 0, h, w])
                inside = 1 <= h < 4 and 2 <= w < 5
                expected = alpha * x + (1 - alpha) * y if inside else x
                assert float(mixed[one, 0, h, w]) == pytest.approx(expected, abs=1e-6)
                told = 1 - alpha if inside and abs(x - y) > 0.01 else 0.0
                assert float(label[one, 0, h, w]) == pytest.approx(told, abs=1e-6)
    assert label[0, 0, 2, 2] == 0


def test_it_learns_where_a_patch_is(small_plans, phantom_batch):
    """The loss of a constant is the entropy of the label's mean; a few steps come below it."""
    method = fpi.FPI(small_plans("FPI", input_side=32, stem_width=8, slices_per_step=16))
    optimiser = torch.optim.Adam(method.network.parameters(), lr=1e-2)
    batch, losses = phantom_batch(0, 1, 2, 3), []
    for step in range(40):
        torch.manual_seed(step)
        loss = method.training_step(batch, step)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
