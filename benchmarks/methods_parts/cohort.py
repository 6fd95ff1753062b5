"""The home of the benchmark of methods: the drawn training set, and the cases that are scored.

Cases come preprocessed from `benchmarks/shipped.py`'s home, where they are kept, as links. Training
heads and simulated test heads are of different people. To look through all cases takes minutes, so
a home that is ready is taken as it is; delete its `ready.json` to look again.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from home import LESIONED, Home
from preprocessing_parts.cases import test_data
from shipped_parts.cases import HELD_OUT, SIMULATED, real_cases, simulated_cases

from dal_auto.datasets.drawn import DRAWN
from dal_auto.store.atomic import write_json

#: How a real case's name begins → the dataset that it is a case of, by the records' names.
_DATASETS = {
    "BraTS20": "BraTS-GLI",
    "BraTS-SSA": "BraTS-SSA",
    "BraTS-PED": "BraTS-PED",
    "patient26": "MSLUB",
    "brainix": "BRAINIX",
    "wmh": "WMH",
}
#: What tables call it → the datasets that are pooled.
GROUPS = {
    SIMULATED: (LESIONED,),
    "gliomas": ("BraTS-GLI", "BraTS-SSA", "BraTS-PED"),
    "MS, patient 26": ("MSLUB",),
    "BRAINIX": ("BRAINIX",),
    "white matter": ("WMH",),
}


def prepare(home: Home, cases: Path, heads: int) -> None:
    """Training set and test cases; what is there is kept.

    Parameters
    ----------
    cases : home of the preprocessed cases
    heads : simulated ones with lesions that are scored, at most ten
    """
    ready = home.path / "ready.json"
    if ready.is_file() and json.loads(ready.read_text("utf-8"))["heads"] == heads:
        return
    data = test_data()
    if data is None:
        raise SystemExit("no label maps and real cases; DAL_TEST_DATA names their folder")
    for labels in sorted((data / "label_maps").glob("*.nii.gz")):
        if labels.name.split(".")[0] not in HELD_OUT:
            _link(home.path / "raw" / DRAWN / labels.name, labels)
    home.run("dal_plan_and_preprocess", "-d", DRAWN)
    _remove_links(home.path / "preprocessed" / LESIONED / "cases")
    simulated = (case for group, case in simulated_cases(data, Home(cases)) if group == SIMULATED)
    for case in islice(simulated, heads):
        _link_case(home, LESIONED, cases / "preprocessed" / LESIONED / "cases", case.case_id)
    for group, case in real_cases(data, cases / "real"):
        if group != "healthy":
            (dataset,) = (d for start, d in _DATASETS.items() if case.case_id.startswith(start))
            _link_case(home, dataset, cases / "real", case.case_id)
    write_json(ready, {"heads": heads})


def _link_case(home: Home, dataset: str, folder: Path, case_id: str) -> None:
    for ending in (".b2nd", ".json"):
        name = f"{case_id}{ending}"
        _link(home.path / "preprocessed" / dataset / "cases" / name, folder / name)


def _link(link: Path, file: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(file.resolve())


def _remove_links(folder: Path) -> None:
    for link in folder.glob("*"):
        if link.is_symlink():
            link.unlink()
