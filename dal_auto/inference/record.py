"""What is kept of a predicted case: the record that is written last, and all tables are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dal_auto.inference.measure import Component
from dal_auto.inference.remark import Remark
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.store.kept import Kept


class ModelNames(Kept):
    """What tells a model from others.

    Parameters
    ----------
    run : the run, or the model's file
    voxel_mm : longest edge of the grid's voxels
    training_steps : 0 of a method that takes none
    fine_tuned : whether it started from the weights of another model
    threshold_source : where its thresholds come from, in words
    """

    run: str
    model_sha256: str
    method: str
    preset: str
    configuration: str
    voxel_mm: float
    training_set: str
    training_steps: int
    fine_tuned: bool
    threshold_source: str


class MapRecord(Kept):
    """One anomaly map.

    Parameters
    ----------
    sequence : or "joint"
    threshold : score from which on a voxel is in the mask
    anomaly_ml : volume of the mask
    components : of the mask, the largest first
    maximum_score : of the map in native space
    mean_score : over the brain, on the standard grid
    picture, viewer : files below the output folder
    volumes : what each volume is → its file
    """

    sequence: str
    threshold: float
    anomaly_ml: float
    components: tuple[Component, ...]
    maximum_score: float
    mean_score: float
    picture: str
    viewer: str
    volumes: dict[str, str]

    @property
    def largest_component_ml(self) -> float:
        return self.components[0].ml if self.components else 0.0


class Scan(Kept):
    """An image that a case was made of: the file's name, without its folder, and its SHA-256."""

    name: str
    sha256: str


class PredictionRecord(Kept):
    """One case, done.

    Parameters
    ----------
    made_from : hash of its files and of what was asked (`Request.hash_of`)
    scans : by sequence
    tools : by which it was made, with versions
    steps : which steps it needed
    done : what was done to it, in words
    warnings : what is odd about its images
    flags : figures out of their limits
    quality : figure → value
    maps : of each sequence, then the joint one
    files : name below the output folder → SHA-256
    """

    case: str
    made_from: str
    scans: dict[str, Scan]
    tools: tuple[str, ...]
    steps: CaseSteps
    done: tuple[str, ...]
    model: ModelNames
    warnings: tuple[Remark, ...]
    flags: tuple[Remark, ...]
    quality: dict[str, int | float]
    maps: tuple[MapRecord, ...]
    files: dict[str, str]


def record_path(output: Path, case_id: str) -> Path:
    """The file that is written last: a case without it is not there."""
    return output / "records" / f"{case_id}.json"


def read_record(output: Path, case_id: str) -> PredictionRecord | None:
    """What was written for a case; None where that is nothing, damaged or of another version."""
    return _read(record_path(output, case_id))


def read_records(output: Path) -> Iterator[PredictionRecord]:
    """The records of all cases that are done, of this run or of earlier ones, by case id."""
    for path in sorted((output / "records").glob("[!.]*.json")):
        if (record := _read(path)) is not None:
            yield record


def _read(path: Path) -> PredictionRecord | None:
    try:
        return PredictionRecord.read(path)
    except (OSError, ValueError):
        return None
