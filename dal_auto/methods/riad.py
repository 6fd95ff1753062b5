"""RIAD: every part of a slice is inpainted from the rest; what cannot be foretold is anomalous.

Zavrtanik, Kristan, Skočaj, "Reconstruction by inpainting for visual anomaly detection", Pattern
Recognition 112, 2021, 107706. Its authors published no code; the network's layers follow the
unofficial repository plutoyuxie/Reconstruction-by-inpainting-for-visual-anomaly-detection (facts
only).

Deviations: the learning rate has no step in its schedule; the masks are the same for every
slice, so that maps repeat; the score's filter is left to post-processing. The paper's score from
gradient magnitudes sees edges only; |x − x̂| stands beside it as a second variant.
"""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.slices import RestoringMethod, SliceSettings
from dal_auto.networks.precision import at_least_single, without_autocast
from dal_auto.networks.ssim import ssim_2d
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import paper

_C_GMS = 0.0026
_RANGE = 2.0  # of data in [−1, 1]


class RIADSettings(SliceSettings):
    """Hyper-parameters of RIAD."""

    slices_per_step: int = paper(4, "its batch", ge=1)
    widths: tuple[int, ...] = paper((64, 128, 256, 512, 512), "5 levels")
    cells: tuple[int, ...] = paper((2, 4, 8, 16), "edges of the masked cells in pixels")
    sets: int = paper(3, "disjoint sets of cells", ge=2)
    scales: int = paper(4, "of the gradient magnitude similarity", ge=1)
    weight_gms: float = paper(1.0, "λ_G", ge=0)
    weight_ssim: float = paper(1.0, "λ_S", ge=0)


class InpaintingUNet(nn.Module):
    """Two convolutions a level, 4×4 strided ones down and up, concatenated skips, tanh."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.first = nn.Sequential(_layer(1, widths[0]), _layer(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(_layer(before, width, 4), _layer(width, width)) for before, width in pairs
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width, before, 4, stride=2, padding=1)
            for before, width in reversed(pairs)
        )
        self.merge = nn.ModuleList(
            nn.Sequential(_layer(2 * before, before), _layer(before, before))
            for before, _ in reversed(pairs)
        )
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, slices: Tensor) -> Tensor:
        seen = [self.first(slices)]
        for block in self.down:
            seen.append(block(seen[-1]))
        x = seen.pop()
        for widen, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([seen.pop(), widen(x)], dim=1))
        return torch.tanh(self.last(x))


def _layer(before: int, width: int, kernel: int = 3) -> nn.Sequential:
    """3×3, or 4×4 with stride 2; batch norm; ReLU."""
    stride = 2 if kernel == 4 else 1
    convolution = nn.Conv2d(before, width, kernel, stride=stride, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


class RIAD(RestoringMethod):
    """Reconstruction by inpainting."""

    name = "RIAD"
    Settings = RIADSettings
    settings: RIADSettings
    own_training = MappingProxyType({"weight_decay": (1e-5, "the unofficial code")})
    network: InpaintingUNet

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        halvings = len(self.settings.widths) - 1
        self.multiple = max(2**halvings, *self.settings.cells, 2 ** (self.settings.scales - 1))
        self.network = InpaintingUNet(self.settings.widths)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> RIADSettings:
        if not configuration.is_small:
            return RIADSettings()
        return RIADSettings(widths=(16, 32, 64), cells=(4, 8), scales=3, slices_per_step=16)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s, wanted = self.settings, 2 * slices - 1
        # On the CPU: which cell size it is decides shapes, and must be known here.
        cell = s.cells[int(torch.randint(len(s.cells), ()))]
        restored = self.inpaint(wanted, cell, torch.Generator().manual_seed(_drawn_seed()))
        square = F.mse_loss(restored, wanted)
        gms = 1 - gms_map(restored, wanted, s.scales).mean()
        ssim = 1 - ssim_2d(restored, wanted, _RANGE).mean()
        loss = square + s.weight_gms * gms + s.weight_ssim * ssim
        return {"loss": loss, "recon": square, "gms": gms, "ssim": ssim}

    def inpaint(self, wanted: Tensor, cell: int, generator: torch.Generator) -> Tensor:
        """Each set of cells from the two others: (n, 1, h, w) in [−1, 1] → the same."""
        sets = cell_sets(wanted.shape[2:], cell, self.settings.sets, generator).to(wanted.device)
        hidden = sets[:, None, None]  # (set, 1, 1, h, w)
        inputs = (wanted[None] * ~hidden).flatten(0, 1)
        outputs = self.network(inputs).unflatten(0, (len(sets), -1))
        return (outputs * hidden).sum(dim=0)

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores: "gradient" is the paper's, 1 − GMS, the mean over sizes of cells."""
        wanted, restored, gradient = 2 * slices - 1, [], []
        for cell in self.settings.cells:
            restored.append(self.inpaint(wanted, cell, torch.Generator().manual_seed(cell)))
            gradient.append(1 - gms_map(restored[-1], wanted, self.settings.scales))
        mean = torch.stack(restored).mean(dim=0)
        return (mean + 1) / 2, {"gradient": torch.stack(gradient).mean(dim=0)}

    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        return self.examine(slices, brain, range(len(slices)))[0]


def _drawn_seed() -> int:
    return int(torch.randint(2**31, ()))


def cell_sets(
    size: tuple[int, ...] | torch.Size, cell: int, sets: int, generator: torch.Generator
) -> Tensor:
    """The cells of a slice split at random: (set, h, w) bool; each voxel lies in one set.

    Parameters
    ----------
    size : h and w, multiples of `cell`
    """
    height, width = (int(length) // cell for length in size)
    order = torch.randperm(height * width, generator=generator) % sets
    chosen = order.view(height, width).repeat_interleave(cell, 0).repeat_interleave(cell, 1)
    return chosen[None] == torch.arange(sets)[:, None, None]


def gradient_magnitude(slices: Tensor) -> Tensor:
    """Prewitt's, of the slices after a 3×3 median: (n, 1, h, w) → the same."""
    padded = F.pad(slices, (1, 1, 1, 1), mode="replicate")
    patches = F.unfold(padded, 3).unflatten(2, slices.shape[2:])
    smooth = F.pad(patches.median(dim=1, keepdim=True).values, (1, 1, 1, 1), mode="replicate")
    across = slices.new_tensor([[1.0, 0, -1]] * 3) / 3
    gradients = F.conv2d(smooth, torch.stack([across, across.T])[:, None])
    return (gradients.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()


def gms_map(first: Tensor, second: Tensor, scales: int) -> Tensor:
    """Gradient magnitude similarity (Xue et al. 2014), the mean of several scales at full size.

    (2ab + c) / (a² + b² + c) of the gradient magnitudes a and b; 1 where images are equal. In
    float32 at least, also under autocast.
    """
    with without_autocast(first):
        return _gms_map(at_least_single(first), at_least_single(second), scales)


def _gms_map(first: Tensor, second: Tensor, scales: int) -> Tensor:
    size = first.shape[2:]
    total = torch.zeros_like(first)
    for scale in range(scales):
        if scale:
            first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
        a, b = gradient_magnitude(first), gradient_magnitude(second)
        similarity = (2 * a * b + _C_GMS) / (a.square() + b.square() + _C_GMS)
        total = total + F.interpolate(similarity, size, mode="bilinear")
    return total / scales
