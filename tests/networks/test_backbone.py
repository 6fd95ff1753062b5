"""ResNet trunks: sizes and names of the published ones, and which weights they take."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from dal_auto.errors import InputError
from dal_auto.networks.backbone import (
    VGG,
    Architecture,
    Block,
    Decoder,
    PretrainedBackbone,
    Trunk,
    load_weights,
    require_weights,
)
from dal_auto.networks.trunks import make_trunk


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("backbone", "published"), [("wide_resnet50_2", 68_883_240), ("resnet18", 11_689_512)]
)
def test_with_a_classifier_they_are_as_large_as_torchvision_says(backbone, published):
    with torch.device("meta"):
        trunk = Trunk(backbone, 4)
    assert count(trunk) + trunk.widths[-1] * 1000 + 1000 == published


@pytest.mark.parametrize(
    ("backbone", "published"), [("vgg16", 138_357_544), ("vgg19", 143_667_240)]
)
def test_vggs_with_a_classifier_are_as_large_as_torchvision_says(backbone, published):
    with torch.device("meta"):
        trunk = VGG(backbone, 5)
    classifier = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert count(trunk) + classifier == published


def test_a_vgg_gives_what_each_pool_gives_and_its_layers_have_torchvisions_numbers():
    vgg = VGG("vgg16", 5, stem_width=8)
    pools = [n for n, layer in enumerate(vgg.features) if isinstance(layer, torch.nn.MaxPool2d)]
    assert pools == [4, 9, 16, 23, 30]
    shapes = [tuple(stage.shape) for stage in vgg(torch.rand(2, 1, 64, 32))]
    widths = (8, 16, 32, 64, 64)
    assert shapes == [(2, w, 32 >> n, 16 >> n) for n, w in enumerate(widths)]
    assert vgg.widths == widths and vgg.stride == 32


def test_the_trunk_of_patchcore_is_as_large_as_its_layers_add_up_to():
    """Wide ResNet-50-2 to stage 3: bottlenecks of 2p, 2p and 4p channels, norms 2 a channel."""
    total, before = 3 * 64 * 49 + 2 * 64, 64
    for p, depth in ((64, 3), (128, 4), (256, 6)):
        inner, after = 2 * p, 4 * p
        for _ in range(depth):
            total += before * inner + 9 * inner**2 + inner * after + 2 * (2 * inner + after)
            if before != after:
                total += before * after + 2 * after
            before = after
    with torch.device("meta"):
        assert count(Trunk("wide_resnet50_2", 3)) == total == 24_862_528


def test_stages_halve_the_slice_and_sizes_that_are_no_multiples_pass():
    with torch.device("meta"):
        trunk = Trunk("wide_resnet50_2", 3)
        shapes = [tuple(stage.shape) for stage in trunk(torch.empty(2, 1, 160, 224))]
    assert shapes == [(2, 256, 40, 56), (2, 512, 20, 28), (2, 1024, 10, 14)]
    assert trunk.stride == 16
    narrow = Trunk("resnet18", 2, stem_width=8).eval()
    assert [tuple(s.shape[1:]) for s in narrow(torch.rand(1, 1, 30, 20))] == [(8, 8, 5), (16, 4, 3)]


def test_names_are_torchvisions():
    with torch.device("meta"):
        names = set(Trunk("wide_resnet50_2", 4).state_dict())
        plain = set(Trunk("resnet18", 4).state_dict())
    assert {
        "conv1.weight", "bn1.running_var", "layer1.0.conv3.weight", "layer1.0.downsample.1.bias",
        "layer4.2.bn3.weight", "layer3.5.conv2.weight",
    } <= names  # fmt: skip
    assert "layer1.1.downsample.0.weight" not in names and len(names) == 318
    assert "layer1.0.downsample.0.weight" not in plain and "layer2.0.downsample.0.weight" in plain
    assert "layer1.0.conv3.weight" not in plain and len(plain) == 120


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_is_the_published_one(bottleneck, stride):
    """Written down again with functions: the stride is in the 3×3 convolution."""
    block = Block(
        Architecture((1, 1, 1, 1), bottleneck, inner=2 if bottleneck else 1), 8, 4, stride
    )
    for name, buffer in block.named_buffers():
        if "num" not in name:
            buffer.uniform_(0.5, 1.5)
    block.eval()
    w = block.state_dict()

    def layer(x: torch.Tensor, number: int, stride: int = 1, padding: int = 1) -> torch.Tensor:
        return normed(
            F.conv2d(x, w[f"conv{number}.weight"], stride=stride, padding=padding), f"bn{number}"
        )

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(w[f"{name}.{one}"] for one in names))

    x = torch.randn(2, 8, 9, 7)
    if bottleneck:
        inner = layer(x, 1, padding=0).relu()
        found = layer(layer(inner, 2, stride).relu(), 3, padding=0)
    else:
        found = layer(layer(x, 1, stride).relu(), 2)
    straight = x
    if "downsample.0.weight" in w:
        straight = normed(F.conv2d(x, w["downsample.0.weight"], stride=stride), "downsample.1")
    torch.testing.assert_close(block(x), (found + straight).relu())


def test_grey_becomes_three_normalised_colours():
    trunk = Trunk("resnet18", 1, stem_width=4).eval()
    seen = []
    trunk.conv1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    trunk(torch.full((1, 1, 8, 8), 0.5))
    expected = [
        (0.5 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ]
    torch.testing.assert_close(seen[0][0, :, 3, 3], torch.tensor(expected))


@pytest.mark.parametrize("stages", [1, 3])
def test_a_decoder_gives_the_slices_size_back(stages):
    trunk = Trunk("resnet18", stages, stem_width=8)
    slices = torch.rand(2, 1, 2 * trunk.stride, 3 * trunk.stride)
    assert Decoder(trunk)(trunk(slices)).shape == slices.shape


# Weights


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def whole(tmp_path) -> Path:
    """All of a ResNet-18 with its classifier, as old files have it: without counters."""
    weights = {n: t for n, t in Trunk("resnet18", 4).state_dict().items() if "tracked" not in n}
    path = tmp_path / "resnet18.safetensors"
    save_file(weights | {"fc.weight": torch.rand(1000, 512), "fc.bias": torch.rand(1000)}, path)
    return path


def test_a_trunk_takes_its_part_of_a_whole_network(whole):
    torch.manual_seed(7)
    trunk, other = Trunk("resnet18", 3), Trunk("resnet18", 4)
    load_weights(trunk, whole)
    load_weights(other, whole)
    for name, weight in trunk.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])
    assert trunk.conv1.weight.std() > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("layer2.0.conv1.weight"), r"layer2\.0\.conv1\.weight is missing"),
        (lambda w: w.update({"bn1.bias": torch.zeros(32)}), r"is \(32,\) in it, and \(64,\)"),
        (lambda w: w.update({"layer1.2.conv1.weight": torch.zeros(1)}), r"layer1\.2.*and missing"),
    ],
    ids=["missing", "another shape", "deeper"],
)  # fmt: skip
def test_weights_of_another_network_are_refused_by_name(tmp_path, change, said):
    weights = dict(Trunk("resnet18", 2).state_dict())
    change(weights)
    save_file(weights, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=said):
        load_weights(Trunk("resnet18", 2), tmp_path / "x.safetensors")


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "resnet18.pth"
    torch.save(Trunk("resnet18", 1).state_dict(), path)
    with pytest.raises(InputError, match=r"no safetensors file.*convert it once"):
        load_weights(Trunk("resnet18", 1), path)


def test_the_checksum_decides_whether_a_file_is_taken(whole):
    sha256 = digest(whole)
    assert require_weights(str(whole), sha256, "resnet18") == whole
    assert require_weights(str(whole), sha256.upper(), "resnet18") == whole
    with whole.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(
        InputError, match=f"SHA-256 is {digest(whole)}, and the plans want {sha256}"
    ):
        require_weights(str(whole), sha256, "resnet18")


def test_a_file_that_is_not_there_or_not_named_is_said(tmp_path):
    gone = tmp_path / "gone.safetensors"
    with pytest.raises(
        InputError, match=r"no such file.*wide_resnet50_2.*safetensors there"
    ) as caught:
        require_weights(str(gone), "0" * 64, "wide_resnet50_2")
    assert caught.value.file == gone
    for path, sha256, key in (("", "0" * 64, "weights"), (str(gone), "", "weights_sha256")):
        with pytest.raises(InputError, match=rf"method\.settings\.{key}: it is empty"):
            require_weights(path, sha256, "resnet18")


def test_every_backbone_can_be_made():
    for backbone in get_args(PretrainedBackbone):
        with torch.device("meta"):
            trunk = make_trunk(backbone, 3)
            stages = trunk(torch.empty(1, 1, 32, 32))
        assert [stage.shape[1] for stage in stages] == list(trunk.widths)
        assert stages[-1].shape[2] * trunk.stride == 32
