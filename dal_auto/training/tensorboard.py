"""The TensorBoard log: losses, what was validated, and pictures of what the networks see."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from dal_auto.errors import DiskFull
from dal_auto.store.atomic import is_disk_full, mount_point


class Board:
    """Writes into a folder of event files.

    Parameters
    ----------
    step : where the run goes on; what an interrupted one wrote after it is dropped

    Raises
    ------
    DiskFull
        if there is no room, by any of its methods.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        with self._writing():
            self._writer = SummaryWriter(str(folder), purge_step=step)
        # The writer has a thread, whose error is raised here once more: it is said once.
        self._hook = threading.excepthook
        threading.excepthook = self._in_thread

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with self._writing():
                self._writer.close()
        except (OSError, DiskFull):
            if error is None:  # else that one is the news
                raise
        finally:
            threading.excepthook = self._hook

    def _in_thread(self, told: threading.ExceptHookArgs) -> None:
        if not isinstance(told.exc_value, OSError):
            self._hook(told)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error, self._folder):
                raise DiskFull(self._folder, mount_point(self._folder)) from error
            raise

    def losses(self, line: Mapping[str, Any]) -> None:
        """A line of the log."""
        with self._writing():
            for name, value in line.items():
                if name != "step":
                    self._writer.add_scalar(f"loss/{name}", value, line["step"])

    def validation(self, figures: Mapping[str, float], step: int) -> None:
        with self._writing():
            for name, value in figures.items():
                self._writer.add_scalar(f"validation/{name}", value, step)

    def pictures(self, volumes: Mapping[str, Tensor], step: int) -> None:
        """Three slices through the middle of each volume (x, y, z), values in [0, 1]."""
        with self._writing():
            for name, volume in volumes.items():
                self._writer.add_image(name, middle_slices(volume)[None], step)


def middle_slices(volume: Tensor) -> Tensor:
    """Axial, coronal and sagittal slice of (x, y, z) side by side, in [0, 1].

    Volumes are RAI in ITK's words: x from right to left, y from front to back, z upwards. Rows of
    the picture run from front to back, or from top to bottom.
    """
    volume = volume.detach().float().cpu()
    x, y, z = (size // 2 for size in volume.shape)
    views = [volume[:, :, z].T, volume[:, y].T.flip(0), volume[x].T.flip(0)]
    height = max(view.shape[0] for view in views)
    padded = [torch.nn.functional.pad(view, (0, 0, 0, height - view.shape[0])) for view in views]
    return torch.cat(padded, dim=1).clamp(0, 1)
