"""The paragraph for a publication says what the plans say."""

from __future__ import annotations

import pytest

from dal_auto.evaluation.report.texts import references
from dal_auto.evaluation.wording import LIMITS, methods_paragraph


def test_every_value_that_is_stated_is_that_of_the_plans(make):
    plans = make.plans_of(
        "VAE",
        preprocessing__registration="simpleitk",
        preprocessing__skull_strip="robex",
        preprocessing__target_shape=[96, 112, 104],
        training__steps=4321,
        training__learning_rate=0.00025,
        scoring__score="ssim",
        scoring__min_filter_mm=2.5,
        scoring__mean_filter_mm=7.0,
        scoring__erosion_mm=6.0,
    )
    text = methods_paragraph(plans)
    for words in (
        "skull-stripped with robex, registered rigidly to SRI24 (Rohlfing et al. 2010) with "
        "simpleitk, cropped or padded to 96×112×104 voxels of 1 mm, and corrected for bias fields",
        "the landmarks of IXI (Nyúl & Udupa 1999)",
        "VAE (dal_auto, preset “robust”) was trained on T1, T2 of IXI at 4.00×4.00×4.00 mm for "
        "4321 steps (Adam, learning rate 0.00025)",
        "Anomaly maps were brought to 1 mm, filtered with a minimum of 2.5 mm and a mean of 7 mm",
        "eroded by a kernel of 6 mm",
    ):
        assert words in text


def test_filters_that_are_off_are_not_named(make):
    keys = {"scoring__min_filter_mm": 0.0, "scoring__guided_mm": 9.0}
    text = methods_paragraph(make.plans_of("DAL", **keys))
    assert "filtered with a mean of 9 mm and a filter that the image guides in boxes of 9" in text
    assert "minimum" not in text
    keys |= {"scoring__mean_filter_mm": 0.0, "scoring__guided_mm": 0.0}
    text = methods_paragraph(make.plans_of("DAL", **keys))
    assert "brought to 1 mm, and cut to the brain mask" in text


def test_dals_score_is_named_and_what_was_fitted_had_no_steps(make):
    text = methods_paragraph(make.plans_of("DAL", scoring__score="ssim"))
    assert "The anomaly score is on T1 1 − SSIM of the matched image x" in text
    start = {"training__pretrained": "/home/me/base.safetensors", "training__corruption": 0.6}
    text = methods_paragraph(make.plans_of("DAL", **start))
    assert "from the weights of base.safetensors, with lesions pasted into 60% of the" in text
    text = methods_paragraph(make.plans_of("mean-brain"))
    assert "for" not in text.partition("mm. ")[2].partition("Average")[0] and "score" not in text


@pytest.mark.parametrize(("transform", "word"), [("rigid", "rigidly"), ("affine", "affinely")])
def test_the_transform_is_named(make, transform, word):
    assert f"registered {word} to " in methods_paragraph(
        make.plans_of("DAL", preprocessing__atlas_transform=transform)
    )


def test_another_atlas_is_not_cited_as_sri24(make):
    text = methods_paragraph(make.plans_of("DAL", preprocessing__atlas="ICBM152-on-SRI24-grid"))
    assert "to ICBM152-on-SRI24-grid with greedy" in text and "Rohlfing" not in text
    assert not any("SRI24" in one for one in references(text))


def test_all_that_is_cited_is_in_the_references(make):
    text = methods_paragraph(make.plans_of("DAL"))
    assert len(references(text)) == 4
    guided = methods_paragraph(make.plans_of("DAL", scoring__guided_mm=9.0))
    assert any("Guided image filtering" in one for one in references(guided))
    assert len(references(methods_paragraph(make.plans_of("mean-brain")))) == 3, "without DAL"


def test_what_no_map_can_show_is_said_in_sentences():
    assert len(LIMITS) >= 4 and all(sentence.endswith(".") for sentence in LIMITS)
