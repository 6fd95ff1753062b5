"""Windows: what a network says in them is what it says of the whole, and each is small."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from dal_auto.inference.sliding_window import in_windows
from dal_auto.networks.anatomy import AnatomyExtractor
from dal_auto.networks.restoration import CodeEncoder, RepresentationCombiner

triples = st.tuples(*[st.integers(1, 3)] * 3)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(7, 12)] * 3),
    window=st.tuples(*[st.integers(1, 8)] * 3),
    kernel=triples,
    stride=triples,
    dilation=triples,
    padding=st.tuples(*[st.integers(0, 3)] * 3) | st.sampled_from([0, 1, "valid"]),
    groups=st.sampled_from([1, 2]),
)
def test_a_convolution_in_windows_is_the_convolution(
    size, window, kernel, stride, dilation, padding, groups
):
    weight, bias, volume = noise(4, 2 // groups, *kernel), noise(4), noise(1, 2, *size)

    def network(x: Tensor) -> Tensor:
        return F.conv3d(x, weight, bias, stride, padding, dilation, groups)

    found = in_windows(network, volume, window)
    torch.testing.assert_close(found, network(volume), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_padding_that_keeps_the_size_is_known_by_its_name(kernel):
    layer = nn.Conv3d(1, 2, kernel, padding="same", dilation=2).requires_grad_(False)
    volume = noise(1, 1, 9, 8, 7)
    found = in_windows(layer, volume, (4, 8, 3))
    torch.testing.assert_close(found, layer(volume), rtol=1e-5, atol=1e-6)


def dal(statistics: str) -> nn.Module:
    """DAL's three networks that run in windows, in a row, with random weights."""
    torch.manual_seed(0)
    anatomy = AnatomyExtractor((4, 8, 16), 3)
    encoder, combiner = CodeEncoder(3, 4, 1, (4, 8)), RepresentationCombiner(4, 1, 5)
    vector = torch.rand(1, 5)

    class Row(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([anatomy, encoder, combiner])

        def forward(self, x: Tensor) -> Tensor:
            brain = (x > 0.2).to(x.dtype) if statistics == "brain" else None
            return combiner(encoder(anatomy(x, brain).softmax(1), brain), vector, brain)

    return Row().requires_grad_(False)


@pytest.mark.parametrize("statistics", ["brain", "grid"])
@pytest.mark.parametrize("window", [(8, 10, 6), (24, 5, 16), (1, 20, 16)])
def test_networks_that_normalise_and_see_far_say_what_they_say_of_the_whole(statistics, window):
    network, volume = dal(statistics), noise(1, 1, 24, 20, 16)
    whole = network(volume)
    assert whole.std() > 0.01, "it says something"
    found = in_windows(network, volume, window)
    assert found.shape == whole.shape
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-4)


class Convolutions(TorchDispatchMode):
    """Notes the sizes of what goes into convolutions, and comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Size, torch.Size]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.seen.append((args[0].shape[2:], result.shape[2:]))
        return result


def test_no_convolution_holds_more_than_a_window_and_its_margin():
    window = (8, 10, 6)
    with Convolutions() as convolutions:
        in_windows(dal("brain"), noise(1, 1, 48, 40, 32), window)
    assert len(convolutions.seen) > 8 * 4**3
    for given_size, size in convolutions.seen:
        assert all(a <= most for a, most in zip(size, window, strict=True))
        assert all(a <= 2 * most + 2 for a, most in zip(given_size, window, strict=True))


@pytest.mark.parametrize("window", [(8, 9, 10), (16, 16, 16)])
def test_a_volume_in_one_window_is_one_plain_call(window):
    calls = []

    def network(x: Tensor) -> Tensor:
        calls.append(x)
        return x.half()

    volume = noise(1, 3, 8, 9, 10)
    result = in_windows(network, volume, window)
    assert calls[0] is volume and len(calls) == 1
    assert result.dtype == torch.float32 and torch.equal(result, volume.half().float())


def test_the_memory_layout_is_kept():
    layer = nn.Conv3d(2, 4, 3, padding=1).requires_grad_(False)
    seen = []

    def network(x: Tensor) -> Tensor:
        seen.append(layer(x))
        return seen[-1]

    volume = noise(1, 2, 9, 8, 7)
    for given_volume, expected in ((volume, False), (volume.contiguous(
        memory_format=torch.channels_last_3d), True)):  # fmt: skip
        in_windows(network, given_volume, (4, 4, 4))
        assert seen[-1].is_contiguous(memory_format=torch.channels_last_3d) is expected


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a second memory: a GPU's")
def test_a_network_on_a_device_takes_volumes_from_the_host():
    network, volume = dal("brain").cuda(), noise(1, 1, 48, 40, 32).cuda()
    whole = network(volume)
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    found = in_windows(network, volume, (8, 8, 8))
    assert found.device == volume.device
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-3)
    assert torch.cuda.max_memory_allocated() - held < 4 * volume.nbytes
