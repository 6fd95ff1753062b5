"""What the viewer shows of a case: volumes of one grid, cropped, in 8 bits, inside the page.

A page that is opened from disk may fetch nothing, so the volumes lie inside it. Every level is
written as its difference from the voxel before it, and deflated, which a browser undoes in a few
lines.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from dal_auto.case import STANDARD_VOXEL_ML, BoolArray, FloatArray
from dal_auto.figures.view import view_point
from dal_auto.volumes import box_around, whole

INPUT, HEALTHY, ANOMALY, LESION = "input", "pseudo-healthy", "anomaly", "lesion"
LAYERS = (INPUT, HEALTHY, ANOMALY, LESION)
_LEVELS = 255
_MARGIN = 2  # voxels around brain and lesion
_DEFLATE = 4  # half the time of 6, and 3 % more bytes

ByteArray = npt.NDArray[np.uint8]
Voxel = tuple[int, int, int]


class ViewerVolumes(BaseModel):
    """Volumes of one case, sequence and method, axes LPS, voxels of 1 mm.

    Parameters
    ----------
    shape : of the box around brain and lesion, (x, y, z)
    origin : the box's first voxel, on the standard grid
    start : voxel of the box that the viewer shows first: the largest lesion's middle
    highest : anomaly score of the level 255
    layers : name → encoded levels: of "input" and, where there is one, "pseudo-healthy" 255 × the
        value in [0, 1]; of "anomaly" 255 × √(score / highest), so that low thresholds are still
        told apart; of "lesion", where there is a mask, 0 or 1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Voxel
    origin: Voxel
    start: Voxel
    highest: float
    layers: dict[str, bytes]

    def levels(self, layer: str) -> ByteArray:
        """(x, y, z) levels of a layer."""
        changes = np.frombuffer(zlib.decompress(self.layers[layer]), np.uint8)
        return np.cumsum(changes, dtype=np.uint8).reshape(self.shape, order="F")

    def texts(self) -> dict[str, str]:
        """Layer → what the page holds of it."""
        return {name: base64.b64encode(content).decode() for name, content in self.layers.items()}

    def about(self, thresholds: Sequence[tuple[str, float]]) -> dict[str, Any]:
        """What the viewer must know beside the volumes.

        Parameters
        ----------
        thresholds : (name, score) of the buttons; the first one is set
        """
        return {
            "shape": list(self.shape),
            "origin": list(self.origin),
            "start": list(self.start),
            "highest": self.highest,
            "voxel_ml": STANDARD_VOXEL_ML,
            "thresholds": list(thresholds),
        }


def viewer_volumes(
    image: FloatArray,
    score: FloatArray,
    brain: BoolArray,
    *,
    pseudo_healthy: FloatArray | None = None,
    lesion: BoolArray | None = None,
    start: BoolArray | None = None,
) -> ViewerVolumes:
    """Crop and encode volumes of the standard grid, all (x, y, z).

    Parameters
    ----------
    image, pseudo_healthy : in [0, 1]
    score : ≥ 0
    start : the view starts in its largest component; by default in the lesion's
    """
    box = box_around(brain if lesion is None else brain | lesion, _MARGIN) or whole(brain.shape)
    highest = float(score[box].max())
    levels = {
        INPUT: _bytes(image[box]),
        ANOMALY: _bytes(np.sqrt(score[box] / highest) if highest > 0 else score[box]),
    }
    if pseudo_healthy is not None:
        levels[HEALTHY] = _bytes(pseudo_healthy[box])
    if lesion is not None:
        levels[LESION] = lesion[box].astype(np.uint8)
    first = lesion if start is None else start
    return ViewerVolumes(
        shape=_three(levels[INPUT].shape),
        origin=_three([one.start for one in box]),
        start=view_point(None if first is None else first[box], score[box], brain[box]),
        highest=highest,
        layers={name: _encoded(levels[name]) for name in LAYERS if name in levels},
    )


def _three(numbers: Iterable[int]) -> Voxel:
    x, y, z = (int(number) for number in numbers)
    return x, y, z


def _bytes(values: FloatArray) -> ByteArray:
    return np.round(_LEVELS * np.clip(values, 0, 1)).astype(np.uint8)


def _encoded(levels: ByteArray) -> bytes:
    """Differences along x, the axis that runs fastest; modulo 256, so that none needs a sign."""
    flat = levels.ravel(order="F")
    return zlib.compress(np.diff(flat, prepend=np.uint8(0)).tobytes(), _DEFLATE)
