"""``index.html`` of a folder of maps: every case with its picture, figures and what is odd.

It opens from disk without a network. Style and script are inside, pictures lie beside it and are
loaded when they come into view. It holds no dates: equal results give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from dal_auto.inference.limits import LIMITS
from dal_auto.store import atomic

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
class Picture:
    """A picture beside the page, and its size in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Map:
    """One line of the page: a sequence of a case.

    Parameters
    ----------
    cells : (value, text) by column
    files : (what, URL) of the volumes
    """

    case_id: str
    sequence: str
    picture: Picture | None
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
    text = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(text).render(
        maps=maps,
        cases=len(records),
        flagged=sum(bool(record["flags"] or record["warnings"]) for record in records),
        failures=failures,
        columns=COLUMNS,
        models=[models[name] for name in sorted(models)],
        limits=LIMITS,
        policy=Markup(_policy(text)),
    )
    path = output / "index.html"
    atomic.write_text(path, page)
    return path


def _map(output: Path, record: Mapping[str, Any], row: Mapping[str, Any]) -> Map:
    return Map(
        row["case"],
        row["sequence"],
        _picture(output, row["picture"]),
        tuple((row[key], f"{row[key]:.{decimals}f}") for key, _, _, decimals in COLUMNS),
        record["flags"],
        record["warnings"],
        record["done"],
        [(what, quote(row["volumes"][what])) for what in sorted(row["volumes"])],
        row["run"],
    )


def _picture(output: Path, name: str) -> Picture | None:
    try:
        with Image.open(output / name) as picture:
            return Picture(quote(name), *picture.size)
    except (OSError, ValueError, SyntaxError):  # removed since, or damaged
        return None


def _policy(template: str) -> str:
    """Nothing is loaded but pictures beside the page; only this style and this script count."""
    style, script = (
        base64.b64encode(
            hashlib.sha256(
                template.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0].encode()
            ).digest()
        ).decode()
        for tag in ("style", "script")
    )
    return (
        f"default-src 'none'; img-src 'self' file: data:; style-src 'sha256-{style}'; "
        f"script-src 'sha256-{script}'; base-uri 'none'; form-action 'none'"
    )
