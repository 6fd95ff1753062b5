"""From anatomy to image: contrast, pose, grid, partial volume, bias field, noise, integers."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.choices import POSSIBLE_SEQUENCES
from dal_auto.datasets.simulation.anatomy import Anatomy
from dal_auto.datasets.simulation.compartments import (
    AIR,
    BONE,
    CORD,
    DURA,
    EYE,
    FAT,
    MARROW,
    OUTER_CSF,
    SKIN,
    SOFT,
)
from dal_auto.datasets.simulation.deformation import enlarge, smooth_noise

POSE_DEGREES, POSE_MM = 10.0, 15.0
MOTION_DEGREES, MOTION_MM = (1.0, 3.0), (1.0, 4.0)
BIAS_BLUR_MM, BIAS_LATTICE_MM = 45.0, 10.0
BELOW_BRAIN_MM, AROUND_HEAD_MM = 10.0, 9.0
JITTER = 0.03

# White matter is 1 on T1, CSF is 1 on T2. Ratios are those of inversion-prepared gradient echo T1
# and turbo spin echo T2 images of adults, in round numbers: T1 grey/white 0.7, CSF/white 0.25; T2
# white < grey < CSF. On FLAIR grey matter is 1, white matter a little darker, and fluid dark.
# Cortical bone is dark on all, marrow and fat are bright on T1.
TISSUE_MEANS = {
    "T1": {"csf": 0.24, "gm": 0.69, "deep": 0.80, "wm": 1.0},
    "T2": {"csf": 1.0, "gm": 0.56, "deep": 0.48, "wm": 0.40},
    "FLAIR": {"csf": 0.18, "gm": 1.0, "deep": 0.93, "wm": 0.84},
}
OUTSIDE_MEANS = {
    "T1": {BONE: 0.12, MARROW: 0.62, SOFT: 0.48, FAT: 0.92, SKIN: 0.55, EYE: 0.25, DURA: 0.40,
           CORD: 0.95, AIR: 0.01},
    "T2": {BONE: 0.05, MARROW: 0.30, SOFT: 0.20, FAT: 0.48, SKIN: 0.28, EYE: 0.95, DURA: 0.15,
           CORD: 0.42, AIR: 0.01},
    "FLAIR": {BONE: 0.05, MARROW: 0.40, SOFT: 0.45, FAT: 0.80, SKIN: 0.50, EYE: 0.25, DURA: 0.35,
              CORD: 0.85, AIR: 0.01},
}  # fmt: skip


@dataclass(frozen=True)
class ScannerStyle:
    """What differs between scanners.

    Parameters
    ----------
    name : label for the sidecar
    power : exponent on the means: above 1 more contrast, below 1 less
    noise : standard deviation of the noise as a share of white matter on T1 (of CSF/2 on T2)
    bias_cv : coefficient of variation of the bias field inside the brain, lowest and highest
    scale : intensity of white matter on T1, of CSF on T2, of grey matter on FLAIR
    axcodes : orientation of each sequence's grid (nibabel's codes)
    """

    name: str
    power: float
    noise: float
    bias_cv: tuple[float, float]
    scale: dict[str, float]
    axcodes: dict[str, str]


STYLES = (
    ScannerStyle("A", 1.0, 0.022, (0.07, 0.085), {"T1": 620.0, "T2": 900.0, "FLAIR": 540.0},
                 {"T1": "PSR", "T2": "LPS", "FLAIR": "LPS"}),
    ScannerStyle("B", 0.87, 0.035, (0.08, 0.10), {"T1": 310.0, "T2": 480.0, "FLAIR": 260.0},
                 {"T1": "LAS", "T2": "RAS", "FLAIR": "RAS"}),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Acquisition:
    """Where and how one image is taken.

    Parameters
    ----------
    grid : the image's lattice in scanner mm
    to_subject : (4, 4) scanner mm → the subject's own mm
    slices : thin slices averaged into one along the grid's third axis (1 = none)
    """

    grid: Grid
    to_subject: FloatArray
    slices: int


def draw_means(
    rng: np.random.Generator, sequence: str, style: ScannerStyle
) -> tuple[dict[str, float], FloatArray]:
    """Means of the brain's tissues by name, and of the compartments by code, jittered."""
    tissue = {
        name: float(value**style.power * (1 + JITTER * rng.standard_normal()))
        for name, value in TISSUE_MEANS[sequence].items()
    }
    outside = np.zeros(16, np.float32)
    for code, value in OUTSIDE_MEANS[sequence].items():
        outside[code] = value * (1 + 3 * JITTER * rng.standard_normal())
    outside[OUTER_CSF] = tissue["csf"]
    return tissue, outside


