"""The tables, and the figures of the JSON line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from preprocessing_parts.accuracy import Accuracy
from preprocessing_parts.cases import Case
from preprocessing_parts.heads import DEGREES, SHIFT_MM

#: Steps of ours that brainles runs only with weights from elsewhere, or at no setting of its own.
LACKING = ("brain mask", "N4")


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _table(head: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, ["-" * width for width in widths], *rows]:
        first, *others = row
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]))
    print(flush=True)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _figure(value: float | None, digits: int = 3) -> float | None:
    return None if value is None or np.isnan(value) else round(value, digits)


def by_case(cases: list[Case], loads: dict[str, float], threads: int) -> dict[str, Any]:
    rows, sums = [], np.zeros(3)
    for case in cases:
        all_seconds = np.array([case.ours["all"], case.plain["all"], case.plain_same_n4])
        sums += all_seconds
        rows.append((case.name, all_seconds))
    rows.append(("all", sums))
    print(f"seconds per case, T1 + T2 raw with skull, {threads} threads, tools loaded")
    _table(
        ["case", "ours", "plain", "plain, our N4", "ratio", "ratio, our N4"],
        [[name, *map(_seconds, s), f"{s[1] / s[0]:.2f}", f"{s[2] / s[0]:.2f}"] for name, s in rows],
    )
    print(
        f"loading the tools, once per process: ours {loads['ours']:.1f} s, "
        f"plain {loads['plain']:.1f} s\n"
    )
    return {
        "ratio_plain": _figure(sums[1] / sums[0]),
        "ratio_plain_same_n4": _figure(sums[2] / sums[0]),
        "seconds_ours": _figure(sums[0] / len(cases), 1),
        "seconds_plain": _figure(sums[1] / len(cases), 1),
        "seconds_plain_same_n4": _figure(sums[2] / len(cases), 1),
        "load_seconds_ours": _figure(loads["ours"], 1),
        "load_seconds_plain": _figure(loads["plain"], 1),
    }


def by_step(cases: list[Case], floor: dict[str, float]) -> dict[str, Any]:
    """Where the time goes, and for the first case how far that is from the floor."""
    first = cases[0]
    columns = [_whole([case.ours for case in cases]), _whole([case.plain for case in cases]),
               _whole([first.ours]), floor | {"all": sum(floor.values())}]  # fmt: skip
    names = dict.fromkeys(name for column in columns for name in column if name != "all")
    rows = [[name, *(_seconds(column.get(name)) for column in columns)] for name in (*names, "all")]
    print("seconds by step, mean over the cases; then the first case and its floor")
    _table(["step", "ours", "plain", f"ours, {first.name}", "floor"], rows)
    return {"floor_share": _figure(sum(floor.values()) / first.ours["all"])}


def _whole(runs: list[dict[str, float]]) -> dict[str, float]:
    """Mean seconds by step, what lies between the steps, and "all"."""
    names = dict.fromkeys(name for run in runs for name in run if name != "all")
    steps = {name: _mean([run.get(name, 0.0) for run in runs]) for name in names}
    whole = _mean([run["all"] for run in runs])
    return steps | {"between the steps": whole - sum(steps.values()), "all": whole}


def beside_brainles(cases: list[Case], missing: str | None) -> dict[str, Any]:
    """Their whole run beside ours without the two steps that it cannot run here."""
    if missing is not None:
        print(f"brainles was not measured: {missing}\n")
        return {"ratio_brainles": None, "brainles_missing": missing}
    rows, rest = [], np.zeros(2)
    for case in cases:
        rest += (case.ours["all"] - sum(case.ours[s] for s in LACKING), case.peer["seconds"])
    ratio = rest[1] / rest[0]
    for name, own, other in (
        ("rigid T2 → T1", "rigid between sequences", "run_coregistration"),
        ("rigid T1 → atlas", _to_atlas(cases), "run_atlas_registration"),
    ):
        pair = np.array([[case.ours[own], case.peer["steps"][other]] for case in cases]).sum(0)
        rows.append([name, *map(_seconds, pair / len(cases))])
        rest -= pair
    rows.append(["reading, resampling, writing, …", *map(_seconds, rest / len(cases))])
    print(
        f"without {' and '.join(LACKING)}, which brainles does not run here; its resampling is in"
    )
    print(f"its rigid steps; mean over the cases; brainles takes {ratio:.2f} times as long")
    _table(["step", "ours", "brainles"], rows)
    return {"ratio_brainles": _figure(ratio), "brainles_missing": None}


def _to_atlas(cases: list[Case]) -> str:
    """The name of the chain's step, which names transform and atlas."""
    return next(name for name in cases[0].ours if " to " in name)


def accuracy_table(measured: Accuracy) -> dict[str, Any]:
    print(f"accuracy; known movements are {DEGREES:g} degrees and {SHIFT_MM:g} mm")
    rows = [
        [f"{name}, mm ({len(values)})", f"{_mean(values):.3f}", ""]
        for name, values in (
            ("T1 → T1, simulated", measured.t1_mm),
            ("T1 → T1, real scans moved", measured.t1_real_mm),
            ("T2 → T1, simulated", measured.t2_mm),
            ("T1 over the atlas and back, two scans", measured.retest_mm),
        )
    ]
    for name, sides in (
        ("T2 → T1 in the chain, mm", measured.t2_chain_mm),
        ("residual field, CV", measured.bias),
        ("brain mask, Dice", measured.dice),
    ):
        rows.append(
            [f"{name} ({len(sides['ours'])})"]
            + [f"{_mean(sides[side]):.4f}" for side in ("ours", "plain")]
        )
    _table(["", "ours", "plain"], rows)
    print(f"residual field before N4: {_mean(measured.bias['before']):.4f}\n")
    return {
        "t1_error_mm": _figure(_mean(measured.t1_mm + measured.t1_real_mm)),
        "t2_error_mm": _figure(_mean(measured.t2_mm + measured.t2_chain_mm["ours"])),
        "atlas_retest_mm": _figure(_mean(measured.retest_mm)),
        "residual_bias_before": _figure(_mean(measured.bias["before"]), 4),
        "residual_bias_ours": _figure(_mean(measured.bias["ours"]), 4),
        "residual_bias_plain": _figure(_mean(measured.bias["plain"]), 4),
        "dice_ours": _figure(_mean(measured.dice["ours"]), 4),
        "dice_plain": _figure(_mean(measured.dice["plain"]), 4),
    }
