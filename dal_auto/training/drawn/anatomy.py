"""From a source head to an anatomy of its own: pose, size, shape and age, as shares of structures.

Everything is drawn from one seed. The head is sampled at points that are a millimetre or two apart,
whatever the grid, and a voxel's shares are those of the points within it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from dal_auto.case import FloatArray
from dal_auto.plans import Shape
from dal_auto.training.drawn.heads import Head
from dal_auto.training.drawn.structures import OUTSIDE, STRUCTURES, index_of

#: Points that sample a voxel lie at most this far apart.
_POINTS_MM = 1.4
#: What the chain leaves of a head's pose; the standard deviation of angle and shift.
_ROTATION_DEGREES, _SHIFT_MM = 1.5, 1.5
#: Rigid registration keeps a brain's size. SRI24's is small; a brain scaled to MNI152 is 9 % longer
#: along each axis, a small child's 10 % shorter.
_LOG_SIZE, _LOG_ASPECT_SD, _SHEAR_SD = (-0.10, 0.12), 0.035, 0.02
#: Elastic deformation: distance of the lattice's points, and standard deviation along each axis.
_ELASTIC_MM = ((48.0, 0.5, 3.5), (24.0, 0.3, 1.8), (12.0, 0.1, 0.7))
#: From young to very old, in mm by which surfaces move; regions differ by a field of this spread.
_VENTRICLES_MM, _SULCI_MM = (-1.5, 6.0), (-0.8, 0.8)
_AGE_SPREAD_MM, _REGION_SPREAD_MM, _REGION_MM = (1.0, 0.2), (0.8, 0.3), 32.0
#: Above 1: more people are young than old.
_YOUNGER = 1.5
#: Brain masks are too narrow or too wide, as a whole and by region.
_MASK_MM, _MASK_REGION_SD = (-1.5, 2.0), 0.8
_TENTHS = 10
#: Deep grey matter is pushed aside by wide ventricles, not eaten: less of their growth holds there.
_FIRM = ("thalamus", "putamen", "pallidum", "brainstem")
_FIRM_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Draw:
    """Where a head is sampled, and by how much its surfaces move.

    Parameters
    ----------
    place : (3, …) voxel of the head's grid
    ventricles, sulci, mask : (…) mm by which the surfaces grow
    """

    place: Tensor
    ventricles: Tensor
    sulci: Tensor
    mask: Tensor


def draw_anatomy(head: Head, shape: Shape, seed: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Shares of the structures in a deformed head.

    Parameters
    ----------
    shape : voxels of a grid that covers the head's
    seed : whole numbers ≥ 0 that decide everything

    Returns
    -------
    (structure, x, y, z) uint8, shares of 255; the rest of a voxel is outside the brain's mask
    """
    full: Shape = head.structures.shape  # type: ignore[assignment]
    points: Shape = tuple(  # type: ignore[assignment]
        n * math.ceil(size / n / _POINTS_MM) for n, size in zip(shape, full, strict=True)
    )
    found = _sampled(head, _drawn(np.random.default_rng(seed), full, points))
    return _shares(found, shape)


def _drawn(rng: np.random.Generator, full: Shape, points: Shape) -> Draw:
    """Fields are drawn on a grid of at least 4 mm, and brought to the points linearly."""
    coarse: Shape = tuple(min(p, math.ceil(n / 4)) for n, p in zip(full, points, strict=True))  # type: ignore[assignment]
    place = _affine_places(rng, full, coarse)
    for lattice_mm, low, high in _ELASTIC_MM:
        place += _smooth(rng, 3, full, coarse, lattice_mm) * rng.uniform(low, high)
    age = rng.uniform() ** _YOUNGER
    moves = []
    for (young, old), spread, region in zip(
        (_VENTRICLES_MM, _SULCI_MM), _AGE_SPREAD_MM, _REGION_SPREAD_MM, strict=True
    ):
        mean = young + age * (old - young) + rng.normal(0, spread)
        moves.append(mean + region * _smooth(rng, 1, full, coarse, _REGION_MM))
    moves.append(
        rng.uniform(*_MASK_MM) + _MASK_REGION_SD * _smooth(rng, 1, full, coarse, _REGION_MM)
    )
    fields = torch.cat([place, *moves])
    fine = F.interpolate(fields[None], size=points, mode="trilinear")[0]
    return Draw(fine[:3], *fine[3:])


