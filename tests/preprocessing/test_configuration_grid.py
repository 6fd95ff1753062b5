"""From the standard grid to the network's and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from dal_auto.case import Geometry, StandardCase
from dal_auto.errors import UsageError
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
    to_standard,
)
from dal_auto.preprocessing.histogram_matching import match_histogram

STANDARD = (16, 24, 20)
LANDMARKS = (0.05, 0.4, 0.9)


def plans(shape=(8, 12, 10), downsampling="area") -> Plans:
    content: dict[str, Any] = {
        "training_set": "D",
        "sequences": ["T1"],
        "preprocessing": {"target_shape": STANDARD},
        "intensity": {"landmarks": {"T1": LANDMARKS, "PD": LANDMARKS}},
        "configuration": {
            "name": "test",
            "input_shape": shape,
            "spacing_mm": [2.0, 2.0, 2.0],
            "downsampling": downsampling,
            "window": shape,
        },
    }
    return Plans.parse(content)


@pytest.fixture
def brain() -> np.ndarray:
    """A box with a ragged border: of coarse voxels any number of eighths is brain."""
    mask = np.zeros(STANDARD, bool)
    mask[3:13, 4:21, 5:16] = True
    return mask ^ (np.random.default_rng(1).random(STANDARD) < 0.2)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random(STANDARD).astype(np.float32))


@pytest.fixture
def case(brain, image) -> StandardCase:
    images = np.where(brain, image.numpy(), 0)[None]
    return StandardCase(
        dataset="D",
        case_id="case_1",
        patient_id="p",
        sequences=("T1",),
        images=images,
        brain_mask=brain,
        lesion_mask=None,
        geometry=Geometry({}, {}),
        scale={},
        percentiles={"T1": (0.1, 0.5, 0.8)},
        quality={},
        steps=(),
    )


def test_an_image_is_matched_with_its_own_percentiles_to_the_plans_landmarks(case, brain):
    found = matched_image(case, "T1", plans())
    expected = match_histogram(case.images[0], brain, (0.1, 0.5, 0.8), LANDMARKS)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_a_sequence_the_model_does_not_know_is_an_error_that_says_what_to_do(case):
    with pytest.raises(UsageError, match=r"knows T1, PD, not FLAIR\. Leave these images out"):
        matched_image(case, "FLAIR", plans())


def test_a_sequence_the_case_does_not_have_is_an_error_that_names_the_case(case):
    with pytest.raises(UsageError, match="case_1 has no PD"):
        matched_image(case, "PD", plans())


def blocks(array: np.ndarray) -> np.ndarray:
    """(8, 12, 10, 8): the eight fine voxels of every coarse one."""
    return array.reshape(8, 2, 12, 2, 10, 2).transpose(0, 2, 4, 1, 3, 5).reshape(8, 12, 10, 8)


@pytest.mark.parametrize("downsampling", ["area", "trilinear"])
def test_a_coarse_voxel_is_brain_when_half_of_it_is(brain, downsampling):
    found = mask_to_configuration(brain, plans(downsampling=downsampling)).numpy()
    np.testing.assert_array_equal(found, blocks(brain).mean(axis=-1) >= 0.5)
    assert found.dtype == np.float32


def test_area_averages_the_brains_voxels_only(image, brain):
    inside = torch.from_numpy(brain) * image
    found = image_to_configuration(inside, brain, plans()).numpy()
    count = blocks(brain).sum(axis=-1)
    mean = blocks(inside.numpy()).sum(axis=-1) / np.maximum(count, 1)
    np.testing.assert_allclose(found, np.where(count >= 4, mean, 0), atol=1e-6)


def test_area_does_not_darken_the_rim_of_a_constant_brain(brain):
    found = image_to_configuration(torch.from_numpy(brain * np.float32(0.7)), brain, plans())
    inside = mask_to_configuration(brain, plans()) > 0
    np.testing.assert_allclose(found[inside], 0.7, atol=1e-6)
    assert (found[~inside] == 0).all()


def test_trilinear_samples_at_the_centres_of_the_coarse_voxels(image):
    shape = (10, 15, 14)
    everywhere = np.ones(STANDARD, bool)
    found = image_to_configuration(image, everywhere, plans(shape, "trilinear")).numpy()
    centres = [(np.arange(n) + 0.5) * s / n - 0.5 for n, s in zip(shape, STANDARD, strict=True)]
    reference = ndimage.map_coordinates(
        image.numpy(), np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest"
    )
    np.testing.assert_allclose(found, reference, atol=1e-5)


def test_on_the_standard_grid_itself_only_the_mask_is_applied(image, brain):
    found = image_to_configuration(image, brain, plans(STANDARD, "trilinear"))
    np.testing.assert_array_equal(found.numpy(), np.where(brain, image.numpy(), 0))
    assert to_standard(image, plans()) is image


def test_the_way_back_keeps_positions():
    def ramp(shape, axis):
        size = shape[axis]
        line = (np.arange(size) + 0.5) / size
        return np.moveaxis(np.broadcast_to(line, (*np.delete(shape, axis), size)), -1, axis)

    for axis in range(3):
        coarse = torch.from_numpy(ramp((8, 12, 10), axis).copy())
        found = to_standard(coarse, plans()).numpy()
        assert found.shape == STANDARD
        # Beyond the centre of the outermost coarse voxel its value is repeated.
        inner = tuple(slice(1, -1) for _ in range(3))
        np.testing.assert_allclose(found[inner], ramp(STANDARD, axis)[inner], atol=1e-5)
