"""From an image and its pseudo-healthy restoration to a voxelwise anomaly score (§3.5, Eq. 15).

All maps are non-negative float32 on the device of the input; nothing here waits for the device.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dal_auto.scoring.box_filters import Kernel, mean_filter, minimum_filter
from dal_auto.scoring.separable import gaussian_kernel, mean_and_variance

ScoreKind = Literal["hybrid", "l1", "ssim"]
Polarity = Literal["bright", "dark"]

#: What each score is, in words; x is the image, matched to [0, 1], and x_r its restoration.
SCORE_WORDS: dict[ScoreKind, str] = {
    "hybrid": "|x − x_r| · (1 − SSIM) of the matched image x and its restoration x_r (Eq. 15)",
    "l1": "|x − x_r| of the matched image x and its restoration x_r",
    "ssim": "1 − SSIM of the matched image x and its restoration x_r",
}
TOLERANT_WORDS = "distance of the matched image from the range of what is restored within one voxel"

K1, K2 = 0.01, 0.03
# Where scikit-image cuts the Gaussian window of its SSIM: 11 voxels wide at Wang's sigma of 1.5.
TRUNCATE_SIGMAS = 3.5


@torch.no_grad()
def ssim_map(
    image: Tensor, restored: Tensor, *, sigma_voxels: float = 1.5, data_range: float = 1.0
) -> Tensor:
    """Voxelwise structural similarity in 3D (Wang et al. 2004) with a Gaussian window.

    Equals ``skimage.metrics.structural_similarity(..., full=True, gaussian_weights=True,
    use_sample_covariance=False)``, borders included.

    Parameters
    ----------
    image, restored : (..., x, y, z), in [0, `data_range`]
    sigma_voxels : standard deviation of the window
    data_range : span of possible intensities

    Returns
    -------
    (..., x, y, z) float32 in [-1, 1]; exactly 1 where the images are equal within the window

    Raises
    ------
    ValueError
        if the shapes differ
    """
    image, restored = _as_float32(image, restored)
    kernel = gaussian_kernel(sigma_voxels, TRUNCATE_SIGMAS)

    # With s = a + b and d = a - b: 4ab = s² - d² and 2(a² + b²) = s² + d², for the means as for the
    # (co)variances. Two windowed variances do instead of two and a covariance, and where the images
    # agree, SSIM is exactly 1.
    mean_s, variance_s = mean_and_variance(image + restored, kernel)
    mean_d, variance_d = mean_and_variance(image - restored, kernel)
    squares_s, squares_d = mean_s.square_(), mean_d.square_()
    luminance = _similarity(squares_s, squares_d, (K1 * data_range) ** 2)
    return luminance.mul_(_similarity(variance_s, variance_d, (K2 * data_range) ** 2))


@torch.no_grad()
def l1_map(image: Tensor, restored: Tensor) -> Tensor:
    """Absolute difference, (..., x, y, z) float32; ValueError if the shapes differ."""
    image, restored = _as_float32(image, restored)
    return (image - restored).abs_()


@torch.no_grad()
def hybrid_map(
    image: Tensor, restored: Tensor, *, sigma_voxels: float = 1.5, power: float = 1.0
) -> Tensor:
    """|x − r|^power·(1 − SSIM(x, r)), (..., x, y, z) float32; images in [0, 1].

    With a power of 1 it is Eq. 15.
    """
    difference = l1_map(image, restored)
    if power != 1:
        difference = difference.pow_(power)
    return _dissimilarity(image, restored, sigma_voxels).mul_(difference)


@torch.no_grad()
def tolerant_map(image: Tensor, restored: Tensor, brain_mask: Tensor) -> Tensor:
    """How far the image lies outside what is restored within one voxel.

    A border that is restored half a voxel away from its place costs nothing.

    Parameters
    ----------
    image, restored : (n, 1, x, y, z), in [0, 1]
    brain_mask : (n, 1, x, y, z), 0 or 1

    Returns
    -------
    (n, 1, x, y, z) float32, ≥ 0, 0 outside the brain
    """
    image, restored = _as_float32(image, restored)
    inside = brain_mask > 0
    lowest = minimum_filter(restored.masked_fill(~inside, torch.inf), (3, 3, 3))
    highest = -minimum_filter((-restored).masked_fill(~inside, torch.inf), (3, 3, 3))
    outside = (image - image.clamp(lowest, highest)).abs_()
    return outside.masked_fill_(~inside, 0)


@torch.no_grad()
def one_sided(score: Tensor, image: Tensor, restored: Tensor, polarity: Polarity | None) -> Tensor:
    """The score where the image is brighter, or darker, than its restoration, 0 elsewhere.

    Parameters
    ----------
    score, image, restored : (..., x, y, z)
    polarity : None keeps both
    """
    if polarity is None:
        return score
    difference = image - restored
    counts = difference > 0 if polarity == "bright" else difference < 0
    return score * counts


@torch.no_grad()
def supported(score: Tensor, kernel: Kernel) -> Tensor:
    """Geometric mean of a score and of its mean in a box around each voxel.

    A lesion is a region: a voxel counts for more where its surroundings are anomalous too.

    Parameters
    ----------
    score : (..., x, y, z), ≥ 0
    kernel : voxels along x, y, z, odd; (1, 1, 1) changes nothing

    Returns
    -------
    (..., x, y, z), ≥ 0; 0 where the score is 0
    """
    if kernel == (1, 1, 1):
        return score
    return mean_filter(score, kernel).mul_(score).sqrt_()


def anomaly_score(
    image: Tensor, restored: Tensor, *, kind: ScoreKind, sigma_voxels: float, power: float = 1.0
) -> Tensor:
    """One of the scores of Table 5, larger where the image is less like its restoration.

    Parameters
    ----------
    image, restored : (..., x, y, z), in [0, 1]
    kind : "hybrid" (Eq. 15), "l1" (absolute difference) or "ssim" (1 − SSIM)
    sigma_voxels : standard deviation of SSIM's window; without effect on "l1"
    power : of the absolute difference in "hybrid"; Eq. 15 has 1

    Returns
    -------
    (..., x, y, z) float32, ≥ 0

    Raises
    ------
    ValueError
        if the shapes differ or `kind` is unknown
    """
    match kind:
        case "hybrid":
            return hybrid_map(image, restored, sigma_voxels=sigma_voxels, power=power)
        case "l1":
            return l1_map(image, restored)
        case "ssim":
            return _dissimilarity(image, restored, sigma_voxels)
        case _:
            raise ValueError(f"unknown score {kind!r}; known are hybrid, l1, ssim")


def _dissimilarity(image: Tensor, restored: Tensor, sigma_voxels: float) -> Tensor:
    return 1 - ssim_map(image, restored, sigma_voxels=sigma_voxels)


def _similarity(squares_s: Tensor, squares_d: Tensor, constant: float) -> Tensor:
    """(2ab + c) / (a² + b² + c) from (a + b)² and (a − b)², overwriting both; within [-1, 1]."""
    denominator = (squares_s + squares_d).div_(2).add_(constant)
    return squares_s.sub_(squares_d).div_(2).add_(constant).div_(denominator)


def _as_float32(image: Tensor, restored: Tensor) -> tuple[Tensor, Tensor]:
    if image.shape != restored.shape:
        raise ValueError(
            f"image and restoration differ in shape: {tuple(image.shape)}, {tuple(restored.shape)}"
        )
    return image.float(), restored.float()
