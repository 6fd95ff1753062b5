"""The paper's Tables 5 to 7 and its hyper-parameter curves, from runs that differ in their plans.

Rows are compared within a family of runs: those that differ in nothing else (`ablations`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import pandas as pd

from dal_auto.evaluation.averages import ALL_SEQUENCES
from dal_auto.evaluation.paper import reference
from dal_auto.evaluation.paper.families import (
    families,
    flat,
    is_ablation,
    is_number,
    left_out_of,
    loss_keys,
    loss_terms_of,
    module_keys,
    score_keys,
    score_of,
    swept_keys,
)
from dal_auto.evaluation.paper.formats import PaperTable, Value
from dal_auto.evaluation.paper.reference import ApDsc
from dal_auto.evaluation.paper.rows import (
    OURS,
    PAPERS,
    SEEDS_NOTE,
    Rows,
    ap_dsc,
    average_rows,
    comparable,
    of_runs,
    papers_sequences,
    plans_by_group,
    sequences_of,
    spreads_of,
)
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.plans import Plans
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run

SWEEPS = "hyper-parameters"
_FAMILY_NOTE = (
    '"run" names what the compared runs have in common: method, configuration, preset and training '
    "set; they differ in nothing but what the table varies."
)
_SETTINGS_NOTE = (
    "Where the paper has no row for a run of ours, or we none for its, one stands alone."
)


def table_5(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """Anomaly scores, over all datasets."""
    rows = Rows()
    for score, paper in reference.TABLE_5.items():
        for name, title, _ in _variants(infos, score_keys, score_of, score):
            mine = comparable(of_runs(results, [name]))
            _add(rows, {"score": score, "source": OURS, "run": title}, mine)
        _add_paper(rows, {"score": score, "source": PAPERS}, paper)
    notes = (SEEDS_NOTE, _FAMILY_NOTE, f'"paper": {reference.TABLE_5_SOURCE}, nine datasets.')
    return PaperTable(
        "table5",
        "Table 5: anomaly scores (%)",
        rows.in_order(_columns(results)),
        rows.spreads,
        notes,
    )


def table_6(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """Loss terms, on each dataset."""
    rows = Rows()
    found = {loss_terms_of(one.plans) for one in infos.values()} - {None}
    printed = [row.terms for row in reference.TABLE_6 if row.terms is not None]
    settings = sorted({*found, *printed}, key=lambda terms: (len(terms or ()), _ticks(terms)))
    for terms in settings:
        for name, title, compares in _variants(infos, loss_keys, loss_terms_of, terms):
            for dataset, mine in _by_dataset(of_runs(results, [name]), compares):
                keys: dict[str, Value] = {"loss terms": _ticks(terms), "dataset": dataset}
                _add(rows, keys | {"source": OURS, "run": title}, mine)
        for row in reference.TABLE_6:
            if row.terms == terms:
                keys = {"loss terms": _ticks(terms), "dataset": reference.ABLATED, "source": PAPERS}
                _add_paper(rows, keys, row.values)
    for row in reference.TABLE_6:
        if row.terms is None:
            keys = {"loss terms": "not readable", "dataset": reference.ABLATED, "source": PAPERS}
            _add_paper(rows, keys, row.values)
    notes = (SEEDS_NOTE, _FAMILY_NOTE, _SETTINGS_NOTE, f'"paper": {reference.TABLE_6_SOURCE}.')
    return PaperTable(
        "table6", "Table 6: loss terms (%)", rows.in_order(_columns(results)), rows.spreads, notes
    )


def _ticks(terms: frozenset[str] | None) -> str:
    return ", ".join(t for t in reference.LOSS_TERMS if t in (terms or ())) or "none"


def table_7(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """Modules left out, on each dataset."""
    rows = Rows()
    for left_out, paper in reference.TABLE_7.items():
        for name, title, compares in _variants(infos, module_keys, left_out_of, left_out):
            for dataset, mine in _by_dataset(of_runs(results, [name]), compares):
                keys: dict[str, Value] = {"left out": left_out, "dataset": dataset}
                _add(rows, keys | {"source": OURS, "run": title}, mine)
        keys = {"left out": left_out, "dataset": reference.ABLATED, "source": PAPERS}
        _add_paper(rows, keys, paper)
    notes = (SEEDS_NOTE, _FAMILY_NOTE, f'"paper": {reference.TABLE_7_SOURCE}.')
    return PaperTable(
        "table7", "Table 7: modules (%)", rows.in_order(_columns(results)), rows.spreads, notes
    )


def sweeps_table(results: pd.DataFrame, infos: Mapping[Run, RunInfo]) -> PaperTable:
    """Every hyper-parameter that runs of one family give several values: the curves of C and D."""
    plans, rows = _trained(infos), Rows()
    for key in swept_keys(plans.values()):
        numeric = {n: one for n, one in plans.items() if is_number(flat(one).get(key))}
        for members in families(numeric, partial(_only, key)).values():
            if len({flat(plans[name])[key] for name in members}) < 2:
                continue
            for name in sorted(members, key=lambda one: (flat(plans[one])[key], one)):
                for dataset, mine in _by_dataset(of_runs(results, [name])):
                    keys: dict[str, Value] = {"key": key, "value": flat(plans[name])[key]}
                    keys |= {"dataset": dataset, "run": _title(plans[name], name)}
                    _add(rows, keys, mine)
    return PaperTable(
        SWEEPS,
        "Hyper-parameters, one varied at a time (%)",
        rows.values,
        rows.spreads,
        (
            SEEDS_NOTE,
            f"{reference.PAPER}, Appendices C and D, draws such curves and prints no value; it "
            "chose α_A 0.2, α_M 0.5 (on BraTS-GLI), filters of 3³ and 9³ (on BraTS-GLI and MSLUB).",
        ),
    )


def _only(key: str, _: Plans) -> frozenset[str]:
    return frozenset({key})


def _trained(infos: Mapping[Run, RunInfo]) -> dict[RunGroup, Plans]:
    """Runs of methods that learn something of anatomy."""
    return plans_by_group({run: one for run, one in infos.items() if not one.trivial})


def _variants(
    infos: Mapping[Run, RunInfo],
    free: Callable[[Plans], Collection[str]],
    variant_of: Callable[[Plans], object],
    wanted: object,
) -> list[tuple[RunGroup, str, bool]]:
    """Runs of the wanted variant, with the title of their family, and whether it has others.

    A family with one variant compares nothing; only the paper's method as it is may stand alone.
    """
    plans, found = _trained(infos), []
    for members in families(plans, free).values():
        compares = len({variant_of(plans[name]) for name in members}) > 1
        for name in members:
            one = plans[name]
            as_it_is = one.method.name == reference.METHOD and not is_ablation(one)
            if variant_of(one) == wanted and (compares or as_it_is):
                found.append((name, _title(one, name), compares))
    return sorted(found)


def _title(plans: Plans, group: RunGroup) -> str:
    names = (group.method, plans.configuration.name, group.preset, group.training_set)
    return ", ".join(names)


def _by_dataset(results: pd.DataFrame, compares: bool = True) -> list[tuple[str, pd.DataFrame]]:
    """Datasets in the paper's order, then the others; only the paper's where nothing compares."""
    if results.empty:
        return []
    known = list(reference.DATASETS)
    found = [
        (str(dataset), part)
        for dataset, part in results.groupby("dataset")
        if compares or dataset == reference.ABLATED
    ]
    return sorted(found, key=lambda x: (known.index(x[0]) if x[0] in known else len(known), x[0]))


def _add(rows: Rows, keys: Mapping[str, Value], results: pd.DataFrame) -> None:
    """One run: AP and DSC by sequence, and the plain mean."""
    values: dict[str, Value] = {}
    spreads: dict[str, float] = {}
    rows_of_each = [row for row in average_rows(results) if row["sequence"] != ALL_SEQUENCES]
    mean = [r for r in average_rows(papers_sequences(results)) if r["sequence"] == ALL_SEQUENCES]
    for row in [*rows_of_each, *mean]:
        values |= {"seeds": int(row["seeds"])} | ap_dsc(_prefix(row["sequence"]), row)
        spreads |= spreads_of(_prefix(row["sequence"]), row)
    if values:
        rows.add(keys, values, spreads=spreads)


def _add_paper(rows: Rows, keys: Mapping[str, Value], values: Mapping[str, ApDsc]) -> None:
    columns: dict[str, Value] = {}
    for sequence, pair in values.items():
        columns |= ap_dsc(_prefix(sequence), pair)
    rows.add(keys, columns)


def _prefix(sequence: str) -> str:
    return "mean" if sequence == ALL_SEQUENCES else sequence


def _columns(results: pd.DataFrame) -> list[str]:
    columns = ["score", "loss terms", "left out", "dataset", "source", "run", "seeds"]
    names = [_prefix(sequence) for sequence in sequences_of(results)]
    return columns + [f"{name} {metric}" for name in names for metric in ("AP", "DSC")]
