"""Seams: DAL's networks say in windows what they say of the whole brain, without steps between.

With random weights; a trained DAL is measured by ``benchmarks/seams.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from dal_auto.inference import sliding_window
from dal_auto.inference.sliding_window import tile, window_starts
from dal_auto.methods.method import GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.plans import ConfigurationPlan, Plans

SIZE, WINDOW = (40, 32, 32), (20, 32, 32)


def plans() -> Plans:
    configuration = ConfigurationPlan(
        name="tiny", input_shape=SIZE, spacing_mm=(4.0, 4.0, 4.0), window=SIZE
    )
    settings = find_method("DAL").default_settings("robust", configuration)
    return Plans.parse(
        {
            "training_set": "Phantoms",
            "sequences": ["T1", "T2"],
            "configuration": configuration.model_dump(mode="json"),
            "method": {"settings": settings.model_dump(mode="json")},
        }
    )


@pytest.fixture(scope="module")
def brain() -> tuple[torch.Tensor, torch.Tensor]:
    """A ball that is brighter on one side, with structure at all scales; and its mask."""
    random = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in SIZE], indexing="ij")
    mask = sum(a**2 for a in axes) < 0.9
    noise = sum(
        sigma**1.5 * ndimage.gaussian_filter(random.standard_normal(SIZE), sigma)
        for sigma in (0.7, 1.5, 3)
    )
    image = np.clip(0.5 + 0.3 * axes[0] + 0.25 * noise / noise.std(), 0.05, 1) * mask
    return torch.from_numpy(image).float(), torch.from_numpy(mask).float()


@pytest.fixture(scope="module")
def networks() -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """DAL's two networks that run in windows: anatomy, and restoration from a code."""
    torch.manual_seed(0)
    method = find_method("DAL")(plans())
    assert isinstance(method, GradientMethod)
    net = method.network.requires_grad_(False).eval()
    no_atlas = torch.zeros(1, 3, 1, 1, 1)
    modality = net.E_M(torch.rand(1, 1, *(n // 2 for n in SIZE)))
    return {
        "anatomy": net.E_A,
        "restoration": lambda x: net.R_D(
            net.R_E(torch.cat([x, no_atlas.expand(len(x), -1, *x.shape[2:])], dim=1)),
            modality.expand(len(x), -1),
        ),
    }


def steps(volume: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """(x - 1,) mean |difference of neighbours along x|, over pairs of brain voxels."""
    both = (mask[1:] > 0) & (mask[:-1] > 0)
    return ((volume.diff(dim=0).abs() * both).sum((1, 2)) / both.sum((1, 2))).numpy()


def apart(one: torch.Tensor, whole: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean difference in the brain, over the whole one's spread there."""
    inside = mask[None, None].expand_as(whole) > 0
    return float((one - whole).abs()[inside].mean() / whole[inside].std())


def seam_over_inside(
    windowed: torch.Tensor, whole: torch.Tensor, mask: torch.Tensor, overlap: float
) -> float:
    """The largest step at a seam, over the mean step elsewhere; each over the whole map's step at
    its plane, so that what the anatomy does there counts on neither side.

    Seams are the planes where windows begin and end, and the one where two count alike.
    """
    starts = window_starts(SIZE[0], WINDOW[0], overlap)
    seams = {*starts[1:], *(start + WINDOW[0] for start in starts[:-1])}
    seams |= {(a + b + WINDOW[0]) // 2 for a, b in pairwise(starts)}
    quotient = (steps(windowed, mask) / steps(whole, mask))[4:-4]  # the caps hold few voxels
    at_seam = np.isin(np.arange(1, SIZE[0])[4:-4], list(seams))
    return float(quotient[at_seam].max() / quotient[~at_seam].mean())


@pytest.mark.parametrize("name", ["anatomy", "restoration"])
def test_steps_at_windows_borders_are_no_larger_than_inside(networks, brain, name):
    image, mask = brain
    whole = networks[name](image[None, None])
    one = tile(networks[name], image[None, None], window=WINDOW, overlap=0.5, at_once=2)
    assert seam_over_inside(one[0, 0], whole[0, 0], mask, 0.5) < 1.1


class Own:
    """Stands for the whole volume's statistics: every window keeps its own."""

    def run(self, network, windows, shares):
        return network(windows)

    def close_layer(self) -> bool:
        return False


@pytest.mark.parametrize("name", ["anatomy", "restoration"])
def test_the_whole_volumes_statistics_are_what_it_takes(networks, brain, name, monkeypatch):
    image, mask = brain
    whole = networks[name](image[None, None])
    one = tile(networks[name], image[None, None], window=WINDOW, overlap=0.5)
    monkeypatch.setattr(sliding_window, "WholeStatistics", Own)
    own = tile(networks[name], image[None, None], window=WINDOW, overlap=0.5)
    assert seam_over_inside(own[0, 0], whole[0, 0], mask, 0.5) > 1.1
    assert apart(own, whole, mask) > 1.2 * apart(one, whole, mask)


def test_windows_side_by_side_are_found_out(networks, brain):
    image, mask = brain
    whole = networks["anatomy"](image[None, None])
    one = tile(networks["anatomy"], image[None, None], window=WINDOW, overlap=0.0)
    assert seam_over_inside(one[0, 0], whole[0, 0], mask, 0.0) > 1.3
