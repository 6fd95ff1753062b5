"""``dal_demo``: lesions found by the shipped model, then the whole walk, by the real commands.

All is done on a simulated cohort. The main job comes first: raw scans in, maps out.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dal_auto import paths
from dal_auto.cli import common, datasets, evaluate, plan_and_preprocess, predict, train
from dal_auto.errors import DalError

logger = logging.getLogger(__name__)

#: The demo's scans are coarse and its training grid is 4 mm: registration without the finest level
#: is good to 0.2 mm in half the time, and N4 needs no finer grid than 6 mm.
_DEMO_CHAIN = [
    *("--set", "preprocessing.registration_iterations=100x50x0"),
    *("--set", "preprocessing.n4_spacing_mm=6.0"),
]

Command = Callable[[Sequence[str]], int]

#: A training that shows the command, in minutes. It is far too short to find lesions.
_STEPS = 40
#: Of each step with the default cohort and steps, measured on two cores. Other sizes have other
#: proportions: what is said is rough there.
_SECONDS = (67, 105, 210, 67, 1, 1, 52)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = common.StrictParser(
        prog="dal_demo",
        description="Simulate a cohort, find its lesions with the shipped model, and walk it "
        "through all other commands, to the report, in under ten minutes on two CPU cores. Writes "
        "to a folder of its own, whatever DAL_HOME says: its model of 40 steps must not become "
        "the one that dal_predict takes. All data it shows are simulated.",
        example="dal_demo",
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path("demo"),
        metavar="FOLDER",
        help="where all is written (default: ./demo)",
    )
    parser.add_argument(
        "--healthy", type=common.whole_number(0), default=8, help="healthy subjects (default: 8)"
    )
    parser.add_argument(
        "--lesioned", type=common.whole_number(0), default=3, help="lesioned ones (default: 3)"
    )
    parser.add_argument(
        "--spacing",
        type=common.number("a voxel size in mm"),
        default=2.0,
        help="T1 voxel size in mm",
    )
    parser.add_argument(
        "--steps",
        type=common.whole_number(1),
        default=_STEPS,
        help=f"training steps (default: {_STEPS}, which is too few to find lesions)",
    )
    parser.add_argument("--heads", type=Path, help="folder of whole-head label maps")
    parser.add_argument("--lesion-masks", type=Path, help="folder of lesion masks in MNI space")
    parser.add_argument(
        "-np", type=common.whole_number(1), default=None, metavar="N", help="worker processes"
    )
    common.add_common(parser)
    return common.run_command(parser, _run, arguments)


def _run(options: argparse.Namespace) -> int:
    atlas = paths.home() / "atlas"
    os.environ["DAL_HOME"] = str(options.home)
    if atlas.is_dir() and not (paths.home() / "atlas").exists():  # one that the user installed
        shutil.copytree(atlas, paths.home() / "atlas")
    for name in ("DAL_RAW", "DAL_PREPROCESSED", "DAL_RESULTS"):
        if os.environ.pop(name, None) is not None:
            logger.info("%s is not used here: unset it before you paste one of these lines", name)
    workers = [] if options.np is None else ["-np", str(options.np)]
    simulate = ["simulate", "--healthy", str(options.healthy), "--lesioned", str(options.lesioned)]
    simulate += ["--spacing", str(options.spacing), "--sequences", "T1", "T2", "FLAIR"]
    if options.heads is not None:
        simulate += ["--heads", str(options.heads)]
    if options.lesion_masks is not None:
        simulate += ["--lesion-masks", str(options.lesion_masks)]
    training = ["-d", "SimHealthy", "-c", "demo", "--device", "cpu"]
    steps = ["--set", f"training.steps={options.steps}"]
    scans, maps = paths.home() / "scans", paths.home() / "maps"

    chain = ["-d", "SimHealthy", "SimLesions", *_DEMO_CHAIN]
    predicting = ["-i", str(scans), "-o", str(maps), "-r", "shipped", *workers]
    walk: list[tuple[str, Command, list[str]]] = [
        ("simulate", datasets.main, [*simulate, *workers]),
        ("predict with the shipped model", predict.main, predicting),
        ("plan and preprocess", plan_and_preprocess.main, [*chain, *workers]),
        ("train DAL", train.main, [*training, "-m", "DAL", *steps]),
        ("train raw-intensity", train.main, [*training, "-m", "raw-intensity"]),
        ("train mean-brain", train.main, [*training, "-m", "mean-brain"]),
        ("evaluate", evaluate.main, ["-d", "SimLesions", "-m", "ALL"]),
    ]
    start = time.perf_counter()
    for number, (title, command, arguments) in enumerate(walk, start=1):
        left = _minutes_left(time.perf_counter() - start, number - 1)
        logger.info("\nstep %d/%d: %s (about %d min to the end)", number, len(walk), title, left)
        if command is predict.main:
            _collect_scans(scans)
        _step(title, command, arguments)
        if command is predict.main:
            logger.info("look at the maps: %s", (maps / "index.html").resolve())
    logger.info("all %d steps: %.0f s", len(walk), time.perf_counter() - start)
    logger.info("anomaly maps: %s", maps.resolve())
    logger.info("report: %s", (paths.results() / "report" / "index.html").resolve())
    return 0


def _minutes_left(spent_s: float, done: int) -> int:
    """What the steps after the first `done` will take, if this machine keeps its pace so far."""
    known = sum(_SECONDS[:done])
    pace = spent_s / known if known else 1.0
    return max(1, round(pace * sum(_SECONDS[done:]) / 60))


def _step(title: str, command: Command, arguments: list[str]) -> None:
    """Run one command; what is printed can be pasted into a shell."""
    name = f"dal_{command.__module__.rpartition('.')[2]}"
    home = shlex.quote(str(paths.home()))
    logger.info("DAL_HOME=%s %s", home, shlex.join([name, *arguments]))
    start = time.perf_counter()
    code = command(arguments)
    logger.info("%s: %.0f s", title, time.perf_counter() - start)
    if code != 0:
        raise DalError(f"{title} ended with exit code {code}")


def _collect_scans(folder: Path) -> None:
    """The lesioned raw scans in one flat folder, as a user would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in sorted((paths.raw() / "SimLesions").glob("sub-*/anat/*.nii.gz")):
        target = folder / image.name
        if not target.exists():
            shutil.copyfile(image, target)
