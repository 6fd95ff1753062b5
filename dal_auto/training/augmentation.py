"""Variations of training cases, by batchgenerators; all of a subject's sequences alike in space.

Random numbers are a function of (seed, step, place in the step): a resumed run draws the same.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
from batchgenerators.augmentations.color_augmentations import augment_contrast, augment_gamma
from batchgenerators.augmentations.noise_augmentations import augment_gaussian_noise
from batchgenerators.augmentations.spatial_transformations import augment_spatial

from dal_auto.plans import AugmentationPlan


def is_on(plan: AugmentationPlan) -> bool:
    """Whether anything is varied."""
    return plan != AugmentationPlan()


def augmented(
    images: np.ndarray, brain_mask: np.ndarray, plan: AugmentationPlan, seed: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """One subject, varied: the arguments stay as they are.

    Parameters
    ----------
    images : (sequence, x, y, z) float32 in [0, 1]
    brain_mask : (1, x, y, z) float32, 0 or 1
    seed : whole numbers ≥ 0 that decide what is drawn

    Returns
    -------
    images and brain mask as above, 0 outside the varied mask
    """
    with _global_draws_from(seed):
        if np.random.uniform() < plan.mirror:  # left and right: x, as everywhere
            images, brain_mask = images[:, ::-1], brain_mask[:, ::-1]
        images, brain_mask = np.array(images), np.array(brain_mask)
        if plan.rotation_degrees or plan.scaling:
            images, brain_mask = _turned_and_scaled(images, brain_mask, plan)
        if plan.gamma:
            augment_gamma(images, (1 / (1 + plan.gamma), 1 + plan.gamma), per_channel=True)
        if plan.contrast:
            augment_contrast(images, (1 - plan.contrast, 1 + plan.contrast))
        if plan.noise:
            variance = (0.0, plan.noise)  # batchgenerators draws a standard deviation from it
            images = augment_gaussian_noise(images, variance, per_channel=True)
    return (images * brain_mask).clip(0, 1).astype(np.float32), brain_mask.astype(np.float32)


def _turned_and_scaled(
    images: np.ndarray, brain_mask: np.ndarray, plan: AugmentationPlan
) -> tuple[np.ndarray, np.ndarray]:
    angle = np.deg2rad(plan.rotation_degrees)
    turned, mask = augment_spatial(
        images[None],
        brain_mask[None],
        images.shape[1:],
        do_elastic_deform=False,
        do_rotation=plan.rotation_degrees > 0,
        angle_x=(-angle, angle),
        angle_y=(-angle, angle),
        angle_z=(-angle, angle),
        do_scale=plan.scaling > 0,
        scale=(1 - plan.scaling, 1 + plan.scaling),
        border_mode_data="constant",
        order_data=1,
        random_crop=False,
    )
    return turned[0], mask[0]


@contextlib.contextmanager
def _global_draws_from(seed: Sequence[int]) -> Iterator[None]:
    """batchgenerators draws from the global generators, which are given back as they were."""
    before, numpys = random.getstate(), np.random.get_state()
    words = np.random.SeedSequence(list(seed)).generate_state(4)
    random.seed(words.tobytes())
    np.random.seed(words)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpys)
