"""Which DICOM series is the T1, T2, FLAIR; what is left out; and that no name is written."""

from __future__ import annotations

import gzip
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dal_auto.datasets.dicom import find_cases, is_dicom_folder
from dal_auto.datasets.scans import find_scans
from dal_auto.errors import InputError, UsageError


@pytest.fixture(scope="module")
def dicom_series() -> ModuleType:
    path = Path(__file__).with_name("dicom_series.py")
    spec = importlib.util.spec_from_file_location("dicom_series", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dicom_series"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(dicom_series, tmp_path):
    """Writes one series of a study into tmp_path/study."""
    numbers = iter(range(1, 99))

    def one(slices: int = 12, spacing=(1.0, 2.0, 5.0), **tags) -> None:
        dicom_series.write_series(
            tmp_path / "study", dicom_series.volume(slices, spacing), next(numbers), **tags
        )

    return one


def sequences(tmp_path: Path) -> set[str]:
    (case,) = find_cases(tmp_path / "study", tmp_path / "out", "folder")
    return set(case.sequences)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"te": 15, "tr": 550}, "T1"),
        ({"te": 2.9, "tr": 2300, "ti": 900}, "T1"),
        ({"te": 3.5, "tr": 8.1, "name": "sag 3D"}, "T1"),
        ({"te": 100, "tr": 4500, "name": "tra"}, "T2"),
        ({"te": 140, "tr": 11000, "ti": 2800}, "FLAIR"),
        ({"te": 388, "tr": 5000, "ti": 1800, "name": "T2 space"}, "FLAIR"),
        ({"te": 120, "tr": 9000, "name": "T2 FLAIR tra"}, "FLAIR"),
        ({"name": "T1 MPRAGE"}, "T1"),
        ({"name": "AX T2 FSE"}, "T2"),
        ({"name": "t2 tirm dark-fluid"}, "FLAIR"),
        ({"te": 24, "tr": 2200, "ti": 860, "name": "Ax T1 FLAIR"}, "T1"),
        ({"te": 4, "tr": 9, "name": "SAG_3D_T1_GRE"}, "T1"),
        ({"te": 15, "tr": 550, "name": "AX T1 PRE CONTRAST"}, "T1"),
        ({"te": 15, "tr": 550, "name": "T1 NON-CONTRAST SAG"}, "T1"),
        ({"te": 15, "tr": 550, "name": "T1 ohne KM"}, "T1"),
        ({"te": 15, "tr": 550, "name": "AX T1 W/O CONTRAST"}, "T1"),
        ({"te": 3, "tr": 2300, "ti": 900, "name": "t1_mprage_sag_p2_iso"}, "T1"),
    ],
)
def test_the_sequence_is_told_by_te_tr_and_ti_or_else_by_the_name(write, tmp_path, tags, expected):
    write(**tags)
    assert sequences(tmp_path) == {expected}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"name": "T1 post Gd", "te": 15, "tr": 550}, "contrast agent"),
        ({"agent": "Gadovist", "te": 15, "tr": 550}, "contrast agent"),
        ({"name": "t1_mprage_sag_post", "te": 3, "tr": 8}, "contrast agent"),
        ({"name": "t1_mpr_sag_iso_Gd", "te": 3, "tr": 8}, "contrast agent"),
        ({"name": "T1_CE_ax", "te": 15, "tr": 550}, "contrast agent"),
        ({"name": "AX T1 +C", "te": 15, "tr": 550}, "contrast agent"),
        ({"name": "t1_se_tra_KM", "te": 15, "tr": 550}, "contrast agent"),
        ({"name": "t2_ci3d_tra_iso", "te": 2.5, "tr": 6}, "another kind of scan"),
        ({"name": "Ax 3D FIESTA", "te": 2.5, "tr": 6}, "another kind of scan"),
        ({"name": "Mag_Images", "te": 20, "tr": 28}, "another kind of scan"),
        ({"name": "mIP_Images(SW)", "te": 20, "tr": 28}, "another kind of scan"),
        ({"name": "dADC", "te": 90, "tr": 4500}, "another kind of scan"),
        ({"name": "AX GRE", "te": 20, "tr": 600}, "does not call itself a T1"),
        ({"name": "t2_fl2d_tra", "te": 20, "tr": 600}, "does not call itself a T1"),
        ({"name": "T2 weighted", "te": 12, "tr": 600}, "its tags say T1, its name says T2"),
        ({"kind": "DERIVED\\PRIMARY\\T1 MAP", "te": 3, "tr": 8, "name": "T1"}, "no magnitudes"),
        ({"name": "T2 localizer", "te": 100, "tr": 4500}, "localiser"),
        ({"slices": 3, "te": 100, "tr": 4500}, "it has 3 slices"),
        ({"method": "EP", "te": 90, "tr": 4500}, "echo-planar"),
        ({"kind": "ORIGINAL\\PRIMARY\\P", "te": 15, "tr": 550}, "no magnitudes"),
        ({"modality": "CT", "name": "T1"}, "not MR"),
        ({"te": 15, "tr": 3000, "name": "PD"}, "neither its tags nor its name"),
        ({"name": "head"}, "neither its tags nor its name"),
    ],
)
def test_what_is_no_plain_scan_is_left_out_with_the_reason(write, tmp_path, tags, said):
    write(**tags)
    with pytest.raises(InputError, match="none of its DICOM series") as caught:
        sequences(tmp_path)
    assert said in str(caught.value) and "--sequence" in str(caught.value)


