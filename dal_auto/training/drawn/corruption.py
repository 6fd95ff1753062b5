"""What does not belong into a brain: blobs, strokes, cores with rims, pasted into healthy images.

Places and shapes are those of a subject, intensities those of each sequence: what is bright on one
may be dark, or not to be seen, on the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dal_auto.plans import Shape
from dal_auto.training.drawn.fields import Spacing, smooth_fields, uniform

#: Radii from 4 to 28 mm.
_LOG_RADIUS = (math.log(4.0), math.log(28.0))
_MOST = 3
_ROUGHNESS = 0.25
_STRETCH_SD = 0.25
_EDGE_MM = (1.0, 8.0)
#: Some are flat along one axis, as strokes in the territory of one artery are.
_FLAT_SHARE, _FLAT = 0.3, 2.2
_STRENGTH, _INTENSITY = (0.3, 1.0), (0.02, 1.05)
_RIM_SHARE, _CORE = 0.35, (0.4, 0.8)
_TEXTURE_SD, _TEXTURE_MM = (0.0, 0.15), 12.0


@dataclass(frozen=True, eq=False)
class Lesions:
    """Lesions as what they make of an intensity: `kept` of it, and `added` to that.

    Parameters
    ----------
    kept : (subject, sequence, x, y, z) in [0, 1]
    added : (subject, sequence, x, y, z)
    """

    kept: Tensor
    added: Tensor

    def paste(self, images: Tensor) -> Tensor:
        """Into (subject, sequence, x, y, z)."""
        return images * self.kept + self.added


def draw_lesions(
    brain: Tensor, sequences: int, spacing_mm: Spacing, share: float, generator: torch.Generator
) -> Lesions | None:
    """One to three lesions in a share of the subjects; None where none has any.

    Parameters
    ----------
    brain : (subject, x, y, z) bool
    share : of the subjects that get any, in [0, 1]
    """
    subjects, device = len(brain), brain.device
    hit = torch.rand(subjects, generator=generator, device=device) < share
    count = torch.randint(1, _MOST + 1, (subjects,), generator=generator, device=device) * hit
    owners = torch.arange(subjects, device=device).repeat_interleave(count)
    if not len(owners):
        return None
    shape: Shape = tuple(brain.shape[1:])  # type: ignore[assignment]
    leading = (len(owners), sequences, 1, 1, 1)
    inside, depth = _regions(brain[owners], spacing_mm, generator)
    texture = smooth_fields((len(owners), 1), shape, spacing_mm, _TEXTURE_MM, generator)
    texture = 1 + texture * uniform(leading, *_TEXTURE_SD, generator)
    weight = inside[:, None] * uniform(leading, *_STRENGTH, generator)
    value = texture * uniform(leading, *_INTENSITY, generator)
    one = (len(owners), 1, 1, 1, 1)
    core = uniform(one, *_CORE, generator)
    rimmed = torch.rand(*one, generator=generator, device=device) < _RIM_SHARE
    in_rim = ((1 - depth[:, None]) > core) & rimmed
    value = torch.where(in_rim, uniform(leading, *_INTENSITY, generator), value)

    kept = torch.ones(subjects, sequences, *shape, device=device)
    added = torch.zeros_like(kept)
    for owner, own_weight, own_value in zip(owners.tolist(), weight, value, strict=True):
        kept[owner] *= 1 - own_weight
        added[owner] = torch.lerp(added[owner], own_value, own_weight)
    return Lesions(kept, added)


def _regions(
    brain: Tensor, spacing_mm: Spacing, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Soft regions (lesion, x, y, z) in [0, 1], and depth in them: 1 at the centre, 0 at the edge.

    Parameters
    ----------
    brain : (lesion, x, y, z) bool, the brain that each lies in
    """
    device, count = brain.device, len(brain)
    shape: Shape = tuple(brain.shape[1:])  # type: ignore[assignment]
    one = (count, 1, 1, 1)
    radius = torch.exp(uniform(one, *_LOG_RADIUS, generator))
    middle = torch.multinomial(brain.flatten(1).float(), 1, generator=generator)[:, 0]
    stretch = torch.exp(torch.randn(count, 3, generator=generator, device=device) * _STRETCH_SD)
    flat = torch.rand(count, generator=generator, device=device) < _FLAT_SHARE
    axis = torch.randint(3, (count,), generator=generator, device=device)
    flattened = flat[:, None] & (torch.arange(3, device=device) == axis[:, None])
    stretch = torch.where(flattened, _FLAT, stretch)
    square = torch.zeros(one, device=device)
    for a in reversed(range(3)):
        centre = middle % shape[a]
        middle = middle // shape[a]
        away = torch.arange(shape[a], device=device) - centre[:, None]
        along = (away * spacing_mm[a] * stretch[:, a, None]) ** 2
        square = square + along.reshape(count, *[-1 if b == a else 1 for b in range(3)])
    # Outlines are rough on two scales: large regions have large lobes.
    rough = sum(
        smooth_fields((count,), shape, spacing_mm, lattice_mm, generator)
        for lattice_mm in (8.0, 20.0)
    )
    distance = square.sqrt() + rough * (_ROUGHNESS / math.sqrt(2)) * radius
    edge = uniform(one, *_EDGE_MM, generator).clamp(min=min(spacing_mm) / 2)
    inside = ((radius - distance) / edge + 0.5).clamp(0, 1) * brain
    return inside, (1 - distance / radius).clamp(0, 1)
