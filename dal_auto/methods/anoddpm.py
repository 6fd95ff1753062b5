"""AnoDDPM: simplex noise is added to a slice, and a diffusion model takes it away again.

Wyatt, Leach, Schmon, Willcocks, "AnoDDPM: anomaly detection with denoising diffusion probabilistic
models using simplex noise", CVPR Workshops (NTIRE) 2022, 650–656. The network is MONAI's, of the
published sizes.

Deviations: simplex noise itself in place of OpenSimplex, with cells twice as large and 0.8 of the
amplitude, which gives their spectrum and standard deviation; octaves do not share their random
numbers; the noise of a map follows from the slice's number, so that maps repeat; the preset
"robust" takes 25 of the 250 steps back; the weights' average has a warm-up, and lacks the step just
taken; batches are larger than 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import pairwise
from math import log2, sqrt
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dal_auto.errors import PlansError
from dal_auto.methods.method import Batch
from dal_auto.methods.slices import RestoringMethod, SliceSettings
from dal_auto.networks.diffusion import kept_signal, step_back
from dal_auto.networks.diffusion_unet import diffusion_unet
from dal_auto.networks.simplex_noise import Fields, drawn_fields, octave_noise
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

#: Share of the noise's power, above which the network predicts nothing of use.
_MOST_UNPREDICTED = 0.9
#: The cells of the last octave in voxels, as published (theirs: 2 pixels of OpenSimplex).
_LEAST_CELL = 3.7


class AnoDDPMSettings(SliceSettings):
    """Hyper-parameters of AnoDDPM."""

    slices_per_step: int = ours(8, "theirs: 1, for 300,000 steps", ge=1)
    widths: tuple[int, ...] = paper((128, 128, 256, 256, 512, 512), "128 times 1, 1, 2, 2, 4, 4")
    residual_blocks: int = paper(2, "of each level", ge=1)
    attention_levels: int = paper(3, "the lowest: at 32², 16² and 8² of its 256²", ge=0)
    heads: int = paper(2, "of the attention", ge=1)
    norm_groups: int = paper(32, "of the group norm", ge=1)
    timesteps: int = paper(1000, "T, with β from 0.1/T to 20/T", ge=50)
    trained_timesteps: int = paper(800, "t is drawn below it", ge=1)
    noised_timesteps: int = paper(250, "λ, how many steps of noise a slice gets", ge=1)
    sampling_steps: int = ours(
        25, "evenly spread over λ; theirs all 250, too many to choose checkpoints by", ge=1
    )
    chains: int = paper(1, "ways back per slice; the mean is taken", ge=1, le=100)
    noise_cell_mm: float = ours(
        118.0, "theirs: OpenSimplex of 64 pixels of 0.92 mm, as coarse as simplex of 128", gt=0
    )
    noise_octaves: int = paper(6, "each of half the size", ge=1)
    noise_persistence: float = paper(0.8, "amplitude of each octave relative to the last", gt=0)
    noise_amplitude: float = ours(
        0.8, "of the first octave; theirs 1, of a noise with 0.8 of the deviation", gt=0
    )
    averaging: float = paper(0.9999, "decay of the weights' moving average", ge=0, lt=1)


class NoisePredictor(nn.Module):
    """A diffusion U-Net, and the moving average of its weights, which is what maps are made with.

    The average is of buffers: they are saved and moved with the network, and not optimised.

    Raises
    ------
    MissingDependency
        without MONAI
    """

    def __init__(self, settings: AnoDDPMSettings) -> None:
        super().__init__()
        self.live = _unet(settings)
        self.averaged = _with_buffers(deepcopy(self.live))
        kept = torch.as_tensor(kept_signal(settings.timesteps), dtype=torch.float32)
        self.register_buffer("kept", kept, persistent=False)
        self.kept: Tensor
        self._decay = settings.averaging

    def forward(self, noisy: Tensor, moments: Tensor) -> Tensor:
        """(n, 1, h, w) slices at moments (n,) → the noise in them."""
        network = self.live if self.training else self.averaged
        noise: Tensor = network(noisy, moments)
        return noise

    @torch.no_grad()
    def average(self, step: int) -> None:
        """Take the weights, as they are before `step`, into the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averaged = dict(self.averaged.named_buffers())
        live = dict(self.live.named_parameters())
        update = get_ema_multi_avg_fn(decay)
        update([averaged[name] for name in live], list(live.values()), step)


