"""A cohort of phantoms on disk, cases of 32³ voxels, and plans that train on 16³ of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from dal_auto.case import Geometry, Grid, StandardCase
from dal_auto.plans import Plans, PreprocessingPlan
from dal_auto.store.standard_cases import read_records, write_case
from dal_auto.training.cohort import Cohort, cohort_of

SIZE = 32
SEQUENCES = ("T1", "T2")
PERCENTILES = PreprocessingPlan().percentiles
LANDMARKS = tuple(float(v) for v in np.linspace(0.05, 0.9, len(PERCENTILES)))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def phantom(
    case_id: str, patient_id: str, seed: int, sequences: Sequence[str] = SEQUENCES
) -> StandardCase:
    """Grey shell, white core, two blobs of fluid somewhere; T1 and T2 in some scanner's units."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    tissue = np.where(radius < 0.7, 2, 1)
    for centre in random.uniform(-0.4, 0.4, (2, 3)):
        tissue[np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))) < 0.35] = 0
    mask = radius < 0.9
    contrasts = np.array([[0.2, 0.5, 0.8], [0.9, 0.5, 0.3]])
    images = (contrasts[:, tissue] + random.normal(0, 0.04, (2, *tissue.shape))).clip(0.01) * mask
    images = images[[SEQUENCES.index(name) for name in sequences]]
    grid = Grid((SIZE,) * 3, np.eye(4))
    return StandardCase(
        dataset="Phantoms",
        case_id=case_id,
        patient_id=patient_id,
        sequences=tuple(sequences),
        images=images.astype(np.float32),
        brain_mask=mask,
        lesion_mask=None,
        geometry=Geometry(dict.fromkeys(sequences, grid), dict.fromkeys(sequences, np.eye(4))),
        scale=dict.fromkeys(sequences, 500.0),
        percentiles={
            name: tuple(np.percentile(image[mask], PERCENTILES).tolist())
            for name, image in zip(sequences, images, strict=True)
        },
        quality={},
        steps=("made for a test",),
    )


@pytest.fixture(scope="session")
def make_phantom() -> Callable[..., StandardCase]:
    """`phantom`, for tests that want another one."""
    return phantom


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory) -> Path:
    """Six cases of five patients on disk; the last two are one patient."""
    folder = tmp_path_factory.mktemp("Phantoms")
    for index, patient in enumerate(["p0", "p1", "p2", "p3", "p4", "p4"]):
        write_case(folder / "cases", phantom(f"case{index}", patient, index), f"hash{index}")
    return folder


@pytest.fixture(scope="session")
def incomplete_folder(tmp_path_factory) -> Path:
    """Six cases of six patients on disk; case 1 has no T2, case 4 no T1."""
    folder = tmp_path_factory.mktemp("Incomplete")
    for index, sequences in enumerate([SEQUENCES, ["T1"], SEQUENCES, SEQUENCES, ["T2"], SEQUENCES]):
        case = phantom(f"case{index}", f"p{index}", index, sequences)
        write_case(folder / "cases", case, f"hash{index}")
    return folder


@pytest.fixture(scope="session")
def make_cohort(dataset_folder) -> Callable[..., Cohort]:
    """A cohort of the cases with the given numbers, by default of all."""

    def make(plans: Plans, cases: Sequence[int] = range(6)) -> Cohort:
        records = read_records(dataset_folder / "cases")
        return cohort_of(dataset_folder, [records[index] for index in cases], plans)

    return make
