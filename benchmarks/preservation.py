"""Preservation: what preprocessing leaves of lesions, and of bias fields.

Simulated heads with known fields and lesions (T1, T2, FLAIR; tumours of 15 to 150 ml, deep and at
the brain's rim, white-matter lesions of 0.1 to 5 ml, and a stroke where DAL_TEST_DATA is) are laid
on the target grid. N4 as the plans have it, and with the four levels and the whole brain that were
the default once; then the steps that follow it, as in chain.py. Tables, then as the last line one
JSON object; README.md beside this file says what each figure means.

    python benchmarks/preservation.py [--heads 2] [--threads 1] [--kinds "white matter" tumour]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

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
from preservation_parts.steps import AFTER_N4, intensity_precision, steps_after_n4
from preservation_parts.ways import GRID, PLAN, WAYS

from dal_auto.case import BoolArray, FloatArray
from dal_auto.inference.model import load_model
from dal_auto.plans import Plans
from dal_auto.preprocessing.histogram_matching import brain_percentiles
from dal_auto.preprocessing.resampling import resample, resample_lesions, resample_mask
from dal_auto.store.model_files import choose_model
from dal_auto.volumes import components

FIELDS = (0.08, 0.08, 0.0, 0.08)  # the fourth scan of five has none
LARGE_ML = 5.0
WHITE_MATTER_ML = (0.1, 0.3, 1.0, 2.0, 5.0)
STEPS = ("on the atlas", "N4", *AFTER_N4)

Row = dict[str, float]


def on_grid(array: FloatArray, scan: Scan, brain: BoolArray) -> FloatArray:
    """An image of the scan on the target grid, 0 outside the brain."""
    return np.where(brain, resample(array, scan.grid, GRID, scan.atlas_to_scan), 0)


def measure(
    scans: list[Scan], way: str, threads: int, plans: Plans
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """One head with one lesion or several, all sequences: a row of figures for each, and of the
    plans' way the average precision after every step, sequence → step → %."""
    first = scans[0]
    brain = resample_mask(first.brain, first.grid, GRID, first.atlas_to_scan)
    lesion = resample_lesions(first.lesion, first.grid, GRID, first.atlas_to_scan)
    ill = {s.sequence: on_grid(s.image, s, brain) for s in scans}
    well = {s.sequence: on_grid(s.twin, s, brain) for s in scans}
    start = time.process_time()
    after = WAYS[way](ill, dict.fromkeys(ill, brain), threads)
    seconds = (time.process_time() - start) / len(scans)
    twin = WAYS[way](well, dict.fromkeys(well, brain), threads) if lesion.any() else after
    rows, precisions = [], {}
    for scan in scans:
        name = scan.sequence
        healthy = on_grid(scan.healthy, scan, brain)
        row = {
            "residual_cv": residual_cv(twin.images[name], healthy, brain),
            "before_cv": residual_cv(well[name], healthy, brain),
            "seconds": seconds,
        }
        if lesion.any():
            pair = Pair((ill[name], after.images[name]), (well[name], twin.images[name]))
            row |= _kept(scan, pair, lesion, brain)
            row |= _shifts(name, (after, twin), brain)
            row["ap_before"] = intensity_precision(ill[name], lesion, brain, plans)
            row["ap_after"] = intensity_precision(after.images[name], lesion, brain, plans)
        if lesion.any() and way == "plans":
            steps = steps_after_n4(after.images[name], name, brain, plans)
            precisions[name] = {"on the atlas": row["ap_before"], "N4": row["ap_after"]} | {
                step: intensity_precision(image, lesion, brain, plans)
                for step, image in steps.items()
            }
        rows.append(row)
        _tell(scan, way, row)
    return rows, precisions


def _kept(scan: Scan, pair: Pair, lesion: BoolArray, brain: BoolArray) -> Row:
    """Contrast kept of a large lesion; of several small ones the median and the least."""
    inside = scan.lesion & (scan.healthy > 0)
    change = float(np.median(np.log(scan.clean[inside] / scan.healthy[inside])))
    labels, sizes = components(lesion)
    if scan.kind != "white matter":
        large = scan.lesion_ml > LARGE_ML
        return {"contrast_kept": contrast_kept(pair, change, lesion, brain)} if large else {}
    # Around a lesion are no others: their own change is none of healthy tissue.
    each = [
        contrast_kept(pair, change, labels == n, brain & (~lesion | (labels == n)))
        for n in range(1, len(sizes) + 1)
    ]
    return {"small_kept": float(np.median(each)), "small_kept_worst": min(each)}


def _shifts(name: str, images: Sequence, brain: BoolArray) -> Row:
    """How far the lesion moves the image's percentiles, by whose voxels they are taken of."""
    found = {}
    for label in ("brain", "like"):
        parts = [brain & ~one.unlike if label == "like" else brain for one in images]
        ill, well = (
            brain_percentiles(one.images[name], part, PLAN.percentiles)
            for one, part in zip(images, parts, strict=True)
        )
        found[f"shift_{label}"] = landmark_shift(ill, well)
    return found


