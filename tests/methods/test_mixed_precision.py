"""A step in bfloat16, as processors that have it take it: no operation meets two types."""

from __future__ import annotations

import pytest
import torch

from dal_auto.methods import autoencoder, mkd, rd4ad, riad
from dal_auto.methods.draem import model as draem
from dal_auto.methods.method import GradientMethod
from dal_auto.methods.phanes import vae
from dal_auto.methods.registry import find_method

SETTINGS = {
    "PHANES": {},
    "ProxyAno": {"widths": (4, 8), "weight_adversarial": 0.1, "discriminator_width": 2},
    "Disyre": {},
    "MOOD22": {},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_step_and_a_map_in_mixed_precision_are_finite(
    name, small_plans, phantom_batch, in_windows
):
    method = find_method(name)(small_plans(name, **SETTINGS[name]))
    assert isinstance(method, GradientMethod)
    batch = phantom_batch(0, 1)
    if name == "ProxyAno":  # the discriminator wants slices of 24
        batch = type(batch)(
            *(t.repeat(1, 1, 2, 2, 1) for t in (batch.images, batch.brain_mask)), batch.present
        )
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.training_step(batch, 0)
        assert all(loss.isfinite() for loss in losses.values())
        losses["loss"].backward()
        found = method.detect(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows)
    assert all(score.dtype == torch.float32 for score in found.scores.values())
    for parameter in method.network.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize(
    "loss",
    [
        lambda one, other: rd4ad.distance(one, other, True),
        lambda one, other: rd4ad.distance(one, other, False),
        lambda one, other: mkd.per_slice([one], [other], 0.01),
        lambda one, other: 1 - riad.gms_map(one[:, :1], other[:, :1], 2),
        lambda one, other: draem.focal(8 * other, (one[:, :1] > 0.5).float(), 2.0),
        lambda one, other: vae.kl(other[:, :, 0, 0], one[:, :, 0, 0]),
        lambda one, other: autoencoder.kl_per_dimension(other[:, :, 0, 0], one[:, :, 0, 0]),
    ],
    ids=["RD4AD", "RD4AD by position", "MKD", "RIAD", "DRAEM", "PHANES", "VAE"],
)
def test_what_is_nearly_equal_is_compared_in_single_precision(loss):
    """Networks give bfloat16, which knows no number between 1 and 1 − 1/256."""
    torch.manual_seed(0)
    one = torch.rand(3, 2, 16, 16).bfloat16()
    other = (one * (1 + 0.02 * torch.randn(3, 2, 16, 16))).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(one, other)
    assert torch.equal(found, loss(one.float(), other.float()))
