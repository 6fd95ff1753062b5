"""The modality vector: one length for all inputs, and intensities are not normalised away."""

from __future__ import annotations

import pytest
import torch

from dal_auto.networks.modality import ModalityExtractor


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(8, 8, 8), (20, 28, 20), (13, 9, 31)])
def test_the_vector_is_as_long_for_every_input_size(size):
    extractor = ModalityExtractor((4, 8, 16), (2, 3, 2))
    assert extractor.length == 16 * 2 * 3 * 2
    assert extractor(noise(2, 1, *size)).shape == (2, extractor.length)


def test_images_of_a_batch_do_not_see_each_other():
    extractor = ModalityExtractor((4, 8), (2, 2, 2))
    x = noise(2, 1, 9, 10, 11)
    apart = torch.cat([extractor(x[:1]), extractor(x[1:])])
    torch.testing.assert_close(extractor(x), apart, rtol=1e-4, atol=1e-6)


def test_twice_the_intensity_is_twice_the_vector():
    extractor = ModalityExtractor((4, 8, 16), (1, 2, 1))
    for name, parameter in extractor.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    x = noise(1, 1, 16, 16, 16)
    torch.testing.assert_close(extractor(2 * x), 2 * extractor(x), rtol=1e-4, atol=1e-6)
