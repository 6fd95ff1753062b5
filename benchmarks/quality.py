"""Does DAL find more than the trivial baselines? AP on simulated lesions, three seeds.

Trains DAL, raw intensity and the mean healthy brain on a simulated healthy cohort in the `demo`
configuration, and scores them on lesioned heads, all with the same post-processing; of raw
intensity's two polarities the better one counts. With `--real` the same checkpoints are scored on
the real cases of DAL_TEST_DATA: reported, never chosen on.

    python benchmarks/quality.py [--seeds 0,1,2] [--home FOLDER] [--real]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from preprocessing_parts.cases import test_data
from simulated_cohort import HEALTHY, LESIONED, Home, add_home

from dal_auto.atomic import write_json

METHODS = {"dal": "DAL", "raw": "raw-intensity", "mean": "mean-brain"}
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


def link_real_cases(home: Home) -> list[str]:
    """Put the real cases into DAL_RAW as links; their datasets' names."""
    data = test_data()
    if data is None:
        raise SystemExit("--real: no real scans; DAL_TEST_DATA names their folder")
    gliomas, sclerosis = (home.path / "raw" / name for name in ("BraTS-GLI", PATIENT26["name"]))
    _link(gliomas, data / "brats_gli")
    _link(sclerosis / "patient26", data / "mslub_mni")
    write_json(sclerosis / "dal_record.json", PATIENT26)
    return [gliomas.name, sclerosis.name]


def _link(link: Path, folder: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(folder, target_is_directory=True)


def by_seed(results: pd.DataFrame, dataset: str) -> dict[str, dict[str, list[float]]]:
    """sequence → method → AP in percent, by seed."""
    found: dict[str, dict[str, list[float]]] = {}
    rows = results[results["dataset"] == dataset].sort_values("seed")
    for (sequence, method), group in rows.groupby(["sequence", rows["method"].str.split().str[0]]):
        key = next(key for key, name in METHODS.items() if name == method)
        found.setdefault(str(sequence), {})[key] = [round(ap, 2) for ap in group["AP"]]
    return found


def show(results: pd.DataFrame, dataset: str) -> None:
    print(f"\n{dataset}: AP and its 95 % interval, DSC, in percent")
    for row in results[results["dataset"] == dataset].to_dict("records"):
        print(
            f"  {row['sequence']}  {row['method']:24} seed {row['seed']}  AP {row['AP']:5.1f} "
            f"({row['AP low']:.1f} to {row['AP high']:.1f})  DSC {row['DSC']:5.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--real", action="store_true", help="score the real cases as well")
    add_home(parser)
    options = parser.parse_args()
    home = Home(options.home)
    home.prepare()
    minutes: dict[str, list[float]] = {}
    for key, method in METHODS.items():
        for seed in options.seeds.split(","):
            arguments = ("-d", HEALTHY, "-c", "demo", "-m", method, "--device", "cpu")
            used = home.run("dal_train", *arguments, "--seed", seed)
            minutes.setdefault(key, []).append(round(used, 1))
    datasets = [LESIONED]
    if options.real:
        datasets += link_real_cases(home)
        home.run("dal_plan_and_preprocess", "-d", *datasets[1:])
    home.run("dal_evaluate", "-d", *datasets, "-m", "ALL")
    results = home.results()
    found: dict[str, Any] = {"benchmark": "quality", **by_seed(results, LESIONED)}
    for dataset in datasets:
        show(results, dataset)
    if options.real:
        found["real"] = {dataset: by_seed(results, dataset) for dataset in datasets[1:]}
    # A run that was complete before is not trained again: its minutes are those of looking.
    print(json.dumps(found | {"cpu_minutes": minutes}))


if __name__ == "__main__":
    main()
