"""Heads whose truth is known: brain mask, clean image, pose; and real scans moved by known poses.

The cohort's simulator draws the anatomy; here the pose is set (10 degrees and 15 mm, about random
axes) and the scanner's box does not follow the head, so that no step can guess the pose from the
header. What the simulator forgets after degrading an image, its clean voxels, is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.datasets.simulation.acquisition import (
    STYLES,
    Acquisition,
    ScannerStyle,
    degrade,
    draw_means,
    sample,
)
from dal_auto.datasets.simulation.anatomy import Anatomy, build_anatomy, paint
from dal_auto.datasets.simulation.compartments import AIR, OUTER_CSF
from dal_auto.datasets.simulation.heads import load_head
from dal_auto.images import read_image
from dal_auto.preprocessing.resampling import resample

DEGREES, SHIFT_MM = 10.0, 15.0
#: Points over which a rigid transform's error is averaged.
POINTS = 5000
_BOX_MM = {"T1": (200, 256, 256), "T2": (230, 250, 190)}
_SPACING_MM = {"T1": (1.0, 1.0, 1.0), "T2": (0.8, 0.8, 2.0)}
_AXCODES = {"T1": "PSR", "T2": "LPS"}


@dataclass(frozen=True, eq=False)
class TrueImage:
    """One acquisition of a head, and what it should have shown.

    Parameters
    ----------
    image : (x, y, z) with bias field and noise, as a scanner would give it
    clean : (x, y, z) without either, in units of its own
    brain : (x, y, z) the true brain, ventricles and sulci included
    outer_csf : (x, y, z) the CSF around it, which tools rightly count on either side
    to_subject : (4, 4) scanner RAS mm → the subject's own mm
    """

    image: FloatArray
    clean: FloatArray
    brain: BoolArray
    outer_csf: BoolArray
    grid: Grid
    to_subject: FloatArray


def draw_pose(rng: np.random.Generator, degrees: float, shift_mm: float) -> FloatArray:
    """(4, 4): a rotation by `degrees` and a shift by `shift_mm`, each in a random direction."""
    axis, direction = rng.standard_normal((2, 3))
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    shift = shift_mm * direction / np.linalg.norm(direction)
    return nib.affines.from_matvec(turn.as_matrix(), shift)


def scanner_grid(sequence: str, tilt: FloatArray, offset_mm: FloatArray, coarseness: float) -> Grid:
    """The scanner's box about its own centre, tilted by the operator; it knows no head.

    Parameters
    ----------
    coarseness : multiplies the voxels' size: 1 gives 1 mm (T1) and 0.8 × 0.8 × 2 mm (T2)
    tilt : (3, 3) rotation of the box
    offset_mm : (3,) of its centre
    """
    spacing = coarseness * np.array(_SPACING_MM[sequence])
    shape = np.round(np.array(_BOX_MM[sequence]) / spacing).astype(int)
    turn = tilt * spacing
    ras = nib.affines.from_matvec(turn, np.asarray(offset_mm) - turn @ ((shape - 1) / 2))
    change = nib.orientations.ornt_transform(
        nib.io_orientation(ras), nib.orientations.axcodes2ornt(tuple(_AXCODES[sequence]))
    )
    affine = ras @ nib.orientations.inv_ornt_aff(change, tuple(shape))
    turned = np.empty(3, int)
    turned[change[:, 0].astype(int)] = shape
    x, y, z = (int(n) for n in turned)
    return Grid((x, y, z), affine)


@dataclass(frozen=True, eq=False)
class Subject:
    """An anatomy, the contrast that each sequence shows of it, and how coarsely it is scanned."""

    anatomy: Anatomy
    style: ScannerStyle
    painted: dict[str, FloatArray]
    coarseness: float

    def head_points_mm(self, rng: np.random.Generator) -> FloatArray:
        """(POINTS, 3) points of the head in the subject's own mm, neck left out."""
        inside = np.argwhere(self.anatomy.compartments[::2, ::2, ::2] != AIR) * 2
        points = nib.affines.apply_affine(self.anatomy.affine, inside)
        brain = nib.affines.apply_affine(
            self.anatomy.affine, 2 * np.argwhere(self.anatomy.brain[::2, ::2, ::2])
        )
        points = points[points[:, 2] > brain[:, 2].min()]
        return rng.choice(points, POINTS, replace=False)

    def acquire(self, sequence: str, pose: FloatArray, rng: np.random.Generator) -> TrueImage:
        """An image of the head at `pose` (subject mm → scanner mm), with noise and a bias field of
        its own on a grid of its own."""
        tilt = Rotation.from_euler("xyz", rng.uniform((-8, -2, -3), (8, 2, 3)), degrees=True)
        grid = scanner_grid(
            sequence,
            tilt.as_matrix() if sequence == "T2" else np.eye(3),
            # The box lies a little low over the brain, as scanners' boxes do; never by a
            # whole voxel, or two acquisitions would share a lattice.
            np.array([0, 0, -15]) + rng.uniform(-3, 3, 3),
            self.coarseness,
        )
        lattice_mm = (1000 * self.anatomy.voxel_ml) ** (1 / 3)
        slices = max(1, round(grid.spacing_mm[2] / lattice_mm)) if sequence == "T2" else 1
        acquisition = Acquisition(grid, np.linalg.inv(pose), slices)
        clean = sample(self.painted[sequence], self.anatomy, acquisition)
        brain, outer_csf = (
            sample(part.astype(np.float32), self.anatomy, acquisition) >= 0.5
            for part in (self.anatomy.brain, self.anatomy.compartments == OUTER_CSF)
        )
        image = degrade(rng, clean, brain, grid, self.style, sequence)
        voxels = np.asarray(image.dataobj, np.float32)
        return TrueImage(voxels, clean, brain, outer_csf, grid, np.linalg.inv(pose))


