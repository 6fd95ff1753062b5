"""PHANES: a VAE says what is not healthy, and an inpainter makes that part anew.

Bercea, Wiestler, Rueckert, Schnabel, "Reversing the abnormal: pseudo-healthy generative networks
for anomaly detection", MICCAI 2023. Sizes and numbers follow the published code, ci-ber/PHANES
(GPL-3.0; read for facts only), and AOT-GAN's paper for the inpainter's game.

Deviations: all brain slices train (theirs: the middle one of each T1); all four players step at
once (theirs: one after the other, by four Adams); z = μ when asked (theirs draws); the inpainter's
adversarial loss counts, as the text has it (the code leaves it out); the percentile is of each
slice's brain, and masks are smoothed within their slice (theirs: across the batch, too); the
threshold is sought on the coarse map, which it acts on (theirs: on the final one, and then not
used); the clamp of the inpainter's output passes gradients on; VGG sees slices as they are. Without
LPIPS's and VGG's weights only ``perceptual=none`` runs, whose maps are called l1: no S, no style,
no perceptual loss.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.methods.coarse import CoarseMethod, WithThreshold
from dal_auto.methods.method import Detection, Method, Tile
from dal_auto.methods.phanes import vae
from dal_auto.methods.phanes.inpainter import Inpainter, masked_game
from dal_auto.methods.phanes.settings import PHANESSettings, check
from dal_auto.methods.shapes import drawn_ellipses
from dal_auto.methods.slices import smoothed
from dal_auto.networks.backbone import VGG, load_weights, require_weights
from dal_auto.networks.clahe import equalised
from dal_auto.networks.frozen import frozen
from dal_auto.networks.patch_discriminator import PatchDiscriminator
from dal_auto.networks.perceptual import STAGES, perceptual_losses
from dal_auto.plans import ConfigurationPlan, Plans


class PHANESNetwork(WithThreshold):
    """Encoder and decoder; inpainter and discriminator; the threshold of the masks."""

    def __init__(self, settings: PHANESSettings) -> None:
        super().__init__(settings.threshold)
        self.encoder, self.decoder = vae.Encoder(settings), vae.Decoder(settings)
        self.inpainter = Inpainter(settings.inpainter_width, settings.inpainter_blocks)
        self.discriminator: nn.Module = nn.Identity()
        if settings.weight_adversarial:
            self.discriminator = PatchDiscriminator(settings.discriminator_width)


class PHANES(CoarseMethod):
    """Reversing the abnormal."""

    name = "PHANES"
    Settings = PHANESSettings
    settings: PHANESSettings
    own_training = MappingProxyType({"learning_rate": (5e-5, "the published code")})
    network: PHANESNetwork

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        check(self.settings)
        self.network = PHANESNetwork(self.settings)
        self.vgg: VGG | None = None
        if self.lpips is not None:
            vgg = VGG("vgg19", STAGES)
            self.vgg = vgg.eval().requires_grad_(False)

    @classmethod
    def default_settings(cls, preset: str, configuration: ConfigurationPlan) -> PHANESSettings:
        if not configuration.is_small:
            return PHANESSettings()
        return PHANESSettings(
            input_side=64, widths=(16, 32, 64, 64), code_length=32, inpainter_width=16,
            inpainter_blocks=3, discriminator_width=16, slices_per_step=16,
        )  # fmt: skip

    @property
    def side(self) -> int:
        return self.settings.input_side

    def require_files(self) -> None:
        super().require_files()
        if self.vgg is not None:
            s = self.settings
            load_weights(self.vgg, require_weights(s.vgg_weights, s.vgg_sha256, "vgg19"))

    def to(self, device: str) -> Method:
        if self.vgg is not None:
            self.vgg.to(device)
        return super().to(device)

    def slice_losses(self, slices: Tensor, brain: Tensor) -> dict[str, Tensor]:
        losses, restored = self._introspective_losses(slices)
        parts = [losses["encoder"], losses["decoder"]]
        mask = self.training_mask(slices, restored, brain)
        inpainted = self.network.inpainter(slices, mask)
        losses["l1"] = F.l1_loss(inpainted, slices)
        parts.append(self.settings.weight_l1 * losses["l1"])
        if self.vgg is not None:
            losses["perceptual"], losses["style"] = perceptual_losses(self.vgg, inpainted, slices)
            parts.append(self.settings.weight_perceptual * losses["perceptual"])
            parts.append(self.settings.weight_style * losses["style"])
        if self.settings.weight_adversarial:
            completed = torch.lerp(slices, inpainted, mask)
            losses["adversarial"], losses["discriminator"] = masked_game(
                self.network.discriminator, completed, slices, mask, self.settings.soft_mask_sigma
            )
            parts.append(self.settings.weight_adversarial * losses["adversarial"])
            parts.append(losses["discriminator"])
        return {"loss": torch.stack(parts).sum(), **losses}

    def _introspective_losses(self, slices: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of encoder and decoder, and the restored slices without gradient."""
        s, encoder, decoder = self.settings, self.network.encoder, self.network.decoder
        scale = 1 / s.input_side**2

        def exponent(made: Tensor) -> tuple[Tensor, list[Tensor]]:
            """exp(−2 · the negative bound) of what the decoder made, for the encoder."""
            mean, log_variance, features = encoder(made)
            again = frozen(decoder)(vae.drawn_code(mean, log_variance))
            error, code = vae.squared_error(again, made), vae.kl(mean, log_variance)
            bound = scale * (s.weight_recon * error + s.weight_negative * code)
            return (-2 * bound).exp().mean(), features

        mean, log_variance, features = encoder(slices)
        code = vae.drawn_code(mean, log_variance)
        restored = frozen(decoder)(code)
        recon, code_kl = vae.squared_error(restored, slices).mean(), vae.kl(mean, log_variance)
        by_decoder = [decoder(code.detach()), decoder(torch.randn_like(code))]
        restored_exponent, restored_features = exponent(by_decoder[0].detach())
        made_exponent, _ = exponent(by_decoder[1].detach())
        embedding = vae.embedding_error(features, restored_features)
        loss_encoder = (
            scale * (s.weight_recon * recon + s.weight_kl * code_kl.mean())
            + (restored_exponent + made_exponent) / 4
            + s.weight_embedding * embedding
        )

        error = vae.squared_error(by_decoder[0], slices).mean()
        loss_decoder = scale * s.weight_recon * error
        for made in by_decoder:
            mean, log_variance, _ = frozen(encoder)(made)
            again = decoder(vae.drawn_code(mean, log_variance).detach())
            error = vae.squared_error(again, made.detach()).mean()
            fooling = s.weight_kl * vae.kl(mean, log_variance).mean()
            loss_decoder = loss_decoder + scale / 2 * (
                fooling + s.weight_again * s.weight_recon * error
            )
        losses = {"recon": recon * scale, "kl": code_kl.mean(), "embedding": embedding}
        losses |= {"encoder": loss_encoder, "decoder": loss_decoder}
        return losses, restored.detach()

    @torch.no_grad()
    def training_mask(self, slices: Tensor, restored: Tensor, brain: Tensor) -> Tensor:
        """Random ellipses, and where the coarse map is above its threshold for training."""
        s = self.settings
        coarse = self.coarse(slices, restored, brain)
        found = self._smooth_mask((coarse > s.training_threshold).float())
        axes = (s.ellipse_mean, s.ellipse_sd)
        drawn = drawn_ellipses(slices, s.ellipses, s.centres_within, axes, s.ellipse_least)
        return torch.maximum(found, drawn)

    def _smooth_mask(self, masked: Tensor) -> Tensor:
        return (smoothed(masked, self.settings.mask_sigma) > self.settings.least_mask).float()

    def first_restoration(self, slices: Tensor, numbers: range) -> Tensor:
        restored: Tensor = self.network.decoder(self.network.encoder(slices)[0])
        return restored

    def compared(self, slices: Tensor) -> Tensor:
        return equalised(slices)

    def unlike(self, slices: Tensor, restored: Tensor) -> Tensor | float:
        found = super().unlike(slices, restored)
        return found if isinstance(found, float) else smoothed(found, self.settings.unlike_sigma)

    def examine(
        self, slices: Tensor, brain: Tensor, numbers: range
    ) -> tuple[Tensor, dict[str, Tensor]]:
        first = self.first_restoration(slices, numbers)
        mask = self._smooth_mask(self.masked(self.coarse(slices, first, brain)))
        healthy = torch.lerp(slices, self.network.inpainter(slices, mask), mask)
        return healthy, {self.variant: (slices - healthy).abs() * self.unlike(slices, healthy)}

    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile: Tile) -> Detection:
        """Without S the map is |x − x_h|, which need not stand there twice."""
        found = super().detect(image, brain_mask, sequence, tile)
        if self.lpips is not None:
            return found
        return Detection({self.variant: found.scores[self.variant]}, found.pseudo_healthy)
