"""Swapped, enhanced and mistaken contrasts are suspected; sound ones, of any orientation, are not.

The contrast-enhanced T1 are simulated: no real one is at hand.
"""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import Grid
from dal_auto.preprocessing.fingerprint.contrasts import (
    brightest_ratio,
    common_correlation,
    contrast_findings,
    deep_skewness,
)
from dal_auto.preprocessing.fingerprint.image import Coarse, coarse

SHAPE, SPACING_MM = (90, 110, 100), 2.0
GREY = {"T1": 75.0, "T2": 95.0}
WHITE = {"T1": 110.0, "T2": 75.0}
FLUID = {"T1": 30.0, "T2": 260.0}
AXES = ["RAS", "LPS", "PSR", "ARI", "SLP"]


def head(sequence: str, *, skull: bool, noise: int = 0) -> np.ndarray:
    """A brain 1.4 l large, its ventricles 6 cm below the vertex, in RAS, at 2 mm."""
    x, y, z = (
        (np.arange(size) - (size - 1) / 2).reshape([-1 if a == axis else 1 for a in range(3)])
        * SPACING_MM
        for axis, size in enumerate(SHAPE)
    )
    z = z - 15  # the brain sits in the upper part of the image

    def inside(cx: float, cy: float, cz: float, rx: float, ry: float, rz: float) -> np.ndarray:
        return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 < 1

    brain = inside(0, 0, 0, 66, 84, 62)
    image = np.where(brain, GREY[sequence], 0.0)
    image[inside(0, 0, 0, 56, 74, 52)] = WHITE[sequence]
    for side in (-1, 1):
        image[inside(14 * side, 4, 2, 8, 28, 10)] = FLUID[sequence]
        image[inside(16 * side, -2, -14, 11, 16, 9)] = GREY[sequence]
    if skull:
        scalp = inside(0, 2, -6, 84, 102, 82)
        bone = inside(0, 2, -4, 76, 94, 74)
        image = np.where(brain, image, np.where(scalp, np.where(bone, 8.0, 320.0), 0.0))
    random = np.random.default_rng(noise)
    image = np.where(image > 0, np.maximum(image + random.normal(0, 6, SHAPE), 1), 0)
    if skull:
        image += random.uniform(0, 8, SHAPE)
    return image.astype(np.float32)


def thin(image: np.ndarray, axcodes: str = "RAS", *, skull: bool = False) -> Coarse:
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    turned = nib.Nifti1Image(image, affine).as_reoriented(
        nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axcodes)
        )
    )
    array = np.asarray(turned.dataobj)
    return coarse(array, Grid(array.shape, turned.affine), stripped=not skull)


def warned(*, skull: bool = False, axcodes: str = "RAS", **images: np.ndarray) -> list[str]:
    parts = {name: thin(image, axcodes, skull=skull) for name, image in images.items()}
    found = contrast_findings(parts, dict.fromkeys(parts, not skull))
    assert {finding.code for finding in found} <= {"contrast"}
    return [str(finding) for finding in found]


@pytest.mark.parametrize("skull", [False, True])
@pytest.mark.parametrize("axcodes", AXES)
def test_sound_and_swapped_contrasts_are_told_apart(skull, axcodes):
    t1, t2 = head("T1", skull=skull), head("T2", skull=skull)
    assert warned(T1=t1, T2=t2, skull=skull, axcodes=axcodes) == []
    (warning,) = warned(T1=t2, T2=t1, skull=skull, axcodes=axcodes)
    assert "swapped" in warning


def test_one_mistaken_contrast_is_named():
    t1, t2 = head("T1", skull=False), head("T2", skull=False)
    (warning,) = warned(T1=t1, T2=t1 * 2)
    assert warning.startswith("T2 looks like a T1 or FLAIR")
    (warning,) = warned(T1=t2 * 2, T2=t2)
    assert warning.startswith("T1 is bright in the middle of the brain")
    assert warned(T2=t2) == [] and warned(T1=t1) == [] and warned(FLAIR=t2) == []


def test_middling_contrasts_raise_no_alarm():
    """Proton density, and a grey picture without any contrast."""
    flat = (head("T1", skull=False) > 0) * np.random.default_rng(0).normal(100, 3, SHAPE)
    assert warned(T1=flat.astype(np.float32), T2=flat.astype(np.float32)) == []


@pytest.mark.parametrize("share", [0.0, 0.003, 0.012])
def test_vessels_that_take_up_contrast_are_noticed_where_they_are_enough(share):
    """Vessels as the zero lines of two smooth random fields; 0.3 % are too few to be sure."""
    image, random = head("T1", skull=False), np.random.default_rng(5)
    fields = [ndimage.gaussian_filter(random.normal(size=SHAPE), 5) for _ in range(2)]
    distance = np.hypot(*(field / field.std() for field in fields))
    vessels = (image > 0) & (distance < np.quantile(distance[image > 0], share))
    image[vessels] = 1.9 * WHITE["T1"]
    warnings = warned(T1=image, T2=head("T2", skull=False))
    assert any("contrast-enhanced" in w for w in warnings) == (share > 0.01)


def test_an_enhancing_lesion_in_the_middle_is_noticed():
    image = head("T1", skull=False)
    x, y, z = np.ogrid[tuple(slice(size) for size in SHAPE)]
    image[(x - 38) ** 2 + (y - 54) ** 2 + (z - 55) ** 2 < 8**2] = 1.8 * WHITE["T1"]
    warnings = warned(T1=image, T2=head("T2", skull=False))
    assert any("contrast-enhanced" in warning for warning in warnings)


def test_too_little_brain_gives_no_figure():
    empty = np.zeros(SHAPE, np.float32)
    empty[:2, :2, :2] = 1
    assert deep_skewness(thin(empty)) is None
    assert common_correlation(thin(empty), thin(empty)) is None
    assert warned(T1=empty, T2=empty) == []


def test_a_label_map_in_which_nothing_lies_below_the_top_gives_no_figure_and_no_noise():
    label = np.zeros(SHAPE, np.float32)
    label[40:50, 40:50, -10:-4] = 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert deep_skewness(thin(label)) is None


def test_figures_agree_with_their_definitions():
    t1, t2 = (thin(head(name, skull=False)) for name in ("T1", "T2"))
    inside = t1.array[t1.foreground]
    expected = np.quantile(inside, 0.995) / np.quantile(inside, 0.9)
    assert brightest_ratio(t1) == pytest.approx(expected, rel=1e-5)
    both = (t1.array != 0) & (t2.array != 0)
    expected = np.corrcoef(t1.array[both], t2.array[both])[0, 1]
    assert common_correlation(t1, t2) == pytest.approx(expected, abs=1e-4) and expected < -0.5


def test_the_foreground_of_a_head_is_not_its_noisy_air():
    image = head("T1", skull=True)
    share = coarse(image, Grid(SHAPE, np.diag([2.0, 2, 2, 1])), stripped=False).foreground.mean()
    assert 0.15 < share < 0.6 and (image > 0).mean() > 0.99
