"""Cases of one dataset on the grid of one configuration, read one by one.

Matched and downsampled cases are kept in a cache on disk: no step decodes 1 mm volumes twice, and
a cohort is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dal_auto.errors import DalError
from dal_auto.methods.method import Batch
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
)
from dal_auto.store.claim import require_writable
from dal_auto.store.standard_cases import CaseRecord, read_array, read_case, write_array
from dal_auto.workers import Workforce, available_cores, run_tasks

#: Changes whenever the same plans and voxels give another entry.
_CACHE_FORMAT = 2
#: Fewer cases than this are done before worker processes have started.
_WORTH_WORKERS = 8
#: Memory of one case on its way into the cache: a few volumes of 160×224×160 in float32.
_CASE_BYTES = 600_000_000
_SPLIT_SEED = 0
CACHE_REMEDY = (
    "Training keeps there what it reads again and again: make it writable, or name a copy with "
    "DAL_PREPROCESSED."
)


@dataclass(frozen=True)
class Cohort:
    """Cases of one dataset on the grid of one configuration.

    Parameters
    ----------
    records : the cases, in a fixed order; each has one of the plans' sequences at least
    plans : landmarks, configuration and sequences
    cache : folder of the matched, downsampled cases
    """

    records: tuple[CaseRecord, ...]
    plans: Plans
    cache: Path

    def __len__(self) -> int:
        return len(self.records)

    def volumes(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Case `index`: images (sequence, x, y, z), 0 for sequences that it lacks, and brain mask
        (1, x, y, z); float32."""
        array = self._entry(index)
        count = len(self.plans.sequences)
        return array[:count], array[count : count + 1]

    def lesion(self, index: int) -> np.ndarray:
        """Lesion mask (x, y, z) bool of an annotated case: half of a voxel or more is lesion."""
        assert self.records[index].has_lesion_mask, "the case is not annotated"
        return self._entry(index)[-1] > 0.5

    def present(self, index: int) -> list[bool]:
        """Which of the plans' sequences case `index` has."""
        return [name in self.records[index].sequences for name in self.plans.sequences]

    def batch(self, indices: Sequence[int]) -> Batch:
        """The cases at `indices` as one batch."""
        images, masks = zip(*(self.volumes(index) for index in indices), strict=True)
        present = torch.tensor([self.present(index) for index in indices], dtype=torch.bool)
        return Batch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks)), present)

    def fill_cache(self) -> None:
        """Make the entries that are missing, on all cores, with a progress bar.

        Raises
        ------
        DalError
            if the folder cannot be written to, or of the first case that cannot be read.
        """
        missing = [r for index, r in enumerate(self.records) if not self._path(index).is_file()]
        if not missing:
            return
        require_writable(self.cache, CACHE_REMEDY)
        processes = available_cores() if len(missing) >= _WORTH_WORKERS else 1
        outcomes = run_tasks(
            _make_entry,
            [replace(self, records=(record,)) for record in missing],
            [record.case_id for record in missing],
            workforce=Workforce(processes),
            title="match and downsample",
            task_bytes=_CASE_BYTES,
        )
        for _, outcome in outcomes:
            if isinstance(outcome, DalError):
                raise outcome

    def _path(self, index: int) -> Path:
        record = self.records[index]
        # The voxels, and what the JSON says of them: equal voxels may be another sequence.
        content = [
            record.array_sha256,
            *record.sequences,
            json.dumps(record.percentiles),
        ]
        key = hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]
        return self.cache / f"{record.case_id}_{key}.b2nd"

    def _entry(self, index: int) -> np.ndarray:
        """(channel, x, y, z) float32: the sequences, brain mask, lesion mask where there is one."""
        path = self._path(index)
        if not path.is_file():
            _make_entry(replace(self, records=(self.records[index],)))
        return read_array(path).astype(np.float32)


def _make_entry(alone: Cohort) -> None:
    """Write the cache entry of a cohort's only case."""
    plans = alone.plans
    case = read_case(alone.records[0])
    channels = [
        image_to_configuration(matched_image(case, name, plans), case.brain_of(name), plans)
        if name in case.sequences
        else torch.zeros(plans.configuration.input_shape)
        for name in plans.sequences
    ]
    channels.append(mask_to_configuration(case.brain_mask, plans))
    if case.lesion_mask is not None:
        channels.append(mask_to_configuration(case.lesion_mask, plans))
    write_array(alone._path(0), torch.stack(channels).numpy().astype(np.float16))


def cohort_of(dataset_folder: Path, records: Sequence[CaseRecord], plans: Plans) -> Cohort:
    """A cohort whose cache lies in the dataset's preprocessed folder.

    The cache's name holds a hash of all that decides what is in it.
    """
    configuration = plans.configuration
    content: dict[str, Any] = {
        "format": _CACHE_FORMAT,
        "landmarks": plans.intensity.model_dump(mode="json"),
        "grid": [configuration.input_shape, configuration.downsampling],
        "sequences": plans.sequences,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    cache = dataset_folder / "cache" / f"{configuration.name}_{key}"
    return Cohort(tuple(records), plans, cache)


def split_by_patient(
    records: Sequence[CaseRecord], fraction: float
) -> tuple[list[CaseRecord], list[CaseRecord]]:
    """(training, validation) cases; all cases of a patient stay together.

    A patient's side is drawn from a fixed seed, not the run's: runs of several seeds must not see
    each other's validation patients.
    """
    patients = sorted({record.patient_id for record in records})
    count = min(round(fraction * len(patients)), len(patients) - 1)
    held_out = set(np.random.default_rng(_SPLIT_SEED).permutation(patients)[:count])
    training = [record for record in records if record.patient_id not in held_out]
    return training, [record for record in records if record.patient_id in held_out]
