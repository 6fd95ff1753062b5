"""What the tests of preprocessing share: the atlas, and a phantom that is known everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dal_auto.case import Grid
from dal_auto.errors import MissingDependency
from dal_auto.preprocessing.atlas import Atlas, load_atlas

Phantom = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def atlas() -> Atlas:
    """SRI24."""
    try:
        found = load_atlas()
    except MissingDependency as error:
        pytest.skip(str(error))
    if found.name != "SRI24":
        pytest.skip("SRI24 is not installed")
    return found


def _world(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


@pytest.fixture(scope="session")
def world() -> Callable[[Grid], np.ndarray]:
    """(x, y, z, 3) RAS mm of every voxel of a grid."""
    return _world


@pytest.fixture(scope="session")
def rigid() -> Callable[..., np.ndarray]:
    """(4, 4) rotation about the origin by xyz Euler angles, then a shift."""

    def matrix(degrees=(0, 0, 0), shift_mm=(0, 0, 0)) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        affine[:3, 3] = shift_mm
        return affine

    return matrix


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """A brain-sized, asymmetric object about the origin, known at every point (RAS mm), 0 outside.

    Soft-edged ellipsoids: cortex, white matter, and a few nuclei that tell left from right.
    """
    parts = [
        ((0, 0, 0), (68, 84, 62), 400.0),
        ((-3, 4, 2), (52, 66, 46), 300.0),
        ((12, 8, 5), (9, 26, 12), -450.0),
        ((-20, 30, -8), (14, 10, 10), 250.0),
        ((25, -40, 15), (12, 16, 20), -200.0),
        ((5, -30, -30), (22, 14, 9), 200.0),
    ]

    def intensity(points_mm: np.ndarray) -> np.ndarray:
        value = np.zeros(points_mm.shape[:-1])
        for centre, radii, step in parts:
            radius = np.linalg.norm((points_mm - centre) / radii, axis=-1)
            value += step * np.clip((1.05 - radius) / 0.1, 0, 1)
        return np.maximum(value, 0)

    return intensity
