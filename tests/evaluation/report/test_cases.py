"""Which cases a report lists, with what belongs to each, and how they are ranked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from dal_auto.evaluation.report.cases import Case, Ranking, listed_cases, rankings
from dal_auto.evaluation.report.content import CaseVolumes, Picture

NAN = float("nan")


@pytest.fixture
def case(by_hand):
    """A case with an AP; what is not given is of the first run."""

    def make(case_id: str, ap: float | None = 1.0, **others) -> Case:
        fields = {"dataset": "A", "sequence": "T1", "method": "DAL", "run": by_hand.run} | others
        return Case(case_id=case_id, values={} if ap is None else {"AP": ap}, **fields)

    return make


def test_files_of_two_cases_never_have_one_name(case, by_hand):
    odd = "../a b"
    stems = [
        one.stem
        for one in (
            case("a"),
            case("b"),
            case("a", sequence="T2"),
            case("a", method="VAE"),
            case("a", run=by_hand.second),
            case(odd),
        )
    ]
    assert len(set(stems)) == 6 and stems[0].startswith("a_T1_DAL_")
    assert case("a").stem == stems[0]
    assert not any("/" in stem or " " in stem or stem.startswith(".") for stem in stems)


def test_only_cases_of_shown_runs_are_listed_in_the_order_of_the_table(by_hand):
    rows = [
        by_hand.case_row("b", 2.0),
        by_hand.case_row("a", 1.0, run=by_hand.second),
        by_hand.case_row("a", 3.0, "B"),
    ]
    report = dataclasses.replace(by_hand.empty, cases=pd.DataFrame(rows), shown=[by_hand.run])
    found = listed_cases(report)
    assert [(one.dataset, one.case_id) for one in found] == [("A", "b"), ("B", "a")]
    assert found[0].values == rows[0] and found[0].run == by_hand.run
    everything = dataclasses.replace(report, shown=[])
    assert [one.case_id for one in listed_cases(everything)] == ["b", "a", "a"]
    assert listed_cases(dataclasses.replace(by_hand.empty, shown=[by_hand.run])) == []


def test_each_case_has_the_picture_and_the_volumes_of_its_own_run(by_hand):
    def picture(name: str, run, sequence: str = "T1") -> Picture:
        return Picture(Path(name), "Panel", "A", "a", sequence, run)

    def volumes(name: str, method: str, run) -> CaseVolumes:
        return CaseVolumes(Path(name), "A", "a", "T1", method, run)

    row = by_hand.case_row("a", 1.0)
    report = dataclasses.replace(
        by_hand.empty,
        cases=pd.DataFrame(
            [
                row | {"method": "DAL (bright)"},
                row | {"method": "DAL (dark)"},
                row | {"sequence": "T2"},
                by_hand.case_row("a", 1.0, run=by_hand.second),
                by_hand.case_row("b", 1.0),
            ]
        ),
        pictures=[
            Picture(Path("boxes.png"), "Boxes"),
            picture("second.png", by_hand.second),
            picture("first.png", by_hand.run),
            picture("again.png", by_hand.run),
        ],
        volumes=[
            volumes("dark.npz", "DAL (dark)", by_hand.run),
            volumes("other.npz", "DAL (bright)", by_hand.second),
        ],
    )
    found = [
        (one.picture and one.picture.path.name, one.volumes and one.volumes.path.name)
        for one in listed_cases(report)
    ]
    assert found == [
        ("first.png", None),  # drawn once for all variants
        ("first.png", "dark.npz"),
        (None, None),
        ("second.png", None),
        (None, None),
    ]


def test_a_ranking_goes_from_the_worst_to_the_best(case, by_hand):
    worst, best = [case("w1"), case("w2")], [case("b1"), case("b2")]
    ranking = Ranking("T1", "DAL", by_hand.run, worst, best)
    assert [one.case_id for one in ranking.cases] == ["w1", "w2", "b2", "b1"]


def test_cases_are_ranked_by_sequence_method_and_run(case, by_hand):
    cases = [case(f"c{i}", float(i)) for i in (4, 0, 3, 1, 2, 5, 6)]
    cases += [case("healthy", NAN), case("x", 9.0, sequence="T2"), case("x", None, method="VAE")]
    cases += [case("c0", 8.0, run=by_hand.second)]
    first, second, third = rankings(cases)
    assert [one.case_id for one in first.worst] == ["c0", "c1", "c2"]
    assert [one.case_id for one in first.best] == ["c6", "c5", "c4"]
    assert (first.sequence, first.method, first.run) == ("T1", "DAL", by_hand.run)
    assert second.sequence == "T2" and [one.case_id for one in second.cases] == ["x"]
    assert third.run == by_hand.second and third.best == []


def test_where_no_case_has_an_ap_nothing_is_ranked(case):
    assert rankings([]) == [] and rankings([case("a", NAN), case("b", None)]) == []
