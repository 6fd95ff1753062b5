"""Errors against what is known: rigid movements, bias field, brain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.images import read_image, write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.registration.backends import register
from dal_auto.preprocessing.resampling import resample, resample_mask
from dal_auto.volumes import largest_component
from preprocessing_parts.cases import Case
from preprocessing_parts.heads import (
    DEGREES,
    POINTS,
    SHIFT_MM,
    Subject,
    TrueImage,
    displacement_mm,
    draw_pose,
    move_scan,
    true_map,
)
from preprocessing_parts.seconds import WHOLE, run_ours

#: Blur under which image and truth are compared: noise averages out, a bias field does not.
_BLUR_MM = 6.0


def known_transform(
    sequence: str,
    subject: Subject,
    case: Case,
    rng: np.random.Generator,
    plan: PreprocessingPlan,
    threads: int,
) -> float:
    """Error in mm of `sequence` → T1, after the head was moved and imaged again."""
    fixed = case.true["T1"]
    pose = draw_pose(rng, DEGREES, SHIFT_MM) @ np.linalg.inv(fixed.to_subject)
    moving = subject.acquire(sequence, pose, rng)
    found = register(fixed.image, fixed.grid, moving.image, moving.grid, plan=plan, threads=threads)
    return displacement_mm(found, true_map(fixed, moving), case.points_mm)


def real_transform(
    case: Case, rng: np.random.Generator, plan: PreprocessingPlan, threads: int
) -> float:
    """Error in mm, T1 → T1, of a real scan that was moved; optimistic, since its own noise moves
    along."""
    image, grid = read_image(case.files["T1"])
    centre = nib.affines.from_matvec(
        np.eye(3), nib.affines.apply_affine(grid.affine, (np.array(grid.shape) - 1) / 2)
    )
    # Turned about the scan's centre, not about the world's origin.
    pose = centre @ draw_pose(rng, DEGREES, SHIFT_MM) @ np.linalg.inv(centre)
    moving, moving_grid = move_scan(case.files["T1"], pose, rng)
    head = np.argwhere(largest_component(image > 0.1 * np.percentile(image, 99)))
    points = nib.affines.apply_affine(grid.affine, rng.choice(head, POINTS))
    found = register(image, grid, moving, moving_grid, plan=plan, threads=threads)
    return displacement_mm(found, pose, points)


def atlas_retest(
    subject: Subject,
    case: Case,
    to_native: FloatArray,
    folder: Path,
    plan: PreprocessingPlan,
    threads: int,
) -> float:
    """T1 → atlas has no truth, but two scans of one head must agree: mm between the known movement
    and the way over the atlas, through the whole chain each time (so the error of two).

    Parameters
    ----------
    to_native : (4, 4), atlas mm → scanner mm, found for the case
    """
    rng = np.random.default_rng(7)
    fixed = case.true["T1"]
    pose = draw_pose(rng, DEGREES, SHIFT_MM) @ np.linalg.inv(fixed.to_subject)
    again = subject.acquire("T1", pose, rng)
    path = folder / f"{case.name}-again_T1.nii.gz"
    write_image(path, again.image, again.grid)
    second = Case(f"{case.name}-again", {"T1": path})
    _, result = run_ours(second, WHOLE, plan, folder / "ours", threads)
    over_atlas = result.geometry.atlas_to_native["T1"] @ np.linalg.inv(to_native)
    return displacement_mm(over_atlas, true_map(fixed, again), case.points_mm)


def residual_bias(image: FloatArray, true: TrueImage, grid: Grid, to_native: FloatArray) -> float:
    """Coefficient of variation, over the true brain, of what still multiplies the clean image.

    The clean image is brought to the standard grid by the result's own matrix, so that an error of
    the registration is not counted here. Blurred alike, the two differ by the field alone.

    Parameters
    ----------
    image : (x, y, z) on `grid`, 0 outside its brain mask
    """
    clean = resample(true.clean, true.grid, grid, to_native)
    inside = resample_mask(true.brain, true.grid, grid, to_native) & (image > 0)
    inside = ndimage.binary_erosion(inside, iterations=2)
    above, below = (
        ndimage.gaussian_filter(np.where(inside, part, 0).astype(np.float64), _BLUR_MM)[inside]
        for part in (image, clean)
    )
    left = above / below
    return float(left.std() / left.mean())


def dice(brain: BoolArray, true: TrueImage, grid: Grid, to_native: FloatArray) -> float:
    """Overlap with the true brain; the CSF around it counts on neither side."""
    expected = resample_mask(true.brain, true.grid, grid, to_native)
    aside = resample_mask(true.outer_csf, true.grid, grid, to_native)
    found, expected = brain & ~aside, expected & ~aside
    return 2 * float((found & expected).sum()) / float(found.sum() + expected.sum())


@dataclass
class Accuracy:
    """All that was measured, by side where there are two ("ours", "plain", "before")."""

    t1_mm: list[float] = field(default_factory=list)
    t1_real_mm: list[float] = field(default_factory=list)
    t2_mm: list[float] = field(default_factory=list)
    retest_mm: list[float] = field(default_factory=list)
    t2_chain_mm: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bias: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    dice: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(
        self,
        side: str,
        case: Case,
        images: dict[str, FloatArray],
        brain: BoolArray,
        to_native: dict[str, FloatArray],
    ) -> str:
        """Measure one side's result of a simulated case; returns it in words.

        Parameters
        ----------
        images, brain : (x, y, z), on the standard grid
        to_native : sequence → (4, 4), atlas mm → scanner mm
        """
        x, y, z = brain.shape
        grid = centre_crop_or_pad(load_atlas().grid, (x, y, z))
        error = displacement_mm(
            to_native["T2"] @ np.linalg.inv(to_native["T1"]),
            true_map(case.true["T1"], case.true["T2"]),
            case.points_mm,
        )
        overlap = dice(brain, case.true["T1"], grid, to_native["T1"])
        left, before = {}, {}
        for name, image in images.items():
            true, matrix = case.true[name], to_native[name]
            left[name] = residual_bias(image, true, grid, matrix)
            raw = np.where(brain, resample(true.image, true.grid, grid, matrix), 0)
            before[name] = residual_bias(raw, true, grid, matrix)
        self.t2_chain_mm[side].append(error)
        self.dice[side].append(overlap)
        self.bias[side] += left.values()
        if side == "ours":
            self.bias["before"] += before.values()
        fields = ", ".join(f"{name} {before[name]:.4f} to {left[name]:.4f}" for name in images)
        return f"T2 → T1 off by {error:.3f} mm, brain Dice {overlap:.4f}, field CV {fields}"
