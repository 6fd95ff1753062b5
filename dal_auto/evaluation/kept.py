"""What an evaluation keeps on disk: validated models, and what each of them was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from dal_auto.store.atomic import write_text

#: Raised whenever anything that is kept would be made differently; what is older is made again.
REVISION = 5


class Kept(BaseModel):
    """Values that are kept as JSON. What lacks a field, or has another one, is not valid.

    JSON has neither NaN nor infinity: they are written as strings.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", arbitrary_types_allowed=True
    )

    def write(self, path: Path) -> None:
        """Write the model to `path`, whole or not at all; equal models give equal bytes."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        OSError
            if the file cannot be read.
        ValueError
            if it is not valid.
        """
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


class Origin(Kept):
    """What a result follows from; it may be used again where this is equal.

    Parameters
    ----------
    model : hash of the checkpoint
    case : hash of the standard case
    revision : of the code that made it
    """

    model: str
    case: str
    revision: int = REVISION
