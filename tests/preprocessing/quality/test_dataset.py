"""Table and page of a dataset: the worst cases first, the same bytes for the same cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dal_auto.preprocessing.quality.limits import FIGURES


def test_equal_cases_give_equal_files(tmp_path, case, write):
    write(case)
    first = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / "quality" / "fine.webp").unlink()
    write(case)
    assert first == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_the_worst_come_first_and_every_figure_is_in_the_table(case, write):
    figures = {f"fine{n}": {"atlas_dice": 0.93 + n / 100} for n in range(5)} | {
        "broken": {"brain_ml": 300.0},
        "twice": {"brain_ml": 300.0, "atlas_dice": 0.5},
        "less": {"atlas_dice": 0.88, "lesion_ml": 3.5},
    }
    table = write(*[replace(case, case_id=n, quality=case.quality | q) for n, q in figures.items()])
    assert list(table["case"][:3]) == ["twice", "broken", "less"]
    assert table["flags"][1] == "brain_ml 300 outside 800 to 2200"
    assert (table["flags"][2:] == "").all()
    known = [name for name in FIGURES if name in table.columns]
    assert list(table.columns) == ["case", "flags", *known]
    assert table.set_index("case").loc["less", "lesion_ml"] == "3.5"


def test_a_large_cohort_flags_what_is_unlike_it(case, write):
    rng = np.random.default_rng(0)
    dice = np.round(rng.normal(0.93, 0.004, 30), 4)
    dice[7] = 0.85  # far above the fixed limit
    cases = [
        replace(case, case_id=f"c{n:02d}", quality=case.quality | {"atlas_dice": float(value)})
        for n, value in enumerate(dice)
    ]
    table = write(*cases)
    assert table["case"][0] == "c07"
    assert table["flags"][0].startswith("atlas_dice 0.85 (cohort: 0.9")
    assert (table["flags"][1:] == "").all()


def test_a_small_cohort_sets_no_limits_of_its_own(case, write):
    qualities = [case.quality | {"atlas_dice": dice} for dice in (0.85, *[0.93] * 10)]
    table = write(*[replace(case, case_id=f"c{n}", quality=q) for n, q in enumerate(qualities)])
    assert table["case"][0] == "c0"
    assert (table["flags"] == "").all()


def test_a_dataset_of_which_nothing_could_be_done_still_has_its_files(tmp_path, write):
    table = write(failures=("case a: empty",))
    assert list(table.columns) == ["case", "flags"]
    assert "<li>case a: empty</li>" in (tmp_path / "quality.html").read_text()
