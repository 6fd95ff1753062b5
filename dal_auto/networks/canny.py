"""Edges of volumes: true three-dimensional Canny detection, batched, on the volume's own device.

Canny, J., 1986. A computational approach to edge detection. IEEE Transactions on Pattern Analysis
and Machine Intelligence 8, 679–698. The paper of the method names Canny for its edge map
E = E_d(A) (§3.3.1) and leaves smoothing and thresholds open.

Everything is sums, products and comparisons of shifted views: measured faster on CPU than
`grid_sample`, gathers or `max_pool3d`, exact to float32 on every device (a CUDA convolution may
round to TF32), untouched by autocast, and without a step that waits for the device.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SPATIAL_AXES = (-3, -2, -1)

TRUNCATE = 4.0
"""Radius of the Gaussian in standard deviations."""

TIE = 1e-4
"""Relative difference of gradient magnitudes that counts as none.

A step between two voxels, the only kind that a label image has, gives both voxels the same
magnitude, and rounding must not decide between them.
"""


@torch.no_grad()
def canny_edges(
    image: Tensor, *, sigma_voxels: float, low: float, high: float, hysteresis_steps: int
) -> Tensor:
    """Binary edges of each volume in a batch; no gradient flows through them.

    The steps of Canny (1986) in 3-D: Gaussian smoothing, gradient by central differences,
    suppression of voxels that are no maximum along the gradient's direction (neighbours one voxel
    away, interpolated trilinearly), two thresholds, hysteresis. Of the two voxels on either side
    of a step, the brighter one is the edge: at the brain's outline, the one inside. Voxels are
    taken as cubes.

    Parameters
    ----------
    image : (N, 1, x, y, z) float of any precision; computed in float32
    sigma_voxels : standard deviation of the smoothing, > 0; beyond the border, the image goes on
        with its outermost value
    low, high : 0 < low ≤ high; thresholds on the magnitude of the smoothed image's gradient, in
        image values per voxel. A plane step of height h has about 0.32·h at σ = 1 and
        0.19·h at σ = 2.
    hysteresis_steps : how many voxels (26-neighbourhood), at most, an edge is followed from a
        voxel above `high` through voxels above `low`; a fixed number, since "until nothing
        changes" would wait for the device

    Returns
    -------
    (N, 1, x, y, z), 0 or 1, in the image's dtype

    Raises
    ------
    ValueError
        for an image of another shape, or parameters outside their range.
    """
    if image.ndim != 5 or image.shape[1] != 1:
        raise ValueError(f"the image's shape is {tuple(image.shape)}; it must be (N, 1, x, y, z)")
    if not (sigma_voxels > 0 and 0 < low <= high and hysteresis_steps >= 0):
        raise ValueError(
            f"sigma_voxels {sigma_voxels}, low {low}, high {high}, hysteresis_steps "
            f"{hysteresis_steps}; they must be > 0, 0 < low ≤ high, and ≥ 0"
        )
    gradient = _gradient(_smoothed(image.float(), sigma_voxels))
    magnitude = gradient.square().sum(dim=1, keepdim=True).sqrt()
    weak = _is_ridge(magnitude, gradient) & (magnitude >= low)
    edges = weak & (magnitude >= high)
    for _ in range(hysteresis_steps):
        edges = _dilated(edges) & weak
    return edges.to(image.dtype)


def _smoothed(volume: Tensor, sigma_voxels: float) -> Tensor:
    radius = math.ceil(TRUNCATE * sigma_voxels)
    weights = [math.exp(-0.5 * (i / sigma_voxels) ** 2) for i in range(-radius, radius + 1)]
    total = math.fsum(weights)
    for axis in SPATIAL_AXES:
        size = volume.shape[axis]
        padded = _padded(volume, axis, radius)
        # Opposite voxels are added first, so that a mirrored image gives the mirrored bits.
        volume = padded.narrow(axis, radius, size) * (weights[radius] / total)
        for i in range(radius):
            pair = padded.narrow(axis, i, size) + padded.narrow(axis, 2 * radius - i, size)
            volume.add_(pair, alpha=weights[i] / total)
    return volume


def _gradient(volume: Tensor) -> Tensor:
    """Central differences per voxel: (N, 1, x, y, z) → (N, 3, x, y, z)."""
    components = []
    for axis in SPATIAL_AXES:
        size, padded = volume.shape[axis], _padded(volume, axis, 1)
        components.append((padded.narrow(axis, 2, size) - padded.narrow(axis, 0, size)) / 2)
    return torch.cat(components, dim=1)


def _is_ridge(magnitude: Tensor, gradient: Tensor) -> Tensor:
    """Whether no magnitude is larger one voxel up and one voxel down the gradient.

    The uphill side must be smaller, the downhill side may be equal: of equal neighbours the
    brighter stays, which does not depend on how the image lies in its array.
    """
    direction = gradient / magnitude.clamp_min(torch.finfo(magnitude.dtype).tiny)
    # Trilinear interpolation one unit away reaches the 27 voxels around; along one axis the voxels
    # at -1, 0, +1 weigh as follows, and opposite directions mirror the weights.
    weights = [(F.relu(-d), 1 - d.abs(), F.relu(d)) for d in direction.split(1, dim=1)]
    padded = F.pad(magnitude, (1,) * 6, mode="replicate")
    size_x, size_y, size_z = magnitude.shape[2:]

    def shifted(i: int, j: int, k: int) -> Tensor:
        return padded[:, :, i : i + size_x, j : j + size_y, k : k + size_z]

    uphill, downhill = torch.zeros_like(magnitude), torch.zeros_like(magnitude)
    for i in range(3):
        for j in range(3):
            weight_xy = weights[0][i] * weights[1][j]
            for k in range(3):
                weight = weight_xy * weights[2][k]
                uphill.addcmul_(weight, shifted(i, j, k))
                downhill.addcmul_(weight, shifted(2 - i, 2 - j, 2 - k))
    return (magnitude > uphill * (1 + TIE)) & (magnitude * (1 + TIE) >= downhill)


def _dilated(mask: Tensor) -> Tensor:
    """The mask grown by one voxel in the 26-neighbourhood (a 3³ maximum filter of booleans)."""
    for axis in SPATIAL_AXES:
        shorter, grown = mask.shape[axis] - 1, mask.clone()
        grown.narrow(axis, 1, shorter).logical_or_(mask.narrow(axis, 0, shorter))
        grown.narrow(axis, 0, shorter).logical_or_(mask.narrow(axis, 1, shorter))
        mask = grown
    return mask


def _padded(volume: Tensor, axis: int, radius: int) -> Tensor:
    pads = [0] * 6
    pads[2 * (-1 - axis)] = pads[2 * (-1 - axis) + 1] = radius
    return F.pad(volume, pads, mode="replicate")
