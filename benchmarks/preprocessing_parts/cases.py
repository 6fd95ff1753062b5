"""The cases to be timed: simulated heads, and real scans where they are."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from dal_auto.case import FloatArray
from dal_auto.images import write_image
from preprocessing_parts.heads import (
    DEGREES,
    SHIFT_MM,
    Subject,
    TrueImage,
    draw_pose,
)

_ROOT = Path(__file__).parents[2]


@dataclass(eq=False)
class Case:
    """One case to be timed, and the seconds measured on it.

    Parameters
    ----------
    files : "T1" and "T2"
    true : sequence → truth, of simulated heads
    points_mm : (n, 3) of the head, in the T1's scanner mm, of simulated heads
    ours, plain : seconds by step, and "all" by the wall clock
    plain_same_n4 : seconds of the plain script had its N4 worked on our grid
    peer : brainles's "seconds", "steps" and "matrices"
    """

    name: str
    files: dict[str, Path]
    true: dict[str, TrueImage] = field(default_factory=dict)
    points_mm: FloatArray | None = None
    ours: dict[str, float] = field(default_factory=dict)
    plain: dict[str, float] = field(default_factory=dict)
    plain_same_n4: float = 0.0
    peer: dict[str, Any] = field(default_factory=dict)


def test_data() -> Path | None:
    """The folder of small real cases, named by DAL_TEST_DATA, where there is one."""
    folder = Path(os.environ.get("DAL_TEST_DATA") or _ROOT / "../shared/data").resolve()
    return folder if folder.is_dir() else None


def head_sources(data: Path | None) -> tuple[str, str]:
    """Two heads: of the label maps where they are, else the embedded atlases."""
    maps = sorted((data / "label_maps").glob("*.nii.gz")) if data else []
    return (str(maps[0]), str(maps[len(maps) // 2])) if len(maps) > 1 else ("ICBM152", "SRI24")


def simulated_case(name: str, subject: Subject, rng: np.random.Generator, folder: Path) -> Case:
    """T1 in a random pose, T2 after the head has moved by the full known transform."""
    pose = draw_pose(rng, DEGREES, SHIFT_MM)
    true = {
        "T1": subject.acquire("T1", pose, rng),
        "T2": subject.acquire("T2", draw_pose(rng, DEGREES, SHIFT_MM) @ pose, rng),
    }
    files = {sequence: folder / f"{name}_{sequence}.nii.gz" for sequence in true}
    for sequence, image in true.items():
        write_image(files[sequence], image.image, image.grid)
    points = nib.affines.apply_affine(pose, subject.head_points_mm(rng))
    return Case(name, files, true, points)


def real_cases(data: Path | None) -> list[Case]:
    """The paired raw scans of MSLUB, longitudinal part."""
    found = []
    for t1 in sorted((data / "mslub_raw").glob("*_T1W.nii.gz")) if data else []:
        name = f"mslub-{t1.name.split('_')[0].removeprefix('patient')}"
        found.append(Case(name, {"T1": t1, "T2": t1.with_name(t1.name.replace("_T1W", "_T2W"))}))
    return found
