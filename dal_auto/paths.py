"""Where data lives: DAL_RAW, DAL_PREPROCESSED, DAL_RESULTS, or one DAL_HOME for all three.

An empty variable, such as an unset one in a job's script, counts as none.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """DAL_HOME, by default ``./dal_home``."""
    return Path(os.environ.get("DAL_HOME") or "dal_home")


def raw() -> Path:
    """DAL_RAW: datasets as they were downloaded; never written to."""
    return Path(os.environ.get("DAL_RAW") or home() / "raw")


def preprocessed() -> Path:
    """DAL_PREPROCESSED: fingerprints, decisions and standard cases."""
    return Path(os.environ.get("DAL_PREPROCESSED") or home() / "preprocessed")


def results() -> Path:
    """DAL_RESULTS: trained runs, their evaluations, and the report."""
    return Path(os.environ.get("DAL_RESULTS") or home() / "results")
