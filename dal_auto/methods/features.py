"""Features of a frozen trunk: ImageNet's by a file of weights, or learned on the healthy cohort.

ImageNet's are read from the file that the plans name, and are not saved again with what is learned:
whoever predicts needs that file too. Features of the cohort are saved, and bear their own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dal_auto.errors import InputError
from dal_auto.methods.coreset import Reservoir
from dal_auto.methods.method import Batch, Method
from dal_auto.methods.self_trained import SELF_TRAINED, SelfTrainedSettings, train_trunk
from dal_auto.methods.slices import SliceMethod, SliceSettings, axial_slices
from dal_auto.networks.backbone import (
    LITE2,
    FeatureTrunk,
    PretrainedBackbone,
    load_weights,
    require_weights,
    source_of,
)
from dal_auto.networks.efficientnet import lite2_file, load_lite2
from dal_auto.networks.trunks import make_trunk
from dal_auto.plans import Plans
from dal_auto.schema import Section, ours, paper

_TRUNK = "trunk."

#: A sequence's name, its slices (n, 1, h, w), and the brain in them.
NamedSlices = tuple[str, Tensor, Tensor]


class FeatureSettings(Section):
    """Where features come from."""

    features: Literal["pretrained", "self-trained"] = paper("pretrained", "ImageNet's")
    weights: str = ours("", "file of the backbone's weights, safetensors; nothing is downloaded")
    weights_sha256: str = ours("", "of that file", pattern=r"^([0-9a-fA-F]{64})?$")
    self_trained: SelfTrainedSettings = SelfTrainedSettings()


class FeatureSliceSettings(FeatureSettings, SliceSettings):
    """Settings of a method on slices that is trained on features."""


class TrunkSettings(FeatureSliceSettings):
    """The same, of one of the known trunks."""

    backbone: PretrainedBackbone = paper("wide_resnet50_2", "of pretrained features")


def variant_of(settings: FeatureSettings, backbone: str) -> str:
    """What maps are called: nothing where the features are those of a paper's kind of file."""
    if settings.features != "pretrained":
        return SELF_TRAINED
    return LITE2 if backbone == LITE2 else ""


def build_trunk(
    settings: FeatureSettings, backbone: PretrainedBackbone, stages: int
) -> FeatureTrunk:
    """The trunk that settings describe, frozen, its weights not yet those wanted."""
    own = settings.self_trained
    if settings.features == "pretrained":
        trunk = make_trunk(backbone, stages)
    else:
        trunk = make_trunk(own.backbone, stages, own.stem_width)
    return trunk.eval().requires_grad_(False)


def require_named(settings: FeatureSettings, method: str, backbone: str) -> None:
    """Make sure that pretrained features have a file named.

    Raises
    ------
    InputError
        if not; it says both ways to features.
    """
    if settings.features != "pretrained" or (settings.weights and settings.weights_sha256):
        return
    if backbone == LITE2:  # by the extra
        return
    lacking = "weights_sha256" if settings.weights else "weights"
    raise InputError(
        f"method.settings.{lacking}",
        f"it is empty: {method} wants the weights of {source_of(backbone)}, and downloads nothing",
        "Either put them somewhere as safetensors, and name the file and its checksum: "
        "--set method.settings.weights=FILE --set method.settings.weights_sha256=SHA256. Or "
        "learn features on the healthy cohort, which is another method and is called so: "
        f"--set method.settings.features={SELF_TRAINED}",
    )


def load_pretrained(trunk: FeatureTrunk, settings: FeatureSettings, backbone: str) -> None:
    """Give the trunk its weights: by the extra, or the file that settings name."""
    file = require_pretrained(settings, backbone)
    if backbone == LITE2:
        load_lite2(trunk, file)
    else:
        load_weights(trunk, file)


def require_pretrained(settings: FeatureSettings, backbone: str) -> Path:
    """The file of pretrained weights, its checksum as wanted.

    Raises
    ------
    InputError
        if it is not named, not there, or another one.
    MissingDependency
        where the extra that brings it is not installed.
    """
    if backbone == LITE2:
        return lite2_file()
    return require_weights(settings.weights, settings.weights_sha256, backbone)


