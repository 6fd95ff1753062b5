"""The table of what is known and what is on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from dal_auto.datasets.listing import known_datasets
from dal_auto.datasets.registry import RECORDS, load_records

Tree = Callable[..., Path]


def test_known_and_found_datasets_with_counts_and_faults(tree: Tree) -> None:
    raw = tree(
        *(f"Mine/sub-{n}/anat/sub-{n}_T1w.nii.gz" for n in "12"),
        *(f"IXI/IXI002-Guys-0828-{name}.nii.gz" for name in ("T1", "T2")),
        "IXI/IXI116-Guys-0739-T1.nii.gz",
        "MSLUB/readme.txt",
    )
    content = {"Name": "x", "GeneratedBy": [{"Name": "dal_auto simulate"}]}
    (raw / "Mine" / "dataset_description.json").write_text(json.dumps(content))
    table = known_datasets(raw).set_index("dataset")
    assert list(table.index) == [*load_records(), "Mine"]
    assert table.loc["IXI", "found"] == "2" and table.loc["IXI", "sequences"] == "T1 2, T2 1"
    assert table.loc["IXI", "expected"] == 582 and table.loc["IXI", "patients"] == 2
    assert table.loc["IXI", "licence"] == "CC BY-SA 3.0"
    assert table.loc["Mine", "found"] == "2 simulated"
    assert table.loc["HCP", "found"] == "no"
    assert table.loc["HCP", "url"].startswith("https://")
    assert table.loc["MSLUB", "found"] == "faulty" and "patient" in table.loc["MSLUB", "remarks"]


def test_cases_are_not_patients(tmp_path: Path, miniature: ModuleType) -> None:
    miniature.write_tree("BraTS-GLI", tmp_path / "BraTS-GLI")
    miniature.write_tree("BraTS-MEN", tmp_path / "BraTS-MEN")
    table = known_datasets(tmp_path).set_index("dataset")
    assert table.loc["BraTS-GLI", ["found", "patients", "masks"]].tolist() == ["4", "?", 4]
    assert table.loc["BraTS-MEN", ["found", "patients", "masks"]].tolist() == ["3", 2, 3]
    assert "47 were expected" in table.loc["BraTS-MEN", "remarks"]


def test_a_record_of_the_users_own_tells_page_and_licence(tree: Tree) -> None:
    raw = tree("Clinic/patient01/T1W.nii.gz", "Clinic/patient01/consensus_gt.nii.gz")
    content = json.loads((RECORDS / "mslub.json").read_text()) | {"name": "Clinic"}
    (raw / "Clinic" / "dal_record.json").write_text(json.dumps(content))
    row = known_datasets(raw).set_index("dataset").loc["Clinic"]
    assert (row["found"], row["expected"], row["masks"]) == ("1", 30, 1)
    assert row["role"] == "test" and row["licence"].startswith("CC BY")