def _affine_places(rng: np.random.Generator, full: Shape, coarse: Shape) -> Tensor:
    """(3, *coarse) where in the head each voxel of a coarse grid lies; half are mirrored."""
    middle = (torch.tensor(full) - 1) / 2
    axes = [
        (torch.arange(n, dtype=torch.float32) + 0.5) * (size / n) - 0.5 - float(centre)
        for n, size, centre in zip(coarse, full, middle, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    turn = Rotation.from_euler("xyz", rng.normal(0, _ROTATION_DEGREES, 3), degrees=True).as_matrix()
    size = np.exp(rng.uniform(*_LOG_SIZE) + rng.normal(0, _LOG_ASPECT_SD, 3))
    matrix: FloatArray = turn @ (np.diag(1 / size) + np.triu(rng.normal(0, _SHEAR_SD, (3, 3)), 1))
    if rng.uniform() < 0.5:  # left and right: x
        matrix = np.diag([-1.0, 1.0, 1.0]) @ matrix
    place = torch.einsum("ab,bxyz->axyz", torch.from_numpy(matrix).float(), grid)
    shift = middle + torch.from_numpy(rng.normal(0, _SHIFT_MM, 3)).float()
    return place + shift[:, None, None, None]


def _smooth(
    rng: np.random.Generator, channels: int, full: Shape, shape: Shape, lattice_mm: float
) -> Tensor:
    """(channels, *shape) random field of standard deviation 1, drawn on a lattice."""
    lattice = [max(2, math.ceil(n / lattice_mm) + 1) for n in full]
    drawn = torch.from_numpy(rng.standard_normal((1, channels, *lattice), np.float32))
    field = F.interpolate(drawn, size=shape, mode="trilinear", align_corners=True)[0]
    return field / field.std()


def _sampled(head: Head, draw: Draw) -> npt.NDArray[np.uint8]:
    """Structure at every point, or `OUTSIDE`."""
    full = head.structures.shape
    index = torch.zeros(draw.place.shape[1:], dtype=torch.int64)
    for axis, n in enumerate(full):
        index = index * n + draw.place[axis].round().long().clamp(0, n - 1)

    def take(array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).reshape(-1)[index]

    structures, tissue = take(head.structures), take(head.tissue)
    distances = (
        take(part).float() / _TENTHS
        for part in (head.to_ventricles, head.to_sulci, head.to_surface)
    )
    to_ventricles, to_sulci, to_surface = distances
    sulci, ventricles = (index_of(name) for name in ("sulci", "ventricles"))
    firm = torch.isin(tissue, torch.tensor([index_of(name) for name in _FIRM], dtype=torch.uint8))
    growth = torch.where(firm, draw.ventricles * _FIRM_SHARE, draw.ventricles)
    solid = torch.where(structures == OUTSIDE, tissue, structures)
    # Shrinking fluid leaves tissue behind; growing fluid takes it.
    was_fluid = (solid == sulci) | (solid == ventricles)
    found = torch.where(was_fluid, tissue, solid)
    found = torch.where(to_ventricles < growth, ventricles, found)
    found = torch.where((to_sulci < draw.sulci) & (to_ventricles >= growth), sulci, found)
    outside = to_surface >= draw.mask
    return torch.where(outside, OUTSIDE, found).to(torch.uint8).numpy()


def _shares(found: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.uint8]:
    per_voxel = [p // n for p, n in zip(found.shape, shape, strict=True)]
    voxel = np.zeros(found.shape, np.int32)
    for axis, (n, size) in enumerate(zip(per_voxel, shape, strict=True)):
        along = np.arange(size, dtype=np.int32).repeat(n)
        voxel = voxel * size + along.reshape([-1 if a == axis else 1 for a in range(3)])
    count = len(STRUCTURES) + 1
    shares = np.bincount((voxel * count + found).ravel(), minlength=math.prod(shape) * count)
    shares = shares.reshape(*shape, count)[..., :-1] * (255 / math.prod(per_voxel))
    return np.ascontiguousarray(np.moveaxis(np.rint(shares).astype(np.uint8), -1, 0))
