"""A dataset of another chain than a model's is refused, or said."""

from __future__ import annotations

import pytest

from dal_auto.errors import UsageError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.same_chain import check_chain
from dal_auto.preprocessing.steps import DatasetDecisions
from dal_auto.store.atomic import write_json


@pytest.fixture
def made_with(tmp_path, monkeypatch):
    """The dataset "Controls", preprocessed with some values."""
    monkeypatch.setenv("DAL_PREPROCESSED", str(tmp_path))

    def make(**values) -> None:
        plan = PreprocessingPlan().model_copy(update=values)
        decisions = DatasetDecisions(dataset="Controls", preprocessing=plan, steps={})
        write_json(tmp_path / "Controls" / "preprocessing.json", decisions.model_dump(mode="json"))

    return make


def test_the_same_chain_is_taken_without_a_word(made_with, caplog):
    check_chain("Controls", PreprocessingPlan())  # nothing says how they were made
    made_with()
    check_chain("Controls", PreprocessingPlan())
    assert not caplog.records


def test_another_brain_mask_is_said(made_with, caplog):
    made_with(skull_strip="robex")
    check_chain("Controls", PreprocessingPlan())
    assert "Controls was preprocessed with preprocessing.skull_strip robex" in caplog.text


@pytest.mark.parametrize(
    ("key", "value"),
    [("percentiles", (1.0, 50.0, 99.0)), ("target_shape", (9, 9, 9)), ("atlas_sha256", "ab")],
)
def test_another_space_or_other_percentiles_are_refused(made_with, key, value):
    made_with(**{key: value})
    with pytest.raises(UsageError, match=f"with preprocessing.{key} .*--plans"):
        check_chain("Controls", PreprocessingPlan())
