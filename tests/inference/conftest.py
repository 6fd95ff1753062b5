"""A standard case of 48³ voxels around the atlas's centre, and plans of a method without a net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dal_auto.case import Geometry, Grid, RawCase, StandardCase
from dal_auto.images import write_image
from dal_auto.inference.export import standard_grid
from dal_auto.inference.measure import Component
from dal_auto.inference.prepare import Prepared, PrepareTask
from dal_auto.inference.record import MapRecord, ModelNames, PredictionRecord
from dal_auto.inference.remark import Remark
from dal_auto.inference.request import scans_of, tools_of
from dal_auto.inference.run import PredictionSummary, predict_cases
from dal_auto.methods.checkpoint import Checkpoint, save_checkpoint
from dal_auto.plans import ConfigurationPlan, Plans, PreprocessingPlan
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.store.claim import claimed
from dal_auto.store.runs import Run
from dal_auto.workers import Workforce

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


@pytest.fixture
def plans(make_plans) -> Plans:
    """Plans of the mean brain."""
    return make_plans(method__name="mean-brain")


@pytest.fixture
def run(tmp_path, plans) -> Run:
    """A complete run of the mean brain, which is 0.5 everywhere."""
    folder = tmp_path / "results" / "Phantoms" / "mean-brain__tiny__robust" / "seed_0"
    folder.mkdir(parents=True)
    checkpoint = Checkpoint(
        plans,
        {"mean": torch.full((2, SMALL, SMALL, SMALL), 0.5)},
        thresholds={"T1": 0.25, "T2": 0.25},
        threshold_source="3 healthy validation cases",
    )
    save_checkpoint(folder / "best.safetensors", checkpoint)
    (folder / "complete.json").write_text("{}")
    return Run(folder)


@pytest.fixture
def scans(tmp_path, plans) -> Callable[..., list[RawCase]]:
    """Scans on disk, on the standard grid; what is in them only tells one from another."""
    grid = standard_grid(plans)

    def make(*names: str, sequences: tuple[str, ...] = ("T1", "T2")) -> list[RawCase]:
        cases = []
        for name in names:
            files = {s: tmp_path / "scans" / f"{name}_{s}.nii.gz" for s in sequences}
            for number, file in enumerate(files.values()):
                values = np.full(grid.shape, float(number + 1))
                values[0, 0, 0] = sum(map(ord, name))
                write_image(file, values, grid)
            cases.append(RawCase("folder", name, name, files))
        return cases

    return make


@pytest.fixture
def prepared(case, plans) -> Callable[..., Prepared]:
    """Stands in for the chain: the ball of brain on the standard grid, brighter in its middle."""
    grid = standard_grid(plans)
    steps = CaseSteps(bias_correct=True, coregister=False, register_to_atlas=False, strip=False)

    def make(task: PrepareTask, blob: int = 8, warnings: tuple[Remark, ...] = ()) -> Prepared:
        names = tuple(task.case.sequences)
        images = np.stack([case.image(name) for name in names]).copy()
        middle = slice(SIZE // 2 - blob, SIZE // 2 + blob)
        images[:, middle, middle, middle] = 500
        standard = replace(
            case,
            case_id=task.case.case_id,
            sequences=names,
            images=images,
            geometry=Geometry(dict.fromkeys(names, grid), dict.fromkeys(names, np.eye(4))),
            percentiles={name: case.percentiles[name] for name in names},
            quality={"brain_ml": 1400.0, "atlas_dice": 0.5},
            steps=("N4: by nobody",),
        )
        return Prepared(
            standard,
            steps,
            tools_of(steps, task.request.plan),
            warnings,
            task.request.hash_of(task.case),
            scans_of(task.case),
            {"N4": 1.5},
        )

    return make


@pytest.fixture
def predicting(monkeypatch, prepared, run, tmp_path) -> Callable[..., PredictionSummary]:
    """`predict_cases` with the stand-in for the chain; `prepare` may be another."""
    monkeypatch.setattr("dal_auto.inference.model.check_atlas", lambda checkpoint: None)

    def start(
        cases: list[RawCase], prepare: Callable[[PrepareTask], Any] | None = None, **options: Any
    ) -> PredictionSummary:
        monkeypatch.setattr("dal_auto.inference.run.prepare", prepare or prepared)
        defaults = {"device": "cpu", "save": frozenset(), "threshold": None}
        with claimed(tmp_path / "maps", "Name another."):
            return predict_cases(
                cases, tmp_path / "maps", run, workforce=Workforce(1), **{**defaults, **options}
            )

    return start


@pytest.fixture
def model_names() -> ModelNames:
    return ModelNames(
        run="IXI/DAL__a/seed_0",
        model_sha256="ab" * 32,
        method="DAL",
        preset="robust",
        configuration="paper",
        voxel_mm=1.4,
        training_set="IXI",
        training_steps=5000,
        fine_tuned=False,
        threshold_source="user: --threshold",
    )


@pytest.fixture
def record(model_names) -> Callable[..., PredictionRecord]:
    def make(case: str, *volumes: float, **changes: Any) -> PredictionRecord:
        """A case with a map of each volume, in three components of which the largest is half."""
        maps = tuple(
            MapRecord(
                sequence=f"T{n}",
                threshold=0.25,
                anomaly_ml=ml,
                components=tuple(
                    Component(ml=ml * share, x_mm=0, y_mm=0, z_mm=0, maximum_score=0.9)
                    for share in (0.5, 0.25, 0.25)
                ),
                maximum_score=0.9,
                mean_score=0.01,
                picture=f"{case}_T{n}.png",
                viewer="",
                volumes={"anomaly": f"{case}_T{n}_anomaly.nii.gz"},
            )
            for n, ml in enumerate(volumes, 1)
        )
        steps = CaseSteps(bias_correct=True, coregister=False, register_to_atlas=False, strip=False)
        made = PredictionRecord(
            case=case, made_from="", scans={}, tools=(), steps=steps, done=("N4",),
            model=model_names, warnings=(), flags=(), quality={}, maps=maps, files={},
        )  # fmt: skip
        return made.model_copy(update=changes)

    return make
