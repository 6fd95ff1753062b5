"""Remarks know the sequence that they are about, without reading their own words."""

from __future__ import annotations

from dal_auto.findings import Kind
from dal_auto.inference.remark import Remark, flags_of, remarks_of, texts

THICK = Kind("thick", "thick slices")


def test_a_finding_about_an_image_is_about_its_sequence():
    found = [
        THICK.found("6 mm").about("T1"),
        THICK.found("2 mm").about("lesion mask"),
        THICK.found("of all"),
    ]
    told = remarks_of(found, ["T1", "T2"])
    assert [remark.sequence for remark in told] == ["T1", "", ""]
    assert texts(told) == ["T1: 6 mm", "lesion mask: 2 mm", "of all"]


def test_a_flag_is_of_the_sequence_in_the_figure_s_name():
    coverage, dice = sorted(
        flags_of({"coverage_T2": 0.5, "atlas_dice": 0.5, "brain_ml": 1400.0}),
        key=lambda remark: remark.text,
        reverse=True,
    )
    assert coverage == Remark(text="coverage_T2 0.5 outside 0.95 to 1", sequence="T2")
    assert dice.sequence == "" and str(dice).startswith("atlas_dice 0.5")
