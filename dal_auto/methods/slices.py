"""What methods on axial slices share: which slices a step sees, their size, and the way back.

T1 and T2 slices are samples of one network (the papers of these methods have one channel, but for
DAE). Slices are of the configuration's grid; one with less than 1 % of brain is not trained on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.methods.method import Batch, Detection, GradientMethod, Tile
from dal_auto.schema import Section, ours

_LEAST_BRAIN = 0.01
_RESTORED = "restored"


class SliceSettings(Section):
    """What all methods on slices have."""

    slices_per_step: int = ours(32, "drawn from the batch's subjects and sequences", ge=1)


class SliceMethod(GradientMethod):
    """A method whose network restores axial slices; the score is |x − x̂|, named "intensity" where
    it stands beside others.

    A subclass says how large its slices must be (`side` or `multiple`), what a step's losses are
    (`slice_losses`) and how slices are restored (`restore`).
    """

    settings: SliceSettings
    own_postprocessing = True
    #: Sizes must be multiples of this; slices are padded with background.
    multiple: int = 1

    @property
    def side(self) -> int | None:
        """Edge of the square that slices are brought to; None leaves them as they are."""
        return None

    @abstractmethod
    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        """Losses by name, "loss" the one that is minimised.

        Parameters
        ----------
        slices : (n, 1, h, w) in [0, 1], of the size asked for
        brain : (n, 1, h, w), 0 to 1
        """

    @abstractmethod
    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        """Pseudo-healthy slices (n, 1, h, w), near [0, 1]; the same for equal input."""

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Restored slices, and score maps by variant where the method has others than |x − x̂|.

        Parameters
        ----------
        numbers : of the slices in their volume; what a method draws for a slice follows from its
            own, so that the number of slices at once changes nothing
        """
        return self.restore(slices, brain), {}

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        slices, brain = drawn_slices(batch, self.settings.slices_per_step)
        return self.slice_losses(self._sized(slices), self._sized(brain))

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return []

    @torch.no_grad()
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Restore slice by slice; slices are small enough to need no windows."""
        self.network.eval()
        slices, brain = (axial_slices(volume) for volume in (image, brain_mask.float()))
        chunk = self.settings.slices_per_step
        found: dict[str, list[Tensor]] = {}
        for start in range(0, len(slices), chunk):
            some, where = slices[start : start + chunk], brain[start : start + chunk]
            numbers = range(start, start + len(some))
            restored, maps = self.examine(self._sized(some), self._sized(where), numbers)
            for name, part in {_RESTORED: restored, **maps}.items():
                found.setdefault(name, []).append(self._as_before(part, some))
        volumes = {name: volume_of(torch.cat(parts)) for name, parts in found.items()}
        healthy = volumes.pop(_RESTORED).float().clamp(0, 1) * brain_mask
        scores = {
            name: volume.float().clamp(min=0) * brain_mask for name, volume in volumes.items()
        }
        difference = (image - healthy).abs() * brain_mask
        scores["intensity" if scores else ""] = difference
        return Detection(scores, pseudo_healthy=healthy)

    def _sized(self, slices: Tensor) -> Tensor:
        """Padded to a square and resized, or padded to the network's multiple."""
        height, width = slices.shape[2:]
        if self.side is None:
            return _padded(
                slices, *(-(-size // self.multiple) * self.multiple for size in (height, width))
            )
        square = _padded(slices, max(height, width), max(height, width))
        return F.interpolate(square, (self.side, self.side), mode="bilinear", antialias=True)

    def _as_before(self, restored: Tensor, slices: Tensor) -> Tensor:
        """Undo `_sized`, whose input was `slices`."""
        height, width = slices.shape[2:]
        if self.side is not None:
            edge = max(height, width)
            restored = F.interpolate(restored.float(), (edge, edge), mode="bilinear")
        top, left = (restored.shape[2] - height) // 2, (restored.shape[3] - width) // 2
        return restored[:, :, top : top + height, left : left + width]


def axial_slices(volume: Tensor) -> Tensor:
    """(x, y, z) → (z, 1, x, y)."""
    return volume.permute(2, 0, 1)[:, None]


def volume_of(slices: Tensor) -> Tensor:
    """Undo `axial_slices`."""
    return slices[:, 0].permute(1, 2, 0)


def drawn_slices(batch: Batch, count: int) -> tuple[Tensor, Tensor]:
    """`count` slices at random, among those with brain of the sequences that subjects have.

    Which they are is decided on the device, so that nobody waits for it.

    Returns
    -------
    (count, 1, x, y) slices, and the brain in them
    """
    images, brain = batch.images, batch.brain_mask
    area = brain[:, 0].mean(dim=(1, 2))  # (subject, z)
    allowed = (area >= _LEAST_BRAIN)[:, None] & batch.present[:, :, None]
    # A hair's weight for all others: there is something to draw even where no slice has 1 %.
    chosen = torch.multinomial(allowed.float().flatten() + 1e-12, count, replacement=True)
    sequences, depth = images.shape[1], images.shape[-1]
    subject, rest = chosen // (sequences * depth), chosen % (sequences * depth)
    sequence, z = rest // depth, rest % depth
    return images[subject, sequence, :, :, z][:, None], brain[subject, 0, :, :, z][:, None]


def _padded(slices: Tensor, height: int, width: int) -> Tensor:
    """Background on both sides, up to this size."""
    down, right = height - slices.shape[2], width - slices.shape[3]
    top, left = down // 2, right // 2
    return F.pad(slices, (left, right - left, top, down - top))


def is_small(shape: tuple[int, int, int]) -> bool:
    """Whether a configuration's grid is so coarse that a method takes its demo's widths."""
    x, y, z = shape
    return x * y * z < 200_000
