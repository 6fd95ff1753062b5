"""What each step of the chain leaves of the lesions of real cases.

Each case is laid on the atlas once, without N4. From there on every step is taken by itself: N4 as
the plans have it and as it was by default once, histogram matching, the grids of 2 and 4 mm. Two
figures after each: the lesion's mean over the median of the brain, and the average precision (%) of
the filtered intensity in its better polarity, on the grid of 1 mm. Last line: one JSON object.

    make benchmark-chain
    .venv/bin/python benchmarks/chain.py --picture docs/pictures/n4-lesion.png
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from preprocessing_parts.cases import test_data
from preservation_parts.steps import AFTER_N4, intensity_precision, steps_after_n4
from preservation_parts.ways import WAYS
from shipped_parts import cases

from dal_auto.case import BoolArray, FloatArray, StandardCase
from dal_auto.inference.model import load_model
from dal_auto.plans import Plans
from dal_auto.store.model_files import choose_model

matplotlib.use("Agg")
from matplotlib import pyplot as plt

PICTURE_OF = ("BraTS2021_00000", "T2")
STEPS = ("on the atlas", "N4", "N4, former", *AFTER_N4)


@dataclass(frozen=True)
class Figures:
    """What is left of a lesion after a step: `ratio` mean over the brain's median, `ap` in %."""

    ratio: float
    ap: float


def main() -> None:
    options = _options()
    data = test_data()
    if data is None:
        raise SystemExit("no real cases; DAL_TEST_DATA names their folder")
    plans = load_model(choose_model(name="shipped"), device="cpu").plans
    rows: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    print(f"| case | ml | outside | sequence | {' | '.join(STEPS)} |")
    print("|---|---|---|---|" + "---|" * len(STEPS))
    for group, case in cases.real_cases(data, options.home / "real-without-n4", n4=False):
        if case.lesion_mask is None or not case.lesion_mask.any():
            continue
        volumes = {
            name: _after_each_step(case, name, plans, even)
            for name, even in _corrected(case, options.threads)
        }
        if options.picture and case.case_id == PICTURE_OF[0]:
            _draw(volumes[PICTURE_OF[1]], case, options.picture)
        for name, steps in volumes.items():
            figures = {step: _measure(volume, case, plans) for step, volume in steps.items()}
            for step, one in figures.items():
                rows[f"{group}, {name}"][step].append(one)
            _print_row(case, name, figures)
    told = {
        group: {
            step: round(float(np.mean([one.ap for one in many])), 1) for step, many in of.items()
        }
        for group, of in rows.items()
    }
    print("\nMean average precision of a group's cases:\n")
    print(f"| group | {' | '.join(STEPS)} |\n|---|" + "---|" * len(STEPS))
    for group, steps in told.items():
        print(f"| {group} | " + " | ".join(f"{steps[step]:.1f}" for step in STEPS) + " |")
    print(json.dumps({"benchmark": "chain", "average_precision": told}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--home", type=Path, default=Path(__file__).parent / ".cache" / "shipped")
    parser.add_argument("--picture", type=Path, help="a PNG of one glioma before and after N4")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _corrected(case: StandardCase, threads: int) -> Iterator[tuple[str, Mapping[str, FloatArray]]]:
    """(sequence, way → image), both ways; "none" is the image as it came."""
    images = {name: case.image(name) for name in case.sequences}
    brains = {name: case.brain_of(name) for name in case.sequences}
    even = {way: correct(images, brains, threads).images for way, correct in WAYS.items()}
    for name in case.sequences:
        yield name, {"none": images[name]} | {way: found[name] for way, found in even.items()}


def _after_each_step(
    case: StandardCase, sequence: str, plans: Plans, even: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Step → (x, y, z) of 1 mm. Matching and the grids go on from N4 as the plans have it."""
    brain = case.brain_of(sequence)
    corrected = even["plans"]
    found = {"on the atlas": even["none"], "N4": corrected, "N4, former": even["former"]}
    return found | steps_after_n4(corrected, sequence, brain, plans)


def _measure(volume: FloatArray, case: StandardCase, plans: Plans) -> Figures:
    lesion, brain = case.lesion_mask, case.brain_mask
    assert lesion is not None
    inside = volume[lesion & brain]
    ratio = float(inside.mean() / np.median(volume[brain])) if inside.size else float("nan")
    return Figures(ratio, intensity_precision(volume, lesion, brain, plans))


def _print_row(case: StandardCase, sequence: str, figures: Mapping[str, Figures]) -> None:
    assert case.lesion_mask is not None
    ml = case.lesion_mask.sum() / 1000
    outside = 100 * case.quality.get("lesion_outside_brain_share", 0)
    cells = " | ".join(f"{figures[s].ratio:.2f}, {figures[s].ap:.0f}" for s in STEPS)
    print(f"| {case.case_id} | {ml:.0f} | {outside:.1f} % | {sequence} | {cells} |", flush=True)


def _draw(steps: Mapping[str, FloatArray], case: StandardCase, path: Path) -> None:
    """One slice without N4, with the plans' and with the former; the lesion's outline on each."""
    lesion: BoolArray | None = case.lesion_mask
    assert lesion is not None
    z = int(lesion.sum((0, 1)).argmax())
    names = {"on the atlas": "before N4", "N4": "N4 of today", "N4, former": "four levels, former"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 3.5))
    for place, (step, title) in zip(axes, names.items(), strict=True):
        volume = steps[step]
        white = 2.2 * float(np.median(volume[case.brain_mask]))
        place.imshow(volume[..., z].T, origin="upper", cmap="gray", vmin=0, vmax=white)
        place.contour(lesion[..., z].T, levels=[0.5], colors="cyan", linewidths=0.6)
        place.set_title(title, fontsize=10)
        place.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 0.92, 0.01, 0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    main()
