from __future__ import annotations

import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from dal_auto.errors import InputError
from dal_auto.scoring.pooled_curve import BINS, ScoreCounts, rounded, scores_of_bins

volumes = stn.arrays(
    np.float32,
    stn.array_shapes(min_dims=3, max_dims=3, max_side=5),
    elements=st.floats(0, 65504, width=32),
)


def example(seed: int = 0) -> ScoreCounts:
    random = np.random.default_rng(seed)
    score = random.random((12, 13, 14), np.float32)
    return ScoreCounts.from_volume(score, random.random(score.shape) < 0.1)


def same(a: ScoreCounts, b: ScoreCounts) -> bool:
    return np.array_equal(a.lesion, b.lesion) and np.array_equal(a.normal, b.normal)


def test_bins_are_all_non_negative_float16_in_order():
    scores = scores_of_bins()
    assert len(scores) == BINS == 31_745
    assert (scores[0], scores[-2], scores[-1]) == (0, 65504, np.inf)
    assert (np.diff(scores[:-1]) > 0).all()
    assert np.array_equal(scores.astype(np.float16), scores)


@given(score=volumes, seed=st.integers(0, 99))
def test_the_counts_hold_every_rounded_score(score, seed):
    lesion = np.random.default_rng(seed).random(score.shape) < 0.3
    counts = ScoreCounts.from_volume(score, lesion)
    for mask, held in ((lesion, counts.lesion), (~lesion, counts.normal)):
        expected = np.sort(score[mask].astype(np.float16))
        np.testing.assert_array_equal(np.repeat(scores_of_bins(), held), expected)


def test_only_voxels_within_are_counted_and_masks_may_be_integers():
    score = np.array([[[0.1, 0.2, 0.3, 0.4]]], np.float32)
    lesion, within = np.array([[[0, 4, 1, 0]]], np.uint8), np.array([[[1, 1, 0, 0]]], np.uint8)
    counts = ScoreCounts.from_volume(score, lesion, within)
    assert scores_of_bins()[counts.lesion > 0] == [np.float16(0.2)]
    assert scores_of_bins()[counts.normal > 0] == [np.float16(0.1)]


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_does_not_matter(order):
    random = np.random.default_rng(0)
    score, lesion = random.random((5, 6, 7), np.float32), random.random((5, 6, 7)) < 0.2
    counts = ScoreCounts.from_volume(np.asarray(score, order=order), lesion)
    assert same(counts, ScoreCounts.from_volume(score, lesion))


@pytest.mark.parametrize("bad", [np.nan, -1e-9, -1.0, -np.inf, np.inf, 65520.0, 1e9])
def test_scores_that_cannot_be_ranked_are_refused_even_outside_the_counted_voxels(bad):
    score = np.zeros((2, 2, 2), np.float32)
    score[1, 1, 1] = bad
    within = np.zeros(score.shape, bool)
    with pytest.raises(ValueError, match="anomaly scores must"):
        ScoreCounts.from_volume(score, within, within)


def test_negative_zero_is_zero_and_the_largest_float16_is_counted():
    counts = ScoreCounts.from_volume(
        np.array([[[-0.0, 65504.0, 65519.0]]], np.float32), np.zeros((1, 1, 3))
    )
    assert (counts.normal[0], counts.normal[-2], counts.normal.sum()) == (1, 2, 3)
    assert not np.signbit(rounded([-0.0])).any()


def test_masks_of_another_shape_are_refused():
    score, mask, other = np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4)), np.ones((2, 3, 1))
    with pytest.raises(ValueError, match="differ in shape"):
        ScoreCounts.from_volume(score, other)
    with pytest.raises(ValueError, match="differ in shape"):
        ScoreCounts.from_volume(score, mask, other)


@settings(max_examples=25)
@given(score=volumes, cut=st.integers(0, 5))
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(score, cut):
    lesion = score > np.median(score)
    parts = [
        ScoreCounts.from_volume(score[part], lesion[part])
        for part in (slice(None, cut), slice(cut, None))
    ]
    assert same(sum(parts, start=ScoreCounts.empty()), ScoreCounts.from_volume(score, lesion))


def test_addition_changes_neither_summand():
    a, b = example(1), example(2)
    _ = a + b
    assert same(a, example(1))
    assert same(b, example(2))


def test_counts_beyond_32_bits_survive_the_disk(tmp_path):
    counts = ScoreCounts.empty()
    counts.normal[0] = 7_000_000_000
    counts.lesion[-2] = 3
    counts.save(tmp_path / "counts.npz")
    assert same(ScoreCounts.load(tmp_path / "counts.npz"), counts)


@pytest.mark.parametrize("counts", [ScoreCounts.empty(), example()])
@pytest.mark.parametrize("name", ["counts.npz", "counts"])
def test_what_was_saved_is_loaded_and_nothing_else_is_left_behind(tmp_path, counts, name):
    counts.save(tmp_path / name)
    assert same(ScoreCounts.load(tmp_path / name), counts)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_equal_counts_are_equal_bytes_whenever_they_were_written(tmp_path, monkeypatch):
    example().save(tmp_path / "now.npz")
    later = time.localtime(time.time() + 1e8)
    monkeypatch.setattr(time, "time", lambda: time.mktime(later))
    monkeypatch.setattr(time, "localtime", lambda *_: later)
    example().save(tmp_path / "later.npz")
    assert (tmp_path / "now.npz").read_bytes() == (tmp_path / "later.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "now.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def write_damaged(path, kind):
    example().save(path)
    whole = path.read_bytes()
    match kind:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            middle = len(whole) // 2
            path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
        case "text":
            path.write_text("no archive")
        case "other arrays":
            np.savez(path, something=np.ones(3))
        case "no such bin":
            np.savez(path, bins=[40_000], lesion=[1], normal=[1])
        case "negative counts":
            np.savez(path, bins=[4], lesion=[-1], normal=[1])
        case "one array":
            with path.open("wb") as file:
                np.save(file, np.ones(3))
        case "pickle":
            np.savez(path, bins=np.array([{}], object), lesion=[1], normal=[1])


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "empty",
        "cut",
        "flipped",
        "text",
        "other arrays",
        "no such bin",
        "negative counts",
        "one array",
        "pickle",
    ],
)
def test_a_damaged_file_is_an_input_error_that_names_it(tmp_path, kind):
    path = tmp_path / "counts.npz"
    write_damaged(path, kind)
    with pytest.raises(InputError, match=r"counts\.npz.*evaluate this case again"):
        ScoreCounts.load(path)


@pytest.mark.parametrize(
    "lesion",
    [
        np.zeros(BINS - 1, np.int64),
        np.zeros(BINS, np.int32),
        np.full(BINS, -1),
        np.eye(1, BINS, BINS - 1, dtype=np.int64)[0],
    ],
)
def test_counts_that_are_none_are_refused(lesion):
    with pytest.raises(ValueError, match="counts must"):
        ScoreCounts(lesion, np.zeros(BINS, np.int64))
