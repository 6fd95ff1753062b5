"""AutoDDPM: a first restoration says where, a second one restores only there.

Bercea, Neumayr, Rueckert, Schnabel, "Mask, stitch, and re-sample: enhancing robustness and
generalizability in anomaly detection through automatic diffusion models", ICML 2023 Workshop on
Interpretable ML in Healthcare. Sizes and numbers follow the published code, ci-ber/autoDDPM
(GPL-3.0; read for facts only). The network is MONAI's.

Deviations: what is drawn for a slice follows from its number, so that maps repeat; restored slices
stay in [0, 1] (theirs: [−1, 1]); the percentile is of the brain (theirs: of the whole slice); LPIPS
sees slices scaled once; the last step of the stitched slice adds no noise. Without LPIPS's weights
only ``perceptual=none`` runs, whose maps are called l1.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.autoddpm.settings import AutoDDPMSettings, check
from dal_auto.methods.coarse import CoarseMethod, WithThreshold
from dal_auto.networks.diffusion import kept_signal, step_back
from dal_auto.networks.diffusion_unet import diffusion_unet
from dal_auto.plans import ConfigurationPlan, Plans

_DILATION = 3


class AutoDDPMNetwork(WithThreshold):
    """A diffusion U-Net, and the threshold of its masks."""

    def __init__(self, settings: AutoDDPMSettings) -> None:
        super().__init__(settings.threshold)
        self.unet = _unet(settings)

    def forward(self, noisy: Tensor, moments: Tensor) -> Tensor:
        """(n, 1, h, w) slices at moments (n,) → the noise in them."""
        noise: Tensor = self.unet(noisy, moments)
        return noise


def _unet(settings: AutoDDPMSettings) -> nn.Module:
    levels = len(settings.widths)
    return diffusion_unet(
        "AutoDDPM",
        settings.widths,
        [levels - n <= settings.attention_levels for n in range(levels)],
        num_res_blocks=settings.residual_blocks,
        num_head_channels=settings.head_channels,
        norm_num_groups=settings.norm_groups,
    )


class AutoDDPM(CoarseMethod):
    """Mask, stitch, and re-sample."""

    name = "AutoDDPM"
    Settings = AutoDDPMSettings
    settings: AutoDDPMSettings
    network: AutoDDPMNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        check(self.settings)
        self.network = AutoDDPMNetwork(self.settings)
        self.kept = kept_signal(self.settings.timesteps)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> AutoDDPMSettings:
        if not configuration.is_small:
            return AutoDDPMSettings()
        return AutoDDPMSettings(
            input_side=64, widths=(16, 32, 32), attention_levels=1, head_channels=32, norm_groups=8,
            timesteps=100, mask_timesteps=20, stitch_timesteps=5, resamplings=2,
        )  # fmt: skip

    @property
    def side(self) -> int:
        return self.settings.input_side

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        device = slices.device
        moments = torch.randint(self.settings.timesteps, (len(slices),), device=device)
        noise = torch.randn_like(slices)
        kept = torch.as_tensor(self.kept, dtype=slices.dtype, device=device)[moments]
        kept = kept[:, None, None, None]
        noisy = kept.sqrt() * slices + (1 - kept).sqrt() * noise
        return {"loss": F.mse_loss(self.network(noisy, moments), noise)}

    def first_restoration(self, slices: Tensor, numbers: range) -> Tensor:
        return self._denoised(slices, Noise(numbers, slices))

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        noise = Noise(numbers, slices)
        first = self._denoised(slices, noise)
        coarse = self.coarse(slices, first, brain)
        mask = F.max_pool2d(self.masked(coarse), _DILATION, stride=1, padding=_DILATION // 2)
        restored = self._stitched(slices, first, mask, noise)
        return restored, {self.variant: (slices - restored).abs() * coarse}

    def _denoised(self, slices: Tensor, noise: Noise) -> Tensor:
        """Noised and denoised: the first restoration."""
        noisy = self._noised(slices, self.settings.mask_timesteps, noise)
        for now in range(self.settings.mask_timesteps, -1, -1):
            noisy = self._step(noisy, now, self.kept[now - 1] if now else 1.0, noise)
            if noisy.is_meta:  # memory is counted: one step takes as much as all
                break
        return noisy.clamp(0, 1)

    def _stitched(self, slices: Tensor, first: Tensor, mask: Tensor, noise: Noise) -> Tensor:
        """What is known and what was restored, made one by going back and forth between them."""
        depth, resamplings = self.settings.stitch_timesteps, self.settings.resamplings
        noisy = self._noised(first, depth, noise)
        for now in range(depth, 0, -1):
            before = self.kept[now - 1] if now > 1 else 1.0
            for again in range(resamplings):
                unknown = self._step(noisy, now, before, noise)
                known = self._noised(slices, now - 1, noise) if now > 1 else slices
                noisy = mask * unknown + (1 - mask) * known
                if noisy.is_meta:
                    return noisy
                if again < resamplings - 1:
                    left = self.kept[now] / before
                    noisy = sqrt(left) * noisy + sqrt(1 - left) * noise.draw()
        return noisy.clamp(0, 1)

    def _noised(self, slices: Tensor, moment: int, noise: Noise) -> Tensor:
        kept = self.kept[moment]
        return sqrt(kept) * slices + sqrt(1 - kept) * noise.draw()

    def _step(self, noisy: Tensor, now: int, before: float, noise: Noise) -> Tensor:
        """From one moment back to where ᾱ is `before`; 1 is a slice without noise."""
        moments = torch.full((len(noisy),), now, device=noisy.device)
        drawn = None if before == 1 else noise.draw()
        return step_back(
            noisy, self.network(noisy, moments), drawn, self.kept[now], before, least=0.0
        )


class Noise:
    """Gaussian noise of slices, each with random numbers of its own: the same on every device.

    Parameters
    ----------
    numbers : of the slices in their volume
    like : (n, 1, h, w) of the size and kind wanted
    """

    def __init__(self, numbers: range, like: Tensor) -> None:
        self._generators = [torch.Generator().manual_seed(1000 * number) for number in numbers]
        self._like = like

    def draw(self) -> Tensor:
        shape = (1, *self._like.shape[1:])
        drawn = [torch.randn(shape, generator=g, device="cpu") for g in self._generators]
        return torch.cat(drawn).to(self._like)
