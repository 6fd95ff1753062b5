"""The few lines about a dataset: counts, what is odd, and who is far from the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from dal_auto.preprocessing.fingerprint.dataset import (
    CaseFingerprint,
    Fingerprint,
    ImageFingerprint,
)
from dal_auto.preprocessing.fingerprint.kinds import MASK_EMPTY, NEGATIVE, THICK, UNREADABLE


def image(**changes: Any) -> ImageFingerprint:
    figures: dict[str, Any] = {
        "shape": (240, 240, 155),
        "spacing_mm": (1.0, 1.0, 1.0),
        "axcodes": "LPS",
        "oblique_degrees": 0.0,
        "minimum": 0.0,
        "maximum": 1000.0,
        "negative_voxels": 0,
        "nonzero_ml": 1400.0,
        "stripped": True,
        "atlas_dice": 0.92,
        "dtype": "int16",
        "percentiles": (20.0, 500.0, 900.0),
        "bias_share": 0.06,
    }
    return ImageFingerprint(**figures | changes)


def cohort(count: int = 12, **odd: Any) -> list[CaseFingerprint]:
    """Cases that differ a little; `odd` changes the last."""
    volumes = 1400 + 60 * np.random.default_rng(0).normal(size=count)
    cases = [
        CaseFingerprint(
            case_id=f"case{number:02d}",
            images={"T1": image(nonzero_ml=float(volume))},
            brain_ml=float(volume),
        )
        for number, volume in enumerate(volumes)
    ]
    cases[-1] = cases[-1].model_copy(update=odd)
    return cases


def lines(*cases: CaseFingerprint) -> str:
    return "\n".join(Fingerprint(dataset="D", cases=cases).summary())


def test_what_is_alike_has_no_outliers():
    assert Fingerprint(dataset="D", cases=tuple(cohort())).outliers() == []


def test_a_figure_far_from_the_median_is_named_with_both_values():
    found = Fingerprint(dataset="D", cases=tuple(cohort(brain_ml=2600.0))).outliers()
    (finding,) = found
    assert (finding.code, finding.case, finding.value) == ("outlier", "case11", 2600)
    assert str(finding).startswith("brain volume in ml: 2600, of most cases 14")


def test_equal_figures_make_no_outlier_of_a_small_difference():
    """With a spread of zero any difference is infinitely far."""
    near = {"T1": image(atlas_dice=0.90)}
    far = {"T1": image(atlas_dice=0.60)}
    for images, expected in ((near, False), (far, True)):
        cases = [case.model_copy(update={"images": {"T1": image()}}) for case in cohort()]
        cases[3] = cases[3].model_copy(update={"images": images})
        found = Fingerprint(dataset="D", cases=tuple(cases)).outliers()
        assert ("case03" in {finding.case for finding in found}) is expected


def test_few_cases_and_unreadable_ones_have_no_say():
    assert Fingerprint(dataset="D", cases=tuple(cohort(7, brain_ml=2600.0))).outliers() == []
    broken = CaseFingerprint(case_id="x", images={}, findings=(UNREADABLE.found("gone"),))
    assert Fingerprint(dataset="D", cases=(broken, *cohort())).outliers() == []


def test_grids_types_and_conflicts_are_counted():
    odd = {"T1": image(forms_conflict_mm=4.0, negative_voxels=7, oblique_degrees=3.0,
                       dtype="float32", axcodes="RAS")}  # fmt: skip
    text = lines(*cohort(images=odd))
    assert "T1: 12 images, stripped 12, on the atlas 12, oblique by up to 3.0°" in text
    assert "sform and qform in conflict 1, with negative voxels 1" in text
    assert "LPS (11); 240×240×155 at 1.00×1.00×1.00 mm RAS (1)" in text
    assert "voxels int16 (11); float32 (1); 1st, 50th, 99th percentile about 20, 500, 900" in text
    assert "brain: median 14" in text


def test_lesions_are_summed_up():
    masks = [
        CaseFingerprint(
            case_id=name, images={"T1": image()}, lesion_ml=ml, lesion_count=count,
            smallest_lesion_ml=smallest, lesion_labels=labels,
        )
        for name, ml, count, smallest, labels in (
            ("a", 10.0, 1, 10.0, (1.0, 2.0)), ("b", 30.0, 3, 0.004, (1.0, 2.0)),
            ("c", 0.0, 0, None, ()),
        )
    ]  # fmt: skip
    text = lines(*masks)
    assert "lesion masks: 3, 1 empty; median 20.0 (10.0 to 30.0) ml each" in text
    assert "in median 2 (1 to 3) pieces, the smallest of all 0.004 ml; labels 1, 2 (2)" in text
    assert "lesion masks: 1, all empty" in lines(masks[2])


def test_findings_of_one_code_are_one_line_with_up_to_five_ids():
    cases = [
        case.model_copy(
            update={
                "findings": (
                    NEGATIVE.found(f"T1: {number + 1} voxels below 0, down to -{number}.5"),
                    THICK.found("T2: slices of 5.0 mm"),
                )
            }
        )
        for number, case in enumerate(cohort(7))
    ]
    odd = [line for line in lines(*cases).splitlines() if line.startswith("  odd:")]
    assert len(odd) == 2
    assert odd[0].startswith("  odd: 7 cases (case00, case01, case02, case03, case04, …)")
    assert "such as T1: 1 voxels below 0" in odd[0]
    assert "slices of 5.0 mm" in odd[1]


def test_one_case_with_one_finding_is_one_plain_line():
    assert "  odd: lesion mask: it is empty (case11)" in lines(
        *cohort(findings=(MASK_EMPTY.found("lesion mask: it is empty"),))
    )