def draw_acquisitions(
    rng: np.random.Generator, anatomy: Anatomy, style: ScannerStyle, spacing_mm: float
) -> dict[str, Acquisition]:
    """T1: isotropic. T2: oblique axial slices, finer in plane, after a small motion of the head.
    FLAIR: in T2's pose, in slices a third thicker."""
    pose = _rigid(rng, POSE_DEGREES * rng.uniform(0.3, 1), POSE_MM * rng.uniform(0.3, 1))
    motion = _rigid(rng, rng.uniform(*MOTION_DEGREES), rng.uniform(*MOTION_MM))
    tilt = Rotation.from_euler("xyz", rng.uniform((-9, -2, -3), (9, 2, 3)), degrees=True)
    spacings = {
        "T1": np.full(3, spacing_mm),
        "T2": np.array([0.8, 0.8, 2.0]) * spacing_mm,
        "FLAIR": np.array([0.9, 0.9, 2.7]) * spacing_mm,
    }
    turns = {"T1": np.eye(3), "T2": tilt.as_matrix(), "FLAIR": tilt.as_matrix()}
    to_scanner = {"T1": pose, "T2": motion @ pose, "FLAIR": motion @ pose}
    head, brain = (
        nib.affines.apply_affine(anatomy.affine, 4 * np.argwhere(part[::4, ::4, ::4]))
        for part in (anatomy.compartments != AIR, anatomy.brain)
    )
    head = head[head[:, 2] > brain[:, 2].min() - BELOW_BRAIN_MM]
    lattice_mm = (1000 * anatomy.voxel_ml) ** (1 / 3)
    found = {}
    for sequence in POSSIBLE_SEQUENCES:
        head_there, brain_there = (
            nib.affines.apply_affine(to_scanner[sequence], part) for part in (head, brain)
        )
        grid = _field_of_view(
            head_there, brain_there, turns[sequence], spacings[sequence], style.axcodes[sequence]
        )
        slices = int(max(1, round(grid.spacing_mm[2] / lattice_mm))) if sequence != "T1" else 1
        found[sequence] = Acquisition(grid, np.linalg.inv(to_scanner[sequence]), slices)
    return found


def sample(values: FloatArray, anatomy: Anatomy, acquisition: Acquisition) -> FloatArray:
    """`values` (x, y, z) of the anatomy's lattice on the acquisition's grid, with partial volume.

    A Gaussian with the variance of the voxel's box stands for partial volume in plane; across
    thick slices, thin ones are averaged.
    """
    grid, n = acquisition.grid, acquisition.slices
    lattice_mm = np.linalg.norm(anatomy.affine[:3, :3], axis=0)
    in_plane_mm = grid.spacing_mm[0]
    sigma = np.sqrt(np.maximum(in_plane_mm**2 - lattice_mm**2, 0) / 12) / lattice_mm
    blurred = ndimage.gaussian_filter(values, sigma, truncate=3)
    thin = nib.affines.from_matvec(np.diag([1, 1, 1 / n]), [0, 0, (1 / n - 1) / 2])
    to_lattice = np.linalg.inv(anatomy.affine) @ acquisition.to_subject @ grid.affine @ thin
    x, y, z = grid.shape
    sampled = ndimage.affine_transform(
        blurred, to_lattice[:3, :3], to_lattice[:3, 3], output_shape=(x, y, z * n), order=1,
        mode="nearest",  # below the lattice the neck goes on; on all other sides there is air
    )  # fmt: skip
    return sampled.reshape(x, y, z, n).mean(3)


def degrade(
    rng: np.random.Generator,
    clean: FloatArray,
    brain: BoolArray,
    grid: Grid,
    style: ScannerStyle,
    sequence: str,
) -> nib.Nifti1Image:
    """Bias field, Rician noise (magnitude of a complex signal), and int16.

    Parameters
    ----------
    clean : (x, y, z) image, 1 = white matter on T1, CSF on T2, grey matter on FLAIR
    brain : (x, y, z) where the bias field's coefficient of variation is set
    """
    extent_mm = np.array(grid.shape) * grid.spacing_mm
    coarse = tuple(int(np.ceil(e / BIAS_LATTICE_MM)) + 1 for e in extent_mm)
    field = enlarge(smooth_noise(rng, coarse, BIAS_LATTICE_MM, BIAS_BLUR_MM), grid.shape)
    inside = field[brain]
    field = np.exp((field - inside.mean()) / inside.std() * rng.uniform(*style.bias_cv))
    sigma = style.noise * (1.0 if sequence == "T1" else 0.5)
    real = clean * field + sigma * rng.standard_normal(clean.shape, np.float32)
    imaginary = sigma * rng.standard_normal(clean.shape, np.float32)
    signal = np.hypot(real, imaginary) * (style.scale[sequence] * np.exp(rng.normal(0, 0.1)))
    image = nib.Nifti1Image(np.rint(signal).astype(np.int16), grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(grid.affine, 1)
    image.set_sform(grid.affine, 1)
    return image


def _rigid(rng: np.random.Generator, degrees: float, shift_mm: float) -> FloatArray:
    """(4, 4) rotation by `degrees` and shift by `shift_mm`, each about a random direction."""
    axis, direction = rng.standard_normal((2, 3))
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis))
    return nib.affines.from_matvec(
        turn.as_matrix(), shift_mm * direction / np.linalg.norm(direction)
    )


def _field_of_view(
    head: FloatArray, brain: FloatArray, turn: FloatArray, spacing_mm: FloatArray, axcodes: str
) -> Grid:
    """The grid with axes `turn` (columns, RAS) around the points of the head, as `axcodes`.

    Downwards it ends a little below the brain.
    """
    along = head @ turn
    low, high = along.min(0) - AROUND_HEAD_MM, along.max(0) + AROUND_HEAD_MM
    low[2] = (brain @ turn)[:, 2].min() - BELOW_BRAIN_MM
    shape = np.ceil((high - low) / spacing_mm).astype(int)
    affine = nib.affines.from_matvec(turn @ np.diag(spacing_mm), turn @ low)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axcodes))
    )
    affine = affine @ nib.orientations.inv_ornt_aff(change, tuple(shape))
    # inv_ornt_aff maps the new axes' indices to the old; the shape is permuted the same way.
    new_shape = np.empty(3, int)
    new_shape[change[:, 0].astype(int)] = shape
    x, y, z = new_shape
    return Grid((int(x), int(y), int(z)), affine)
