"""Small heads of 32³ voxels, as if label maps had been laid on an atlas, and plans for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dal_auto.plans import Plans
from dal_auto.preprocessing.steps import DatasetDecisions
from dal_auto.store.atomic import write_json
from dal_auto.store.standard_cases import write_case
from dal_auto.training.drawn import pool
from dal_auto.training.drawn.cases import draw_case
from dal_auto.training.drawn.heads import Head, with_distances
from dal_auto.training.drawn.structures import OUTSIDE, index_of

SIZE = 32


def head(number: int) -> Head:
    """White core in a grey shell, ventricles and a putamen within, fluid around."""
    random = np.random.default_rng(number)
    axes = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")

    def ball(centre: np.ndarray, radius: float) -> np.ndarray:
        squares = ((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
        return np.sqrt(sum(squares)) < radius

    middle = np.zeros(3)
    structures = np.full((SIZE,) * 3, OUTSIDE, np.uint8)
    for name, centre, radius in (
        ("sulci", middle, 0.85),
        ("cortex", middle, 0.75),
        ("white matter", middle, 0.55),
        ("putamen", random.uniform(0.1, 0.3, 3), 0.2),
        ("ventricles", random.uniform(-0.3, -0.1, 3), 0.25),
    ):
        structures[ball(centre, radius)] = index_of(name)
    return with_distances(f"head{number}", structures)


@pytest.fixture(scope="session")
def heads() -> list[Head]:
    return [head(number) for number in range(4)]


@pytest.fixture
def drawn_plans(make_plans: Callable[..., Plans]) -> Callable[..., Plans]:
    """Plans that train on the drawn dataset; keywords as those of `make_plans`."""

    def make(method: str = "DAL", **overrides: Any) -> Plans:
        return make_plans(method, training_set="Simulated", **overrides)

    return make


@pytest.fixture
def simulated_folder(
    heads: list[Head],
    drawn_plans: Callable[..., Plans],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The preprocessed dataset of these heads, one case of each, in a DAL_HOME of its own."""
    monkeypatch.setenv("DAL_HOME", str(tmp_path))
    monkeypatch.setattr(pool, "available_cores", lambda: 1)  # processes take longer to start
    folder, plan = tmp_path / "preprocessed" / "Simulated", drawn_plans().preprocessing
    decisions = DatasetDecisions(dataset="Simulated", preprocessing=plan, steps={})
    write_json(folder / "preprocessing.json", decisions.model_dump(mode="json"))
    for number, one in enumerate(heads):
        one.save(folder / "heads" / f"{one.name}.b2nd")
        write_case(folder / "cases", draw_case(one, "Simulated", 0, plan, (number,)), "hash")
    return folder
