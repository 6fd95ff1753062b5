"""A run to predict with, made in a minute: its seconds do not depend on what its weights are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

from dal_auto.case import Geometry, StandardCase
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import ATLAS_GRID, load_atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.preprocessing.resampling import resample, resample_mask
from dal_auto.preprocessing.steps import NO_STEPS, DatasetDecisions
from dal_auto.store.atomic import write_json
from dal_auto.store.standard_cases import case_ids, write_case
from predict_parts.command import command

DATASET, SEQUENCES = "AtlasNoise", ("T1", "T2")
SUBJECTS = 4


def make_run(home: Path, configuration: str, steps: int) -> Path:
    """Train a few steps on noisy copies of the atlas, by the real command.

    Parameters
    ----------
    home : DAL_HOME, empty
    configuration : its name, which decides how large the networks are

    Returns
    -------
    the run's folder
    """
    folder = home / "preprocessed" / DATASET
    plan = PreprocessingPlan(atlas=load_atlas().name, atlas_sha256=load_atlas().sha256)
    for number in range(SUBJECTS):
        write_case(folder / "cases", _subject(number, plan), str(number))
    needed = dict.fromkeys(case_ids(folder / "cases"), NO_STEPS)
    decisions = DatasetDecisions(dataset=DATASET, preprocessing=plan, steps=needed)
    write_json(folder / "preprocessing.json", decisions.model_dump(mode="json"))
    subprocess.run(
        [*command("dal_train"), "-d", DATASET, "-c", configuration, "--device", "cpu",
         "--set", f"training.steps={steps}", "--set", "method.settings.warm_start_steps=1"],
        check=True,
        capture_output=True,
        env=os.environ | {"DAL_HOME": str(home)},
    )  # fmt: skip
    (run,) = {path.parent for path in (home / "results").rglob("complete.json")}
    return run


def _subject(number: int, plan: PreprocessingPlan) -> StandardCase:
    """The atlas's T1 with noise, and its negative as T2."""
    rng, atlas = np.random.default_rng(number), load_atlas()
    grid = centre_crop_or_pad(ATLAS_GRID, plan.target_shape)
    brain = resample_mask(atlas.brain_mask, atlas.grid, grid, np.eye(4))
    t1 = resample(atlas.image, atlas.grid, grid, np.eye(4)) / np.percentile(atlas.image, 99.9)
    images = np.stack([t1, 1.2 - t1]) + 0.03 * rng.standard_normal((2, *grid.shape), np.float32)
    images = (np.maximum(images, 0.01) * brain).astype(np.float16).astype(np.float32)
    return StandardCase(
        dataset=DATASET,
        case_id=f"noise-{number}",
        patient_id=f"noise-{number}",
        sequences=SEQUENCES,
        images=images,
        brain_mask=brain,
        lesion_mask=None,
        geometry=Geometry(dict.fromkeys(SEQUENCES, grid), dict.fromkeys(SEQUENCES, np.eye(4))),
        scale=dict.fromkeys(SEQUENCES, 1.0),
        percentiles={
            name: brain_percentiles(image, brain, plan.percentiles)
            for name, image in zip(SEQUENCES, images, strict=True)
        },
        quality={},
        steps=("noise on the atlas",),
    )
