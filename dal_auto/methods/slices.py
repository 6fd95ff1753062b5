"""What methods on axial slices share: which slices a step sees, their size, and the way back.

T1 and T2 slices are samples of one network (the papers of these methods have one channel, but for
DAE). Slices are of the configuration's grid; one with less than 1 % of brain is not trained on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.methods.method import RESTORATION_ERROR, Batch, Detection, GradientMethod, Tile
from dal_auto.schema import Section, ours
from dal_auto.scoring.separable import correlate, gaussian_kernel

_LEAST_BRAIN = 0.01
_RESTORED = "restored"
#: Below this share of the scans' contrast, a restoration shows no anatomy.
_CONTRAST, _LEAST_CONTRAST = "restored_contrast", 0.1
_TRUNCATE = 4.0  # of Gaussian filters, scipy's


class SliceSettings(Section):
    """What all methods on slices have."""

    slices_per_step: int = ours(32, "drawn from the batch's subjects and sequences", ge=1)


class SliceMethod(GradientMethod):
    """A method that looks at axial slices one by one.

    A subclass says how large its slices must be (`side` or `multiple`), what a step's losses are
    (`slice_losses`), and what it finds in slices (`examine`).
    """

    settings: SliceSettings
    own_postprocessing = True
    #: Whether slices come in pairs: the second half are those of the first, of other subjects.
    in_pairs: ClassVar[bool] = False
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
    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Restored slices where the method has them, and score maps by variant.

        |x − x̂| of restored slices is a variant by itself: ``""`` where no other is given, else
        "intensity".

        Parameters
        ----------
        slices, brain : as for `slice_losses`; equal input gives equal output
        numbers : of the slices in their volume; what a method draws for a slice follows from its
            own, so that the number of slices at once changes nothing

        Returns
        -------
        restored : (n, 1, h, w), near [0, 1], or None
        maps : variant → (n, 1, h', w'); another size is brought to the slices' bilinearly
        """

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        count = self.settings.slices_per_step
        draw = drawn_pairs if self.in_pairs else drawn_slices
        slices, brain = draw(batch, count)
        return self.slice_losses(self._sized(slices), self._sized(brain))

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return []

    @torch.no_grad()
    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Examine slice by slice; slices are small enough to need no windows."""
        self.network.eval()
        restored, scores = self._examined(image, brain_mask)
        if restored is None:
            return Detection(scores)
        healthy = restored.clamp(0, 1) * brain_mask
        difference = (image - healthy).abs() * brain_mask
        return Detection(
            scores | {"intensity" if scores else "": difference}, pseudo_healthy=healthy
        )

    def _examined(
        self, image: Tensor, brain_mask: Tensor
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """`examine` of a volume's slices, some at once: volumes (x, y, z) on the image's grid."""
        slices, brain = (axial_slices(volume) for volume in (image, brain_mask.float()))
        chunk = self.settings.slices_per_step
        found: dict[str, list[Tensor]] = {}
        for start in range(0, len(slices), chunk):
            some, where = slices[start : start + chunk], brain[start : start + chunk]
            numbers = range(start, start + len(some))
            restored, maps = self.examine(self._sized(some), self._sized(where), numbers)
            named = maps if restored is None else {_RESTORED: restored, **maps}
            for name, part in named.items():
                found.setdefault(name, []).append(self._as_before(part, some))
        volumes = {name: volume_of(torch.cat(parts)).float() for name, parts in found.items()}
        healthy = volumes.pop(_RESTORED, None)
        return healthy, {name: v.clamp(min=0) * brain_mask for name, v in volumes.items()}

    def healthy_slices(
        self, batches: Iterable[Batch], every_nth: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Slices that hold brain of healthy cases, some at once, and the brain in them.

        Of the size asked for; the network is in eval mode, and there are no gradients.
        """
        self.network.eval()
        with torch.no_grad():
            for batch in batches:
                for images, mask, present in zip(
                    batch.images, batch.brain_mask[:, 0], batch.present.tolist(), strict=True
                ):
                    brain = axial_slices(mask[..., ::every_nth])
                    held = brain.flatten(1).any(dim=1)
                    for image, there in zip(images, present, strict=True):
                        both = torch.cat([axial_slices(image[..., ::every_nth]), brain], dim=1)
                        for some in both[held].split(self.settings.slices_per_step):
                            if there:
                                yield self._sized(some[:, :1]), self._sized(some[:, 1:])

    def _sized(self, slices: Tensor) -> Tensor:
        """Padded to a square and resized, or padded to the network's multiple."""
        height, width = slices.shape[2:]
        if self.side is None:
            return _padded(slices, *self._sized_shape(height, width))
        square = _padded(slices, max(height, width), max(height, width))
        return F.interpolate(square, (self.side, self.side), mode="bilinear", antialias=True)

    def _as_before(self, found: Tensor, slices: Tensor) -> Tensor:
        """Undo `_sized`, whose input was `slices`."""
        height, width = slices.shape[2:]
        sized = self._sized_shape(height, width)
        if self.side is not None:
            sized = (max(height, width),) * 2
        if tuple(found.shape[2:]) != sized:
            found = F.interpolate(found.float(), sized, mode="bilinear")
        top, left = (sized[0] - height) // 2, (sized[1] - width) // 2
        return found[:, :, top : top + height, left : left + width]

    def _sized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Size of what `_sized` makes of slices of this size."""
        if self.side is not None:
            return self.side, self.side
        down, right = (-(-size // self.multiple) * self.multiple for size in (height, width))
        return down, right


class RestoringMethod(SliceMethod):
    """A method whose network makes slices healthy; the score is |x − x̂|."""

    @abstractmethod
    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        """Pseudo-healthy slices (n, 1, h, w), near [0, 1]; the same for equal input."""

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        return self.restore(slices, brain), {}

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """Figures of some slices' brain: ``restoration_error`` is the mean |x̂ − x|,
        ``restored_contrast`` the standard deviation of x̂ as a share of that of x."""
        slices, brain = map(self._sized, drawn_slices(batch, self.settings.slices_per_step))
        restored = self.restore(slices, brain).clamp(0, 1)
        inside = brain > 0.5
        spreads = [image[inside].float().std() for image in (restored, slices)]
        return {
            RESTORATION_ERROR: (restored - slices)[inside].abs().mean(),
            _CONTRAST: spreads[0] / spreads[1].clamp(min=1e-6),
        }

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        contrast = figures.get(_CONTRAST, 1.0)
        if contrast >= _LEAST_CONTRAST:
            return []
        return [
            f"restored images are almost uniform ({contrast:.1%} of the scans' contrast), so the "
            "map is the scan itself. If that stays, lower training.learning_rate, or take another "
            "seed"
        ]


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
    return _slices_at(batch, *_draw(batch, count))


def drawn_pairs(batch: Batch, count: int) -> tuple[Tensor, Tensor]:
    """Half of `count` slices as `drawn_slices` has them, then the same slices of other subjects.

    The other subject has the same sequence; where nobody else of the batch has it, the slice is its
    own partner.

    Returns
    -------
    (2 · (count // 2), 1, x, y) slices, and the brain in them
    """
    subject, sequence, z = _draw(batch, count // 2)
    itself = F.one_hot(subject, len(batch.images)).float()
    others = batch.present[:, sequence].T.float() * (1 - itself)
    alone = others.sum(dim=1, keepdim=True) == 0
    partner = torch.multinomial(torch.where(alone, itself, others), 1)[:, 0]
    return _slices_at(batch, torch.cat([subject, partner]), sequence.repeat(2), z.repeat(2))


def _slices_at(batch: Batch, subject: Tensor, sequence: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    slices = batch.images[subject, sequence, :, :, z]
    return slices[:, None], batch.brain_mask[subject, 0, :, :, z][:, None]


def _draw(batch: Batch, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Subject, sequence and number of `count` random slices: (count,) each."""
    area = batch.brain_mask[:, 0].mean(dim=(1, 2))  # (subject, z)
    allowed = (area >= _LEAST_BRAIN)[:, None] & batch.present[:, :, None]
    # A hair's weight for all others: there is something to draw even where no slice has 1 %.
    chosen = torch.multinomial(allowed.float().flatten() + 1e-12, count, replacement=True)
    sequences, depth = batch.images.shape[1], batch.images.shape[-1]
    subject, rest = chosen // (sequences * depth), chosen % (sequences * depth)
    return subject, rest // depth, rest % depth


def smoothed(maps: Tensor, sigma: float) -> Tensor:
    """(n, 1, h, w) maps, each with scipy's Gaussian filter of `sigma` pixels; 0 leaves them."""
    if not sigma:
        return maps
    kernel = gaussian_kernel(sigma, _TRUNCATE)
    return correlate(maps, ([1.0], kernel, kernel))


def _padded(slices: Tensor, height: int, width: int) -> Tensor:
    """Background on both sides, up to this size."""
    down, right = height - slices.shape[2], width - slices.shape[3]
    top, left = down // 2, right // 2
    return F.pad(slices, (left, right - left, top, down - top))
