"""What a report says need not be said in full, and nobody changes it afterwards."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dal_auto.evaluation.report import page
from dal_auto.evaluation.report.content import CaseVolumes, Picture, Report


def test_a_picture_is_of_everything_unless_it_says_of_what():
    picture = Picture(Path("a.png"), "Boxes")
    assert (picture.dataset, picture.case_id, picture.sequence, picture.run) == ("", "", "", None)
    assert not picture.chart and not picture.lead, "brains are not inverted on a dark page"


def test_what_is_left_unsaid_is_empty_and_of_each_report_its_own(by_hand):
    report = by_hand.empty
    fields = dataclasses.fields(Report)
    asked = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    other = Report(**{name: getattr(report, name) for name in asked})
    for name in ("warnings", "volumes", "shown", "labels", "left_out", "files"):
        assert name not in asked and len(getattr(other, name)) == 0
    assert other.labels is not report.labels and other.left_out is not report.left_out


def test_nothing_is_changed_once_it_is_said(by_hand):
    volumes = CaseVolumes(Path("a.npz"), "A", "a", "T1", "DAL", by_hand.run)
    for one, name in (
        (Picture(Path("a.png"), "Boxes"), "caption"),
        (by_hand.empty, "title"),
        (volumes, "method"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, name, "another")


def test_who_writes_a_report_finds_its_parts_beside_it():
    assert (page.Report, page.Picture, page.CaseVolumes) == (Report, Picture, CaseVolumes)
