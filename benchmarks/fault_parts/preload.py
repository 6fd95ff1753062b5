"""Loads what all commands need, so that a fork of this process finds it loaded."""

from __future__ import annotations

import time
from importlib import import_module
from importlib.metadata import entry_points

import numpy as np
from PIL import Image

from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.brain_mask import fit_to_atlas

_LIBRARIES = (
    *("torch", "torch._dynamo", "torch.onnx", "torch.utils.tensorboard"),
    *("SimpleITK", "deepbet", "blosc2", "matplotlib.figure"),
)


def preload(commands: list[str]) -> float:
    """Import the libraries and the commands, and read the atlas; seconds of CPU that it took."""
    begun = time.process_time()
    for name in (*_LIBRARIES, *(f"dal_auto.cli.commands.{name[4:]}" for name in commands)):
        import_module(name)
    for name in commands:
        (entry,) = entry_points(group="console_scripts", name=name)
        entry.load()
    Image.init()
    atlas = load_atlas()
    fit_to_atlas(atlas.brain_mask, atlas.grid, atlas, np.eye(4), reach_mm=1)  # its distances stay
    return time.process_time() - begun
