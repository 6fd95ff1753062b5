"""What is kept of a scored image: small, enough for every table, and additive.

It lies with the run, ``<run>/evaluation/<dataset>/``: per case and sequence a JSON record, and per
variant the score counts over the grid and over the brain. Seconds lie apart, in ``logs/``, so that
equal results give equal bytes. A record counts only for the checkpoint and the case that it was
made from (their hashes are in it); any other is made again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dal_auto.errors import DalError, UsageError, did_you_mean
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.kept import Kept, Origin
from dal_auto.store.runs import Run

logger = logging.getLogger(__name__)

#: In place of a dataset's name: patients of the training set that the run was not trained on.
HELD_OUT = "_held-out"
GRID, BRAIN = REGIONS = ("grid", "brain")
_FAILURES = "failures.json"


class VariantScore(Kept):
    """How one variant of a method scores one image.

    Parameters
    ----------
    average_precision : over the grid, in [0, 1]; None for an image without a lesion
    lesions : every lesion of the image
    false_positives : detections at the run's practical threshold that touch no lesion; None
        without a threshold
    """

    average_precision: float | None
    lesions: list[LesionScore]
    false_positives: int | None


class Similarity(Kept):
    """Mean SSIM of a healthy image and its restoration (§4.8.3), over grid and brain."""

    grid: float
    brain: float


class ScoreRecord(Kept):
    """One case and sequence as a run scored it.

    Parameters
    ----------
    variants : name, empty where a method has only one → its score
    lesion_ml : volume of the lesion mask
    lesion_outside_brain : share of it outside the brain mask, in [0, 1]
    error_normal, error_lesion : mean |x − x_r| over voxels (l1-RE of Table 4); None where there is
        nothing to compare
    similarity : of a healthy image, where the method restores images
    """

    case: str
    patient: str
    sequence: str
    variants: dict[str, VariantScore]
    lesion_ml: float
    lesion_outside_brain: float
    error_normal: float | None
    error_lesion: float | None
    similarity: Similarity | None
    made_from: Origin


@dataclass(frozen=True)
class ScoredImage:
    """One case, one sequence, one run, as it lies on disk.

    Parameters
    ----------
    folder : ``<run>/evaluation/<dataset>``
    """

    run: Run
    dataset: str
    folder: Path
    record: ScoreRecord

    @property
    def case_id(self) -> str:
        return self.record.case

    @property
    def patient_id(self) -> str:
        return self.record.patient

    @property
    def sequence(self) -> str:
        return self.record.sequence

    @property
    def variants(self) -> list[str]:
        return list(self.record.variants)

    @property
    def has_lesion(self) -> bool:
        return self.record.lesion_ml > 0

    @property
    def picture(self) -> Path | None:
        path = self.folder / picture_name(self._stem)
        return path if path.is_file() else None

    @property
    def slices(self) -> Path | None:
        """Slices for comparisons between methods, of a few cases of each dataset."""
        path = self.folder / slices_name(self._stem)
        return path if path.is_file() else None

    @property
    def vectors(self) -> Path | None:
        """Vectors that describe the image, where the method has some."""
        path = self.folder / vectors_name(self._stem)
        return path if path.is_file() else None

    @property
    def _stem(self) -> str:
        return f"{self.case_id}_{self.sequence}"

    def counts(self, variant: str, region: str) -> ScoreCounts:
        """Score counts of a variant, over the whole "grid" or the "brain" only."""
        return ScoreCounts.load(self.folder / counts_name(self._stem, variant, region))

    def seconds(self) -> dict[str, float]:
        """Seconds by step, of the time that it was scored; empty if the log is gone or damaged."""
        path = log_path(self.folder, self._stem)
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError):
            return {}


@dataclass(frozen=True)
class Records:
    """All that was kept of some runs.

    Parameters
    ----------
    scored : cases of annotated datasets
    held_out : healthy cases of the training sets
    problems : cases that failed when they were last evaluated, records that cannot be used
    """

    scored: list[ScoredImage]
    held_out: list[ScoredImage]
    problems: list[str]

    @property
    def runs(self) -> list[Run]:
        """Runs with any record, in the order of their names."""
        runs = {one.run for one in (*self.scored, *self.held_out)}
        return sorted(runs, key=lambda run: run.identity)


def method_name(run: Run, variant: str) -> str:
    """The method as people read it: with the variant where it has several."""
    return f"{run.method} ({variant})" if variant else run.method


def counts_name(stem: str, variant: str, region: str) -> str:
    return "_".join([stem, *([variant] if variant else []), region]) + ".npz"


def picture_name(stem: str) -> str:
    return f"{stem}.png"


def slices_name(stem: str) -> str:
    return f"{stem}_slices.npz"


def vectors_name(stem: str) -> str:
    return f"{stem}_vectors.npz"


def picture_names(stem: str) -> tuple[str, ...]:
    """What figures and pages show of an image: no older one stays beside a new score."""
    return picture_name(stem), slices_name(stem), vectors_name(stem)


def log_path(folder: Path, stem: str) -> Path:
    return folder / "logs" / f"{stem}.json"


def evaluation_folder(run: Run, dataset: str) -> Path:
    return run.folder / "evaluation" / dataset


def evaluated_datasets(runs: Sequence[Run]) -> list[str]:
    """Names of all annotated datasets that any of the runs was evaluated on."""
    folders = (path for run in runs for path in (run.folder / "evaluation").glob("*"))
    return sorted({path.name for path in folders if path.is_dir() and path.name != HELD_OUT})


def kept_datasets(runs: Sequence[Run], names: Sequence[str] | None) -> list[str]:
    """Those of `evaluated_datasets` that are asked for, in any case of letters; None: all.

    Raises
    ------
    UsageError
        if nothing is kept of one of them, or nothing at all.
    """
    kept = {name.lower(): name for name in evaluated_datasets(runs)}
    if not kept:
        raise UsageError("no scores are kept of these runs: evaluate first, without --report-only")
    asked = list(kept) if names is None else [name.lower() for name in names]
    if unknown := [name for name in names or () if name.lower() not in kept]:
        near = did_you_mean(unknown[0], kept.values())
        raise UsageError(
            f"no scores are kept of {', '.join(unknown)}.{near} Kept: {', '.join(kept.values())}"
        )
    return sorted({kept[name] for name in asked})


def is_scored(folder: Path, stem: str, made_from: Origin) -> bool:
    """Whether a whole record of this checkpoint and case is there, with its counts."""
    try:
        record = ScoreRecord.read(folder / f"{stem}.json")
    except (OSError, ValueError):
        return False
    files = [counts_name(stem, v, region) for v in record.variants for region in REGIONS]
    return record.made_from == made_from and all((folder / name).is_file() for name in files)


def write_failures(folder: Path, failures: Sequence[str]) -> None:
    """Keep what failed in the last evaluation, for reports that are built later."""
    if failures:
        write_json(folder / _FAILURES, list(failures))
    else:
        (folder / _FAILURES).unlink(missing_ok=True)


def read_scored(
    runs: Sequence[Run],
    datasets: Sequence[str],
    cases: Mapping[str, Mapping[str, str]] | None = None,
) -> Records:
    """Everything usable that was kept of these runs and datasets, and what is not usable.

    Parameters
    ----------
    cases : dataset → case id → hash of the standard case as it is now; scores of other cases, and
        of cases as they were before, do not count. Of datasets that are not named all count
    """
    records = Records([], [], [])
    for run in runs:
        records.problems.extend(_failures(run.folder / "evaluation"))
        try:
            model = run.checkpoint_sha256()
        except OSError as error:
            records.problems.append(f"{run}: its checkpoint cannot be read ({error.strerror})")
            continue
        for dataset in (*datasets, HELD_OUT):
            folder = evaluation_folder(run, dataset)
            records.problems.extend(_failures(folder))
            found = records.held_out if dataset == HELD_OUT else records.scored
            gone = 0
            for path in sorted(folder.glob("[!.]*.json")):
                if path.name == _FAILURES:
                    continue
                try:
                    record = _read(path, model)
                    now = (cases or {}).get(dataset)
                    if now is not None and record.case not in now:
                        gone += 1
                        continue
                    _require_current(record, now)
                    found.append(ScoredImage(run, dataset, folder, record))
                except DalError as error:
                    records.problems.append(f"{run}, {dataset}, {path.stem}: {error}")
            if gone:
                words = "%s: %d scores do not count: %s no longer has these cases"
                logger.info(words, run, gone, dataset)
    return records


def _read(path: Path, model: str) -> ScoreRecord:
    try:
        record = ScoreRecord.read(path)
    except OSError as error:
        raise DalError(f"the record cannot be read ({error}); evaluate again") from error
    except ValueError:
        raise DalError(
            "the record is damaged, or of another version of dal_auto; evaluate again"
        ) from None
    if record.made_from != Origin(model=model, case=record.made_from.case):
        raise DalError("the record was made with another checkpoint or version; evaluate again")
    return record


def _require_current(record: ScoreRecord, cases: Mapping[str, str] | None) -> None:
    if cases is not None and cases[record.case] != record.made_from.case:
        raise DalError("the case was preprocessed again since; evaluate again")


def _failures(folder: Path) -> Iterator[str]:
    path = folder / _FAILURES
    if not path.is_file():
        return
    try:
        yield from json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield f"{path}: which cases failed cannot be read; delete it and evaluate again"