def brain_slices(
    batches: Iterable[Batch],
    sequences: Sequence[str],
    every_nth: int,
    generator: torch.Generator,
) -> Iterator[NamedSlices]:
    """Every n-th slice of each subject, from another one on, as far as it holds brain."""
    for batch in batches:
        for images, mask, present in zip(
            batch.images, batch.brain_mask[:, 0], batch.present.tolist(), strict=True
        ):
            first = int(torch.randint(every_nth, (), generator=generator))
            brain = axial_slices(mask[..., first::every_nth])
            held = brain.flatten(1).any(dim=1)
            for name, image, there in zip(sequences, images, present, strict=True):
                if there and held.any():
                    some = axial_slices(image[..., first::every_nth])
                    yield name, some[held], brain[held]


def keep_slices(
    slices: Iterable[NamedSlices], count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """`count` slices of each sequence, drawn at random: name → (n, 2, h, w), slices and brain."""
    kept: dict[str, Reservoir] = {}
    for name, some, brain in slices:
        # The cohort's own precision (its cache is float16): nothing is lost.
        found = kept.setdefault(name, Reservoir(count, generator))
        found.add(torch.cat([some, brain], dim=1).half())
    return {name: reservoir.items() for name, reservoir in kept.items()}


def drawn_generator() -> torch.Generator:
    """A generator on the CPU, seeded by torch's own random numbers."""
    return torch.Generator().manual_seed(int(torch.randint(2**31, ())))


class FeatureMethod(SliceMethod):
    """A method on slices whose network learns from the features of a frozen trunk.

    A subclass builds ``network``; the trunk stands beside it, so that nothing trains or saves it.
    """

    settings: FeatureSliceSettings
    #: Stages of the trunk.
    stages: int = 3

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        require_named(self.settings, self.name, self.pretrained_backbone)
        self.trunk = self._build_trunk()
        self.multiple = self.trunk.stride

    def _build_trunk(self) -> FeatureTrunk:
        assert isinstance(self.settings, TrunkSettings), "who has no such settings builds its own"
        return build_trunk(self.settings, self.settings.backbone, self.stages)

    @property
    def pretrained_backbone(self) -> str:
        """Whose weights the file holds."""
        assert isinstance(self.settings, TrunkSettings), "who has no such settings says it itself"
        return self.settings.backbone

    @property
    def variant(self) -> str:
        """What the maps are called: nothing where the features are the paper's."""
        return variant_of(self.settings, self.pretrained_backbone)

    @property
    def trunk_is_given(self) -> bool:
        """Whether the trunk's weights come from a file: nothing trains them or saves them again."""
        return self.settings.features == "pretrained"

    @property
    def backbone_key(self) -> str:
        """Key of the plans that names the trunk."""
        own = "" if self.settings.features == "pretrained" else "self_trained."
        return f"method.settings.{own}backbone"

    def require_files(self) -> None:
        if self.trunk_is_given:
            load_pretrained(self.trunk, self.settings, self.pretrained_backbone)

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learn the features, where they are to be the cohort's."""
        if self.trunk_is_given:
            return
        self._train(self.trunk, self._kept_slices(batches))

    def _kept_slices(self, batches: Iterable[Batch]) -> Tensor:
        """Some slices of all sequences, drawn at random, and the brain in them: (n, 2, h, w)."""
        count, generator = self.settings.self_trained.slices, drawn_generator()
        slices = brain_slices(batches, self.plans.sequences, 1, generator)
        return torch.cat(list(keep_slices(slices, count, generator).values()))

    def _train(self, trunk: FeatureTrunk, kept: Tensor) -> None:
        x_mm, y_mm, _ = self.plans.configuration.spacing_mm
        train_trunk(trunk, kept, self._sized, (x_mm, y_mm), self.settings.self_trained)

    @torch.no_grad()
    def features(self, slices: Tensor) -> list[Tensor]:
        """Slices (n, 1, h, w) → (n, C, h', w') of each of the trunk's stages, without gradient."""
        found: list[Tensor] = self.trunk(slices)
        return found

    def tensors(self) -> dict[str, Tensor]:
        if self.trunk_is_given:
            return super().tensors()
        trunk = {f"{_TRUNK}{name}": t for name, t in self.trunk.state_dict().items()}
        return super().tensors() | trunk

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        if self.trunk_is_given:
            self.require_files()
        trunk = {n.removeprefix(_TRUNK): t for n, t in tensors.items() if n.startswith(_TRUNK)}
        if trunk:
            self.trunk.load_state_dict(trunk)
        super().load_tensors({n: t for n, t in tensors.items() if not n.startswith(_TRUNK)})

    def to(self, device: str) -> Method:
        self.trunk.to(device)
        return super().to(device)
