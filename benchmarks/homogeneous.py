"""Large lesions without inner edges: what models find of them, by size.

One lesion of one grey value is put into each preprocessed healthy simulated head, at each radius.
The value is one that a fifth of the healthy brain exceeds (on T1: lies below), so the intensity
alone cannot tell the lesion. Average precision in %, pooled over the heads, with the filters of the
first model for all.

    make benchmark-homogeneous
    python benchmarks/homogeneous.py [--heads 6] --models shipped FILE.safetensors RUN_FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from home import Home
from preprocessing_parts.cases import test_data
from scipy import ndimage
from shipped_parts.cases import held_out_heads
from shipped_parts.rows import pooled_percent
from shipped_parts.scores import unfiltered

from dal_auto.case import BoolArray, FloatArray, StandardCase
from dal_auto.inference.predictor import filtered
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import Method
from dal_auto.preprocessing.configuration_grid import matched_image
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.model_files import choose_model
from dal_auto.store.standard_cases import read_case, read_record

RADII_MM = (6.0, 12.0, 20.0, 28.0)
#: Sequence → quantile of the brain's intensities that the lesion takes.
_QUANTILES: Mapping[str, float] = {"T1": 0.2, "T2": 0.8, "FLAIR": 0.8}
_SEED = 23
_ROUGHNESS = 0.25  # standard deviation of the radius, as a share of it
_EDGE_MM = 1.0
_INTENSITY = "intensity"


def region_of(brain: BoolArray, radius: float, rng: np.random.Generator) -> FloatArray:
    """A rough ball in the brain: (x, y, z) in [0, 1], with a soft edge.

    Parameters
    ----------
    brain : (x, y, z) bool, voxels of 1 mm
    radius : mm; the centre lies at least half of it inside the brain
    """
    inside = np.flatnonzero(ndimage.distance_transform_edt(brain) >= radius / 2)
    centre = np.unravel_index(rng.choice(inside), brain.shape)
    grid = np.ogrid[tuple(slice(size) for size in brain.shape)]
    distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)))
    rough = ndimage.gaussian_filter(rng.standard_normal(brain.shape), radius / 2)
    rough *= _ROUGHNESS * radius / rough.std()
    return ndimage.gaussian_filter(((distance + rough < radius) & brain) * 1.0, _EDGE_MM)


def with_lesion(case: StandardCase, radius: float, seed: int) -> StandardCase:
    """The case with one lesion. Its percentiles stay: the chain leaves lesions out of them."""
    weight = region_of(case.brain_mask, radius, np.random.default_rng([seed, int(radius)]))
    images = []
    for sequence in case.sequences:
        image, brain = case.image(sequence), case.brain_of(sequence)
        value = np.quantile(image[brain], _QUANTILES[sequence])
        images.append((image + weight * (value - image)) * brain)
    stacked = np.stack(images).astype(np.float32)
    return replace(case, images=stacked, lesion_mask=(weight > 0.5) & case.brain_mask)


def maps_of(case: StandardCase, sequence: str, methods: Mapping[str, Method]) -> Iterator:
    """(name, map) of every method, and of the intensity in its better polarity for the sequence."""
    first = next(iter(methods.values())).plans
    scoring = first.scoring
    for name, method in methods.items():
        found = unfiltered(method, case, sequence)
        score = next(iter(found.scores.values()))
        yield name, filtered(score, found.image, found.brain, scoring)
    image, seen = matched_image(case, sequence, first), torch.from_numpy(case.brain_of(sequence))
    shown = (1 - image) * seen if sequence == "T1" else image
    yield _INTENSITY, filtered(shown, image, seen, scoring)


@torch.no_grad()
def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    methods = {
        name: load_checkpoint(choose_model(name=name).checkpoint_path).build("cpu")
        for name in options.models
    }
    counts: dict[tuple[str, float, str], list[ScoreCounts]] = defaultdict(list)
    volumes: dict[float, list[float]] = defaultdict(list)
    for seed, healthy in enumerate(_healthy(options.home, options.heads)):
        for radius in RADII_MM:
            case = with_lesion(healthy, radius, seed)
            volumes[radius].append(case.lesion_mask.sum() / 1000)
            for sequence in case.sequences:
                for name, map_ in maps_of(case, sequence, methods):
                    one = ScoreCounts.from_volume(map_, case.lesion_mask)
                    counts[sequence, radius, name].append(one)
    found = {place: pooled_percent(several) for place, several in counts.items()}
    heads = [f"{radius:g} mm, {np.median(volumes[radius]):.0f} ml" for radius in RADII_MM]
    print(f"\n| sequence | model | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}")
    for sequence in _QUANTILES:
        for name in (*methods, _INTENSITY):
            cells = (f"{found[sequence, radius, name]:.1f}" for radius in RADII_MM)
            print(f"| {sequence} | {Path(name).name} | {' | '.join(cells)} |")
    told = [[*place, round(value, 2)] for place, value in found.items()]
    print(json.dumps({"benchmark": "homogeneous", "found": told}))


def _healthy(path: Path, heads: int) -> Iterator[StandardCase]:
    """Healthy simulated heads of people that no training saw, through the whole chain."""
    data = test_data()
    if data is None:
        raise SystemExit("no label maps; DAL_TEST_DATA names their folder")
    home = Home(path)
    home.run(
        "dal_datasets", "simulate", "--healthy", heads, "--lesioned", 0, "--seed", _SEED,
        "--heads", held_out_heads(data, home), "--sequences", *_QUANTILES,
    )  # fmt: skip
    home.run("dal_plan_and_preprocess", "-d", "SimHealthy")
    for record in sorted((home.path / "preprocessed" / "SimHealthy" / "cases").glob("*.json")):
        yield read_case(read_record(record))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--models", nargs="+", default=["shipped"], help="as `dal_predict -r`: names, files, runs"
    )
    parser.add_argument(
        "--heads", type=int, default=12, help="healthy simulated ones (default: 12)"
    )
    home = Path(__file__).parent / ".cache" / "homogeneous"
    parser.add_argument("--home", type=Path, default=home)
    return parser.parse_args()


if __name__ == "__main__":
    main()
