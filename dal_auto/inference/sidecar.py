"""The JSON beside an anomaly map: what its numbers mean and how they came about."""

from __future__ import annotations

from typing import Any

from dal_auto.case import RawCase
from dal_auto.inference.limits import LIMITS
from dal_auto.inference.model import Model
from dal_auto.inference.native_map import JOINT, NativeMap
from dal_auto.inference.prepare import Prepared
from dal_auto.inference.remark import texts
from dal_auto.scoring.joint import JointRule
from dal_auto.scoring.plan import ScoringPlan

_JOINT_WORDS: dict[JointRule, str] = {
    "roots": "squared mean of the square roots of",
    "mean": "mean of",
    "max": "maximum of",
}


def sidecar(model: Model, raw: RawCase, prepared: Prepared, found: NativeMap) -> dict[str, Any]:
    """What belongs beside an anomaly map; keys are BIDS' where it has one."""
    scoring, joint = model.plans.scoring, found.name == JOINT
    sources = prepared.case.sequences if joint else [found.name]
    own = joint and model.is_calibrated(sources)  # then the user's number is not for this map
    calibrated = not joint or model.knows_joint(sources)
    of = f"all of {', '.join(sources)}" if joint else found.name
    meaning = f"anomaly score of {model.plans.method.name}"
    if joint:
        meaning += f": {_JOINT_WORDS[scoring.joint]} the sequences' scores, each over its threshold"
        if scoring.joint != "max":
            weights = (f"{name} {scoring.joint_weights.get(name, 1.0):g}" for name in sources)
            meaning += f"; weights: {', '.join(weights)}"
        if calibrated:
            cut = model.joint_threshold(sources)
            meaning += f"; the whole over {cut:.4g}, its own threshold"
    trust = model.joint_trust(sources) if joint else 1.0
    exceeded = calibrated and trust == 1.0 and (own or model.request.threshold is None)
    source = model.joint_source(sources) if joint else model.source(found.name)
    if not calibrated:
        source = f"1 is the threshold of each sequence: {source}"
    elif trust != 1.0:
        source = (
            f"between 1, the threshold of each sequence, and what is {source}: the latter to the "
            f"power of {trust:g}, since drawn heads are not fully trusted here"
        )
    return {
        "Description": f"Anomaly map of {of}, in the space of the {found.on} scan. Research only, "
        "not for diagnosis.",
        "Units": "arbitrary",
        "Sources": [raw.sequences[name].name for name in sources],
        "score": {
            "meaning": meaning,
            "formula": {name: model.method.score_words(name) for name in sources},
            "range": "0 and above; the higher, the more unlike the healthy training set. One scale "
            "for all cases of a model, and none common to several",
            "variant": found.variant,
            "stored": "rounded to float16, as it is counted, in float32",
        },
        "post_processing": _post_processing(scoring),
        "threshold": found.threshold,
        "threshold_source": source,
        "false_positive_rate": scoring.false_positive_rate if exceeded else None,
        "mask": "voxels of the map with a score at or above the threshold",
        "model": model.names.model_dump(exclude={"threshold_source"}),
        "steps": list(prepared.case.steps),
        "tools": list(prepared.tools),
        "warnings": texts(prepared.warnings),
        "cannot_see": list(LIMITS),
    }


def _post_processing(scoring: ScoringPlan) -> dict[str, Any]:
    return {
        "grid": "1 mm, in the space of the atlas",
        "minimum_filter_mm": scoring.min_filter_mm,
        "mean_filter_mm": scoring.mean_filter_mm,
        "guided_filter_mm": scoring.guided_mm,
        "guided_filter_epsilon": scoring.guided_epsilon,
        "brain_mask_erosion_mm": scoring.erosion_mm,
        "to_the_scan": "linear, one interpolation",
    }
