"""Which bias field is divided out of a case: none where there is none, and never a lesion.

N4 fits whatever varies smoothly, and a tumour of 5 cm does. So it runs twice, on the target grid,
whose splines have one width for every field of view: coarsely over the whole brain, then finer
where the images so corrected are like the atlas's tissue. Where they are not, N4's finer levels get
no data, and its coarse field stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dal_auto.case import BoolArray, FloatArray, Grid
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.bias_field import correct_bias_field
from dal_auto.preprocessing.plausibility import unlike_atlas
from dal_auto.preprocessing.quality.measures import AtlasOnGrid, residual_bias
from dal_auto.workers.threads import side_by_side

#: Levels of the first pass: their splines are wider than any lesion.
_COARSE_LEVELS = 2


@dataclass(frozen=True, eq=False)
class Corrected:
    """A case's images without their fields.

    Parameters
    ----------
    images : by sequence, (x, y, z)
    unlike : (x, y, z) the brain's voxels that took no part, see `plausibility`
    done : in words, which images have no field to speak of and stayed as they were
    """

    images: Mapping[str, FloatArray]
    unlike: BoolArray
    done: tuple[str, ...]


def correct_bias_fields(
    images: Mapping[str, FloatArray],
    brains: Mapping[str, BoolArray],
    grid: Grid,
    template: AtlasOnGrid,
    *,
    plan: PreprocessingPlan,
    threads: int,
    wanted: bool,
    at_once: int = 1,
) -> Corrected:
    """Divide each image by its field, where it has one.

    Parameters
    ----------
    images : by sequence, (x, y, z) on `grid`, which is the atlas's, cropped
    brains : by sequence, (x, y, z), the part of the brain that it shows; not empty
    template : the atlas on `grid`
    wanted : whether the case still needs it; otherwise all images stay as they are
    at_once : so many sequences may be worked on side by side
    """
    fields = {
        name: residual_bias(image, brains[name], template.white) if wanted else 0.0
        for name, image in images.items()
    }
    left_out = {n: v for n, v in fields.items() if v is not None and v < plan.n4_least_field}
    done = tuple(
        f"N4 left out on {name}: no field to speak of ({spread:.3f})"
        for name, spread in left_out.items()
        if wanted
    )

    def corrected(levels: tuple[int, ...], unlike: BoolArray | None) -> dict[str, FloatArray]:
        def one(name: str) -> FloatArray:
            return correct_bias_field(
                images[name],
                brains[name],
                grid,
                estimate_in=None if unlike is None else brains[name] & ~unlike,
                estimate_spacing_mm=plan.n4_spacing_mm,
                iterations=levels,
                threads=threads,
            )

        uneven = [name for name in images if wanted and name not in left_out]
        return {**images, **dict(zip(uneven, side_by_side(one, uneven, at_once), strict=True))}

    coarse = corrected(plan.n4_iterations[:_COARSE_LEVELS], None)
    unlike = unlike_atlas(coarse, brains, template)
    if not wanted or len(plan.n4_iterations) <= _COARSE_LEVELS or len(left_out) == len(images):
        return Corrected(coarse, unlike, done)
    return Corrected(corrected(plan.n4_iterations, unlike), unlike, done)
