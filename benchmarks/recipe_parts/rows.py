"""The rows: what each takes away from DAL, or does in another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dal_auto.evaluation.paper.reference import TABLE_5, TABLE_6, TABLE_7, ApDsc

_DAL = "method.settings."
#: Of the drawn heads' images over the brain: 0.55 on T1, 0.32 on T2 and 0.62 on FLAIR.
_MEAN_INTENSITY = 0.49


@dataclass(frozen=True)
class Row:
    """One row.

    Parameters
    ----------
    title : what is taken away, or done in another way
    changes : dotted key of the plans → value
    paper : sequence → AP in % that the paper's row has more than its full method; empty where the
        paper has no such row
    steps : of training, as a multiple of the whole recipe's
    needs : a sequence without which the row says nothing
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, float] = field(default_factory=dict)
    steps: float = 1.0
    needs: str | None = None


def _more(row: Mapping[str, ApDsc], full: Mapping[str, ApDsc]) -> dict[str, float]:
    return {name: row[name][0] - full[name][0] for name in ("T1", "T2")}


def _table_6(title: str, *terms: str, paper: Mapping[str, float] | None = None) -> Row:
    return Row(f"losses: {title}", {f"{_DAL}loss_terms": list(terms)}, paper or {})


def _table_7(name: str) -> Row:
    key = name.replace(" ", "_").replace("-", "_")
    return Row(f"no {name}", {f"{_DAL}{key}": False}, _more(TABLE_7[name], TABLE_7["nothing"]))


WHOLE = Row("the whole recipe")

#: Steps of our recipe, and the rows of Tables 7 and 6: each is a training of its own. Rows of
#: Table 6 between first and last have ticks that the paper's text does not let one read. Table 7's
#: third row, no modality reuse, is how `robust` predicts: below, its counterpart is a row.
TRAINED = (
    Row("no corruption", {"training.corruption": 0.0}),
    Row("no tissue fractions of the atlas", {f"{_DAL}atlas_prior": False}),
    Row("no teacher forcing", {f"{_DAL}teacher_forcing": 0.0}),
    Row(
        "neither corruption nor teacher forcing",
        {"training.corruption": 0.0, f"{_DAL}teacher_forcing": 0.0},
    ),
    Row("statistics over the grid", {f"{_DAL}statistics": "grid"}),
    Row("Canny", {f"{_DAL}edges": "canny"}),
    Row("no label loss", {f"{_DAL}weight_labels": 0.0}),
    Row("no wrong classes before the edges", {f"{_DAL}edge_noise": 0.0}),
    Row("all combinations of i and j", {f"{_DAL}combinations": "all"}),
    Row("18 % more steps: the time of all combinations", steps=1.18),
    Row(
        "E_M large and R_E small",
        {f"{_DAL}modality_pooled": [2, 3, 2], f"{_DAL}context_widths": [8, 16, 32]},
    ),
    Row("R_E's context twice as wide", {f"{_DAL}context_widths": [32, 64, 128]}),
    Row("output's bias at the mean", {f"{_DAL}output_bias": _MEAN_INTENSITY}),
    _table_7("edge-to-image"),
    _table_7("disentangling"),
    _table_6("reconstruction only", paper=_more(TABLE_6[0].values, TABLE_6[-1].values)),
    _table_6("anatomy", "con_A", "sim_A"),
    _table_6("modality", "con_M", "sim_M"),
    _table_6("anatomy and modality", "con_A", "sim_A", "con_M", "sim_M"),
    _table_6("code", "con_AE"),
)

#: The whole recipe's weights; the image is restored in another way.
RESTORED = (
    Row("M of the image", {f"{_DAL}modality_pull": 0.0}),
    Row("grey values not fitted", {f"{_DAL}fitted_contrast": False}),
)

#: The whole recipe's restored images; they are scored in another way. The last two are Table 5's.
SCORED = (
    Row("both sides count", {f"{_DAL}polarity": {}}),
    Row("FLAIR also by Eq. 15", {f"{_DAL}tolerant": []}, needs="FLAIR"),
    Row("Eq. 15", {f"{_DAL}difference_power": 1.0, f"{_DAL}neighbourhood_mm": 0.0}),
    Row("score: SSIM", {"scoring.score": "ssim"}, _more(TABLE_5["ssim"], TABLE_5["hybrid"])),
    Row("score: L1", {"scoring.score": "l1"}, _more(TABLE_5["l1"], TABLE_5["hybrid"])),
)

BY_TITLE = {row.title: row for row in (WHOLE, *TRAINED, *RESTORED, *SCORED)}
#: What stands beside them.
INTENSITY, MEAN_BRAIN = "intensity, the better polarity", "mean brain"
#: In the order of the table.
TITLES = (WHOLE.title, INTENSITY, MEAN_BRAIN, *list(BY_TITLE)[1:])
