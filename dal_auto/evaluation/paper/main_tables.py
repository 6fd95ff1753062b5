"""The paper's Tables 3, 4 and 8, and its SSIM of healthy images, with its values beside ours.

Every row says whose it is: "ours" or "paper". Tables 5 to 7 are in `ablation_tables`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dal_auto.evaluation.averages import ALL_SEQUENCES, WEIGHTED
from dal_auto.evaluation.paper import reference
from dal_auto.evaluation.paper.families import is_ablation, left_out_of, module_keys
from dal_auto.evaluation.paper.formats import PaperTable, Value
from dal_auto.evaluation.paper.rows import (
    OURS,
    PAPERS,
    SEEDS_NOTE,
    Rows,
    ap_dsc,
    average_rows,
    comparable,
    labels,
    main_runs,
    of_runs,
    papers_sequences,
    plans_by_group,
    seed_rows,
    sequences_of,
    spreads_of,
)
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run

_ERRORS = ("RE_N", "RE_A")


def table_3(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """All methods on all datasets and sequences."""
    runs, rows = main_runs(infos), Rows()
    for sequence in sequences_of(of_runs(results, runs)):
        for method, means, cells in (
            ("best of 17 others", reference.TABLE_3_BEST_OTHER_MEANS, {}),
            (reference.METHOD, reference.TABLE_3_DAL_MEANS, reference.TABLE_3_DAL_CELLS),
        ):
            if sequence in means:
                values: dict[str, Value] = {}
                for (dataset, of_sequence), pair in cells.items():
                    values |= ap_dsc(dataset, pair) if of_sequence == sequence else {}
                keys: dict[str, Value] = {"sequence": sequence, "method": method}
                rows.add(keys, {"source": PAPERS}, values, ap_dsc("mean", means[sequence]))
        for name, label in sorted(runs.items(), key=_paper_method_first):
            keys = {"sequence": sequence, "method": label, "source": OURS}
            _add_to_table_3(rows, keys, of_runs(results, [name]), sequence)
    known, scored = list(reference.DATASETS), set(results["dataset"]) if len(results) else set()
    columns = [f"{d} {m}" for d in (*known, *sorted(scored - set(known))) for m in ("AP", "DSC")]
    columns = ["sequence", "method", "source", "maps", "seeds", *columns, "cells"]
    columns += [f"{mean} {m}" for mean in ("mean", "weighted") for m in ("AP", "DSC")]
    return PaperTable(
        "table3",
        "Table 3: AP and DSC (%) of all methods",
        rows.in_order(columns),
        rows.spreads,
        (
            SEEDS_NOTE,
            '"mean" is the plain mean of cells (the paper\'s), "weighted" that of images (ours); '
            '"cells" counts what a mean is over: the paper\'s are over 9 datasets (T1), 8 (T2) and '
            "these 17 together.",
            f'"paper": {reference.TABLE_3_SOURCE}. "best of 17 others" is the best for each '
            "column, not one method.",
            '"maps": of a method that gives several, those that a cell is of, each the best there: '
            '"own" without DAL\'s filters, as its paper leaves it; "self-trained", "l1" and names '
            "of networks: without the published features, which is another method.",
        ),
    )


def _paper_method_first(run: tuple[RunGroup, str]) -> tuple[bool, str]:
    group, label = run
    return group.method != reference.METHOD, label


def _add_to_table_3(
    rows: Rows, keys: Mapping[str, Value], mine: pd.DataFrame, sequence: str
) -> None:
    """One method's row for a sequence, or for all: cells, then the two kinds of mean."""
    mine = papers_sequences(mine) if sequence == ALL_SEQUENCES else mine
    means = [row for row in average_rows(comparable(mine)) if row["sequence"] == sequence]
    weighted = average_rows(comparable(mine), WEIGHTED)
    if not means:
        return
    values: dict[str, Value] = {"seeds": int(means[0]["seeds"]), "cells": int(means[0]["cells"])}
    values["maps"] = _maps_of(mine, sequence)
    spreads: dict[str, float] = {}
    for cell in seed_rows(mine):
        if cell["sequence"] == sequence:
            values |= ap_dsc(cell["dataset"], cell)
            spreads |= spreads_of(cell["dataset"], cell)
    for prefix, found in (("mean", means), ("weighted", weighted)):
        (row,) = (one for one in found if one["sequence"] == sequence)
        values |= ap_dsc(prefix, row)
        spreads |= spreads_of(prefix, row)
    rows.add(keys, values, spreads=spreads)


def _maps_of(mine: pd.DataFrame, sequence: str) -> str | None:
    """The variants that the cells of a row are of; None where a method has only one."""
    rows = mine if sequence == ALL_SEQUENCES else mine[mine["sequence"] == sequence]
    return ", ".join(sorted(set(rows["variant"]) - {""})) or None


