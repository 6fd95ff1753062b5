"""From measurement to decisions: which steps of the chain a case still needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from dal_auto.case import RawCase
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.fingerprint.dataset import CaseFingerprint, Fingerprint
from dal_auto.schema import Section

#: A cohort whose median brain differs this much in volume from the atlas's is worth a word. The
#: MNI152 brain, to which whole datasets are scaled, has 1.30 times the volume of SRI24's.
_NOTABLE_SIZE = 0.15
#: Two stripped images on one grid whose non-zero voxels overlap this much lie in one pose.
_SAME_POSE_DICE = 0.95


class CaseSteps(Section):
    """Which steps a case still needs.

    Parameters
    ----------
    bias_correct : N4, where the image shows a field
    coregister : each further sequence is registered rigidly to the reference sequence
    register_to_atlas : the reference sequence is registered rigidly to the atlas
    strip : the brain mask is estimated; otherwise it is what is not zero
    strip_if_doubtful : nobody says that the skull is off, it was measured: where what is not zero
        can hardly be a brain, the brain mask is estimated after all
    true_header : the axis order in which an image in the atlas's box is stored, where its header
        says something else; None where the header is right
    warnings : where a record's claim and the measurement disagree, both values
    """

    bias_correct: bool
    coregister: bool
    register_to_atlas: bool
    strip: bool
    strip_if_doubtful: bool = False
    true_header: Literal["LPS", "RAS"] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def may_strip(self) -> bool:
        """Whether a tool may be asked for the brain mask."""
        return self.strip or self.strip_if_doubtful


def decide_steps(case: RawCase, measured: CaseFingerprint) -> CaseSteps:
    """What is still to be done to one case: a claim and a measurement that disagree are said.

    Of the skull the claim wins, since heads and brains come in all forms; of the place on the atlas
    the measurement. Whether the bias field was corrected, the claim is believed; without one N4 is
    asked for, and leaves an image alone that shows no field (`bias_correction`).
    """
    claims, warnings = case.claims, []
    stripped = measured.stripped if claims.stripped is None else claims.stripped
    if stripped != measured.stripped:
        signs = "; ".join(f"{name}: {i.skull_signs}" for name, i in measured.images.items())
        warnings.append(
            f"{case.case_id}: said to be stripped={claims.stripped}, measured {measured.stripped} "
            f"({signs}); what is said counts"
        )
    if claims.registered not in (None, measured.registered):
        overlaps = ", ".join(f"{n} {_overlap(i.atlas_dice)}" for n, i in measured.images.items())
        warnings.append(
            f"{case.case_id}: said to be registered to SRI24={claims.registered}, measured "
            f"{measured.registered} (overlap with the atlas's brain: {overlaps}); what is measured "
            "counts"
        )
    same_pose = measured.one_grid and (
        bool(claims.coregistered)
        or (measured.stripped and measured.nonzero_overlap >= _SAME_POSE_DICE)
    )
    return CaseSteps(
        bias_correct=not claims.bias_corrected,
        coregister=len(case.sequences) > 1 and not same_pose,
        register_to_atlas=not measured.registered,
        strip=not stripped and case.brain_mask is None,
        strip_if_doubtful=stripped and claims.stripped is None and case.brain_mask is None,
        true_header=measured.true_header,
        warnings=tuple(warnings),
    )


def _overlap(dice: float | None) -> str:
    return "not stripped in the atlas's box" if dice is None else f"{dice:.2f}"


#: Of what lies on the atlas already, as drawn heads do.
NO_STEPS = CaseSteps(bias_correct=False, coregister=False, register_to_atlas=False, strip=False)


class DatasetDecisions(Section):
    """`preprocessing.json`: the chain, and per case the steps that it needs.

    Parameters
    ----------
    brain_size : see `brain_size`; None where no image came stripped, so that it is not known yet
    """

    dataset: str
    preprocessing: PreprocessingPlan
    steps: dict[str, CaseSteps]
    brain_size: float | None = None

    def summary(self) -> list[str]:
        """One line per step: how many cases need it; and how large the brains are, where known."""
        total = len(self.steps)
        words = {
            "strip": f"skull stripping ({self.preprocessing.skull_strip})",
            "bias_correct": "N4 bias correction",
            "coregister": f"rigid between sequences ({self.preprocessing.registration})",
            "register_to_atlas": f"{self.preprocessing.atlas_transform} to "
            f"{self.preprocessing.atlas} "
            f"({self.preprocessing.registration})",
        }
        counts = Counter(
            name for steps in self.steps.values() for name in words if getattr(steps, name)
        )
        lines = [
            f"  {text}: "
            + ("not needed" if not counts[name] else f"{counts[name]} of {total} cases")
            for name, text in words.items()
        ]
        if self.brain_size is not None and counts["register_to_atlas"]:
            lines.append(f"  {brain_size_line(self.brain_size, self.preprocessing)}")
        return lines + [f"  warning: {w}" for steps in self.steps.values() for w in steps.warnings]


def decide_dataset(
    fingerprint: Fingerprint, cases: Iterable[RawCase], preprocessing: PreprocessingPlan
) -> DatasetDecisions:
    """The steps of every readable case."""
    measured = {case.case_id: case for case in fingerprint.cases if case.failure is None}
    steps = {
        case.case_id: decide_steps(case, measured[case.case_id])
        for case in cases
        if case.case_id in measured
    }
    brains = [case.brain_ml for case in measured.values() if case.brain_ml is not None]
    return DatasetDecisions(
        dataset=fingerprint.dataset,
        preprocessing=preprocessing,
        steps=steps,
        brain_size=brain_size(brains) if brains else None,
    )


def brain_size(brains_ml: Sequence[float]) -> float:
    """Median volume of brains in their own space over that of the atlas's brain."""
    atlas = load_atlas()
    atlas_ml = float(atlas.brain_mask.sum()) * atlas.grid.voxel_ml
    return round(float(np.median(brains_ml)) / atlas_ml, 3)


def brain_size_line(size: float, plan: PreprocessingPlan) -> str:
    """What a `brain_size` means for the registration to the atlas, in words."""
    found = f"the median brain has {size:.2f} times the volume of {plan.atlas}'s"
    if plan.atlas_transform == "affine":
        return f"{found}: affine brings every brain to the atlas's size"
    if abs(size - 1) < _NOTABLE_SIZE:
        return f"{found}: rigid keeps it"
    return (
        f"{found}: rigid, the paper's, keeps that, and models trained on brains of another size "
        "see it as it is; --set preprocessing.atlas_transform=affine scales them"
    )
