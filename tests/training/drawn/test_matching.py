"""The matching of drawn images does what that of real ones does."""

from __future__ import annotations

import numpy as np
import torch

from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.histogram_matching import brain_percentiles, match_histogram
from dal_auto.training.drawn.matching import Matching

PERCENTILES = PreprocessingPlan().percentiles


def test_drawn_images_are_matched_as_real_ones_are() -> None:
    random = np.random.default_rng(0)
    landmarks = {
        name: np.sort(random.uniform(0.05, 0.9, len(PERCENTILES))) for name in ("T1", "T2")
    }
    images = random.gamma(3, 0.2, (2, 2, 8, 8, 8)).astype(np.float32)
    brain = np.ones((8, 8, 8), bool)
    tensor = torch.from_numpy(images)
    curve = Matching(PERCENTILES, landmarks).curve(tensor.flatten(2), ("T1", "T2"))
    found = curve(tensor).clamp(0, 1).numpy()
    for subject in range(2):
        for place, name in enumerate(("T1", "T2")):
            image = images[subject, place]
            places = brain_percentiles(image, brain, PERCENTILES)
            expected = match_histogram(image, brain, places, landmarks[name])
            np.testing.assert_allclose(found[subject, place], expected, atol=2e-3)


def test_beyond_the_table_the_last_value_holds() -> None:
    points = torch.linspace(0, 1, 101).expand(1, 1, -1)
    landmarks = {"T1": np.linspace(0.05, 0.9, len(PERCENTILES))}
    curve = Matching(PERCENTILES, landmarks).curve(points, ("T1",))
    assert curve(torch.tensor([[[100.0]]])).isfinite().all()
    low, high = curve(torch.tensor([[[0.01, 0.99]]]))[0, 0].tolist()
    assert abs(low - 0.05) < 1e-3 and abs(high - 0.9) < 1e-3
