"""The three small networks of EfficientAD-S, as the paper lists their layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.networks.backbone import FeatureTrunk

#: Positions that the descriptor's map lacks on each side, for want of padding.
MARGIN = 4
#: Whose weights its file holds.
TEACHER = "EfficientAD's small teacher"


class PatchDescriptor(FeatureTrunk):
    """PDN-S: each position describes a patch of 33×33 pixels.

    Parameters
    ----------
    width : of the first layer; the two in the middle are twice as wide
    channels : that it gives
    """

    rectified = False

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(TEACHER, 1)
        self.widths = (channels,)
        self.conv1 = nn.Conv2d(3, width, 4)
        self.conv2 = nn.Conv2d(width, 2 * width, 4)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3)
        self.conv4 = nn.Conv2d(2 * width, channels, 4)

    @property
    def stride(self) -> int:
        return 4

    def stages_of(self, colours: Tensor) -> list[Tensor]:
        """One map: (n, 3, h, w) → (n, C, h/4 − 8, w/4 − 8)."""
        x = F.avg_pool2d(F.relu(self.conv1(colours)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2)
        return [self.conv4(F.relu(self.conv3(x)))]


class Autoencoder(nn.Module):
    """Slices → the descriptor's map, through one vector.

    Parameters
    ----------
    side : of the slices, a multiple of 32
    """

    def __init__(self, side: int, width: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for after in (width // 2, width // 2, width, width, width):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
            before = after
        self.encoder = nn.Sequential(*layers, nn.Conv2d(width, width, side // 32))
        sizes = [side // 64 - 1, side // 32, side // 16 - 1, side // 8, side // 4 - 1]
        self.sizes = [max(1, size) for size in (*sizes, side // 2 - 1)]
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 4, padding=2), nn.ReLU(), nn.Dropout(0.2))
            for _ in self.sizes
        )
        self.grid = side // 4 - 2 * MARGIN
        self.last = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, colours: Tensor) -> Tensor:
        """(n, 3, h, w) → (n, C, h/4 − 8, w/4 − 8)."""
        x = self.encoder(colours)
        for size, step in zip(self.sizes, self.steps, strict=True):
            x = step(F.interpolate(x, (size, size), mode="bilinear"))
        mapped: Tensor = self.last(F.interpolate(x, (self.grid, self.grid), mode="bilinear"))
        return mapped


class EfficientADNetwork(nn.Module):
    """Student and autoencoder, what the teacher gives on average, and what calibration finds."""

    def __init__(self, side: int, width: int, channels: int, autoencoder_width: int) -> None:
        super().__init__()
        self.student = PatchDescriptor(width, 2 * channels)
        self.autoencoder = Autoencoder(side, autoencoder_width, channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))
        #: Quantiles 0.9 and 0.995 of healthy maps: of the student's, of the autoencoder's.
        self.register_buffer("quantiles", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self.mean: Tensor
        self.deviation: Tensor
        self.quantiles: Tensor
