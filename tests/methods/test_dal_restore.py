"""Eq. 14: the pseudo-healthy image is the composition of the networks that the equation names."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dal_auto.methods.dal.model import DAL
from dal_auto.methods.dal.sub_networks import restore
from dal_auto.networks.canny import canny_edges


def whole(network, volume: torch.Tensor) -> torch.Tensor:
    """The whole volume in one window."""
    return network(volume)


def merged(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """φ (Eq. 1–4), forward only."""
    return (logits.argmax(dim=1, keepdim=True) + 1) / logits.shape[1] * mask


@torch.no_grad()
def test_eq14_is_the_composition_that_it_prints(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans()), phantom_batch(0, 1)
    net, s = method.network, method.settings
    x, mask = batch.images[:, 1:], batch.brain_mask
    anatomy = merged(net.E_A(x), mask)
    edges = canny_edges(
        anatomy,
        sigma_voxels=s.canny_sigma_voxels,
        low=s.canny_low,
        high=s.canny_high,
        hysteresis_steps=s.canny_hysteresis_steps,
    )
    modality = net.E_M(F.avg_pool3d(x, 2))
    by_hand = (net.R_D(net.R_E(edges), modality) * mask).clamp(0, 1)
    found = restore(net, x, mask, [1, 1], whole)
    assert 0 < edges.mean() < 0.5
    torch.testing.assert_close(found.image, by_hand)
    torch.testing.assert_close(found.anatomy, anatomy)
    assert torch.equal(found.edges, edges)
    torch.testing.assert_close(found.modality, modality)


def test_eq14_by_hand_with_networks_that_can_be_computed_in_the_head(plain_plans):
    """E_A: class 3 where x > 1/2, else class 1; E_M: the mean; R_E: identity; R_D: code + M."""
    net = DAL(plain_plans()).network
    for name, stand_in in {
        "E_A": lambda x, brain: torch.cat([0.5 - x, torch.full_like(x, -9), x - 0.5], dim=1),
        "E_M": lambda x, brain: x.mean(dim=(2, 3, 4)),
        "R_E": lambda e, brain: 0.5 * e,
        "R_D": lambda code, vector, brain: code + vector[:, :, None, None, None],
    }.items():
        delattr(net, name)
        setattr(net, name, stand_in)
    x, mask = torch.full((1, 1, 12, 12, 12), 0.25), torch.ones(1, 1, 12, 12, 12)
    x[:, :, 6:] = 0.75  # a step from 1/3 to 1 in the anatomy
    mask[..., 0] = 0
    found = restore(net, x, mask, [0], whole)
    inner = (slice(None), slice(3, 9), slice(3, 9))  # the mask's rim is an edge too
    profile = found.image[0, 0][inner].amax(dim=(1, 2))
    # Of the two voxels at the step the brighter one is the edge: 0.5 · 1 + mean 0.5; else 0 + 0.5.
    assert profile.tolist() == [0.5] * 6 + [1.0] + [0.5] * 5
    assert found.anatomy[0, 0, 0, 5, 5] == pytest.approx(1 / 3)
    assert found.anatomy[0, 0, 11, 5, 5] == 1
    assert (found.image[..., 0] == 0).all()


def test_detection_restores_so_and_never_uses_the_encoder(plain_plans, phantom_batch, in_windows):
    """Another modality vector gives another image; another R_A none."""
    method, batch = DAL(plain_plans()), phantom_batch(0)
    image, mask = batch.images[0, 0], batch.brain_mask[0, 0]

    def restored() -> torch.Tensor:
        return method.detect(image, mask, "T1", in_windows).pseudo_healthy

    before = restored()
    with torch.no_grad():
        for parameter in method.network.R_A.parameters():
            parameter.add_(1)
    assert torch.equal(restored(), before)
    with torch.no_grad():
        method.network.E_M.encode[0].bias.add_(1)
    assert not torch.allclose(restored(), before, atol=1e-3)


def test_pictures_are_what_detection_sees_of_the_first_subject(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans()), phantom_batch(3, 4)
    found = method.pictures(batch)
    kinds = ("input", "anatomy", "edges", "restored")
    assert list(found) == [f"{name} {kind}" for name in ("T1", "T2") for kind in kinds]
    for place, name in enumerate(("T1", "T2")):
        image, mask = batch.images[0, place], batch.brain_mask[0, 0]
        alone = method.detect(image, mask, name, whole)
        assert torch.equal(found[f"{name} input"], image)
        assert torch.equal(found[f"{name} anatomy"], alone.extras["anatomy"])
        assert torch.equal(found[f"{name} edges"], alone.extras["edges"])
        torch.testing.assert_close(
            found[f"{name} restored"], alone.pseudo_healthy, rtol=0, atol=1e-3
        )
    assert not any(volume.requires_grad for volume in found.values())


def test_a_sequence_that_the_first_subject_lacks_has_no_picture(plain_plans, phantom_batch):
    batch = phantom_batch(3, 4)
    batch.present[0, 0] = False
    names = DAL(plain_plans()).pictures(batch)
    assert names and all(name.startswith("T2") for name in names)
