"""What the benchmark of the recipe adds: its rows, and its table."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture
def parts(parts_of) -> ModuleType:
    return parts_of("recipe_parts", "page", "rows")


def test_each_row_changes_the_plans_of_the_recipe(parts, make_plans):
    plans = make_plans("DAL").override({"training.corruption": 0.6}, "of a drawn training set")
    rows = parts.rows
    whole = [(key, value) for key, value, _ in plans.flat()]
    for row in (*rows.TRAINED, *rows.RESTORED, *rows.SCORED):
        other = [(key, value) for key, value, _ in plans.override(row.changes, "test").flat()]
        assert other != whole or row.steps != 1, row.title


def test_the_papers_gains_are_beside_its_rows(parts):
    rows = parts.rows.BY_TITLE
    assert rows["no edge-to-image"].paper["T1"] == pytest.approx(32.75 - 54.97)
    assert rows["score: L1"].paper["T2"] == pytest.approx(67.97 - 70.78)
    assert not rows["no corruption"].paper


def figures(precision, more=None):
    return {
        "error": 0.08,
        "AP": {"T1": precision},
        "real": {"T1": 1.0},
        "more": {"T1": more} if more else {},
    }


@pytest.mark.parametrize(
    ("first", "second", "cell"),
    [
        ([-9.0, -1.0], [-3.0, -0.1], "30.0, 32.0 **below**"),
        ([0.2, 4.0], [1.0, 2.0], "30.0, 32.0 **above**"),
        ([-9.0, -1.0], [-3.0, 0.1], "30.0, 32.0"),
    ],
)
def test_a_row_is_below_where_every_seed_says_so(parts, first, second, cell):
    seeds = {
        0: {"the whole recipe": figures(40.0), "Canny": figures(30.0, first)},
        1: {
            "the whole recipe": figures(41.0),
            "Canny": figures(32.0, second),
            "no corruption": figures(1.0),
        },
    }
    lines = parts.page.table(seeds, ["T1"]).splitlines()
    assert lines[2] == "| the whole recipe | 0.080, 0.080 | 40.0, 41.0 | 1.0, 1.0 |  |"
    assert lines[3] == f"| Canny | 0.080, 0.080 | {cell} | 1.0, 1.0 |  |"
    assert len(lines) == 4, "a row that a seed lacks is left out"
    told = parts.page.interval_table(seeds, ["T1"]).splitlines()
    bounds = "; ".join(f"{low:+.1f} to {high:+.1f}" for low, high in (first, second))
    assert told[2:] == [f"| Canny | {bounds} |"]
