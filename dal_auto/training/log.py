"""``log.jsonl``: a line a step. Values stay on the device until several are fetched at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dal_auto import distributed
from dal_auto.figures.curves import training_curves
from dal_auto.figures.png import save_png
from dal_auto.store.atomic import write_text

#: More points than this no curve shows.
_DRAWN = 2000


@dataclass
class Log:
    """The log of one run.

    Parameters
    ----------
    path : the file; a picture ``training.png`` lies beside it
    """

    path: Path
    lines: list[dict[str, Any]] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """How many steps wait to be fetched."""
        return len(self._pending)

    def resume(self, step: int) -> None:
        """Read what is there; lines after `step` are of steps that are about to be taken again."""
        if self.path.is_file():
            lines = [json.loads(line) for line in self.path.read_text("utf-8").splitlines()]
            self.lines = [line for line in lines if line["step"] <= step]
            self._texts = [_text(line) for line in self.lines[:-1]]

    def note(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Keep a step's losses; nothing waits for them."""
        self._pending.append((step, dict(losses)))

    def fetch(self) -> list[dict[str, Any]]:
        """The lines of the pending steps, means over processes; they are in the log now."""
        fetched: list[dict[str, Any]] = []
        for step, losses in self._pending:
            values = distributed.mean(torch.stack([v.float() for v in losses.values()])).tolist()
            fetched.append({"step": step, **dict(zip(losses, values, strict=True))})
        self._pending.clear()
        self.lines += fetched
        return fetched

    def annotate(self, figures: Mapping[str, float]) -> None:
        """Add what was validated to the last line, under names that begin with ``val_``."""
        self.lines[-1] |= {f"val_{name}": value for name, value in figures.items()}

    def write(self) -> None:
        """Write the file; lines but the last do not change any more."""
        self._texts += [_text(line) for line in self.lines[len(self._texts) : -1]]
        last = [_text(line) for line in self.lines[-1:]]
        write_text(self.path, "".join(self._texts + last))

    def draw(self) -> None:
        """The curves, for those who would rather look than read."""
        stride = max(1, len(self.lines) // _DRAWN)
        shown = [
            line
            for number, line in enumerate(self.lines)
            if number % stride == 0 or any(key.startswith("val_") for key in line)
        ]
        save_png(training_curves(pd.DataFrame(shown)), self.path.with_name("training.png"))


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"
