"""What of a tool is installed: its package, and weights that the user brings.

No tool downloads anything: weights go to ``DAL_HOME/weights/<tool>/``.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dal_auto import paths
from dal_auto.errors import MissingDependency


def package_version(package: str, remedy: str) -> str:
    """Name and version of an installed package; `MissingDependency` with `remedy` otherwise."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        raise MissingDependency(package, remedy) from None


def weights_file(tool: str, name: str, source: str) -> Path:
    """A file of weights that the user put into ``DAL_HOME/weights/<tool>/``.

    Parameters
    ----------
    name : path inside that folder
    source : where its authors offer it, in words
    """
    path = (paths.home() / "weights" / tool / name).absolute()
    if not path.is_file():
        raise MissingDependency(
            f"{tool}'s weights", f"Put {source} at {path}: nothing is downloaded for you."
        )
    return path


@cache
def _sha256(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def with_weights(package: str, weights: Path) -> str:
    """A package, and the beginning of the hash of the weights that it will read."""
    return f"{package}, weights {_sha256(weights, weights.stat().st_mtime_ns)[:12]}"
