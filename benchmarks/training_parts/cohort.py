"""A small cohort on disk, with the sizes of a real one and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dal_auto.case import Geometry, Grid, StandardCase
from dal_auto.datasets.simulation.deformation import smooth_noise
from dal_auto.methods.registry import find_method
from dal_auto.planning.configurations import CONFIGURATIONS, mixed_precision
from dal_auto.plans import Plans, PreprocessingPlan
from dal_auto.store.standard_cases import read_records, write_case
from dal_auto.training.cohort import Cohort, cohort_of

SEQUENCES = ("T1", "T2")
PERCENTILES = PreprocessingPlan().percentiles


#: Of our preset's, what the plain implementation has too; all else of it is the paper's.
_IN_THE_PLAIN_ONE = ("similarity_of", "code_consistency")


def demo_plans(*, recipe: bool = True) -> Plans:
    """DAL's plans for the demo's grid, as the planner makes them for a CPU.

    Parameters
    ----------
    recipe : False leaves out what is ours in training
    """
    row = CONFIGURATIONS["demo"]
    configuration = row.plan("demo")
    robust, paper = (
        find_method("DAL").default_settings(preset, configuration).model_dump(mode="json")
        for preset in ("robust", "paper")
    )
    settings = robust if recipe else paper | {key: robust[key] for key in _IN_THE_PLAIN_ONE}
    landmarks = tuple(float(v) for v in np.linspace(0.05, 0.9, len(PERCENTILES)))
    return Plans.parse(
        {
            "training_set": "none",
            "sequences": list(SEQUENCES),
            "intensity": {"landmarks": dict.fromkeys(SEQUENCES, landmarks)},
            "configuration": configuration.model_dump(mode="json"),
            "method": {"settings": settings},
            "training": {key: value for key, (value, _) in row.training.items()}
            | {"amp": mixed_precision("cpu", row.input_shape)},
        }
    )


def write_cohort(folder: Path, plans: Plans, cases: int) -> Cohort:
    """`cases` brains of smooth noise in an ellipsoid, on the standard grid."""
    shape = plans.preprocessing.target_shape
    axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in shape], indexing="ij")
    brain = sum(a**2 for a in axes) < 0.6
    grid = Grid(shape, np.eye(4))
    for number in range(cases):
        tissue = smooth_noise(np.random.default_rng(number), shape, 1.0, 8.0)
        images = np.stack([tissue, -tissue])
        images = (images - images.min() + 0.1).astype(np.float32) * brain
        percentiles = {
            name: tuple(np.percentile(image[brain], PERCENTILES).tolist())
            for name, image in zip(SEQUENCES, images, strict=True)
        }
        case = StandardCase(
            dataset="none",
            case_id=f"case{number}",
            patient_id=f"p{number}",
            sequences=SEQUENCES,
            images=images,
            brain_mask=brain,
            lesion_mask=None,
            geometry=Geometry(dict.fromkeys(SEQUENCES, grid), dict.fromkeys(SEQUENCES, np.eye(4))),
            scale=dict.fromkeys(SEQUENCES, 1.0),
            percentiles=percentiles,
            quality={},
            steps=("noise",),
        )
        write_case(folder / "cases", case, f"{number}")
    return cohort_of(folder, read_records(folder / "cases"), plans)
