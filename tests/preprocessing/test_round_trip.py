"""From a file to the atlas's grid and back to a file: any format, any axes, any angle."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dal_auto.case import Grid
from dal_auto.images import read_image, write_image
from dal_auto.preprocessing.resampling import resample

#: The atlas's axes, LPS, at 2 mm; small, about the origin of the world.
ATLAS = Grid(
    (32, 34, 30), np.array([[-2, 0, 0, 31], [0, -2, 0, 33], [0, 0, 2, -29], [0, 0, 0, 1.0]])
)
ORIENTATIONS = [
    np.eye(3)[:, list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
LPS = np.diag([-1.0, -1, 1, 1])

angles = st.tuples(*[st.floats(-25, 25).map(lambda degrees: round(degrees, 2))] * 3)
places = st.tuples(*[st.floats(-9, 9).map(lambda mm: round(mm, 2))] * 3)
spacings = st.tuples(*[st.floats(1.2, 3.5).map(lambda mm: round(mm, 2))] * 3)


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """By the library that is at home in the format."""
    if path.suffix == ".mgz":
        nib.save(nib.MGHImage(array, affine), path)
    elif path.suffix == ".nii":
        nib.save(nib.Nifti1Image(array, affine), path)
    else:
        image, lps = sitk.GetImageFromArray(array.T), LPS @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing)
        image.SetOrigin(lps[:3, 3])
        image.SetDirection((lps[:3, :3] / spacing).ravel())
        sitk.WriteImage(image, str(path))


def spot(shape: tuple[int, ...], affine: np.ndarray, place_mm: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    distance = np.linalg.norm(points - place_mm, axis=-1)
    return np.exp(-0.5 * (distance / 3) ** 2).astype(np.float32)


def middle_mm(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Where the spot is, in the world; its tails, which leave the grids, are cut."""
    weights = np.where(array > 0.2 * array.max(), array, 0)
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1)
    mean = np.average(index.reshape(-1, 3), axis=0, weights=weights.ravel())
    return affine[:3, :3] @ mean + affine[:3, 3]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([".nii", ".mgz", ".nrrd", ".mha"]),
    st.sampled_from(ORIENTATIONS),
    angles,
    spacings,
    st.tuples(angles, places),
    places,
)
def test_there_and_back_a_spot_is_where_it_was_within_half_a_voxel(
    tmp_path_factory, ending, axes, degrees, spacing, pose, place_mm
):
    folder = tmp_path_factory.mktemp("trip")
    affine, atlas_to_native = np.eye(4), np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ axes * spacing
    shape = tuple(int(np.ceil(64 / mm)) for mm in spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    atlas_to_native[:3, :3] = Rotation.from_euler("xyz", pose[0], degrees=True).as_matrix()
    atlas_to_native[:3, 3] = np.array(pose[1]) / 3
    place = np.array(place_mm)
    save(folder / f"scan{ending}", spot(shape, affine, place), affine)

    array, grid = read_image(folder / f"scan{ending}")
    there = resample(array, grid, ATLAS, atlas_to_native)
    expected = (np.linalg.inv(atlas_to_native) @ [*place, 1])[:3]
    assert np.linalg.norm(middle_mm(there, ATLAS.affine) - expected) < 0.5 * min(ATLAS.spacing_mm)

    back = resample(there, ATLAS, grid, np.linalg.inv(atlas_to_native))
    write_image(folder / "map.nii", back, grid, like=folder / f"scan{ending}")
    written = nib.load(folder / "map.nii")
    np.testing.assert_allclose(written.affine, affine, atol=1e-3)
    found = middle_mm(np.asarray(written.dataobj), affine)
    assert np.linalg.norm(found - place) < 0.5 * min(spacing)
