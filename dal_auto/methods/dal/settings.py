"""Every hyper-parameter of DAL, with its source; the two presets (docs/method.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from dal_auto.case import Shape
from dal_auto.methods.method import Ablations
from dal_auto.plans import ConfigurationPlan
from dal_auto.schema import Section, ours, paper
from dal_auto.scoring.anomaly_score import Polarity

#: The code's grid stays at this or finer: at 16 mm the restored image was a smooth blur.
_COARSEST_CODE_MM = 6.0

LossTerm = Literal["con_A", "sim_A", "con_M", "sim_M", "con_AE"]
#: Terms that compare sequences: one sequence alone has none of them.
PAIR_TERMS = ("con_A", "sim_A", "sim_M")


class DalSettings(Section):
    """Hyper-parameters of DAL."""

    classes: int = paper(3, "§3.2.1: CSF, GM, WM", ge=2)
    anatomy_widths: tuple[int, ...] = ours((16, 32, 64, 128), "the paper gives no widths")
    modality_widths: tuple[int, ...] = paper((32, 64, 128, 256), "§3.2.2: c = 256; others ours")
    modality_pooled: Shape = ours((4, 5, 4), "d ≪ D (§3.2.2): 28 times below 112×160×112")
    code_channels: int = ours(32, "the paper gives no widths", ge=1)
    context_widths: tuple[int, ...] = ours((32, 64, 128), "the restorer sees some 5 cm around")
    downsamplings: int = ours(2, "code's grid at about 6 mm or finer", ge=0)
    output_bias: float | None = ours(
        None,
        "what the bias of R_D's last layer starts from; null: drawn, as torch does",
    )

    margin_anatomy: float = paper(0.2, "Eq. 7, α_A")
    margin_modality: float = paper(0.5, "Eq. 8, α_M")
    weight_reconstruction: float = paper(1.0, "Eq. 13, λ_rec", ge=0)
    weight_anatomy: float = paper(0.1, "Eq. 13, λ_a", ge=0)
    weight_modality: float = paper(1.0, "Eq. 13, λ_m", ge=0)
    weight_code: float = paper(1.0, "Eq. 13, λ_ae", ge=0)

    similarity_of: Literal["onehot", "merged"] = ours(
        "onehot",
        "cosines of merged images between subjects are 0.97: a margin of 0.2 cannot be met",
    )
    code_consistency: Literal["normalised", "plain"] = ours(
        "normalised",
        "else both codes shrink: instance-normalised codes, target detached",
    )
    warm_start_steps: int = ours(
        0,
        "steps of E_A alone; teacher forcing and the label loss do as well from the first step",
        ge=0,
    )

    canny_sigma_voxels: float = ours(0.7, "the paper names no Canny parameters", ge=0)
    canny_low: float = ours(0.05, "a step of 1/3, smoothed, has a gradient of 0.19", ge=0)
    canny_high: float = ours(0.10, "as canny_low", ge=0)
    canny_hysteresis_steps: int = ours(8, "fixed, so that the device need not wait", ge=0)

    statistics: Literal["brain", "grid"] = ours(
        "brain",
        "over the grid, a margin of 4 empty voxels gives 13 to 28 % of the brain another class",
    )
    edges: Literal["canny", "boundary"] = ours(
        "canny", "Canny as in the paper; on coarse grids the map of all class boundaries"
    )
    atlas_prior: bool = ours(
        True, "R_E also sees the cohort's mean tissue fractions: place tells ventricle from lesion"
    )
    teacher_forcing: float = ours(
        0.5,
        "share of the steps in which R_A and R_E get the true classes (k-means where none are "
        "known), so that they do not wait for E_A",
        ge=0,
        le=1,
    )
    weight_labels: float = ours(
        0.5,
        "cross-entropy of E_A to the true classes: else E_A drifts; to those of k-means, where no "
        "others are known, only while teacher forcing lasts",
        ge=0,
    )
    combinations: Literal["all", "drawn"] = ours(
        "drawn", "one j for each (p, i), drawn anew: unbiased, at a share of the time"
    )
    modality_pull: float = ours(
        1.0,
        "how far M goes to its sequence's training mean at prediction: M of a real image may lie "
        "between the sequences'",
        ge=0,
        le=1,
    )
    fitted_contrast: bool = ours(
        True, "the restored image's grey values are fitted to the scan's, by medians"
    )

    polarity: dict[str, Polarity] = ours(
        {"T1": "dark", "T2": "bright", "FLAIR": "bright"},
        "what counts as anomalous: lesions are dark on T1 and bright on T2 and FLAIR; both, for a "
        "sequence without an entry",
    )
    tolerant: tuple[str, ...] = ours(
        ("FLAIR",),
        "sequences scored by how far the image lies outside what is restored within a voxel, in "
        "place of Eq. 15: on FLAIR a sulcus that is restored too wide is as bright as a plaque",
    )
    difference_power: float = ours(
        1.0,
        "of |x − x_r| in Eq. 15: 0.5 in robust, since a border that is restored too faintly "
        "differs much and keeps its structure; of no effect on `tolerant` sequences",
        gt=0,
        le=1,
    )
    neighbourhood_mm: float = ours(
        0.0,
        "44 in robust: a score by Eq. 15 is supported by the mean of a box of this size, since a "
        "lesion is a region; 0: off; of no effect on `tolerant` sequences",
        ge=0,
    )

    loss_terms: tuple[LossTerm, ...] = paper(
        ("con_A", "sim_A", "con_M", "sim_M", "con_AE"),
        "Eq. 13; Table 6 leaves some out, never Eq. 9 and 11",
    )
    edge_to_image: bool = paper(True, "§3.3; Table 7 restores from the anatomy without it")
    disentangling: bool = paper(
        True, "§3.2; Table 7 restores from the image's own edges without it"
    )
    modality_reuse: bool = paper(True, "Eq. 14; Table 7 takes another M without it")
    edge_noise: float = ours(
        0.5,
        "share of the images with blobs of a wrong class before their edges are taken (§4.8.2)",
        ge=0,
        le=1,
    )
    edge_noise_radii_mm: tuple[float, float] = ours(
        (4.0, 28.0), "the radii of those blobs: from plaques to large tumours"
    )
    checkpoint_activations: bool = ours(
        False, "compute activations again in the backward pass: less memory, more time"
    )

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """(key, rule) of values that contradict others."""
        if len(set(self.loss_terms)) < len(self.loss_terms):
            yield "loss_terms", "each term once"
        if not self.disentangling and not self.edge_to_image:
            yield "edge_to_image", "without disentangling, edges are all that is left: leave it on"
        if not self.disentangling and not self.modality_reuse:
            yield "modality_reuse", "without disentangling there is no modality: leave it on"
        if self.edge_noise_radii_mm[0] > self.edge_noise_radii_mm[1]:
            yield "edge_noise_radii_mm", "the smaller first"

    @property
    def sees_atlas(self) -> bool:
        """Whether there is an R_E, and it gets the cohort's mean tissue fractions."""
        return self.edge_to_image and self.atlas_prior

    @property
    def remembers_modality(self) -> bool:
        """Whether prediction needs each sequence's mean M of the training."""
        return self.disentangling and (self.modality_pull > 0 or not self.modality_reuse)

    def weights(self) -> dict[str, float]:
        """λ of Eq. 13 by name, and the weight of known labels."""
        names = ("reconstruction", "anatomy", "modality", "code", "labels")
        return {name: getattr(self, f"weight_{name}") for name in names}

    def losses(self, sequences: int) -> frozenset[str]:
        """Which losses there are: those listed, where their modules and pairs exist."""
        found = {"recon"} if self.disentangling else set()
        found |= {"rest"} if self.edge_to_image else set()
        if self.disentangling:
            found |= set(self.loss_terms)
        if not self.edge_to_image:
            found -= {"con_AE"}
        if sequences < 2:
            found -= set(PAIR_TERMS)
        return frozenset(found)


