"""The real cases of DAL_TEST_DATA as datasets of a DAL_HOME: two gliomas, one MS patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preprocessing_parts.cases import test_data
from simulated_cohort import Home

from dal_auto.store.atomic import write_json

#: A case lies in a folder of its own; the consensus mask beside its images.
PATIENT26: dict[str, Any] = {
    "name": "Patient26",
    "title": "Patient 26 of the Ljubljana MS images, in MNI space",
    "role": "test",
    "layouts": [
        {
            "id": "mni",
            "case": {"kind": "directory", "regex": "(?P<case>patient26)", "example": "patient26"},
            "sequences": {"T1": ["{case}_T1"], "T2": ["{case}_T2"]},
            "lesion_masks": ["{case}_lesion"],
            "mask_labels": {"1": "white matter lesion"},
        }
    ],
    "access": {
        "url": "https://github.com/muschellij2/open_ms_data",
        "licence": "CC BY",
    },
}


def add_real_cases(home: Home) -> list[str]:
    """Put the real cases into the home as links, and preprocess them; their datasets' names."""
    data = test_data()
    if data is None:
        raise SystemExit("--real: no real scans; DAL_TEST_DATA names their folder")
    gliomas, sclerosis = (home.path / "raw" / name for name in ("BraTS-GLI", PATIENT26["name"]))
    _link(gliomas, data / "brats_gli")
    _link(sclerosis / "patient26", data / "mslub_mni")
    write_json(sclerosis / "dal_record.json", PATIENT26)
    names = [gliomas.name, sclerosis.name]
    home.run("dal_plan_and_preprocess", "-d", *names)
    return names


def _link(link: Path, folder: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(folder, target_is_directory=True)
