"""Pictures: the three middle slices of a volume, upright; a full disk is said once, in words."""

from __future__ import annotations

import errno
import threading

import pytest
import torch
from tensorboard.summary.writer.record_writer import RecordWriter

from dal_auto.errors import DiskFull
from dal_auto.training.tensorboard import Board, middle_slices


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


def test_a_full_disk_is_an_error_that_names_the_folder_and_no_traceback_of_a_thread(
    tmp_path, monkeypatch, capfd
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    hook = threading.excepthook
    with pytest.raises(DiskFull) as caught, Board(tmp_path, 0) as board:
        monkeypatch.setattr(RecordWriter, "write", full)
        monkeypatch.setattr(RecordWriter, "flush", full)
        for step in range(100):  # a thread writes: the error comes some steps later, or at the end
            board.losses({"step": step, "loss": 1.0})
    assert caught.value.file == tmp_path
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook is hook


def test_the_error_that_ended_a_training_is_not_hidden_by_the_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ValueError, match="first"), Board(tmp_path, 0):
        monkeypatch.setattr(RecordWriter, "flush", full)
        raise ValueError("first")
