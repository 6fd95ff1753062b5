from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import structural_similarity

from dal_auto.scoring.anomaly_score import (
    anomaly_score,
    hybrid_map,
    l1_map,
    one_sided,
    ssim_map,
    supported,
    tolerant_map,
)

CONTENTS = ["noise", "smooth", "bright and flat", "nearly equal", "zero outside"]


def pair(content: str, shape=(24, 27, 22)) -> tuple[np.ndarray, np.ndarray]:
    """Image and restoration in [0, 1], float32."""
    random = np.random.default_rng(3)
    noise = random.random((2, *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3, 3))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    images = {
        "noise": noise,
        "smooth": smooth,
        "bright and flat": 0.95 + 0.01 * smooth,
        "nearly equal": np.stack([smooth[0], np.clip(smooth[0] + 1e-3 * noise[1], 0, 1)]),
        "zero outside": smooth * (np.arange(shape[0]) > 9)[:, None, None],
    }[content]
    image, restored = images.astype(np.float32)
    return image, restored


def skimage_ssim(image: np.ndarray, restored: np.ndarray, sigma: float, data_range: float):
    return structural_similarity(
        image.astype(float),
        restored.astype(float),
        data_range=data_range,
        gaussian_weights=True,
        sigma=sigma,
        use_sample_covariance=False,
        full=True,
    )[1]


@pytest.mark.parametrize("sigma", [1.5, 1.0])
@pytest.mark.parametrize("data_range", [1.0, 2.0])
@pytest.mark.parametrize("content", CONTENTS)
def test_ssim_is_scikit_images_up_to_the_border(content, sigma, data_range):
    image, restored = pair(content)
    ours = ssim_map(
        torch.from_numpy(image),
        torch.from_numpy(restored),
        sigma_voxels=sigma,
        data_range=data_range,
    )
    assert ours.dtype == torch.float32
    expected = skimage_ssim(image, restored, sigma, data_range)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-5)


def test_leading_axes_are_a_batch():
    images, restored = torch.rand(2, 3, 9, 8, 7), torch.rand(2, 3, 9, 8, 7)
    batch = ssim_map(images, restored)
    assert torch.equal(batch[1, 2], ssim_map(images[1, 2], restored[1, 2]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), contrast=st.floats(0, 1), level=st.floats(0, 1))
def test_scores_are_never_negative_and_ssim_stays_in_its_range(seed, contrast, level):
    generator = torch.Generator().manual_seed(seed)
    image, restored = (
        (level + contrast * torch.rand(6, 7, 8, generator=generator)).clamp(0, 1) for _ in "xr"
    )
    similarity = ssim_map(image, restored)
    assert similarity.min() >= -1
    assert similarity.max() <= 1
    for kind in ("hybrid", "l1", "ssim"):
        assert anomaly_score(image, restored, kind=kind, sigma_voxels=1.5).min() >= 0


@pytest.mark.parametrize("kind", ["hybrid", "l1", "ssim"])
def test_equal_images_score_exactly_zero(kind):
    image = torch.rand(8, 9, 10)
    assert not anomaly_score(image, image.clone(), kind=kind, sigma_voxels=1.5).any()


def test_hybrid_is_equation_15_and_the_kinds_are_what_they_say():
    image, restored = (torch.from_numpy(array) for array in pair("smooth"))
    difference = (image - restored).abs()
    dissimilarity = 1 - ssim_map(image, restored, sigma_voxels=1.0)
    assert torch.equal(l1_map(image, restored), difference)
    assert torch.equal(hybrid_map(image, restored, sigma_voxels=1.0), difference * dissimilarity)
    expected = {"l1": difference, "ssim": dissimilarity, "hybrid": difference * dissimilarity}
    for kind, score in expected.items():
        assert torch.equal(anomaly_score(image, restored, kind=kind, sigma_voxels=1.0), score)
    rooted = anomaly_score(image, restored, kind="hybrid", sigma_voxels=1.0, power=0.5)
    torch.testing.assert_close(rooted, difference.sqrt() * dissimilarity)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_scored_in_float32(dtype):
    image, restored = torch.rand(6, 6, 6).to(dtype), torch.rand(6, 6, 6).to(dtype)
    score = hybrid_map(image, restored)
    assert score.dtype == torch.float32
    assert torch.equal(score, hybrid_map(image.float(), restored.float()))


