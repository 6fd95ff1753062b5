from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from dal_auto.scoring.box_filters import kernel_voxels
from dal_auto.scoring.guided_filter import guided_filter
from dal_auto.scoring.postprocessing import postprocess

NOT_GUIDED = {"guided_mm": 0.0, "guided_epsilon": 0.001}


def reference(score, mask, spacing_mm, min_filter_mm, mean_filter_mm, erosion_mm):
    score = ndimage.minimum_filter(
        score.astype(float), kernel_voxels(min_filter_mm, spacing_mm), mode="reflect"
    )
    score = ndimage.uniform_filter(score, kernel_voxels(mean_filter_mm, spacing_mm), mode="reflect")
    box = np.ones(kernel_voxels(erosion_mm, spacing_mm), bool)
    return score * ndimage.binary_erosion(mask, box)


@pytest.mark.parametrize("sizes_mm", [(3, 9, 3), (0, 9, 3), (3, 0, 3), (3, 9, 0), (0, 0, 0)])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (1.43, 1.4, 3.0)])
def test_order_is_minimum_then_mean_then_eroded_mask(sizes_mm, spacing_mm):
    random = np.random.default_rng(1)
    score = random.random((20, 24, 18), np.float32)
    mask = np.zeros(score.shape, bool)
    mask[4:17, 3:20, :15] = True
    names = ("min_filter_mm", "mean_filter_mm", "erosion_mm")
    result = postprocess(
        torch.from_numpy(score),
        torch.rand(score.shape),
        torch.from_numpy(mask),
        spacing_mm=spacing_mm,
        **NOT_GUIDED,
        **dict(zip(names, sizes_mm, strict=True)),
    )
    expected = reference(score, mask, spacing_mm, *sizes_mm)
    np.testing.assert_allclose(result, expected, rtol=2e-6, atol=0)


def _most_of(edge: int) -> torch.Tensor:
    return torch.rand(edge, edge, edge) > 0.3


PAPER = {
    "spacing_mm": (1.0, 1.0, 1.0),
    "min_filter_mm": 3.0,
    "mean_filter_mm": 9.0,
    **NOT_GUIDED,
    "erosion_mm": 3.0,
}
OFF = PAPER | {"min_filter_mm": 0.0, "mean_filter_mm": 0.0, "erosion_mm": 0.0}
GUIDED = PAPER | {"guided_mm": 9.0}


@pytest.mark.parametrize("settings_mm", [PAPER, GUIDED, OFF])
def test_inputs_are_left_alone(settings_mm):
    score, image, mask = torch.rand(2, 12, 12, 12), torch.rand(12, 12, 12), _most_of(12)
    before = score.clone(), image.clone(), mask.clone()
    result = postprocess(score, image, mask, **settings_mm)
    assert result.shape == score.shape
    assert all(map(torch.equal, (score, image, mask), before))


def test_half_precision_scores_are_filtered_in_float32():
    score, image, mask = torch.rand(12, 12, 12).half(), torch.rand(12, 12, 12), _most_of(12)
    result = postprocess(score, image, mask, **GUIDED)
    assert result.dtype == torch.float32
    assert torch.equal(result, postprocess(score.float(), image, mask, **GUIDED))


def test_what_is_not_a_number_outside_the_brain_stays_outside():
    score, mask = torch.rand(6, 6, 6), torch.ones(6, 6, 6, dtype=torch.bool)
    score[0], mask[0] = torch.nan, False
    result = postprocess(score, score, mask, **OFF)
    assert not result[0].any()
    assert torch.equal(result[1:], score[1:])
    guided = postprocess(score, score, mask, **OFF | {"guided_mm": 3.0})
    assert guided.isfinite().all()
    assert not guided[0].any()


def test_nothing_waits_for_the_device():
    # A meta tensor has no values: any read of one by the host would raise.
    score = torch.empty(20, 20, 20, device="meta")
    mask = torch.empty(20, 20, 20, device="meta", dtype=torch.bool)
    assert postprocess(score, score, mask, **GUIDED).device.type == "meta"


def test_a_mask_on_another_grid_is_refused():
    with pytest.raises(ValueError, match="not on one grid"):
        postprocess(torch.rand(6, 6, 6), torch.rand(6, 6, 6), _most_of(5), **PAPER)


def test_the_guided_filter_comes_after_the_others_and_before_the_erosion():
    score, image, mask = torch.rand(14, 14, 14), torch.rand(14, 14, 14), _most_of(14)
    whole = torch.ones(14, 14, 14, dtype=torch.bool)
    filtered = postprocess(score, image, whole, **PAPER | {"erosion_mm": 0.0})
    guided = guided_filter(filtered, image, mask, (9, 9, 9), 0.001)
    expected = postprocess(guided, image, mask, **OFF | {"erosion_mm": 3.0})
    assert torch.equal(postprocess(score, image, mask, **GUIDED), expected)
