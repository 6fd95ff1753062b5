"""A trained DAL in windows, beside the same one over the whole brain in one.

    python benchmarks/windows.py --cases PREPROCESSED/cases [--model FILE] [--images 4]

FILE is a checkpoint whose window covers its whole grid; by default the shipped model. README.md
beside this file says what each figure means.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dal_auto.inference.sliding_window import in_windows
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.plans import Plans
from dal_auto.preprocessing.configuration_grid import (
    image_to_configuration,
    mask_to_configuration,
    matched_image,
)
from dal_auto.store.model_files import shipped_path
from dal_auto.store.standard_cases import read_case, read_records

SHARES = (0.6, 0.5, 0.25)

Image = tuple[Tensor, Tensor, str]


def images_of(folder: Path, plans: Plans) -> Iterator[Image]:
    """Image, brain mask and sequence of every case, the last first, as the method sees them."""
    for record in reversed(read_records(folder)):
        case = read_case(record)
        for sequence in (name for name in plans.sequences if name in case.sequences):
            matched = matched_image(case, sequence, plans)
            image = image_to_configuration(matched, case.brain_mask, plans)
            yield image, mask_to_configuration(case.brain_mask, plans), sequence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped_path(), metavar="FILE")
    parser.add_argument("--cases", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=4, help="how many, of the last cases")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.model)
    method, plans = checkpoint.build("cpu"), checkpoint.plans
    shape = plans.configuration.input_shape
    print(f"{plans.configuration.name}, step {checkpoint.step}")
    print(
        f"{'sequence':<9}{'window':<15}{'map apart':>10}{'largest':>10}{'seconds':>9}{'whole':>7}"
    )
    rows = []
    for (image, brain, sequence), _ in zip(
        images_of(options.cases, plans), range(options.images), strict=False
    ):
        start = time.perf_counter()
        whole = method.detect(image, brain, sequence, partial(in_windows, window=shape)).scores[""]
        middle = time.perf_counter()
        for share in SHARES:
            window = tuple(max(1, round(share * size)) for size in shape)
            begin = time.perf_counter()
            found = method.detect(image, brain, sequence, partial(in_windows, window=window))
            apart = (found.scores[""] - whole).abs()
            row = {
                "sequence": sequence,
                "window": window,
                "map_apart": float(apart.sum() / whole.sum()),
                "largest": float(apart.max()),
                "seconds": time.perf_counter() - begin,
                "seconds_whole": middle - start,
            }
            rows.append(row)
            print(
                f"{sequence:<9}{'×'.join(map(str, window)):<15}{row['map_apart']:>10.1e}"
                f"{row['largest']:>10.1e}{row['seconds']:>9.2f}{row['seconds_whole']:>7.2f}",
                flush=True,
            )
    worst = max(row["map_apart"] for row in rows)
    print(json.dumps({"benchmark": "windows", "map_apart": worst, "rows": rows}))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
