"""All registered methods, trained for the same CPU seconds, under one preprocessing and evaluation.

Every method trains on the drawn cohort in the `demo` configuration, T1, T2 and FLAIR, for as many
steps as fit the budget; then all score the same simulated heads with lesions and the same real
cases. AP is pooled over each group's voxels, with DAL's filters for all ("common") and as a
method's paper leaves its maps. With `--search` each method first tries a quarter and four times
its learning rate, and then a quarter and half of its steps, judged by lesions pasted into heads
that are not scored here. What is done is kept: run it again to go on, with more methods, more
seeds, or more heads. Another budget is another run.

    make benchmark-methods
    python benchmarks/methods.py [--methods NAME,…] [--seeds 0,1] [--cpu-seconds 60] [--search]
        [--steps 200] [--write PAGE]
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from home import LESIONED, Home
from markers import write_tables
from methods_parts.budget import (
    SEQUENCES,
    planned,
    preliminary_keys,
    seconds_of_an_image,
    timed,
)
from methods_parts.child import in_a_child
from methods_parts.cohort import GROUPS, prepare
from methods_parts.found import found_by
from methods_parts.page import pages, pages_of_steps
from methods_parts.search import RATE, STEPS, search_plans

from dal_auto import methods
from dal_auto.cli import train as dal_train
from dal_auto.datasets.drawn import DRAWN
from dal_auto.evaluation.run import evaluate
from dal_auto.evaluation.scores import read_scored
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.registry import find_method, method_names
from dal_auto.preprocessing.stored import case_records
from dal_auto.store.atomic import write_json
from dal_auto.store.runs import Run, run_of

#: Of methods that want files by default: what does without. Their variants' names say so.
_LEARNED = {"method.settings.features": "self-trained"}
_UNWEIGHED = {"method.settings.perceptual": "none"}
WITHOUT_FILES = {
    **dict.fromkeys(("EfficientAD", "PatchCore", "MKD", "RD4AD", "UTRAD"), _LEARNED),
    **dict.fromkeys(("AutoDDPM", "PHANES"), _UNWEIGHED),
}
_IMAGENETS = {"method.settings.backbone": "efficientnet-lite2"}
#: With `--lite2`: EfficientNet-Lite2's features, for those that can take them.
LITE2 = dict.fromkeys(("EfficientAD", "MKD", "PatchCore", "RD4AD", "UTRAD"), _IMAGENETS)
#: One head held out, for thresholds; validated once, at the end.
_SAME = {"training.validation_fraction": 0.05, "training.validations": 1}


def train(
    home: Path,
    method: str,
    seed: int,
    seconds: float,
    *,
    search: bool,
    lite2: bool,
    equal_steps: int,
) -> dict[str, Any]:
    """Train a method for CPU seconds, or find that it was; what it cost.

    Parameters
    ----------
    search : try some learning rates and fewer steps first; else the plans' rate, and all steps
    lite2 : take `LITE2`'s features, where the method can
    equal_steps : take so many steps, however long they last; 0: those that fit the CPU seconds
    """
    kept = f"{method}_{seconds:g}"
    settings = WITHOUT_FILES.get(method, {})
    if lite2 and method in LITE2:
        kept, settings = f"{kept}_lite2", LITE2[method]
    changes: dict[str, Any] = {**_SAME, **settings}
    preliminary, steps = _steps(home / "costs" / f"{kept}_steps.json", method, changes, seconds)
    before = preliminary_keys(method, changes)
    changes |= _step_keys(before, preliminary, steps)
    rate = planned(DRAWN, method, changes)[0].training.learning_rate
    tried = {}
    if search and steps:
        searches = search_plans(
            home / "costs", kept, method, changes, fewer_steps=not equal_steps
        )  # fmt: skip
        for key, own in ((RATE, rate), (STEPS, steps)):
            if key in searches and searches[key].best != own:
                changes[key] = searches[key].best
                kept += f"_{changes[key]:g}"
        tried = {key: one.precisions for key, one in searches.items()}
        rate, steps = changes.get(RATE, rate), changes[STEPS]
    if equal_steps:
        kept += f"_{equal_steps}steps"
        preliminary, steps = preliminary and equal_steps, steps and equal_steps
        changes |= _step_keys(before, preliminary, steps)
    record = home / "costs" / f"{kept}_{seed}.json"
    if record.is_file():
        return dict(json.loads(record.read_text("utf-8"))) | {"tried": tried}
    sets = [w for key, value in changes.items() for w in ("--set", f"{key}={json.dumps(value)}")]
    words = ["-d", DRAWN, "-c", "demo", "-m", method, "--device", "cpu", "--seed", str(seed)]
    words += ["--sequences", *SEQUENCES, *sets]
    plans, overrides = planned(DRAWN, method, changes)
    run = run_of(plans, overrides, seed)
    started = run.folder.is_dir()
    print(f"\n$ dal_train {' '.join(words)}", file=sys.stderr, flush=True)
    used = in_a_child(partial(dal_train.main, words))
    cost = {
        "method": method,
        "seed": seed,
        "run": str(run.folder.relative_to(home / "results")),
        "preliminary": preliminary,
        "steps": steps,
        "rate": rate if steps else None,
        # Of a run that was killed and went on, the part before is not known.
        "minutes": None if started else round(used.minutes, 2),
        "megabytes": None if started else round(used.megabytes),
        "parameters": sum(t.numel() for t in load_checkpoint(run.checkpoint_path).tensors.values()),
        "lines": lines_of(method),
    }
    write_json(record, cost)
    return cost | {"tried": tried}


def _step_keys(before: Iterable[str], preliminary: int, steps: int) -> dict[str, int]:
    """Keys of the plans → steps; a method that is fitted in one pass has no proper ones."""
    return dict.fromkeys(before, preliminary) | ({"training.steps": steps} if steps else {})


def _steps(record: Path, method: str, changes: dict[str, Any], seconds: float) -> tuple[int, int]:
    """(preliminary, proper) steps that fit the budget, measured once, so that all seeds agree."""
    if not record.is_file():
        fitting = timed(DRAWN, method, changes).steps(seconds)
        write_json(record, list(fitting))
    preliminary, steps = json.loads(record.read_text("utf-8"))
    return preliminary, steps


def lines_of(method: str) -> int:
    """Lines of a method's module, or of its package where it has one of its own."""
    file = Path(inspect.getfile(find_method(method)))
    own = file.parent != Path(methods.__file__).parent
    files = file.parent.glob("*.py") if own else [file]
    return sum(len(path.read_text("utf-8").splitlines()) for path in files)


