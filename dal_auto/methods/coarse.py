"""Methods of which a first restoration says where, in a coarse map, and a second restores there.

The coarse map is min(1, |x − x̂| / p) · S(x, x̂): p a percentile of the slice's brain, and S how
different both look, by LPIPS. Its threshold is found on healthy cases, and saved.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dal_auto.errors import InputError
from dal_auto.methods.method import Batch, Method
from dal_auto.methods.slices import SliceMethod, SliceSettings
from dal_auto.networks.backbone import load_weights, require_weights
from dal_auto.networks.lpips import LPIPS
from dal_auto.plans import Plans
from dal_auto.schema import ours, paper

_SMALL = 1e-6


class CoarseSettings(SliceSettings):
    """Of the coarse map and its threshold."""

    percentile: float = paper(0.95, "of the difference, above which it counts as 1", gt=0, lt=1)
    threshold: float = paper(0.13, "τ of the mask, until calibration finds its own", ge=0)
    false_positive_rate: float = paper(0.05, "of healthy brain that calibration masks", gt=0, lt=1)
    calibration_cases: int = ours(4, "each slice of theirs takes a whole restoration", ge=1)
    perceptual: Literal["lpips", "none"] = paper("lpips", "what weighs differences")
    lpips_weights: str = ours("", "file of LPIPS's weights, safetensors; nothing is downloaded")
    lpips_sha256: str = ours("", "of that file", pattern=r"^([0-9a-fA-F]{64})?$")


def require_named(settings: CoarseSettings, file: str, who: str, contents: str) -> None:
    """Make sure that a file of weights is named, where perceptual weighing wants it.

    Parameters
    ----------
    file : "lpips", or of what the settings `…_weights` and `…_sha256` are
    who : wants it, and for what
    contents : what to put into the file

    Raises
    ------
    InputError
        where none is named; it says both ways on.
    """
    weights, sha256 = f"{file}_weights", f"{file}_sha256"
    lacking = [name for name in (weights, sha256) if not getattr(settings, name)]
    if settings.perceptual == "none" or not lacking:
        return
    raise InputError(
        f"method.settings.{lacking[0]}",
        f"it is empty: {who}, and downloads nothing",
        f"Either put {contents} into one safetensors file, and name it and its checksum: --set "
        f"method.settings.{weights}=FILE --set method.settings.{sha256}=SHA256. Or go without, "
        "which is another method and is called l1: --set method.settings.perceptual=none",
    )


def require_lpips(settings: CoarseSettings, method: str) -> None:
    """`require_named` for LPIPS."""
    who = f"{method} weighs differences by LPIPS (SqueezeNet)"
    contents = "torchvision's squeezenet1_1 features.* and the package lpips's lin0 to lin6"
    require_named(settings, "lpips", who, contents)


class WithThreshold(nn.Module):
    """A network, and the threshold of its masks, which is saved with it."""

    threshold: Tensor

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(threshold))


class CoarseMethod(SliceMethod):
    """A method with a coarse map. A subclass says what its first restoration is."""

    settings: CoarseSettings
    network: WithThreshold

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.lpips = LPIPS() if self.settings.perceptual == "lpips" else None

    @abstractmethod
    def first_restoration(self, slices: Tensor, numbers: range) -> Tensor:
        """x̂ of slices (n, 1, h, w), in [0, 1]; parameters as for `examine`."""

    def compared(self, slices: Tensor) -> Tensor:
        """What differences are taken of."""
        return slices

    def unlike(self, slices: Tensor, restored: Tensor) -> Tensor | float:
        """S: how different two slices look, at each pixel; 1 without LPIPS."""
        return 1.0 if self.lpips is None else self.lpips.distance(slices, restored)

    def coarse(self, slices: Tensor, restored: Tensor, brain: Tensor) -> Tensor:
        """min(1, |x − x̂| / p) · S(x, x̂), p a percentile within the slice's brain."""
        difference = (self.compared(slices) - self.compared(restored)).abs().float()
        inside = difference.masked_fill(brain <= 0.5, torch.nan).flatten(1)
        high = inside.nanquantile(self.settings.percentile, dim=1).nan_to_num(1.0)
        found = (difference / high.clamp(min=_SMALL)[:, None, None, None]).clamp(max=1)
        return found * self.unlike(slices, restored)

    def masked(self, coarse: Tensor) -> Tensor:
        """Where a coarse map reaches the threshold: 0 or 1."""
        # Not only above: without LPIPS the threshold may be 1, the most there is.
        return (coarse >= self.network.threshold).float()

    @property
    def variant(self) -> str:
        """What the maps are called: nothing where LPIPS weighs them, as published."""
        return "" if self.lpips is not None else "l1"

    def require_files(self) -> None:
        if self.lpips is not None:
            s = self.settings
            file = require_weights(s.lpips_weights, s.lpips_sha256, self.lpips.backbone)
            load_weights(self.lpips, file)

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        CoarseMethod.require_files(self)
        super().load_tensors(tensors)

    def to(self, device: str) -> Method:
        if self.lpips is not None:
            self.lpips.to(device)
        return super().to(device)

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """τ: what the stated share of healthy brain exceeds in the coarse map."""
        found = []
        few = islice(batches, self.settings.calibration_cases)
        for slices, brain in self.healthy_slices(few, every_nth=4):
            restored = self.first_restoration(slices, range(len(slices)))
            found.append(self.coarse(slices, restored, brain)[brain > 0.5].float().cpu())
        if found:
            level = 1 - self.settings.false_positive_rate
            self.network.threshold.fill_(float(np.quantile(torch.cat(found).numpy(), level)))
