"""From fingerprint and hardware to plans: steps of a case, configuration of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from dal_auto.case import RawCase
from dal_auto.methods.registry import find_method
from dal_auto.plans import IntensityPlan, Plans, PreprocessingPlan, Section
from dal_auto.preprocessing.configurations import (
    CONFIGURATIONS,
    PAPER_EPOCHS,
    choose_configuration,
)
from dal_auto.preprocessing.fingerprint import CaseFingerprint, Fingerprint
from dal_auto.preprocessing.histogram_matching import learn_landmarks
from dal_auto.standard_files import CaseRecord

#: Two stripped images on one grid whose non-zero voxels overlap this much lie in one pose.
_SAME_POSE_DICE = 0.95


class CaseSteps(Section):
    """Which steps a case still needs.

    Parameters
    ----------
    bias_correct : N4 inside the brain mask
    coregister : each further sequence is registered rigidly to the reference sequence
    register_to_atlas : the reference sequence is registered rigidly to the atlas
    strip : the brain mask is estimated; otherwise it is what is not zero
    true_header : the axis order in which an image in the atlas's box is stored, where its header
        says something else; None where the header is right
    warnings : where a record's claim and the measurement disagree, both values
    """

    bias_correct: bool
    coregister: bool
    register_to_atlas: bool
    strip: bool
    true_header: Literal["LPS", "RAS"] | None = None
    warnings: tuple[str, ...] = ()


def decide_steps(case: RawCase, measured: CaseFingerprint) -> CaseSteps:
    """What is still to be done to one case: measurement decides, a claim it contradicts is said.

    Whether the bias field was corrected cannot be measured reliably; there the record is believed,
    and without one N4 runs, since on a corrected image it changes little.
    """
    claims, warnings = case.claims, []
    for claim, value, found in (
        ("stripped", claims.stripped, measured.stripped),
        ("registered to SRI24", claims.registered, measured.registered),
    ):
        if value is not None and value != found:
            warnings.append(f"{case.case_id}: the record says {claim}={value}, measured {found}")
    same_pose = measured.one_grid and (
        bool(claims.coregistered)
        or (measured.stripped and measured.nonzero_overlap >= _SAME_POSE_DICE)
    )
    return CaseSteps(
        bias_correct=not claims.bias_corrected,
        coregister=len(case.sequences) > 1 and not same_pose,
        register_to_atlas=not measured.registered,
        strip=not measured.stripped and case.brain_mask is None,
        true_header=measured.true_header,
        warnings=tuple(warnings),
    )


class DatasetDecisions(Section):
    """`preprocessing.json`: the chain, and per case the steps that it needs."""

    dataset: str
    preprocessing: PreprocessingPlan
    steps: dict[str, CaseSteps]

    def summary(self) -> list[str]:
        """One line per step: how many cases need it."""
        total = len(self.steps)
        words = {
            "strip": f"skull stripping ({self.preprocessing.skull_strip})",
            "bias_correct": "N4 bias correction",
            "coregister": f"rigid between sequences ({self.preprocessing.registration})",
            "register_to_atlas": f"rigid to {self.preprocessing.atlas} "
            f"({self.preprocessing.registration})",
        }
        counts = Counter(
            name for steps in self.steps.values() for name in words if getattr(steps, name)
        )
        lines = [
            f"  {text}: "
            + ("falls away" if not counts[name] else f"{counts[name]} of {total} cases")
            for name, text in words.items()
        ]
        return lines + [f"  warning: {w}" for steps in self.steps.values() for w in steps.warnings]


def decide_dataset(
    fingerprint: Fingerprint, cases: Iterable[RawCase], preprocessing: PreprocessingPlan
) -> DatasetDecisions:
    """The steps of every readable case."""
    measured = {case.case_id: case for case in fingerprint.cases if case.finding is None}
    steps = {
        case.case_id: decide_steps(case, measured[case.case_id])
        for case in cases
        if case.case_id in measured
    }
    return DatasetDecisions(dataset=fingerprint.dataset, preprocessing=preprocessing, steps=steps)


@dataclass(frozen=True)
class Hardware:
    """The device that trains, and its memory in GB (10⁹ bytes)."""

    device: str
    memory_gb: float

    @classmethod
    def measure(cls, device: str | None = None) -> Hardware:
        """The device asked for, else CUDA, else MPS, else the CPU."""
        if device is None:
            mps = torch.backends.mps.is_available()
            device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
        if device.startswith("cuda"):
            memory = torch.cuda.get_device_properties(device).total_memory
        else:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(device, memory / 1e9)


def plan_run(
    *,
    training_set: str,
    preprocessing: PreprocessingPlan,
    records: Iterable[CaseRecord],
    hardware: Hardware,
    sequences: tuple[str, ...] = ("T1", "T2"),
    configuration: str | None = None,
    method: str = "DAL",
    preset: str = "robust",
    overrides: Mapping[str, Any] | None = None,
) -> Plans:
    """The plans of one training run.

    Parameters
    ----------
    records : standard cases of the training set; landmarks are learned from their percentiles
    configuration : a name, or None to choose by the hardware's memory
    overrides : dotted key → value, the user's ``--set``

    Raises
    ------
    PlansError
        for unknown keys or wrong values, also within the method's own settings.
    """
    name, reason = choose_configuration(configuration, hardware.device, hardware.memory_gb)
    row, kind = CONFIGURATIONS[name], find_method(method)
    chosen = row.plan(name)
    settings = kind.default_settings(preset, chosen)
    usable = [record for record in records if set(sequences) <= set(record.sequences)]
    low_high = IntensityPlan().standard_range
    landmarks = {
        sequence: learn_landmarks((record.percentiles[sequence] for record in usable), low_high)
        for sequence in sequences
        if usable
    }
    training = {key: value for key, (value, _) in row.training.items()}
    sources = row.sources() | settings.sources("method.settings")
    if preset == "paper":
        # The literal preset keeps the paper's optimiser on any grid, and trains on all patients.
        training.pop("learning_rate", None)
        sources.pop("training.learning_rate", None)
        training["validation_fraction"] = 0.0
        sources["training.validation_fraction"] = "paper: §4.1, all healthy subjects train"
    sources["configuration.name"] = reason
    sources["intensity.landmarks"] = f"measured: mean of {len(usable)} cases of {training_set}"
    if "steps" not in training:
        patients = len({record.patient_id for record in usable})
        training["steps"] = PAPER_EPOCHS * max(1, patients // chosen.batch_subjects)
        sources["training.steps"] = f"paper: §4.2.1, {PAPER_EPOCHS} epochs of {patients} patients"
    plans = Plans.parse(
        {
            "training_set": training_set,
            "sequences": list(sequences),
            "preprocessing": preprocessing.model_dump(mode="json"),
            "intensity": {"landmarks": landmarks},
            "configuration": chosen.model_dump(mode="json"),
            "method": {
                "name": method,
                "preset": preset,
                "settings": settings.model_dump(mode="json"),
            },
            "training": training,
            "value_sources": sources,
        }
    ).override(overrides or {}, "user: --set")
    kind.parse_settings(plans)
    return plans
