"""Trunks by their names."""

from __future__ import annotations

from dal_auto.networks.backbone import (
    VGG,
    VGG_DEPTHS,
    FeatureTrunk,
    PretrainedBackbone,
    Trunk,
)
from dal_auto.networks.efficientnet import EfficientNetLite2


def make_trunk(backbone: PretrainedBackbone, stages: int, stem_width: int = 64) -> FeatureTrunk:
    """A trunk by its name, its weights drawn at random.

    Parameters
    ----------
    stem_width : channels of the first layer; weights for ImageNet have 64. Of no concern for
        EfficientNet-Lite2.
    """
    if backbone == "efficientnet-lite2":
        return EfficientNetLite2(stages)
    if backbone in VGG_DEPTHS:
        return VGG(backbone, stages, stem_width)
    return Trunk(backbone, stages, stem_width)
