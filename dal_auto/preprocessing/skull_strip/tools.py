"""The tools that find the brain in a head: one a file, each with the version that will run.

No tool downloads anything. deepbet and ROBEX bring their weights; those of HD-BET and SynthStrip
are the user's to put into ``DAL_HOME/weights/<tool>/``, since their own packages would fetch them
without asking (HD-BET) or bring none (SynthStrip).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.preprocessing.skull_strip import deepbet, hd_bet, robex, synthstrip


@dataclass(frozen=True)
class Tool:
    """A way to find the brain.

    Parameters
    ----------
    find : image (x, y, z) with skull, and its grid → mask (x, y, z); empty where it finds none
    version : what will run; raises `MissingDependency` where package or weights are absent
    """

    find: Callable[[FloatArray, Grid], BoolArray]
    version: Callable[[], str]


TOOLS: dict[str, Tool] = {
    "deepbet": Tool(deepbet.find, deepbet.version),
    "robex": Tool(robex.find, robex.version),
    "hd-bet": Tool(hd_bet.find, hd_bet.version),
    "synthstrip": Tool(synthstrip.find, synthstrip.version),
}