#: Tables 6 and 7, and the curves of Appendices C and D.
ABLATIONS = Ablations(
    modules={
        "edge_to_image": "edge-to-image",
        "disentangling": "disentangling",
        "modality_reuse": "modality reuse",
    },
    loss_weights={
        "weight_anatomy": ("con_A", "sim_A"),
        "weight_modality": ("con_M", "sim_M"),
        "weight_code": ("con_AE",),
    },
    loss_terms="loss_terms",
    swept=(
        *("margin_anatomy", "margin_modality"),
        *("weight_reconstruction", "weight_anatomy", "weight_modality", "weight_code"),
    ),
)

#: What the preset `paper` has otherwise: each step of the recipe that is ours is left out.
_PAPER: Mapping[str, Any] = {
    "similarity_of": "merged",
    "code_consistency": "plain",
    "warm_start_steps": 0,
    "statistics": "grid",
    "edges": "canny",
    "atlas_prior": False,
    "teacher_forcing": 0.0,
    "weight_labels": 0.0,
    "combinations": "all",
    "modality_pull": 0.0,
    "fitted_contrast": False,
    "polarity": {},
    "tolerant": (),
    "edge_noise": 0.0,
}

#: What `robust` has, and a model that was trained before these keys has not: it keeps its score,
#: since its practical thresholds are those of that score.
_ROBUST: Mapping[str, Any] = {"difference_power": 0.5, "neighbourhood_mm": 44.0}


def settings_for(preset: str, configuration: ConfigurationPlan) -> DalSettings:
    """DAL's settings for a preset on a configuration's grid.

    Depth follows the spacing, and widths the number of voxels, so that the coarse configurations
    stay small; of these widths, the share that the configuration names. E_M is small anyway, and
    keeps its own.
    """
    spacing = sum(configuration.spacing_mm) / 3
    values: dict[str, object] = {
        "downsamplings": max(0, math.floor(math.log2(_COARSEST_CODE_MM / spacing)))
    }
    if configuration.is_small:
        values |= {
            "anatomy_widths": (8, 16, 32),
            "modality_widths": (16, 64, 256),
            "modality_pooled": (1, 1, 1),
            "code_channels": 8,
            "context_widths": (16, 32, 64),
            "edges": "boundary",
        }
    for key in ("anatomy_widths", "code_channels", "context_widths"):
        full = values.get(key, DalSettings.model_fields[key].default)
        values[key] = _narrowed(full, configuration.width)
    values |= _PAPER if preset == "paper" else _ROBUST
    return DalSettings.model_validate(values)


def _narrowed(channels: Any, width: float) -> Any:
    """A share of one or several numbers of channels, at least 1 each."""
    if isinstance(channels, tuple):
        return tuple(_narrowed(one, width) for one in channels)
    return max(1, round(channels * width))
