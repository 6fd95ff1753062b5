"""Rows of changed plans beside each other: what such a benchmark asks and prints."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from home import Home
from preprocessing_parts.cases import test_data

from dal_auto.case import StandardCase
from dal_auto.plans import parse_assignment
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.pooled_curve import ScoreCounts
from shipped_parts import cases

#: What a row is called → what it changes in the model's plans.
Rows = Mapping[str, Mapping[str, Any]]
#: Row → sequence, or several by `joint_key` → counts of each case.
Counts = dict[str, dict[str, list[ScoreCounts]]]
#: Row → sequence → (pooled AP, mean of the cases' APs) in %.
Told = Mapping[str, Mapping[str, tuple[float, float]]]


def parser(doc: str | None, *, rows: bool = True) -> argparse.ArgumentParser:
    """Options that such benchmarks share; `doc` is the benchmark's docstring.

    Parameters
    ----------
    rows : whether the benchmark has rows of changed plans
    """
    home = Path(__file__).parents[1] / ".cache" / "shipped"
    options = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else "")
    options.add_argument("--model", default="shipped", help="a .safetensors file")
    options.add_argument("--home", type=Path, default=home)
    if rows:
        options.add_argument(
            "--set", nargs="*", metavar="KEY=VALUE", help="one row more, with these"
        )
    options.add_argument("--real", action="store_true", help="the real cases; nothing is chosen by")
    return options


def wanted_cases(options: argparse.Namespace) -> Iterable[tuple[str, StandardCase]]:
    """Group and case of all that the options ask for, healthy ones included."""
    data = test_data()
    if data is None:
        raise SystemExit("no label maps and real cases; DAL_TEST_DATA names their folder")
    if options.real:
        return cases.real_cases(data, options.home / "real")
    return cases.simulated_cases(data, Home(options.home))


def wanted_rows(options: argparse.Namespace, rows: Rows) -> Rows:
    """The model as it is, the benchmark's own rows, and that of ``--set``."""
    asked = {" ".join(options.set): dict(map(parse_assignment, options.set))} if options.set else {}
    return {"as the model": {}, **rows, **asked}


def pooled_percent(several: Sequence[ScoreCounts]) -> float:
    """Average precision in % of all voxels of several cases together."""
    return 100 * average_precision(sum(several[1:], several[0]))


def pooled_and_mean(several: Sequence[ScoreCounts]) -> tuple[float, float]:
    """AP in %: pooled, and the mean of the cases' own."""
    return pooled_percent(several), 100 * sum(map(average_precision, several)) / len(several)


def print_table(group: str, what: str, told: Told) -> None:
    """A group's rows; `what` they are heads their column. A row may lack some sequences."""
    columns = list(dict.fromkeys(name for values in told.values() for name in values))
    print(f"\n{group}\n\n| {what} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for title, values in told.items():
        cells = ("{:.1f} ({:.1f})".format(*values[n]) if n in values else "" for n in columns)
        print(f"| {title} | {' | '.join(cells)} |")


def print_groups(what: str, counts: Mapping[str, Counts]) -> dict[str, Told]:
    """Print each group's table, and return them: group → row → sequence → (pooled, mean) in %."""
    told: dict[str, Told] = {
        group: {
            title: {name: pooled_and_mean(several) for name, several in by_sequence.items()}
            for title, by_sequence in rows.items()
        }
        for group, rows in counts.items()
    }
    for group, by_row in told.items():
        print_table(group, what, by_row)
    return told
