"""From anatomies to images as the chain would hand them on: drawn, degraded, matched.

A real image is matched at 1 mm and then brought to the configuration's grid. Here there is only the
coarse grid, so both are imitated: the percentiles are those of points of one tissue each, as voxels
of 1 mm are, and the matching curve is applied to the tissues of a voxel before they are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dal_auto.plans import Shape
from dal_auto.training.drawn.contrasts import draw_contrasts
from dal_auto.training.drawn.corruption import Lesions
from dal_auto.training.drawn.fields import Spacing, blurred, smooth_fields, uniform
from dal_auto.training.drawn.matching import Matching
from dal_auto.training.drawn.structures import CSF, GREY, TISSUE_OF, WHITE

#: Standard deviations, drawn evenly between two bounds for every image.
_BIAS_SD, _TEXTURE_SD, _NOISE_SD = (0.0, 0.06), (0.005, 0.025), (0.002, 0.014)
_WHITE_MATTER_SD = (0.0, 0.03)
_BIAS_MM, _TEXTURES_MM, _WHITE_MATTER_MM = 80.0, (12.0, 30.0), 40.0
#: σ of the blur in mm: voxels and interpolation along each axis, thick slices along some.
_BLUR_MM, _SLICE_BLUR_MM, _SLICES = (0.3, 1.6), (1.0, 2.0), 0.1
#: How pure a voxel of 1 mm is: 1 is one tissue, 0 the mixture of the coarse voxel.
_PURITY = (0.55, 0.95)
#: Noise of single voxels of 1 mm, over that of coarse ones.
_FINE_NOISE = 2.0
_GAMMA_SD = 0.08
#: Points that stand for an image when its percentiles are taken.
_POINTS = 8192
_DARKEST = 1e-3


@dataclass(frozen=True, eq=False)
class ImageDraw:
    """Draws images of a batch of anatomies.

    Parameters
    ----------
    subjects : in the batch
    sequences : drawn
    spacing_mm : of the grid
    matching : landmarks of the plans; None where only `unmatched` images are drawn
    generator : decides what is drawn; its device is that of the images
    """

    subjects: int
    sequences: tuple[str, ...]
    spacing_mm: Spacing
    matching: Matching | None
    generator: torch.Generator

    def images(
        self, shares: Tensor, brain: Tensor, lesions: Lesions | None
    ) -> tuple[Tensor, Tensor]:
        """Images with and without lesions.

        Parameters
        ----------
        shares : (subject, structure, x, y, z) in [0, 1]
        brain : (subject, x, y, z) bool
        lesions : what is pasted; None for nothing

        Returns
        -------
        two of (subject, sequence, x, y, z) float32 in [0, 1], 0 outside the brain; those without
        lesions are matched by the percentiles of those with
        """
        # What is done voxel by voxel is done where any subject has brain: a third of the grid.
        where = brain.any(0).flatten().nonzero()[:, 0]
        there = brain.flatten(1)[:, where]
        tissues, tissue_shares = self._tissues(shares.flatten(2)[..., where], brain, where)
        mean = (tissues * tissue_shares).sum(2)
        change = self._blur(mean, brain, where) - mean
        noise_sd = self._one(_NOISE_SD)
        change = change + self._normal(mean.shape) * noise_sd
        purity = self._one(_PURITY)
        fine = purity[..., None] * tissues + ((1 - purity) * mean + change)[:, :, None]

        points = self._points(there)
        picked = self._pick(tissue_shares[:, 0].gather(-1, points[:, None].expand(-1, 3, -1)))
        index = points[:, None].expand(-1, len(self.sequences), -1)
        at_points = fine.gather(-1, index[:, :, None].expand(-1, -1, 3, -1))
        at_points = at_points.gather(2, picked[:, None, None].expand(-1, index.shape[1], 1, -1))
        intensities = at_points[:, :, 0] + self._normal(index.shape) * noise_sd * _FINE_NOISE
        seen = fine
        if lesions is not None:
            kept, added = (part.flatten(2)[..., where] for part in (lesions.kept, lesions.added))
            seen = fine * kept[:, :, None] + added[:, :, None]
            intensities = intensities * kept.gather(-1, index) + added.gather(-1, index)
        assert self.matching is not None, "there is nothing to match to"
        curve = self.matching.curve(intensities, self.sequences)
        gamma = torch.exp(self._normal((*mean.shape[:2], 1)) * _GAMMA_SD)

        def finished(volumes: Tensor) -> Tensor:
            matched = (curve(volumes) * tissue_shares).sum(2).clamp(_DARKEST, 1) ** gamma
            return self._on_grid(matched * there[:, None], where, brain)

        clean = finished(fine)
        return (clean if lesions is None else finished(seen)), clean

    def unmatched(self, shares: Tensor, brain: Tensor) -> Tensor:
        """Images (subject, sequence, x, y, z) as a scanner and the chain would give them, 0 outside
        the brain, for a grid as fine as that of real images; parameters are those of `images`."""
        where = brain.any(0).flatten().nonzero()[:, 0]
        tissues, tissue_shares = self._tissues(shares.flatten(2)[..., where], brain, where)
        mean = (tissues * tissue_shares).sum(2)
        image = self._blur(mean, brain, where)
        image = image + self._normal(mean.shape) * self._one(_NOISE_SD) * _FINE_NOISE
        return self._on_grid(image * brain.flatten(1)[:, None, where], where, brain)

    def _tissues(self, shares: Tensor, brain: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Intensities (subject, sequence, 3, voxel) of CSF, grey and white matter, with texture and
        bias field; and shares (subject, 1, 3, voxel) of these tissues, of what is brain."""
        means = draw_contrasts(self.sequences, self.subjects, self.generator)
        tissue_of = torch.tensor(TISSUE_OF, device=shares.device)
        intensities, totals = [], []
        for tissue in (CSF, GREY, WHITE):
            members = (tissue_of == tissue).nonzero()[:, 0]
            total = shares[:, members].sum(1, keepdim=True)
            mixed = means[..., members] @ shares[:, members] / total.clamp(min=1e-3)
            intensities.append(mixed)  # where the tissue is not, this counts for nothing
            totals.append(total)
        intensities[WHITE] += self._field(_WHITE_MATTER_MM, brain, where) * self._one(
            _WHITE_MATTER_SD
        )
        texture = sum(self._field(mm, brain, where) for mm in _TEXTURES_MM)
        bias = torch.exp(self._field(_BIAS_MM, brain, where) * self._one(_BIAS_SD))
        tissues = torch.stack(intensities, 2) + (texture * self._one(_TEXTURE_SD))[:, :, None]
        shares_of = torch.stack(totals, 2)
        shares_of = shares_of / shares_of.sum(2, keepdim=True).clamp(min=1e-3)
        return tissues * bias[:, :, None], shares_of

    def _blur(self, mean: Tensor, brain: Tensor, where: Tensor) -> Tensor:
        """Means (subject, sequence, voxel), blurred within the brain."""
        device, leading = mean.device, (*mean.shape[:2], 3)
        sigma_mm = uniform(leading, *_BLUR_MM, self.generator)
        thick = torch.rand(*leading, generator=self.generator, device=device) < _SLICES
        sigma_mm = sigma_mm + thick * uniform(leading, *_SLICE_BLUR_MM, self.generator)
        sigma = sigma_mm / torch.tensor(self.spacing_mm, device=device)
        inside = brain[:, None].to(mean.dtype).expand(-1, mean.shape[1], -1, -1, -1)
        there = brain.flatten(1)[:, None, where]
        total = blurred(self._on_grid(mean * there, where, brain), sigma).flatten(2)[..., where]
        weight = blurred(inside, sigma).flatten(2)[..., where]
        return torch.where(there, total / weight.clamp(min=1e-3), mean)

    def _points(self, there: Tensor) -> Tensor:
        """(subject, point) places of brain voxels in the list of voxels, with replacement."""
        order = there.float().argsort(dim=1, descending=True, stable=True)
        drawn = torch.rand(len(there), _POINTS, generator=self.generator, device=there.device)
        return order.gather(1, (drawn * there.sum(1, keepdim=True)).long())

    def _pick(self, shares: Tensor) -> Tensor:
        """(subject, point) tissue drawn by its share (subject, 3, point)."""
        drawn = torch.rand(
            len(shares), 1, shares.shape[2], generator=self.generator, device=shares.device
        )
        return (shares.cumsum(1) < drawn).sum(1).clamp(max=2)

    def _one(self, bounds: tuple[float, float]) -> Tensor:
        """(subject, sequence, 1) drawn evenly between two bounds."""
        return uniform((self.subjects, len(self.sequences), 1), *bounds, self.generator)

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.generator.device)

    def _field(self, lattice_mm: float, brain: Tensor, where: Tensor) -> Tensor:
        """(subject, sequence, voxel) smooth field."""
        leading = (self.subjects, len(self.sequences))
        shape: Shape = tuple(brain.shape[1:])  # type: ignore[assignment]
        field = smooth_fields(leading, shape, self.spacing_mm, lattice_mm, self.generator)
        return field.flatten(2)[..., where]

    def _on_grid(self, values: Tensor, where: Tensor, brain: Tensor) -> Tensor:
        """Values (subject, sequence, voxel) at flat places, on the grid, 0 elsewhere."""
        shape = brain.shape[1:]
        grid = values.new_zeros(*values.shape[:2], shape.numel())
        grid[..., where] = values
        return grid.unflatten(-1, shape)
