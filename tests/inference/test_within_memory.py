"""Memory that runs out: smaller windows with the same map, the CPU, and at last words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from dal_auto.case import Shape
from dal_auto.inference import within_memory as module
from dal_auto.inference.predictor import figure_volumes, predict
from dal_auto.inference.sliding_window import in_windows
from dal_auto.inference.within_memory import within_memory
from dal_auto.methods.method import Detection, Illustrated
from dal_auto.methods.raw_intensity import RawIntensity
from dal_auto.planning.advice import OutOfMemory


class Convolving(RawIntensity):
    """Its score is a convolution of the image."""

    def detect(self, image: Tensor, brain_mask: Tensor, sequence: str, tile) -> Detection:
        weight = torch.linspace(0.0, 1.0, 27).reshape(1, 1, 3, 3, 3)

        def network(x: Tensor) -> Tensor:
            return torch.conv3d(x, weight, padding=1)

        return Detection({"": tile(network, image[None, None])[0, 0].abs()})


@pytest.fixture
def windows(monkeypatch) -> Callable[[int], list[Shape]]:
    """Only windows of up to `most` voxels along x fit the memory; the list of those asked for."""
    asked: list[Shape] = []

    def set_most(most: int) -> list[Shape]:
        def run(network, volume: Tensor, window: Shape) -> Tensor:
            asked.append(window)
            if window[0] > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return in_windows(network, volume, window)

        monkeypatch.setattr("dal_auto.inference.predictor.in_windows", run)
        return asked

    return set_most


def test_smaller_windows_give_the_same_map_and_are_remembered(
    make_plans, case, monkeypatch, windows, caplog
):
    monkeypatch.setattr(module, "_SMALLEST", 4)
    method = Convolving(make_plans(configuration__window=[24, 24, 24]))
    whole = predict(method, case, "T1", "cpu").anomaly[""]
    asked = windows(8)
    np.testing.assert_allclose(predict(method, case, "T1", "cpu").anomaly[""], whole, atol=1e-5)
    assert asked == [(24,) * 3, (12,) * 3, (6,) * 3]
    assert caplog.messages == [
        "cpu: memory runs out in windows of 24×24×24 voxels",
        "cpu: memory runs out in windows of 12×12×12 voxels",
    ]
    predict(method, case, "T2", "cpu")
    assert len(caplog.messages) == 2 and asked[3:] == [(6,) * 3]


def test_where_nothing_fits_that_is_an_error_in_words(make_plans, case, windows):
    method = Convolving(make_plans(configuration__window=[24, 24, 24]))
    windows(1)
    with pytest.raises(OutOfMemory, match=r"even in windows of 16×16×16 voxels\. Close other"):
        predict(method, case, "T1", "cpu")


class Moved:
    """A method that notes where it is brought."""

    name = "moved"

    def __init__(self, plans) -> None:
        self.plans, self.places = plans, []

    def to(self, device: str) -> None:
        self.places.append(device)


def test_the_cpu_does_what_no_window_makes_small_enough(make_plans, caplog):
    method, asked = Moved(make_plans()), []

    def work(device: str, window: tuple[int, int, int]) -> str:
        asked.append((device, window))
        if device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    assert within_memory(method, "cuda:1", work) == "done"
    assert asked == [
        ("cuda:1", (16, 24, 24)), ("cuda:1", (16, 16, 16)), ("cpu", (16, 24, 24)),
    ]  # fmt: skip
    assert method.places == ["cpu"]
    assert "the CPU does this image and the next" in caplog.text
    caplog.clear()
    assert within_memory(method, "cuda:1", work) == "done"  # the next image goes there at once
    assert asked[3:] == [("cpu", (16, 24, 24))] and method.places == ["cpu"] and not caplog.text


def test_other_errors_are_left_alone(make_plans):
    def work(device: str, window: tuple[int, int, int]) -> None:
        raise RuntimeError("the shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        within_memory(Moved(make_plans()), "cpu", work)


class Drawing(Illustrated, Convolving):
    """Its figures show the same convolution."""

    figure_tensors = {"some": torch.zeros(1)}  # noqa: RUF012

    def fit_figures(self, batches) -> dict[str, Tensor]:
        return {}

    def figure_volumes(self, image, brain_mask, sequence, tile) -> dict[str, Tensor]:
        return {"closer": self.detect(image, brain_mask, sequence, tile).scores[""]}


def test_figures_too_are_drawn_in_the_windows_that_fit(make_plans, case, monkeypatch, windows):
    monkeypatch.setattr(module, "_SMALLEST", 4)
    method = Drawing(make_plans(configuration__window=[24, 24, 24]))
    whole = figure_volumes(method, case, "T1", "cpu")["closer"]
    asked = windows(8)
    np.testing.assert_allclose(
        figure_volumes(method, case, "T1", "cpu")["closer"], whole, atol=1e-5
    )
    assert asked[-1] == (6,) * 3
