"""The simulated cohort: heads with skull, two sequences on two grids, and some with lesions.

It lets the whole chain be walked without any download. Everything that it writes says that it is
simulated. Two data sets in BIDS layout: `SimHealthy`, and `SimLesions` with masks under
`derivatives/lesions`. They come from different source heads, so that no head stands on both sides
of a split: by default ICBM152 (healthy) and SRI24 (lesions); of a folder of label maps the last
30 % go to the lesions. With the atlases, SRI24 has no outside of its own and borrows the ICBM
head's, mirrored and fitted; the brains share nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from dal_auto.case import BoolArray
from dal_auto.datasets.simulation.acquisition import (
    STYLES,
    degrade,
    draw_acquisitions,
    draw_means,
    sample,
)
from dal_auto.datasets.simulation.anatomy import Anatomy, build_anatomy, paint
from dal_auto.datasets.simulation.heads import Head, load_head
from dal_auto.datasets.simulation.lesions import (
    Lesion,
    contrast,
    draw_small_lesions,
    draw_tumour,
    lesions_from_mask,
    paint_lesion,
)
from dal_auto.datasets.simulation.tasks import HEALTHY, LESIONED, RECIPE, SubjectTask, cohort_tasks
from dal_auto.store.atomic import replacing, write_json, write_text

__all__ = [
    "HEALTHY",
    "LESIONED",
    "SimulatedSubject",
    "SubjectTask",
    "cohort_tasks",
    "describe_cohort",
    "simulate_cohort",
    "simulate_images",
    "simulate_subject",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SimulatedSubject:
    """The images of one subject.

    Parameters
    ----------
    images : of the task's sequences, int16
    brain_mask : (x, y, z) true brain on the T1 grid, ventricles and sulci included
    lesion_mask : (x, y, z) on the T1 grid, share of lesion ≥ 0.5; None without lesion
    style : name of the scanner's style
    """

    images: dict[str, nib.Nifti1Image]
    brain_mask: BoolArray
    lesion_mask: BoolArray | None
    style: str


def describe_cohort(tasks: Iterable[SubjectTask]) -> None:
    """Write `dataset_description.json` and `participants.tsv` of the data sets of `tasks`."""
    groups: dict[Path, list[SubjectTask]] = {}
    for task in tasks:
        groups.setdefault(task.output / task.dataset, []).append(task)
    for folder, members in groups.items():
        description = {
            "Name": f"{folder.name} (simulated)",
            "BIDSVersion": "1.9.0",
            "DatasetType": "raw",
            "GeneratedBy": [
                {
                    "Name": "dal_auto simulate",
                    "Description": "Simulated images, not measured ones",
                    "Seed": members[0].seed,
                    "Recipe": RECIPE,
                }
            ],
        }
        write_json(folder / "dataset_description.json", description)
        rows = [f"sub-{t.subject}\t{Path(t.head).name}\t{t.lesion}" for t in members]
        table = "\n".join(["participant_id\tsource_head\tlesion", *rows]) + "\n"
        write_text(folder / "participants.tsv", table)
        if folder.name == LESIONED:
            derived = description | {
                "Name": f"{folder.name} lesion masks",
                "DatasetType": "derivative",
            }
            write_json(folder / "derivatives" / "lesions" / "dataset_description.json", derived)


def simulate_subject(task: SubjectTask) -> bool:
    """Write one subject; returns False when it was there already, made by the same recipe.

    The sidecar of the T1 image holds the recipe and is written last: without it, the subject does
    not count as done.
    """
    files = task.images()
    sidecar = files["T1"].with_name(files["T1"].name.replace(".nii.gz", ".json"))
    if _is_done(task, sidecar):
        log.debug("%s is there already", task.subject)
        return False
    sidecar.unlink(missing_ok=True)
    subject = simulate_images(task)
    for sequence in task.sequences:
        _save(subject.images[sequence], files[sequence])
    if subject.lesion_mask is not None:
        t1 = subject.images["T1"]
        header = t1.header.copy()
        header.set_data_dtype(np.uint8)
        _save(
            nib.Nifti1Image(subject.lesion_mask.astype(np.uint8), t1.affine, header),
            files["lesion"],
        )
    content = {
        "Simulated": True,
        "Task": task.recipe(),
        "TaskSHA256": task.recipe_hash(),
        "ScannerStyle": subject.style,
    }
    write_json(sidecar, content)
    return True


def simulate_images(task: SubjectTask) -> SimulatedSubject:
    """Simulate one subject in memory, with the true brain mask that is never written to disk."""
    head = load_head(task.head)
    step = int(np.clip(task.spacing_mm // 1.5, 1, 2))
    anatomy = build_anatomy(head, task.stream("anatomy"), step)
    rng = task.stream("acquisition")
    style = STYLES[int(rng.integers(len(STYLES)))]
    acquisitions = draw_acquisitions(rng, anatomy, style, task.spacing_mm)
    lesion_rng = task.stream("lesion")
    lesion = _lesion(task, lesion_rng, head, anatomy)

    masks, images = {}, {}
    for sequence in task.sequences:
        acquisition = acquisitions[sequence]
        tissue, outside = draw_means(rng, sequence, style)
        image = paint(anatomy, tissue, outside)
        if lesion:
            how = contrast(lesion_rng, lesion.kind, sequence, tissue["csf"])
            paint_lesion(image, anatomy, lesion, how)
        clean = sample(image, anatomy, acquisition)
        masks[sequence] = sample(anatomy.brain.astype(np.float32), anatomy, acquisition) >= 0.5
        images[sequence] = degrade(rng, clean, masks[sequence], acquisition.grid, style, sequence)
    lesion_mask = None
    if lesion:
        share = np.zeros(anatomy.compartments.shape, np.float32)
        share[anatomy.box] = lesion.core + lesion.rim
        lesion_mask = sample(share, anatomy, acquisitions["T1"]) >= 0.5
    return SimulatedSubject(images, masks["T1"], lesion_mask, style.name)


def simulate_cohort(
    output: Path,
    *,
    n_healthy: int,
    n_lesioned: int,
    seed: int = 0,
    heads: Path | None = None,
    lesion_masks: Path | None = None,
    stroke_masks: Path | None = None,
    spacing_mm: float = 1.5,
    progress: Callable[[list[SubjectTask]], Iterable[SubjectTask]] = iter,
) -> None:
    """Write a cohort, one subject after the other; `progress` wraps the tasks, as tqdm does.

    To use several processes, call `describe_cohort` on the tasks of `cohort_tasks` and map
    `simulate_subject` over them. Parameters and errors are those of `cohort_tasks`.
    """
    tasks = cohort_tasks(
        output, n_healthy=n_healthy, n_lesioned=n_lesioned, seed=seed, heads=heads,
        lesion_masks=lesion_masks, stroke_masks=stroke_masks, spacing_mm=spacing_mm,
    )  # fmt: skip
    describe_cohort(tasks)
    # Subjects of one head in a row: the last heads read are kept in memory.
    for task in progress(sorted(tasks, key=lambda t: (t.dataset, t.head, t.index))):
        simulate_subject(task)


def _lesion(
    task: SubjectTask, rng: np.random.Generator, head: Head, anatomy: Anatomy
) -> Lesion | None:
    if task.lesion == "none":
        return None
    if task.lesion == "tumour":
        return draw_tumour(rng, anatomy)
    if task.lesion_mask:
        return lesions_from_mask(task.lesion_mask, task.lesion, head, anatomy)
    return draw_small_lesions(rng, anatomy)


def _is_done(task: SubjectTask, sidecar: Path) -> bool:
    try:
        made_by = json.loads(sidecar.read_text(encoding="utf-8"))["TaskSHA256"]
    except (OSError, ValueError, KeyError):
        return False
    return made_by == task.recipe_hash() and all(p.is_file() for p in task.images().values())


def _save(image: nib.Nifti1Image, path: Path) -> None:
    with replacing(path) as temporary:
        nib.save(image, temporary)
