"""What the commands that plan share: what their options ask for, and the plans as a table."""

from __future__ import annotations

import argparse
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from dal_auto.cli.table import terminal_width
from dal_auto.errors import PlansError, UsageError
from dal_auto.methods.registry import find_method
from dal_auto.planning.configurations import CONFIGURATIONS
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.wishes import PlannedRun, Wishes
from dal_auto.plans import read_assignments

#: Columns that suffice for the values that people read.
_WIDEST_VALUE = 34


def hardware_of(options: argparse.Namespace, device: str | None = None) -> Hardware:
    """What to plan for: this machine, or the GPU that the user names."""
    if options.device_memory is None:
        return Hardware.measure(device)
    return Hardware(device or "cuda", options.device_memory, on_paper=True)


def plans_file(options: argparse.Namespace) -> dict[str, Any]:
    """Dotted key → value of the file of ``--plans``; empty without one."""
    return {} if options.plans is None else read_assignments(options.plans)


def settled(option: str, told: Any, from_file: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value of a command's option: as told, else as in the plans file, else the default.

    Raises
    ------
    UsageError
        if both are there and differ.
    PlansError
        if the file's is neither a name nor, where the default is a list, a list of names.
    """
    in_file = from_file.get(key)
    several = isinstance(default, list)
    if in_file is not None:
        names = in_file if several else [in_file]
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise PlansError(key, in_file, "a list of names" if several else "a name")
    if told is not None and in_file is not None and told != in_file:
        raise UsageError(
            f"{option} says {told!r}, and {key} in the plans file {in_file!r}: leave one out"
        )
    return told if told is not None else default if in_file is None else in_file


def wishes_of(
    from_file: Mapping[str, Any],
    *,
    sequences: Sequence[str] | None = None,
    configuration: str | None = None,
    method: str | None = None,
    preset: str | None = None,
    assignments: Mapping[str, Any],
) -> Wishes:
    """What options (None where not given), plans file and ``--set`` ask for.

    Raises
    ------
    UsageError
        where an option and the file contradict each other.
    """
    named = settled("-c", configuration, from_file, "configuration.name", None)
    if configuration is None and named not in CONFIGURATIONS:
        named = None  # the file describes a grid of its own
    chosen = list(sequences) if sequences else None
    known_method = find_method(method).name if method else None
    return Wishes(
        sequences=tuple(settled("--sequences", chosen, from_file, "sequences", ["T1", "T2"])),
        configuration=named,
        method=settled("-m", known_method, from_file, "method.name", "DAL"),
        preset=settled("--preset", preset, from_file, "method.preset", "robust"),
        from_file=from_file,
        assignments=assignments,
    )


def plans_line(run: PlannedRun) -> str:
    """What the plans come to, in one line."""
    plans = run.plans
    return (
        f"{plans.method.name} on {plans.training_set}, {', '.join(plans.sequences)}, configuration "
        f"{plans.configuration.name} ({plans.value_sources['configuration.name']}), preset "
        f"{plans.method.preset}, {_text(plans.training.steps)} steps"
    )


def plans_table(run: PlannedRun, columns: int | None = None) -> list[str]:
    """The plans by section: key, value, source; then what follows from them.

    Parameters
    ----------
    columns : width of the table; by default the terminal's
    """
    columns = columns or terminal_width()
    rows = [
        (*_section_and_key(key), _text(value), source) for key, value, source in run.plans.flat()
    ]
    rows += [("derived", key, _text(value), source) for key, value, source in run.derived()]
    key_column = max(len(key) for _, key, _, _ in rows)
    left = max(columns - key_column - 6, 24)
    value_column = min(_WIDEST_VALUE, left // 2)
    lines = []
    for section, group in itertools.groupby(rows, key=lambda row: row[0]):
        lines.append(section)
        for _, key, value, source in group:
            cells = (
                [key],
                textwrap.wrap(value, value_column) or [""],
                textwrap.wrap(source, left - value_column) or [""],
            )
            for a, b, c in itertools.zip_longest(*cells, fillvalue=""):
                lines.append(f"  {a:<{key_column}}  {b:<{value_column}}  {c}".rstrip())
    return lines


def _section_and_key(key: str) -> tuple[str, str]:
    section, dot, rest = key.partition(".")
    return (section, rest) if dot else ("run", key)


def _text(value: Any) -> str:
    """A value for people: four digits are enough to recognise a number."""
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence):
        return ", ".join(map(_text, value))
    return str(value)
