"""Which cases are worth a look: the worst and the best of a dataset and sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping

#: So many of the worst and so many of the best cases by AP, of each dataset and sequence, get a
#: page of their own with their volumes: 3 to 4 MB each, so some 100 pages for the nine test sets.
EACH = 3


def worst_and_best(scores: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Up to `EACH` of the worst cases, worst first, and of the others the best, best first.

    Parameters
    ----------
    scores : case → AP; a case without one (no lesion) is in neither. Equal ones are told by name.

    Examples
    --------
    >>> worst_and_best({"a": 5, "b": 1, "c": 2, "d": 3, "e": float("nan"), "f": 4})
    (['b', 'c', 'd'], ['a', 'f'])
    """
    known = {name: value for name, value in scores.items() if not math.isnan(value)}
    ranked = sorted(known, key=lambda name: (known[name], name))
    return ranked[:EACH], ranked[EACH:][-EACH:][::-1]
