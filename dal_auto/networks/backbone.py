"""Trunks of ResNets and VGGs, weights named as torchvision's, and weights from the user's file.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016; Zagoruyko,
Komodakis, "Wide residual networks", BMVC 2016; Simonyan, Zisserman, "Very deep convolutional
networks for large-scale image recognition", ICLR 2015. Layers after torchvision, which is no
dependency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import InputError

Backbone = Literal["wide_resnet50_2", "resnet18", "vgg16", "vgg19"]
#: Weights of this one come by an extra.
LITE2: Final = "efficientnet-lite2"
PretrainedBackbone = Literal[Backbone, "efficientnet-lite2"]

#: Of ImageNet's colours in [0, 1].
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_COUNTER = "num_batches_tracked"  # of batch norm; no figure depends on it, old files lack it


@dataclass(frozen=True)
class Architecture:
    """How a ResNet is built.

    Parameters
    ----------
    depths : blocks in each of the four stages
    bottleneck : blocks of 1×1, 3×3, 1×1 convolutions, four times as wide outside; else 3×3, 3×3
    inner : width of a bottleneck's 3×3 convolution, in shares of the stage's
    """

    depths: tuple[int, int, int, int]
    bottleneck: bool
    inner: int = 1

    @property
    def expansion(self) -> int:
        return 4 if self.bottleneck else 1


ARCHITECTURES: dict[str, Architecture] = {
    "resnet18": Architecture((2, 2, 2, 2), bottleneck=False),
    "wide_resnet50_2": Architecture((3, 4, 6, 3), bottleneck=True, inner=2),
}


class Block(nn.Module):
    """One residual block.

    Parameters
    ----------
    before, width : channels that come in, and of the stage; `expansion` times as many go out
    stride : 2 halves the slice; −2 doubles it, by transposed convolutions of 2×2
    """

    def __init__(self, kind: Architecture, before: int, width: int, stride: int) -> None:
        super().__init__()
        inner, after = kind.inner * width, kind.expansion * width
        # (channels, kernel, stride) of each convolution
        shapes = [(inner, 3, stride), (after, 3, 1)]
        if kind.bottleneck:
            shapes = [(inner, 1, 1), (inner, 3, stride), (after, 1, 1)]
        source = before
        for number, (channels, kernel, step) in enumerate(shapes, start=1):
            self.add_module(f"conv{number}", _convolution(source, channels, kernel, step))
            self.add_module(f"bn{number}", nn.BatchNorm2d(channels))
            source = channels
        self.convolutions = len(shapes)
        self.downsample = (
            nn.Sequential(_convolution(before, after, 1, stride), nn.BatchNorm2d(after))
            if stride != 1 or before != after
            else None
        )

    def forward(self, features: Tensor) -> Tensor:
        x = features
        for number in range(1, self.convolutions + 1):
            x = F.relu(x) if number > 1 else x
            x = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(x))
        straight = features if self.downsample is None else self.downsample(features)
        return F.relu(x + straight)


def _convolution(before: int, channels: int, kernel: int, stride: int) -> nn.Module:
    layer: nn.Conv2d | nn.ConvTranspose2d
    if stride < 0:
        layer = nn.ConvTranspose2d(before, channels, -stride, stride=-stride, bias=False)
    else:
        layer = nn.Conv2d(before, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class FeatureTrunk(nn.Module):
    """A classifier's layers without its head: grey slices → the features of each stage.

    Parameters
    ----------
    normalise : whether slices are brought to the colours' mean and deviation in ImageNet
    """

    #: Whether each stage ends in a ReLU, so that its features are never negative.
    rectified = True

    def __init__(self, backbone: str, stages: int, normalise: bool = True) -> None:
        super().__init__()
        self.backbone, self.stages, self.normalise = backbone, stages, normalise
        #: Channels of each stage.
        self.widths: tuple[int, ...] = ()

    @property
    def stride(self) -> int:
        """Pixels per position of the last stage; sizes should be multiples of it."""
        raise NotImplementedError

    def forward(self, slices: Tensor) -> list[Tensor]:
        """Grey slices (n, 1, h, w) in [0, 1] → (n, C, h', w') of each stage."""
        return self.stages_of(self.colours(slices))

    def stages_of(self, colours: Tensor) -> list[Tensor]:
        """The same of colours (n, 3, h, w) as the first layer wants them."""
        raise NotImplementedError

    def colours(self, slices: Tensor) -> Tensor:
        """Grey slices (n, 1, h, w) in [0, 1] → (n, 3, h, w) as the first layer wants them."""
        if not self.normalise:
            return slices.expand(-1, 3, -1, -1)
        mean, deviation = (slices.new_tensor(one)[:, None, None] for one in (_MEAN, _STD))
        return (slices - mean) / deviation


class Trunk(FeatureTrunk):
    """A ResNet without its classifier, up to one of its stages.

    Parameters
    ----------
    stages : how many of the four there are
    stem_width : channels of the first layer; weights for ImageNet have 64
    """

    def __init__(self, backbone: Backbone, stages: int, stem_width: int = 64) -> None:
        super().__init__(backbone, stages)
        kind = ARCHITECTURES[backbone]
        self.conv1 = _convolution(3, stem_width, 7, 2)
        self.bn1 = nn.BatchNorm2d(stem_width)
        before = stem_width
        for number, depth in enumerate(kind.depths[:stages], start=1):
            width = stem_width * 2 ** (number - 1)
            blocks = []
            for index in range(depth):
                blocks.append(Block(kind, before, width, 2 if number > 1 and index == 0 else 1))
                before = kind.expansion * width
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            self.widths += (before,)

    @property
    def stride(self) -> int:
        return int(2 ** (self.stages + 1))

    def stages_of(self, colours: Tensor) -> list[Tensor]:
        """h' is h/4 in the first stage, then half of it in each."""
        x = F.relu(self.bn1(self.conv1(colours)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        stages = []
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
            stages.append(x)
        return stages


#: Convolutions before each pool; widths are 1, 2, 4, 8 and 8 times the first.
VGG_DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class VGG(FeatureTrunk):
    """A VGG without batch norm and classifier, up to one of its pools.

    Parameters
    ----------
    stages : how many of the five pools there are
    stem_width : channels of the first layer; weights for ImageNet have 64
    """

    def __init__(
        self, backbone: Backbone, stages: int, stem_width: int = 64, normalise: bool = True
    ) -> None:
        super().__init__(backbone, stages, normalise)
        layers: list[nn.Module] = []
        before = 3
        for number, depth in enumerate(VGG_DEPTHS[backbone][:stages]):
            width = stem_width * min(2**number, 8)
            for _ in range(depth):
                convolution = nn.Conv2d(before, width, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                layers += [convolution, nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2))
            self.widths += (width,)
        self.features = nn.Sequential(*layers)

    @property
    def stride(self) -> int:
        return int(2**self.stages)

    def stages_of(self, colours: Tensor) -> list[Tensor]:
        """What each pool gives."""
        walked = zip(self.walk(colours), self.features, strict=True)
        return [x for x, layer in walked if isinstance(layer, nn.MaxPool2d)]

    def walk(self, colours: Tensor) -> Iterator[Tensor]:
        """What every layer gives."""
        x = colours
        for layer in self.features:
            x = layer(x)
            yield x


class Decoder(nn.Module):
    """From a trunk's last stage back to slices: doubled, convolved and halved in width each time.

    There are no skips: what the slice is made from again must be in that stage.
    """

    def __init__(self, trunk: FeatureTrunk) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = trunk.widths[-1]
        for _ in range(trunk.stride.bit_length() - 1):
            width = max(before // 2, 8)
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, width, 3, padding=1)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, padding=1))

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        slices: Tensor = self.layers(stages[-1])
        return slices


