"""Codes' grids, the adaptation layer of Eq. 12 computed by hand, and the way back to the image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from dal_auto.networks.restoration import AdaptationLayer, CodeEncoder, RepresentationCombiner

EPSILON = 1e-5  # under the root of the variance, as in torch's normalisation layers


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("downsamplings", [0, 1, 2, 3])
def test_the_codes_grid_is_the_inputs_over_a_power_of_two(downsamplings):
    encoder = CodeEncoder(1, 4, downsamplings, (4, 6))
    code = encoder(noise(1, 1, 16, 24, 32))
    factor = 2**downsamplings
    assert code.shape == (1, 4, 16 // factor, 24 // factor, 32 // factor)


@pytest.mark.parametrize("upsamplings", [0, 1, 2])
def test_the_combiner_restores_the_inputs_size(upsamplings):
    encoder = CodeEncoder(1, 4, upsamplings, (4,))
    combiner = RepresentationCombiner(4, upsamplings, vector_length=5)
    restored = combiner(encoder(noise(2, 1, 8, 12, 16)), noise(2, 5))
    assert restored.shape == (2, 1, 8, 12, 16)


def test_the_adaptation_layer_is_equation_12():
    layer = AdaptationLayer(vector_length=5, channels=3)
    features, modality = 2 + 3 * noise(2, 3, 4, 5, 6), noise(2, 5, seed=1)
    f, m = features.double().numpy(), modality.double().numpy()
    weights = {name: p.detach().double().numpy() for name, p in layer.named_parameters()}
    expected = np.empty_like(f)
    for image in range(2):
        gamma = weights["gamma.weight"] @ m[image] + weights["gamma.bias"]
        beta = weights["beta.weight"] @ m[image] + weights["beta.bias"]
        for channel in range(3):
            values = f[image, channel]
            normalised = (values - values.mean()) / np.sqrt(values.var() + EPSILON)
            expected[image, channel] = (1 + gamma[channel]) * normalised + beta[channel]
    np.testing.assert_allclose(layer(features, modality).detach(), expected, rtol=0, atol=1e-5)


def test_statistics_are_taken_per_channel_and_image():
    layer, modality = AdaptationLayer(5, 3), noise(2, 5)
    features = noise(2, 3, 4, 5, 6)
    changed = features.clone()
    changed[0, 1] = 100 + 7 * features[0, 1]
    # The change of scale and level is normalised away where it is, and seen nowhere else.
    torch.testing.assert_close(
        layer(changed, modality), layer(features, modality), rtol=0, atol=1e-4
    )


def test_each_image_is_combined_with_its_own_modality():
    combiner = RepresentationCombiner(4, 1, vector_length=5)
    code, modality = noise(1, 4, 4, 4, 4).expand(2, -1, -1, -1, -1), noise(2, 5)
    together = combiner(code, modality)
    assert not torch.allclose(together[0], together[1], atol=1e-2)
    alone = combiner(code[1:], modality[1:])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


def test_an_adaptation_layer_follows_the_code_and_every_layer():
    combiner = RepresentationCombiner(4, 2, vector_length=5)
    assert len(combiner.adapt) == len(combiner.convolve) + 1
    combiner(noise(1, 4, 2, 2, 2), noise(1, 5)).square().sum().backward()
    for adapt in combiner.adapt:
        assert adapt.gamma.weight.grad.abs().sum() > 0
        assert adapt.beta.weight.grad.abs().sum() > 0


@pytest.fixture
def two_threads() -> Iterator[None]:
    """On a single thread torch's convolution takes another path for so small a volume."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_the_channels_last_layout_is_kept(two_threads):
    encoder = CodeEncoder(1, 4, 1, (4, 6)).to(memory_format=torch.channels_last_3d)
    layer = AdaptationLayer(5, 4)
    image = noise(2, 1, 8, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    code = encoder(image)
    assert code.is_contiguous(memory_format=torch.channels_last_3d)
    assert layer(code, noise(2, 5)).is_contiguous(memory_format=torch.channels_last_3d)
