"""How bright each structure is: a table of means per sequence, and how far scanners stray.

The means are round numbers, read off images of healthy adults with the brightest tissue at about 1:
inversion-prepared T1 gradient echo, T2 turbo spin echo, and FLAIR, on which fluid is dark and grey
matter a little brighter than white matter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dal_auto.case import FloatArray
from dal_auto.errors import UsageError
from dal_auto.training.drawn.structures import STRUCTURES, TISSUE_OF

_MEANS: dict[str, dict[str, float]] = {
    "T1": {
        "sulci": 0.26, "ventricles": 0.20, "cortex": 0.64, "white matter": 0.88,
        "cerebellar cortex": 0.64, "cerebellar white matter": 0.85, "thalamus": 0.75,
        "caudate": 0.67, "putamen": 0.70, "pallidum": 0.82, "brainstem": 0.82,
        "hippocampus": 0.63, "vessels": 0.45, "plexus": 0.42,
    },
    "T2": {
        "sulci": 0.90, "ventricles": 1.00, "cortex": 0.38, "white matter": 0.25,
        "cerebellar cortex": 0.36, "cerebellar white matter": 0.27, "thalamus": 0.30,
        "caudate": 0.33, "putamen": 0.30, "pallidum": 0.20, "brainstem": 0.28,
        "hippocampus": 0.39, "vessels": 0.50, "plexus": 0.70,
    },
    "FLAIR": {
        "sulci": 0.25, "ventricles": 0.12, "cortex": 0.66, "white matter": 0.54,
        "cerebellar cortex": 0.62, "cerebellar white matter": 0.53, "thalamus": 0.58,
        "caudate": 0.63, "putamen": 0.60, "pallidum": 0.48, "brainstem": 0.55,
        "hippocampus": 0.68, "vessels": 0.40, "plexus": 0.55,
    },
}  # fmt: skip

#: Standard deviations of what a scanner adds to the means: to all of CSF, of grey and of white
#: matter, and to single structures. Vessels and plexus vary most between scanners and people; still
#: water in the ventricles hardly does.
_TISSUE_SPREAD, _STRUCTURE_SPREAD = (0.035, 0.05, 0.05), 0.025
_OWN_SPREAD = {"ventricles": 0.015, "sulci": 0.03, "vessels": 0.1, "plexus": 0.1}
_DARKEST = 0.02


def known_sequences() -> tuple[str, ...]:
    """The sequences that can be drawn."""
    return tuple(_MEANS)


def mean_image(structures: npt.NDArray[np.uint8], sequence: str) -> FloatArray:
    """(x, y, z) image of a map of structures by the table's means, 0 outside the brain."""
    means = [_MEANS[sequence][name] for name in STRUCTURES]
    return np.array([*means, 0.0], np.float32)[structures]


def draw_contrasts(sequences: tuple[str, ...], subjects: int, generator: torch.Generator) -> Tensor:
    """(subject, sequence, structure) mean intensities > 0 on the generator's device.

    Raises
    ------
    UsageError
        if there is no table for one of the sequences.
    """
    if unknown := [name for name in sequences if name not in _MEANS]:
        raise UsageError(
            f"{', '.join(unknown)} cannot be drawn; known: {', '.join(_MEANS)}. Choose others "
            "with --sequences."
        )
    device = generator.device
    table = torch.tensor([[_MEANS[s][name] for name in STRUCTURES] for s in sequences])
    spread = torch.tensor([_OWN_SPREAD.get(name, _STRUCTURE_SPREAD) for name in STRUCTURES])
    shape = (subjects, len(sequences))
    tissues = torch.randn(*shape, 3, generator=generator, device=device)
    tissues = tissues * torch.tensor(_TISSUE_SPREAD, device=device)
    own = torch.randn(*shape, len(STRUCTURES), generator=generator, device=device)
    means = table.to(device) + tissues[..., list(TISSUE_OF)] + own * spread.to(device)
    return means.clamp(min=_DARKEST)
