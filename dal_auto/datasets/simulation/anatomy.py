"""One subject's anatomy: a source head, deformed, its tissues perturbed, its size drawn."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dal_auto.case import BoolArray, FloatArray
from dal_auto.datasets.simulation.compartments import BRAIN, DEEP
from dal_auto.datasets.simulation.deformation import displacement_mm, smooth_noise
from dal_auto.datasets.simulation.heads import Head

BRAIN_ML, BRAIN_ML_SD = 1450.0, 110.0
ASPECT_SD, SHEAR_SD = 0.025, 0.02
# Noise on the log odds of CSF and of white matter: (blur in mm, standard deviation). The first
# moves whole regions, such as a thicker cortex in one lobe; the others give sulci and gyri of a
# subject's own. White matter gets less, or the cortex would vanish in places.
CSF_NOISE = ((12.0, 0.5), (5.0, 0.9), (2.2, 0.9))
WM_NOISE = ((12.0, 0.3), (5.0, 0.5), (2.2, 0.6))
SHARPNESS = 5.0  # multiplies the log odds: classes are near-binary at 1 mm

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A subject before any image is taken.

    Parameters
    ----------
    affine : (4, 4) voxel of the anatomy's lattice → the subject's own mm, brain centre at 0
    compartments : (x, y, z) uint8, codes of `compartments.py`
    box : the part of the lattice that holds the brain
    csf, gm, wm : arrays over `box`, share of each tissue, zero outside the brain
    source_voxel : (3, …) over `box`, where in the source head each voxel comes from
    """

    affine: FloatArray
    compartments: npt.NDArray[np.uint8]
    box: Box
    csf: FloatArray
    gm: FloatArray
    wm: FloatArray
    source_voxel: FloatArray

    @property
    def brain(self) -> BoolArray:
        """(x, y, z) the brain, ventricles and sulci included."""
        return (self.compartments == BRAIN) | (self.compartments == DEEP)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel of the lattice in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000


def build_anatomy(head: Head, rng: np.random.Generator, step: int) -> Anatomy:
    """Draw a subject from `head`.

    Parameters
    ----------
    step : the anatomy's lattice takes every `step`-th voxel of the head's
    """
    shape = tuple(int(np.ceil(n / step)) for n in head.compartments.shape)
    spacing_mm = step * float(np.abs(np.linalg.det(head.affine[:3, :3])) ** (1 / 3))
    source = displacement_mm(rng, shape, spacing_mm, head.ventricle_pull, head.pull_mm)
    source *= step / spacing_mm
    for axis, n in enumerate(shape):
        index = np.arange(n, dtype=np.float32) * step
        source[axis] += index.reshape([-1 if a == axis else 1 for a in range(3)])

    compartments = ndimage.map_coordinates(head.compartments, source, order=0, mode="nearest")
    brain = (compartments == BRAIN) | (compartments == DEEP)
    box: Box = ndimage.find_objects(brain.astype(np.uint8))[0]
    within = source[(slice(None), *box)]
    csf, gm, wm = _tissues(head, within, rng, spacing_mm)
    outside = ~brain[box]
    for part in (csf, gm, wm):
        part[outside] = 0
    center = np.array([(s.start + s.stop) / 2 for s in box])
    size = _size(rng, brain.sum() * spacing_mm**3 / 1000) * spacing_mm
    affine = nib.affines.from_matvec(size, -size @ center)
    return Anatomy(affine, compartments, box, csf, gm, wm, within)


def _tissues(
    head: Head, within: FloatArray, rng: np.random.Generator, spacing_mm: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shares of CSF, grey and white matter: softmax of the sharpened, perturbed log odds."""
    exponentials = []
    for odds, bias, noise in (
        (head.log_csf, head.csf_bias, CSF_NOISE),
        (head.log_wm, 0.0, WM_NOISE),
    ):
        perturbed = ndimage.map_coordinates(odds, within, order=1, mode="nearest")
        perturbed += bias
        for sigma_mm, deviation in noise:
            perturbed += deviation * smooth_noise(rng, perturbed.shape, spacing_mm, sigma_mm)
        exponentials.append(np.exp(np.clip(SHARPNESS * perturbed, -30, 30)))
    csf, wm = exponentials
    total = 1 + csf + wm
    csf /= total
    wm /= total
    return csf, 1 / total, wm


def _size(rng: np.random.Generator, brain_ml: float) -> FloatArray:
    """(3, 3) matrix that scales a brain of `brain_ml` to a drawn volume, with aspect and shear."""
    goal_ml = np.clip(rng.normal(BRAIN_ML, BRAIN_ML_SD), BRAIN_ML - 250, BRAIN_ML + 300)
    matrix = np.diag(np.exp(rng.normal(0, ASPECT_SD, 3)))
    matrix += np.triu(rng.normal(0, SHEAR_SD, (3, 3)), 1)
    return matrix * (goal_ml / brain_ml / np.linalg.det(matrix)) ** (1 / 3)


def paint(anatomy: Anatomy, means: dict[str, float], compartment_means: FloatArray) -> FloatArray:
    """(x, y, z) float32 noiseless image.

    Parameters
    ----------
    means : intensity of "csf", "gm", "wm" and "deep" grey matter
    compartment_means : intensity per compartment code
    """
    image = np.asarray(compartment_means, np.float32)[anatomy.compartments]
    codes = anatomy.compartments[anatomy.box]
    gm = np.where(codes == DEEP, means["deep"], means["gm"]).astype(np.float32)
    tissue = means["csf"] * anatomy.csf + gm * anatomy.gm + means["wm"] * anatomy.wm
    image[anatomy.box] = np.where(
        anatomy.csf + anatomy.gm + anatomy.wm > 0, tissue, image[anatomy.box]
    )
    return image
