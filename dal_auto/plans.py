"""Plans: the one file that steers a run. Typed, validated, and every value knows its source.

Each field is declared with `paper(value, section)` or `ours(value, reason)`; the planner marks what
it measured, and ``--set`` marks what the user chose. Methods validate their own settings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from dal_auto.case import Shape
from dal_auto.choices import SkullStripper
from dal_auto.errors import InputError, MissingInput, PlansError
from dal_auto.schema import FileName, Section, ours, paper
from dal_auto.scoring.plan import ScoringPlan

#: A grid of fewer voxels is a demo's: 40×56×40 at 4 mm has 90,000, 80×112×80 at 2 mm 717,000.
_SMALL_VOXELS = 200_000


class PreprocessingPlan(Section):
    """The chain from raw to standard case; it belongs to the training set and travels with it."""

    atlas: str = paper("SRI24", "§4.1.2, rigid registration to SRI24")
    atlas_sha256: str = ours("", "hash of the atlas's voxels: another atlas is another space")
    target_shape: Shape = paper((160, 224, 160), "§4.1.2, centre crop/pad")
    registration: Literal["greedy", "simpleitk"] = paper("greedy", "§4.1.2")
    registration_metric: str = ours(
        "NMI",
        "greedy's; most accurate across sequences of those measured",
        pattern=r"^(SSD|MI|NMI|W?NCC \d+(x\d+x\d+)?)$",  # greedy takes any other word in silence
    )
    registration_iterations: str = ours(
        "100x50x5", "greedy's; error 0.1–0.2 mm on known transforms"
    )
    registration_finest_mm: float = ours(
        2.0, "levels finer than voxels of 2 mm need took half of the time and gained nothing", ge=0
    )
    atlas_transform: Literal["rigid", "affine"] = paper("rigid", "§4.1.2")
    skull_strip: SkullStripper = ours(
        "deepbet", "weights come with its wheel; the paper used BrainMaGe (a deviation)"
    )
    skull_strip_fallbacks: tuple[SkullStripper, ...] = ours(
        ("robex",), "tried in turn where a mask is implausible; the one other without weights"
    )
    mask_limits_ml: tuple[float, float] = ours(
        (600.0, 2200.0), "from small children to adults scaled to MNI space; real masks 1346–1641"
    )
    mask_reach_mm: float = ours(
        15.0, "the atlas's brain resized to 700 or 2300 ml stays within 20 ml of itself so", gt=0
    )
    mask_beyond_ml: float = ours(
        40.0, "past that reach: real masks 0, sound simulated ones to 31, leaks 92 to 227", gt=0
    )
    n4_spacing_mm: float = ours(4.0, "every fourth voxel: enough for splines of 20 mm", gt=0)
    n4_iterations: tuple[int, ...] = ours(
        (50, 50, 50, 50),
        "splines of 20 to 28 mm; lesions are spared by the mask of unlike tissue",
        min_length=1,
    )
    n4_least_field: float = ours(
        0.03, "as uneven as white matter is on a T2 without a field; less is left alone", ge=0
    )
    percentiles_of: Literal["brain", "like the atlas"] = ours(
        "brain", "Nyúl's; without what is unlike the atlas, large lesions move them less"
    )
    percentiles: tuple[float, ...] = ours(
        (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99), "Nyúl & Udupa 1999; Shah et al. 2011"
    )


class IntensityPlan(Section):
    """Nyúl matching and scaling to [0, 1], applied when a case is read."""

    standard_range: tuple[float, float] = ours(
        (0.05, 0.9), "first and last landmark; room above for bright lesions, brain above 0"
    )
    landmarks: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @field_validator("standard_range")
    @classmethod
    def _is_a_range(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= ends[0] < ends[1] <= 1:
            raise ValueError("two values in [0, 1] are wanted, the smaller first")
        return ends


class ConfigurationPlan(Section):
    """Grid, windows and batch of a training or prediction."""

    name: FileName
    input_shape: Shape
    spacing_mm: tuple[float, float, float]
    downsampling: Literal["trilinear", "area"] = paper("trilinear", "§4.2.1")
    window: Shape
    width: float = ours(1.0, "the method's own widths; less where memory asks", gt=0, le=1)
    batch_subjects: int = paper(2, "§4.2.1: 2 subjects × 2 sequences", ge=2)

    @property
    def is_small(self) -> bool:
        """Whether the grid is so coarse that methods take their demo's widths."""
        return math.prod(self.input_shape) < _SMALL_VOXELS


class MethodPlan(Section):
    """Which method, in which preset; its settings are validated by the method itself."""

    name: str = "DAL"
    preset: Literal["robust", "paper"] = ours("robust", "see docs/method.md")
    settings: dict[str, Any] = Field(default_factory=dict)


class AugmentationPlan(Section):
    """How training cases are varied; everything is off unless asked for, as in the paper."""

    mirror: float = ours(
        0.0, "off as in the paper; how often left and right are swapped", ge=0, le=1
    )
    rotation_degrees: float = ours(
        0.0, "off as in the paper; at most, about each axis", ge=0, le=45
    )
    scaling: float = ours(0.0, "off as in the paper; at most, as a share of the size", ge=0, lt=1)
    gamma: float = ours(0.0, "off as in the paper; exponent drawn from 1/(1+γ) to 1+γ", ge=0)
    contrast: float = ours(0.0, "off as in the paper; range scaled by up to this share", ge=0, lt=1)
    noise: float = ours(0.0, "off as in the paper; largest standard deviation", ge=0, le=1)


