"""What is kept of a scored case: small, enough for every table, and additive.

It lies with the run, ``<run>/evaluation/<dataset>/``: per case and sequence a JSON with figures,
and per variant the score counts over the grid and over the brain. Seconds lie apart, in ``logs/``,
so that equal results give equal bytes. A record counts only for the checkpoint and the case that it
was made with (their hashes are in it), and only in today's format; any other is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dal_auto.errors import DalError
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.atomic import write_json
from dal_auto.store.runs import Run

FORMAT = "dal_auto score 3"
#: In place of a dataset's name: patients of the training set that the run was not trained on.
HELD_OUT = "_held-out"
REGIONS = ("grid", "brain")
VOXEL_ML = 0.001  # of the standard grid of 1 mm
_FAILURES = "failures.json"


@dataclass(frozen=True)
class Scored:
    """One case, one sequence, one run, as it lies on disk.

    Parameters
    ----------
    folder : ``<run>/evaluation/<dataset>``
    content : figures, and what the counts of each variant are called
    """

    run: Run
    dataset: str
    folder: Path
    content: dict[str, Any]

    @property
    def case_id(self) -> str:
        return str(self.content["case"])

    @property
    def patient_id(self) -> str:
        return str(self.content["patient"])

    @property
    def sequence(self) -> str:
        return str(self.content["sequence"])

    def method(self, variant: str) -> str:
        """The method's name, with the variant where it has several."""
        return f"{self.run.method} ({variant})" if variant else self.run.method

    @property
    def variants(self) -> list[str]:
        return list(self.content["variants"])

    @property
    def has_lesion(self) -> bool:
        return bool(self.content["lesion_ml"] > 0)

    @property
    def picture(self) -> Path | None:
        path = self.folder / f"{self._stem}.png"
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

    def lesions(self, variant: str) -> list[LesionScore]:
        """Every lesion of the case."""
        return [LesionScore(*values) for values in self.content["variants"][variant]["lesions"]]

    def false_positives(self, variant: str) -> int | None:
        """Detections at the run's practical threshold that touch no lesion; None without one."""
        number = self.content["variants"][variant]["false_positives"]
        return None if number is None else int(number)

    def seconds(self) -> dict[str, float]:
        """Seconds by step, of the time that it was scored; empty if the log is gone."""
        path = log_path(self.folder, self._stem)
        if not path.is_file():
            return {}
        return dict(json.loads(path.read_text(encoding="utf-8"))["seconds"])


@dataclass(frozen=True)
class Records:
    """All that was kept of some runs.

    Parameters
    ----------
    scored : cases of annotated datasets
    held_out : healthy cases of the training sets
    problems : cases that failed when they were last evaluated, records that cannot be used
    """

    scored: list[Scored]
    held_out: list[Scored]
    problems: list[str]

    @property
    def runs(self) -> list[Run]:
        """Runs with any record, in the order of their names."""
        return sorted({one.run for one in (*self.scored, *self.held_out)}, key=str)


def counts_name(stem: str, variant: str, region: str) -> str:
    return "_".join([stem, *([variant] if variant else []), region]) + ".npz"


def slices_name(stem: str) -> str:
    return f"{stem}_slices.npz"


def vectors_name(stem: str) -> str:
    return f"{stem}_vectors.npz"


def log_path(folder: Path, stem: str) -> Path:
    return folder / "logs" / f"{stem}.json"


def evaluation_folder(run: Run, dataset: str) -> Path:
    return run.folder / "evaluation" / dataset


def evaluated_datasets(runs: Sequence[Run]) -> list[str]:
    """Names of all annotated datasets that any of the runs was evaluated on."""
    folders = (path for run in runs for path in (run.folder / "evaluation").glob("*"))
    return sorted({path.name for path in folders if path.is_dir() and path.name != HELD_OUT})


def is_scored(folder: Path, stem: str, model: str, case_hash: str) -> bool:
    """Whether a whole record of today's format, checkpoint and case is there."""
    path = folder / f"{stem}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = [counts_name(stem, v, region) for v in content["variants"] for region in REGIONS]
        same = (FORMAT, model, case_hash) == tuple(
            content[name] for name in ("format", "model", "case_hash")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return same and all((folder / name).is_file() for name in files)


def write_failures(folder: Path, failures: Sequence[str]) -> None:
    """Keep what failed in the last evaluation, for reports that are built later."""
    if failures or (folder / _FAILURES).is_file():
        write_json(folder / _FAILURES, list(failures))


def read_scored(runs: Sequence[Run], datasets: Sequence[str]) -> Records:
    """Everything usable that was kept of these runs and datasets, and what is not usable."""
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
            for path in sorted(folder.glob("[!.]*.json")):
                if path.name == _FAILURES:
                    continue
                try:
                    found.append(Scored(run, dataset, folder, _read(path, model)))
                except DalError as error:
                    records.problems.append(f"{run}, {dataset}, {path.stem}: {error}")
    return records


def _read(path: Path, model: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["format"], content["model"]
    except (OSError, ValueError) as error:
        raise DalError(f"the record cannot be read ({error}); evaluate again") from error
    except (KeyError, TypeError):
        raise DalError("the record is of an older format; evaluate again") from None
    if found[0] != FORMAT:
        raise DalError(f"the record is of the format {found[0]!r}; evaluate again")
    if found[1] != model:
        raise DalError("the record was made with another checkpoint; evaluate again")
    return dict(content)


def _failures(folder: Path) -> Iterator[str]:
    path = folder / _FAILURES
    if path.is_file():
        yield from json.loads(path.read_text(encoding="utf-8"))
