"""Loads what all commands need, so that a fork of this process finds it loaded."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from dal_auto.preprocessing.atlas import load_atlas

_LIBRARIES = ("torch", "SimpleITK", "deepbet", "blosc2", "matplotlib.figure")


def preload(commands: list[str]) -> None:
    """Import the libraries and the commands, and read the atlas."""
    for name in (*_LIBRARIES, *(f"dal_auto.cli.commands.{name[4:]}" for name in commands)):
        import_module(name)
    for name in commands:
        (entry,) = entry_points(group="console_scripts", name=name)
        entry.load()
    load_atlas()
