"""The tables of `docs/benchmark.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from home import LESIONED

from dal_auto.evaluation.scores import ScoredImage
from dal_auto.methods.checkpoint import load_checkpoint, threshold_key
from dal_auto.scoring.bootstrap import interval
from methods_parts.found import Found, found_by_size
from methods_parts.search import FACTORS, RATE, SHARES, STEPS

TRIVIAL = ("raw-intensity", "mean-brain")
#: What all others are compared with.
LEADER = "DAL"
_CLASSES = ("below 1 ml", "1 to 10 ml", "10 ml and more")


def is_own(variant: str) -> bool:
    """Whether a variant is left as its method's paper leaves it, without DAL's filters."""
    return variant == "own" or variant.endswith("-own")


def pages(
    found: Sequence[Found], images: Sequence[ScoredImage], costs: Sequence[Mapping[str, Any]]
) -> str:
    """All tables as Markdown."""
    common = best([one for one in found if not is_own(one.variant)])
    left = best([one for one in found if is_own(one.variant)])
    parts = [
        ("AP in %, common post-processing", precision_table(common)),
        ("DSC in %, common post-processing", precision_table(common, lambda one: one.dice)),
        ("AP in %, as each method's paper leaves its maps", precision_table(left)),
        ("AP above the better trivial baseline, 95 % interval", gain_table(common)),
        ("Lesions found of the simulated heads, in %", size_table(common, images)),
        ("What it costs", cost_table(costs)),
        ("What the search tried", search_table(costs)),
    ]
    return _sections(parts)


def pages_of_steps(found: Sequence[Found], costs: Sequence[Mapping[str, Any]]) -> str:
    """The tables of equal steps: what is found, and what it costs."""
    common = best([one for one in found if not is_own(one.variant)])
    parts = [
        ("AP in %, equal steps", precision_table(common)),
        ("AP above the better trivial baseline, equal steps, 95 % interval", gain_table(common)),
        (f"{LEADER}'s AP above each method's, equal steps, 95 % interval", lead_table(common)),
        ("What equal steps cost", cost_table(costs)),
    ]
    return _sections(parts)


def _sections(parts: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"### {title}\n\n{table}" for title, table in parts if table)


def best(found: Iterable[Found]) -> list[Found]:
    """Of each method, seed, group and sequence the variant with the highest AP."""
    chosen: dict[tuple[str, int, str, str], Found] = {}
    for one in found:
        key = (one.method, one.seed, one.group, one.sequence)
        if key not in chosen or one.precision > chosen[key].precision:
            chosen[key] = one
    return list(chosen.values())


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _methods(found: Sequence[Found]) -> list[str]:
    """By name, trivial ones last."""
    names = {one.method for one in found}
    return sorted(names, key=lambda name: (name in TRIVIAL, name.lower()))


def precision_table(
    found: Sequence[Found], figure: Callable[[Found], float] = lambda one: one.precision
) -> str:
    """A row a method, a column a group and sequence: means over seeds, ± of several."""
    if not found:
        return ""
    places = list(dict.fromkeys((one.group, one.sequence) for one in found))
    rows = []
    for method in _methods(found):
        cells = []
        for place in places:
            mine = [figure(o) for o in found if (o.method, o.group, o.sequence) == (method, *place)]
            cells.append(_spread(mine))
        rows.append([method, *cells])
    return _markdown(["method", *(f"{g} {s}" for g, s in places)], rows)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def gain_table(found: Sequence[Found]) -> str:
    """Of groups with several cases: what AP is gained over the better trivial baseline.

    The interval is of the mean over seeds; in bold where each seed's own lies on one side of 0.
    """
    names = [name for name in _methods(found) if name not in TRIVIAL]
    return _interval_table(found, names, lambda mine, there: _gain(mine, _trivial(there)))


def lead_table(found: Sequence[Found]) -> str:
    """Of groups with several cases: what AP DAL has above each other method, as `gain_table`."""

    def lead(others: Sequence[Found], there: Sequence[Found]) -> str:
        leaders = [one for one in there if one.method == LEADER]
        return _gain(leaders, {one.seed: one for one in others})

    return _interval_table(found, [name for name in _methods(found) if name != LEADER], lead)


def _interval_table(
    found: Sequence[Found],
    names: Sequence[str],
    interval_of: Callable[[Sequence[Found], Sequence[Found]], str],
) -> str:
    """A row a method, a column a group of several cases and a sequence.

    Parameters
    ----------
    interval_of : of what the method found there, and of what all methods found there
    """
    places = list(dict.fromkeys((o.group, o.sequence) for o in found if o.cases > 1))
    rows = []
    for method in names:
        cells = []
        for place in places:
            there = [one for one in found if (one.group, one.sequence) == place]
            cells.append(interval_of([one for one in there if one.method == method], there))
        rows.append([method, *cells])
    return _markdown(["method", *(f"{g} {s}" for g, s in places)], rows) if rows else ""


def _trivial(there: Sequence[Found]) -> Mapping[int, Found]:
    """Seed → the better trivial baseline, by the mean over seeds."""
    several = [[one for one in there if one.method == name] for name in TRIVIAL]
    several = [ones for ones in several if ones]
    if not several:
        return {}
    best = max(several, key=lambda ones: float(np.mean([one.precision for one in ones])))
    return {one.seed: one for one in best}


def _gain(mine: Sequence[Found], others: Mapping[int, Found]) -> str:
    gains = [one.resampled - others[one.seed].resampled for one in mine if one.seed in others]
    if not gains:
        return ""
    low, high = interval(np.mean(gains, axis=0))
    each = [interval(gain) for gain in gains]
    mark = "**" if all(one[0] > 0 for one in each) or all(one[1] < 0 for one in each) else ""
    return f"{mark}{low:+.1f} to {high:+.1f}{mark}"


def size_table(found: Sequence[Found], images: Sequence[ScoredImage]) -> str:
    """Simulated lesions that reach the practical threshold, by size: all sequences and seeds."""
    rows, numbers = [], np.zeros(len(_CLASSES), int)
    simulated = [one for one in found if one.group == "simulated"]
    for method in _methods(simulated):
        mine = [one for one in simulated if one.method == method]
        hits, numbers = np.zeros(len(_CLASSES)), np.zeros(len(_CLASSES), int)
        for one in mine:
            for place, (number, share) in enumerate(_by_size(one, images)):
                if number:
                    numbers[place] += number
                    hits[place] += number * share
        shares = np.divide(100 * hits, numbers, out=np.zeros(len(hits)), where=numbers > 0)
        rows.append([method, *(f"{share:.0f}" for share in shares)])
        numbers //= len({one.seed for one in mine})  # each seed's model sees the same lesions
    heads = (f"{name} ({n})" for name, n in zip(_CLASSES, numbers, strict=True))
    return _markdown(["method", *heads], rows) if rows else ""


def _by_size(one: Found, images: Sequence[ScoredImage]) -> list[tuple[int, float]]:
    """(lesions, share found) of each class, by the run's own practical threshold."""
    mine = [
        image
        for image in images
        if (image.run.method, image.run.seed) == (one.method, one.seed)
        and (image.dataset, image.sequence) == (LESIONED, one.sequence)
    ]
    kept = load_checkpoint(mine[0].run.checkpoint_path).thresholds
    threshold = {one.sequence: kept[threshold_key(one.sequence, one.variant)]}
    return found_by_size(mine, threshold, one.variant)


