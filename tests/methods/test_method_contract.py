"""What every registered method must keep: one contract, run for each name in the registry."""

from __future__ import annotations

import pytest
import torch

from dal_auto.errors import PlansError, UsageError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.method import CohortMethod, Detection, GradientMethod, Method
from dal_auto.methods.registry import find_method, method_names


@pytest.fixture(scope="module", params=method_names())
def name(request) -> str:
    """Tests of one method follow each other: it is fitted once for all of them."""
    return str(request.param)


@pytest.fixture(scope="module")
def fitted(name, small_plans, phantom_batch) -> Method:
    """The method, fitted as training fits it, on four healthy phantoms."""
    torch.manual_seed(0)
    method = find_method(name)(small_plans(name))
    if isinstance(method, GradientMethod):
        method.prepare(phantom_batch(seed) for seed in range(4))
        optimiser = torch.optim.Adam(method.network.parameters(), lr=1e-3)
        for step, seeds in enumerate([(0, 1), (2, 3)]):
            losses = method.training_step(phantom_batch(*seeds), step)
            assert losses["loss"].isfinite()
            optimiser.zero_grad()
            losses["loss"].backward()
            optimiser.step()
    else:
        assert isinstance(method, CohortMethod)
        method.fit_cohort(phantom_batch(seed) for seed in range(4))
    method.calibrate(phantom_batch(seed) for seed in (4, 5))
    return method


@pytest.fixture(scope="module")
def ask(phantom_batch, in_windows):
    """Detection of a method on an unseen phantom, given by sequence."""
    batch = phantom_batch(9)

    def detect(method: Method, sequence: str) -> Detection:
        image = batch.images[0, method.plans.sequences.index(sequence)]
        with torch.no_grad():
            return method.detect(image, batch.brain_mask[0, 0], sequence, in_windows)

    return detect


@pytest.fixture(scope="module")
def answers(fitted, ask) -> dict[str, Detection]:
    """What the fitted method finds on each sequence, when first asked."""
    return {sequence: ask(fitted, sequence) for sequence in fitted.plans.sequences}


def assert_same_map(one: Detection, two: Detection) -> None:
    assert one.scores.keys() == two.scores.keys()
    for variant in one.scores:
        assert torch.equal(one.scores[variant], two.scores[variant]), variant


def test_it_is_known_by_its_own_name_in_any_case(name):
    assert find_method(name).name == name
    assert find_method(name.upper()) is find_method(name.lower())


@pytest.mark.parametrize("sequence", ["T1", "T2"])
def test_scores_are_finite_not_negative_and_of_the_images_shape(answers, sequence):
    found = answers[sequence]
    assert found.scores
    for score in found.scores.values():
        assert score.shape == (16, 16, 16) and score.dtype == torch.float32
        assert score.isfinite().all() and (score >= 0).all()
        assert score.max() > 0, "a map that is 0 everywhere finds nothing"
    for volume in (found.pseudo_healthy, *found.extras.values()):
        assert volume is None or volume.shape == (16, 16, 16)
    if found.pseudo_healthy is not None:
        assert found.pseudo_healthy.min() >= 0 and found.pseudo_healthy.max() <= 1


@pytest.mark.parametrize("sequence", ["T1", "T2"])
def test_asking_again_gives_the_same_answer(fitted, ask, answers, sequence):
    assert_same_map(answers[sequence], ask(fitted, sequence))


def test_a_checkpoint_on_disk_gives_the_same_maps(fitted, ask, answers, tmp_path):
    """A fresh method is built from the file, and takes over its tensors."""
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, Checkpoint(fitted.plans, fitted.tensors()))
    torch.manual_seed(1)
    fresh = load_checkpoint(path).build("cpu")
    for sequence, first in answers.items():
        assert_same_map(first, ask(fresh, sequence))


def test_moving_to_a_device_returns_the_method_itself(fitted, ask, answers):
    assert fitted.to("cpu") is fitted
    assert_same_map(answers["T1"], ask(fitted, "T1"))


@pytest.mark.parametrize("preset", ["robust", "paper"])
def test_an_unknown_setting_is_refused_by_its_key(small_plans, name, preset):
    plans = small_plans(name, preset, no_such_setting=3)
    with pytest.raises(PlansError, match=r"method\.settings\.no_such_setting") as caught:
        find_method(name)(plans)
    assert caught.value.key == "method.settings.no_such_setting"


def test_a_name_that_is_not_there_lists_those_that_are(name):
    with pytest.raises(UsageError, match=name):
        find_method("no-such-method")
