"""From a standard case to a filtered map at 1 mm: every step beside the one that it should be."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from dal_auto.errors import UsageError
from dal_auto.inference import predictor as module
from dal_auto.inference.predictor import predict, windows_of
from dal_auto.methods.method import Detection, Method
from dal_auto.methods.raw_intensity import RawIntensity
from dal_auto.scoring.guided_filter import guided_filter

CUBE = np.ones((3, 3, 3))
OFF = {"scoring__min_filter_mm": 0.0, "scoring__mean_filter_mm": 0.0, "scoring__erosion_mm": 0.0}


class Recorder(RawIntensity):
    """Notes what it is given; its score is what a network of ones and its windows make of it."""

    def detect(self, image, brain_mask, sequence, tile) -> Detection:
        self.given = image, brain_mask, sequence
        self.windows = []

        def network(x: torch.Tensor) -> torch.Tensor:
            self.windows.append(tuple(x.shape))
            return x

        stitched = tile(network, image[None, None])[0, 0]
        return Detection({"": stitched}, pseudo_healthy=stitched / 2, extras={"edges": brain_mask})


def test_a_method_sees_the_matched_image_on_the_configurations_grid(make_plans, case):
    method = Recorder(make_plans())
    prediction = predict(method, case, "T2", "cpu")
    image, mask, sequence = method.given
    assert sequence == "T2"
    assert image.shape == mask.shape == (24, 24, 24)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert image.min() >= 0 and image.max() <= 1 and (image[mask == 0] == 0).all()
    # Halving by averages, over the brain's voxels only.
    whole = np.where(case.brain_mask, prediction.image, 0).reshape(24, 2, 24, 2, 24, 2)
    count = case.brain_mask.reshape(24, 2, 24, 2, 24, 2).sum((1, 3, 5))
    expected = np.where(count >= 4, whole.sum((1, 3, 5)) / np.maximum(count, 1), 0)
    np.testing.assert_allclose(image, expected, atol=1e-5)


def test_the_input_is_carried_onto_the_landmarks_of_the_plans(make_plans, case):
    plans = make_plans()
    prediction = predict(Recorder(plans), case, "T1", "cpu")
    found = np.percentile(prediction.image[case.brain_mask], plans.preprocessing.percentiles)
    np.testing.assert_allclose(found, plans.intensity.landmarks["T1"], atol=1e-3)
    assert (prediction.image[~case.brain_mask] == 0).all()


def test_where_a_sequence_does_not_show_the_brain_nothing_is_seen_or_marked(make_plans, case):
    part = case.brain_mask.copy()
    part[:, :, 24:] = False
    method = Recorder(make_plans(**OFF))
    slab = dataclasses.replace(case, shown={"T2": part})
    prediction = predict(method, slab, "T2", "cpu")
    image, mask, _ = method.given
    assert not mask[:, :, 12:].any() and not image[:, :, 12:].any() and mask[:, :, :12].any()
    (score,) = prediction.anomaly.values()
    assert not score[~part].any() and score[part].any() and not prediction.image[~part].any()
    whole = predict(method, case, "T1", "cpu")
    np.testing.assert_array_equal(predict(method, slab, "T1", "cpu").image, whole.image)


def test_networks_run_in_the_windows_of_the_plans(make_plans, monkeypatch):
    asked = []

    def in_windows(network, volume, window) -> torch.Tensor:
        asked.append(window)
        return network(volume)

    monkeypatch.setattr(module, "in_windows", in_windows)
    plans = make_plans(configuration__window=[8, 16, 24])
    windows_of(plans, "cpu")(lambda x: x, torch.zeros(1, 1, 24, 24, 24))
    assert asked == [(8, 16, 24)]


@pytest.mark.parametrize(
    ("device", "amp", "half"),
    [("cpu", True, False), ("mps", True, False), ("cuda:1", True, True), ("cuda", False, False)],
)
def test_half_precision_is_for_cuda_where_the_plans_trained_so(
    make_plans, monkeypatch, device, amp, half
):
    asked = []

    def autocast(kind: str, dtype: torch.dtype, enabled: bool) -> contextlib.AbstractContextManager:
        asked.append((kind, enabled))
        assert dtype in (torch.bfloat16, torch.float16)
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    windows = windows_of(make_plans(training__amp=amp), device)
    result = windows(lambda x: x.bfloat16(), torch.ones(1, 1, 24, 24, 24))
    assert asked == [(device.split(":")[0], half)]
    assert result.dtype == torch.float32


def test_all_results_lie_on_the_standard_grid(make_plans, case):
    prediction = predict(Recorder(make_plans()), case, "T1", "cpu")
    volumes = [prediction.image, prediction.pseudo_healthy, *prediction.anomaly.values()]
    for volume in [*volumes, *prediction.extras.values()]:
        assert isinstance(volume, np.ndarray)
        assert (volume.shape, volume.dtype) == ((48, 48, 48), np.float32)
    assert (prediction.pseudo_healthy[~case.brain_mask] == 0).all()


def test_every_variant_of_a_method_is_given(make_plans, case):
    prediction = predict(RawIntensity(make_plans(**OFF)), case, "T1", "cpu")
    assert set(prediction.anomaly) == {"bright", "dark"}
    assert prediction.pseudo_healthy is None
    inside = ndimage.binary_erosion(case.brain_mask, CUBE, iterations=4)
    both = prediction.anomaly["bright"] + prediction.anomaly["dark"]
    np.testing.assert_allclose(both[inside], 1, atol=1e-5)


def test_maps_as_a_methods_paper_leaves_them_stand_beside_the_filtered(make_plans, case):
    method = RawIntensity(make_plans(scoring__mean_filter_mm=5.0))
    assert list(predict(method, case, "T1", "cpu", compare=True).anomaly) == ["bright", "dark"]
    method.own_postprocessing = True  # type: ignore[misc]
    assert list(predict(method, case, "T1", "cpu").anomaly) == ["bright", "dark"]
    found = predict(method, case, "T1", "cpu", compare=True).anomaly
    assert list(found) == ["bright", "dark", "bright-own", "dark-own"]
    bare = predict(RawIntensity(make_plans(**OFF)), case, "T1", "cpu").anomaly
    for variant in ("bright", "dark"):
        np.testing.assert_allclose(found[f"{variant}-own"], bare[variant], atol=1e-6)
        assert not np.allclose(found[variant], bare[variant], atol=1e-3)


def test_filters_are_taken_at_1_mm_after_the_return_from_the_coarse_grid(make_plans, case):
    raw = predict(Recorder(make_plans(**OFF)), case, "T1", "cpu").anomaly[""]
    kernels = {
        "scoring__min_filter_mm": 3.0,
        "scoring__mean_filter_mm": 5.0,
        "scoring__erosion_mm": 3.0,
    }
    found = predict(Recorder(make_plans(**kernels)), case, "T1", "cpu").anomaly[""]
    inside = ndimage.binary_erosion(case.brain_mask, CUBE)
    assert (found[~inside] == 0).all()
    # Unfiltered, the score outside the brain is masked: deep inside both see the same.
    deep = ndimage.binary_erosion(case.brain_mask, CUBE, iterations=4)
    expected = ndimage.uniform_filter(ndimage.minimum_filter(raw, 3), 5)
    np.testing.assert_allclose(found[deep], expected[deep], atol=1e-5)


def test_the_score_is_guided_by_the_matched_image_of_its_sequence(make_plans, case):
    plain = predict(RawIntensity(make_plans(**OFF)), case, "T2", "cpu")
    keys = {"scoring__guided_mm": 5.0, "scoring__guided_epsilon": 0.01}
    guided = predict(RawIntensity(make_plans(**OFF | keys)), case, "T2", "cpu")
    score, image, brain = map(
        torch.from_numpy, (plain.anomaly["bright"], plain.image, case.brain_mask)
    )
    expected = guided_filter(score, image, brain, (5, 5, 5), 0.01)
    np.testing.assert_allclose(guided.anomaly["bright"], expected, atol=1e-6)
    assert not np.allclose(guided.anomaly["bright"], plain.anomaly["bright"], atol=0.01)


def test_a_bright_spot_raises_the_score_where_it_is(make_plans, case):
    images = case.images.copy()
    images[0, 18:25, 28:35, 14:21] *= 2
    without, with_spot = (
        predict(RawIntensity(make_plans()), one, "T1", "cpu").anomaly["bright"]
        for one in (case, dataclasses.replace(case, images=images))
    )
    rise = with_spot - without
    np.testing.assert_allclose(ndimage.center_of_mass(rise), (21, 31, 17), atol=1)
    assert np.abs(rise[:10]).max() == 0


def test_predicting_twice_gives_the_same_map(make_plans, case):
    first, second = (
        predict(RawIntensity(make_plans()), case, "T1", "cpu").anomaly["bright"] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_a_sequence_that_was_not_trained_on_is_named_with_what_to_do(make_plans, case):
    method: Method = RawIntensity(make_plans())
    with pytest.raises(UsageError, match=r"knows T1, T2, not FLAIR.*trained on FLAIR"):
        predict(method, case, "FLAIR", "cpu")


def test_a_sequence_that_the_case_lacks_is_named(make_plans, case):
    alone = dataclasses.replace(case, sequences=("T1",), images=case.images[:1])
    with pytest.raises(UsageError, match="case has no T2"):
        predict(RawIntensity(make_plans()), alone, "T2", "cpu")