def _tell(scan: Scan, way: str, row: Row) -> None:
    words = [f"field {row['before_cv']:.3f} → {row['residual_cv']:.3f}"]
    if "contrast_kept" in row:
        words.append(f"kept {row['contrast_kept']:.3f}")
    if "small_kept" in row:
        words.append(f"kept {row['small_kept']:.3f}, least {row['small_kept_worst']:.3f}")
    if "ap_before" in row:
        words.append(f"AP {row['ap_before']:.1f} → {row['ap_after']:.1f}")
        words.append(f"percentiles off by {row['shift_brain']:.3f} / {row['shift_like']:.3f}")
    head = f"{scan.head:8}{scan.kind:20}{scan.lesion_ml:6.1f} ml  {scan.sequence:6}{way:8}"
    print(head + ", ".join(words), flush=True)


def heads(count: int) -> list[tuple[str, list[LesionKind]]]:
    """Sources and the lesions that they get."""
    small = LesionKind("white matter", WHITE_MATTER_ML, white_matter=True)
    kinds = [
        [
            LesionKind("healthy"),
            LesionKind("tumour", (50,)),
            LesionKind("tumour at the rim", (100,)),
        ],
        [
            LesionKind("healthy"),
            LesionKind("tumour", (150,)),
            LesionKind("tumour at the rim", (15,)),
        ],
    ]
    data = test_data()
    maps = sorted((data / "label_maps").glob("*.nii.gz")) if data else []
    sources = [str(path) for path in maps[:: max(1, len(maps) // 2)]] or ["ICBM152", "SRI24"]
    if data:
        stroke = data / "stroke_lesion_masks" / "bwsrsub-1279_lesion.nii.gz"
        kinds[0].append(LesionKind("stroke", mask=stroke))
    for several in kinds:
        several.append(small)
    return [(source, kinds[n % 2]) for n, source in enumerate(sources[:count])]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--heads", type=int, default=2, help="how many heads, at most 2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    parser.add_argument("--kinds", nargs="+", help="of lesions, by name; by default all")
    options = parser.parse_args()
    plans = load_model(choose_model(name="shipped"), device="cpu").plans
    rows: dict[str, list[Row]] = {way: [] for way in options.ways}
    by_kind: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed, (source, kinds) in enumerate(heads(options.heads)):
        head = SimulatedHead(source, seed)
        drawn = head.scans(kinds, FIELDS)
        scans = [one for one in drawn if not options.kinds or one.kind in options.kinds]
        for first in range(0, len(scans), len(SEQUENCES)):
            part = scans[first : first + len(SEQUENCES)]
            for way in options.ways:
                found, precisions = measure(part, way, options.threads, plans)
                rows[way] += found
                for sequence, steps in precisions.items():
                    by_kind[f"{part[0].kind}, {sequence}"].append(steps)
    _print_steps(by_kind)
    figures = {way: _figures(found) for way, found in rows.items()}
    for way, some in figures.items():
        print(f"{way}: {some}")
    chosen = figures.get("plans") or next(iter(figures.values()))
    print(json.dumps({"benchmark": "preservation", **chosen, "ways": figures}))
    return 0


def _print_steps(by_kind: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Mean average precision after every step, by kind of lesion and sequence, as a table."""
    if not by_kind:
        return
    print(f"\n| lesion | {' | '.join(STEPS)} |\n|---|" + "---|" * len(STEPS))
    for kind, several in by_kind.items():
        means = (float(np.mean([steps[step] for steps in several])) for step in STEPS)
        print(f"| {kind} | " + " | ".join(f"{mean:.1f}" for mean in means) + " |")
    print()


def _figures(rows: list[Row]) -> dict[str, float]:
    uneven = [row for row in rows if row["before_cv"] > 0.03]
    ill = [row for row in rows if "ap_before" in row]
    figures = {
        "contrast_kept": np.median(summary(rows, "contrast_kept") or [np.nan]),
        "contrast_kept_worst": min(summary(rows, "contrast_kept"), default=np.nan),
        "small_kept": np.median(summary(rows, "small_kept") or [np.nan]),
        "small_kept_worst": min(summary(rows, "small_kept_worst"), default=np.nan),
        "ap_kept": np.mean([row["ap_after"] for row in ill] or [np.nan])
        / np.mean([row["ap_before"] for row in ill] or [np.nan]),
        "residual_cv": np.mean(summary(uneven, "residual_cv") or [np.nan]),
        "percentile_shift_brain": np.mean(summary(rows, "shift_brain") or [np.nan]),
        "percentile_shift_like": np.mean(summary(rows, "shift_like") or [np.nan]),
        "seconds": np.mean(summary(rows, "seconds")),
    }
    return {name: round(float(v), 4) for name, v in figures.items() if np.isfinite(v)}


if __name__ == "__main__":
    raise SystemExit(main())
