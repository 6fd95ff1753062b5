"""``index.html`` of a folder of maps: every case with its picture, figures and what is odd.

Pictures lie beside it and are loaded when they come into view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dal_auto.inference.case_page import model_warnings
from dal_auto.inference.limits import LIMITS
from dal_auto.pages import page as pages
from dal_auto.pages.pictures import ShownPicture, shown_picture

#: key of a row, heading, meaning, decimals
COLUMNS = (
    ("anomaly_ml", "anomaly, ml", "volume of the voxels at or above the threshold", 2),
    ("components", "components", "connected pieces of the mask, 26 neighbours", 0),
    ("largest_component_ml", "largest, ml", "volume of the largest piece", 2),
    ("maximum_score", "maximum", "highest score of the map", 3),
    ("mean_score", "mean", "mean score over the brain", 4),
    ("threshold", "threshold", "score from which on a voxel is in the mask", 4),
)


@dataclass(frozen=True)
class Map:
    """One line of the page: a sequence of a case.

    Parameters
    ----------
    cells : (value, text) by column
    viewer : URL of its page, empty where it has none
    files : (what, URL) of the volumes
    """

    case_id: str
    sequence: str
    picture: ShownPicture | None
    viewer: str
    cells: tuple[tuple[float, str], ...]
    flags: Sequence[str]
    warnings: Sequence[str]
    done: Sequence[str]
    files: Sequence[tuple[str, str]]
    run: str


def write_page(output: Path, records: Sequence[Mapping[str, Any]], failures: Sequence[str]) -> Path:
    """Write the page of a folder, whole or not at all; all text is escaped. Returns its path.

    Parameters
    ----------
    records : of all cases done so far
    failures : one sentence per case that failed
    """
    maps = [_map(output, record, row) for record in records for row in record["rows"]]
    maps.sort(key=lambda one: (-one.cells[0][0], one.case_id, one.sequence))
    models = {record["model"]["run"]: record["model"] for record in records}
    path = output / "index.html"
    pages.write_page(
        path,
        "page.html",
        __package__ or "",
        scripts=(pages.TABLE, pages.GALLERY),
        maps=maps,
        cases=len(records),
        flagged=sum(bool(record["flags"] or record["warnings"]) for record in records),
        failures=failures,
        columns=COLUMNS,
        choices=_choices(),
        models=[models[name] for name in sorted(models)],
        limits=LIMITS,
        warnings=sorted({line for one in models.values() for line in model_warnings(one)}),
    )
    return path


def _choices() -> list[tuple[int, str, bool]]:
    """(column, name, whether it comes first) of what the table can be sorted by."""
    names = ["case", "sequence", *(title for _, title, _, _ in COLUMNS)]
    return [(number, name, number == 3) for number, name in enumerate(names, start=1)]


def _map(output: Path, record: Mapping[str, Any], row: Mapping[str, Any]) -> Map:
    return Map(
        row["case"],
        row["sequence"],
        shown_picture(
            output / row["picture"],
            output / "index.html",
            f"{row['case']}, {row['sequence']}: three views of input and anomaly map, "
            f"{row['anomaly_ml']:.2f} ml marked in {row['components']} components",
        ),
        quote(row.get("viewer", "")),
        tuple((row[key], f"{row[key]:.{decimals}f}") for key, _, _, decimals in COLUMNS),
        record["flags"],
        record["warnings"],
        record["done"],
        [(what, quote(row["volumes"][what])) for what in sorted(row["volumes"])],
        row["run"],
    )
