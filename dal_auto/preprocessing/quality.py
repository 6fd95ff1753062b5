"""Is a standard case what it should be? Figures per case, and a page to look at.

Figures say where to look; the picture decides. Limits are wide on purpose: they name failures of
skull stripping and registration, not unusual brains.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd

from dal_auto.atomic import replacing, write_text
from dal_auto.case import BoolArray, FloatArray, StandardCase
from dal_auto.preprocessing.atlas import Atlas
from dal_auto.preprocessing.cropping import centre_crop_or_pad
from dal_auto.preprocessing.resampling import resample
from dal_auto.standard_files import CaseRecord, read_case

#: figure → (least, most) that pass without a flag
LIMITS: Mapping[str, tuple[float, float]] = {
    "brain_ml": (800, 2200),
    "atlas_dice": (0.80, 1.0),
    "brain_outside_share": (0.0, 0.02),
}


def quality_figures(
    images: Mapping[str, FloatArray], brain_mask: BoolArray, native_brain_ml: float, atlas: Atlas
) -> dict[str, float]:
    """Figures of one case on the target grid.

    Parameters
    ----------
    images : sequence → (x, y, z) on the target grid, stripped
    native_brain_ml : volume of the brain mask before resampling and cropping

    Returns
    -------
    brain_ml, atlas_dice (overlap with the atlas's brain), brain_outside_share (lost to the crop),
    and ``atlas_correlation_<sequence>`` inside the common brain
    """
    x, y, z = brain_mask.shape
    grid = centre_crop_or_pad(atlas.grid, (x, y, z))
    template = resample(atlas.image, atlas.grid, grid, np.eye(4))
    atlas_brain = template > 0
    common = brain_mask & atlas_brain
    kept_ml = float(brain_mask.sum()) * grid.voxel_ml
    figures = {
        "brain_ml": native_brain_ml,
        "atlas_dice": 2 * float(common.sum()) / max(float(brain_mask.sum() + atlas_brain.sum()), 1),
        "brain_outside_share": max(0.0, 1 - kept_ml / native_brain_ml) if native_brain_ml else 1.0,
    }
    if common.sum() > 1:
        for sequence, image in images.items():
            correlation = np.corrcoef(image[common], template[common])[0, 1]
            figures[f"atlas_correlation_{sequence}"] = float(np.nan_to_num(correlation))
    return {name: round(value, 4) for name, value in figures.items()}


def flags(figures: Mapping[str, float]) -> list[str]:
    """The figures that lie outside their limits, in words."""
    return [
        f"{name} {figures[name]:g} outside {low:g} to {high:g}"
        for name, (low, high) in LIMITS.items()
        if name in figures and not low <= figures[name] <= high
    ]


def mosaic_png(case: StandardCase) -> bytes:
    """Middle axial, coronal, sagittal slices of every sequence; the mask's edge in orange."""
    x, y, z = (size // 2 for size in case.brain_mask.shape)
    rows = []
    for image in case.images:
        views = []
        for plane, mask in (
            (image[:, :, z].T, case.brain_mask[:, :, z].T),
            (image[:, y, ::-1].T, case.brain_mask[:, y, ::-1].T),
            (image[x, :, ::-1].T, case.brain_mask[x, :, ::-1].T),
        ):
            inside = mask.copy()
            inside[1:-1, 1:-1] = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1]
            inside[1:-1, 1:-1] &= mask[1:-1, :-2] & mask[1:-1, 2:]
            grey = np.clip(
                plane / max(float(np.percentile(image[case.brain_mask], 99)), 1e-6), 0, 1
            )
            colour = np.repeat(grey[..., None], 3, axis=2)
            colour[mask & ~inside] = (0.90, 0.62, 0.0)
            padded = np.zeros((224, plane.shape[1], 3), np.float32)
            padded[: plane.shape[0]] = colour[:224]
            views.append(padded)
        rows.append(np.concatenate(views, axis=1))
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.concatenate(rows, axis=0)[::2, ::2], format="png")
    return buffer.getvalue()


def write_quality(
    folder: Path, dataset: str, records: list[CaseRecord], failures: list[str]
) -> None:
    """Write ``quality.csv`` and ``quality.html`` into a dataset's folder, flagged cases first."""
    rows = [
        {"case": r.case_id, **r.content["quality"], "flags": "; ".join(flags(r.content["quality"]))}
        for r in records
    ]
    table = pd.DataFrame(rows)
    if rows:
        table = table.sort_values(["flags", "atlas_dice"], ascending=[False, True])
    with replacing(folder / "quality.csv") as temporary:
        table.to_csv(temporary, index=False)
    by_id = {record.case_id: record for record in records}
    figures = []
    for row in table.to_dict("records"):
        picture = base64.b64encode(mosaic_png(read_case(by_id[row["case"]]))).decode()
        facts = ", ".join(f"{k} {v}" for k, v in row.items() if k not in ("case", "flags"))
        figures.append(
            f'<figure><img loading="lazy" alt="slices of {escape(row["case"])}" '
            f'src="data:image/png;base64,{picture}"><figcaption><b>{escape(row["case"])}</b> '
            f"{escape(facts)} <mark>{escape(row['flags'])}</mark></figcaption></figure>"
        )
    failed = "".join(f"<li>{escape(failure)}</li>" for failure in failures) or "<li>none</li>"
    write_text(
        folder / "quality.html",
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
        f"content='width=device-width'><title>{escape(dataset)}: quality</title>"
        "<style>body{font:15px system-ui;margin:1em;background:#111;color:#ddd}img{max-width:100%}"
        "figure{display:inline-block;width:min(240px,100%);margin:.4em;vertical-align:top}"
        "figcaption{font-size:12px}</style>"
        f"<h1>{escape(dataset)}: {len(records)} cases</h1><p>Rows: sequences. Axial, coronal, "
        "sagittal through the middle; edge of the brain mask in orange. Flagged cases first.</p>"
        f"<h2>Failed</h2><ul>{failed}</ul><h2>Cases</h2>{''.join(figures)}</html>\n",
    )
