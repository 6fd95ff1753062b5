"""What files are called: no two of an output folder have one name, in either layout."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import dal_auto
from dal_auto.errors import UsageError
from dal_auto.inference.layout import (
    KINDS,
    bids_entities,
    claim_layout,
    picture_name,
    segmentation_name,
    sidecar_name,
    transform_name,
    volume_name,
)
from dal_auto.inference.record import record_path

CASE = "sub-01_ses-2_run-1"
STEM = "sub-01/ses-2/anat/sub-01_ses-2"


@pytest.mark.parametrize(
    ("name", "on", "kind", "atlas", "flat", "bids"),
    [
        ("T1", "T1", "anomaly", False, "T1_anomaly", "desc-anomaly_T1w"),
        ("T1", "T1", "anomaly", True, "T1_anomaly_space-atlas", "space-SRI24_desc-anomaly_T1w"),
        ("T2", "T2", "mask", False, "T2_mask", "label-anomaly_desc-T2w_mask"),
        ("FLAIR", "FLAIR", "pseudo-healthy", False, "FLAIR_pseudo-healthy",
         "desc-pseudohealthy_FLAIR"),
        ("T1", "T1", "brain-mask", True, "T1_brain-mask_space-atlas",
         "space-SRI24_label-brain_desc-T1w_mask"),
        ("joint", "T1", "anomaly", False, "joint_anomaly", "desc-jointanomaly_T1w"),
        ("joint", "T1", "mask", False, "joint_mask", "label-anomaly_desc-joint_mask"),
    ],
)  # fmt: skip
def test_a_volume_is_named_by_case_sequence_kind_and_space(name, on, kind, atlas, flat, bids):
    assert volume_name("flat", CASE, name, on, kind, atlas=atlas) == f"{CASE}_{flat}.nii.gz"
    assert volume_name("bids", CASE, name, on, kind, atlas=atlas) == f"{STEM}_{bids}.nii.gz"


@pytest.mark.parametrize("layout", ["flat", "bids"])
def test_no_two_files_have_one_name(layout):
    names = [
        volume_name(layout, case, name, "T1" if name == "joint" else name, kind, atlas=atlas)
        for case, name, kind, atlas in itertools.product(
            ("a", "b"), ("T1", "T2", "FLAIR", "joint"), KINDS, (False, True)
        )
    ]
    names += [sidecar_name(layout, case, "T1", "T1") for case in "ab"]
    names += [segmentation_name(layout, case, "T1", "T1") for case in "ab"]
    names += [picture_name(layout, case, name) for case in "ab" for name in ("T1", "joint")]
    names += [
        transform_name(layout, case, sequence, ending)
        for case, sequence, ending in itertools.product("ab", ("T1", "T2"), (".tfm", ".txt"))
    ]
    assert len(set(names)) == len(names)
    assert not any(name.startswith("/") or ".." in name for name in names)


def test_what_belongs_to_a_volume_has_its_name():
    assert sidecar_name("flat", "a", "T1", "T1") == "a_T1_anomaly.json"
    assert sidecar_name("bids", CASE, "joint", "T2") == f"{STEM}_desc-jointanomaly_T2w.json"
    assert segmentation_name("flat", "a", "T1", "T1") == "a_T1_mask.dcm"
    assert segmentation_name("bids", CASE, "T1", "T1") == f"{STEM}_label-anomaly_desc-T1w_mask.dcm"


def test_pictures_and_transforms_have_places_of_their_own():
    assert picture_name("flat", "a", "joint") == "a_joint.png"
    assert picture_name("bids", CASE, "T1") == "sub-01/ses-2/figures/sub-01_ses-2_desc-T1w.png"
    assert transform_name("flat", "a", "T2", ".tfm") == "a_T2_to-atlas.tfm"
    assert transform_name("bids", "sub-7", "T2", ".txt") == (
        "sub-7/anat/sub-7_from-T2w_to-SRI24_mode-image_xfm.txt"
    )


@pytest.mark.parametrize(
    ("case_id", "entities"),
    [
        ("sub-01", "sub-01"),
        ("sub-01_ses-2", "sub-01_ses-2"),
        ("sub-01_ses-2_acq-x", "sub-01_ses-2"),
        ("sub-01_acq-x", "sub-01"),
        ("BraTS-GLI-00000-000", "sub-BraTSGLI00000000"),
        ("odd name_é", "sub-oddname"),
        ("patient_sub-01", "sub-patientsub01"),
    ],
)
def test_bids_names_are_of_letters_and_digits(case_id, entities):
    assert bids_entities(case_id) == entities


def test_only_bids_describes_the_folder(tmp_path: Path):
    claim_layout("flat", tmp_path / "flat", ["a-b", "ab", "é"])
    assert not (tmp_path / "flat").exists()
    claim_layout("bids", tmp_path / "bids", ["a", "b", "a"])
    content = json.loads((tmp_path / "bids" / "dataset_description.json").read_text())
    assert content["DatasetType"] == "derivative" and content["BIDSVersion"]
    assert content["GeneratedBy"] == [{"Name": "dal_auto", "Version": dal_auto.__version__}]
    ignored = (tmp_path / "bids" / ".bidsignore").read_text().splitlines()
    assert {"records/", "index.html", "cases.csv", "*.dcm"} <= set(ignored)


@pytest.mark.parametrize(
    ("ids", "named"),
    [(["x", "a-b", "ab"], ["a-b and ab", "sub-ab"]), (["a", "__é"], ["__é has no letter"])],
)
def test_cases_that_bids_cannot_tell_apart_are_refused_by_name(tmp_path, ids, named):
    with pytest.raises(UsageError) as caught:
        claim_layout("bids", tmp_path / "maps", ids)
    assert all(words in str(caught.value) for words in named)
    assert not (tmp_path / "maps").exists()


def test_cases_of_earlier_runs_have_their_bids_names(tmp_path, record):
    done = record("P-1", 1.0, files={"sub-P1/anat/sub-P1_T1w.json": "0"})
    done.write(record_path(tmp_path, "P-1"))
    flat = record("Q-1", 1.0, files={"Q-1_T1_anomaly.json": "0"})
    flat.write(record_path(tmp_path, "Q-1"))
    with pytest.raises(UsageError, match=r"P-1 and P_1 would both be sub-P1 in .*another folder"):
        claim_layout("bids", tmp_path, ["P_1"])
    claim_layout("bids", tmp_path, ["P-1", "Q_1"])


@pytest.mark.parametrize("content", ['{"GeneratedBy": [{"Name": "fMRIPrep"}]}', "{}", "[", "3"])
def test_a_dataset_of_another_program_is_not_described_as_ours(tmp_path, content):
    (tmp_path / "dataset_description.json").write_text(content)
    with pytest.raises(UsageError, match="another program's dataset"):
        claim_layout("bids", tmp_path, ["a"])
    assert (tmp_path / "dataset_description.json").read_text() == content
    (tmp_path / "dataset_description.json").unlink()
    for _ in range(2):
        claim_layout("bids", tmp_path, ["a"])
