"""How far slices are from each other in what VGG-19 sees, and in their style.

Johnson, Alahi, Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution",
ECCV 2016; Gatys, Ecker, Bethge, "Image style transfer using convolutional neural networks", CVPR
2016. Layers after AOT-GAN (Zeng et al., IEEE TVCG 2022).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto.networks.backbone import VGG

#: relu1_1, 2_1, 3_1, 4_1 and 5_1; relu2_2, 3_4, 4_4 and 5_2.
_SEEN, _STYLE = (1, 6, 11, 20, 29), (8, 17, 26, 31)
#: Pools of a VGG-19 in which all of these are.
STAGES = 5


def perceptual_losses(vgg: VGG, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over layers of the mean absolute difference.

    Parameters
    ----------
    vgg : a frozen VGG-19
    found, wanted : (n, 1, h, w) in [0, 1]

    Returns
    -------
    of features, and of their Gram matrices
    """
    seen = style = torch.zeros((), device=found.device)
    pairs = zip(vgg.walk(vgg.colours(found)), vgg.walk(vgg.colours(wanted)), strict=True)
    for number, (one, other) in enumerate(pairs):
        if number in _SEEN:
            seen = seen + F.l1_loss(one, other)
        if number in _STYLE:
            style = style + F.l1_loss(gram(one), gram(other))
        if number == _STYLE[-1]:
            break
    return seen, style


def gram(features: Tensor) -> Tensor:
    """(n, C, h, w) → (n, C, C) products of channels, in shares of the number of features."""
    flat = features.flatten(2)
    return flat @ flat.mT / features[0].numel()
