"""AutoDDPM: its network's size, the mask, the stitching, its coarse map and τ; LPIPS's layers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dal_auto.errors import InputError, PlansError
from dal_auto.methods.autoddpm.model import AutoDDPM, AutoDDPMNetwork, Noise
from dal_auto.methods.autoddpm.settings import AutoDDPMSettings
from dal_auto.networks.diffusion import kept_signal
from dal_auto.networks.lpips import LPIPS


@pytest.fixture
def knowing(small_plans, monkeypatch):
    """A method whose network knows the healthy slice, and so finds all the noise in it."""

    def make(healthy: torch.Tensor, **settings) -> AutoDDPM:
        method = AutoDDPM(small_plans("AutoDDPM", **settings))
        kept = torch.from_numpy(kept_signal(method.settings.timesteps)).float()

        def network(noisy: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
            left = kept[moments][:, None, None, None]
            return (noisy - left.sqrt() * healthy) / (1 - left).sqrt()

        monkeypatch.setattr(AutoDDPMNetwork, "forward", lambda self, x, t: network(x, t))
        return method

    return make


def test_the_network_is_as_large_as_published():
    """18.5 million, counted from the published layer list."""
    with torch.device("meta"):
        network = AutoDDPMNetwork(AutoDDPMSettings(perceptual="none"))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(18.5, abs=0.1)


def test_only_what_the_mask_covers_is_changed_and_it_becomes_healthy(knowing):
    torch.manual_seed(0)
    healthy = torch.rand(2, 1, 16, 16)
    slices = healthy.clone()
    slices[:, :, 5:8, 5:8] = 1 - slices[:, :, 5:8, 5:8]
    method = knowing(healthy, input_side=16)
    noise = Noise(range(2), slices)
    first = method._denoised(slices, noise)
    torch.testing.assert_close(first, healthy, atol=1e-4, rtol=0)
    mask = torch.zeros_like(slices)
    mask[:, :, 4:9, 4:9] = 1
    found = method._stitched(slices, first, mask, noise)
    assert torch.equal(found[mask == 0], slices[mask == 0])
    torch.testing.assert_close(found[mask > 0], healthy[mask > 0], atol=1e-4, rtol=0)
    nothing = method._stitched(slices, first, torch.zeros_like(mask), noise)
    assert torch.equal(nothing, slices)


def test_the_coarse_map_is_1_above_the_percentile_within_the_brain(small_plans):
    method = AutoDDPM(small_plans("AutoDDPM"))
    torch.manual_seed(0)
    slices, restored = torch.rand(2, 1, 20, 20), torch.rand(2, 1, 20, 20)
    brain = torch.zeros_like(slices)
    brain[:, :, 5:15, 5:15] = 1
    found = method.coarse(slices, restored, brain)
    for one, x, y in zip(found, slices, restored, strict=True):
        difference = np.abs((x - y)[0].numpy())
        high = np.quantile(difference[5:15, 5:15], 0.95)
        np.testing.assert_allclose(one[0].numpy(), np.minimum(difference / high, 1), rtol=1e-4)
    assert method.coarse(slices, restored, torch.zeros_like(brain)).isfinite().all()


def test_calibration_masks_the_stated_share_of_healthy_brain(small_plans, phantom_batch):
    method = AutoDDPM(small_plans("AutoDDPM", false_positive_rate=0.2, mask_timesteps=2))
    assert float(method.network.threshold) == pytest.approx(0.13)
    method.calibrate([phantom_batch(0)])
    shares, voxels = 0.0, 0.0
    for slices, brain in method.healthy_slices([phantom_batch(0)], every_nth=4):
        first = method._denoised(slices, Noise(range(len(slices)), slices))
        over = method.coarse(slices, first, brain)[brain > 0.5] >= method.network.threshold
        shares, voxels = shares + float(over.sum()), voxels + over.numel()
    assert shares / voxels == pytest.approx(0.2, abs=0.01)
    assert method.tensors()["threshold"] == method.network.threshold


def test_noise_is_each_slices_own():
    like = torch.zeros(3, 1, 8, 8)
    many = Noise(range(4, 7), like)
    draws = [many.draw(), many.draw()]
    alone = Noise(range(6, 7), like[:1])
    assert torch.equal(draws[0][2:], alone.draw()) and torch.equal(draws[1][2:], alone.draw())
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws[0][0], draws[0][1])


def test_without_lpips_both_ways_are_named_and_sizes_must_fit(small_plans):
    with pytest.raises(InputError, match=r"lpips_weights=FILE.*called l1"):
        AutoDDPM(small_plans("AutoDDPM", perceptual="lpips"))
    with pytest.raises(PlansError, match="mask_timesteps"):
        AutoDDPM(small_plans("AutoDDPM", mask_timesteps=100))
    with pytest.raises(PlansError, match="input_side"):
        AutoDDPM(small_plans("AutoDDPM", input_side=18))


def test_lpips_is_as_large_as_squeezenet_and_of_equal_slices_0():
    lpips = LPIPS()
    trunk = sum(p.numel() for p in lpips.features.parameters())
    # torchvision's squeezenet1_1 has 1,235,496 weights, 513,000 of them in its classifier.
    assert trunk == 1_235_496 - 513_000
    assert lpips.state_dict()["lin3.model.1.weight"].shape == (1, 384, 1, 1)
    first, second = torch.rand(2, 2, 1, 64, 64)
    assert float(lpips.distance(first, first).abs().max()) == 0
    assert lpips.distance(first, second).shape == (2, 1, 64, 64)


def test_a_file_of_lpips_is_read_at_training_and_again_at_prediction(small_plans, tmp_path):
    torch.manual_seed(0)
    given = LPIPS().state_dict()
    file = tmp_path / "lpips.safetensors"
    save_file(given, file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    plans = small_plans(
        "AutoDDPM", perceptual="lpips", lpips_weights=str(file), lpips_sha256=sha256
    )
    method = AutoDDPM(plans)
    method.require_files()
    assert method.variant == "" and method.lpips is not None
    assert torch.equal(method.lpips.state_dict()["features.0.weight"], given["features.0.weight"])
    tensors = method.tensors()
    assert not any(name.startswith(("lpips", "lin", "features")) for name in tensors)
    file.unlink()
    with pytest.raises(InputError, match="no such file"):
        AutoDDPM(plans).load_tensors(tensors)
