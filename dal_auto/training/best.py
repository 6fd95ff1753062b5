"""Where a run stands among its own checkpoints: what was best, and for how long nothing is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

#: A validation loss this many times the lowest so far is no noise.
_DIVERGED = 2.0


@dataclass
class Standing:
    """What a run remembers of its validations; JSON as it is.

    Parameters
    ----------
    best_precision : AP of the best checkpoint, where lesions choose
    best_value : its validation loss
    lowest_loss : of all validations
    since_best : validations since the best one
    stopped : whether training has ended early
    """

    best_precision: float | None = None
    best_value: float | None = None
    lowest_loss: float | None = None
    since_best: int = 0
    stopped: bool = False

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Standing:
        """From a checkpoint's progress; what an older one lacks is as at the start."""
        return cls(**{key: content[key] for key in asdict(cls()) if key in content})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        """What is wrong with the validation loss, and what to try."""
        if self.lowest_loss is None or figures["loss"] <= _DIVERGED * self.lowest_loss:
            return []
        return [
            f"training diverges: the validation loss is {figures['loss']:.3g}, and was "
            f"{self.lowest_loss:.3g}. Lower training.learning_rate, or set training.amp=false"
        ]

    def update(self, figures: Mapping[str, float], judged: bool, patience: int | None) -> bool:
        """Take in a validation; whether it is the best so far.

        The highest AP is, of equal ones that with the lower loss; without lesions the lowest loss;
        the latest where nothing but training cases could judge.

        Parameters
        ----------
        judged : whether the figures are of cases that are not trained on
        patience : validations without a better one after which training ends
        """
        loss, precision = figures["loss"], figures.get("AP")
        self.lowest_loss = loss if self.lowest_loss is None else min(loss, self.lowest_loss)
        better = not judged or _rank(precision, loss) > _rank(self.best_precision, self.best_value)
        if better:
            self.best_precision, self.best_value, self.since_best = precision, loss, 0
        else:
            self.since_best += 1
            self.stopped = patience is not None and self.since_best >= patience
        return better


def _rank(precision: float | None, loss: float | None) -> tuple[float, float]:
    return (
        -math.inf if precision is None else precision,
        -math.inf if loss is None else -loss,
    )
