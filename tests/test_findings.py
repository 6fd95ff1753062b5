"""Findings: data with words for people; what was measured survives the way to disk."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dal_auto.findings import Finding, Kind, by_code

THICK = Kind("thick-slices", "thick slices", "Leave the case out if that matters.")


def test_a_finding_has_what_its_kind_says_and_what_was_measured():
    found = THICK.found("T2: slices of 5.0 mm", case="a", value=5.0, limit=4.5)
    assert (found.code, found.level, found.title) == ("thick-slices", "warning", "thick slices")
    assert (found.case, found.value, found.limit, found.remedy) == ("a", 5.0, 4.5, THICK.remedy)
    assert str(found) == "T2: slices of 5.0 mm" and str(THICK.found()) == "thick slices"


def test_a_part_and_a_case_are_named_without_changing_the_rest():
    found = THICK.found("5 mm", value=5.0)
    of_t2 = found.about("T2")
    assert str(of_t2) == "T2: 5 mm" and of_t2.part == "T2"
    assert of_t2.model_copy(update={"words": found.words, "part": ""}) == found
    assert found.of("b") == THICK.found("5 mm", value=5.0, case="b")
    assert THICK.found().about("T2").words == "T2: thick slices"


def test_findings_survive_the_way_to_disk():
    for limit in (None, 4.5, (0.01, 500.0)):
        found = THICK.found("x", value=5, limit=limit)
        assert Finding.model_validate_json(found.model_dump_json()) == found


def test_a_level_is_one_of_those_known():
    with pytest.raises(ValidationError):
        Finding(code="a", level="fatal", title="a")


def test_findings_are_grouped_by_code_in_the_order_in_which_they_come():
    other = Kind("flipped", "flipped").found()
    groups = by_code([THICK.found("1"), other, THICK.found("2")])
    assert list(groups) == ["thick-slices", "flipped"]
    assert [str(found) for found in groups["thick-slices"]] == ["1", "2"]
