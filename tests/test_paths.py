"""Where data lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from dal_auto import paths


@pytest.mark.parametrize("name", ["raw", "preprocessed", "results"])
def test_an_empty_variable_counts_as_none(monkeypatch, name):
    """A job's script exports variables that nobody has set."""
    key = f"DAL_{name.upper()}"
    monkeypatch.setenv("DAL_HOME", "/data")
    monkeypatch.setenv(key, "")
    assert getattr(paths, name)() == Path("/data") / name
    monkeypatch.setenv("DAL_HOME", "")
    assert getattr(paths, name)() == Path("dal_home") / name
    monkeypatch.setenv(key, "/elsewhere")
    assert getattr(paths, name)() == Path("/elsewhere")
