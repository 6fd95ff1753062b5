"""A file is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dal_auto.atomic import replacing, write_json, write_text


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_on_success_the_file_is_there_and_nothing_else(tmp_path):
    with replacing(tmp_path / "new" / "image.nii.gz") as temporary:
        temporary.write_bytes(b"voxels")
        assert entries(tmp_path / "new") == [temporary.name]
    assert (tmp_path / "new" / "image.nii.gz").read_bytes() == b"voxels"
    assert entries(tmp_path / "new") == ["image.nii.gz"]


def test_the_temporary_name_lies_beside_keeps_the_suffixes_and_is_hidden(tmp_path):
    with replacing(tmp_path / "image.nii.gz") as temporary:
        temporary.touch()
        assert temporary.parent == tmp_path
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
        assert temporary.name.startswith(".")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_nothing_is_left(tmp_path, error):
    with pytest.raises(error), replacing(tmp_path / "file.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert entries(tmp_path) == []


def test_after_an_error_the_old_file_is_still_whole(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["file.txt"]


def test_a_writer_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "file.txt", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file.txt"):
        pass
    assert (tmp_path / "file.txt").read_text() == "old"


def test_equal_json_gives_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "×"})
    write_json(tmp_path / "b.json", {"a": "×", "b": [1, 2.5]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": "×", "b": [1, 2.5]}


def test_json_that_others_could_not_read_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert entries(tmp_path) == []