class TrainingPlan(Section):
    """The optimiser and its schedule, and how the best checkpoint is chosen."""

    steps: int = ours(200, "set by the planner: paper's 150 epochs, or the demo's minutes", ge=1)
    learning_rate: float = paper(1e-4, "§4.2.1, Adam", gt=0)
    decay_power: float = ours(
        0.0, "constant as in the paper; nnU-Net takes 0.9: rate × (1 − step/steps)^power", ge=0
    )
    beta1: float = ours(0.9, "Adam's; the paper names none", ge=0, lt=1)
    weight_decay: float = ours(0.0, "Adam's; the paper names none", ge=0)
    clip_norm: float | None = ours(
        None, "length that gradients are cut to; null: as long as they are", gt=0
    )
    amp: bool = paper(True, "§4.2.1; off where the device is no faster with it")
    accumulation: int = ours(
        1, "batches whose gradients make one step; pairs stay within each", ge=1
    )
    compile: bool = ours(False, "torch.compile of the networks: needs a compiler, starts slowly")
    validation_fraction: float = ours(
        0.05, "patients held out for the practical threshold and for best.safetensors", ge=0, lt=1
    )
    checkpoint_every: int = ours(50, "steps lost at most when a run is killed", ge=1)
    validations: int = ours(100, "evenly spread, each at a checkpoint: a few % of the time", ge=1)
    keep: Literal["best", "last"] = ours(
        "best", "weights of the best validation, or those at the end unless select_on chooses"
    )
    select_on: str = ours("", "dataset whose AP chooses best.safetensors; empty: pasted lesions")
    select_subjects: int = paper(64, "§4.2.1: 64 random subjects of select_on", ge=1)
    select_without_overlap: bool = ours(
        False, "whether select_on's scans that another test set holds too are no choice"
    )
    patience: int | None = ours(
        None, "validations without a better one after which training ends; null: never", ge=1
    )
    pretrained: str = ours(
        "", "a model whose weights training starts from, as a file; empty: random weights"
    )
    pretrained_sha256: str = ours("", "the hash of that file: another one is refused")
    augmentation: AugmentationPlan = AugmentationPlan()
    corruption: float = ours(
        0.0, "off as in the paper; share of drawn subjects with blobs pasted in", ge=0, le=1
    )


#: (section, key) of plans that earlier versions wrote, and that decide nothing any more.
_RETIRED = {("configuration", "window_overlap")}


class Plans(Section):
    """Everything that one training run needs to know."""

    training_set: FileName
    sequences: tuple[FileName, ...]
    preprocessing: PreprocessingPlan = PreprocessingPlan()
    intensity: IntensityPlan = IntensityPlan()
    configuration: ConfigurationPlan
    method: MethodPlan = MethodPlan()
    training: TrainingPlan = TrainingPlan()
    scoring: ScoringPlan = ScoringPlan()
    value_sources: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON content, `value_sources` filled for every key that has a source."""
        content = self.model_dump(mode="json")
        content["value_sources"] = self.all_sources()
        return content

    def all_sources(self) -> dict[str, str]:
        """Dotted key → source: the fields' own, overridden by what planner and user noted."""
        return self.sources() | self.value_sources

    def override(self, assignments: Mapping[str, Any], source: str) -> Plans:
        """New plans with dotted keys set to JSON-like values, noting `source` for each.

        Raises
        ------
        PlansError
            for an unknown key or a value of the wrong type; the message names the key.
        """
        content = self.to_json()
        for key, value in assignments.items():
            *path, last = key.split(".")
            section: Any = content
            for depth, part in enumerate(path):
                section = section.get(part) if isinstance(section, dict) else None
                if not isinstance(section, dict):
                    raise PlansError(".".join(path[: depth + 1]), value, "no such section")
            section[last] = value
            content["value_sources"][key] = source
        return Plans.parse(content)

    def flat(self) -> list[tuple[str, Any, str]]:
        """(dotted key, value, source) of every value, for tables."""
        sources = self.all_sources()
        rows: list[tuple[str, Any, str]] = []

        def walk(content: Mapping[str, Any], prefix: str, inherited: str) -> None:
            for name, value in content.items():
                key = f"{prefix}{name}"
                source = sources.get(key, inherited)
                if isinstance(value, dict) and value:
                    walk(value, f"{key}.", source)
                else:
                    rows.append((key, value, source))

        walk(self.model_dump(mode="json", exclude={"value_sources"}), "", "")
        return rows


def stored_plans(content: Mapping[str, Any]) -> Plans:
    """Plans that were stored with a run, by this version or an earlier one.

    Raises
    ------
    PlansError
        if a value breaks a rule; the message names its key.
    """
    known = {name: dict(part) if isinstance(part, dict) else part for name, part in content.items()}
    for section, key in _RETIRED:
        known.get(section, {}).pop(key, None)
    return Plans.parse(known)


def read_assignments(path: Path) -> dict[str, Any]:
    """Dotted key → JSON value of a plans file: a whole ``plans.json``, or some of its sections.

    Sources are left out, since whoever takes a value from a file gives it that file as source.
    Whether keys and types are right is for `Plans.override` to say.

    Raises
    ------
    MissingInput
        if there is no such file.
    InputError
        if it cannot be read, or holds no JSON object.
    """
    remedy = "A plans file is JSON like plans.json, or some of its sections."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingInput(path, "no such file", remedy) from None
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise InputError(path, f"it cannot be read as JSON ({error})", remedy) from error
    if not isinstance(content, dict):
        raise InputError(path, "it holds no JSON object", remedy)
    leaves = dict(_leaves({key: value for key, value in content.items() if key != "value_sources"}))
    return {key: value for key, value in leaves.items() if tuple(key.split(".")) not in _RETIRED}


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):  # an empty one says nothing
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``key=value`` as given to ``--set``; the value is read as JSON, else as a string."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise PlansError(text, text, "--set wants key=value, for example training.steps=500")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
