"""A real leak: deepbet on a simulated head whose outside has the contrast of a brain.

The head is drawn from a label map with random intensities outside the brain. deepbet's mask then
takes in orbits and scalp (2323 ml, where the head's brain and the fluid around it have 1900).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dal_auto.case import Grid, RawCase
from dal_auto.datasets import simulate
from dal_auto.datasets.simulation.tasks import HEALTHY, SubjectTask
from dal_auto.images import write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.skull_strip.tools import TOOLS, Tool
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.workers.progress import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.long]
STEPS = CaseSteps(bias_correct=False, coregister=False, register_to_atlas=True, strip=True)


@pytest.fixture
def head(test_data, tmp_path, monkeypatch) -> tuple[Path, np.ndarray, Grid]:
    """File of the T1 image, its true brain, and its grid."""
    label_map = test_data / "label_maps" / "seg_12.nii.gz"
    if not label_map.is_file():
        pytest.skip(f"{label_map} is not there")
    outside = np.random.default_rng(1)
    plausible = simulate.draw_means

    def random_outside(rng, sequence, style):
        tissue, means = plausible(rng, sequence, style)
        means = means.copy()
        means[3:] = [outside.uniform(0.05, 1.1) for _ in means[3:]]
        return tissue, means

    monkeypatch.setattr(simulate, "draw_means", random_outside)
    task = SubjectTask(tmp_path, HEALTHY, "h", 1, 0, str(label_map), "none", None, 1.2)
    subject = simulate.simulate_images(task)
    image = subject.images["T1"]
    x, y, z = image.shape
    grid = Grid((x, y, z), image.affine)
    write_image(tmp_path / "T1.nii.gz", image.get_fdata(), grid)
    return tmp_path / "T1.nii.gz", subject.brain_mask, grid


def test_a_leak_of_deepbet_is_caught_and_the_next_tools_mask_taken(head, atlas, monkeypatch):
    pytest.importorskip("deepbet")
    pytest.importorskip("picsl_greedy")
    path, brain, grid = head
    monkeypatch.setitem(TOOLS, "robex", Tool(lambda *_: brain, lambda: "the truth"))
    case = standardise(
        RawCase("D", "leaky", "p", {"T1": path}),
        STEPS,
        PreprocessingPlan(),
        atlas,
        threads=1,
        watch=Stopwatch(),
    )
    assert case.steps[0].startswith("brain mask rejected: deepbet ")
    assert "lie beyond the atlas's brain" in case.steps[0]
    assert case.steps[1] == "brain mask: the truth"
    assert (case.quality["masks_rejected"], case.quality["mask_doubtful"]) == (1, 0)
    assert case.quality["brain_ml"] == pytest.approx(brain.sum() * grid.voxel_ml, rel=0.02)
    assert case.quality["mask_beyond_ml"] < 5
