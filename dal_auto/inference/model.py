"""A trained run as `dal_predict` uses it: the method on a device, its thresholds, its names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from dal_auto.case import StandardCase
from dal_auto.errors import UsageError
from dal_auto.inference.predictor import Prediction, predict
from dal_auto.inference.record import ModelNames
from dal_auto.inference.request import Request
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, threshold_key
from dal_auto.methods.method import Method
from dal_auto.plans import Plans
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.scoring.joint import joint_key
from dal_auto.store.model_files import ModelFile
from dal_auto.store.runs import Run

_USERS = "user: --threshold"


@dataclass(frozen=True, eq=False)
class Model:
    """All that turns a standard case into maps, the same for every case."""

    run: Run | ModelFile
    checkpoint: Checkpoint
    method: Method
    request: Request
    device: str

    @property
    def plans(self) -> Plans:
        return self.checkpoint.plans

    def predict(self, case: StandardCase) -> dict[str, Prediction]:
        """Sequence → what the method says of it."""
        return {
            sequence: predict(self.method, case, sequence, self.device)
            for sequence in case.sequences
        }

    def threshold(self, sequence: str, variant: str) -> float:
        """The score from which on a voxel is in the mask of a sequence's map."""
        if self.request.threshold is not None:
            return self.request.threshold
        return self.checkpoint.thresholds[threshold_key(sequence, variant)]

    def thresholds_in_joint(self, variants: Mapping[str, str]) -> dict[str, float]:
        """What the score of each sequence is divided by in the joint map: the model's own
        thresholds, whatever the user named for the masks of the sequences' maps.

        Parameters
        ----------
        variants : sequence → variant of its score
        """
        if not self.is_calibrated(variants):
            return {name: self.threshold(name, variant) for name, variant in variants.items()}
        return {
            name: self.checkpoint.thresholds[threshold_key(name, variant)]
            for name, variant in variants.items()
        }

    def is_calibrated(self, sequences: Collection[str]) -> bool:
        """Whether the model has practical thresholds of all these sequences."""
        return set(sequences) <= self.checkpoint.calibrated

    def joint_threshold(self, sequences: Collection[str]) -> float:
        """The threshold of the joint map of some sequences, in multiples of theirs.

        It is 1 for models that were made before there was one, and for those without thresholds.
        """
        if not self.knows_joint(sequences):
            return 1.0
        return self.checkpoint.joint_thresholds[joint_key(sequences)]

    def knows_joint(self, sequences: Collection[str]) -> bool:
        """Whether the joint map of some sequences has a threshold of its own."""
        known = joint_key(sequences) in self.checkpoint.joint_thresholds
        return known and self.is_calibrated(sequences)

    def source(self, sequence: str) -> str:
        """Where the threshold of a sequence's map comes from, in words."""
        if self.request.threshold is not None:
            return _USERS
        return self._exceeded_in(self.checkpoint.source_of(sequence))

    def joint_source(self, sequences: Collection[str]) -> str:
        """Where the threshold of the joint map of some sequences comes from, in words."""
        if not self.is_calibrated(sequences):
            return _USERS
        if self.knows_joint(sequences):
            return self._exceeded_in(self.checkpoint.source_of(joint_key(sequences)))
        return self._exceeded_in(self.checkpoint.sources)

    def joint_trust(self, sequences: Collection[str]) -> float:
        """Power that this joint threshold was raised to, see `Checkpoint.joint_trust`."""
        return self.checkpoint.trust_of(joint_key(sequences))

    def _exceeded_in(self, cases: str) -> str:
        rate = self.plans.scoring.false_positive_rate
        of = cases or "healthy cases"
        return f"exceeded by {rate:.2%} of the brain voxels in the median of {of}"

    @property
    def names(self) -> ModelNames:
        """What tells this model from others."""
        plans, source = self.plans, self._exceeded_in(self.checkpoint.sources)
        if self.request.threshold is not None:
            own = f", for the maps of the sequences; of the joint map: {source}"
            source = _USERS + (own if self.is_calibrated(plans.sequences) else "")
        return ModelNames(
            run=str(self.run),
            model_sha256=self.request.model_sha256,
            method=plans.method.name,
            preset=plans.method.preset,
            configuration=plans.configuration.name,
            voxel_mm=max(plans.configuration.spacing_mm),
            training_set=plans.training_set,
            training_steps=self.checkpoint.step,
            fine_tuned=bool(plans.training.pretrained),
            threshold_source=source,
        )


def load_model(
    run: Run | ModelFile,
    *,
    device: str,
    save: frozenset[str] = frozenset(),
    threshold: float | None = None,
    layout: Literal["flat", "bids"] = "flat",
) -> Model:
    """Read a run's checkpoint and put its method on a device.

    Raises
    ------
    UsageError
        if the model was trained in another atlas's space, or has no threshold and none is given.
    """
    checkpoint = load_checkpoint(run.checkpoint_path)
    check_atlas(checkpoint)
    plans = checkpoint.plans
    request = Request(run.checkpoint_sha256(), plans.preprocessing, save, threshold, layout)
    if threshold is None:
        known = checkpoint.calibrated
        if missing := [name for name in plans.sequences if name not in known]:
            remedy = "Resume its training with dal_train, or give --threshold."
            if known:  # it ended, in a version that left out what no calibration case had
                remedy = "Find them with dal_models calibrate, or give --threshold."
            raise UsageError(f"{run} has no practical threshold for {', '.join(missing)}. {remedy}")
    return Model(run, checkpoint, checkpoint.build(device), request, device)


def check_atlas(checkpoint: Checkpoint) -> None:
    """Refuse to predict in another space than the model was trained in.

    Raises
    ------
    UsageError
        if the atlas found here is not the one in the plans.
    """
    plan, atlas = checkpoint.plans.preprocessing, load_atlas()
    if plan.atlas_sha256 != atlas.sha256:
        raise UsageError(
            f"the model was trained in the space of {plan.atlas} ({plan.atlas_sha256[:12]}…), but "
            f"the atlas found here is {atlas.name} ({atlas.sha256[:12]}…). Install the same one."
        )