def test_of_several_the_finest_original_is_taken_and_the_others_are_named(write, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write(name="T1 thick", te=15, tr=550)
    write(name="T1 fine", te=3, tr=8, spacing=(1.0, 1.0, 1.0))
    write(name="T1 made", te=3, tr=8, spacing=(0.5, 0.5, 0.5), kind="DERIVED\\SECONDARY\\MPR")
    (case,) = find_cases(tmp_path / "study", tmp_path / "out", "folder")
    assert "T1 is series 2 (T1 fine); not series 1 (T1 thick), series 3 (T1 made)" in caplog.text
    assert list(case.sequences) == ["T1"]


@pytest.mark.parametrize(
    ("tags", "doubt"),
    [
        ({"te": 12, "tr": 600, "name": "T2 weighted"}, "its tags or its name say T1"),
        ({"te": 100, "tr": 4500, "name": "T1"}, "its tags say T2, its name says T1"),
        ({"te": 100, "tr": 4500, "name": "T2"}, None),
        ({"name": "head"}, None),
        ({"slices": 3, "te": 100, "tr": 4500}, "it has 3 slices"),
        ({"name": "T2 post contrast"}, "it was taken with a contrast agent"),
        ({"method": "EP", "te": 90, "tr": 4500}, "it is echo-planar"),
        ({"name": "AX GRE"}, "it is a gradient echo"),
        ({"kind": "ORIGINAL\\PRIMARY\\P"}, "it holds no magnitudes"),
        ({"name": "CISS"}, "it is a localiser or another kind of scan"),
    ],
)
def test_what_the_user_says_a_series_is_it_is_taken_for(write, tmp_path, caplog, tags, doubt):
    write(**tags)
    (case,) = find_cases(tmp_path / "study", tmp_path / "out", "folder", "T2")
    assert set(case.sequences) == {"T2"}
    assert ("is taken as T2 because --sequence says so" in caplog.text) == (doubt is not None)
    assert doubt is None or doubt in caplog.text


def test_whatever_the_user_says_a_ct_is_no_scan_and_a_plain_series_is_preferred(
    write, tmp_path, caplog
):
    write(modality="CT", name="T2")
    with pytest.raises(InputError, match="not MR"):
        find_cases(tmp_path / "study", tmp_path / "out", "folder", "T2")
    write(name="scout", spacing=(0.5, 0.5, 0.5))
    write(te=100, tr=4500)
    find_cases(tmp_path / "study", tmp_path / "out", "folder", "T2")
    assert "because --sequence says so" not in caplog.text


def test_equally_good_series_are_taken_in_the_order_of_their_numbers(write, tmp_path, caplog):
    """As numbers: 9 comes before 10."""
    caplog.set_level(logging.INFO)
    for number in range(1, 11):
        if number >= 9:
            write(name="T1", te=15, tr=550)
        else:
            write(slices=3)
    find_cases(tmp_path / "study", tmp_path / "out", "folder")
    assert "T1 is series 9 (T1); not series 10 (T1)" in caplog.text


def test_an_incomplete_series_leaves_the_place_to_the_next(write, tmp_path, caplog):
    write(name="T1 fine", te=3, tr=8, spacing=(1.0, 1.0, 1.0))
    write(name="T1 thick", te=15, tr=550)
    (tmp_path / "study" / "IM001005.dcm").unlink()
    (case,) = find_cases(tmp_path / "study", tmp_path / "out", "folder")
    assert "series 1 (T1 fine) is left out" in caplog.text and "are missing" in caplog.text
    assert all(path.name.startswith("IM002") for path in case.dicom["T1"])


def test_an_examination_that_cannot_be_read_stops_no_other(write, tmp_path):
    write(te=15, tr=550)
    write(te=15, tr=550, study="1.2.826.0.1.3680043.8.498.8")
    (tmp_path / "study" / "IM002005.dcm").unlink()
    good, bad = sorted(
        find_cases(tmp_path / "study", tmp_path / "out", "folder"),
        key=lambda c: c.fault is not None,
    )
    assert set(good.sequences) == {"T1"} and not bad.sequences
    assert "are missing" in str(bad.fault)


def test_two_people_whose_numbers_were_taken_out_are_two_cases(write, dicom_series, tmp_path):
    for folder, frame in (("a", "1.2.3"), ("b", "1.2.4")):
        for number, te, tr in ((1, 15, 550), (2, 100, 4500)):
            dicom_series.write_series(
                tmp_path / "study" / folder / str(number), dicom_series.volume(), number,
                te=te, tr=tr, frame=frame, study=f"{frame}.9", blank=True,
            )  # fmt: skip
    cases = find_cases(tmp_path / "study", tmp_path / "out", "folder")
    assert [sorted(case.sequences) for case in cases] == [["T1", "T2"]] * 2


def test_two_examinations_are_two_cases(write, tmp_path):
    write(te=15, tr=550)
    write(te=100, tr=4500, study="1.2.826.0.1.3680043.8.498.8")
    cases = find_cases(tmp_path / "study", tmp_path / "out", "folder")
    assert [len(case.sequences) for case in cases] == [1, 1]
    assert len({case.case_id for case in cases}) == 2


def test_no_name_and_no_number_of_the_patient_is_written_anywhere(
    write, dicom_series, tmp_path, caplog
):
    caplog.set_level(logging.DEBUG)
    write(te=15, tr=550)
    find_cases(tmp_path / "study", tmp_path / "out", "folder")
    written = [caplog.text.encode()]
    for file in (tmp_path / "out").rglob("*"):
        written += [file.name.encode(), gzip.decompress(file.read_bytes())]
    assert len(written) == 3
    for secret in (dicom_series.PATIENT, "DOE", dicom_series.PATIENT_ID, dicom_series.STUDY):
        assert not any(secret.encode() in text for text in written)


@pytest.mark.parametrize("source", ["out/scans", "out/scans/study", "out"])
def test_images_are_not_written_among_the_files_of_the_series(dicom_series, tmp_path, source):
    dicom_series.write_series(tmp_path / source, dicom_series.volume(), te=15, tr=550)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="among its own files: name another folder"):
        find_scans(tmp_path / source, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_dal_predict_takes_a_dicom_folder_and_says_what_to_do_with_one_file(write, tmp_path):
    write(te=15, tr=550)
    (case,) = find_scans(tmp_path / "study", tmp_path / "out")
    again = find_scans(tmp_path / "study", tmp_path / "out")[0]
    assert case == again and case.sequences["T1"].parent == tmp_path / "out" / "scans"
    assert case.case_id.startswith("study-")
    assert [file.name for file in case.dicom["T1"]] == [
        f"IM001{n:03d}.dcm" for n in range(12, 0, -1)
    ]
    (told,) = find_scans(tmp_path / "study", tmp_path / "out", "T2")
    assert set(told.sequences) == {"T2"}
    with pytest.raises(InputError, match="Name the folder that holds them"):
        find_scans(next((tmp_path / "study").iterdir()), tmp_path / "out")
    assert not is_dicom_folder(tmp_path / "out")


def test_linked_folders_are_entered_once(write, tmp_path):
    write(te=15, tr=550)
    (tmp_path / "pacs").mkdir()
    (tmp_path / "pacs" / "a").symlink_to(tmp_path / "study")
    (tmp_path / "study" / "round").symlink_to(tmp_path / "pacs")
    (case,) = find_cases(tmp_path / "pacs", tmp_path / "out", "folder")
    assert set(case.sequences) == {"T1"}


def test_a_file_that_was_cut_off_is_told(write, tmp_path, caplog):
    """At the end of a series it leaves no gap."""
    write(slices=14, te=15, tr=550)
    last = sorted((tmp_path / "study").rglob("*.dcm"))[-1]
    last.write_bytes(last.read_bytes()[:250])
    assert sequences(tmp_path) == {"T1"}
    assert f"1 DICOM files hold no image that can be read (reports, or damaged): {last}" in (
        caplog.text
    )