def draw_subject(source: str, seed: int, coarseness: float) -> Subject:
    """A subject deformed from the head `source` ("ICBM152", "SRI24", or a label map's path)."""
    rng = np.random.default_rng([seed, 12])
    anatomy = build_anatomy(load_head(source), rng, 1)
    style = STYLES[seed % len(STYLES)]
    painted = {}
    for sequence in ("T1", "T2"):
        painted[sequence] = paint(anatomy, *draw_means(rng, sequence, style))
    return Subject(anatomy, style, painted, coarseness)


def move_scan(path: Path, pose: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, Grid]:
    """A real scan moved by `pose` (RAS mm → RAS mm): resampled onto a lattice that is shifted by
    part of a voxel, with noise (2 % of the 99th percentile) and a smooth field of 20 %."""
    image, grid = read_image(path)
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :3] @ rng.uniform(0.2, 0.8, 3)
    own = Grid(grid.shape, affine)
    moved = resample(image, grid, own, np.linalg.inv(pose))
    position = [np.linspace(-1, 1, n).reshape([-1 if a == i else 1 for a in range(3)])
                for i, n in enumerate(grid.shape)]  # fmt: skip
    slope = rng.uniform(-0.1, 0.1, 3)
    field = np.exp(sum(s * p for s, p in zip(slope, position, strict=True)))
    noise = 0.02 * np.percentile(image, 99) * rng.standard_normal(grid.shape, np.float32)
    return np.abs(moved * field + noise).astype(np.float32), own


def true_map(fixed: TrueImage, moving: TrueImage) -> FloatArray:
    """(4, 4): fixed scanner mm → moving scanner mm, as it was."""
    return np.linalg.inv(moving.to_subject) @ fixed.to_subject


def displacement_mm(found: FloatArray, true: FloatArray, points_mm: FloatArray) -> float:
    """Mean distance between where two maps (4, 4) take `points_mm` (n, 3)."""
    there, here = (nib.affines.apply_affine(matrix, points_mm) for matrix in (found, true))
    return float(np.linalg.norm(there - here, axis=1).mean())
