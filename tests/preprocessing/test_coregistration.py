"""The images of a case laid onto its reference image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import Grid
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing import native as module
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.coregistration import (
    Coregistered,
    coregister,
    mutual_information,
)
from dal_auto.preprocessing.native import Job, NativeCase
from dal_auto.preprocessing.registration.backends import RegistrationError
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.workers.progress import Stopwatch

STEPS = CaseSteps(bias_correct=False, coregister=True, register_to_atlas=False, strip=False)
ATLAS = Atlas("toy", np.zeros((2, 2, 2), np.float32), "")
GRIDS = {
    "FLAIR": Grid((8, 9, 7), np.diag([2.0, 2, 3, 1])),
    "T1": Grid((10, 12, 14), np.diag([1.0, 1, 1, 1])),
    "T2": Grid((10, 12, 5), np.diag([1.0, 1, 3, 1])),
}


def native(images: dict[str, np.ndarray], grids: dict[str, Grid]) -> NativeCase:
    return NativeCase("a", images, grids, "T1", None, None, grids, {})


def job(steps: CaseSteps = STEPS, **settings) -> Job:
    return Job(steps, PreprocessingPlan(**settings), ATLAS, 3, Stopwatch())


def shifted(z_mm: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[2, 3] = z_mm
    return matrix


def test_every_further_sequence_is_registered_to_the_reference_where_it_has_to_be(monkeypatch):
    asked = []

    def register(fixed, fixed_grid, moving, moving_grid, **settings):
        asked.append((fixed_grid, moving_grid))
        assert (settings["transform"], settings["threads"]) == ("rigid", 3)
        return np.diag([1.0, 1, 1, 1]) * len(asked)

    monkeypatch.setattr(module, "register", register)
    images = {name: np.ones(grid.shape) for name, grid in GRIDS.items()}

    def matrices(steps: CaseSteps) -> dict[str, float]:
        found = coregister(native(images, GRIDS), job(steps)).matrices
        return {name: matrix[0, 0] for name, matrix in found.items()}

    assert matrices(STEPS) == {"FLAIR": 1, "T1": 1, "T2": 2}
    assert [fixed.equals(GRIDS["T1"]) for fixed, _ in asked] == [True, True]
    assert [moving.shape for _, moving in asked] == [GRIDS["FLAIR"].shape, GRIDS["T2"].shape]
    asked.clear()
    assert set(matrices(STEPS.model_copy(update={"coregister": False})).values()) == {1}
    assert asked == []


HEAD_GRID = Grid((40, 40, 80), np.diag([2.0, 2, 2, 1]))
_NOISE = ndimage.gaussian_filter(np.random.default_rng(3).random(HEAD_GRID.shape), 2)
HEAD = np.where(np.arange(80) > 5, (_NOISE - _NOISE.min()) / np.ptp(_NOISE), 0).astype(np.float32)


def slab(first: int, header_off_mm: float = 0.0) -> tuple[np.ndarray, Grid]:
    """24 slices of the head in another contrast, and where their header puts them."""
    affine = HEAD_GRID.affine.copy()
    affine[2, 3] = 2 * first + header_off_mm
    return 1.2 - HEAD[..., first : first + 24], Grid((40, 40, 24), affine)


@pytest.fixture
def answers(monkeypatch):
    """What the backends answer, by name; an error is raised."""
    asked: list[str] = []

    def say(**found):
        def register(fixed, fixed_grid, moving, moving_grid, *, plan, **settings):
            asked.append(plan.registration)
            answer = found[plan.registration]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(module, "register", register)
        return asked

    return say


def laid(moving: np.ndarray, grid: Grid, **settings) -> Coregistered:
    case = native({"T1": HEAD, "FLAIR": moving}, {"T1": HEAD_GRID, "FLAIR": grid})
    return coregister(case, job(**settings))


@pytest.mark.parametrize("other", [shifted(0.5), shifted(-40), RegistrationError("no")])
def test_a_slab_that_the_backend_lays_on_the_wrong_part_of_the_head_comes_back(answers, other):
    answers(greedy=shifted(50), simpleitk=other)
    found = laid(*slab(20))
    # The header's place, or SimpleITK's beside it.
    assert abs(found.matrices["FLAIR"][2, 3]) <= 0.5
    (why,) = found.exceptions
    assert why.startswith("FLAIR lies ") and "greedy laid it 50 mm off its header" in why


def test_a_far_move_that_explains_the_images_is_believed(answers):
    """Another session: the header is 60 mm off, and greedy finds the place."""
    asked = answers(greedy=shifted(60), simpleitk=shifted(20))
    found = laid(*slab(20, header_off_mm=60))
    np.testing.assert_array_equal(found.matrices["FLAIR"], shifted(60))
    assert found.exceptions == ()
    assert asked == ["greedy", "simpleitk"]


def test_nothing_else_is_tried_where_an_image_hardly_moved(answers):
    asked = answers(greedy=shifted(4))
    found = laid(*slab(20))
    np.testing.assert_array_equal(found.matrices["FLAIR"], shifted(4))
    assert found.exceptions == ()
    assert asked == ["greedy"]


def test_with_simpleitk_planned_the_header_is_its_only_rival(answers):
    asked = answers(simpleitk=shifted(50))
    found = laid(*slab(20), registration="simpleitk")
    np.testing.assert_array_equal(found.matrices["FLAIR"], np.eye(4))
    assert asked == ["simpleitk"]


def test_mutual_information_is_2_for_equal_images_and_falls_with_the_distance():
    def of(z_mm: float) -> float:
        return mutual_information(HEAD, HEAD_GRID, *slab(20), shifted(z_mm))

    assert mutual_information(HEAD, HEAD_GRID, HEAD, HEAD_GRID, np.eye(4)) == pytest.approx(2)
    assert of(0) > 1.6 > of(2) > of(6) > 1
    assert of(500) == pytest.approx(1, abs=1e-6)  # nothing of it lies on the other
    swapped = mutual_information(*slab(20), HEAD, HEAD_GRID, np.linalg.inv(shifted(6)))
    assert swapped == pytest.approx(of(6), rel=1e-6)
