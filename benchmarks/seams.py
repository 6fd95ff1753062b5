"""Seams: a trained DAL in windows beside the same one over the whole brain in one.

    python benchmarks/seams.py --run RUN --cases PREPROCESSED/cases [--images 4]

RUN is a run whose window covers its whole grid (demo, paper, small). README.md beside this file
says what each figure means.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dal_auto.case import Shape
from dal_auto.inference.sliding_window import tile, window_starts
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import Detection, Method
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
)
from dal_auto.store.runs import Run
from dal_auto.store.standard_cases import read_case, read_records

OVERLAPS = (0.0, 0.25, 0.5, 0.75)
AT_ONCE = 4
#: A plane with less brain than this share of the fullest says little.
_LEAST_BRAIN = 0.05

Image = tuple[Tensor, Tensor, str]


@dataclass
class Steps:
    """Sums over images of |difference of neighbours| by axis and plane, windowed and whole."""

    windowed: dict[int, np.ndarray] = field(default_factory=dict)
    whole: dict[int, np.ndarray] = field(default_factory=dict)
    voxels: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, windowed: Tensor, whole: Tensor, brain: Tensor) -> None:
        for axis in range(3):
            inside = brain.movedim(axis, 0) > 0
            both = inside[1:] & inside[:-1]
            for sums, volume in ((self.windowed, windowed), (self.whole, whole)):
                step = volume.movedim(axis, 0).diff(dim=0).abs() * both
                sums[axis] = sums.get(axis, 0) + step.sum((1, 2)).double().numpy()
            self.voxels[axis] = self.voxels.get(axis, 0) + both.sum((1, 2)).numpy()

    def quotients(self, size: Shape, window: Shape, overlap: float) -> dict[str, float]:
        """Mean step of the windowed volume over the whole one's at the same plane: at windows'
        borders, halfway between the middles of neighbours, and at all other planes."""
        found: dict[str, list[float]] = {"border": [], "halfway": [], "inside": []}
        for axis in range(3):
            starts = window_starts(size[axis], window[axis], overlap)
            ends = {start + window[axis] for start in starts[:-1]}
            halfway = {(a + b + window[axis]) // 2 for a, b in pairwise(starts)}
            enough = self.voxels[axis] >= _LEAST_BRAIN * self.voxels[axis].max()
            for plane in np.flatnonzero(enough) + 1:  # between the voxels plane - 1 and plane
                border = plane in {*starts[1:], *ends}
                kind = "border" if border else "halfway" if plane in halfway else "inside"
                at = int(plane) - 1
                found[kind].append(self.windowed[axis][at] / self.whole[axis][at])
        return {kind: float(np.mean(values or [np.nan])) for kind, values in found.items()}


def detect_all(method: Method, images: Sequence[Image], window: Shape | None, overlap: float):
    """Every image through `detect`, in windows, or whole where there is no window."""
    for image, brain, sequence in images:
        size = tuple(image.shape) if window is None else window
        in_windows = partial(tile, window=size, overlap=overlap, at_once=AT_ONCE)
        yield method.detect(image, brain, sequence, in_windows)


def compare(
    method: Method, images: Sequence[Image], whole: Sequence[Detection], window: Shape, ov: float
) -> dict[str, Any]:
    """One row of the table."""
    score, healthy = Steps(), Steps()
    apart, agree = [], []
    found: Iterator[Detection] = detect_all(method, images, window, ov)
    for (_, brain, _), one, other in zip(images, found, whole, strict=True):
        inside = brain > 0
        (a, b), (c, d) = (
            (one.scores[""], other.scores[""]),
            (one.pseudo_healthy, other.pseudo_healthy),
        )
        score.add(a, b, brain)
        healthy.add(c, d, brain)
        apart.append(float((a - b).abs()[inside].sum() / b[inside].sum()))
        same = one.extras["anatomy"] == other.extras["anatomy"]
        agree.append(float(same[inside].float().mean()))
    size = tuple(images[0][0].shape)
    row: dict[str, Any] = {"window": list(window), "overlap": ov}
    for name, steps in (("map", score), ("healthy", healthy)):
        row |= {f"{name}_{k}": round(v, 3) for k, v in steps.quotients(size, window, ov).items()}
    row["map_apart"] = round(float(np.mean(apart)), 3)
    row["anatomy_agrees"] = round(float(np.mean(agree)), 3)
    return row


def windows_for(size: Shape, factor: int) -> list[Shape]:
    """Three fifths and half along every axis, and half along one; multiples of `factor`."""

    def part(share: float) -> list[int]:
        return [max(factor, round(n * share / factor) * factor) for n in size]

    small, half = part(0.6), part(0.5)
    single = [[half[a] if a == axis else size[a] for a in range(3)] for axis in range(3)]
    return [tuple(window) for window in (small, half, *single)]  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--cases", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=4, help="how many, of the last cases")
    options = parser.parse_args()
    checkpoint = load_checkpoint(Run(options.run).checkpoint_path)
    method, plans = checkpoint.build("cpu"), checkpoint.plans
    images: list[Image] = []
    for record in reversed(read_records(options.cases)):
        case = read_case(record)
        for sequence in plans.sequences:
            matched = matched_image(case, sequence, plans)
            small = image_to_configuration(matched, case.brain_mask, plans)
            images.append((small, mask_to_configuration(case.brain_mask, plans), sequence))
        if len(images) >= options.images:
            break
    images = images[: options.images]
    whole = list(detect_all(method, images, None, 0.0))
    print(f"{checkpoint.plans.configuration.name}, step {checkpoint.step}, {len(images)} images")
    print(
        "steps between neighbours, windowed over whole    map                       pseudo-healthy"
    )
    print(f"{'window':<15}overlap  {'border halfway inside   ' * 2}map apart  anatomy agrees")
    rows = []
    factor = 2 ** plans.method.settings.get("downsamplings", 0)
    for window in windows_for(plans.configuration.input_shape, factor):
        for overlap in OVERLAPS:
            row = compare(method, images, whole, window, overlap)
            rows.append(row)
            figures = "".join(
                f"{row[f'{name}_border']:>6.3f} {row[f'{name}_halfway']:>7.3f} "
                f"{row[f'{name}_inside']:>6.3f}   "
                for name in ("map", "healthy")
            )
            print(
                f"{'×'.join(map(str, window)):<15}{overlap:>7}  {figures}"
                f"{row['map_apart']:>9.3f} {row['anatomy_agrees']:>15.3f}",
                flush=True,
            )
    used = [row for row in rows if row["overlap"] >= plans.configuration.window_overlap]
    worst = max(max(r["map_border"], r["map_halfway"]) / r["map_inside"] for r in used)
    print(json.dumps({"benchmark": "seams", "ratio": round(worst, 3), "rows": rows}))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
