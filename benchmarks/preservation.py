"""Preservation: what preprocessing leaves of lesions, and of bias fields.

Simulated heads with known fields and lesions (T1, T2, FLAIR; tumours of 5 to 150 ml, at the brain's
rim and deep, and a stroke where DAL_TEST_DATA is) are laid on the target grid. N4 as the plans have
it, and with the four levels and the whole brain that were the default once. Tables, then as the
last line one JSON object; README.md beside this file says what each figure means.

    python benchmarks/preservation.py [--heads 2] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from preprocessing_parts.cases import test_data
from preservation_parts.heads import SEQUENCES, LesionKind, Scan, SimulatedHead
from preservation_parts.measures import (
    Pair,
    contrast_kept,
    landmark_shift,
    residual_cv,
    summary,
)
from preservation_parts.ways import GRID, PLAN, WAYS

from dal_auto.case import BoolArray, FloatArray
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.preprocessing.resampling import resample, resample_lesions, resample_mask

FIELDS = (0.08, 0.08, 0.0, 0.08)  # the fourth scan of five has none
LARGE_ML = 5.0


def on_grid(array: FloatArray, scan: Scan, brain: BoolArray) -> FloatArray:
    """An image of the scan on the target grid, 0 outside the brain."""
    return np.where(brain, resample(array, scan.grid, GRID, scan.atlas_to_scan), 0)


def measure(scans: list[Scan], way: str, threads: int) -> list[dict[str, float]]:
    """One head with one lesion, all sequences: a row of figures for each."""
    first = scans[0]
    brain = resample_mask(first.brain, first.grid, GRID, first.atlas_to_scan)
    lesion = resample_lesions(first.lesion, first.grid, GRID, first.atlas_to_scan)
    ill = {s.sequence: on_grid(s.image, s, brain) for s in scans}
    well = {s.sequence: on_grid(s.twin, s, brain) for s in scans}
    start = time.process_time()
    after = WAYS[way](ill, dict.fromkeys(ill, brain), threads)
    seconds = (time.process_time() - start) / len(scans)
    twin = WAYS[way](well, dict.fromkeys(well, brain), threads) if lesion.any() else after
    rows = []
    for scan in scans:
        name = scan.sequence
        healthy = on_grid(scan.healthy, scan, brain)
        row = {
            "residual_cv": residual_cv(twin.images[name], healthy, brain),
            "before_cv": residual_cv(well[name], healthy, brain),
            "seconds": seconds,
        }
        if scan.lesion_ml > LARGE_ML:
            inside = scan.lesion & (scan.healthy > 0)
            change = np.log(scan.clean[inside] / scan.healthy[inside])
            pair = Pair((ill[name], after.images[name]), (well[name], twin.images[name]))
            row["contrast_kept"] = contrast_kept(pair, float(np.median(change)), lesion, brain)
            for label, where in (
                ("brain", (brain, brain)),
                ("like", (~after.unlike & brain, ~twin.unlike & brain)),
            ):
                points = [
                    brain_percentiles(images[name], part, PLAN.percentiles)
                    for images, part in zip((after.images, twin.images), where, strict=True)
                ]
                row[f"shift_{label}"] = landmark_shift(points[0], points[1])
        rows.append(row)
        kept = f"{row['contrast_kept']:.3f}" if "contrast_kept" in row else "-"
        shifts = (
            f"{row['shift_brain']:.3f} / {row['shift_like']:.3f}" if "shift_brain" in row else "-"
        )
        print(
            f"{scan.head:8}{scan.kind:20}{scan.lesion_ml:6.0f} ml  {name:6}{way:8}"
            f"kept {kept:>6}  field {row['before_cv']:.3f} → {row['residual_cv']:.3f}  "
            f"percentiles off by {shifts}",
            flush=True,
        )
    return rows


def heads(count: int) -> list[tuple[str, list[LesionKind]]]:
    """Sources and the lesions that they get."""
    kinds = [
        [LesionKind("healthy"), LesionKind("tumour", 50), LesionKind("tumour at the rim", 100)],
        [LesionKind("healthy"), LesionKind("tumour", 150), LesionKind("tumour at the rim", 15)],
    ]
    data = test_data()
    maps = sorted((data / "label_maps").glob("*.nii.gz")) if data else []
    sources = [str(path) for path in maps[:: max(1, len(maps) // 2)]] or ["ICBM152", "SRI24"]
    if data:
        stroke = data / "stroke_lesion_masks" / "bwsrsub-1279_lesion.nii.gz"
        kinds[0].append(LesionKind("stroke", mask=stroke))
    return [(source, kinds[n % 2]) for n, source in enumerate(sources[:count])]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--heads", type=int, default=2, help="how many heads, at most 2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in options.ways}
    for seed, (source, kinds) in enumerate(heads(options.heads)):
        head = SimulatedHead(source, seed)
        scans = list(head.scans(kinds, FIELDS))
        for first in range(0, len(scans), len(SEQUENCES)):
            for way in options.ways:
                rows[way] += measure(scans[first : first + len(SEQUENCES)], way, options.threads)
    figures = {way: _figures(found) for way, found in rows.items()}
    for way, found in figures.items():
        print(f"{way}: {found}")
    chosen = figures.get("plans") or next(iter(figures.values()))
    print(json.dumps({"benchmark": "preservation", **chosen, "ways": figures}))
    return 0


def _figures(rows: list[dict[str, float]]) -> dict[str, float]:
    kept = summary(rows, "contrast_kept")
    uneven = [row for row in rows if row["before_cv"] > 0.03]
    found = {
        "contrast_kept": float(np.median(kept)),
        "contrast_kept_worst": min(kept),
        "residual_cv": float(np.mean(summary(uneven, "residual_cv"))),
        "percentile_shift_brain": float(np.mean(summary(rows, "shift_brain"))),
        "percentile_shift_like": float(np.mean(summary(rows, "shift_like"))),
        "seconds": float(np.mean(summary(rows, "seconds"))),
    }
    return {name: round(value, 4) for name, value in found.items()}


if __name__ == "__main__":
    raise SystemExit(main())
