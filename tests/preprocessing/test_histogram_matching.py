"""Nyúl matching against closed forms: what is linear comes back exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dal_auto.plans import IntensityPlan, PreprocessingPlan
from dal_auto.preprocessing.histogram_matching import (
    brain_percentiles,
    learn_landmarks,
    match_histogram,
)

PERCENTILES = PreprocessingPlan().percentiles
RANGE = IntensityPlan().standard_range


def brain(seed: int = 0, shape=(12, 12, 12)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    return np.where(mask, rng.gamma(3, 0.2, shape), rng.random(shape)), mask


def increasing(count: int):
    steps = st.lists(st.floats(0.01, 1), min_size=count, max_size=count)
    return st.builds(lambda s, start: tuple(start + np.cumsum(s)), steps, st.floats(-2, 2))


def test_percentiles_are_those_of_the_brain_alone():
    image, mask = brain()
    image[~mask] = 99
    inside = np.sort(image[mask])
    found = brain_percentiles(image, mask, PERCENTILES)
    for percent, value in zip(PERCENTILES, found, strict=True):
        # By definition: linear between the two neighbouring order statistics.
        place = percent / 100 * (len(inside) - 1)
        low = int(place)
        expected = inside[low] + (place - low) * (
            inside[min(low + 1, len(inside) - 1)] - inside[low]
        )
        assert value == pytest.approx(expected)
    assert all(isinstance(value, float) for value in found)


@settings(deadline=None)
@given(st.lists(increasing(5), min_size=1, max_size=6))
def test_landmarks_start_and_end_with_the_standard_range_and_increase(cohort):
    landmarks = learn_landmarks(cohort, RANGE)
    assert (landmarks[0], landmarks[-1]) == pytest.approx(RANGE)
    assert (np.diff(landmarks) > 0).all()


@settings(deadline=None)
@given(increasing(5), st.lists(st.tuples(st.floats(0.1, 50), st.floats(-9, 9)), min_size=1))
def test_cases_that_differ_by_gain_and_offset_only_have_the_landmarks_of_one(case, scanners):
    cohort = [gain * np.array(case) + offset for gain, offset in scanners]
    first, last = case[0], case[-1]
    expected = RANGE[0] + (np.array(case) - first) / (last - first) * (RANGE[1] - RANGE[0])
    np.testing.assert_allclose(learn_landmarks(cohort, RANGE), expected, atol=1e-9)


def test_each_case_counts_the_same():
    # Stretched to [0, 1], the middles lie at 0.25 and 0.75, whatever the units.
    assert learn_landmarks([(0, 1, 4), (1000, 1750, 2000)], (0, 1)) == pytest.approx((0, 0.5, 1))


@settings(deadline=None)
@given(increasing(11), st.integers(0, 20))
def test_percentiles_come_to_lie_on_the_landmarks(landmarks, seed):
    low, high = landmarks[0], landmarks[-1]
    goals = 0.1 + 0.8 * (np.array(landmarks) - low) / (high - low)
    image, mask = brain(seed)
    own = brain_percentiles(image, mask, PERCENTILES)
    image[2, 2, 2 : 2 + 8] = own[1:9]  # voxels that have exactly these values
    matched = match_histogram(image, mask, own, goals)
    np.testing.assert_allclose(matched[2, 2, 2:10], goals[1:9], atol=1e-6)


def test_between_landmarks_the_map_is_linear_and_beyond_them_it_goes_on():
    values = np.array([0.0, 1.0, 1.5, 2.0, 3.0, 3.2, 9.0, -9.0])
    image = values.reshape(2, 2, 2)
    matched = match_histogram(image, np.ones((2, 2, 2), bool), (1, 2, 3), (0.2, 0.4, 0.8))
    # Slopes 0.2 and 0.4 per unit.
    np.testing.assert_allclose(
        matched.ravel(), [0.0, 0.2, 0.3, 0.4, 0.8, 0.88, 1.0, 0.0], atol=1e-6
    )


def test_outside_the_brain_is_zero_and_inside_in_zero_to_one():
    image, mask = brain()
    image[3, 3, 3] = 1e4
    own = brain_percentiles(image, mask, PERCENTILES)
    matched = match_histogram(image, mask, own, learn_landmarks([own], RANGE))
    np.testing.assert_array_equal(matched[~mask], 0)
    assert (matched.min(), matched.max()) == (0, 1)
    assert matched.dtype == np.float32


@settings(deadline=None)
@given(st.floats(0.01, 1000), st.floats(-50, 50))
def test_gain_and_offset_of_a_scanner_leave_no_trace(gain, offset):
    image, mask = brain()
    own = brain_percentiles(image, mask, PERCENTILES)
    landmarks = learn_landmarks([own, tuple(np.sqrt(np.arange(1, 12)))], RANGE)
    other = image * gain + offset
    first = match_histogram(image, mask, own, landmarks)
    second = match_histogram(other, mask, brain_percentiles(other, mask, PERCENTILES), landmarks)
    np.testing.assert_allclose(second, first, atol=2e-3)


@settings(deadline=None)
@given(st.integers(0, 20))
def test_the_order_of_intensities_is_kept(seed):
    image, mask = brain(seed)
    own = brain_percentiles(image, mask, PERCENTILES)
    matched = match_histogram(image, mask, own, learn_landmarks([tuple(range(11))], RANGE))
    order = np.argsort(image[mask])
    assert (np.diff(matched[mask][order]) >= 0).all()


@pytest.mark.parametrize("level", [0.0, 0.7], ids=["dark half", "saturated half"])
def test_an_image_of_which_half_has_one_value_is_matched_without_nan(level):
    image, mask = brain()
    half = np.median(image[mask])
    image = np.minimum(image, half) if level else np.where(image < half, half, image)
    own = brain_percentiles(image, mask, PERCENTILES)
    matched = match_histogram(image, mask, own, learn_landmarks([tuple(range(11))], RANGE))
    assert np.isfinite(matched).all()
    assert len(np.unique(matched)) > 100


# --- against torchio ----------------------------------------------------------------------------

#: torchio fixes its percentiles: 1, the deciles and quartiles, 99. It learns a landmark for each,
#: and leaves the quartiles out when it applies them: what remains are the plans' own percentiles.
TORCHIO_APPLIES = [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12]


@pytest.fixture(scope="module")
def torchio():
    return pytest.importorskip("torchio")


@pytest.fixture(scope="module")
def scans(torchio):
    """Subjects of torchio's: brains of different scanners, in one mask each."""

    def subject(seed: int):
        image, mask = brain(seed)
        rng = np.random.default_rng(seed)
        image = (image ** rng.uniform(0.8, 1.2) * rng.uniform(100, 900) + 20) * mask
        tensors = (np.asarray(part, np.float32)[None] for part in (image, mask))
        scan, label = (torchio.ScalarImage, torchio.LabelMap)
        return torchio.Subject(
            T1=scan(tensor=next(tensors)),
            brain=label(tensor=next(tensors)),
        )

    return [subject(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def torchio_landmarks(torchio, scans, tmp_path_factory) -> np.ndarray:
    """What torchio learns from the scans, from 0 to 100."""
    folder = tmp_path_factory.mktemp("torchio")
    files = {"T1": [], "brain": []}
    for number, scan in enumerate(scans):
        for name, paths in files.items():
            paths.append(folder / f"{name}_{number}.nii")
            scan[name].save(paths[-1])
    return torchio.HistogramStandardization.train(
        files["T1"], mask_path=files["brain"], progress=False
    )


def arrays(scan) -> tuple[np.ndarray, np.ndarray]:
    return scan["T1"].numpy()[0], scan["brain"].numpy()[0] > 0


def test_landmarks_are_torchios(scans, torchio_landmarks):
    cohort = [brain_percentiles(*arrays(scan), PERCENTILES) for scan in scans]
    ours = learn_landmarks(cohort, (0, 100))
    np.testing.assert_allclose(ours, torchio_landmarks[TORCHIO_APPLIES], atol=1e-3)


def test_on_the_same_landmarks_intensities_are_torchios(torchio, scans, torchio_landmarks):
    """To 1e-3 of the standard range; torchio clips nothing, and maps what lies outside the mask."""
    low, high = RANGE
    landmarks = low + torchio_landmarks * (high - low) / 100
    transform = torchio.HistogramStandardization({"T1": landmarks}, masking_method="brain")
    for scan in scans:
        image, mask = arrays(scan)
        matched = match_histogram(
            image, mask, brain_percentiles(image, mask, PERCENTILES), landmarks[TORCHIO_APPLIES]
        )
        reference = transform(scan)["T1"].numpy()[0]
        np.testing.assert_allclose(matched[mask], np.clip(reference[mask], 0, 1), atol=1e-3)
