"""The pool of deformed anatomies on one configuration's grid: made once, read one by one.

A file's name holds a hash of all that decides what is in it, so that a pool is reused as long as
nothing changes, and another one is made beside it when something does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dal_auto.errors import DalError
from dal_auto.plans import Plans, Shape
from dal_auto.store.claim import require_writable
from dal_auto.store.standard_cases import read_array, write_array
from dal_auto.training.cohort import CACHE_REMEDY
from dal_auto.training.drawn.anatomy import draw_anatomy
from dal_auto.training.drawn.heads import Head
from dal_auto.training.drawn.structures import STRUCTURES, TISSUE_OF
from dal_auto.workers import Workforce, available_cores, run_tasks

#: Changes whenever the same head and grid give other anatomies.
_FORMAT = 1
#: Each is drawn with new contrasts at every step, so that a few of a head are many images.
ANATOMIES_PER_HEAD = 10
_WHOLE = 255
#: Memory of one anatomy in the making, without its shares.
_TASK_BYTES = 700_000_000


@dataclass(frozen=True)
class _Task:
    head: Path
    shape: Shape
    seed: tuple[int, ...]
    file: Path


@dataclass(frozen=True)
class Pool:
    """Deformed anatomies on disk.

    Parameters
    ----------
    tasks : one per anatomy, in a fixed order
    """

    tasks: tuple[_Task, ...]

    @classmethod
    def of(cls, folder: Path, heads: Iterable[Path], plans: Plans) -> Pool:
        """The pool of some heads on the grid of `plans`, whether made or not.

        Parameters
        ----------
        folder : of the dataset
        heads : files that `Head.save` wrote
        """
        configuration = plans.configuration
        tasks = []
        for head in sorted(heads):
            content = [_FORMAT, list(STRUCTURES), configuration.input_shape]
            digest = hashlib.sha256(json.dumps(content).encode() + head.read_bytes())
            key = digest.hexdigest()[:12]
            number = int(key, 16) % 2**31
            where = folder / "anatomies" / configuration.name
            tasks += [
                _Task(
                    head,
                    configuration.input_shape,
                    (number, index),
                    where / f"{head.stem}_{key}_{index:03d}.b2nd",
                )
                for index in range(ANATOMIES_PER_HEAD)
            ]
        return cls(tuple(tasks))

    def __len__(self) -> int:
        return len(self.tasks)

    def fill(self) -> None:
        """Make the anatomies that are missing, on all cores, with a progress bar.

        Raises
        ------
        DalError
            if the folder cannot be written to, or of the first that cannot be made.
        """
        missing = [task for task in self.tasks if not task.file.is_file()]
        if not missing:
            return
        require_writable(missing[0].file.parent, CACHE_REMEDY)
        outcomes = run_tasks(
            _make,
            missing,
            [task.file.stem for task in missing],
            workforce=Workforce(available_cores()),
            title="draw anatomies",
            task_bytes=_TASK_BYTES,
        )
        for _, outcome in outcomes:
            if isinstance(outcome, DalError):
                raise outcome

    def shares(self, indices: Iterable[int]) -> Tensor:
        """(anatomy, structure, x, y, z) uint8, shares of 255 of the anatomies at `indices`."""
        arrays = [read_array(self.tasks[index].file) for index in indices]
        return torch.from_numpy(np.stack(arrays))

    def tissue_fractions(self) -> Tensor:
        """(3, x, y, z) float32: mean shares of CSF, grey and white matter over all anatomies."""
        total = torch.zeros(3, *self.tasks[0].shape)
        for index in range(len(self)):
            total += tissues_of(self.shares([index])[0].float() / _WHOLE)
        return total / len(self)


def tissues_of(shares: Tensor) -> Tensor:
    """(…, 3, x, y, z) shares of CSF, grey and white matter, of those of structures."""
    device = shares.device
    tissues = torch.zeros(*shares.shape[:-4], 3, *shares.shape[-3:], device=device)
    return tissues.index_add_(-4, torch.tensor(TISSUE_OF, device=device), shares)


def _make(task: _Task) -> None:
    write_array(task.file, draw_anatomy(Head.load(task.head), task.shape, task.seed))
