"""Miniature trees with true names: empty files are enough to find cases."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Make empty files below the test's folder, and return that folder."""

    def make(*names: str) -> Path:
        for name in names:
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path

    return make


@pytest.fixture(scope="session")
def miniature() -> ModuleType:
    """The module beside this one that writes miniature trees with real images."""
    path = Path(__file__).with_name("miniature.py")
    spec = importlib.util.spec_from_file_location("miniature", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["miniature"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
