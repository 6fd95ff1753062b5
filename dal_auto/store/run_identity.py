"""What tells runs apart: the identity of a run as an object, its text for people only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dal_auto.errors import UsageError

_SEED = "seed_"


@dataclass(frozen=True, order=True)
class RunGroup:
    """Runs that differ in nothing but their seed.

    Parameters
    ----------
    training_set : name of the dataset
    method : name of the method
    configuration, preset : names in the plans
    variant : hash of the user's own settings; empty where there are none
    """

    training_set: str
    method: str
    configuration: str
    preset: str
    variant: str = ""

    @property
    def name(self) -> str:
        """``<method>__<configuration>__<preset>[__<variant>]``, the name of the folder."""
        parts = (self.method, self.configuration, self.preset, self.variant)
        return "__".join(part for part in parts if part)

    def __str__(self) -> str:
        return f"{self.training_set}/{self.name}"


@dataclass(frozen=True, order=True)
class RunIdentity:
    """One run: its group and its seed. Sorted by group, then by seed."""

    group: RunGroup
    seed: int

    @classmethod
    def of_folder(cls, folder: Path) -> RunIdentity:
        """The identity of the run in ``<results>/<training set>/<name>/seed_<n>``.

        Raises
        ------
        UsageError
            if the folder does not have such a name.
        """
        number = folder.name.removeprefix(_SEED)
        if not number.isdecimal():
            raise UsageError(
                f"{folder} is not named as a run is: <training set>/<method>__<configuration>__"
                f"<preset>/{_SEED}<n>. Name its folders so, or copy the run as a whole."
            )
        parts = [*folder.parent.name.split("__", 3), "", "", ""][:4]
        return cls(RunGroup(folder.parent.parent.name, *parts), int(number))

    def __str__(self) -> str:
        return f"{self.group}/{_SEED}{self.seed}"
