"""A run's identity is read from its folders once, and written as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dal_auto.errors import UsageError
from dal_auto.store.run_identity import RunGroup, RunIdentity

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,7}", fullmatch=True)


@given(NAMES, NAMES, NAMES, NAMES, st.just("") | NAMES, st.integers(0, 99))
def test_text_and_folder_are_the_same(training_set, method, configuration, preset, variant, seed):
    group = RunGroup(training_set, method, configuration, preset, variant)
    run = RunIdentity(group, seed)
    assert RunIdentity.of_folder(Path("/results") / str(run)) == run
    assert str(run) == f"{training_set}/{group.name}/seed_{seed}"


def test_seeds_are_sorted_as_numbers():
    group = RunGroup("IXI", "DAL", "gpu24", "paper")
    other = RunGroup("HCP", "DAL", "gpu24", "paper")
    runs = [RunIdentity(group, 10), RunIdentity(group, 9), RunIdentity(other, 11)]
    assert [str(run) for run in sorted(runs)] == [
        "HCP/DAL__gpu24__paper/seed_11",
        "IXI/DAL__gpu24__paper/seed_9",
        "IXI/DAL__gpu24__paper/seed_10",
    ]


@pytest.mark.parametrize("name", ["model", "seed_", "seed_x", "seed_-1"])
def test_a_folder_of_another_name_is_an_error_that_says_the_right_one(name):
    with pytest.raises(UsageError, match=r"<training set>/.*seed_<n>"):
        RunIdentity.of_folder(Path("/somewhere") / name)
