"""A file is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from dal_auto.errors import DiskFull, InputError
from dal_auto.store.atomic import (
    disk_trouble,
    mount_point,
    remove_leftovers,
    replacing,
    write_json,
    write_text,
)


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


def test_a_full_disk_is_an_error_that_names_file_and_disk_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "a.json", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull) as caught:
        write_text(tmp_path / "a.json", "new")
    assert (caught.value.file, caught.value.disk) == (tmp_path / "a.json", mount_point(tmp_path))
    assert entries(tmp_path) == ["a.json"] and (tmp_path / "a.json").read_text() == "old"


@pytest.mark.parametrize("raised", [RuntimeError, SafetensorError])
@pytest.mark.parametrize(("free", "full"), [(0, True), (10**9, False)])
def test_a_library_that_does_not_say_so_is_judged_by_the_room_there_is(
    tmp_path, monkeypatch, free, full, raised
):
    said = DiskFull if full else raised
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, free))
    with pytest.raises(said), replacing(tmp_path / "a.b2nd") as temporary:
        temporary.touch()
        raise raised("Error while creating the NDArray")
    assert entries(tmp_path) == []


def test_an_error_of_rust_has_its_number_in_words(tmp_path):
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(DiskFull), replacing(tmp_path / "last.safetensors"):
        raise SafetensorError(words)
    with pytest.raises(SafetensorError), replacing(tmp_path / "last.safetensors"):
        raise SafetensorError(words.replace("28", "2"))


def test_other_trouble_with_a_disk_is_not_called_full(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "file" / "a.txt", "below a file")


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, DiskFull, "the disk is full"),
        (errno.EROFS, InputError, "cannot be read or written (Read-only file system)"),
        (errno.EACCES, InputError, "cannot be read or written (Permission denied)"),
    ],
)
def test_trouble_with_a_disk_is_told_in_words_that_name_the_file(tmp_path, number, kind, words):
    told = disk_trouble(OSError(number, os.strerror(number), str(tmp_path / "a.txt")))
    assert type(told) is kind
    assert words in str(told) and str(tmp_path / "a.txt") in str(told)


def test_an_error_without_a_file_is_of_a_temporary_one():
    assert tempfile.gettempdir() in str(disk_trouble(OSError(errno.ENOSPC, "full")))


def test_an_error_that_is_no_trouble_with_a_disk_is_left_to_be_seen():
    assert disk_trouble(OSError(errno.EBADF, "bad file")) is None


def test_the_mount_point_holds_the_path(tmp_path):
    assert mount_point(Path("/")) == Path("/")
    assert tmp_path.is_relative_to(mount_point(tmp_path))
    assert mount_point(tmp_path / "not" / "there") == mount_point(tmp_path)


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path):
    with pytest.raises(KeyError), replacing(tmp_path / "a.b2nd") as temporary:
        left, young = temporary.name, temporary.name.replace("a.b2nd", "b.b2nd")
        raise KeyError
    safetensors = ".tmpj4koen"  # the library renames what it has written, too
    for name in (left, safetensors, young, ".hidden", ".tmp", "a.b2nd"):
        (tmp_path / name).touch()
    for name in (left, safetensors, ".hidden", ".tmp", "a.b2nd"):
        os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path)
    assert entries(tmp_path) == sorted([young, ".hidden", ".tmp", "a.b2nd"])
    remove_leftovers(tmp_path / "not there")
