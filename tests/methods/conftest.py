"""A head of two blobs in 16³ voxels, and plans that fit it: small enough to train in seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dal_auto.inference import sliding_window
from dal_auto.methods.method import Batch, Tile
from dal_auto.methods.registry import find_method
from dal_auto.networks.backbone import Trunk
from dal_auto.plans import ConfigurationPlan, Plans

SIZE = 16
SEQUENCES = ("T1", "T2")
#: Of methods that want files by default: what does without.
_LEARNED = {
    "features": "self-trained",
    "self_trained": {"stem_width": 8, "slices": 64, "steps": 3},
}
WITHOUT_FILES: dict[str, dict[str, Any]] = {
    "PatchCore": _LEARNED | {"candidates": 2000, "bank_limit": 100},
    "RD4AD": _LEARNED,
    "UTRAD": _LEARNED | {"input_side": 16, "width": 16},
    "MKD": _LEARNED
    | {"self_trained": _LEARNED["self_trained"] | {"backbone": "vgg16"}, "input_side": 32},
    "EfficientAD": _LEARNED
    | {"width": 8, "channels": 8, "autoencoder_width": 8, "distillation_steps": 2},
    # Need no files, and need not be as large as the demo's.
    "AutoDDPM": {"perceptual": "none", "input_side": 32, "mask_timesteps": 5},
    "PHANES": {
        "perceptual": "none",
        "input_side": 64,
        "widths": (4, 8, 8),
        "inpainter_width": 4,
        "inpainter_blocks": 1,
        "discriminator_width": 2,
    },
    "Disyre": {"widths": (8, 16), "attention_level": 2, "restorations": 3},
    "MOOD22": {"widths": (4, 8, 16)},
    "AMCons": {"input_side": 32, "width": 8},
    "FPI": {"input_side": 32, "stem_width": 4},
    "DRAEM": {"reconstructor_width": 4, "segmenter_width": 4},
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_plans() -> Callable[..., Plans]:
    """Plans of a method on a grid of 16³ voxels of 2 mm, its settings those of the preset."""

    def make(method: str = "DAL", preset: str = "robust", **settings: Any) -> Plans:
        shape = (SIZE,) * 3
        configuration = ConfigurationPlan(
            name="tiny", input_shape=shape, spacing_mm=(2.0, 2.0, 2.0), window=shape
        )
        defaults = find_method(method).default_settings(preset, configuration)
        return Plans.parse(
            {
                "training_set": "Phantoms",
                "sequences": SEQUENCES,
                "configuration": configuration.model_dump(mode="json"),
                "method": {
                    "name": method,
                    "preset": preset,
                    "settings": defaults.model_dump(mode="json")
                    | WITHOUT_FILES.get(method, {})
                    | settings,
                },
            }
        )

    return make


#: DAL without any step of our recipe: the equations as they are printed, on robust losses.
PLAIN: dict[str, Any] = {
    "statistics": "grid",
    "edges": "canny",
    "atlas_prior": False,
    "teacher_forcing": 0.0,
    "weight_labels": 0.0,
    "combinations": "all",
    "modality_pull": 0.0,
    "fitted_contrast": False,
    "edge_noise": 0.0,
    "warm_start_steps": 150,
}


@pytest.fixture(scope="session")
def plain_plans(small_plans) -> Callable[..., Plans]:
    """`small_plans` of DAL with the steps of the recipe off; settings of the test's own come on
    top."""

    def make(preset: str = "robust", **settings: Any) -> Plans:
        plain = PLAIN if preset == "robust" else {}
        made: Plans = small_plans("DAL", preset, **(plain | settings))
        return made

    return make


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (T1 and T2) and brain mask: grey shell, white core, two blobs of fluid somewhere."""
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    tissue = np.where(radius < 0.7, 2, 1)
    for centre in random.uniform(-0.4, 0.4, (2, 3)):
        tissue[np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))) < 0.35] = 0
    contrasts = np.array([[0.15, 0.5, 0.8], [0.9, 0.5, 0.3]])
    images = contrasts[:, tissue] + random.normal(0, 0.02, (2, *tissue.shape))
    mask = radius < 0.9
    return np.clip(images * mask, 0, 1).astype(np.float32), mask[None].astype(np.float32)


@pytest.fixture(scope="session")
def phantom_batch() -> Callable[..., Batch]:
    """Batches of phantoms, one subject per seed."""

    def make(*seeds: int, sequences: int = len(SEQUENCES)) -> Batch:
        images, masks = zip(*(phantom(seed) for seed in seeds), strict=True)
        return Batch(
            torch.from_numpy(np.stack(images)[:, :sequences]),
            torch.from_numpy(np.stack(masks)),
            torch.ones(len(seeds), sequences, dtype=torch.bool),
        )

    return make


@pytest.fixture
def resnet18_file(tmp_path) -> dict[str, Any]:
    """Settings that name a file of weights; they are random, which tests do not mind."""
    torch.manual_seed(5)
    path = tmp_path / "resnet18.safetensors"
    save_file(Trunk("resnet18", 4).state_dict(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "features": "pretrained", "backbone": "resnet18",
        "weights": str(path), "weights_sha256": sha256,
    }  # fmt: skip


@pytest.fixture(scope="session")
def narrow() -> dict[str, Any]:
    """Settings of DAL for double precision, whose convolutions are slow."""
    return {
        "anatomy_widths": (2, 4),
        "modality_widths": (2, 4),
        "modality_pooled": (1, 2, 1),
        "code_channels": 2,
        "context_widths": (2, 4),
    }


@pytest.fixture(scope="session")
def in_windows() -> Tile:
    """Windows of half the phantom along x."""
    return partial(sliding_window.in_windows, window=(SIZE // 2, SIZE, SIZE))
