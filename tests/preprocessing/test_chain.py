"""The chain on a small object that is known everywhere: each step alone, and their composition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from dal_auto.case import Grid, RawCase, StandardCase
from dal_auto.errors import CaseFailed, InputError
from dal_auto.images import write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing import chain, native
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.preprocessing.bias_correction import Corrected
from dal_auto.preprocessing.chain import standardise, tool_versions
from dal_auto.preprocessing.coregistration import Coregistered
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.registration.backends import RegistrationError, backend_settings
from dal_auto.preprocessing.skull_strip.tools import TOOLS, Tool
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.workers.progress import Stopwatch

PLAN = PreprocessingPlan(
    target_shape=(56, 64, 48),
    n4_iterations=(5,),
    n4_spacing_mm=8.0,
    percentiles_of="like the atlas",
    mask_limits_ml=(20.0, 60.0),  # a toy's brain
)
TARGET = centre_crop_or_pad(ATLAS_GRID, PLAN.target_shape)
MIDDLE = (TARGET.affine @ [27.5, 31.5, 23.5, 1])[:3]
NOTHING = {
    "bias_correct": False,
    "coregister": False,
    "register_to_atlas": False,
    "strip": False,
}


def steps(*names: str) -> CaseSteps:
    return CaseSteps.parse(NOTHING | dict.fromkeys(names, True))


def native_grid(axes: np.ndarray, spacing_mm, shape) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    affine[:3, 3] = MIDDLE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


T1_GRID = native_grid(np.eye(3), (1.5, 1.5, 1.5), (40, 44, 36))
T2_GRID = native_grid(np.eye(3)[:, [2, 0, 1]] * (1, -1, 1), (1.3, 1.5, 2), (38, 42, 32))

FLAIR_GRID = native_grid(np.eye(3)[:, [1, 2, 0]] * (-1, 1, 1), (1.4, 1.6, 1.8), (36, 40, 34))


@dataclass
class Scanner:
    """Writes images of one object to a folder."""

    folder: Path
    world: Callable[[Grid], np.ndarray]

    def case(self, lesion_on: Grid | None = None, **images: tuple[Grid, np.ndarray]) -> RawCase:
        """A case whose object was moved by a (4, 4) matrix before each image was taken."""
        for name, (grid, moved) in images.items():
            write_image(self.folder / f"{name}.nii.gz", self.image(name, grid, moved), grid)
        lesion = None
        if lesion_on is not None:
            lesion = self.folder / "lesion.nii.gz"
            name = next(n for n, (grid, _) in images.items() if grid is lesion_on)
            write_image(lesion, self.lesion(lesion_on, images[name][1]), lesion_on)
        paths = {name: self.folder / f"{name}.nii.gz" for name in images}
        return RawCase("D", "a", "p", paths, lesion)

    def home(self, grid: Grid, moved: np.ndarray) -> np.ndarray:
        """(x, y, z, 3): where each voxel's piece of the object was before, from its middle."""
        home = np.linalg.inv(moved)
        return self.world(grid) @ home[:3, :3].T + home[:3, 3] - MIDDLE

    def image(self, name: str, grid: Grid, moved: np.ndarray) -> np.ndarray:
        """Linear inside an ellipsoid, so that linear interpolation changes nothing there."""
        points = self.home(grid, moved)
        x, y, z = np.moveaxis(points, -1, 0)
        value = {
            "T1": 500 + 9 * x - 5 * y + 3 * z,
            "T2": 800 - 4 * x - 7 * y + 6 * z,
            "FLAIR": 600 + 2 * x + 8 * y - 5 * z,
        }[name]
        return np.where(self.brain(points), value, 0).astype(np.float32)

    def brain(self, points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points / (20, 25, 17), axis=-1) < 1

    def lesion(self, grid: Grid, moved: np.ndarray) -> np.ndarray:
        return np.linalg.norm(self.home(grid, moved) - (6, -8, 3), axis=-1) < 6

    def expected(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The image on the target grid, and where it is surely known: away from the edge."""
        image = self.image(name, TARGET, np.eye(4))
        return image, ndimage.binary_erosion(image > 0, iterations=4)


@pytest.fixture
def scanner(tmp_path, world) -> Scanner:
    return Scanner(tmp_path, world)


@pytest.fixture(scope="module")
def toy() -> Atlas:
    image = np.zeros(ATLAS_GRID.shape, np.float32)
    image[100:140, 95:145, 60:94] = np.arange(1, 51)[:, None]
    return Atlas("toy", image, "")


@pytest.fixture
def run(toy) -> Callable[..., StandardCase]:
    def call(case: RawCase, todo: CaseSteps | None = None, plan=PLAN, at_once=1) -> StandardCase:
        todo, watch = todo or steps(), Stopwatch()
        return standardise(case, todo, plan, toy, threads=1, watch=watch, at_once=at_once)

    return call


def difference(case: StandardCase, scanner: Scanner, name: str) -> float:
    """Largest deviation from the known image, in its units."""
    image, sure = scanner.expected(name)
    assert sure.sum() > 10_000
    return float(np.abs(case.image(name) * case.scale[name] - image)[sure].max())


def test_a_slab_is_measured_where_it_was_acquired(scanner, run, monkeypatch):
    """T2 of a third of the brain, beside T1 of all: 0 outside, which is no value of it."""
    monkeypatch.setattr(native, "register", lambda *_, **__: np.eye(4))
    apart = steps("coregister")
    affine = T2_GRID.affine.copy()
    affine[:3, 3] += 20 * affine[:3, 0]  # its first axis runs upwards
    slab = Grid((12, *T2_GRID.shape[1:]), affine)
    still = np.eye(4)
    whole = run(scanner.case(T1=(T1_GRID, still), T2=(T2_GRID, still)), apart)
    part = run(scanner.case(T1=(T1_GRID, still), T2=(slab, still)), apart)
    assert whole.shown == {} and list(part.shown) == ["T2"]
    shown = part.brain_of("T2")
    share = shown.sum() / part.brain_mask.sum()
    assert 0.2 < share < 0.5 and not (shown & ~part.brain_mask).any()
    assert not part.image("T2")[~shown].any() and (part.image("T2")[shown] > 0).mean() > 0.99
    np.testing.assert_allclose(
        np.array(part.percentiles["T2"]) * part.scale["T2"],
        np.percentile(whole.image("T2")[shown], PLAN.percentiles) * whole.scale["T2"],
        rtol=0.02,
    )
    assert part.percentiles["T1"] == whole.percentiles["T1"]
    assert part.quality["coverage_T1"] == 1 and 0.2 < part.quality["coverage_T2"] < 0.6
    assert part.steps[-1] == f"T2 shows {share:.0%} of the brain; nothing is marked elsewhere"
    assert whole.steps == part.steps[:-1]


def test_a_stripped_registered_case_is_only_resampled(scanner, run):
    case = run(scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T1_GRID, np.eye(4))))
    assert case.images.shape == (2, *PLAN.target_shape)
    assert (case.dataset, case.case_id, case.patient_id) == ("D", "a", "p")
    assert case.sequences == ("T1", "T2")
    assert case.lesion_mask is None
    for name in case.sequences:
        assert difference(case, scanner, name) < 0.5  # float16: 1 in 2048
    image, sure = scanner.expected("T1")
    assert case.brain_mask[sure].all()
    assert not case.brain_mask[~ndimage.binary_dilation(image > 0, iterations=2)].any()


def test_what_is_stored_fits_float16_whatever_the_scanners_units(scanner, run):
    raw = scanner.case(T1=(T1_GRID, np.eye(4)))
    write_image(raw.sequences["T1"], scanner.image("T1", T1_GRID, np.eye(4)) * 1e4, T1_GRID)
    case = run(raw)
    np.testing.assert_array_equal(case.images, case.images.astype(np.float16))
    inside = case.image("T1")[case.brain_mask]
    assert np.percentile(inside, 99.9) == pytest.approx(1, abs=1e-3)
    assert difference(case, scanner, "T1") > 1e6  # in the scanner's own units
    np.testing.assert_allclose(case.percentiles["T1"], np.percentile(inside, PLAN.percentiles))


def test_outside_the_brain_is_zero_and_negatives_inside_are_clipped_not_cut_out(scanner, run):
    raw = scanner.case(T1=(T1_GRID, np.eye(4)))
    image = scanner.image("T1", T1_GRID, np.eye(4))
    image[18:22, 20:24, 16:20] = -50
    write_image(raw.sequences["T1"], image, T1_GRID)
    case = run(raw)
    assert case.images.min() == 0
    assert (case.images[0][~case.brain_mask] == 0).all()
    assert ((case.images[0] == 0) & case.brain_mask).sum() > 20


@pytest.fixture
def about_middle(rigid) -> Callable[..., np.ndarray]:
    """A rigid matrix that turns about the middle of the target grid."""
    there = np.eye(4)
    there[:3, 3] = MIDDLE
    return lambda degrees, shift_mm: there @ rigid(degrees, shift_mm) @ np.linalg.inv(there)


def test_matrices_are_composed_in_the_right_direction(scanner, run, about_middle, monkeypatch, toy):
    """T1 lies turned against the atlas, T2 against T1, on a grid of its own."""
    t1_moved = about_middle((5, -4, 8), (3, -2, 1))
    t2_from_t1 = about_middle((-6, 3, 4), (-2, 4, 2))
    t2_moved = t2_from_t1 @ t1_moved

    def known(fixed, fixed_grid, moving, moving_grid, **_):
        if fixed is toy.image:
            assert moving_grid.equals(T1_GRID)
            return t1_moved
        assert fixed_grid.equals(T1_GRID)
        assert moving_grid.equals(T2_GRID)
        return t2_from_t1

    monkeypatch.setattr(native, "register", known)
    raw = scanner.case(lesion_on=T2_GRID, T2=(T2_GRID, t2_moved), T1=(T1_GRID, t1_moved))
    case = run(raw, steps("coregister", "register_to_atlas"))
    for name in ("T1", "T2"):
        assert difference(case, scanner, name) < 0.7
    np.testing.assert_allclose(case.geometry.atlas_to_native["T2"], t2_moved)
    assert case.geometry.native["T2"].equals(T2_GRID)
    # The lesion mask goes with the image whose grid it shares.
    expected = scanner.lesion(TARGET, np.eye(4))
    overlap = 2 * (case.lesion_mask & expected).sum() / (case.lesion_mask.sum() + expected.sum())
    assert overlap > 0.9
    assert case.quality["lesion_ml"] == pytest.approx(case.lesion_mask.sum() / 1000)
    assert case.quality["lesion_ml"] == pytest.approx(case.quality["lesion_ml_native"], rel=0.05)


def test_the_bias_fields_are_corrected_on_the_target_grid_and_what_was_done_is_said(
    scanner, run, monkeypatch
):
    def correct(images, brains, grid, template, *, plan, threads, wanted, at_once):
        brain = brains["T1"]
        assert grid.shape == template.image.shape == brain.shape == PLAN.target_shape
        assert (plan, wanted) == (PLAN, True)
        unlike = brain & (images["T1"] > np.percentile(images["T1"][brain], 60))
        return Corrected({n: i * 2 for n, i in images.items()}, unlike, ("N4 left out on T2",))

    raw = scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T1_GRID, np.eye(4)))
    plain = run(raw, steps())
    monkeypatch.setattr(chain, "correct_bias_fields", correct)
    case = run(raw, steps("bias_correct"))
    assert case.scale["T1"] == pytest.approx(2 * plain.scale["T1"])
    assert case.steps[-1] == "N4 left out on T2"
    assert case.quality["unlike_atlas_share"] == pytest.approx(0.4, abs=0.02)
    # Percentiles are of what is like the atlas: the brightest voxels took no part.
    brain = case.brain_mask
    assert case.percentiles["T1"][-1] < np.percentile(case.image("T1")[brain], 61)
    assert plain.percentiles["T1"][-1] > np.percentile(plain.image("T1")[brain], 98)


def test_the_brain_is_estimated_on_t1_in_its_own_space_and_carried_to_t2(
    scanner, run, monkeypatch, world
):
    asked = []

    def tool(image, grid):
        asked.append(grid)
        return scanner.brain(world(grid) - MIDDLE)

    monkeypatch.setitem(TOOLS, "deepbet", Tool(tool, lambda: "fake 1"))
    raw = scanner.case(T2=(T1_GRID, np.eye(4)), T1=(T1_GRID, np.eye(4)))
    for name, path in raw.sequences.items():
        write_image(path, scanner.image(name, T1_GRID, np.eye(4)) + 77, T1_GRID)  # bright air
    case = run(raw, steps("strip"))
    assert len(asked) == 1
    assert asked[0].equals(T1_GRID)
    assert (case.images[:, ~case.brain_mask] == 0).all()
    assert case.steps[0] == "brain mask: fake 1"


def test_a_brain_mask_of_the_dataset_is_used(scanner, run):
    raw = scanner.case(T1=(T1_GRID, np.eye(4)))
    brain = scanner.image("T1", T1_GRID, np.eye(4)) > 0
    brain[: T1_GRID.shape[0] // 2] = False
    write_image(scanner.folder / "brain.nii.gz", brain, T1_GRID)
    case = run(RawCase("D", "a", "p", raw.sequences, brain_mask=scanner.folder / "brain.nii.gz"))
    assert case.quality["brain_ml"] == pytest.approx(brain.sum() * 1.5**3 / 1000, abs=1e-3)
    assert case.brain_mask.sum() / 1000 == pytest.approx(case.quality["brain_ml"], rel=0.05)


def test_the_same_case_gives_the_same_result(scanner, run):
    raw = scanner.case(T1=(T1_GRID, np.eye(4)))
    first, second = run(raw, steps("bias_correct")), run(raw, steps("bias_correct"))
    np.testing.assert_array_equal(first.images, second.images)
    assert (first.scale, first.percentiles, first.quality) == (
        second.scale,
        second.percentiles,
        second.quality,
    )


def test_sequences_worked_on_side_by_side_give_the_same_result(scanner, run, about_middle):
    turned = about_middle((4, 2, -3), (2, 1, -2))
    raw = scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T2_GRID, turned), FLAIR=(FLAIR_GRID, turned))
    todo = steps("bias_correct", "coregister", "register_to_atlas")
    plan = PLAN.model_copy(update={"registration_iterations": "20x10", "n4_least_field": 0.0})
    one, three = (run(raw, todo, plan, at_once) for at_once in (1, 3))
    np.testing.assert_array_equal(one.images, three.images)
    for name, matrix in one.geometry.atlas_to_native.items():
        np.testing.assert_array_equal(matrix, three.geometry.atlas_to_native[name])
    assert (one.steps, one.scale, one.quality) == (three.steps, three.scale, three.quality)


def test_where_a_registration_beside_the_others_fails_the_case_does(scanner, run, monkeypatch):
    def fail(*_, **__):
        raise RegistrationError("out of tricks")

    monkeypatch.setattr(native, "register", fail)
    raw = scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T2_GRID, np.eye(4)))
    with pytest.raises(RegistrationError, match="out of tricks"):
        run(raw, steps("coregister"), at_once=2)


def test_a_lesion_mask_on_a_foreign_grid_is_found_before_anything_expensive(
    scanner, run, monkeypatch
):
    def expensive(*_, **__):
        raise AssertionError("this came first")

    monkeypatch.setitem(TOOLS, "deepbet", Tool(expensive, lambda: "fake 1"))
    monkeypatch.setattr(native, "register", expensive)
    raw = scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T2_GRID, np.eye(4)))
    path = scanner.folder / "foreign.nii.gz"
    write_image(path, np.ones(T1_GRID.shape, bool), Grid(T1_GRID.shape, np.eye(4)))
    with pytest.raises(InputError) as caught:
        run(RawCase("D", "a", "p", raw.sequences, path), steps(*NOTHING))
    assert caught.value.file == path


def test_three_sequences_are_each_interpolated_once_through_their_own_matrices(
    scanner, run, about_middle, monkeypatch, toy
):
    """FLAIR and T2 lie turned against T1, each in its own way, and T1 against the atlas."""
    to_t1 = about_middle((5, -4, 8), (3, -2, 1))
    others = {
        T2_GRID.shape: about_middle((-6, 3, 4), (-2, 4, 2)),
        FLAIR_GRID.shape: about_middle((4, 7, -5), (2, 1, -3)),
    }

    def known(fixed, fixed_grid, moving, moving_grid, **_):
        return to_t1 if fixed is toy.image else others[moving_grid.shape]

    monkeypatch.setattr(native, "register", known)
    case = run(
        scanner.case(
            FLAIR=(FLAIR_GRID, others[FLAIR_GRID.shape] @ to_t1),
            T2=(T2_GRID, others[T2_GRID.shape] @ to_t1),
            T1=(T1_GRID, to_t1),
        ),
        steps("coregister", "register_to_atlas"),
    )
    assert case.sequences == ("FLAIR", "T2", "T1")
    for name in case.sequences:
        assert difference(case, scanner, name) < 0.8, name


def test_t2_alone_is_registered_on_its_own(scanner, run, about_middle, monkeypatch):
    moved = about_middle((5, -4, 8), (3, -2, 1))
    asked = []
    monkeypatch.setattr(native, "register", lambda *_, **__: asked.append(1) or moved)
    case = run(scanner.case(T2=(T2_GRID, moved)), steps("coregister", "register_to_atlas"))
    assert asked == [1]
    assert difference(case, scanner, "T2") < 0.7


def test_affine_scales_the_brain_to_the_atlas_and_goes_home_by_the_same_matrix(
    scanner, run, about_middle, monkeypatch, toy
):
    larger = about_middle((5, -4, 8), (3, -2, 1))
    larger[:3, :3] @= np.diag([1.1, 1.05, 1.08])
    larger[:3, 3] = larger[:3, 3] + about_middle((5, -4, 8), (3, -2, 1))[:3, :3] @ MIDDLE
    larger[:3, 3] -= larger[:3, :3] @ MIDDLE
    asked = []

    def known(fixed, *_, transform="rigid", **__):
        asked.append((fixed is toy.image, transform))
        return larger

    monkeypatch.setattr(native, "register", known)
    plan = PLAN.model_copy(update={"atlas_transform": "affine"})
    case = run(scanner.case(T1=(T1_GRID, larger)), steps("register_to_atlas"), plan)
    assert asked == [(True, "affine")]
    assert difference(case, scanner, "T1") < 0.7
    np.testing.assert_allclose(case.geometry.atlas_to_native["T1"], larger)
    assert case.steps[-2].startswith("affine to SRI24: ")


def test_a_brain_that_leaves_the_grid_fails(scanner, run, rigid, monkeypatch):
    monkeypatch.setattr(native, "register", lambda *_, **__: rigid(shift_mm=(500, 0, 0)))
    with pytest.raises(CaseFailed, match="the brain left the standard grid"):
        run(scanner.case(T1=(T1_GRID, np.eye(4))), steps("register_to_atlas"))


@pytest.mark.parametrize("todo", [("coregister", "bias_correct"), ("coregister",)])
def test_a_sequence_that_shows_another_place_fails(scanner, run, rigid, monkeypatch, todo):
    found = {"T1": np.eye(4), "T2": rigid(shift_mm=(500, 0, 0))}
    monkeypatch.setattr(chain, "coregister", lambda native, job: Coregistered(found))
    raw = scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T1_GRID, np.eye(4)))
    with pytest.raises(CaseFailed, match="T2 shows no part of the brain"):
        run(raw, steps(*todo))


def test_a_sequence_that_shows_a_rim_of_the_brain_alone_fails_and_a_slab_does_not(
    scanner, run, rigid, monkeypatch
):
    raw = scanner.case(T1=(T1_GRID, np.eye(4)), T2=(T1_GRID, np.eye(4)))

    def with_t2_lower_by(mm: float) -> StandardCase:
        found = {"T1": np.eye(4), "T2": rigid(shift_mm=(0, 0, -mm))}
        monkeypatch.setattr(chain, "coregister", lambda native, job: Coregistered(found))
        return run(raw, steps("coregister"))

    assert "T2 shows 3% of the brain; nothing is marked elsewhere" in with_t2_lower_by(30).steps
    with pytest.raises(CaseFailed, match=r"T2 shows 1\.\d% of the brain .*leave T2 out"):
        with_t2_lower_by(31.5)


def test_the_steps_are_named_in_their_order_with_tools_and_versions():
    done = tool_versions(steps(*NOTHING), PLAN)
    assert [step.split(":")[0] for step in done] == [
        "brain mask",
        "rigid between sequences",
        "rigid to SRI24",
        "one linear resampling, brain mask applied, centre crop/pad",
        "N4",
    ]
    assert f"SimpleITK {version('SimpleITK')[:3]}" in done[4]
    assert done[2].endswith(backend_settings(PLAN))
    assert PLAN.registration_iterations in done[2]
    assert len(tool_versions(steps(), PLAN)) == 1


def test_a_stopwatch_adds_up():
    watch = Stopwatch()
    for _ in range(2):
        with watch.step("one"):
            pass
    assert list(watch.seconds) == ["one"]
    assert watch.seconds["one"] > 0
