"""What DAL's scores find of the same restored images: power, box and the other keys of the score.

Each head is restored once; every row below scores that restoration, on the model's own grid and
with a mean over 3 voxels in place of the filters of 1 mm, which is quick and ranks scores alike.
Choose by the simulated heads (the default); `--real` is for a look.

    make benchmark-scores
    python benchmarks/scores.py [--model FILE] [--set method.settings.neighbourhood_mm=30 …]
    python benchmarks/scores.py --moved 4      # each head turned by 4° and shifted by 4 mm first
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from shipped_parts.rows import parser, pooled_and_mean, print_table, wanted_cases, wanted_rows
from torch import Tensor

from dal_auto.case import StandardCase
from dal_auto.inference.model import load_model
from dal_auto.inference.predictor import windows_of
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Method
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
)
from dal_auto.scoring.box_filters import mean_filter
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.model_files import choose_model

_POWER, _BOX = "method.settings.difference_power", "method.settings.neighbourhood_mm"
_SIGMA = "scoring.ssim_sigma_voxels"
#: What a row is called → what it changes in the model's plans.
ROWS: Mapping[str, Mapping[str, Any]] = {
    "Eq. 15": {_POWER: 1.0, _BOX: 0.0},
    "box of 20 mm": {_POWER: 1.0, _BOX: 20.0},
    "box of 44 mm": {_POWER: 1.0, _BOX: 44.0},
    "power 0.7, box of 44 mm": {_POWER: 0.7, _BOX: 44.0},
    "power 0.5, box of 44 mm": {_POWER: 0.5, _BOX: 44.0},
    "power 0.3, box of 44 mm": {_POWER: 0.3, _BOX: 44.0},
    **{f"σ of SSIM {sigma} voxels": {_SIGMA: sigma} for sigma in (1.0, 2.0, 2.5, 3.5)},
    "SSIM alone": {"scoring.score": "ssim", _BOX: 0.0},
    "both sides, Eq. 15": {"method.settings.polarity": {}, _POWER: 1.0, _BOX: 0.0},
}


@dataclass(frozen=True, eq=False)
class Restored:
    """One sequence of a case on the model's grid, (1, 1, x, y, z)."""

    case: str
    sequence: str
    image: Tensor
    restored: Tensor
    brain: Tensor
    lesion: Tensor


def restored(case: StandardCase, method: Method) -> Iterable[Restored]:
    """Every sequence that the model, which restores images, knows."""
    plans = method.plans
    assert case.lesion_mask is not None
    lesion = mask_to_configuration(case.lesion_mask, plans)[None, None]
    for sequence in (name for name in case.sequences if name in plans.sequences):
        brain = case.brain_of(sequence)
        image = image_to_configuration(matched_image(case, sequence, plans), brain, plans)
        mask = mask_to_configuration(brain, plans)
        found = method.detect(image, mask, sequence, windows_of(plans, "cpu"))
        assert found.pseudo_healthy is not None
        volumes = (image, found.pseudo_healthy, mask)
        yield Restored(case.case_id, sequence, *(v[None, None] for v in volumes), lesion)


def moved(case: StandardCase, amount: float, seed: int) -> StandardCase:
    """The case turned by so many degrees about some axis, and shifted by so many mm: what the
    registration leaves."""
    rng = np.random.default_rng(seed)
    axis, shift = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    matrix = Rotation.from_rotvec(np.deg2rad(amount) * axis).as_matrix()
    centre = (np.array(case.brain_mask.shape) - 1) / 2
    offset = centre - matrix @ centre + amount * shift

    def turned(volume: np.ndarray, order: int) -> np.ndarray:
        return ndimage.affine_transform(volume, matrix, offset, order=order)

    assert case.lesion_mask is not None
    return replace(
        case,
        images=np.stack([turned(image, 1) for image in case.images]),
        brain_mask=turned(case.brain_mask.astype(np.uint8), 0) > 0,
        lesion_mask=turned(case.lesion_mask.astype(np.uint8), 0) > 0,
    )


def counts_of(score: Tensor, one: Restored) -> ScoreCounts:
    """Counts of a score (1, 1, x, y, z) of this image, with a mean over 3 voxels."""
    filtered = mean_filter(score, (3, 3, 3)) * one.brain
    return ScoreCounts.from_volume(filtered[0, 0].numpy(), one.lesion[0, 0].numpy() > 0)


def table(images: Iterable[Restored], plans: Plans, rows: Mapping[str, Mapping[str, Any]]) -> dict:
    """Row → sequence → (pooled AP, mean of the cases' APs) in %."""
    images = list(images)
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for title, changes in rows.items():
        method = DAL(plans.override(changes, "benchmark"))
        counts: dict[str, list[ScoreCounts]] = defaultdict(list)
        for one in images:
            score = method.score(one.image, one.restored, one.brain, one.sequence)
            counts[one.sequence].append(counts_of(score, one))
        found[title] = {sequence: pooled_and_mean(several) for sequence, several in counts.items()}
    return found


@torch.no_grad()
def main() -> None:
    asked = parser(__doc__)
    asked.add_argument(
        "--moved", type=float, default=0.0, help="degrees and mm that each case is moved by first"
    )
    options = asked.parse_args()
    method = load_model(choose_model(name=options.model), device="cpu").method
    if not isinstance(method, DAL):
        raise SystemExit(f"{options.model} is a model of {method.name}: its score has no such keys")
    images: dict[str, list[Restored]] = defaultdict(list)
    for number, (group, case) in enumerate(wanted_cases(options)):
        if case.lesion_mask is not None:
            seen = moved(case, options.moved, number) if options.moved else case
            images[group] += restored(seen, method)
    rows = wanted_rows(options, ROWS)
    told = {group: table(several, method.plans, rows) for group, several in images.items()}
    for group, by_row in told.items():
        print_table(group, "score", by_row)
    print(json.dumps({"benchmark": "scores", "model": options.model, "found": told}))


if __name__ == "__main__":
    main()
