"""The transform between a scan and the atlas, as other programs read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dal_auto.case import FloatArray
from dal_auto.store.atomic import replacing

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_transform(path: Path, atlas_to_scan: FloatArray) -> None:
    """Write a transform, whole or not at all: ``.tfm`` is ITK's, all else a text of 4×4 numbers.

    Both map points of the atlas to points of the scan, in mm: what a program needs to resample the
    scan onto the atlas. ITK's is in LPS, the text in RAS (as nibabel and FreeSurfer have it).

    Parameters
    ----------
    atlas_to_scan : (4, 4) RAS mm → RAS mm
    """
    with replacing(path) as temporary:
        if path.suffix == ".tfm":
            sitk.WriteTransform(_as_itk(atlas_to_scan), str(temporary))
        else:
            np.savetxt(temporary, atlas_to_scan, fmt="%.9f")


def _as_itk(matrix: FloatArray) -> sitk.AffineTransform:
    lps = _LPS @ matrix @ _LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform
