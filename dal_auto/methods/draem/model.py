"""DRÆM: reconstruct a slice without what was pasted in, and segment it from both.

Zavrtanik, Kristan, Skočaj, "DRÆM – A discriminatively trained reconstruction embedding for surface
anomaly detection", ICCV 2021, 8330–8339. Sizes and numbers follow the published code,
VitjanZ/DRAEM (MIT; facts only).

Deviations: one channel; textures are other slices of the cohort, since the paper's (DTD) are a
download; anomalies keep to the brain; healthy slices are turned by up to 10° (theirs 90°: brains
lie in one pose); noise is turned with its lattice, so its corners are not empty; the learning rate
has no steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.methods.draem.anomalies import pasted, turned
from dal_auto.methods.draem.network import DRAEMNetwork
from dal_auto.methods.slices import SliceMethod, SliceSettings
from dal_auto.networks.precision import at_least_single
from dal_auto.networks.ssim import ssim_2d
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

#: Of probabilities, as published.
_SMALL = 1e-5


class DRAEMSettings(SliceSettings):
    """Hyper-parameters of DRÆM."""

    slices_per_step: int = paper(8, "its batch", ge=1)
    reconstructor_width: int = paper(128, "of the reconstructive network's first level", ge=1)
    segmenter_width: int = paper(64, "of the discriminative network's first level", ge=1)
    noise_scales: int = paper(6, "1 to 2⁵ cells of Perlin noise along each axis", ge=1, le=7)
    most_kept: float = paper(0.8, "β from 0 to it, as the code has it", ge=0, le=1)
    anomalous_share: float = paper(0.5, "of the slices", gt=0, le=1)
    rotation_degrees: float = ours(10.0, "theirs 90; brains lie in one pose", ge=0, le=90)
    rotated_share: float = paper(0.3, "of the slices", ge=0, le=1)
    focal_gamma: float = paper(2.0, "of the focal loss", ge=0)
    weight_ssim: float = paper(1.0, "of 1 − SSIM", ge=0)
    weight_focal: float = paper(1.0, "of the segmentation", ge=0)


class DRAEM(SliceMethod):
    """Reconstruction and segmentation, trained together on pasted anomalies."""

    name = "DRAEM"
    Settings = DRAEMSettings
    settings: DRAEMSettings
    network: DRAEMNetwork
    multiple = 32

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        s = self.settings
        self.network = DRAEMNetwork(s.reconstructor_width, s.segmenter_width)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> DRAEMSettings:
        if not configuration.is_small:
            return DRAEMSettings()
        return DRAEMSettings(
            reconstructor_width=16, segmenter_width=8, noise_scales=4, slices_per_step=16
        )

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s = self.settings
        both = turned(torch.cat([slices, brain], dim=1), s.rotation_degrees, s.rotated_share)
        healthy, inside = both.split(1, dim=1)
        given = pasted(
            healthy, inside, scales=s.noise_scales, most_kept=s.most_kept, share=s.anomalous_share
        )
        restored, logits = self.network(given.slices)
        recon = F.mse_loss(restored, healthy)
        ssim = 1 - ssim_2d(restored, healthy, 1.0).mean()
        segmentation = focal(logits, given.masks, s.focal_gamma)
        loss = recon + s.weight_ssim * ssim + s.weight_focal * segmentation
        return {"loss": loss, "recon": recon, "ssim": ssim, "focal": segmentation}

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[None, dict[str, Tensor]]:
        return None, {"": self.network(slices)[1].softmax(dim=1)[:, 1:]}


def focal(logits: Tensor, masks: Tensor, gamma: float) -> Tensor:
    """Mean of −(1 − p)^γ log p, p the probability of what is true (Lin et al. 2017).

    Parameters
    ----------
    logits : (n, 2, h, w)
    masks : (n, 1, h, w), 0 or 1
    """
    probability = at_least_single(logits).softmax(dim=1).gather(1, masks.long()) + _SMALL
    return -((1 - probability).clamp(min=0) ** gamma * probability.log()).mean()
