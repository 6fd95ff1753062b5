"""Is a standard case what it should be? Figures and a picture per case, and a page to look at.

Figures say where to look; the picture decides.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dal_auto.case import BoolArray, FloatArray, StandardCase
from dal_auto.errors import InputError
from dal_auto.figures.mosaic import Outline, mosaic
from dal_auto.figures.view import view_point
from dal_auto.pages.pictures import ShownPicture, shown_picture
from dal_auto.preprocessing.atlas import Atlas, load_atlas
from dal_auto.preprocessing.quality.limits import (
    LIMITS,
    Finding,
    cohort_limits,
    deviations,
    findings,
    flags,
    in_order,
)
from dal_auto.preprocessing.quality.measures import (
    alignment,
    atlas_on_grid,
    masked_block_mean,
    normalised_mutual_information,
    residual_bias,
)
from dal_auto.preprocessing.quality.page import CaseQuality, write_page
from dal_auto.store.atomic import replacing
from dal_auto.store.standard_cases import CaseRecord, read_case
from dal_auto.volumes import block_mean, correlation, dice
from dal_auto.workers.bars import progress

__all__ = ["LIMITS", "flags", "quality_figures", "write_picture", "write_quality"]

logger = logging.getLogger(__name__)

#: Okabe and Ito's colours: told apart by every eye. The atlas's outline is dashed besides.
_BRAIN, _ATLAS, _LESION = (230, 159, 0), (0, 200, 150), (86, 180, 233)
#: Goes into every picture's key: a picture drawn otherwise is another one.
_DRAWING = "1"
_IMAGE_DESCRIPTION = 0x010E  # of Exif


def quality_figures(
    images: Mapping[str, FloatArray],
    brain_mask: BoolArray,
    native_brain_ml: float,
    atlas: Atlas,
    inside: Mapping[str, BoolArray] | None = None,
) -> dict[str, float]:
    """Figures of one case on the target grid.

    Parameters
    ----------
    images : sequence → (x, y, z) on the target grid, stripped
    brain_mask : (x, y, z) bool
    native_brain_ml : volume of the brain mask before resampling and cropping
    inside : by sequence: (x, y, z) bool, the brain as far as it shows it; by default all of it

    Returns
    -------
    figure → value, as `quality_limits.FIGURES` explains them. What cannot be measured (too small a
    brain, one that missed the atlas, no second sequence) is left out.
    """
    x, y, z = brain_mask.shape
    template = atlas_on_grid(atlas, (x, y, z))
    brains = {name: (inside or {}).get(name, brain_mask) for name in images}
    count, blocks = float(brain_mask.sum()), block_mean(brain_mask, 2)
    kept_ml = count * atlas.grid.voxel_ml
    wrong = {name: ~(np.isfinite(image) & (image >= 0)) for name, image in images.items()}
    images = {name: np.where(wrong[name], 0, image) for name, image in images.items()}
    figures = {
        "brain_ml": native_brain_ml,
        "atlas_dice": dice(brain_mask, template.brain),
        "leak_share": float(blocks[template.far].sum() / max(blocks.sum(), 1e-6)),
        "brain_outside_share": max(0.0, 1 - kept_ml / native_brain_ml) if native_brain_ml else 1.0,
        "bad_voxels": float(sum(int(voxels.sum()) for voxels in wrong.values())),
    }
    for sequence, image in images.items():
        common = brains[sequence] & template.brain
        atlas_blocks, solid = masked_block_mean(template.image, common, 4)
        if solid.any():
            pair = masked_block_mean(image, common, 4)[0][solid], atlas_blocks[solid]
            if sequence == "T1":
                figures["atlas_correlation_T1"] = correlation(*pair)
            else:
                figures[f"atlas_nmi_{sequence}"] = normalised_mutual_information(*pair)
        bias = residual_bias(image, brains[sequence], template.white)
        if bias is not None:
            figures[f"bias_{sequence}"] = bias
    figures |= _alignments(images, brains, atlas.grid.spacing_mm[0])
    return {name: round(value, 4) for name, value in figures.items()}


def _alignments(
    images: Mapping[str, FloatArray], brains: Mapping[str, BoolArray], voxel_mm: float
) -> dict[str, float]:
    """Every sequence against T1, or against the first where there is none."""
    figures = {}
    first = "T1" if "T1" in images else next(iter(images), "")
    for sequence, image in images.items():
        if sequence == first:
            continue
        common = brains[first] & brains[sequence]
        if found := alignment(images[first], image, common, voxel_mm):
            figures[f"alignment_nmi_{sequence}"], figures[f"alignment_mm_{sequence}"] = found
    return figures


def write_picture(folder: Path, case: StandardCase, inputs_hash: str, atlas: Atlas) -> None:
    """Draw a case into ``quality/<case>.webp`` of its dataset's folder.

    Slices through the middle of the grid, the same in every case, with the edges of brain mask and
    atlas; where there is a lesion mask, a row through its largest lesion.

    Parameters
    ----------
    inputs_hash : of the case's record; it is kept in the picture, to tell whether it is up to date
    """
    x, y, z = case.brain_mask.shape
    rows = [(name, name, (x // 2, y // 2, z // 2)) for name in case.sequences]
    outlines = [
        Outline(case.brain_mask, _BRAIN),
        Outline(atlas_on_grid(atlas, (x, y, z)).brain, _ATLAS, dashed=True),
    ]
    if case.lesion_mask is not None and case.lesion_mask.any():
        outlines.append(Outline(case.lesion_mask, _LESION))
        bright = next((n for n in ("FLAIR", "T2") if n in case.sequences), case.sequences[0])
        point = view_point(case.lesion_mask, None, case.brain_mask)
        rows.append((f"{bright}, lesion", bright, point))
    images = dict(zip(case.sequences, case.images, strict=True))
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = _picture_key(inputs_hash)
    with replacing(_picture_path(folder, case.case_id)) as temporary:
        mosaic(images, case.brain_mask, outlines, rows).save(
            # Sharp, or the thin outlines lose their colours.
            temporary, "WEBP", quality=75, method=6, use_sharp_yuv=True, exif=exif,
        )  # fmt: skip


def _picture_path(folder: Path, case_id: str) -> Path:
    return folder / "quality" / f"{case_id}.webp"


def _picture_key(inputs_hash: str) -> str:
    return f"{_DRAWING}:{inputs_hash}"


def write_quality(
    folder: Path,
    dataset: str,
    records: Sequence[CaseRecord],
    failures: Sequence[str],
    *,
    atlas: Atlas | None = None,
) -> None:
    """Write ``quality.csv`` and ``quality.html`` into a dataset's folder, worst cases first.

    Pictures that are missing, or of another run, are drawn; a case whose voxels cannot be read is
    shown without.
    """
    figures = pd.DataFrame(
        [record.quality for record in records],
        index=[record.case_id for record in records],
        dtype=float,
    )
    figures = figures[in_order(figures.columns)]
    limits = cohort_limits(figures)
    found = {r.case_id: findings(r.quality, limits) for r in records}
    order = _worst_first(figures, found)
    table = figures.loc[order]
    with replacing(folder / "quality.csv") as temporary:
        flagged = ["; ".join(finding.text for finding in found[case]) for case in order]
        table.assign(flags=flagged)[["flags", *table.columns]].to_csv(temporary, index_label="case")
    _draw_missing(folder, dataset, records, atlas)
    path = folder / "quality.html"
    pictures = {record.case_id: _shown(path, record) for record in records}
    rows = [CaseQuality(case, pictures[case], found[case]) for case in order]
    write_page(path, dataset, table, limits, rows, failures)


def _worst_first(figures: pd.DataFrame, found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Case ids: by fixed limits broken, by all limits broken, by the largest deviation."""
    worst = deviations(figures).max(axis=1).fillna(0)

    def badness(case: str) -> tuple[int, int, float, str]:
        fixed = sum(finding.kind == "limit" for finding in found[case])
        return -fixed, -len(found[case]), -float(worst[case]), case

    return sorted(found, key=badness)


def _draw_missing(
    folder: Path, dataset: str, records: Sequence[CaseRecord], atlas: Atlas | None
) -> None:
    missing = [record for record in records if not _is_drawn(folder, record)]
    for record in progress(f"{dataset}: pictures", "case", missing, disable=len(missing) < 20):
        try:
            write_picture(folder, read_case(record), record.hash, atlas or load_atlas())
        except InputError as error:
            logger.warning("no picture of %s: %s", record.case_id, error)


def _is_drawn(folder: Path, record: CaseRecord) -> bool:
    """Whether the picture of a case is there, whole, and of this run."""
    path = _picture_path(folder, record.case_id)
    try:
        with Image.open(path) as picture:
            key = picture.getexif().get(_IMAGE_DESCRIPTION)
    except (OSError, ValueError, SyntaxError):
        logger.debug("%s is missing or damaged", path)
        return False
    return key == _picture_key(record.hash)


def _shown(page: Path, record: CaseRecord) -> ShownPicture | None:
    """The picture of a case as it is now; None if it is missing, damaged or of another run."""
    if not _is_drawn(page.parent, record):
        return None
    text = f"{record.case_id}: slices of {', '.join(record.sequences)}"
    return shown_picture(_picture_path(page.parent, record.case_id), page, text)
