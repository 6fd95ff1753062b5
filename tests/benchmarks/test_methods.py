"""What the benchmark of methods adds to the package: budgets of steps, pooled scores, tables."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest

from dal_auto.scoring.bootstrap import RESAMPLES


@pytest.fixture
def parts(parts_of) -> ModuleType:
    return parts_of("methods_parts", "budget", "child", "found", "page", "search")


def made(parts: ModuleType, method: str, precision: float, **others):
    resampled = (precision + np.linspace(-1, 1, RESAMPLES)) / 100
    values = {"group": "gliomas", "sequence": "T2", "variant": "", "seed": 0, "cases": 5} | others
    return parts.found.Found(
        method=method, precision=precision, dice=2 * precision,
        resample=lambda: resampled, **values,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("costs", "wanted"),
    [
        ((1.0, 0.0, 0.5), (0, 58)),  # steps alone, after what comes before the first
        ((0.0, 0.1, 0.5), (150, 30)),  # half of the time for each
        ((10.0, 0.1, 0.0), (200, 0)),  # fitted in one pass, on features of its own
        ((0.2, 0.0, 0.0), (0, 0)),
        ((40.0, 0.0, 0.5), (0, 0)),
    ],
)
def test_as_many_steps_are_taken_as_fit(parts, costs, wanted):
    assert parts.budget.Timed(*costs).steps(30.0) == wanted


def test_the_better_variant_counts_and_own_ones_are_apart(parts):
    found = [
        made(parts, "RIAD", 3.0, variant="intensity"),
        made(parts, "RIAD", 5.0, variant="gradient"),
        made(parts, "RIAD", 9.0, variant="gradient", sequence="T1"),
    ]
    chosen = parts.page.best(found)
    assert {(one.sequence, one.precision) for one in chosen} == {("T2", 5.0), ("T1", 9.0)}
    assert [parts.page.is_own(v) for v in ("own", "gradient-own", "", "bright")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_gain_is_over_the_better_trivial_one_on_the_same_resamples(parts):
    found = [
        made(parts, "DAE", 12.0),
        made(parts, "mean-brain", 4.0),
        made(parts, "raw-intensity", 7.0),
    ]
    lines = parts.page.gain_table(found).splitlines()
    assert lines[2:] == ["| DAE | **+5.0 to +5.0** |"], "trivial ones have no row"


@pytest.mark.parametrize(("second", "cell"), [(10.0, "**+4.0 to +4.0**"), (4.0, "+1.0 to +1.0")])
def test_a_gain_is_bold_where_every_seed_says_so(parts, second, cell):
    found = [
        *(made(parts, "DAE", 12.0), made(parts, "DAE", second, seed=1)),
        *(made(parts, "raw-intensity", 7.0), made(parts, "raw-intensity", 7.0, seed=1)),
        made(parts, "mean-brain", 4.0),
    ]
    assert parts.page.gain_table(found).splitlines()[2:] == [f"| DAE | {cell} |"]


def test_seeds_are_averaged(parts):
    found = [made(parts, "AE", 1.0), made(parts, "AE", 3.0, seed=1), made(parts, "mean-brain", 4.0)]
    lines = parts.page.precision_table(found).splitlines()
    assert lines[0] == "| method | gliomas T2 |"
    assert lines[2:] == ["| AE | 2.0 ± 1.4 |", "| mean-brain | 4.0 |"]


def test_what_fails_in_a_child_ends_the_run(parts):
    with pytest.raises(SystemExit):
        parts.child.in_a_child(lambda: 1)
    assert parts.child.in_a_child(lambda: None).megabytes > 0


@pytest.fixture
def tried(parts, monkeypatch, make_plans):
    """(learning rate, steps) of each training that a search asks for; what they find is made up."""
    search, asked = parts.search, []
    precisions = {(0.002, 40): 0.3, (0.008, 40): 0.2, (0.002, 10): 0.1, (0.002, 20): 0.35}

    def judge(plans, folder, judged):
        asked.append((plans.training.learning_rate, plans.training.steps))
        judged.write_text(json.dumps({"AP": precisions[asked[-1]]}), encoding="utf-8")

    def planned(training_set, method, changes):
        return make_plans(method).override({"training.learning_rate": 0.002} | changes, "test"), {}

    monkeypatch.setattr(search, "planned", planned)
    monkeypatch.setattr(search, "_judge", judge)
    monkeypatch.setattr(search, "in_a_child", lambda function: function())
    return asked


@pytest.mark.parametrize("fewer_steps", [False, True])
def test_a_search_tries_rates_and_then_fewer_steps_and_keeps_what_it_tried(
    parts, tried, tmp_path, fewer_steps
):
    """What the best rate finds with all steps is known, and not trained again."""
    search = parts.search
    record = tmp_path / "AE_rates.json"
    record.write_text('{"0.0005": {"AP": 0.1}}', encoding="utf-8")
    for _ in range(2):
        found = search.search_plans(
            tmp_path, "AE", "AE", {search.STEPS: 40}, fewer_steps=fewer_steps
        )
        assert found[search.RATE].best == 0.002
        if fewer_steps:
            assert found[search.STEPS].best == 20
            assert found[search.STEPS].precisions == {10: 0.1, 20: 0.35, 40: 0.3}
    assert tried == [(0.002, 40), (0.008, 40), *([(0.002, 10), (0.002, 20)] if fewer_steps else [])]


def test_the_table_of_a_search_has_rates_and_steps_and_marks_the_best(parts):
    rates = {0.0005: 0.1, 0.002: 0.3, 0.008: 0.2}
    steps = {10: 0.1, 20: 0.35, 40: 0.3}
    costs = [
        {"method": "mean-brain", "tried": {}},
        {"method": "AE", "tried": {parts.search.RATE: rates, parts.search.STEPS: steps}},
    ]
    lines = parts.page.search_table(costs).splitlines()
    assert lines[0].startswith("| method | rate × 0.25 | rate × 1 | rate × 4 | steps × 0.25 |")
    assert lines[2:] == ["| AE | 10.0 | **30.0** | 20.0 | 10.0 | **35.0** | 30.0 |"]


def test_what_is_learned_before_depends_on_whose_features_are_taken(parts):
    """ImageNet's are learned by nobody; EfficientAD's teacher is distilled from either."""
    keys = parts.budget.preliminary_keys
    own = {"method.settings.features": "self-trained"}
    assert [key.rsplit(".", 1)[1] for key in keys("EfficientAD", own)] == [
        "distillation_steps", "steps",
    ]  # fmt: skip
    assert keys("RD4AD", own) == ("method.settings.self_trained.steps",)
    assert keys("RD4AD", {}) == keys("DAE", {}) == ()
    assert len(keys("EfficientAD", {})) == 1


def test_dals_lead_is_over_each_method_with_the_same_seed(parts):
    """It is bold only where each seed's own interval lies on one side of 0."""
    found = [
        made(parts, "DAL", 12.0),
        made(parts, "DAL", 20.0, seed=1),
        made(parts, "DAE", 4.0),
        made(parts, "DAE", 21.0, seed=1),
        made(parts, "raw-intensity", 7.0),
        made(parts, "DAE", 4.0, group="BRAINIX", cases=1),
    ]
    lines = parts.page.lead_table(found).splitlines()
    assert lines[0] == "| method | gliomas T2 |"
    # The resamples of `made` are the same but for the mean: a difference has no width.
    assert lines[2:] == [
        "| DAE | +3.5 to +3.5 |",
        "| raw-intensity | **+5.0 to +5.0** |",
    ]