def with_image_seconds(home: Path, cost: dict[str, Any], dataset: str) -> dict[str, Any]:
    """What a run cost, and the CPU seconds of a prediction, measured once."""
    record = home / "costs" / f"{Path(cost['run']).parent.name}_{cost['seed']}_image.json"
    if not record.is_file():
        seconds = seconds_of_an_image(Run(home / "results" / cost["run"]), dataset)
        write_json(record, round(seconds, 2))
    return cost | {"image_seconds": json.loads(record.read_text("utf-8"))}


def score(run: Run, datasets: list[str]) -> int:
    """Score a run on the datasets' cases that it has not scored; how many failed."""
    cases = {name: case_records(name) for name in datasets}
    return len(evaluate([run], cases, device="cpu", pictures=False))


def main() -> None:
    options = _options()
    os.environ |= {"DAL_HOME": str(options.home)}
    home = Home(options.home)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    names = options.methods.split(",") if options.methods else method_names()
    prepare(home, options.cases, options.heads)
    groups = options.groups.split(",") if options.groups else list(GROUPS)
    datasets = [dataset for group in groups for dataset in GROUPS[group]]
    torch.set_num_threads(1)
    costs = []
    for seed in seeds:
        for name in names:
            cost = train(
                options.home, name, seed, options.cpu_seconds,
                search=options.search, lite2=options.lite2, equal_steps=options.steps,
            )  # fmt: skip
            costs.append(cost)
            run = Run(options.home / "results" / costs[-1]["run"])
            in_a_child(partial(score, run, datasets))
    costs = [with_image_seconds(options.home, cost, LESIONED) for cost in costs]
    runs = [Run(options.home / "results" / cost["run"]) for cost in costs]
    images = read_scored(runs, [name for names in GROUPS.values() for name in names]).scored
    found = list(found_by(images, GROUPS))
    tables = pages_of_steps(found, costs) if options.steps else pages(found, images, costs)
    print(tables)
    if options.write:
        script = f"methods.py{' --steps' if options.steps else ''}"
        write_tables(options.write, script, tables)
    print(json.dumps({"benchmark": "methods", "costs": costs}))


def _options() -> argparse.Namespace:
    cache = Path(__file__).parent / ".cache"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--methods", help="some of them, with commas (default: all registered)")
    parser.add_argument("--seeds", default="0", help="with commas (default: 0)")
    parser.add_argument("--cpu-seconds", type=float, default=60.0, help="of training (default: 60)")
    parser.add_argument(
        "--steps", type=int, default=0, help="the same for all, in place of those that fit the "
        "CPU seconds",
    )  # fmt: skip
    parser.add_argument("--search", action="store_true", help="each method's rate and steps, first")
    parser.add_argument(
        "--lite2", action="store_true", help="ImageNet features by the extra efficientnet-lite2 "
        "in place of the cohort's, where a method can",
    )  # fmt: skip
    parser.add_argument("--heads", type=int, default=10, help="simulated ones (default: 10)")
    parser.add_argument("--groups", help="scored now, with commas (default: all); the page has all")
    parser.add_argument("--home", type=Path, default=cache / "methods", help="DAL_HOME of the runs")
    parser.add_argument("--cases", type=Path, default=cache / "shipped", help="of the test cases")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    return parser.parse_args()


if __name__ == "__main__":
    main()
