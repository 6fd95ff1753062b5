"""All registered methods on the simulated cohort and on the real cases, under the same evaluation.

AP and DSC with the filters that DAL has ("common") and as each method's paper leaves its maps
("own"; DAL's are its own), and what each costs: CPU minutes of training, seconds per image, peak
memory, parameters, lines of its module. All at the `demo` configuration's size on a CPU: an
ordering of methods at the papers' sizes does not follow. Resumes: what is done is kept.

    python benchmarks/methods.py [--methods NAME,…] [--seeds 0,1,2] [--write PAGE.md]
"""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from preprocessing_parts.cases import test_data
from real_cases import add_real_cases
from simulated_cohort import LESIONED, Home, add_home

from dal_auto import methods
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.registry import find_method, method_names
from dal_auto.store.atomic import write_json, write_text

#: Of methods that want files by default: what does without. Their variants' names say so.
_LEARNED = {"method.settings.features": "self-trained"}
_UNWEIGHED = {"method.settings.perceptual": "none"}
WITHOUT_FILES = {
    **dict.fromkeys(("EfficientAD", "PatchCore", "MKD", "RD4AD", "UTRAD"), _LEARNED),
    **dict.fromkeys(("AutoDDPM", "PHANES"), _UNWEIGHED),
}
#: What comes before it on the page is written by hand.
MARK = "<!-- The rest is written by benchmarks/methods.py. -->"


def train(home: Home, method: str, seed: int) -> dict[str, Any]:
    """Train, or find a run that is done; what it cost."""
    record = home.path / "costs" / f"{method}_{seed}.json"
    if record.is_file():
        return dict(json.loads(record.read_text("utf-8")))
    run, used = home.train(method, WITHOUT_FILES.get(method, {}), seed)
    tensors = load_checkpoint(home.path / "results" / run / "best.safetensors").tensors
    cost = {
        "method": method,
        "run": run,
        "minutes": round(used.minutes, 1),
        "megabytes": round(used.megabytes),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "lines": lines_of(method),
    }
    write_json(record, cost)
    return cost


def lines_of(method: str) -> int:
    """Lines of a method's module, or of its package where it has one of its own."""
    file = Path(inspect.getfile(find_method(method)))
    own = file.parent != Path(methods.__file__).parent
    files = file.parent.glob("*.py") if own else [file]
    return sum(len(path.read_text("utf-8").splitlines()) for path in files)


def seconds_per_image(home: Home, run: str) -> float:
    """Median over the simulated images of how long a prediction took."""
    folder = home.path / "results" / run / "evaluation" / LESIONED
    contents = (json.loads(path.read_text("utf-8")) for path in folder.rglob("*.json"))
    return float(np.median([c["seconds"]["predict"] for c in contents if "seconds" in c]))


def scores(variants: pd.DataFrame) -> pd.DataFrame:
    """AP and DSC over seeds: rows (method, variant), columns (figure, mean or std, dataset, …)."""
    rows = variants.assign(name=variants["method"].str.split(" ").str[0])
    rows["variant"] = rows["variant"].fillna("")
    means = rows.groupby(["name", "variant", "dataset", "sequence"])[["AP", "DSC"]].agg(
        ["mean", "std"]
    )
    return means.unstack(["dataset", "sequence"])


def _spread(mean: float, std: float) -> str:
    """One seed has no spread."""
    return f"{mean:.1f}" if np.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def page(
    table: pd.DataFrame,
    datasets: list[str],
    costs: list[dict[str, Any]],
    seconds: dict[str, float],
) -> str:
    """The table as Markdown."""
    places = [(dataset, sequence) for dataset in datasets for sequence in ("T1", "T2")]
    heads = [f"{dataset} {sequence}" for dataset, sequence in places]
    lines = ["| method | post-processing |" + "".join(f" {head} |" for head in heads)]
    lines.append("|---|---|" + "---|" * len(heads))
    for (name, variant), row in table.iterrows():
        own = variant.endswith("own") or name == "DAL"
        label = variant.removesuffix("own").removesuffix("-")
        label = f"{name} ({label})" if label else name
        both = "own = common" if name == "DAL" else "own" if own else "common"
        cells = (
            f"{_spread(row['AP', 'mean', d, s], row['AP', 'std', d, s])} / "
            f"{row['DSC', 'mean', d, s]:.1f}"
            for d, s in places
        )
        lines.append(f"| {label} | {both} |" + "".join(f" {cell} |" for cell in cells))
    lines += ["", "| method | CPU minutes | s per image | peak MB | parameters | lines of code |"]
    lines.append("|---|---|---|---|---|---|")
    frame = pd.DataFrame(costs)
    for name, group in frame.groupby("method"):
        first = group.iloc[0]
        lines.append(
            f"| {name} | {group['minutes'].mean():.1f} | {seconds[str(name)]:.2f} "
            f"| {group['megabytes'].max():.0f} | {first['parameters']:,} | {first['lines']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", help="some of them, with commas (default: all registered)")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--write", type=Path, help="page whose last part, the tables, is replaced")
    add_home(parser)
    options = parser.parse_args()
    home = Home(options.home)
    home.prepare()
    names = options.methods.split(",") if options.methods else method_names()
    costs = [train(home, name, int(seed)) for name in names for seed in options.seeds.split(",")]
    datasets = [LESIONED]
    if test_data() is not None:
        datasets += add_real_cases(home)
    home.run("dal_evaluate", "-d", *datasets, "-m", "ALL")
    variants = pd.read_csv(home.path / "results" / "report" / "variants.csv")
    runs = {cost["run"]: cost["method"] for cost in costs}
    variants = variants[variants["dataset"].isin(datasets) & variants["run"].isin(runs)]
    seconds = {method: seconds_per_image(home, run) for run, method in runs.items()}
    tables = page(scores(variants), datasets, costs, seconds)
    print(tables)
    if options.write:
        head = options.write.read_text("utf-8").partition(MARK)[0]
        write_text(options.write, f"{head}{MARK}\n\n{tables}")
    print(json.dumps({"benchmark": "methods", "costs": costs, "seconds": seconds}))


if __name__ == "__main__":
    main()
