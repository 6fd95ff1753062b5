"""AE and VAE with a dense code, the classics of the field.

Baur, Denner, Wiestler, Navab, Albarqouni, "Autoencoders for unsupervised anomaly segmentation in
brain MR images: a comparative study", Medical Image Analysis 69, 2021, 101952.

Deviations: |x − x̂| scores bright and dark lesions (theirs keeps bright residuals of bright voxels,
right for FLAIR and T2, wrong for T1); training does not stop early.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from dal_auto.errors import PlansError
from dal_auto.methods.method import Batch
from dal_auto.methods.slices import RestoringMethod, SliceSettings, drawn_slices
from dal_auto.networks.precision import at_least_single
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.schema import ours, paper

_SLOPE = 0.3  # Keras's LeakyReLU, with which the method was published
#: nats per dimension of the code, below which it says nothing
_DEAD_KL, _MOST_DEAD = 0.01, 0.9


class AutoencoderSettings(SliceSettings):
    """Hyper-parameters of AE and VAE."""

    slices_per_step: int = paper(8, "its batch", ge=1)
    input_side: int = paper(128, "slices of 128×128", ge=16)
    widths: tuple[int, ...] = paper((32, 64, 128, 128), "filters of the encoder")
    code_length: int = paper(128, "z", ge=1)
    dropout: float = paper(0.2, "on the code", ge=0, lt=1)
    batch_norm: bool = paper(False, "off in all its results (the author, issue 7)")


class VAESettings(AutoencoderSettings):
    """Hyper-parameters of VAE."""

    dropout: float = ours(0.0, "the published code drops parts of μ and log σ: log σ = 0 is σ = 1")
    weight_kl: float = paper(1.0, "sum of |x − x̂| and sum of KL, 1 : 1", ge=0)


class Encoder(nn.Module):
    """Slices → what the heads of the code see: (n, flat)."""

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width in settings.widths:
            layers.append(nn.Conv2d(before, width, 5, stride=2, padding=2))
            layers += [nn.BatchNorm2d(width)] * settings.batch_norm + [nn.LeakyReLU(_SLOPE)]
            before = width
        self.layers = nn.Sequential(*layers)
        self.squeeze = nn.Conv2d(before, before // 8, 1)
        self.grid = settings.input_side // 2 ** len(settings.widths)
        self.flat = before // 8 * self.grid**2

    def forward(self, slices: Tensor) -> Tensor:
        squeezed: Tensor = self.squeeze(self.layers(slices))
        return squeezed.flatten(1)


class Decoder(nn.Module):
    """Code (n, z) → slices, linear output."""

    def __init__(self, settings: AutoencoderSettings, encoder: Encoder) -> None:
        super().__init__()
        last = settings.widths[-1]
        self.shape = (last // 8, encoder.grid, encoder.grid)
        self.widen = nn.Linear(settings.code_length, encoder.flat)
        self.dropout = nn.Dropout(settings.dropout)
        layers: list[nn.Module] = [nn.Conv2d(last // 8, last, 1)]
        layers += [nn.BatchNorm2d(last)] * settings.batch_norm + [nn.ReLU()]
        before = last
        for width in (*reversed(settings.widths[:-1]), settings.widths[0]):
            layers.append(
                nn.ConvTranspose2d(before, width, 5, stride=2, padding=2, output_padding=1)
            )
            layers += [nn.BatchNorm2d(width)] * settings.batch_norm + [nn.LeakyReLU(_SLOPE)]
            before = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 1))

    def forward(self, code: Tensor) -> Tensor:
        slices: Tensor = self.layers(self.dropout(self.widen(code)).unflatten(1, self.shape))
        return slices


class AutoencoderNetwork(nn.Module):
    """Encoder, one or two dense heads, decoder."""

    def __init__(self, settings: AutoencoderSettings, heads: int) -> None:
        super().__init__()
        self.encoder = Encoder(settings)
        flat = self.encoder.flat
        self.heads = nn.ModuleList(nn.Linear(flat, settings.code_length) for _ in range(heads))
        self.dropout = nn.Dropout(settings.dropout)
        self.decoder = Decoder(settings, self.encoder)

    def codes(self, slices: Tensor) -> list[Tensor]:
        """What each head says: (n, z)."""
        seen = self.encoder(slices)
        return [self.dropout(head(seen)) for head in self.heads]


class AE(RestoringMethod):
    """An autoencoder whose dense code holds no lesion, since it never saw one."""

    name = "AE"
    Settings = AutoencoderSettings
    settings: AutoencoderSettings
    network: AutoencoderNetwork
    own_training = MappingProxyType({"beta1": (0.5, "the published code")})
    heads = 1

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        _check_side(self.settings)
        self.network = AutoencoderNetwork(self.settings, self.heads)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> AutoencoderSettings:
        return cls.Settings.model_validate(_demo() if configuration.is_small else {})

    @property
    def side(self) -> int:
        return self.settings.input_side

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        (code,) = self.network.codes(slices)
        loss = absolute_error(self.network.decoder(code), slices)
        return {"loss": loss, "recon": loss}

    def restore(self, slices: Tensor, brain: Tensor) -> Tensor:
        restored: Tensor = self.network.decoder(self.network.codes(slices)[0])
        return restored


class VAE(AE):
    """The variational one: z = μ + ε·σ while it learns, z = μ when asked (theirs draws once)."""

    name = "VAE"
    Settings = VAESettings
    settings: VAESettings
    heads = 2

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> VAESettings:
        if not configuration.is_small:
            return VAESettings()
        # Of 64² pixels instead of 128²: the sums keep their balance.
        return VAESettings.model_validate(_demo() | {"weight_kl": 0.25})

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        mean, log_sigma = self.network.codes(slices)
        code = mean + torch.randn_like(mean) * log_sigma.exp()
        recon = absolute_error(self.network.decoder(code), slices)
        divergence = kl_per_dimension(mean, log_sigma).sum(dim=1).mean()
        loss = recon + self.settings.weight_kl * divergence
        return {"loss": loss, "recon": recon, "kl": divergence}

    @torch.no_grad()
    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """Share of the code's dimensions that say nothing, beside what every restoration has."""
        figures = super().watch(batch)
        slices, _ = drawn_slices(batch, self.settings.slices_per_step)
        mean, log_sigma = self.network.codes(self._sized(slices))
        per_dimension = kl_per_dimension(mean, log_sigma).mean(dim=0)
        return figures | {"dead_dimensions": (per_dimension < _DEAD_KL).float().mean()}

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        known = super().warnings(figures)
        dead = figures.get("dead_dimensions", 0.0)
        if dead <= _MOST_DEAD:
            return known
        return [
            *known,
            f"the posterior has collapsed: {dead:.0%} of the code's dimensions say nothing. Try a "
            "lower method.settings.weight_kl",
        ]


def absolute_error(restored: Tensor, slices: Tensor) -> Tensor:
    """Mean over the batch of Σ_pixels |x − x̂|."""
    return (restored - slices).abs().flatten(1).sum(dim=1).mean()


def kl_per_dimension(mean: Tensor, log_sigma: Tensor) -> Tensor:
    """KL of N(μ, σ²) from N(0, 1): ½ (μ² + σ² − log σ² − 1), (n, z) → (n, z)."""
    mean, log_sigma = at_least_single(mean), at_least_single(log_sigma)
    return 0.5 * (mean.square() + (2 * log_sigma).exp() - 2 * log_sigma - 1)


def _demo() -> dict[str, object]:
    """Widths for coarse grids."""
    return {"input_side": 64, "widths": (8, 16, 32), "code_length": 32, "slices_per_step": 32}


def _check_side(settings: AutoencoderSettings) -> None:
    factor = 2 ** len(settings.widths)
    if settings.input_side % factor:
        rule = f"the code is {factor} times coarser: it must be a multiple of {factor}"
        raise PlansError("method.settings.input_side", settings.input_side, rule)
