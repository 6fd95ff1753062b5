"""Lesions: one tumour-like mass, several small ones in white matter, or an acute stroke.

Contrasts follow what the clinical literature describes in general: gliomas and their oedema are
hypointense on T1 and hyperintense on T2, the (necrotic) core more than the rim; multiple sclerosis
plaques and infarcts are hyperintense on T2, and iso- to hypointense on T1; all are bright on FLAIR,
the fluid in a necrotic core less so. The numbers are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from dal_auto.case import FloatArray
from dal_auto.datasets.simulation.anatomy import Anatomy
from dal_auto.datasets.simulation.deformation import smooth_noise
from dal_auto.datasets.simulation.heads import Head
from dal_auto.errors import InputError

TUMOUR, WHITE_MATTER, STROKE = "tumour", "white matter", "stroke"
TUMOUR_ML, CORE_SHARE = (10.0, 60.0), (0.25, 0.5)
SMALL_ML, SMALL_COUNT = (0.1, 5.0), (4, 11)


@dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion on the brain's box of an anatomy.

    Parameters
    ----------
    kind : TUMOUR, WHITE_MATTER or STROKE
    core, rim : arrays over the box, share of each voxel, core + rim ≤ 1; only tumours have a core
    """

    kind: str
    core: FloatArray
    rim: FloatArray


@dataclass(frozen=True)
class LesionContrast:
    """How a lesion changes an image.

    Parameters
    ----------
    core, rim : factors on the tissue (T1), or what the tissue moves towards (T2, FLAIR)
    towards : how far it moves, 0 to 1; 0 where the numbers are factors
    """

    core: float
    rim: float
    towards: float


def contrast(rng: np.random.Generator, kind: str, sequence: str, csf: float) -> LesionContrast:
    """Draw a contrast; `csf` is the intensity of CSF in the image."""
    if sequence == "T1":
        rim = rng.uniform(0.75, 0.86) if kind == TUMOUR else rng.uniform(0.75, 0.95)
        return LesionContrast(rng.uniform(0.5, 0.65), rim, 0.0)
    if sequence == "FLAIR":  # grey matter is 1
        return LesionContrast(rng.uniform(0.9, 1.3), rng.uniform(1.3, 1.6), rng.uniform(0.8, 0.95))
    rim = rng.uniform(0.75, 0.85) if kind == TUMOUR else rng.uniform(0.72, 0.85)
    return LesionContrast(csf * rng.uniform(0.84, 0.95), csf * rim, rng.uniform(0.8, 0.95))


def paint_lesion(
    image: FloatArray, anatomy: Anatomy, lesion: Lesion, contrast: LesionContrast
) -> None:
    """Change `image` (x, y, z) in place."""
    tissue = image[anatomy.box]
    for share, value in ((lesion.core, contrast.core), (lesion.rim, contrast.rim)):
        goal = (
            tissue + contrast.towards * np.maximum(value - tissue, 0)
            if contrast.towards
            else tissue * value
        )
        tissue = tissue + share * (goal - tissue)
    image[anatomy.box] = tissue


def draw_tumour(rng: np.random.Generator, anatomy: Anatomy) -> Lesion:
    """One mass of 10 to 60 ml: a warped ball around a place in white matter, with a core."""
    tissue = anatomy.gm + anatomy.wm
    spacing_mm = (1000 * anatomy.voxel_ml) ** (1 / 3)
    volume_ml = float(np.exp(rng.uniform(*np.log(TUMOUR_ML))))
    radius_mm = (volume_ml * 1000 * 0.75 / np.pi) ** (1 / 3)
    field = _ball(rng, anatomy, radius_mm, roughness=0.3)
    whole = _largest_values(field, tissue, volume_ml / anatomy.voxel_ml, radius_mm, spacing_mm)
    share = rng.uniform(*CORE_SHARE)
    core_ml = share * volume_ml
    core = _largest_values(field, tissue, core_ml / anatomy.voxel_ml, radius_mm, spacing_mm)
    return Lesion(TUMOUR, core, np.maximum(whole - core, 0))


