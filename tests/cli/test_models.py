"""``dal_models``: list, export, install, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dal_auto.cli import models


def test_list_says_where_nothing_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path))
    monkeypatch.setattr("dal_auto.cli.commands.models.shipped_model", lambda: None)
    assert models.main(["list"]) == 0
    assert "comes without a model" in capsys.readouterr().out


def test_list_names_the_users_runs_as_dal_predict_wants_them(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "IXI" / "DAL__demo__robust" / "seed_0"
    folder.mkdir(parents=True)
    (folder / "best.safetensors").touch()
    (folder / "complete.json").touch()
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path))
    assert models.main(["list"]) == 0
    assert "IXI/DAL__demo__robust/seed_0" in capsys.readouterr().out


def test_a_file_without_its_card_is_not_installed(tmp_path: Path, capsys):
    file = tmp_path / "a.safetensors"
    file.touch()
    assert models.main(["install", str(file)]) == 2
    assert "a model is two files" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["export"], ["install"]])
def test_what_is_missing_is_a_usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        models.main(arguments)
    assert caught.value.code == 2
