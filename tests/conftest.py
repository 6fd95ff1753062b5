"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from dal_auto.methods.registry import find_method
from dal_auto.plans import ConfigurationPlan, Plans, PreprocessingPlan

ROOT = Path(__file__).parents[1]

#: pytest-xdist names its worker processes, one a core.
PARALLEL = "PYTEST_XDIST_WORKER" in os.environ

torch.set_num_threads(1 if PARALLEL else 2)


# Here, and in every process that a test starts.
ONE_MACHINE = ROOT / "tests" / "one_machine"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ONE_MACHINE), *filter(None, [os.environ.get("PYTHONPATH")])]
)
runpy.run_path(str(ONE_MACHINE / "sitecustomize.py"))


@pytest.fixture(scope="session", autouse=True)
def nobody_called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and so no command that the tests run, tried to reach another machine."""
    notes = tmp_path_factory.mktemp("network") / "connections.txt"
    os.environ["DAL_TEST_CONNECTIONS"] = str(notes)
    yield
    assert not notes.exists(), notes.read_text()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of small real cases: DAL_TEST_DATA, by default ../shared/data beside the project."""
    folder = Path(os.environ.get("DAL_TEST_DATA") or ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; DAL_TEST_DATA names their folder")
    return folder


@pytest.fixture(scope="session")
def miniature() -> ModuleType:
    """The module that writes miniature trees of all known datasets, with real images."""
    path = ROOT / "tests" / "datasets" / "miniature.py"
    spec = importlib.util.spec_from_file_location("miniature", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["miniature"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


SEQUENCES = ("T1", "T2")
TINY = 16
LANDMARKS = tuple(float(v) for v in np.linspace(0.05, 0.9, len(PreprocessingPlan().percentiles)))


@pytest.fixture(scope="session")
def make_plans() -> Callable[..., Plans]:
    """Plans of a method on 16³ voxels of 2 mm; keywords are dotted keys with ``__`` for dots."""

    def make(method: str = "DAL", **overrides: Any) -> Plans:
        configuration = ConfigurationPlan(
            name="tiny",
            input_shape=(TINY,) * 3,
            spacing_mm=(2.0, 2.0, 2.0),
            window=(TINY,) * 3,
            downsampling="area",
        )
        settings = find_method(method).default_settings("robust", configuration)
        plans = Plans.parse(
            {
                "training_set": "Phantoms",
                "sequences": SEQUENCES,
                "preprocessing": {"target_shape": [2 * TINY] * 3},
                "intensity": {"landmarks": dict.fromkeys(SEQUENCES, LANDMARKS)},
                "configuration": configuration.model_dump(mode="json"),
                "method": {"name": method, "settings": settings.model_dump(mode="json")},
                "training": {"amp": False},  # as the planner has it on so small a grid
            }
        )
        return plans.override({key.replace("__", "."): v for key, v in overrides.items()}, "test")

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, where it, its driver and selenium are installed."""
    webdriver = pytest.importorskip("selenium.webdriver")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    binary = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with its chromedriver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments.append("--force-prefers-reduced-motion")  # a click must not wait for a scroll
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to start as root with it
    for argument in [*arguments, "--window-size=1366,900"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.chrome.service.Service(driver)
    with webdriver.Chrome(options=options, service=service) as found:
        yield found


def _group(item: pytest.Item) -> str:
    """Tests of one group run in one worker process, and share what took long to make."""
    fixtures = getattr(item, "fixturenames", ())
    if item.path.parent.name == "end_to_end" and "home" in fixtures:
        return "walk"
    return "world" if "world" in fixtures else str(item.path.relative_to(ROOT))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a broken unit should not wait for the walks.

    In parallel the walks are first: the longest group must not be what is left at the end.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (item.get_closest_marker("slow") is not None) != PARALLEL)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without groups all would pass, in twice the time: both workers would make every fixture.

    pytest 9.2 keeps the names of tests where pytest-xdist 3.8 does not look.
    """
    ungrouped = [item.nodeid for item in session.items if "@" not in item.nodeid]
    if hasattr(session.config, "workerinput") and ungrouped:  # a test may start pytest itself
        raise pytest.UsageError(f"pytest-xdist sees no groups, as of {ungrouped[0]}")
