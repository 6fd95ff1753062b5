"""Hyper-parameters of PHANES."""

from __future__ import annotations

from dal_auto.errors import PlansError
from dal_auto.methods.coarse import CoarseSettings, require_lpips, require_named
from dal_auto.schema import ours, paper


class PHANESSettings(CoarseSettings):
    """Of the published code, but where a source says otherwise."""

    slices_per_step: int = paper(8, "its batch", ge=2)
    input_side: int = paper(128, "slices of 128×128; dilations of 8 want 40", ge=40)
    widths: tuple[int, ...] = paper((64, 128, 256, 512, 512), "of the introspective VAE")
    code_length: int = paper(128, "z", ge=1)
    inpainter_width: int = paper(64, "of the inpainter's first layer", ge=4)
    inpainter_blocks: int = paper(8, "of aggregated contextual transformations", ge=1)
    discriminator_width: int = paper(64, "of its first layer", ge=1)
    threshold: float = paper(0.153, "τ of the mask, until calibration finds its own", ge=0)
    training_threshold: float = paper(0.1, "τ of the masks that the inpainter learns on", ge=0)
    unlike_sigma: float = paper(2.0, "of LPIPS's map, in pixels", ge=0)
    mask_sigma: float = paper(1.2, "of the mask, in pixels", ge=0)
    least_mask: float = paper(0.1, "of the smoothed mask, above which is restored", ge=0, lt=1)
    weight_recon: float = paper(0.5, "β of the squared error", ge=0)
    weight_kl: float = paper(1.0, "β of the code", ge=0)
    weight_negative: float = paper(128.0, "β of the code of what the decoder makes up", ge=0)
    weight_again: float = paper(1e-8, "γ, of restorations of restorations", ge=0)
    weight_embedding: float = paper(0.005, "of features of a slice and its restoration", ge=0)
    ellipses: int = paper(10, "at random, of the masks that the inpainter learns on", ge=0)
    ellipse_mean: float = paper(2.0, "of their half axes, in pixels")
    ellipse_sd: float = paper(4.0, "the same", ge=0)
    ellipse_least: float = paper(2.0, "the same", ge=0)
    centres_within: float = paper(0.5, "middle share of each axis", gt=0, le=1)
    weight_l1: float = paper(1.0, "of the inpainted slice", ge=0)
    weight_style: float = paper(250.0, "of VGG's Gram matrices", ge=0)
    weight_perceptual: float = paper(0.1, "of VGG's features", ge=0)
    weight_adversarial: float = paper(0.01, "in the text; the code leaves it out", ge=0)
    soft_mask_sigma: float = ours(2.5, "of what the discriminator is to say; AOT-GAN: 10 of 512")
    vgg_weights: str = ours("", "file of VGG-19's weights, safetensors; nothing is downloaded")
    vgg_sha256: str = ours("", "of that file", pattern=r"^([0-9a-fA-F]{64})?$")

    @property
    def grid(self) -> int:
        """Edge of the last features, from which the code is made."""
        return self.input_side // 2 ** len(self.widths)


def check(settings: PHANESSettings) -> None:
    """Refuse what cannot be, by its key.

    Raises
    ------
    PlansError
        for sizes that do not fit each other.
    InputError
        where weights are wanted and no file is named.
    """
    s, prefix = settings, "method.settings"
    factor = max(2 ** len(s.widths), 32 if s.perceptual == "lpips" else 8)
    if s.input_side % factor:
        raise PlansError(f"{prefix}.input_side", s.input_side, f"a multiple of {factor}")
    if s.inpainter_width % 4:
        raise PlansError(f"{prefix}.inpainter_width", s.inpainter_width, "a multiple of 4")
    require_lpips(s, "PHANES")
    who = "PHANES is trained by what VGG-19 sees"
    require_named(s, "vgg", who, "torchvision's vgg19 features.*")
