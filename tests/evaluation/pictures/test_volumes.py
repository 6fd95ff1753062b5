"""Volumes for the viewer: cropped without a loss of brain or lesion, and told to a level."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_auto.case import StandardCase
from dal_auto.errors import InputError
from dal_auto.evaluation.pictures.volumes import read_volumes, take_volumes, write_volumes
from dal_auto.inference.predictor import Prediction
from dal_auto.store.kept import Origin

MADE_FROM = Origin(model="hash of the checkpoint", case="hash of the case")


def a_case(
    make: SimpleNamespace, shape: tuple[int, int, int], seed: int, *, lesioned: bool = True
) -> StandardCase:
    rng = np.random.default_rng(seed)
    brain, lesion = (rng.random(shape) < share for share in (0.3, 0.05))
    return make.bare_case(brain, lesion if lesioned else None)


def a_prediction(case: StandardCase, seed: int, highest: float = 1.0) -> Prediction:
    rng = np.random.default_rng(seed)
    image, healthy, score = (rng.random(case.brain_mask.shape).astype(np.float32) for _ in range(3))
    return Prediction(image * 1.1, {"": score * highest}, healthy)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 999), st.sampled_from([1e-3, 1.0, 40]))
def test_levels_come_back_as_they_were_put_in(make, shape, seed, highest):
    case = a_case(make, shape, seed)
    found = a_prediction(case, seed, highest)
    volumes = take_volumes(case, found, "", MADE_FROM)
    box = tuple(
        slice(start, start + length)
        for start, length in zip(volumes.origin, volumes.shape, strict=True)
    )
    lesion = volumes.levels("lesion")
    assert np.array_equal(lesion, case.lesion_mask[box])
    whole = case.brain_mask | case.lesion_mask
    assert whole[box].sum() == whole.sum(), "nothing is cut off"
    for name, values in (("input", found.image), ("pseudo-healthy", found.pseudo_healthy)):
        error = volumes.levels(name) / 255 - np.clip(values[box], 0, 1)
        assert np.abs(error).max() <= 0.5 / 255 + 1e-6
    # The score of a level, as viewer.js reads it.
    score = volumes.highest * (volumes.levels("anomaly") / 255) ** 2
    root = np.sqrt(np.maximum(found.anomaly[""][box], 0))
    assert np.abs(np.sqrt(score) - root).max() <= 0.51 / 255 * np.sqrt(volumes.highest)
    assert all(0 <= at < length for at, length in zip(volumes.start, volumes.shape, strict=True))
    if lesion.any():
        assert lesion[volumes.start] == 1


def test_the_box_fits_the_brain_and_a_lesion_outside_it(make):
    case = a_case(make, (30, 30, 30), 0)
    brain, lesion = (np.zeros((30, 30, 30), bool) for _ in range(2))
    brain[10:20, 11:20, 12:20], lesion[0:2, 15, 25] = True, True
    case = replace(case, brain_mask=brain, lesion_mask=lesion)
    volumes = take_volumes(case, a_prediction(case, 0), "", MADE_FROM)
    assert volumes.origin == (0, 9, 10) and volumes.shape == (22, 13, 18)
    assert volumes.levels("lesion").sum() == 2


def test_what_is_not_there_is_left_out_and_nothing_divides_by_zero(make):
    case = a_case(make, (5, 6, 7), 1, lesioned=False)
    found = replace(a_prediction(case, 1), pseudo_healthy=None, anomaly={"x": np.zeros((5, 6, 7))})
    volumes = take_volumes(case, found, "x", MADE_FROM)
    assert set(volumes.layers) == {"input", "anomaly", "lesion"}
    assert volumes.highest == 0 and not volumes.levels("anomaly").any()
    assert not volumes.levels("lesion").any()
    empty = replace(case, brain_mask=np.zeros((5, 6, 7), bool))
    assert take_volumes(empty, found, "x", MADE_FROM).shape == (5, 6, 7)


def test_a_file_holds_all_of_it_in_the_same_bytes(make, tmp_path):
    case = a_case(make, (9, 8, 7), 2)
    volumes = take_volumes(case, a_prediction(case, 2), "", MADE_FROM)
    for name in ("one", "two"):
        write_volumes(tmp_path / f"{name}.npz", volumes)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    found = read_volumes(tmp_path / "one.npz")
    assert found == volumes


@pytest.mark.parametrize("content", [None, b"", b"no archive", "half", "other"])
def test_what_holds_no_volumes_is_an_error(make, tmp_path, content):
    path = tmp_path / "v.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "half":
        case = a_case(make, (9, 8, 7), 3)
        write_volumes(path, take_volumes(case, a_prediction(case, 3), "", MADE_FROM))
        path.write_bytes(path.read_bytes()[:-40])
    elif content == "other":
        np.savez(path, format=np.array("another"))
    with pytest.raises(InputError, match="evaluate again"):
        read_volumes(path)
