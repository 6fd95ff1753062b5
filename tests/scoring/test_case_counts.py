"""Packed counts give back what was packed."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.scoring import case_counts
from dal_auto.scoring.case_counts import CaseCounts
from dal_auto.scoring.pooled_curve import ScoreCounts


def drawn(seed: int, lesion_share: float = 0.1) -> ScoreCounts:
    rng = np.random.default_rng(seed)
    score = rng.exponential(0.1, (8, 9, 10)).astype(np.float32) * (rng.random((8, 9, 10)) > 0.5)
    return ScoreCounts.from_volume(score, rng.random(score.shape) < lesion_share)


CASES = [drawn(0), drawn(1, 0.0), drawn(2), drawn(3, 1.0)]


def same(one: ScoreCounts, other: ScoreCounts) -> bool:
    return np.array_equal(one.lesion, other.lesion) and np.array_equal(one.normal, other.normal)


def test_each_case_comes_back():
    packed = CaseCounts.pack(iter(CASES))
    assert len(packed) == 4
    assert all(same(a, b) for a, b in zip(packed, CASES, strict=True))
    assert same(packed.pooled(), sum(CASES, start=ScoreCounts.empty()))
    assert packed.lesion_voxels().tolist() == [int(one.lesion.sum()) for one in CASES]


def test_a_part_is_its_cases():
    part = CaseCounts.pack(CASES).only(np.array([False, True, False, True]))
    assert all(same(a, b) for a, b in zip(part, [CASES[1], CASES[3]], strict=True))


def test_pooled_counts_may_exceed_32_bits():
    large = ScoreCounts.empty()
    large.normal[7] = 2**31 - 1
    assert CaseCounts.pack([large] * 3).pooled().normal[7] == 3 * (2**31 - 1)


@pytest.mark.parametrize("block", [5, 10_000])
def test_blocks_fall_from_the_highest_score(monkeypatch, block):
    monkeypatch.setattr(case_counts, "_BLOCK", block)
    packed = CaseCounts.pack(CASES)
    lesion, both = map(np.hstack, zip(*packed.falling_blocks(), strict=True))
    occupied = np.flatnonzero(sum(one.lesion + one.normal for one in CASES))[::-1]
    np.testing.assert_array_equal(lesion, [one.lesion[occupied] for one in CASES])
    np.testing.assert_array_equal(both, [(one.lesion + one.normal)[occupied] for one in CASES])


def test_no_case_is_no_row():
    nothing = CaseCounts.pack([])
    assert len(nothing) == 0 and list(nothing) == [] and not nothing.pooled().normal.any()
