"""A file is what its first bytes say; compressed data are read to their end."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dal_auto.errors import InputError
from dal_auto.images.content import kind_of, open_content, reason_of

NIFTI = bytes(344) + b"n+1\0" + bytes(100)
MGH = b"\0\0\0\1" + bytes(400)


def _compressed(content: bytes) -> bytes:
    """Without the time of day: the bytes are part of tests' names, which all workers share."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (NIFTI, "NIfTI-1"),
        (bytes(4) + b"n+2\0" + bytes(540), "NIfTI-2"),
        (MGH, "MGH"),
        (b"NRRD0005\n", "NRRD"),
        (b"ObjectType = Image\n", "MetaImage"),
        (b"  NDims = 3\n", "MetaImage"),
        (b"Objects = 3\n", None),
        (bytes(344) + b"ni1\0" + bytes(100), None),  # the header of a pair
        (b"", None),
    ],
)
def test_a_format_is_told_by_its_first_bytes(content, kind):
    assert kind_of(content) == kind


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.nii", NIFTI, "NIfTI-1"),
        ("A.NII.GZ", _compressed(NIFTI), "NIfTI-1"),
        ("a.mgz", _compressed(MGH), "MGH"),
        ("a.mha", b"NDims = 3\n" + bytes(400), "MetaImage"),
    ],
)
def test_a_file_of_its_name_comes_whole_and_without_an_oddity(tmp_path, name, content, kind):
    plain = content if not content.startswith(b"\x1f\x8b") else gzip.decompress(content)
    assert open_content(put(tmp_path / name, content)) == (kind, plain, ())


def test_against_its_name_and_with_more_behind_it_is_odd_twice(tmp_path):
    path = put(tmp_path / "a.nii", _compressed(NIFTI) + b"more\0\0")
    kind, content, oddities = open_content(path)
    assert (kind, content) == ("NIfTI-1", NIFTI)
    assert [one.code for one in oddities] == ["trailing-bytes", "compression"]
    assert oddities[0].value == 4, "zeros are padding"


def test_several_members_are_one_file_and_a_damaged_one_behind_them_is_ignored(tmp_path):
    whole = _compressed(NIFTI[:200]) + _compressed(NIFTI[200:])
    assert open_content(put(tmp_path / "a.nii.gz", whole))[1:] == (NIFTI, ())
    damaged = whole + b"\x1f\x8b" + b"\xff" * 10
    _, content, (oddity,) = open_content(put(tmp_path / "a.nii.gz", damaged))
    assert content == NIFTI and oddity.value == 12


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (_compressed(b"NRRD0005\n" + bytes(400)), "no image of a known format"),
        (_compressed(NIFTI)[:-9], "compressed data are cut off"),
        (b"\x1f\x8b\x08" + bytes(50), "compressed data are damaged"),
        (b"short", "it ends after 5 bytes"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_finding(tmp_path, content, finding):
    path = put(tmp_path / "a.nii.gz", content)
    with pytest.raises(InputError, match=finding) as caught:
        open_content(path)
    assert caught.value.file == path and caught.value.remedy


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("first\nsecond"), "first"),
        (ValueError(""), "ValueError"),
        (OSError("\n  indented \n"), "indented"),
        (
            RuntimeError(
                "Exception thrown in SimpleITK ImageFileReader_Execute: /src/a.cxx:9:\n"
                "ITK ERROR: NrrdImageIO(0x55d0): Read: it is cut off\n"
                "Reason: none\n"
            ),
            "Read: it is cut off",
        ),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_a_reason_is_one_line_and_of_itk_the_last(error, words):
    assert reason_of(error) == words