def _unet(settings: AnoDDPMSettings) -> nn.Module:
    levels = len(settings.widths)
    return diffusion_unet(
        "AnoDDPM",
        settings.widths,
        [levels - n <= settings.attention_levels for n in range(levels)],
        num_res_blocks=settings.residual_blocks,
        num_head_channels=[width // settings.heads for width in settings.widths],
        norm_num_groups=settings.norm_groups,
        resblock_updown=True,
    )


def _with_buffers(network: nn.Module) -> nn.Module:
    """The network itself, its weights turned into buffers."""
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return network


class AnoDDPM(RestoringMethod):
    """A lesion is lost in the noise like the rest, and healthy tissue comes back in its place."""

    name = "AnoDDPM"
    Settings = AnoDDPMSettings
    settings: AnoDDPMSettings
    own_training = MappingProxyType({"clip_norm": (1.0, "the published code")})
    network: NoisePredictor

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        _check(self.settings)
        self.multiple = 2 ** (len(self.settings.widths) - 1)
        self.network = NoisePredictor(self.settings)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> AnoDDPMSettings:
        own = AnoDDPMSettings()
        finest_mm = _LEAST_CELL * min(configuration.spacing_mm[:2])
        octaves = 1 + max(0, round(log2(own.noise_cell_mm / finest_mm)))
        changes: dict[str, object] = {"noise_octaves": min(own.noise_octaves, octaves)}
        if configuration.is_small:
            changes |= _demo()
        if preset == "paper":
            changes["sampling_steps"] = changes.get("noised_timesteps", own.noised_timesteps)
        return AnoDDPMSettings.model_validate(own.model_dump() | changes)

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        if self.network.training:
            self.network.average(step)
        return super().training_step(batch, step)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        s, device = self.settings, slices.device
        moments = torch.randint(s.trained_timesteps, (len(slices),), device=device)
        noise = self._noise(slices, drawn_fields(len(slices), s.noise_octaves, device))
        kept = self.network.kept[moments][:, None, None, None]
        noisy = kept.sqrt() * (2 * slices - 1) + (1 - kept).sqrt() * noise
        loss = F.mse_loss(self.network(noisy, moments), noise)
        return {"loss": loss, "unpredicted": loss / noise.square().mean()}

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing: to restore takes dozens of passes, and "unpredicted" says what is learned."""
        return {}

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        share = figures.get("unpredicted", 0.0)
        if share <= _MOST_UNPREDICTED:
            return []
        return [
            f"the network predicts little of the noise ({share:.0%} of its power is left). Try "
            "a higher training.learning_rate, or more training.steps"
        ]

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores: "square" is the paper's, of data in [−1, 1]."""
        wanted = 2 * slices - 1
        ways = [self._denoised(wanted, numbers, chain) for chain in range(self.settings.chains)]
        restored = torch.stack(ways).mean(dim=0)
        return (restored + 1) / 2, {"square": (restored - wanted).square()}

    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        return self.examine(slices, brain, range(len(slices)))[0]

    def _denoised(self, wanted: Tensor, numbers: range, chain: int) -> Tensor:
        """Noised to λ and denoised: (n, 1, h, w) in [−1, 1] → the same."""
        s, kept = self.settings, kept_signal(self.settings.timesteps)
        generators = [torch.Generator().manual_seed(1000 * z + chain) for z in numbers]

        def noise() -> Tensor:
            # On the CPU: the same on every device, however many slices are asked for at once.
            one_each = [drawn_fields(1, s.noise_octaves, _CPU, given) for given in generators]
            tables = torch.cat([fields.tables for fields in one_each])
            shifts = torch.cat([fields.shifts for fields in one_each])
            return self._noise(wanted, Fields(tables, shifts).to(wanted.device))

        def found(noisy: Tensor, moment: int) -> Tensor:
            noise: Tensor = self.network(
                noisy, torch.full((len(noisy),), moment, device=noisy.device)
            )
            return noise

        moments = sampled_moments(s.noised_timesteps, s.sampling_steps)
        noisy = sqrt(kept[moments[0]]) * wanted + sqrt(1 - kept[moments[0]]) * noise()
        for now, before in pairwise(moments):
            if noisy.is_meta:  # memory is counted: the last step takes as much as all
                break
            noisy = step_back(noisy, found(noisy, now), noise(), kept[now], kept[before])
        return step_back(noisy, found(noisy, moments[-1]), None, kept[moments[-1]], 1.0)

    def _noise(self, slices: Tensor, fields: Fields) -> Tensor:
        s = self.settings
        cells = [s.noise_cell_mm / mm for mm in self.plans.configuration.spacing_mm[:2]]
        noise = octave_noise(fields, slices.shape[2:], cells, s.noise_persistence)
        return s.noise_amplitude * noise


_CPU = torch.device("cpu")


def sampled_moments(depth: int, steps: int) -> list[int]:
    """`steps` moments from `depth` − 1 down, evenly spread; the last is 0 where there are two."""
    return [int(moment) for moment in np.linspace(depth - 1, 0, steps).round()]


def _demo() -> dict[str, object]:
    """For coarse grids: a tenth of the time steps, with the noise of the published λ."""
    return {
        "widths": (16, 32, 32),
        "residual_blocks": 1,
        "attention_levels": 1,
        "norm_groups": 8,
        "slices_per_step": 16,
        "timesteps": 100,
        "trained_timesteps": 80,
        "noised_timesteps": 25,
        "sampling_steps": 5,
        "averaging": 0.99,
    }


def _check(settings: AnoDDPMSettings) -> None:
    s, prefix = settings, "method.settings"
    if not s.widths or any(
        width < 1 or width % s.norm_groups or width % s.heads for width in s.widths
    ):
        rule = f"each must be a multiple of norm_groups ({s.norm_groups}) and heads ({s.heads})"
        raise PlansError(f"{prefix}.widths", s.widths, rule)
    for lower, upper in (
        ("trained_timesteps", "timesteps"),
        ("noised_timesteps", "trained_timesteps"),
        ("sampling_steps", "noised_timesteps"),
    ):
        value, most = getattr(s, lower), getattr(s, upper)
        if value > most:
            raise PlansError(f"{prefix}.{lower}", value, f"at most {upper} ({most})")
