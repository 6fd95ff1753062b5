"""Pictures: the three middle slices of a volume, upright."""

from __future__ import annotations

import torch

from dal_auto.training.tensorboard import middle_slices


def test_slices_stand_side_by_side_and_upright():
    volume = torch.zeros(4, 6, 8)
    volume[1, 2, 4] = 0.5  # a voxel that is in the axial slice, z = 4
    volume[1, 3, 7] = 1.0  # the top of the coronal slice, y = 3
    volume[2, 0, 0] = 2.0  # front and bottom of the sagittal slice, x = 2
    picture = middle_slices(volume)
    assert picture.shape == (8, 4 + 4 + 6)
    assert picture[2, 1] == 0.5
    assert picture[0, 4 + 1] == 1.0
    assert picture[7, 4 + 4 + 0] == 1.0, "values beyond 1 are white"