def table_4(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """How well healthy voxels are restored, and lesions are not."""
    ours = _reconstruction_errors(results, infos)
    rows = Rows()
    for method in dict.fromkeys([*(method for method, *_ in ours), *reference.TABLE_4]):
        for of_method, label, values, spreads in ours:
            if of_method == method:
                rows.add({"method": label, "source": OURS}, values, spreads=spreads)
        if method in reference.TABLE_4:
            paper: dict[str, Value] = {}
            for sequence, found in reference.TABLE_4[method].items():
                paper |= {f"{sequence} N": reference.images(sequence)}
                names = (f"{sequence} {column}" for column in (*_ERRORS, "ratio"))
                paper |= dict(zip(names, found, strict=True))
            rows.add({"method": method, "source": PAPERS}, paper)
    return PaperTable(
        "table4",
        "Table 4: reconstruction errors of normal and of lesion voxels (×10⁻²), and their ratio",
        rows.values,
        rows.spreads,
        (SEEDS_NOTE, "Means over images of all datasets.", f'"paper": {reference.TABLE_4_SOURCE}.'),
    )


def _reconstruction_errors(
    results: pd.DataFrame, infos: Mapping[Run, RunInfo]
) -> list[tuple[str, str, dict[str, Value], dict[str, float]]]:
    """(method, label, values, spreads) of each run whose method restores images."""
    found = []
    for name, label in main_runs(infos).items():
        values: dict[str, Value] = {}
        spreads: dict[str, float] = {}
        for row in average_rows(comparable(of_runs(results, [name])), WEIGHTED, _ERRORS):
            sequence, normal, lesion = row["sequence"], float(row["RE_N"]), float(row["RE_A"])
            if sequence == ALL_SEQUENCES or pd.isna(normal):
                continue
            values |= {f"{sequence} N": int(row["images"]), f"{sequence} RE_N": normal}
            values |= {f"{sequence} RE_A": lesion}
            values |= {f"{sequence} ratio": lesion / normal if normal else None}
            spreads |= spreads_of(sequence, row, _ERRORS)
        if values:
            found.append((name.method, label, values, spreads))
    return found


def table_8(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """The paper's method, trained on different healthy sets."""
    rows = Rows()
    for training_set in sorted({run.training_set for run in infos}):
        mine = {
            run: one
            for run, one in infos.items()
            if run.training_set == training_set and run.method == reference.METHOD
        }
        for name, label in main_runs(mine).items():
            values: dict[str, Value] = {}
            spreads: dict[str, float] = {}
            for cell in seed_rows(of_runs(results, [name])):
                prefix = f"{cell['dataset']} {cell['sequence']}"
                values |= ap_dsc(prefix, cell)
                spreads |= spreads_of(prefix, cell)
            for sequence in ("T1", "T2"):
                values |= _adult_average(values, sequence)
            rows.add(
                {"trained on": training_set, "method": label, "source": OURS},
                values,
                spreads=spreads,
            )
    for training_set, cells in reference.TABLE_8.items():
        values = {}
        for (dataset, sequence), pair in cells.items():
            values |= ap_dsc(f"{dataset} {sequence}", pair)
        rows.add({"trained on": training_set, "method": "DAL", "source": PAPERS}, values)
    columns = [f"{d} {s} {m}" for d, s in reference.TABLE_8["IXI"] for m in ("AP", "DSC")]
    return PaperTable(
        "table8",
        "Table 8: AP and DSC (%) on gliomas, by training set",
        rows.in_order(("trained on", "method", "source", *columns)),
        rows.spreads,
        (SEEDS_NOTE, f'"paper": {reference.TABLE_8_SOURCE}; other runs than those of Table 3.'),
    )


def _adult_average(values: Mapping[str, Value], sequence: str) -> dict[str, Value]:
    """Plain mean over the three adult sets, where all three were scored."""
    found: dict[str, Value] = {}
    for metric in ("AP", "DSC"):
        cells = [values.get(f"{d} {sequence} {metric}") for d in reference.GLIOMA_ADULT]
        numbers = [cell for cell in cells if isinstance(cell, float)]
        if len(numbers) == len(cells):
            found[f"{reference.ADULT_AVERAGE} {sequence} {metric}"] = sum(numbers) / len(numbers)
    return found


def similarity_table(similarities: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """Mean SSIM of healthy images and their restorations (§4.8.3).

    Parameters
    ----------
    similarities : of `tables.similarities_table`
    """
    plans = {
        name: one
        for name, one in plans_by_group(infos).items()
        if left_out_of(one) in reference.SIMILARITY and not is_ablation(one, module_keys(one))
    }
    rows = Rows()
    for name, label in sorted(labels(plans).items(), key=lambda item: item[1]):
        mine = of_runs(similarities, [name])
        if mine.empty:
            continue
        values: dict[str, Value] = {"healthy cases": int(mine["healthy cases"].max())}
        spreads: dict[str, float] = {}
        for sequence, group in mine.groupby("sequence"):
            for column in ("SSIM grid", "SSIM brain"):
                values[f"{sequence} {column}"] = float(group[column].mean())
                spreads[f"{sequence} {column}"] = float(group[column].std())
        keys: dict[str, Value] = {"method": label, "left out": left_out_of(plans[name])}
        rows.add(keys, {"source": OURS}, values, spreads=spreads)
    for left_out, by_sequence in reference.SIMILARITY.items():
        values = {f"{sequence} SSIM": value for sequence, value in by_sequence.items()}
        rows.add({"method": "DAL", "left out": left_out, "source": PAPERS}, values)
    return PaperTable(
        "similarity",
        "SSIM of healthy images and their restorations",
        rows.values,
        rows.spreads,
        (
            SEEDS_NOTE,
            "Ours: patients held out of the training, over the whole grid and over the brain; the "
            "paper says neither over which voxels nor over which images it averages.",
            f'"paper": {reference.SIMILARITY_SOURCE}.',
        ),
        decimals=4,
    )
