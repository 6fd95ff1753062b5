"""A case laid on the atlas by the first brain mask that may be a brain's.

The registration wants a mask, and whether a mask is sound shows after the registration. So it runs
with one mask after the other until one is: almost always once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dal_auto.case import BoolArray, FloatArray
from dal_auto.errors import CaseFailed
from dal_auto.preprocessing.brain_mask import BrainMask, MaskFit, candidate_masks, fit_to_atlas
from dal_auto.preprocessing.native import Job, NativeCase
from dal_auto.preprocessing.registration.backends import RegistrationError
from dal_auto.preprocessing.skull_strip.estimate import planned_tools
from dal_auto.volumes import box_around, whole

logger = logging.getLogger(__name__)

#: Around the brain, of the image that is registered: what smoothing and sampling want to see.
_MARGIN_VOXELS = 10


@dataclass(frozen=True, eq=False)
class Placement:
    """A case laid on the atlas.

    Parameters
    ----------
    mask : (x, y, z) the brain on the reference image's grid
    atlas_to_reference : (4, 4), atlas mm → mm in the reference image's world
    fit : how the mask compares with the atlas's brain
    """

    mask: BoolArray
    atlas_to_reference: FloatArray
    fit: MaskFit


@dataclass(frozen=True, eq=False)
class _Try:
    """A mask, and what came of it; without `placement` where it was empty."""

    brain: BrainMask
    placement: Placement | None
    doubts: Sequence[str]

    @property
    def rank(self) -> tuple[bool, float]:
        """Sound masks before doubtful ones, then by overlap with the atlas's brain."""
        return not self.doubts, self.placement.fit.dice if self.placement else -1.0

    def __str__(self) -> str:
        return f"{self.brain.origin} ({', '.join(self.doubts)})"


def place(
    native: NativeCase, reference_to: Callable[[], Mapping[str, FloatArray]], job: Job
) -> tuple[Placement, tuple[str, ...], dict[str, float]]:
    """Lay the case on the atlas.

    Of masks that are all doubtful the one that overlaps most with the atlas's brain is taken.

    Parameters
    ----------
    reference_to : gives, or waits for, what `coregister` returns

    Returns
    -------
    the case, laid
    what was done for its mask, in words: also which masks were rejected, and why
    figures: ``mask_beyond_ml`` and ``mask_missing_ml`` (see `MaskFit`), ``masks_rejected``, and
    1 or 0 for ``mask_doubtful`` and ``mask_without_t1``

    Raises
    ------
    CaseFailed
        if no brain is found.
    """
    tries: list[_Try] = []
    for brain in candidate_masks(native, reference_to, job):
        if brain.mask.any():
            placement = _place_by(brain.mask, native, job)
            tries.append(_Try(brain, placement, placement.fit.doubts(job.plan)))
        else:
            tries.append(_Try(brain, None, ["no brain was found"]))
        if not tries[-1].doubts:
            break
        logger.warning("%s: brain mask by %s", native.case_id, tries[-1])
    chosen = max(tries, key=lambda one: one.rank)
    if chosen.placement is None:
        tools = ", ".join(one.brain.origin for one in tries)
        cause = f"no brain was found in {native.reference} ({tools})"
        raise CaseFailed(native.case_id, "brain mask", cause)
    fit = chosen.placement.fit
    figures = {
        "mask_beyond_ml": round(fit.beyond_ml, 1),
        "mask_missing_ml": round(fit.missing_ml, 1),
        "masks_rejected": len(tries) - 1.0,
        "mask_doubtful": float(bool(chosen.doubts)),
        "mask_without_t1": float(job.steps.may_strip and native.reference != "T1"),
    }
    return chosen.placement, _steps_taken(tries, chosen, job), figures


def _place_by(mask: BoolArray, native: NativeCase, job: Job) -> Placement:
    """By the first way to the atlas that leaves no doubts, else by the one that overlaps most."""
    grid, tried = native.grids[native.reference], []
    for way in _ways_to_the_atlas(mask, native, job):
        fit = fit_to_atlas(mask, grid, job.atlas, way, job.plan.mask_reach_mm)
        tried.append(Placement(mask, way, fit))
        if not fit.doubts(job.plan):
            break
    return max(tried, key=lambda one: one.fit.dice)


def _ways_to_the_atlas(mask: BoolArray, native: NativeCase, job: Job) -> Iterator[FloatArray]:
    """(4, 4), atlas mm → mm in the reference image's world; one, and others if it is no good.

    A registration starts from the middle of the field of view. Where that is far from the brain, as
    in an image of head and neck, it may not find there; so the next starts from the brain's box.
    """
    if not job.steps.register_to_atlas:
        yield np.eye(4)
        return
    atlas, plan, grid = job.atlas, job.plan, native.grids[native.reference]
    masked = np.where(mask, native.images[native.reference], 0)
    everything = whole(mask.shape)
    own = box_around(mask, _MARGIN_VOXELS) or everything
    for box in (everything, own) if own != everything else (everything,):
        try:
            with job.watch.step(f"{plan.atlas_transform} to {plan.atlas}"):
                way = job.register(
                    atlas.image, atlas.grid, masked[box], grid.part(box), plan.atlas_transform
                )
        except RegistrationError as error:
            if box is everything:
                raise
            logger.debug("%s: %s", native.case_id, error)
            return
        yield way


def _steps_taken(tries: Sequence[_Try], chosen: _Try, job: Job) -> tuple[str, ...]:
    """What was done for the mask, in words."""
    lines = [f"brain mask rejected: {one}" for one in tries if one is not chosen]
    if job.steps.strip and tries[-1].doubts:
        lines += [
            f"brain mask: {tool} is not installed, passed over"
            for tool in planned_tools(job.plan)[1]
        ]
    if not chosen.doubts:
        return (*lines, f"brain mask: {chosen.brain.origin}")
    how = "the best of them by overlap with the atlas's brain, " if lines else ""
    return (*lines, f"brain mask: {how}doubtful: {chosen}")
