"""Unsupervised lesion detection in brain MRI: an open implementation of DAL (arXiv 2512.21924).

raw case → standard case → pseudo-healthy image → anomaly map → scores → report

>>> from dal_auto import load_model, predict
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_API = ("Result", "load_model", "predict")


def __getattr__(name: str) -> Any:
    """The Python interface, imported when it is first used: torch takes seconds."""
    if name in _API:
        return getattr(import_module("dal_auto.inference.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
