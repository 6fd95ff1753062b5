"""Whether a dataset went through the chain that a model was trained with."""

from __future__ import annotations

import logging

from dal_auto.errors import UsageError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.stored import folder_of, load_decisions

logger = logging.getLogger(__name__)

#: What has to be the same: the space, the grid, and what the histogram matching goes by.
_NEEDED = ("atlas_sha256", "target_shape", "percentiles")


def check_chain(dataset: str, ours: PreprocessingPlan) -> None:
    """See that a dataset was preprocessed as a model's training set was.

    A folder of standard cases without ``preprocessing.json`` says nothing of it, and is taken.

    Raises
    ------
    UsageError
        if it lies in another space, or its cases keep other percentiles. All else is a warning.
    """
    if not (folder_of(dataset) / "preprocessing.json").is_file():
        return
    there = load_decisions(dataset).preprocessing
    other = {key: (getattr(there, key), value) for key, value in ours}
    other = {key: pair for key, pair in other.items() if pair[0] != pair[1]}
    for key in _NEEDED:
        if key in other:
            theirs, wanted = other[key]
            raise UsageError(
                f"{dataset} was preprocessed with preprocessing.{key} {theirs}, the model wants "
                f"{wanted}. Preprocess it again with the model's plans (--plans)."
            )
    for key, (theirs, wanted) in other.items():
        logger.warning(
            "WARNING: %s was preprocessed with preprocessing.%s %s, the model's training set with "
            "%s",
            dataset,
            key,
            theirs,
            wanted,
        )
