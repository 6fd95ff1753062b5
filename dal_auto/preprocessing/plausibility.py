"""Where images are unlike the atlas's tissue: lesions, seen well enough to be left out.

Whoever estimates something of healthy tissue (a bias field, percentiles) must not be led by a
tumour. The atlas says how much fluid, grey and white matter a place holds; an image of any sequence
then tells their intensities by itself, and what is far from that mixture over several millimetres
is left out. It finds no lesions: it is coarse, and takes unusual anatomy for one as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.preprocessing.quality.measures import AtlasOnGrid, block_mean, masked_block_mean

#: Blocks of 4³ voxels, blurred by 1.5 blocks: so two brains agree although their folds do not.
_BLOCK, _BLUR = 4, 1.5
#: A polynomial of these orders in turn stands for what N4's first pass has left.
_ORDERS = (0, 0, 1, 1)
#: Beyond so many robust standard deviations a block is unlike the atlas's tissue; in log units the
#: deviation is taken as no smaller than this.
_OUTLYING, _LEAST_DEVIATION = 2.0, 0.03
_FEWEST_BLOCKS, _MOST_UNLIKE = 500, 0.5
#: A block counts as the atlas's where more than this share of it is the atlas's brain.
_LEAST_SHARE = 0.5


def unlike_atlas(
    images: Mapping[str, FloatArray], brains: Mapping[str, BoolArray], template: AtlasOnGrid
) -> BoolArray:
    """Where any of a case's images is far from the mixture of tissues that the atlas has there.

    Parameters
    ----------
    images : by sequence, (x, y, z), of one case on the target grid; any scale
    brains : by sequence, (x, y, z), the part of the brain that it shows
    template : the atlas on the same grid

    Returns
    -------
    (x, y, z), part of the brain; empty where too little of the brain lies on the atlas's, or where
    more than half of it would be unlike: then the fit is not to be trusted
    """
    brain = np.logical_or.reduce(list(brains.values()))
    unlike = np.zeros([-(-size // _BLOCK) for size in brain.shape], bool)
    for name, image in images.items():
        found = _unlike_blocks(image, brains[name], template)
        unlike[tuple(slice(0, size) for size in found.shape)] |= found
    unlike = ndimage.binary_dilation(ndimage.binary_opening(unlike))
    unlike = _carried_outwards(unlike, template)
    for axis, size in enumerate(brain.shape):
        unlike = np.repeat(unlike, _BLOCK, axis).take(range(size), axis)
    unlike &= brain
    return unlike if unlike.sum() <= _MOST_UNLIKE * brain.sum() else np.zeros_like(brain)


def _carried_outwards(unlike: BoolArray, template: AtlasOnGrid) -> BoolArray:
    """Blocks beyond the atlas's brain, about which it says nothing, go by the nearest inside it.

    So a tumour at the surface is left out to its edge, even where the patient's brain is larger.
    """
    on_atlas = np.zeros_like(unlike)
    blocks = _on_atlas(template)
    on_atlas[tuple(slice(0, size) for size in blocks.shape)] = blocks
    if not on_atlas.any():
        return unlike
    nearest = ndimage.distance_transform_edt(~on_atlas, return_distances=False, return_indices=True)
    return unlike[tuple(nearest)] | unlike


@lru_cache(maxsize=2)
def _tissue_shares(template: AtlasOnGrid) -> FloatArray:
    """(3, i, j, k): how much of each block is dark, middle and bright on the atlas's T1, that is
    fluid, grey and white matter; by Otsu's two thresholds."""
    image = template.image
    otsu = sitk.OtsuMultipleThresholdsImageFilter()
    otsu.SetNumberOfThresholds(2)
    otsu.Execute(sitk.GetImageFromArray(image[template.brain][None]))
    low, high = otsu.GetThresholds()
    levels = np.digitize(image, (low, high), right=True)
    return np.stack([block_mean(template.brain & (levels == n), _BLOCK) for n in range(3)])


def _on_atlas(template: AtlasOnGrid) -> BoolArray:
    """(i, j, k): the blocks of which the atlas says something."""
    return _tissue_shares(template).sum(0) > _LEAST_SHARE


def _unlike_blocks(image: FloatArray, brain: BoolArray, template: AtlasOnGrid) -> BoolArray:
    """Blocks that are outliers of a robust fit: image = mixture of tissues × smooth polynomial."""
    shares = _tissue_shares(template)
    mean, inside = masked_block_mean(image, brain, _BLOCK)
    inside &= _on_atlas(template) & (mean > 0)
    if inside.sum() < _FEWEST_BLOCKS:
        return np.zeros_like(inside)
    seen = _blurred(mean, inside)
    mixture = np.stack([_blurred(share, inside) for share in shares], axis=1)
    mixture /= mixture.sum(axis=1, keepdims=True)
    places = np.argwhere(inside) / np.array(inside.shape) * 2 - 1
    kept = np.ones(len(seen), bool)
    field = np.zeros(len(seen))
    for order in _ORDERS:
        expected = _robust_mixture(mixture, seen / np.exp(field), kept)
        off = np.log(seen / expected)
        terms = np.concatenate([np.ones((len(places), 1)), places], axis=1)[:, : 1 + 3 * order]
        field = terms @ np.linalg.lstsq(terms[kept], off[kept], rcond=None)[0]
        off -= field
        spread = 1.4826 * float(np.median(np.abs(off - np.median(off[kept]))))
        kept = np.abs(off - np.median(off[kept])) < _OUTLYING * max(spread, _LEAST_DEVIATION)
    unlike = np.zeros_like(inside)
    unlike[inside] = ~kept
    return unlike


def _blurred(values: FloatArray, inside: BoolArray) -> FloatArray:
    """(n,) values of the blocks inside, blurred among themselves."""
    weight = ndimage.gaussian_filter(inside.astype(np.float32), _BLUR)
    total = ndimage.gaussian_filter(np.where(inside, values, 0).astype(np.float32), _BLUR)
    return np.asarray(total[inside] / weight[inside], np.float64)


def _robust_mixture(mixture: FloatArray, seen: FloatArray, kept: BoolArray) -> FloatArray:
    """(n,) what each block should show, the tissues' intensities fitted by least absolute
    differences (iteratively reweighted) over the blocks kept."""
    weight, middle = kept.astype(float), float(np.median(seen))
    expected = seen
    for _ in range(6):
        root = np.sqrt(weight)
        levels = np.linalg.lstsq(mixture * root[:, None], seen * root, rcond=None)[0]
        expected = np.maximum(mixture @ levels, 0.05 * middle)
        weight = kept / np.maximum(np.abs(seen - expected), 0.02 * middle)
    return expected
