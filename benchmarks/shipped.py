"""What a model finds in real cases and in simulated lesions, beside the plain intensity.

    make benchmark-shipped
    .venv/bin/python benchmarks/shipped.py --model FILE --pictures docs/pictures

Average precision in %, over all voxels of the standard grid of 1 mm, through the whole chain, with
the paper's filters. The intensity has the same filters, and counts in its better polarity.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from home import Home
from preprocessing_parts.cases import test_data
from shipped_parts import cases
from shipped_parts.pictures import Row, draw, row_of
from shipped_parts.scores import (
    Found,
    Pooled,
    marked,
    marked_ml,
    percent,
    pooled,
    scored,
)

from dal_auto.case import StandardCase
from dal_auto.inference.model import Model, load_model
from dal_auto.inference.native_map import JOINT, joint_prediction
from dal_auto.inference.predictor import Prediction
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.model_files import choose_model


def main() -> None:
    options = _options()
    data = test_data()
    if data is None:
        raise SystemExit("no real cases and label maps; DAL_TEST_DATA names their folder")
    model = load_model(choose_model(name=options.model), device="cpu")
    everything = chain(
        cases.real_cases(data, options.home / "real"),
        () if options.real_only else cases.simulated_cases(data, Home(options.home)),
    )
    start = time.perf_counter()
    found, rows = _score_all(everything, model)
    minutes = (time.perf_counter() - start) / 60
    _print_cases(found, model)
    groups = _print_groups(found)
    _print_marked(found, model)
    if options.pictures:
        for group, drawn in rows.items():
            name = "-".join(group.lower().replace(",", "").split())
            draw(drawn, options.pictures / f"shipped-{name}.png")
    print(json.dumps({"minutes": round(minutes, 1), **groups}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--model",
        default="shipped",
        help="a .safetensors file with its card, of DAL or another method that restores images",
    )
    parser.add_argument("--home", type=Path, default=Path(__file__).parent / ".cache" / "shipped")
    parser.add_argument("--pictures", type=Path, help="folder for a picture per group")
    parser.add_argument("--real-only", action="store_true", help="without the simulated heads")
    return parser.parse_args()


def _score_all(
    everything: Iterable[tuple[str, StandardCase]], model: Model
) -> tuple[list[Found], dict[str, list[Row]]]:
    found: list[Found] = []
    rows: dict[str, list[Row]] = defaultdict(list)
    for group, case in everything:
        predictions = {}
        for sequence in case.sequences:
            if sequence not in model.plans.sequences:
                continue
            one, prediction = scored(group, case, model.method, sequence)
            found.append(one)
            predictions[sequence] = prediction
            if "anatomy" in prediction.extras:
                title = f"{case.case_id} {sequence}"
                rows[group].append(row_of(title, case, prediction, model.threshold(sequence, "")))
        if len(predictions) > 1:
            found.append(_joint(group, case, predictions, model, found[-len(predictions) :]))
    return found, rows


def _joint(
    group: str,
    case: StandardCase,
    predictions: dict[str, Prediction],
    model: Model,
    parts: list[Found],
) -> Found:
    """The map of all sequences; the intensity beside it is that of the best single sequence."""
    like = next(iter(predictions.values()))
    score = joint_prediction(model, case, predictions, like).anomaly[""]
    best = max(parts, key=lambda one: max(percent(one.bright), percent(one.dark)))
    lesion = np.zeros(score.shape, bool) if case.lesion_mask is None else case.lesion_mask
    counts = ScoreCounts.from_volume(score, lesion)
    return Found(
        group, case.case_id, JOINT, best.lesion_ml, counts, best.bright, best.dark, float("nan")
    )


def _print_cases(found: list[Found], model: Model) -> None:
    print("\n| case | ml | sequence | DAL | bright | dark | error |\n|---|---|---|---|---|---|---|")
    for one in found:
        if one.lesion_ml:
            figures = (percent(one.method), percent(one.bright), percent(one.dark))
            values = " | ".join(f"{value:.1f}" for value in figures)
            error = "" if np.isnan(one.error) else f"{one.error:.3f}"
            print(f"| {one.case} | {one.lesion_ml:.0f} | {one.sequence} | {values} | {error} |")
    print(
        "\n| healthy case | sequence | ml marked at the threshold, at half of it |\n|---|---|---|"
    )
    for one in found:
        if not one.lesion_ml:
            full = _threshold(one, model)
            ml = " / ".join(f"{marked_ml(one, full * share):.1f}" for share in (1, 0.5))
            print(f"| {one.case} | {one.sequence} | {ml} |")


def _threshold(one: Found, model: Model) -> float:
    return 1.0 if one.sequence == JOINT else model.threshold(one.sequence, "")


def _print_marked(found: list[Found], model: Model) -> None:
    """What the masks at the practical threshold, and at half of it, have of the lesions: means
    over a group's cases."""
    print("\n| group | sequence | DSC | share of the lesion found | ml marked outside |")
    print("|---|---|---|---|---|")
    parts: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for one in found:
        if one.lesion_ml:
            parts[one.group, one.sequence].append(one)
    for (group, sequence), several in parts.items():
        full = _threshold(several[0], model)
        whole, half = ([marked(one, full * share) for one in several] for share in (1, 0.5))
        columns = [
            " / ".join(
                f"{np.mean([getattr(one, name) for one in ones]):.{digits}f}"
                for ones in (whole, half)
            )
            for name, digits in (("dice", 0), ("lesion", 0), ("outside_ml", 1))
        ]
        print(f"| {group} | {sequence} | {columns[0]} | {columns[1]} % | {columns[2]} |")


def _print_groups(found: list[Found]) -> dict[str, dict[str, float]]:
    print("\n| group | sequence | cases | DAL | bright | dark | gain over the better, 95 % |")
    print("|---|---|---|---|---|---|---|")
    told: dict[str, dict[str, float]] = {}
    for group, sequence, parts in _grouped(found):
        figures: Pooled = pooled(parts)
        low, high = figures.gain
        gain = "one case" if np.isnan(low) else f"{low:+.1f} to {high:+.1f}"
        values = f"{figures.method:.1f} | {figures.bright:.1f} | {figures.dark:.1f}"
        print(f"| {group} | {sequence} | {len(parts)} | {values} | {gain} |")
        told.setdefault(group, {})[sequence] = round(figures.method, 1)
    return told


def _grouped(found: list[Found]) -> Iterator[tuple[str, str, list[Found]]]:
    places = dict.fromkeys((one.group, one.sequence) for one in found if one.lesion_ml)
    for group, sequence in places:
        yield group, sequence, [o for o in found if (o.group, o.sequence) == (group, sequence)]


if __name__ == "__main__":
    main()
