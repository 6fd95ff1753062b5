"""Content tells where an image of the atlas's box lies, whatever its header says.

SRI24 itself, aged a little, is the brain; where they are at hand, real glioma cases as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dal_auto.case import ClaimedState, Grid, RawCase
from dal_auto.images import read_image, write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas, true_grid
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.fingerprint import case as module
from dal_auto.preprocessing.fingerprint.dataset import fingerprint_case, fingerprint_dataset
from dal_auto.preprocessing.fingerprint.orientation import orient, true_header_of
from dal_auto.preprocessing.resampling import resample
from dal_auto.preprocessing.steps import decide_steps
from dal_auto.workers import Workforce
from dal_auto.workers.progress import Stopwatch


def affine(directions: tuple[int, int, int], origin: tuple[float, float, float]) -> np.ndarray:
    matrix = np.diag([*directions, 1.0]).astype(float)
    matrix[:3, 3] = origin
    return matrix


RIGHT = {"LPS": ATLAS_GRID.affine, "RAS": true_grid(ATLAS_GRID, "RAS").affine}
#: Headers that were seen in public sets, or that tools write when they know no better.
ODD = {
    "SSA and MET": affine((1, 1, 1), (0, 239, 0)),
    "the T2 of MET 232": affine((-1, -1, 1), (-120, -129, -68)),
    "an identity": affine((1, 1, 1), (0, 0, 0)),
    "no origin": affine((-1, -1, 1), (0, 0, 0)),
}
STORED = {"LPS": (), "RAS": (0, 1)}


@pytest.fixture(scope="session")
def brain(atlas: Atlas) -> Callable[..., np.ndarray]:
    """SRI24's brain, turned by a few degrees and grown, as T1 or T2, in the LPS box."""
    turned = affine((1, 1, 1), (0, 0, 0))
    angle = np.radians(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    centre = ATLAS_GRID.affine @ (119.5, 119.5, 77, 1)
    turned[:3, 3] = centre[:3] - turned[:3, :3] @ centre[:3] + (2, -2, 1)
    t1 = np.maximum(resample(atlas.image, ATLAS_GRID, ATLAS_GRID, turned), 0)
    t1 /= t1.max()

    def image(sequence: str = "T1", stored: str = "LPS") -> np.ndarray:
        values = 400 * t1 if sequence == "T1" else 400 * (1.1 - t1) * (t1 > 0)
        return np.ascontiguousarray(np.flip(values, STORED[stored]))

    return image


@pytest.fixture(autouse=True)
def _atlas_in_use(monkeypatch: pytest.MonkeyPatch, atlas: Atlas) -> None:
    monkeypatch.setattr(module, "load_atlas", lambda file=None: atlas)


@pytest.mark.parametrize("sequence", ["T1", "T2"])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("header", [*ODD, "the other box"])
def test_a_wrong_header_is_overruled(atlas, brain, sequence, stored, header):
    other = RIGHT["RAS" if stored == "LPS" else "LPS"]
    grid = Grid(ATLAS_GRID.shape, ODD.get(header, other))
    found = orient(brain(sequence, stored), grid, atlas)
    assert found.true_box == stored and found.doubt is None
    assert found.fit.dice < 0.8 < found.fit_as(stored).dice
    assert (found.fit_as(stored).correlation > 0) == (sequence == "T1")


@pytest.mark.parametrize("stored", STORED)
def test_a_right_header_is_kept(atlas, brain, stored):
    found = orient(brain("T1", stored), Grid(ATLAS_GRID.shape, RIGHT[stored]), atlas)
    assert (found.header_box, found.true_box, found.doubt) == (stored, None, None)
    assert found.fit.dice > 0.9


def test_a_right_header_of_any_other_axes_is_kept(atlas, brain):
    """The box once more, as LAS: no form of ours, but where the image belongs."""
    grid = Grid(ATLAS_GRID.shape, affine((-1, 1, 1), (0, 0, 0)))
    found = orient(np.ascontiguousarray(np.flip(brain(), 1)), grid, atlas)
    assert found.true_box is None and found.doubt is None and found.fit.dice > 0.9


def test_the_fractions_of_a_scanners_header_are_believed(atlas, brain):
    """An image in the box's shape in a space of its own is registered, not moved by its header."""
    grid = Grid(ATLAS_GRID.shape, affine((-1, -1, 1), (118.3, 120.6, -70.2)))
    found = orient(brain(), grid, atlas)
    assert found.true_box is None and found.doubt is None


@pytest.mark.parametrize(
    ("axes", "flips", "words"),
    [((0, 1, 2), (0, 2), "half a turn about y"), ((0, 1, 2), (1, 2), "half a turn about x"),
     ((1, 0, 2), (0,), "a quarter turn about z")],
)  # fmt: skip
def test_content_that_is_turned_otherwise_is_doubted_and_not_mended(
    atlas, brain, axes, flips, words
):
    turned = np.ascontiguousarray(np.flip(brain().transpose(axes), flips))
    found = orient(turned, ATLAS_GRID, atlas)
    assert found.true_box is None and words in found.doubt


def test_a_mirror_image_cannot_be_told(atlas, brain):
    found = orient(np.ascontiguousarray(np.flip(brain(), 0)), ATLAS_GRID, atlas)
    assert found.true_box is None and found.doubt is None


def test_a_brain_that_could_lie_either_way_is_doubted(atlas):
    """A ball has no front; a header that puts it beside the atlas is doubted all the same."""
    places = np.indices(ATLAS_GRID.shape) - np.array([119.5, 119.5, 77]).reshape(3, 1, 1, 1)
    ball = (np.linalg.norm(places, axis=0) < 68).astype(np.float32) * (100 + places[2])
    found = orient(ball, Grid(ATLAS_GRID.shape, ODD["SSA and MET"]), atlas)
    assert found.true_box is None and "beside the atlas" in found.doubt


def case_on_disk(folder: Path, images: dict[str, tuple[np.ndarray, np.ndarray]]) -> RawCase:
    for name, (array, matrix) in images.items():
        write_image(folder / f"{name}.nii.gz", array, Grid(ATLAS_GRID.shape, matrix))
    files = {name: folder / f"{name}.nii.gz" for name in images if name != "lesion"}
    mask = folder / "lesion.nii.gz" if "lesion" in images else None
    return RawCase(
        "D", folder.name, folder.name, files, mask, claims=ClaimedState(None, None, True)
    )


@pytest.mark.parametrize("origin", [(0, -239, 0), (120, -120, -77), (239, 0, 0), (0, 20, 10)])
def test_a_left_handed_header_is_never_mended_into_its_mirror_image(atlas, brain, origin):
    """LAS, as SRI24 itself is shipped: by content it looks like RAS, which is its mirror image."""
    array = brain("T1", "RAS")
    found = orient(array, Grid(ATLAS_GRID.shape, affine((-1, 1, 1), origin)), atlas)
    assert found.true_box is None
    assert found.doubt is None or "left and right" in found.doubt
    assert orient(array, Grid(ATLAS_GRID.shape, affine((1, 1, 1), origin)), atlas).true_box == "RAS"


def test_one_decision_holds_for_the_case_and_the_figures_are_those_of_the_true_grid(
    tmp_path, brain
):
    lesion = np.zeros(ATLAS_GRID.shape, bool)
    lesion[100:110, 100:110, 80:90] = True
    odd, images = ODD["SSA and MET"], {"T1": brain("T1"), "T2": brain("T2")}
    found = fingerprint_case(
        case_on_disk(tmp_path, {n: (i, odd) for n, i in {**images, "lesion": lesion}.items()})
    )
    assert found.true_header == "LPS" and found.registered and found.one_grid
    assert found.images["T1"].axcodes == "RAS"
    assert found.lesion_grid_of == "T1" and found.lesion_outside_share == 0
    words = (
        "its header (axes RAS, first voxel at (0, 239, 0) mm) is wrong: by content its voxels fill "
        "the atlas's box, with axes LPS"
    )
    assert words in map(str, found.findings)


def test_a_foreign_header_beside_a_right_one_is_mended(tmp_path, brain):
    """The T2 of MET 232: voxels aligned with the T1's, the header not."""
    images = {"T1": (brain("T1"), RIGHT["LPS"]), "T2": (brain("T2"), ODD["the T2 of MET 232"])}
    found = fingerprint_case(case_on_disk(tmp_path, images))
    assert found.true_header == "LPS" and found.registered and found.one_grid


def test_images_that_ask_for_different_boxes_are_left_and_said(tmp_path, brain):
    odd = ODD["SSA and MET"]
    images = {"T1": (brain("T1"), odd), "T2": (brain("T2", "RAS"), odd)}
    found = fingerprint_case(case_on_disk(tmp_path, images))
    assert found.true_header is None and found.header_in_doubt and not found.registered
    assert any("overrules their headers" in str(finding) for finding in found.findings)


def test_an_image_outside_the_box_keeps_the_others_from_being_moved(brain, atlas):
    odd = orient(brain(), Grid(ATLAS_GRID.shape, ODD["an identity"]), atlas)
    box, conflict = true_header_of({"T1": odd, "T2": None})
    assert box is None and "not of T2" in conflict


def test_a_left_handed_case_follows_no_other(tmp_path, brain):
    """Three right-handed cases with wrong headers agree; the LAS one would be mirrored by them."""
    odd, left_handed = ODD["SSA and MET"], affine((-1, 1, 1), (120, -120, -77))
    cases = [
        case_on_disk(tmp_path / name, {"T1": (brain("T1", stored) + (index * 2e-3), header)})
        for index, (name, stored, header) in enumerate(
            [("a", "RAS", odd), ("b", "RAS", odd), ("c", "RAS", odd), ("d", "RAS", left_handed)]
        )
    ]
    found = fingerprint_dataset("D", cases, workforce=Workforce(1))
    assert [case.true_header for case in found.cases] == ["RAS"] * 3 + [None]
    assert found.case("d").header_in_doubt


def test_cases_that_do_not_tell_follow_those_that_do(tmp_path, brain):
    odd, small = ODD["SSA and MET"], brain("T1").copy()
    small[:, :, 100:] = 0  # half a brain: overlap with the atlas too small to decide
    cases = [
        case_on_disk(tmp_path / name, {"T1": (image + index * (image > 0), odd)})
        for index, (name, image) in enumerate(
            [("a", brain("T1")), ("b", brain("T1")), ("c", small), ("d", brain("T1"))]
        )
    ]
    alone = fingerprint_dataset("D", cases[:1] + cases[2:3], workforce=Workforce(1))
    assert alone.case("c").true_header is None and alone.case("c").header_in_doubt
    found = fingerprint_dataset("D", cases, workforce=Workforce(1))
    assert [case.true_header for case in found.cases] == ["LPS"] * 4
    assert not found.case("c").header_in_doubt
    assert "by the content of the other cases" in str(found.case("c").findings[0])
    assert "by content its voxels" in str(found.case("a").findings[0])


@pytest.mark.slow
@pytest.mark.parametrize(("stored", "header"), [("LPS", "SSA and MET"), ("RAS", "no origin")])
def test_the_chain_makes_of_a_wrong_header_what_it_makes_of_the_right_one(
    tmp_path, test_data, atlas, stored, header
):
    stem = test_data / "brats_gli" / "BraTS2021_00000" / "BraTS2021_00000"
    files = {"T1": f"{stem}_t1.nii.gz", "T2": f"{stem}_t2.nii.gz", "lesion": f"{stem}_seg.nii.gz"}
    if not Path(files["lesion"]).is_file():
        pytest.skip(f"{files['lesion']} is not there")
    images = {name: read_image(Path(file))[0] for name, file in files.items()}
    right = case_on_disk(tmp_path / "right", {n: (i, RIGHT["LPS"]) for n, i in images.items()})
    odd = {
        n: (np.ascontiguousarray(np.flip(i, STORED[stored])), ODD[header])
        for n, i in images.items()
    }
    wrong = case_on_disk(tmp_path / "wrong", odd)
    made = []
    for case in (right, wrong):
        measured = fingerprint_case(case)
        steps = decide_steps(case, measured)
        assert not steps.register_to_atlas and not steps.coregister and not steps.strip
        made.append(
            standardise(case, steps, PreprocessingPlan(), atlas, threads=1, watch=Stopwatch())
        )
    assert fingerprint_case(right).true_header is None
    assert fingerprint_case(wrong).true_header == stored
    np.testing.assert_array_equal(made[0].images, made[1].images)
    np.testing.assert_array_equal(made[0].brain_mask, made[1].brain_mask)
    np.testing.assert_array_equal(made[0].lesion_mask, made[1].lesion_mask)
    assert made[0].lesion_mask.sum() > 50_000
