"""AnoDDPM: the way there against its closed form, the way back against Bayes and MONAI's, and what
chance and the weights' average do. A small network stands in for MONAI's where its size is no
matter."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dal_auto.errors import MissingDependency, PlansError
from dal_auto.methods import anoddpm
from dal_auto.methods.anoddpm import AnoDDPM, AnoDDPMSettings, kept_signal, step_back
from dal_auto.plans import ConfigurationPlan

BETAS = [(1e-4 + (0.02 - 1e-4) * n / 99) * 10 for n in range(100)]
"""Of the demo's 100 time steps, as the paper's code scales them."""


class Narrow(nn.Module):
    """Slices and moments → slices."""

    def __init__(self, settings: AnoDDPMSettings) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, slices: Tensor, moments: Tensor) -> Tensor:
        return self.conv(slices) + 0.01 * moments[:, None, None, None]


@pytest.fixture
def narrow(small_plans, monkeypatch) -> Callable[..., AnoDDPM]:
    """The method with a small network."""
    monkeypatch.setattr(anoddpm, "_unet", Narrow)
    return lambda **settings: AnoDDPM(small_plans("AnoDDPM", **settings))


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def knowing(slices: Tensor, timesteps: int = 100) -> Callable[[Tensor, Tensor], Tensor]:
    """A network that predicts the noise exactly, since it knows the slices, in [−1, 1]."""
    kept = torch.from_numpy(kept_signal(timesteps)).float()

    def network(noisy: Tensor, moments: Tensor) -> Tensor:
        left = kept[moments][:, None, None, None]
        return (noisy - left.sqrt() * slices) / (1 - left).sqrt()

    return network


# The way there


def test_the_signal_that_is_kept_is_the_product_over_the_schedule():
    expected = [float(np.prod([1 - beta for beta in BETAS[: n + 1]])) for n in range(100)]
    np.testing.assert_allclose(kept_signal(100), expected, rtol=1e-12)
    # The demo's depth holds as much of a slice as the published one.
    assert kept_signal(100)[24] == pytest.approx(kept_signal(1000)[249], rel=0.05)


def test_slices_are_noised_by_the_closed_form(narrow, monkeypatch):
    method, seen = narrow(), []
    slices, noise = rand(6, 1, 16, 16), rand(6, 1, 16, 16, seed=1) - 0.5
    monkeypatch.setattr(method, "_noise", lambda slices, fields: noise)
    network = method.network

    def watched(noisy: Tensor, moments: Tensor) -> Tensor:
        seen.append((noisy, moments))
        return noise + 0.1

    watched.kept = network.kept
    monkeypatch.setattr(method, "network", watched)
    losses = method.slice_losses(slices, slices)
    (noisy, moments), *_ = seen
    for n, moment in enumerate(moments.tolist()):
        left = float(np.prod([1 - beta for beta in BETAS[: moment + 1]]))
        expected = left**0.5 * (2 * slices[n] - 1) + (1 - left) ** 0.5 * noise[n]
        torch.testing.assert_close(noisy[n], expected)
    assert float(losses["loss"]) == pytest.approx(0.01, rel=1e-3)
    assert float(losses["unpredicted"]) == pytest.approx(0.01 / float(noise.square().mean()))


def test_moments_are_those_that_are_trained(narrow, monkeypatch):
    method, seen = narrow(trained_timesteps=7, noised_timesteps=5), []
    network = method.network
    monkeypatch.setattr(
        network, "forward", lambda noisy, moments: seen.append(moments) or 0 * noisy
    )
    for seed in range(6):
        method.slice_losses(rand(16, 1, 8, 8, seed=seed), rand(16, 1, 8, 8))
    assert set(torch.cat(seen).tolist()) == set(range(7))


def test_noise_of_training_is_another_for_each_slice(narrow, monkeypatch):
    method, seen = narrow(), []
    monkeypatch.setattr(
        anoddpm.F, "mse_loss", lambda found, noise: seen.append(noise) or noise.square().mean()
    )
    method.slice_losses(rand(4, 1, 16, 16), rand(4, 1, 16, 16))
    similar = np.corrcoef(seen[0].flatten(1).numpy())
    assert np.abs(similar - np.eye(4)).max() < 0.9


def test_the_noise_has_the_published_deviation_at_one_millimetre(narrow):
    """0.504 of their six octaves, measured with the opensimplex package; ours by cells and 0.8."""
    method = narrow(noise_octaves=6)
    plans = method.plans
    fine = plans.configuration.model_copy(update={"spacing_mm": (0.92, 0.92, 0.92)})
    method.plans = plans.model_copy(update={"configuration": fine})
    fields = anoddpm.drawn_fields(12, 6, torch.device("cpu"), torch.Generator().manual_seed(0))
    noise = method._noise(torch.zeros(12, 1, 128, 128), fields)
    assert float(noise.std()) == pytest.approx(0.504, abs=0.03)


# The way back


@pytest.mark.parametrize("steps", [25, 5, 2, 1])
def test_a_perfect_network_brings_the_slice_back(narrow, monkeypatch, steps):
    method = narrow(sampling_steps=steps)
    slices = 2 * rand(3, 1, 16, 16) - 1
    monkeypatch.setattr(method, "network", knowing(slices))
    found = method._denoised(slices, range(3), 0)
    torch.testing.assert_close(found, slices, rtol=0, atol=1e-4)


def test_what_the_network_takes_for_healthy_comes_back_instead_of_the_lesion(narrow, monkeypatch):
    method = narrow()
    healthy = 0.8 * rand(2, 1, 16, 16)
    ill = healthy.clone()
    ill[:, :, 4:8, 4:8] += 0.2
    monkeypatch.setattr(method, "network", knowing(2 * healthy - 1))
    restored, maps = method.examine(ill, torch.ones_like(ill), range(2))
    torch.testing.assert_close(restored, healthy, rtol=0, atol=1e-4)
    torch.testing.assert_close(maps["square"], 4 * (ill - healthy).square(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("kept", "before"), [(0.4, 0.5), (0.3, 0.9), (0.9, 0.95)])
def test_a_step_back_is_the_mean_that_bayes_gives(kept, before):
    """x₀ known: the product of the normal distributions of the step before and of the noise."""
    slices, noisy = 2 * rand(50) - 1, 3 * rand(50, seed=1) - 1.5
    found = (noisy - kept**0.5 * slices) / (1 - kept) ** 0.5
    shrinking = kept / before
    prior, likelihood = 1 / (1 - before), shrinking / (1 - shrinking)
    expected = prior * before**0.5 * slices + likelihood * noisy / shrinking**0.5
    expected /= prior + likelihood
    torch.testing.assert_close(step_back(noisy, found, None, kept, before), expected)
    with_noise = step_back(noisy, found, torch.ones(50), kept, before)
    torch.testing.assert_close(
        with_noise - expected, torch.full((50,), (1 - shrinking) ** 0.5), rtol=0, atol=1e-5
    )


def test_a_step_back_is_monais_with_its_noise():
    schedulers = pytest.importorskip("monai.networks.schedulers")
    theirs = schedulers.DDPMScheduler(
        1000, schedule="linear_beta", variance_type="fixed_large", beta_start=1e-4, beta_end=0.02
    )
    kept = kept_signal(1000)
    np.testing.assert_allclose(theirs.alphas_cumprod.numpy(), kept, rtol=1e-4)
    noisy, found = 2 * rand(2, 1, 8, 8) - 1, 2 * rand(2, 1, 8, 8, seed=1) - 1
    for moment in (900, 249, 1, 0):
        expected, _ = theirs.step(found, moment, noisy, torch.Generator().manual_seed(3))
        noise = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(3))
        before = float(kept[moment - 1]) if moment else 1.0
        ours = step_back(noisy, found, noise if moment else None, float(kept[moment]), before)
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("depth", "steps", "expected"),
    [(5, 5, [4, 3, 2, 1, 0]), (25, 3, [24, 12, 0]), (250, 1, [249]), (25, 5, [24, 18, 12, 6, 0])],
)
def test_the_moments_of_the_way_back(depth, steps, expected):
    assert anoddpm.sampled_moments(depth, steps) == expected


@pytest.mark.parametrize("depth", [7, 100, 250])
def test_moments_never_repeat(depth):
    for steps in range(1, depth + 1):
        moments = anoddpm.sampled_moments(depth, steps)
        assert len(set(moments)) == steps and moments == sorted(moments, reverse=True)


# Chance


def test_a_slice_has_its_own_noise_whatever_is_asked_for_with_it(narrow, phantom_batch, in_windows):
    torch.manual_seed(0)
    many, few = narrow(), narrow(slices_per_step=5)
    few.load_tensors(many.tensors())
    batch = phantom_batch(3)
    image, mask = batch.images[0, 0, :13, :11], batch.brain_mask[0, 0, :13, :11]
    one, two = (m.detect(image, mask, "T1", in_windows) for m in (many, few))
    for variant, score in one.scores.items():
        torch.testing.assert_close(two.scores[variant], score, rtol=1e-4, atol=1e-5)
    same = rand(1, 1, 16, 16).expand(3, -1, -1, -1)
    many.network.eval()
    with torch.no_grad():
        restored = many.restore(same, same)
    assert not torch.equal(restored[0], restored[1])


def test_several_ways_back_are_averaged(narrow):
    method = narrow(chains=3)
    method.network.eval()
    slices = rand(2, 1, 16, 16)
    with torch.no_grad():
        ways = [method._denoised(2 * slices - 1, range(2), chain) for chain in range(3)]
        restored = method.restore(slices, slices)
    assert not torch.equal(ways[0], ways[1])
    torch.testing.assert_close(restored, (sum(ways) / 3 + 1) / 2)


# The average of the weights


def test_the_average_follows_the_weights_and_only_it_makes_maps(narrow, phantom_batch):
    method = narrow(averaging=0.5)
    optimiser = torch.optim.SGD(method.network.parameters(), lr=0.1)
    expected = method.network.live.conv.weight.detach().clone()
    for step in range(12):
        before = method.network.live.conv.weight.detach().clone()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * before
        optimiser.zero_grad()
        method.training_step(phantom_batch(0, 1), step)["loss"].backward()
        optimiser.step()
    averaged = method.network.averaged.conv.weight
    torch.testing.assert_close(averaged, expected)
    assert not torch.equal(averaged, method.network.live.conv.weight)
    slices, moments = rand(2, 1, 8, 8), torch.tensor([1, 2])
    method.network.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            method.network(slices, moments), method.network.averaged(slices, moments)
        )
        method.training_step(phantom_batch(0, 1), 12)  # as validation does
    assert torch.equal(averaged, method.network.averaged.conv.weight)


def test_the_average_is_saved_but_not_optimised(narrow):
    method = narrow()
    names = {name for name, _ in method.network.named_parameters()}
    assert names == {"live.conv.weight", "live.conv.bias"}
    assert set(method.tensors()) == names | {"averaged.conv.weight", "averaged.conv.bias"}


# MONAI's network, and the settings


def test_the_network_is_as_large_as_published():
    pytest.importorskip("monai")
    with torch.device("meta"):
        network = anoddpm.NoisePredictor(AnoDDPMSettings())
    found = sum(weight.numel() for weight in network.parameters())
    assert found / 1e6 == pytest.approx(131.6, abs=0.1)
    assert sum(weight.numel() for weight in network.averaged.buffers()) == found


def test_attention_is_at_the_lowest_levels_with_the_heads_asked_for():
    pytest.importorskip("monai")
    with torch.device("meta"):
        network = anoddpm.NoisePredictor(AnoDDPMSettings()).live
    blocks = [
        [m for m in block.modules() if hasattr(m, "num_heads")] for block in network.down_blocks
    ]
    assert [bool(found) for found in blocks] == [False] * 3 + [True] * 3
    assert {m.num_heads for found in blocks for m in found} == {2}


def test_without_monai_the_extra_is_named(small_plans, monkeypatch):
    plans = small_plans("AnoDDPM")
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(MissingDependency, match=r"pip install dal-auto\[diffusion\]"):
        AnoDDPM(plans)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"widths": (16, 30, 32)}, "widths"),
        ({"widths": ()}, "widths"),
        ({"trained_timesteps": 101}, "trained_timesteps"),
        ({"noised_timesteps": 81}, "noised_timesteps"),
        ({"sampling_steps": 26}, "sampling_steps"),
        ({"timesteps": 20}, "timesteps"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_their_key(narrow, settings, key):
    with pytest.raises(PlansError) as caught:
        narrow(**settings)
    assert caught.value.key == f"method.settings.{key}"


@pytest.mark.parametrize(
    ("size", "spacing_mm", "octaves", "steps"),
    [(160, 1.0, 6, 250), (80, 2.0, 5, 250), (40, 4.0, 4, 25)],
)
def test_octaves_follow_the_voxels_and_the_papers_preset_takes_all_steps(
    size, spacing_mm, octaves, steps
):
    shape = (size,) * 3
    configuration = ConfigurationPlan(
        name="any", input_shape=shape, spacing_mm=(spacing_mm,) * 3, window=shape
    )
    robust, published = (
        AnoDDPM.default_settings(preset, configuration) for preset in ("robust", "paper")
    )
    assert robust.noise_octaves == published.noise_octaves == octaves
    assert published.sampling_steps == published.noised_timesteps == steps > robust.sampling_steps


def test_a_network_that_predicts_nothing_is_warned_of():
    assert "predicts little" in AnoDDPM.warnings(None, {"unpredicted": 0.97})[0]
    assert AnoDDPM.warnings(None, {"unpredicted": 0.3}) == []
