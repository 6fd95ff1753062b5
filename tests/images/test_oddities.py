"""Each oddity has a code of its own, is worth a look, and is worded as a part of a sentence."""

from __future__ import annotations

from dal_auto.findings import Kind
from dal_auto.images import oddities

KINDS = {name: one for name, one in vars(oddities).items() if isinstance(one, Kind)}


def test_no_two_oddities_are_counted_as_one():
    codes = [one.code for one in KINDS.values()]
    assert len(set(codes)) == len(codes) == 9
    assert all(code == code.lower() and " " not in code for code in codes)
    assert len({one.title for one in KINDS.values()}) == len(codes)


def test_an_oddity_does_not_prevent_the_use_of_a_file():
    assert {one.level for one in KINDS.values()} == {"warning"}


def test_titles_count_cases_and_remedies_are_sentences():
    for one in KINDS.values():
        assert one.title[0].islower() and not one.title.endswith(".")
        assert one.remedy == "" or (one.remedy[0].isupper() and one.remedy.endswith("."))


def test_a_finding_takes_all_of_its_kind():
    found = oddities.FORMS_CONFLICT.found("they differ by 3 mm", value=3.0)
    assert (found.code, found.level, found.value) == ("forms-conflict", "warning", 3.0)
    assert found.remedy.startswith("The sform is believed") and str(found) == "they differ by 3 mm"
    assert str(oddities.QFORM_UNREADABLE.found()) == oddities.QFORM_UNREADABLE.title
