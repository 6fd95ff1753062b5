"""``index.html`` of a folder of maps: every case with its picture, figures and what is odd.

Pictures lie beside it and are loaded when they come into view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dal_auto.inference.case_page import model_warnings
from dal_auto.inference.limits import LIMITS
from dal_auto.inference.native_map import JOINT
from dal_auto.inference.record import MapRecord, PredictionRecord
from dal_auto.inference.remark import Remark, texts
from dal_auto.pages import page as pages
from dal_auto.pages.pictures import ShownPicture, shown_picture


@dataclass(frozen=True)
class Column:
    """A figure of every map; the page's table has a column for it."""

    title: str
    meaning: str
    decimals: int
    value: Callable[[MapRecord], float]


COLUMNS = (
    Column(
        "anomaly, ml",
        "volume of the voxels at or above the threshold",
        2,
        lambda m: m.anomaly_ml,
    ),
    Column(
        "components",
        "connected pieces of the mask, 26 neighbours",
        0,
        lambda m: len(m.components),
    ),
    Column("largest, ml", "volume of the largest piece", 2, lambda m: m.largest_component_ml),
    Column("maximum", "highest score of the map", 3, lambda m: m.maximum_score),
    Column("mean", "mean score over the brain", 4, lambda m: m.mean_score),
    Column("threshold", "score from which on a voxel is in the mask", 4, lambda m: m.threshold),
)


@dataclass(frozen=True)
class ShownMap:
    """One line of the page: a sequence of a case.

    Parameters
    ----------
    viewer : URL of its page, empty where it has none
    cells : (value, text) by column
    flagged : whether the case is, be it in this line or in another
    flags, warnings : those of the case that are told in this line
    files : (what, URL) of the volumes
    """

    case_id: str
    sequence: str
    picture: ShownPicture | None
    viewer: str
    cells: tuple[tuple[float, str], ...]
    flagged: bool
    flags: Sequence[str]
    warnings: Sequence[str]
    done: Sequence[str]
    files: Sequence[tuple[str, str]]
    run: str


def write_page(output: Path, records: Sequence[PredictionRecord], failures: Sequence[str]) -> Path:
    """Write the page of a folder, whole or not at all; all text is escaped. Returns its path.

    Parameters
    ----------
    records : of all cases done so far
    failures : one sentence per case that failed
    """
    ranked = sorted(records, key=lambda record: (-_in_order(record)[0].anomaly_ml, record.case))
    maps = [_shown(output, record, one) for record in ranked for one in _in_order(record)]
    models = sorted({record.model for record in records}, key=lambda one: tuple(dict(one).values()))
    path = output / "index.html"
    pages.write_page(
        path,
        "page.html",
        __package__ or "",
        scripts=(pages.TABLE, pages.GALLERY),
        maps=maps,
        joint=any(one.sequence == JOINT for one in maps),
        cases=len(records),
        flagged=sum(bool(record.flags or record.warnings) for record in records),
        failures=failures,
        columns=COLUMNS,
        choices=_choices(),
        models=models,
        limits=LIMITS,
        warnings=sorted({line for one in models for line in model_warnings(one)}),
    )
    return path


def _in_order(record: PredictionRecord) -> list[MapRecord]:
    """The joint map, then those of the sequences, the largest anomaly first."""
    return sorted(record.maps, key=lambda m: (m.sequence != JOINT, -m.anomaly_ml, m.sequence))


def _choices() -> list[tuple[int, str, bool]]:
    """(column, name, False) of what the table can be sorted by."""
    names = ["case", "sequence", *(column.title for column in COLUMNS)]
    return [(number, name, False) for number, name in enumerate(names, start=1)]


def _line_of(remark: Remark, record: PredictionRecord) -> str:
    """The map in whose line a remark about the case stands: its sequence's, else the first."""
    maps = [one.sequence for one in _in_order(record)]
    return remark.sequence if remark.sequence in maps else maps[0]


def _shown(output: Path, record: PredictionRecord, one: MapRecord) -> ShownMap:
    def told_here(remarks: Sequence[Remark]) -> list[str]:
        return texts(remark for remark in remarks if _line_of(remark, record) == one.sequence)

    return ShownMap(
        record.case,
        one.sequence,
        shown_picture(
            output / one.picture,
            output / "index.html",
            f"{record.case}, {one.sequence}: three views of input and anomaly map, "
            f"{one.anomaly_ml:.2f} ml marked in {len(one.components)} components",
        ),
        quote(one.viewer),
        tuple(_cell(column, one) for column in COLUMNS),
        bool(record.flags or record.warnings),
        told_here(record.flags),
        told_here(record.warnings),
        record.done,
        [(what, quote(one.volumes[what])) for what in sorted(one.volumes)],
        record.model.run,
    )


def _cell(column: Column, one: MapRecord) -> tuple[float, str]:
    value = column.value(one)
    return value, f"{value:.{column.decimals}f}"
