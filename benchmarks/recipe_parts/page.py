"""The table of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recipe_parts.rows import BY_TITLE, TITLES

#: Row → its figures, of one seed.
Rows = Mapping[str, Mapping[str, Any]]


def table(seeds: Mapping[int, Rows], sequences: Sequence[str]) -> str:
    """A line a row, with each seed's figures.

    "below" and "above" stand where the interval of the paired difference from the whole recipe lies
    on one side of 0 with every seed. A row that a seed lacks is left out.
    """
    columns = ["row", "error", *sequences]
    columns += [f"real {name}" for name in sequences]
    columns += [f"paper: more AP, {name}" for name in sequences]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for title in (title for title in TITLES if all(title in rows for rows in seeds.values())):
        several = [rows[title] for rows in seeds.values()]
        errors = ["" if one["error"] is None else f"{one['error']:.3f}" for one in several]
        cells = [title, ", ".join(errors) if all(errors) else ""]
        cells += [_precision(several, name) for name in sequences]
        cells += [", ".join(f"{one['real'][name]:.1f}" for one in several) for name in sequences]
        paper = BY_TITLE[title].paper if title in BY_TITLE else {}
        cells += [f"{paper[name]:+.1f}" if name in paper else "" for name in sequences]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def interval_table(seeds: Mapping[int, Rows], sequences: Sequence[str]) -> str:
    """A line a row: each seed's paired 95 % interval of what AP it has more than the whole."""
    lines = [f"| row | {' | '.join(sequences)} |", f"|{'---|' * (len(sequences) + 1)}"]
    for title in (title for title in TITLES[1:] if all(title in rows for rows in seeds.values())):
        cells = []
        for name in sequences:
            bounds = [rows[title]["more"][name] for rows in seeds.values()]
            cells.append("; ".join(f"{low:+.1f} to {high:+.1f}" for low, high in bounds))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _precision(several: Sequence[Mapping[str, Any]], sequence: str) -> str:
    """Each seed's AP, and whether all seeds say below or above."""
    values = ", ".join(f"{one['AP'][sequence]:.1f}" for one in several)
    bounds = [one["more"].get(sequence) for one in several]
    if all(pair is not None and pair[1] < 0 for pair in bounds):
        return f"{values} **below**"
    if all(pair is not None and pair[0] > 0 for pair in bounds):
        return f"{values} **above**"
    return values
