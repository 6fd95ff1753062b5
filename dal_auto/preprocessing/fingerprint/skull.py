"""Was the skull taken off? Told by volume, by what surrounds the image, and by what lies under it.

Volume alone is wrong for defaced and short heads whose air is 0, and for slabs. Below the surface
of a head lie fat, then bone, which is dark in every sequence; below that of a stripped brain lies
brain. At a depth of 8 to 16 mm, the share of voxels darker than a quarter of the deep brain
is 0 to 0.03 in 18 stripped images of six studies (gliomas among them), and 0.07 to 0.55 in 15 heads
of five studies, their air set to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray, Grid

#: Non-zero volume of a stripped brain, or of a slab of one, in ml (children to large adults in MNI
#: scale). A head with skull has 2.5 l and more, and air noise fills the whole field of view.
STRIPPED_ML = (100.0, 2300.0)
#: Where more of the field of view is not 0, there is no background.
MOST_FILLED_SHARE = 0.85
#: Darker than this share of the deep brain, in this much of the layer where the bone would be, is a
#: head; but a whole brain fills less of the box around it than a head (0.42 to 0.47, 0.51 to 0.66).
DARK_SHARE, _DARK = 0.05, 0.25
HEAD_BOX_SHARE = 0.48
_BONE_MM, _DEEP_MM = (8.0, 16.0), 20.0
_SPACING_MM = 2.0
_FEWEST_VOXELS = 50


@dataclass(frozen=True)
class SkullSigns:
    """What tells a head from a stripped brain.

    Parameters
    ----------
    nonzero_ml : volume that is not 0
    filled_share : its share of the field of view
    box_share : its share of the box around its largest piece
    dark_share : share of the layer where bone would be that is dark; 0 where there is no such layer
    """

    nonzero_ml: float
    filled_share: float
    box_share: float = 0.0
    dark_share: float = 0.0

    @property
    def stripped(self) -> bool:
        least, most = STRIPPED_ML
        if not least <= self.nonzero_ml <= most or self.filled_share > MOST_FILLED_SHARE:
            return False
        return self.dark_share <= DARK_SHARE or self.box_share <= HEAD_BOX_SHARE

    def __str__(self) -> str:
        return (
            f"{self.nonzero_ml:.0f} ml are not 0, {self.dark_share:.0%} of what lies "
            f"{_BONE_MM[0]:g} to {_BONE_MM[1]:g} mm under the surface is dark"
        )


def skull_signs(array: FloatArray, grid: Grid) -> SkullSigns:
    """Measure an image, (x, y, z) with its background at 0."""
    voxels = int(np.count_nonzero(array))
    signs = SkullSigns(voxels * grid.voxel_ml, voxels / array.size)
    if not signs.stripped:  # by volume alone
        return signs
    steps = [max(1, round(_SPACING_MM / mm)) for mm in grid.spacing_mm]
    thin = array[tuple(slice(None, None, step) for step in steps)]
    spacing_mm = [mm * step for mm, step in zip(grid.spacing_mm, steps, strict=True)]
    labels, count = ndimage.label(thin != 0)
    if not count:
        return signs
    largest = int(np.bincount(labels.ravel())[1:].argmax())
    box = ndimage.find_objects(labels)[largest]
    piece = labels[box] == largest + 1
    dark = _dark_share(thin[box], ndimage.binary_fill_holes(piece), spacing_mm)
    return SkullSigns(signs.nonzero_ml, signs.filled_share, float(piece.mean()), dark)


def _dark_share(image: FloatArray, inside: BoolArray, spacing_mm: list[float]) -> float:
    """Where the field of view ends is no surface: only what is 0 around a piece makes one."""
    if inside.all():
        return 0.0
    depth_mm = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    deep = image[depth_mm > _DEEP_MM]
    layer = image[(depth_mm > _BONE_MM[0]) & (depth_mm <= _BONE_MM[1])]
    if deep.size < _FEWEST_VOXELS or layer.size < _FEWEST_VOXELS:
        return 0.0
    return float((layer < _DARK * np.median(deep[deep != 0])).mean()) if deep.any() else 0.0
