"""Which of a case's images stands for all: it is stripped, and laid on the atlas."""

from __future__ import annotations

from collections.abc import Mapping

from dal_auto.case import Grid

#: No side of an adult's brain is shorter: a field of view that is shows a part of it.
_WHOLE_MM = 100.0


def reference_of(grids: Mapping[str, Grid]) -> str:
    """The sequence that stands for all: T1, else T2, else the first there is.

    An image whose field of view is too thin for a brain is passed over where another's is not: its
    brain mask would hide from the others what it does not show itself.

    Parameters
    ----------
    grids : by sequence, at least one
    """
    names = [name for name in ("T1", "T2", *grids) if name in grids]
    whole = [name for name in names if _thinnest_mm(grids[name]) >= _WHOLE_MM]
    return (whole or names)[0]


def _thinnest_mm(grid: Grid) -> float:
    return min(size * mm for size, mm in zip(grid.shape, grid.spacing_mm, strict=True))
