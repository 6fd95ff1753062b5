"""A transform is read by ITK and by NumPy as what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dal_auto.inference.transforms import write_transform

TURN = np.array(
    [[0.8, -0.6, 0.0, 12.5], [0.6, 0.8, 0.0, -30.25], [0.0, 0.0, 1.1, 7.0], [0, 0, 0, 1]]
)


@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (10.0, -20.0, 30.0)])
def test_itk_maps_a_point_of_the_atlas_to_that_of_the_scan(tmp_path: Path, point):
    write_transform(tmp_path / "a.tfm", TURN)
    transform = sitk.ReadTransform(str(tmp_path / "a.tfm"))
    x, y, z = (TURN @ [*point, 1])[:3]
    flipped = (-point[0], -point[1], point[2])  # ITK's world is LPS
    assert transform.TransformPoint(flipped) == pytest.approx((-x, -y, z))


def test_the_text_is_the_matrix(tmp_path: Path):
    write_transform(tmp_path / "sub" / "a.txt", TURN)
    assert np.loadtxt(tmp_path / "sub" / "a.txt") == pytest.approx(TURN)
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.txt"]


def test_what_cannot_be_written_leaves_the_older_one(tmp_path: Path):
    write_transform(tmp_path / "a.tfm", TURN)
    before = (tmp_path / "a.tfm").read_bytes()
    with pytest.raises(IndexError):
        write_transform(tmp_path / "a.tfm", np.eye(4)[:, 0])
    assert (tmp_path / "a.tfm").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.tfm"]
