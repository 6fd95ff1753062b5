"""What the filters on the grid of 1 mm find of the same anomaly scores.

Each image is scored once on the model's grid, and every row below filters that score at 1 mm as
`dal_predict` does. Choose by the simulated heads (the default); `--real` is for a look.

    make benchmark-filters
    python benchmarks/filters.py [--model FILE] [--set scoring.guided_mm=15 …] [--real]
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from shipped_parts.rows import Counts, parser, print_groups, wanted_cases, wanted_rows
from shipped_parts.scores import unfiltered

from dal_auto.case import StandardCase
from dal_auto.inference.model import load_model
from dal_auto.inference.predictor import filtered
from dal_auto.methods.method import Method
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


def count(
    case: StandardCase, method: Method, plans: Mapping[str, ScoringPlan], into: Counts
) -> None:
    """Add what every row finds of every sequence of the case that the model knows."""
    assert case.lesion_mask is not None
    for sequence in (name for name in case.sequences if name in method.plans.sequences):
        found = unfiltered(method, case, sequence)
        score = next(iter(found.scores.values()))
        for title, plan in plans.items():
            map_ = filtered(score, found.image, found.brain, plan)
            one = ScoreCounts.from_volume(map_, case.lesion_mask)
            into[title].setdefault(sequence, []).append(one)


@torch.no_grad()
def main() -> None:
    options = parser(__doc__).parse_args()
    method = load_model(choose_model(name=options.model), device="cpu").method
    plans = {
        title: method.plans.override(changes, "benchmark").scoring
        for title, changes in wanted_rows(options, ROWS).items()
    }
    counts: dict[str, Counts] = defaultdict(lambda: defaultdict(dict))
    for group, case in wanted_cases(options):
        if case.lesion_mask is not None:
            count(case, method, plans, counts[group])
    told = print_groups("filters", counts)
    print(json.dumps({"benchmark": "filters", "model": options.model, "found": told}))


if __name__ == "__main__":
    main()
