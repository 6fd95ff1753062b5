"""Every column and file of a report has a meaning, and what is cited is named in full."""

from __future__ import annotations

from dal_auto.evaluation import summary
from dal_auto.evaluation.report.texts import COLUMNS, FILES, references
from dal_auto.evaluation.result import CaseMetrics, Metrics
from dal_auto.evaluation.scores import Records


def test_every_figure_of_a_result_or_a_case_has_a_meaning_and_nothing_else_has():
    fields = {**Metrics.model_fields, **CaseMetrics.model_fields}
    columns = {one.serialization_alias or name for name, one in fields.items()}
    told = {name for name in columns if not name.endswith((" low", " high"))}
    assert set(COLUMNS) == told | {"left out"}
    assert all(text.endswith(".") for text in COLUMNS.values())


def test_every_file_beside_the_page_has_a_meaning():
    written = {*summary._tables([], Records([], [], [])), "left-out", "absent-datasets"}
    assert set(FILES) == {f"{name}.csv" for name in written} | {summary.MANIFEST}


def test_what_is_cited_is_named_in_full_once_and_nothing_else():
    found = references("DAL after N4 (Tustison et al. 2010), and DAL again.")
    assert len(found) == 2
    assert found[0].startswith("Tustison NJ") and "Disentangled Anatomy" in found[1]
    (one,) = references("matched to landmarks (Nyúl & Udupa 1999)")
    assert "standardizing the MR image intensity scale" in one
    assert references("") == references("MODAL, DALLAS and dal_auto") == []
