"""A step in bfloat16, as processors that have it take it: no operation meets two types."""

from __future__ import annotations

import pytest
import torch

from dal_auto.methods.method import GradientMethod
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