def test_inputs_are_left_alone_even_when_they_carry_gradients():
    image, restored = torch.rand(6, 6, 6, requires_grad=True), torch.rand(6, 6, 6)
    before = image.detach().clone(), restored.clone()
    assert not hybrid_map(image, restored).requires_grad
    assert torch.equal(image.detach(), before[0])
    assert torch.equal(restored, before[1])


def test_nothing_waits_for_the_device():
    # A meta tensor has no values: any read of one by the host would raise.
    image = torch.empty(20, 20, 20, device="meta")
    assert anomaly_score(image, image, kind="hybrid", sigma_voxels=1.5).device.type == "meta"


def test_different_shapes_are_refused_rather_than_broadcast():
    for function in (ssim_map, l1_map, hybrid_map):
        with pytest.raises(ValueError, match="differ in shape"):
            function(torch.rand(1, 6, 6, 6), torch.rand(6, 6, 6))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="hybrid, l1, ssim"):
        anomaly_score(torch.rand(6, 6, 6), torch.rand(6, 6, 6), kind="l2", sigma_voxels=1.5)


def test_the_tolerant_score_is_the_distance_from_what_is_restored_within_a_voxel():
    random = np.random.default_rng(5)
    image, restored = random.random((2, 9, 8, 7)).astype(np.float32)
    brain = ndimage.binary_dilation(random.random((9, 8, 7)) > 0.9)
    highest = ndimage.maximum_filter(np.where(brain, restored, -1), 3, mode="nearest")
    lowest = ndimage.minimum_filter(np.where(brain, restored, 2), 3, mode="nearest")
    wanted = np.maximum(np.maximum(image - highest, lowest - image), 0) * brain
    tensors = (torch.from_numpy(a)[None, None] for a in (image, restored, brain))
    np.testing.assert_allclose(tolerant_map(*tensors)[0, 0], wanted, atol=1e-6)


def test_a_border_that_is_restored_a_voxel_away_costs_nothing():
    image = torch.zeros(1, 1, 8, 8, 8)
    image[:, :, 4:] = 0.7
    assert tolerant_map(image, image.roll(1, 2), torch.ones_like(image))[:, :, 1:].max() == 0


def test_one_sided_scores_keep_what_is_brighter_or_darker():
    image, restored = torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.6, 0.5, 0.4])
    score = l1_map(image, restored)
    assert one_sided(score, image, restored, "bright").tolist() == pytest.approx([0, 0, 0.5])
    assert one_sided(score, image, restored, "dark").tolist() == pytest.approx([0.4, 0, 0])
    assert one_sided(score, image, restored, None) is score


def test_a_supported_score_is_the_geometric_mean_with_its_surroundings():
    score = torch.from_numpy(np.random.default_rng(3).uniform(0, 1, (12, 11, 10)))
    score[4:6] = 0
    around = ndimage.uniform_filter(score.numpy(), (5, 3, 1), mode="reflect")
    expected = np.sqrt(score.numpy() * around)
    np.testing.assert_allclose(supported(score, (5, 3, 1)).numpy(), expected, atol=1e-12)
    assert supported(score, (1, 1, 1)) is score


def test_of_two_voxels_alike_the_one_in_an_anomalous_region_counts_more():
    score = torch.zeros(20, 20, 20)
    score[4, 4, 4] = 1
    score[12:16, 12:16, 12:16] = 1
    found = supported(score, (5, 5, 5))
    assert found[14, 14, 14] > 2 * found[4, 4, 4] > 0
    assert (found[score == 0] == 0).all()
