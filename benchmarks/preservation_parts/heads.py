"""Simulated heads whose field, lesion and healthy image are known, on a grid of 2 mm.

The cohort's simulator draws the anatomy. Painting, lesions and field are set here, since the
measure wants each of them by itself: the same head healthy and ill, with and without the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.datasets.simulation.acquisition import TISSUE_MEANS
from dal_auto.datasets.simulation.anatomy import Anatomy, build_anatomy, paint
from dal_auto.datasets.simulation.compartments import BRAIN
from dal_auto.datasets.simulation.deformation import enlarge, smooth_noise
from dal_auto.datasets.simulation.heads import load_head
from dal_auto.datasets.simulation.lesions import STROKE, lesions_from_mask
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.registration.backends import register
from dal_auto.preprocessing.resampling import resample

SEQUENCES = ("T1", "T2", "FLAIR")
#: FLAIR in round numbers: fluid is dark, grey above white matter.
MEANS = {**TISSUE_MEANS, "FLAIR": {"csf": 0.15, "gm": 0.75, "deep": 0.68, "wm": 0.60}}
#: Per sequence the intensity that a lesion moves towards, of its core and of its rim, as multiples
#: of white matter; most of the way, so that the tissue beneath shows a little.
LESION_LEVELS = {"T1": (0.52, 0.74), "T2": (2.2, 1.95), "FLAIR": (1.35, 1.65)}
TOWARDS = 0.9
#: Share of a tumour that is core.
CORE = 0.35
#: White-matter lesions lie apart by more than this, so that each is a component of its own.
APART_VOXELS = 3
NOISE = 0.02
FIELD_BLUR_MM, FIELD_LATTICE_MM = 45.0, 10.0


@dataclass(frozen=True)
class LesionKind:
    """What is to be drawn: balls of `volumes_ml`, deep or at the brain's "rim", or a mask.

    Those of `white_matter` lie in it, apart from each other, and have no core.
    """

    name: str
    volumes_ml: tuple[float, ...] = ()
    mask: Path | None = None
    white_matter: bool = False


@dataclass(frozen=True, eq=False)
class Scan:
    """One image of a head, and what is known of it.

    Parameters
    ----------
    head, kind, sequence : which
    image : (x, y, z) with field and noise
    twin : the same without the lesion
    clean, healthy : the same without either; and without the lesion
    field : what `clean` was multiplied by, mean 1 inside the brain
    lesion, brain : masks; `lesion` is empty in a healthy head
    atlas_to_scan : (4, 4) mm → mm
    """

    head: str
    kind: str
    sequence: str
    image: FloatArray
    twin: FloatArray
    clean: FloatArray
    healthy: FloatArray
    field: FloatArray
    lesion: BoolArray
    brain: BoolArray
    grid: Grid
    atlas_to_scan: FloatArray

    @property
    def lesion_ml(self) -> float:
        """Volume of the lesion in millilitres."""
        return float(self.lesion.sum()) * self.grid.voxel_ml


class SimulatedHead:
    """One anatomy, from which scans with one lesion or none are taken."""

    def __init__(self, source: str, seed: int) -> None:
        self.name = Path(source).name.removesuffix(".nii.gz")
        self.seed = seed
        self.source = load_head(source)
        self.anatomy: Anatomy = build_anatomy(self.source, np.random.default_rng([seed, 1]), 2)
        x, y, z = self.anatomy.compartments.shape
        self.grid = Grid((x, y, z), self.anatomy.affine)
        self.brain = self.anatomy.brain

    @cached_property
    def atlas_to_scan(self) -> FloatArray:
        """Found once, on the healthy T1 without field: the registration is not what is measured."""
        atlas = load_atlas()
        # Every second voxel of the atlas: as fine as the head's own grid, at an eighth of the time.
        x, y, z = (n // 2 for n in atlas.grid.shape)
        coarse = Grid((x, y, z), atlas.grid.affine @ np.diag([2, 2, 2, 1]))
        image = resample(atlas.image, atlas.grid, coarse, np.eye(4))
        healthy = np.where(self.brain, self._painted("T1"), 0)
        return register(
            image, coarse, healthy, self.grid,
            plan=PreprocessingPlan(), transform="rigid", threads=1,
        )  # fmt: skip

    def _painted(self, sequence: str) -> FloatArray:
        means = MEANS[sequence]
        outside = np.full(16, 0.0, np.float32)
        outside[BRAIN] = means["wm"]
        return paint(self.anatomy, means, outside)

    def scans(self, kinds: Sequence[LesionKind], fields: Sequence[float]) -> Iterator[Scan]:
        """Scans of every kind of lesion in every sequence, with a field of its own each.

        Parameters
        ----------
        fields : coefficients of variation inside the brain, taken in turn; 0 is no field
        """
        for number, kind in enumerate(kinds):
            rng = np.random.default_rng([self.seed, 2, number])
            core, rim = self._lesion(kind, rng)
            for order, sequence in enumerate(SEQUENCES):
                spread = fields[(number + order) % len(fields)]
                yield self._scan(kind, sequence, core, rim, spread, rng)

    def _scan(
        self,
        kind: LesionKind,
        sequence: str,
        core: FloatArray,
        rim: FloatArray,
        spread: float,
        rng: np.random.Generator,
    ) -> Scan:
        healthy = self._painted(sequence)
        white = MEANS[sequence]["wm"]
        clean = healthy.copy()
        for share, level in zip((core, rim), LESION_LEVELS[sequence], strict=True):
            # As a factor on T1 and a level on the others, fluid included.
            goal = healthy * level if sequence == "T1" else np.full_like(healthy, level * white)
            clean += TOWARDS * share * (goal - healthy)
        field = draw_field(rng, self.brain, self.grid, spread)
        noise = NOISE * white * rng.standard_normal((2, *self.grid.shape), np.float32)
        image, twin = (np.hypot(part * field + noise[0], noise[1]) for part in (clean, healthy))
        return Scan(
            self.name, kind.name, sequence, image, twin, clean, healthy, field,
            core + rim >= 0.5, self.brain, self.grid, self.atlas_to_scan,
        )  # fmt: skip

    def _lesion(self, kind: LesionKind, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Shares of core and rim on the whole grid."""
        core, rim = np.zeros((2, *self.grid.shape), np.float32)
        if kind.mask is not None:
            found = lesions_from_mask(kind.mask, STROKE, self.source, self.anatomy)
            rim[self.anatomy.box] = found.rim
        taken = np.zeros(self.grid.shape, bool)
        for volume_ml in kind.volumes_ml:
            parts = self._ball(kind, volume_ml, taken, rng)
            core, rim = core + parts[0], rim + parts[1]
            taken |= ndimage.binary_dilation(parts[0] + parts[1] > 0, iterations=APART_VOXELS)
        return core, rim

    def _ball(
        self, kind: LesionKind, volume_ml: float, taken: BoolArray, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """The brain's voxels nearest to a place, by a distance with a rough edge."""
        distance_mm = ndimage.distance_transform_edt(self.brain, sampling=self.grid.spacing_mm)
        radius_mm = (volume_ml * 1000 * 0.75 / np.pi) ** (1 / 3)
        white = np.zeros(self.grid.shape, np.float32)
        white[self.anatomy.box] = self.anatomy.wm
        allowed = self.brain & ~taken & ((white > 0.5) | (not kind.white_matter))
        if "rim" in kind.name:
            # Only the convexity: a tumour that touches the skull base is another matter.
            height = np.arange(self.grid.shape[2]) > np.argwhere(self.brain)[:, 2].mean()
            places = np.argwhere((distance_mm > 0) & (distance_mm < 4) & height)
        else:
            places = np.argwhere((white > 0.9) & ~taken & (distance_mm > min(radius_mm, 25)))
        centre = places[rng.integers(len(places))]
        index = np.ogrid[tuple(slice(n) for n in self.grid.shape)]
        parts = zip(index, centre, self.grid.spacing_mm, strict=True)
        squared = sum(((i - c) * mm) ** 2 for i, c, mm in parts)
        rough = smooth_noise(rng, self.grid.shape, self.grid.spacing_mm[0], radius_mm / 2)
        place = np.where(allowed, np.sqrt(squared) + 0.25 * radius_mm * rough, np.inf)
        core_share = 0.0 if kind.white_matter else CORE
        counts = [int(s * volume_ml / self.grid.voxel_ml) for s in (core_share, 1)]
        cuts = np.partition(place.ravel(), counts)[counts]
        core, whole = ((place < cut).astype(np.float32) for cut in cuts)
        return core, whole - core


def draw_field(rng: np.random.Generator, brain: BoolArray, grid: Grid, spread: float) -> FloatArray:
    """A smooth field as the simulator's scanners have it, mean 1 inside the brain."""
    extent_mm = np.array(grid.shape) * grid.spacing_mm
    coarse = tuple(int(np.ceil(mm / FIELD_LATTICE_MM)) + 1 for mm in extent_mm)
    log = enlarge(smooth_noise(rng, coarse, FIELD_LATTICE_MM, FIELD_BLUR_MM), grid.shape)
    inside = log[brain]
    field = np.exp((log - inside.mean()) / inside.std() * spread)
    return (field / field[brain].mean()).astype(np.float32)
