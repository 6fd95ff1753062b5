"""RawCase → StandardCase: the one chain, for training, evaluation and prediction alike.

The brain mask is estimated first, since the registration wants it; each image is interpolated
once, through the composed matrices. N4 comes after, where the atlas tells which tissue is healthy;
a field is smooth, so that to the images it is the paper's order: N4, rigid to SRI24, skull strip,
crop. Histogram matching waits until a case is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from dal_auto.case import BoolArray, FloatArray, Geometry, Grid, RawCase, StandardCase
from dal_auto.errors import CaseFailed, MissingDependency
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.bias_correction import correct_bias_fields
from dal_auto.preprocessing.brain_mask import FOREGROUND
from dal_auto.preprocessing.coregistration import coregister
from dal_auto.preprocessing.coverage import LEAST_SHOWN, coverage, in_words, parts_shown
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.preprocessing.lesions import move_lesion_mask
from dal_auto.preprocessing.native import Job, read_native
from dal_auto.preprocessing.placement import place
from dal_auto.preprocessing.quality.figures import quality_figures
from dal_auto.preprocessing.quality.measures import atlas_on_grid
from dal_auto.preprocessing.registration.backends import backend_settings
from dal_auto.preprocessing.resampling import resample, resample_mask
from dal_auto.preprocessing.skull_strip.estimate import planned_tools
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.workers.progress import Stopwatch
from dal_auto.workers.threads import begun, side_by_side

#: A stored image is divided by this percentile of its brain: raw units overflow float16.
_SCALE_PERCENTILE = 99.9


def tool_versions(steps: CaseSteps, plan: PreprocessingPlan) -> tuple[str, ...]:
    """The steps that a case may go through, in order, each with the tools and their versions.

    Which of several skull strippers made the mask is known afterwards: `StandardCase.steps` says.

    Raises
    ------
    MissingDependency
        if a tool that the plans name is not installed, or its weights are absent.
    """
    if not steps.may_strip:
        return _steps_after_the_mask(steps, plan)
    tools = ", else ".join(_tools(steps, plan))
    return (f"brain mask: {tools}", *_steps_after_the_mask(steps, plan))


def _tools(steps: CaseSteps, plan: PreprocessingPlan) -> list[str]:
    if steps.strip:
        return list(planned_tools(plan)[0].values())
    try:
        tools = list(planned_tools(plan)[0].values())
    except MissingDependency:  # the case can do without, if its mask is not doubtful
        tools = [f"{plan.skull_strip} is not installed"]
    return [FOREGROUND, *tools]


def _steps_after_the_mask(steps: CaseSteps, plan: PreprocessingPlan) -> tuple[str, ...]:
    done = []
    if steps.coregister:
        done.append(f"rigid between sequences: {backend_settings(plan)}")
    if steps.register_to_atlas:
        done.append(f"{plan.atlas_transform} to {plan.atlas}: {backend_settings(plan)}")
    done.append("one linear resampling, brain mask applied, centre crop/pad")
    if steps.bias_correct:
        done.append(f"N4: SimpleITK {sitk.Version.VersionString()}, at {plan.n4_spacing_mm:g} mm")
    return tuple(done)


def standardise(
    case: RawCase,
    steps: CaseSteps,
    plan: PreprocessingPlan,
    atlas: Atlas,
    *,
    threads: int,
    watch: Stopwatch,
    at_once: int = 1,
) -> StandardCase:
    """Run the chain on one case.

    Parameters
    ----------
    threads : that each step may use
    at_once : so many sequences may be worked on side by side; the result does not depend on it

    Raises
    ------
    InputError
        for a bad file, or a mask on a grid of its own; before anything expensive.
    CaseFailed
        if no brain is found, or it leaves the grid.
    """
    job = Job(steps, plan, atlas, threads, watch, at_once)
    with watch.step("read"):
        native = read_native(case, steps)
    with watch.step("rigid between sequences"):
        registered = begun(lambda: coregister(native, job), aside=at_once > 1)
    placed, mask_steps, figures = place(native, lambda: registered().matrices, job)
    with watch.step("rigid between sequences"):
        laid = registered()

    with watch.step("resample"):
        target = centre_crop_or_pad(atlas.grid, plan.target_shape)
        atlas_to_native: dict[str, FloatArray] = {
            name: to_image @ placed.atlas_to_reference for name, to_image in laid.matrices.items()
        }
        grid = native.grids[native.reference]
        brain = resample_mask(placed.mask, grid, target, placed.atlas_to_reference)
        if not brain.any():
            raise CaseFailed(case.case_id, "registration", "the brain left the standard grid")
        moved_images = side_by_side(
            lambda name: _standard_image(
                native.images[name], native.grids[name], target, atlas_to_native[name], brain
            ),
            native.images,
            at_once,
        )
        standard = dict(zip(native.images, moved_images, strict=True))
        shown = parts_shown(native, standard, target, atlas_to_native, brain)
        inside = {name: shown.get(name, brain) for name in standard}
        _check_contrast(case, standard, inside, brain)
        figures |= coverage(native, target, atlas_to_native, inside, brain, atlas)
        lesion = None
        if native.lesion is not None:
            name = native.lesion.sequence
            lesion, moved = move_lesion_mask(
                native.lesion.mask, native.grids[name], target, atlas_to_native[name], brain
            )
            figures |= moved
    template = atlas_on_grid(atlas, plan.target_shape)
    with watch.step("N4"):
        even = correct_bias_fields(
            standard, inside, target, template,
            plan=plan, threads=threads, at_once=at_once, wanted=steps.bias_correct,
        )  # fmt: skip
        standard = dict(even.images)
    with watch.step("percentiles and quality"):
        scale = {
            name: float(np.percentile(image[inside[name]], _SCALE_PERCENTILE)) or 1.0
            for name, image in standard.items()
        }
        # Rounded as it is stored, so that percentiles and voxels belong together.
        scaled = {
            name: (image / scale[name]).astype(np.float16).astype(np.float32)
            for name, image in standard.items()
        }
        to_native = atlas_to_native[native.reference]
        figures |= quality_figures(
            scaled, brain, placed.fit.volume_ml, atlas, inside,
            native_scale=abs(float(np.linalg.det(to_native[:3, :3]))),
        )  # fmt: skip
        figures["unlike_atlas_share"] = round(float(even.unlike.sum() / brain.sum()), 4)
        typical = dict(inside)
        if plan.percentiles_of == "like the atlas":
            typical = {name: part & ~even.unlike for name, part in inside.items()}
    return StandardCase(
        dataset=case.dataset,
        case_id=case.case_id,
        patient_id=case.patient_id,
        sequences=tuple(scaled),
        images=np.stack(list(scaled.values())),
        brain_mask=brain,
        lesion_mask=lesion,
        geometry=Geometry(
            native.homes,
            {name: native.to_home[name] @ matrix for name, matrix in atlas_to_native.items()},
        ),
        scale=scale,
        percentiles={
            name: brain_percentiles(image, typical[name], plan.percentiles)
            for name, image in scaled.items()
        },
        quality=figures,
        steps=(
            *mask_steps,
            *_steps_after_the_mask(steps, plan),
            *laid.exceptions,
            *even.done,
            *in_words(shown, brain),
        ),
        shown=shown,
    )


def _standard_image(
    image: FloatArray, grid: Grid, target: Grid, target_to_image: FloatArray, brain: BoolArray
) -> FloatArray:
    """An image on the target grid, not negative, and 0 outside the brain."""
    moved = resample(image, grid, target, target_to_image)
    return np.where(brain, np.maximum(moved, 0), np.float32(0))


def _check_contrast(
    case: RawCase,
    images: Mapping[str, FloatArray],
    brains: Mapping[str, BoolArray],
    brain: BoolArray,
) -> None:
    """Refuse what no landmarks can be learned from: no numbers, or too few voxels."""
    for name, image in images.items():
        inside, image_file = image[brains[name]], case.sequences[name]
        if inside.size < LEAST_SHOWN * brain.sum():
            part = f"{inside.size / brain.sum():.1%}" if inside.size else "no part"
            cause = (
                f"{name} shows {part} of the brain ({image_file}); its intensities cannot be "
                f"matched by that. If the other sequences suffice, leave {name} out"
            )
            raise CaseFailed(case.case_id, "resample", cause)
        if not np.isfinite(inside).all():
            cause = f"{name} is not finite inside the brain ({image_file})"
            raise CaseFailed(case.case_id, "resample", cause)
        if np.ptp(inside) == 0:
            cause = f"{name} is {inside[0]:g} everywhere inside the brain ({image_file})"
            raise CaseFailed(case.case_id, "resample", cause)
