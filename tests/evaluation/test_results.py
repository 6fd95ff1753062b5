"""From scores of a few voxels to every figure of a result, by hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dal_auto.evaluation import results as module
from dal_auto.evaluation.results import ALL_CASES, SELECTION, SHARED, read_results
from dal_auto.evaluation.run_info import RunInfo
from dal_auto.evaluation.scores import HELD_OUT, Records
from dal_auto.store.runs import Run

#: Scores of the voxels of a case, which of them are lesion, and which brain.
A = ([0.875, 0.5, 0.25, 0.0], [1, 0, 0, 0], [1, 1, 1, 1])
B = ([0.625, 0.5, 0.0, 0.75], [1, 1, 0, 0], [1, 0, 1, 1])
PRACTICAL = 0.75


@pytest.fixture
def run(home: Path) -> Run:
    return Run(home / "results" / "IXI" / "DAL__demo__robust" / "seed_0")


@pytest.fixture
def info(make):
    """What is known of a run, with thresholds of T1 as given."""

    def of(selection=(), *, selected_on="MSLUB", **thresholds) -> RunInfo:
        plans = make.plans_of("DAL")
        chose = {selected_on.lower(): frozenset(selection)} if selection else {}
        known = {key.replace("__", "/"): value for key, value in thresholds.items()}
        return RunInfo(plans, known or {"T1": PRACTICAL}, "", chose, "model")

    return of


@pytest.fixture
def two_cases(make, run):
    return [
        make.scored_image(run, "a", *A, threshold=PRACTICAL, errors=(0.1, 0.4)),
        make.scored_image(run, "b", *B, threshold=PRACTICAL, errors=(0.3, None)),
    ]


def read(run: Run, scored, held_out, info: RunInfo, shared=None):
    records = Records(list(scored), list(held_out), [])
    return read_results(records, {run: info}, shared or {})


def test_every_figure_is_what_a_pencil_gives(run, two_cases, info):
    ((found,), problems) = read(run, two_cases, [], info())
    assert problems == [] and (found.dataset, found.sequence) == ("MSLUB", "T1")
    assert found.run == run.identity and found.number_of_cases == 2
    m = found.metrics
    # All voxels, falling: .875 L, .75, .625 L, .5 L and .5, .25, 0, 0.
    assert m.ap == pytest.approx(100 * (1 / 1 + 2 / 3 + 3 / 5) / 3)
    assert m.auroc == pytest.approx(100 * (5 + 4 + 3.5) / 15)
    assert m.dsc == pytest.approx(100 * (1 + 2 * 1 / (2 + 2)) / 2) and m.threshold == 0.625
    assert m.dsc_pooled == pytest.approx(100 * 2 * 3 / (5 + 3))
    assert m.dsc_practical == pytest.approx(100 * (1 + 0) / 2)
    assert m.practical_threshold == PRACTICAL
    # Without the lesion voxel of b that lies outside its brain.
    assert m.ap_brain == pytest.approx(100 * (1 / 1 + 2 / 3) / 2)
    assert m.dsc_brain == pytest.approx(100 * (1 + 2 * 1 / (2 + 1)) / 2)
    assert m.lesion_outside_brain == pytest.approx(100 / 3)
    assert (m.lesions, m.lesions_found, m.lesions_found_brain) == (2, 50, 50)
    assert m.fp_per_case == 0.5, "the voxel of .75, beside no lesion of b"
    assert (m.error_normal, m.error_lesion) == (pytest.approx(20), pytest.approx(40))
    assert m.error_ratio == pytest.approx(2)
    assert (m.healthy_cases, np.isnan(m.auroc_subjects)) == (0, True)


def test_each_case_has_figures_of_its_own(run, two_cases, info):
    ((found,), _) = read(run, two_cases, [], info())
    a, b = (one.metrics for one in found.cases)
    assert found.case_ids == ["a", "b"] and found.cases[1].patient == "b-patient"
    assert (a.ap, a.dsc, a.best_dsc, a.dsc_practical) == (100, 100, 100, 100)
    assert b.ap == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert b.dsc == pytest.approx(50), "at the dataset's threshold"
    assert b.best_dsc == pytest.approx(80) and b.dsc_practical == 0
    assert (b.lesions, b.lesions_found, b.false_positives) == (1, 0, 1)
    assert b.false_positive_ml == pytest.approx(0.001) and a.false_positive_ml == 0
    assert b.lesion_ml == pytest.approx(0.002) and b.lesion_outside_brain == 50


def test_intervals_are_of_resampled_patients(run, two_cases, info):
    ((found,), _) = read(run, two_cases, [], info())
    possible = [1.0, (1 / 1 + 2 / 3 + 3 / 5) / 3, (1 / 2 + 2 / 3) / 2]
    assert found.resampled.shape == (40,)
    assert all(min(abs(value - one) for one in possible) < 1e-9 for value in found.resampled)
    assert found.metrics.ap_low == pytest.approx(100 * possible[2])
    assert found.metrics.ap_high == pytest.approx(100)
    # One threshold for both of a and b; its own for either, drawn twice.
    assert found.metrics.dsc_low == pytest.approx(75) and found.metrics.dsc_high == 100


def test_the_curve_is_that_of_all_voxels(run, two_cases, info):
    ((found,), _) = read(run, two_cases, [], info())
    assert found.recall.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.precision.shape == (3,) and found.precision[1] == pytest.approx(2 / 3)


def test_without_a_threshold_only_what_needs_none_is_known(make, run, info):
    one = make.scored_image(run, "a", *A, threshold=None)
    ((found,), _) = read(run, [one], [], info(T2=0.5))
    m, case = found.metrics, found.cases[0].metrics
    unknown = (m.practical_threshold, m.dsc_practical, m.lesions_found, m.lesions_found_brain)
    assert np.isnan([*unknown, m.fp_per_case]).all()
    assert np.isnan([case.lesions_found, case.false_positives, case.false_positive_ml]).all()
    assert np.isnan(case.dsc_practical)
    assert (m.ap, m.dsc, m.lesions, case.lesions) == (100, 100, 1, 1)
    assert np.isnan([m.error_normal, m.error_ratio, m.ap_low]).all(), "one patient, no restoration"


def test_a_lesion_outside_the_brain_is_not_one_that_could_be_found(make, run, info):
    one = make.scored_image(run, "a", [0.875, 0, 0, 0.0], [1, 0, 0, 1], [1, 1, 1, 0])
    ((found,), _) = read(run, [one], [], info())
    assert (found.metrics.lesions, found.metrics.lesions_found) == (2, 50)
    assert found.metrics.lesions_found_brain == 100


def test_lesioned_are_told_from_healthy_cases_here_and_held_out(make, run, two_cases, info):
    here = make.scored_image(run, "c", [0.8125, 0.125, 0, 0], [0, 0, 0, 0])
    held_out = [
        make.scored_image(run, "h", [0.75, 0.25], [0, 0], dataset=HELD_OUT),
        make.scored_image(run, "h", [0.0, 1.0], [0, 0], dataset=HELD_OUT, sequence="T2"),
    ]
    ((found,), _) = read(run, [*two_cases, here], held_out, info())
    # Highest brain voxels: a .875 and b .75 against c .8125 and h .75.
    assert found.metrics.healthy_cases == 2
    assert found.metrics.auroc_subjects == pytest.approx(100 * (2 + 0.5) / 4)
    c = found.cases[2].metrics
    assert np.isnan([c.ap, c.dsc, c.best_dsc]).all() and c.lesions == 0
    assert c.false_positive_ml == pytest.approx(0.001)
    assert found.metrics.dsc == pytest.approx(75), "a healthy case has no Dice"


def test_a_dataset_without_a_lesion_has_no_precision(make, run, info):
    scored = [make.scored_image(run, name, [0.5, 0.25], [0, 0]) for name in "ab"]
    ((found,), problems) = read(run, scored, [], info())
    m = found.metrics
    assert problems == [] and m.healthy_cases == 2 and m.lesions == 0
    assert np.isnan([m.ap, m.ap_low, m.dsc, m.auroc, m.lesions_found, m.threshold]).all()
    assert np.isnan(m.lesion_outside_brain) and found.recall.size == 0


def test_the_best_variant_is_the_result_and_all_are_listed(make, run, info):
    scores = {"dark": [0.25, 0.5, 0.0], "bright": [0.75, 0.5, 0.0]}
    one = make.scored_image(run, "a", scores, [1, 0, 0])
    ((found,), _) = read(run, [one], [], info(T1__bright=0.625, T1__dark=0.375))
    assert found.variant == "bright" and found.method == "DAL (bright)"
    assert list(found.variants) == ["dark", "bright"]
    assert (found.variants["dark"].ap, found.variants["bright"].ap) == (50, 100)
    assert found.variants["dark"].dsc == pytest.approx(100 * 2 / 3)
    assert found.metrics.practical_threshold == 0.625
    assert [(one.variant, one.metrics.lesions_found) for one in found.cases] == [
        ("dark", 0),
        ("bright", 1),
    ]


def test_cases_are_left_out_for_comparison_where_that_changes_something(run, two_cases, info):
    ((found,), _) = read(run, two_cases, [], info(["b", "elsewhere"]), {"MSLUB": frozenset("a")})
    assert {name: part.cases for name, part in found.subsets.items()} == {
        ALL_CASES: 2,
        SHARED: 1,
        SELECTION: 1,
    }
    assert found.subsets[ALL_CASES].ap == found.metrics.ap
    assert found.subsets[SHARED].ap == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert found.subsets[SHARED].dsc == pytest.approx(80), "at a threshold of its own"
    assert found.subsets[SELECTION].ap == 100
    ((found,), _) = read(run, two_cases, [], info(["elsewhere"]), {"MSLUB": frozenset()})
    assert found.subsets == {}


def test_cases_that_chose_the_weights_are_of_one_dataset_alone(run, two_cases, info):
    """Case ids such as sub-01 are those of other people elsewhere."""
    ((found,), _) = read(run, two_cases, [], info(["b"], selected_on="BraTS-GLI"))
    assert found.subsets == {}


def test_where_every_case_is_shared_none_is_left(run, two_cases, info):
    ((found,), _) = read(run, two_cases, [], info(), {"MSLUB": frozenset("ab")})
    assert found.subsets[SHARED].cases == 0
    assert np.isnan([found.subsets[SHARED].ap, found.subsets[SHARED].dsc]).all()


def test_a_case_whose_counts_are_damaged_is_left_out_and_named_each_time(run, two_cases, info):
    path = two_cases[0].folder / "a_T1_brain.npz"
    path.write_bytes(path.read_bytes()[:30])
    for _ in range(2):  # what was made without it is not kept
        ((found,), (problem,)) = read(run, two_cases, [], info())
        assert found.case_ids == ["b"]
        assert str(path) in problem and "case a" in problem and "MSLUB" in problem
    (two_cases[1].folder / "b_T1_grid.npz").unlink()
    found, problems = read(run, two_cases, [], info())
    assert found == [] and len(problems) == 2


def test_a_held_out_case_that_is_damaged_costs_itself_alone(make, run, two_cases, info):
    healthy = make.scored_image(run, "h", [0.25, 0.0], [0, 0], dataset=HELD_OUT)
    (healthy.folder / "h_T1_brain.npz").write_bytes(b"")
    ((found,), (problem,)) = read(run, two_cases, [healthy], info())
    assert "held-out case h" in problem and found.metrics.healthy_cases == 0


def test_results_are_sorted_and_runs_without_a_checkpoint_have_none(make, run, info):
    second = Run(run.folder.with_name("seed_1"))
    unread = Run(run.folder.with_name("seed_2"))
    scored = [
        make.scored_image(of, "a", *A, dataset=dataset, sequence=sequence)
        for of in (unread, second, run)
        for sequence in ("T2", "T1")
        for dataset in ("MSLUB", "ATLAS")
    ]
    known = {second: info(), run: info()}
    found, problems = read_results(Records(scored, [], []), known, {})
    assert problems == []
    assert [(one.dataset, one.sequence, one.run.seed) for one in found] == [
        (dataset, sequence, seed)
        for dataset in ("ATLAS", "MSLUB")
        for sequence in ("T1", "T2")
        for seed in (0, 1)
    ]
    assert read_results(Records([], [], []), known, {}) == ([], [])


def test_a_result_that_was_kept_needs_no_counts(run, two_cases, info, monkeypatch):
    ((first,), _) = read(run, two_cases, [], info())
    with monkeypatch.context() as patch:
        patch.setattr(module, "Packer", None)
        ((second,), _) = read(run, two_cases, [], info())
    assert first.model_dump_json() == second.model_dump_json()
    ((third,), _) = read(run, two_cases, [], info(["a"]))
    assert SELECTION in third.subsets, "what follows from something else is made again"


def test_a_run_that_was_copied_has_results_of_its_own(run, two_cases, info):
    """The result that was kept with it names the run that it was."""
    read(run, two_cases, [], info())
    other = Run(run.folder.with_name("seed_7"))
    shutil.copytree(run.folder, other.folder)
    copies = [
        replace(one, run=other, folder=other.folder / "evaluation" / "MSLUB") for one in two_cases
    ]
    ((found,), _) = read(other, copies, [], info())
    assert found.run == other.identity and found.run.seed == 7
