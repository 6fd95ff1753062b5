"""What the filters on the grid of 1 mm find of the same anomaly scores.

Each image is scored once on the model's grid, and every row below filters that score at 1 mm as
`dal_predict` does. Choose by the simulated heads (the default); `--real` is for a look.

    make benchmark-filters
    python benchmarks/filters.py [--model FILE] [--set scoring.guided_mm=15 …] [--real]
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from home import Home
from preprocessing_parts.cases import test_data
from scores import pooled_percent
from shipped_parts import cases

from dal_auto.case import StandardCase
from dal_auto.inference.model import load_model
from dal_auto.inference.predictor import filtered, on_the_grid, windows_of
from dal_auto.methods.method import Method
from dal_auto.plans import parse_assignment
from dal_auto.preprocessing.configuration_grid import matched_image, to_standard
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.plan import ScoringPlan
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.model_files import choose_model

Row = Mapping[str, Any]
_PAPER = {"scoring.min_filter_mm": 3.0, "scoring.mean_filter_mm": 9.0, "scoring.guided_mm": 0.0}
_NO_MINIMUM = _PAPER | {"scoring.min_filter_mm": 0.0}


def _guided(edge_mm: float, epsilon: float, **others: float) -> Row:
    more = {f"scoring.{key}": value for key, value in others.items()}
    ours = {"scoring.guided_mm": edge_mm, "scoring.guided_epsilon": epsilon}
    return _NO_MINIMUM | ours | more


#: What a row is called → what it changes in the model's plans.
ROWS: Mapping[str, Row] = {
    "the paper's: minimum 3 mm, mean 9 mm": _PAPER,
    "mean 9 mm": _NO_MINIMUM,
    "minimum 3 mm, mean 9 mm, guided 9 mm": _guided(9.0, 1e-3, min_filter_mm=3.0),
    "mean 9 mm, guided 9 mm": _guided(9.0, 1e-3),
    "mean 9 mm, guided 15 mm": _guided(15.0, 1e-3),
    "mean 9 mm, guided 15 mm, ε 0.01": _guided(15.0, 1e-2),
    "mean 9 mm, guided 21 mm, ε 0.003": _guided(21.0, 3e-3),
    "mean 5 mm, guided 9 mm": _guided(9.0, 1e-3, mean_filter_mm=5.0),
    "guided 9 mm": _guided(9.0, 1e-3, mean_filter_mm=0.0),
}

#: Row → sequence → counts of each case.
Counts = dict[str, dict[str, list[ScoreCounts]]]


def count(
    case: StandardCase, method: Method, plans: Mapping[str, ScoringPlan], into: Counts
) -> None:
    """Add what every row finds of every sequence of the case that the model knows."""
    assert case.lesion_mask is not None
    for sequence in (name for name in case.sequences if name in method.plans.sequences):
        image, shown = matched_image(case, sequence, method.plans), case.brain_of(sequence)
        given = on_the_grid(image, shown, method.plans, "cpu")
        found = method.detect(*given, sequence, windows_of(method.plans, "cpu"))
        score = to_standard(next(iter(found.scores.values())), method.plans)
        for title, plan in plans.items():
            map_ = filtered(score, image, torch.from_numpy(shown), plan)
            one = ScoreCounts.from_volume(map_, case.lesion_mask)
            into[title].setdefault(sequence, []).append(one)


@torch.no_grad()
def main() -> None:
    options = _options()
    data = test_data()
    if data is None:
        raise SystemExit("no label maps and real cases; DAL_TEST_DATA names their folder")
    method = load_model(choose_model(name=options.model), device="cpu").method
    rows: dict[str, Row] = {"as the model": {}} | dict(ROWS)
    if options.set:
        rows[" ".join(options.set)] = dict(map(parse_assignment, options.set))
    plans = {
        title: method.plans.override(changes, "benchmark").scoring
        for title, changes in rows.items()
    }
    everything = (
        cases.real_cases(data, options.home / "real")
        if options.real
        else cases.simulated_cases(data, Home(options.home))
    )
    counts: dict[str, Counts] = defaultdict(lambda: defaultdict(dict))
    for group, case in everything:
        if case.lesion_mask is not None:
            count(case, method, plans, counts[group])
    told = {group: _told(found) for group, found in counts.items()}
    for group, by_row in told.items():
        _print_table(group, by_row)
    print(json.dumps({"benchmark": "filters", "model": options.model, "found": told}))


def _told(found: Counts) -> dict[str, dict[str, tuple[float, float]]]:
    """Row → sequence → (pooled AP, mean of the cases' APs) in %."""
    return {
        title: {
            sequence: (
                pooled_percent(several),
                100 * sum(map(average_precision, several)) / len(several),
            )
            for sequence, several in by_sequence.items()
        }
        for title, by_sequence in found.items()
    }


def _print_table(group: str, by_row: Mapping[str, Mapping[str, tuple[float, float]]]) -> None:
    sequences = sorted(next(iter(by_row.values())))
    print(f"\n{group}\n\n| filters | {' | '.join(sequences)} |\n|---|{'---|' * len(sequences)}")
    for title, values in by_row.items():
        cells = (f"{values[name][0]:.1f} ({values[name][1]:.1f})" for name in sequences)
        print(f"| {title} | {' | '.join(cells)} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", default="shipped", help="a .safetensors file")
    parser.add_argument("--home", type=Path, default=Path(__file__).parent / ".cache" / "shipped")
    parser.add_argument("--set", nargs="*", metavar="KEY=VALUE", help="one row more, with these")
    parser.add_argument("--real", action="store_true", help="the real cases; nothing is chosen by")
    return parser.parse_args()


if __name__ == "__main__":
    main()
