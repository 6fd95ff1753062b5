"""What one map of several sequences finds: rules and weights, beside each sequence alone.

Each sequence is predicted once, with all filters; every row below joins the same maps, each divided
by its practical threshold. Choose by the simulated heads (the default); `--real` is for a look.

    make benchmark-joint
    python benchmarks/joint.py [--model FILE] [--real]
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

import torch
from shipped_parts.rows import Counts, parser, print_groups, wanted_cases

from dal_auto.case import FloatArray, StandardCase
from dal_auto.inference.model import Model, load_model
from dal_auto.inference.predictor import predict
from dal_auto.scoring.joint import JointRule, joint_key, joint_score
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.model_files import choose_model

#: How much T1, T2 and FLAIR count.
WEIGHTS = ((1, 1, 1), (1, 1, 2), (1, 2, 2), (1, 2, 3), (1, 2, 4), (1, 3, 4), (1, 4, 8), (2, 3, 4))
_SEQUENCES = ("T1", "T2", "FLAIR")
#: Title → rule, weights.
ROWS: Mapping[str, tuple[JointRule, Mapping[str, float]]] = {
    "max": ("max", {}),
    **{
        f"{rule}, {' : '.join(map(str, weights))}": (
            rule,
            dict(zip(_SEQUENCES, map(float, weights), strict=True)),
        )
        for rule in ("mean", "roots")
        for weights in WEIGHTS
    },
}


def maps_of(case: StandardCase, model: Model) -> tuple[dict[str, FloatArray], dict[str, float]]:
    """Sequence → filtered map on the standard grid, and → its threshold."""
    maps, variants = {}, {}
    for sequence in (name for name in case.sequences if name in model.plans.sequences):
        found = predict(model.method, case, sequence, "cpu").anomaly
        variants[sequence], maps[sequence] = next(iter(found.items()))
    return maps, model.thresholds_in_joint(variants)


def main() -> None:
    options = parser(__doc__, rows=False).parse_args()
    model = load_model(choose_model(name=options.model), device="cpu")
    torch.set_num_threads(1)
    counts: dict[str, Counts] = {}
    for group, case in wanted_cases(options):
        if case.lesion_mask is None:
            continue
        maps, thresholds = maps_of(case, model)
        alone = {name: ScoreCounts.from_volume(m, case.lesion_mask) for name, m in maps.items()}
        rows = counts.setdefault(group, defaultdict(lambda: defaultdict(list)))
        for several in (s for n in range(2, len(maps) + 1) for s in combinations(sorted(maps), n)):
            key = joint_key(several)
            for name in several:
                rows[f"{name} alone"][key].append(alone[name])
            for title, (rule, weights) in ROWS.items():
                given = {name: maps[name] for name in several}
                joint = joint_score(given, thresholds, rule, weights, case.shown)
                rows[title][key].append(ScoreCounts.from_volume(joint, case.lesion_mask))
    told = print_groups("rule, T1 : T2 : FLAIR", counts)
    print(json.dumps({"benchmark": "joint", "model": options.model, "found": told}))


if __name__ == "__main__":
    main()
