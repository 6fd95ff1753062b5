"""Lesions pasted into healthy images, to choose among checkpoints where no annotated set is named.

This is ours, not the paper's. A lesion is a blob with a rough outline and a soft edge that makes
the brain brighter or darker, in each sequence by an amount of its own. It is no simulation of a
disease: it only asks whether what does not belong there is found. The blobs depend on the seed
alone, and their size is in mm, so that all checkpoints, runs and configurations meet the same ones.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dal_auto.datasets.simulation.deformation import smooth_noise

#: Radii of the blobs before their outline is roughened, in mm: about 2 to 65 ml.
_RADIUS_MM = (8.0, 25.0)
_COUNT = (1, 4)
#: How far the intensity goes up or down, on the scale [0, 1] of matched images.
_AMOUNT = (0.15, 0.45)
_ROUGHNESS, _EDGE_MM = 0.3, 2.0


def paste_lesions(
    images: np.ndarray, brain_mask: np.ndarray, spacing_mm: tuple[float, float, float], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Healthy images with one to three lesions.

    Parameters
    ----------
    images : (sequence, x, y, z) float32 in [0, 1]; stays as it is
    brain_mask : (x, y, z) bool
    spacing_mm : voxel size along x, y, z
    seed : decides places, shapes and intensities

    Returns
    -------
    images with lesions, and the lesion mask (x, y, z) bool: where half of the change or more is
    """
    rng = np.random.default_rng(seed)
    changed, lesion = images.copy(), np.zeros(brain_mask.shape, bool)
    depth_mm = ndimage.distance_transform_edt(brain_mask, spacing_mm)
    for _ in range(int(rng.integers(*_COUNT))):
        radius_mm = float(np.exp(rng.uniform(*np.log(_RADIUS_MM))))
        blob = _blob(rng, depth_mm, spacing_mm, radius_mm) * brain_mask
        amounts = rng.uniform(*_AMOUNT, len(images)) * rng.choice([-1, 1], len(images))
        changed += blob * amounts.reshape(-1, 1, 1, 1).astype(np.float32)
        lesion |= blob >= 0.5
    # Dark lesions stay above the background, which is exactly 0.
    changed = np.where((images > 0) & brain_mask, changed.clip(0.01, 1), images)
    return changed.astype(np.float32), lesion


def _blob(
    rng: np.random.Generator,
    depth_mm: np.ndarray,
    spacing_mm: tuple[float, float, float],
    radius_mm: float,
) -> np.ndarray:
    """(x, y, z) float32: 1 within a rough ball somewhere in the brain, falling to 0 at its edge."""
    # Half of the ball at least is brain; in a brain too small for that, its middle.
    deep = depth_mm >= min(radius_mm / 2, float(depth_mm.max()))
    places = np.argwhere(deep)
    centre = places[rng.integers(len(places))]
    stretch = np.exp(rng.normal(0, 0.15, 3))
    squares = [
        ((axis - c) * mm * s) ** 2
        for axis, c, mm, s in zip(
            np.ogrid[tuple(slice(size) for size in depth_mm.shape)],
            centre,
            spacing_mm,
            stretch,
            strict=True,
        )
    ]
    distance_mm = np.sqrt(squares[0] + squares[1] + squares[2])
    mean_mm = float(np.mean(spacing_mm))
    rough = _ROUGHNESS * radius_mm * smooth_noise(rng, depth_mm.shape, mean_mm, radius_mm * 0.4)
    inside_mm = radius_mm + rough - distance_mm
    return np.clip(0.5 + inside_mm / max(_EDGE_MM, mean_mm), 0, 1).astype(np.float32)
