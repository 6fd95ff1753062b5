"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of small real cases: DAL_TEST_DATA, by default ../shared/data beside the project."""
    folder = Path(os.environ.get("DAL_TEST_DATA") or ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; DAL_TEST_DATA names their folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a broken unit should not wait for the walks."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
