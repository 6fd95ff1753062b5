"""A method of a separate package, as the documentation has it; and what is wrong with such ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dal_auto.errors import UsageError
from dal_auto.methods import registry

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-method.md"


def install(folder: Path, name: str, module: str, points: dict[str, str]) -> None:
    """A module, and what pip leaves of an installed package beside it."""
    (folder / f"{name}.py").write_text(module, "utf-8")
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n", "utf-8")
    lines = [f"{method} = {value}" for method, value in points.items()]
    text = "\n".join(["[dal_auto.methods]", *lines, ""])
    (info / "entry_points.txt").write_text(text, "utf-8")


def of_the_page(folder: Path) -> None:
    """The package that the page has in its two first blocks."""
    text = PAGE.read_text("utf-8")
    (module,), (project,) = (
        re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
        for language in ("python", "toml")
    )
    points = tomllib.loads(project)["project"]["entry-points"]["dal_auto.methods"]
    install(folder, "bottleneck", module, points)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    """Installs packages in a folder that this process finds them in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._known.cache_clear()
    yield lambda *what: install(tmp_path, *what)
    registry._known.cache_clear()


def test_the_pages_package_keeps_the_contract_of_methods(tmp_path):
    of_the_page(tmp_path)
    tests = ROOT / "tests" / "methods" / "test_method_contract.py"
    chosen = "Bottleneck and (disk or finite or unknown)"
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "-k", chosen],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stdout[-3000:]  # 5 where no test is found


def test_a_module_that_does_not_load_is_said_with_its_package(installed):
    installed("broken", "import no_such_module\n", {"Broken": "broken:Broken"})
    assert "Broken" in registry.method_names()
    with pytest.raises(UsageError, match=r"Broken of the package broken .*no_such_module"):
        registry.find_method("broken")


def test_what_is_no_method_or_has_another_name_is_refused(installed):
    module = """
from dal_auto.methods.mean_brain import MeanBrain

class Other(MeanBrain):
    name = "other-name"

def function(): ...
"""
    points = {"Function": "several:function", "Other": "several:Other"}
    installed("several", module, points)
    with pytest.raises(UsageError, match=r"no subclass of dal_auto\.methods\.method\.Method"):
        registry.find_method("Function")
    with pytest.raises(UsageError, match="calls itself other-name"):
        registry.find_method("Other")


def test_two_packages_with_one_method_are_both_named(installed):
    for name in ("first", "second"):
        installed(name, "", {"Twice": f"{name}:Twice"})
    with pytest.raises(UsageError, match=r"Twice comes from several packages: first, second"):
        registry.find_method("twice")
