"""Batches as a function of (seed, step), and a training that resumes exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.preprocessing.stored import case_records
from dal_auto.training.drawn.cohort import DrawnCohort
from dal_auto.training.drawn.dataset import drawn_cohort
from dal_auto.training.loading import Share
from dal_auto.training.run import train

MakePlans = Callable[..., Plans]
HEADS = ("head0", "head1", "head2")


def test_drawn_cases_are_a_datasets_cases_though_no_chain_decided_steps_for_them(
    simulated_folder: Path,
) -> None:
    there = sorted(path.stem for path in (simulated_folder / "cases").glob("*.json"))
    assert [record.case_id for record in case_records("Simulated")] == there != []


@pytest.fixture
def cohort(simulated_folder: Path, drawn_plans: MakePlans) -> DrawnCohort:
    found = drawn_cohort(drawn_plans(training__corruption=1.0), HEADS)
    assert found is not None
    found.pool.fill()
    return found


def test_a_stored_training_set_is_not_drawn(make_plans: MakePlans) -> None:
    assert drawn_cohort(make_plans(), HEADS) is None


def test_the_pool_is_made_once_and_of_these_heads_alone(cohort: DrawnCohort) -> None:
    files = {task.file for task in cohort.pool.tasks}
    assert all(file.is_file() for file in files)
    assert {file.name.split("_")[0] for file in files} == set(HEADS)
    before = {file: file.stat().st_mtime_ns for file in files}
    cohort.pool.fill()
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_a_batch_knows_what_it_was_drawn_from(cohort: DrawnCohort) -> None:
    batch = cohort.batch((0, 3, 0), "cpu")
    assert batch.images.shape == (2, 2, 16, 16, 16)
    brain = batch.brain_mask[:, 0] > 0
    assert batch.tissue is not None and batch.clean is not None
    assert batch.tissue.dtype == torch.int64
    assert torch.equal(batch.tissue >= 0, brain)
    assert set(batch.tissue.unique().tolist()) == {-1, 0, 1, 2}
    assert batch.present.all()
    changed = (batch.images != batch.clean).float().mean()
    assert 0.001 < changed < 0.9


def test_batches_are_a_function_of_seed_and_step(cohort: DrawnCohort) -> None:
    stream = cohort.batches(7, 0, "cpu", Share())
    first, second = next(stream), next(stream)
    later = next(cohort.batches(7, 1, "cpu", Share()))
    assert torch.equal(second.images, later.images)
    assert not torch.equal(first.images, second.images)
    other = next(cohort.batches(7, 0, "cpu", Share(1, 2)))
    assert not torch.equal(first.images, other.images)


def test_the_mean_fractions_of_tissues_add_up_in_the_middle(cohort: DrawnCohort) -> None:
    fractions = cohort.pool.tissue_fractions()
    assert fractions.shape == (3, 16, 16, 16)
    assert fractions.min() >= 0
    assert fractions.sum(0)[7:9, 7:9, 7:9].mean() == pytest.approx(1, abs=0.01)
    assert fractions.sum(0)[0, 0, 0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "calibrated_on"),
    [
        ("DAL", "4 healthy drawn cases, 1 of them of other heads"),
        ("mean-brain", "1 healthy validation cases"),  # the others are in its mean
    ],
)
def test_methods_train_on_it_and_are_told_where_tissues_lie(
    simulated_folder: Path,
    drawn_plans: MakePlans,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    calibrated_on: str,
) -> None:
    told: list[torch.Tensor] = []
    monkeypatch.setattr(find_method(method), "learn_atlas", lambda _, atlas: told.append(atlas))
    plans = drawn_plans(method, training__steps=2, training__validation_fraction=0.25)
    run = train(plans, overrides={}, seed=0, device="cpu")
    assert run.complete
    assert len(told) == 1 and told[0].shape == (3, 16, 16, 16)
    assert load_checkpoint(run.checkpoint_path).threshold_source == calibrated_on
