"""Slices and vectors are kept small, come back as they were, and are of the same cases always."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dal_auto.case import StandardCase
from dal_auto.errors import InputError
from dal_auto.evaluation.pictures.slices import (
    chosen_cases,
    keep_slices,
    keep_vectors,
    read_slices,
    read_vectors,
)
from dal_auto.inference.predictor import Prediction

SHAPE = (16, 16, 5)


@pytest.fixture
def case(make: SimpleNamespace) -> StandardCase:
    """A brain whose largest lesion lies in slice 3, a smaller one in slice 1."""
    brain, lesion = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    lesion[2:6, 2:6, 3], lesion[10, 10, 1] = True, True
    return make.bare_case(brain, lesion)


@pytest.fixture
def prediction() -> Prediction:
    """Each slice of the image has its own value; scores are largest outside the lesion's slice."""
    image = np.broadcast_to(np.linspace(0, 1, SHAPE[2], dtype=np.float32), SHAPE)
    score = np.zeros(SHAPE, np.float32)
    score[0, 0, 3], score[0, 0, 0] = 2.0, 4.0
    return Prediction(image, {"": score, "dark": 0 * score}, image / 2, {"anatomy": image / 4})


def test_slices_go_through_the_largest_lesion(tmp_path, case, prediction):
    closer = {"edges": np.full(SHAPE, 0.2, np.float32)}
    keep_slices(tmp_path / "a.npz", case, prediction, closer)
    found = read_slices(tmp_path / "a.npz")
    assert found.image.shape == (16, 16) and found.image.dtype == np.uint8
    # Of 0.75, a half and a quarter of it, in 255 steps.
    assert set(found.image.ravel()) == {191}
    assert set(found.pseudo_healthy.ravel()) == {96}
    np.testing.assert_array_equal(found.lesion, case.lesion_mask[:, :, 3])
    assert {name: one[0, 0] for name, one in found.extras.items()} == {
        "anatomy": 48,
        "edges": 51,
    }
    assert list(found.anomaly) == ["", "dark"]
    assert found.anomaly[""][0, 0] == 128, "255 is the largest of the whole volume"
    assert not found.anomaly["dark"].any()


def test_without_a_lesion_slices_go_through_the_middle(tmp_path, case, prediction):
    bright = replace(prediction, image=prediction.image + 1, pseudo_healthy=None, extras={})
    for lesion in (None, np.zeros(SHAPE, bool)):
        healthy = replace(case, lesion_mask=lesion)
        keep_slices(tmp_path / "a.npz", healthy, bright, {})
        found = read_slices(tmp_path / "a.npz")
        assert found.pseudo_healthy is None and found.extras == {}
        assert not found.lesion.any()
        assert found.anomaly[""].max() == 0, "slice 2"
        assert found.image.min() == 255, "what is brighter than 1 is white"


def test_vectors_are_told_apart_by_whose_they_are(tmp_path, prediction):
    named = {"modality": np.arange(3.0), "modality restored": np.arange(3.0) + 0.5}
    anatomy = np.full((16, 16, 8), 0.25, np.float32)
    found = replace(prediction, extras={"anatomy": anatomy}, vectors=named)
    keep_vectors(tmp_path / "a.npz", found)
    vectors = read_vectors(tmp_path / "a.npz")
    assert set(vectors.image) == {"modality", "anatomy"} and set(vectors.restored) == {"modality"}
    assert vectors.image["modality"].tolist() == [0, 1, 2]
    assert vectors.restored["modality"].tolist() == [0.5, 1.5, 2.5]
    assert vectors.image["anatomy"].tolist() == [0.25] * 4, "blocks of 8 mm"
    assert vectors.image["anatomy"].dtype == np.float16


def test_a_method_without_vectors_leaves_no_file(tmp_path, prediction):
    keep_vectors(tmp_path / "a.npz", replace(prediction, extras={}))
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize("content", [None, b"", b"no archive", "half", "other"])
def test_what_cannot_be_read_is_named(tmp_path, case, prediction, content):
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "half":
        keep_slices(path, case, prediction, {})
        path.write_bytes(path.read_bytes()[:-60])
    elif content == "other":
        np.savez(path, image=np.zeros(3))
    with pytest.raises(InputError, match="evaluate again") as caught:
        read_slices(path)
    assert caught.value.file == path
    if content != "other":
        with pytest.raises(InputError, match=r"a\.npz"):
            read_vectors(path)


def test_the_same_cases_are_chosen_whatever_their_order_and_others():
    ids = [f"case-{number}" for number in range(30)]
    chosen = chosen_cases(ids, 4)
    assert len(chosen) == 4 and chosen < set(ids)
    assert chosen_cases(reversed(ids), 4) == chosen < chosen_cases(ids, 9)
    without = [one for one in ids if one in chosen or one > "case-2"]
    assert chosen_cases(without, 4) == chosen
    assert chosen_cases(ids[:2], 4) == set(ids[:2]) and chosen_cases([], 4) == frozenset()