def draw_small_lesions(rng: np.random.Generator, anatomy: Anatomy) -> Lesion:
    """Several lesions of 0.1 to 5 ml in white matter."""
    spacing_mm = (1000 * anatomy.voxel_ml) ** (1 / 3)
    rim = np.zeros_like(anatomy.wm)
    for _ in range(rng.integers(*SMALL_COUNT)):
        volume_ml = float(np.exp(rng.uniform(*np.log(SMALL_ML))))
        radius_mm = (volume_ml * 1000 * 0.75 / np.pi) ** (1 / 3)
        field = _ball(rng, anatomy, radius_mm, roughness=0.35)
        count = volume_ml / anatomy.voxel_ml
        rim = np.maximum(rim, _largest_values(field, anatomy.wm, count, radius_mm, spacing_mm))
    return Lesion(WHITE_MATTER, np.zeros_like(rim), rim)


def lesions_from_mask(path: Path, kind: str, head: Head, anatomy: Anatomy) -> Lesion:
    """Lesions of a binary mask in MNI space, brought through the subject's own deformation.

    Parameters
    ----------
    kind : WHITE_MATTER or STROKE

    Raises
    ------
    InputError
        when no part of the mask falls into brain tissue
    """
    image = nib.squeeze_image(nib.load(path))
    mask = np.asarray(image.dataobj, np.float32) > 0
    to_mask = np.linalg.inv(image.affine) @ head.to_mni @ head.affine
    place = np.tensordot(to_mask[:3, :3].astype(np.float32), anatomy.source_voxel, 1)
    place += to_mask[:3, 3].astype(np.float32).reshape(3, 1, 1, 1)
    share = ndimage.map_coordinates(mask.astype(np.float32), place, order=1)
    rim = share * (anatomy.gm + anatomy.wm)
    if not (rim > 0.5).any():
        raise InputError(
            path, "no lesion of this mask lies in the brain", "Name masks in MNI space (1 mm)."
        )
    return Lesion(kind, np.zeros_like(rim), rim)


def _ball(
    rng: np.random.Generator, anatomy: Anatomy, radius_mm: float, roughness: float
) -> FloatArray:
    """1 at a place drawn in white matter, falling to 0 at about `radius_mm`, with a rough edge."""
    inner = ndimage.uniform_filter(anatomy.wm, 5)[::2, ::2, ::2] > 0.7
    places = np.argwhere(inner) * 2
    center = places[rng.integers(len(places))]
    spacing_mm = (1000 * anatomy.voxel_ml) ** (1 / 3)
    stretch = np.exp(rng.normal(0, 0.15, 3))
    reach = int(np.ceil(1.9 * radius_mm / spacing_mm))
    around = tuple(
        slice(max(int(c) - reach, 0), min(int(c) + reach + 1, n))
        for c, n in zip(center, anatomy.wm.shape, strict=True)
    )
    grids = np.ogrid[around]
    squares = [
        ((g - c) * spacing_mm * s / radius_mm) ** 2
        for g, c, s in zip(grids, center, stretch, strict=True)
    ]
    local = 1 - np.sqrt(squares[0] + squares[1] + squares[2])
    local = local + roughness * smooth_noise(rng, local.shape, spacing_mm, radius_mm * 0.4)
    field = np.full(anatomy.wm.shape, -10, np.float32)
    field[around] = local
    return field


def _largest_values(
    field: FloatArray, tissue: FloatArray, count: float, radius_mm: float, spacing_mm: float
) -> FloatArray:
    """Share per voxel of the `count` voxels of `tissue` with the largest `field`, edge of 1 mm."""
    inside = field[(tissue > 0.5) & (field > -9)]
    rank = min(int(count) + 1, len(inside))
    cut = float(np.partition(inside, -rank)[-rank])
    softness = max(spacing_mm, 1.0) / radius_mm
    return np.clip(0.5 + (field - cut) / softness, 0, 1).astype(np.float32) * tissue
