"""Runs and their results, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pandas as pd
import pytest

from dal_auto.evaluation.averages import METRICS
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.plans import Plans
from dal_auto.store.runs import Run, run_of

Scored = tuple[pd.DataFrame, dict[Run, RunInfo]]


def scored(
    plans: Sequence[Plans],
    values: Sequence[float],
    *,
    seeds: int = 1,
    datasets: Sequence[str] = ("BraTS-GLI", "MSLUB"),
    cases: Sequence[int] = (5, 5),
) -> Scored:
    """Results of runs that differ in their number at least.

    AP of T1 is the run's value, of T2 twice that, DSC half of it; a further seed has 2 more of
    both. Of the n-th dataset all are 10 n higher. RE_N is a tenth of the value, RE_A twice that.
    """
    infos, rows = {}, []
    for number, (one, value) in enumerate(zip(plans, values, strict=True)):
        for seed in range(seeds):
            run = run_of(one, {"number": number}, seed)
            infos[run] = RunInfo(one, {}, "", frozenset(), "")
            for place, (dataset, count) in enumerate(zip(datasets, cases, strict=True)):
                for factor, sequence in enumerate(("T1", "T2"), start=1):
                    more = 10 * place + 2 * seed
                    row = {"dataset": dataset, "sequence": sequence, "run": run.identity}
                    row |= {"seed": seed, "method": one.method.name, "variant": "", "cases": count}
                    row |= dict.fromkeys(METRICS, value)
                    row |= {"AP": value * factor + more, "DSC": value / 2 + more}
                    rows.append(row | {"RE_N": value / 10, "RE_A": value / 5})
    return pd.DataFrame(rows), infos


def with_module(plans: Plans, **settings: object) -> Plans:
    """Settings that a method may come to have; plans are not validated by the method here."""
    content = plans.to_json()
    content["method"]["settings"] |= settings
    return Plans.parse(content)


@pytest.fixture
def dal(make: SimpleNamespace) -> Callable[..., Plans]:
    """Plans of DAL with some keys set."""
    return lambda **changed: make.plans_of("DAL", **changed)


@pytest.fixture
def by_hand() -> SimpleNamespace:
    """The functions above, for tests."""
    return SimpleNamespace(scored=scored, with_module=with_module)