def source_of(backbone: str) -> str:
    """Whose weights are meant: torchvision's for ImageNet, or those of a network with a name."""
    known = backbone in get_args(Backbone)
    return f"torchvision's {backbone} (IMAGENET1K_V1)" if known else backbone


def require_weights(path: str, sha256: str, backbone: str) -> Path:
    """The file of a backbone's weights, its checksum as stated. Nothing is ever downloaded.

    Raises
    ------
    InputError
        if it is not named, not there, or another one.
    """
    wanted = f"weights of {source_of(backbone)} as safetensors"
    if not path or not sha256:
        lacking = "weights" if not path else "weights_sha256"
        raise InputError(f"method.settings.{lacking}", "it is empty", f"Wanted: {wanted}.")
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(file, "no such file", f"Put the {wanted} there.")
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    if checksum != sha256.lower():
        raise InputError(
            file,
            f"its SHA-256 is {checksum}, and the plans want {sha256.lower()}",
            "Fetch the file again, or state its checksum if you trust it.",
        )
    return file


def load_weights(trunk: FeatureTrunk, file: Path) -> None:
    """Give a trunk the weights in a file; classifier and later stages are left out.

    Raises
    ------
    InputError
        if it is not safetensors (nothing is unpickled), or of another architecture.
    """
    remedy = (
        f"Weights of {source_of(trunk.backbone)} are wanted, as safetensors. A .pth is not "
        "opened here; where it comes from its maker, convert it once: "
        "safetensors.torch.save_file(torch.load(PTH, weights_only=True), FILE)."
    )
    try:
        given = load_file(file)
    except (SafetensorError, OSError) as error:
        raise InputError(file, "it is no safetensors file, and was not opened", remedy) from error
    ours = trunk.state_dict()
    parts = {name.split(".")[0] for name in ours}
    theirs = {n: t for n, t in given.items() if n.split(".")[0] in parts}
    for name in dict.fromkeys([*ours, *theirs]):
        here, there = (
            tuple(weights[name].shape) if name in weights else "missing"
            for weights in (ours, theirs)
        )
        if here != there and not name.endswith(_COUNTER):
            finding = f"{name} is {there} in it, and {here} in {trunk.backbone}"
            raise InputError(file, finding, remedy)
    whole = {n: theirs.get(n, torch.zeros_like(t)) for n, t in ours.items()}
    trunk.load_state_dict(whole)
