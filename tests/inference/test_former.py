"""What is set aside of a case, also by a run that is killed while it does so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dal_auto.inference import former as module
from dal_auto.inference.former import Former, remove_empty, set_aside, settle
from dal_auto.inference.record import Scan, read_record, record_path

FILES = {"a_T1_anomaly.nii.gz": b"map", "sub-a/anat/a_mask.nii.gz": b"mask"}


@pytest.fixture
def output(tmp_path, record) -> Path:
    """A folder in which the case `a` is done."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    record("a", 1.0, files=dict.fromkeys(FILES, ""), scans=of("1")).write(
        record_path(tmp_path, "a")
    )
    return tmp_path


def of(digest: str) -> dict[str, Scan]:
    return {"T1": Scan(name="a_T1.nii.gz", sha256=digest)}


def in_old(output: Path, scans: dict[str, Scan]) -> dict[str, bytes]:
    folder = output / "old" / Former(scans, ()).group
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def test_a_run_that_is_killed_while_it_moves_is_gone_on_with(output, monkeypatch):
    whole, moved = module._move, []

    def move(file: Path, target: Path) -> None:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(file)
        whole(file, target)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_move", move)
        with pytest.raises(KeyboardInterrupt):
            set_aside(output, "a")
    assert moved[0] == record_path(output, "a"), "what is half moved is not trusted"
    assert set_aside(output, "a") == (Former(of("1"), tuple(FILES)),)
    assert in_old(output, of("1")) == FILES and not any((output / name).exists() for name in FILES)


def test_what_was_half_written_since_does_not_take_the_place_of_what_was_whole(output):
    set_aside(output, "a")
    half = output / "a_T1_anomaly.nii.gz"
    half.write_bytes(b"ha")
    assert set_aside(output, "a") == ()
    assert in_old(output, of("1")) == FILES and half.read_bytes() == b"ha"


def test_of_a_case_that_is_not_there_nothing_is_set_aside(tmp_path):
    assert set_aside(tmp_path, "a") == ()
    settle(tmp_path, "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("digest", ["1", "2"])
def test_what_is_replaced_goes_and_what_is_of_other_scans_stays(output, record, digest):
    set_aside(output, "a")
    record("a", 1.0, scans=of(digest)).write(record_path(output, "a"))
    settle(output, "a")
    remove_empty(output)
    assert (output / "old").exists() == (digest == "2")
    assert read_record(output, "a") is not None


def test_each_group_of_scans_keeps_its_maps_whatever_is_done_again(output, record):
    """Site A, then site B with another threshold each time: A's maps stay."""
    set_aside(output, "a")
    for content in (b"B", b"B again"):
        written = dict.fromkeys(FILES, content)
        for name in written:
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(content)
        again = record("a", 1.0, files=dict.fromkeys(FILES, ""), scans=of("2"))
        again.write(record_path(output, "a"))
        settle(output, "a")
        assert in_old(output, of("1")) == FILES
        assert [one.scans for one in set_aside(output, "a")] == [of("2")]
        assert in_old(output, of("2")) == written
    again.write(record_path(output, "a"))
    settle(output, "a")
    assert in_old(output, of("1")) == FILES and in_old(output, of("2")) == {}


def test_of_a_record_of_another_version_the_files_go_too(output):
    path = record_path(output, "a")
    content = json.loads(path.read_text())
    del content["scans"]
    content["files"] |= {"../outside.nii.gz": "", "/etc/outside": ""}
    path.write_text(json.dumps(content))
    (output.parent / "outside.nii.gz").write_bytes(b"not ours")
    (former,) = set_aside(output, "a")
    assert former == Former({}, tuple(FILES)) and former.is_of(of("3"))
    assert in_old(output, {}) == FILES
    assert (output.parent / "outside.nii.gz").exists()


def test_scans_are_the_same_where_a_sequence_more_or_less_is_all_that_differs():
    more = {**of("1"), "T2": Scan(name="x", sha256="2")}
    one = Former(of("1"), ())
    assert one.is_of(of("1")) and one.is_of(more)
    assert Former(more, ()).is_of(of("1"))
    assert not one.is_of(of("2"))
    assert not one.is_of({"T2": Scan(name="a_T1.nii.gz", sha256="1")})
