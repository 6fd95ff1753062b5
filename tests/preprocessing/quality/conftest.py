"""A toy atlas, a brain that fits it, and standard cases of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dal_auto.case import Geometry, StandardCase
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.quality.dataset import write_quality
from dal_auto.store.standard_cases import read_records, write_case

SHAPE = (40, 56, 40)


@pytest.fixture(scope="module")
def toy() -> Atlas:
    """A box of 20×30×20 voxels in the middle of the target grid, brighter towards its end."""
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[110:130, 105:135, 68:88] = np.arange(1, 21)[:, None, None]
    return Atlas("toy", image, "")


@pytest.fixture
def brain() -> np.ndarray:
    """The toy's brain on the target grid, 40×56×40 about the same centre."""
    mask = np.zeros(SHAPE, bool)
    mask[10:30, 13:43, 10:30] = True
    return mask


def ramp(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, np.arange(40)[:, None, None] + 1.0, 0)


@pytest.fixture
def case(brain) -> StandardCase:
    lesion = np.zeros_like(brain)
    lesion[12:18, 20:26, 12:18] = True
    return StandardCase(
        dataset="D",
        case_id="fine",
        patient_id="p",
        sequences=("T1", "T2"),
        images=np.stack([ramp(brain), ramp(brain)]).astype(np.float32),
        brain_mask=brain,
        lesion_mask=lesion,
        geometry=Geometry({}, {}),
        scale={},
        percentiles={},
        quality={"brain_ml": 1400.0, "atlas_dice": 0.93, "brain_outside_share": 0.0},
        steps=(),
    )


@pytest.fixture
def write(tmp_path, toy):
    """Writes cases, then the dataset's quality files; returns the table."""

    def call(*cases: StandardCase, failures: tuple[str, ...] = ()) -> pd.DataFrame:
        for one in cases:
            write_case(tmp_path / "cases", one, f"hash of {one.case_id}")
        records = read_records(tmp_path / "cases")
        write_quality(tmp_path, "D", records, failures, atlas=toy)
        return pd.read_csv(tmp_path / "quality.csv", keep_default_na=False)

    return call
