"""A discriminator of patches: how real a slice looks, place by place.

Isola, Zhu, Zhou, Efros, "Image-to-image translation with conditional adversarial networks", CVPR
2017; spectral normalisation after Miyato et al., ICLR 2018; errors are squared (Mao et al., "Least
squares generative adversarial networks", ICCV 2017).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from dal_auto.networks.frozen import frozen

_SLOPE = 0.2
#: Layers that halve the grid; the others keep it, but for a pixel.
_HALVING = 3


class PatchDiscriminator(nn.Sequential):
    """4×4 convolutions, the last one to one channel: (n, 1, h, w) → (n, 1, h', w').

    Parameters
    ----------
    width : of the first layer; the others have 2, 4 and 8 times as many. 64 as published.
    """

    def __init__(self, width: int = 64) -> None:
        layers: list[nn.Module] = []
        before = 1
        for number in range(4):
            after, stride = width * 2**number, 2 if number < _HALVING else 1
            convolution = nn.Conv2d(before, after, 4, stride, padding=1, bias=False)
            layers += [spectral_norm(convolution), nn.LeakyReLU(_SLOPE)]
            before = after
        super().__init__(*layers, nn.Conv2d(before, 1, 4, padding=1))


def players_losses(discriminator: nn.Module, made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of who makes slices and of who tells them apart; neither reaches the other's weights.

    Returns
    -------
    of the maker, of the discriminator
    """
    maker = (frozen(discriminator)(made) - 1).square().mean()
    taken, given = discriminator(made.detach()), discriminator(real)
    return maker, (taken.square().mean() + (given - 1).square().mean()) / 2