def cost_table(costs: Sequence[Mapping[str, Any]]) -> str:
    """Means over seeds."""
    rows = []
    names = sorted({str(c["method"]) for c in costs}, key=lambda n: (n in TRIVIAL, n.lower()))
    for name in names:
        mine = [cost for cost in costs if cost["method"] == name]
        first = mine[0]
        preliminary = f"{first['preliminary']:,} + " if first["preliminary"] else ""
        rows.append(
            [
                name,
                f"{preliminary}{first['steps']:,}" if first["steps"] or preliminary else "",
                f"{first['rate']:g}" if first["rate"] else "",
                _of_known((cost["minutes"] for cost in mine), np.mean, ".1f"),
                _of_known((cost["image_seconds"] for cost in mine), np.mean, ".1f"),
                _of_known((cost["megabytes"] for cost in mine), max, ".0f"),
                f"{first['parameters']:,}",
                f"{first['lines']:,}",
            ]
        )
    head = ["method", "steps", "learning rate", "CPU minutes", "CPU s an image", "peak MB"]
    return _markdown([*head, "parameters", "lines"], rows)


def search_table(costs: Sequence[Mapping[str, Any]]) -> str:
    """AP in % of lesions pasted into heads that training leaves out; the best one is in bold."""
    rows = {
        str(cost["method"]): [
            cell for key in (RATE, STEPS) for cell in _tried_cells(cost["tried"].get(key, {}))
        ]
        for cost in costs
        if cost["tried"]
    }
    rates = [f"rate × {factor:g}" for factor in FACTORS]
    steps = [f"steps × {share:g}" for share in (*SHARES, 1.0)]
    table = [[name, *rows[name]] for name in sorted(rows, key=str.lower)]
    return _markdown(["method", *rates, *steps], table) if table else ""


def _tried_cells(precisions: Mapping[float, float]) -> list[str]:
    best = max(precisions.values(), default=0.0)
    shown = (f"{100 * value:.1f}" for value in precisions.values())
    return [f"**{one}**" if one == f"{100 * best:.1f}" else one for one in shown]


def _of_known(
    values: Iterable[float | None], figure: Callable[[list[float]], Any], form: str
) -> str:
    known = [value for value in values if value is not None]
    return format(figure(known), form) if known else ""
