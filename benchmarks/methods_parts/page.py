"""The tables of `docs/benchmark.md`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dal_auto.evaluation.scores import ScoredImage
from dal_auto.methods.checkpoint import load_checkpoint, threshold_key
from methods_parts.found import Found, found_by_size, gain

TRIVIAL = ("raw-intensity", "mean-brain")
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
    ]
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
    """Of groups with several cases, first seed: what AP is gained over the better trivial one."""
    places = list(dict.fromkeys((o.group, o.sequence) for o in found if o.cases > 1))
    first = min((one.seed for one in found), default=0)
    by_key = {(o.method, o.group, o.sequence): o for o in found if o.seed == first}
    rows = []
    for method in _methods(found):
        if method in TRIVIAL:
            continue
        cells = []
        for place in places:
            trivial = [by_key[t, *place] for t in TRIVIAL if (t, *place) in by_key]
            one = by_key.get((method, *place))
            if one is None or not trivial:
                cells.append("")
                continue
            low, high = gain(one, max(trivial, key=lambda other: other.precision))
            mark = "**" if low > 0 or high < 0 else ""
            cells.append(f"{mark}{low:+.1f} to {high:+.1f}{mark}")
        rows.append([method, *cells])
    return _markdown(["method", *(f"{g} {s}" for g, s in places)], rows) if rows else ""


def size_table(found: Sequence[Found], images: Sequence[ScoredImage]) -> str:
    """Simulated lesions that reach the practical threshold, by size: all sequences, first seed."""
    first = min((one.seed for one in found), default=0)
    rows, numbers = [], None
    for method in _methods(found):
        cells = np.zeros(len(_CLASSES))
        counted = np.zeros(len(_CLASSES), int)
        for one in found:
            if (one.method, one.seed, one.group) != (method, first, "simulated"):
                continue
            mine = [
                image
                for image in images
                if (image.run.method, image.run.seed) == (method, first)
                and image.dataset == "SimLesions"
                and image.sequence == one.sequence
            ]
            kept = load_checkpoint(mine[0].run.checkpoint_path).thresholds
            threshold = {one.sequence: kept[threshold_key(one.sequence, one.variant)]}
            for place, (number, share) in enumerate(found_by_size(mine, threshold, one.variant)):
                if number:
                    counted[place] += number
                    cells[place] += number * share
        if counted.any():
            numbers = counted
            shares = np.divide(100 * cells, counted, where=counted > 0, out=np.zeros(len(cells)))
            rows.append([method, *(f"{share:.0f}" for share in shares)])
    if numbers is None:
        return ""
    heads = (f"{name} ({n})" for name, n in zip(_CLASSES, numbers, strict=True))
    return _markdown(["method", *heads], rows)


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
                _of_known((cost["minutes"] for cost in mine), np.mean, ".1f"),
                _of_known((cost["image_seconds"] for cost in mine), np.mean, ".1f"),
                _of_known((cost["megabytes"] for cost in mine), max, ".0f"),
                f"{first['parameters']:,}",
                f"{first['lines']:,}",
            ]
        )
    head = ["method", "steps", "CPU minutes", "CPU s an image", "peak MB", "parameters", "lines"]
    return _markdown(head, rows)


def _of_known(
    values: Iterable[float | None], figure: Callable[[list[float]], Any], form: str
) -> str:
    known = [value for value in values if value is not None]
    return format(figure(known), form) if known else ""
