"""A standard case of 48³ voxels around the atlas's centre, and plans of a method without a net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dal_auto.case import Geometry, Grid, StandardCase
from dal_auto.plans import ConfigurationPlan, Plans, PreprocessingPlan

SIZE = 48
SMALL = 24
PERCENTILES = PreprocessingPlan().percentiles
LANDMARKS = tuple(float(v) for v in np.linspace(0.05, 0.9, len(PERCENTILES)))


@pytest.fixture(scope="session")
def make_plans() -> Callable[..., Plans]:
    """Plans of the raw-intensity method: standard grid 48³ of 1 mm, configuration 24³ of 2 mm."""

    def make(**overrides: Any) -> Plans:
        configuration = ConfigurationPlan(
            name="tiny",
            input_shape=(SMALL,) * 3,
            spacing_mm=(2.0, 2.0, 2.0),
            window=(16, SMALL, SMALL),
            downsampling="area",
        )
        plans = Plans.parse(
            {
                "training_set": "Phantoms",
                "sequences": ["T1", "T2"],
                "preprocessing": {"target_shape": [SIZE] * 3},
                "intensity": {"landmarks": {"T1": LANDMARKS, "T2": LANDMARKS}},
                "configuration": configuration.model_dump(mode="json"),
                "method": {"name": "raw-intensity"},
            }
        )
        return plans.override({key.replace("__", "."): v for key, v in overrides.items()}, "test")

    return make


@pytest.fixture
def case() -> StandardCase:
    """A ball of brain, T1 and T2, in the units of some scanner."""
    random = np.random.default_rng(0)
    axes = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
    mask = sum(a**2 for a in axes) < 0.8
    ramp = np.stack([axes[0], -axes[1]]) + random.normal(0, 0.05, (2, SIZE, SIZE, SIZE))
    images = (300 + 100 * ramp) * mask
    grid = Grid((SIZE,) * 3, np.eye(4))
    return StandardCase(
        dataset="Phantoms",
        case_id="case",
        patient_id="patient",
        sequences=("T1", "T2"),
        images=images.astype(np.float32),
        brain_mask=mask,
        lesion_mask=None,
        geometry=Geometry({"T1": grid, "T2": grid}, {"T1": np.eye(4), "T2": np.eye(4)}),
        scale={"T1": 1.0, "T2": 1.0},
        percentiles={
            name: tuple(np.percentile(image[mask], PERCENTILES).tolist())
            for name, image in zip(("T1", "T2"), images, strict=True)
        },
        quality={},
        steps=(),
    )
