"""DAL as a whole: losses and their weights, where gradients go, what it watches, that it learns."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dal_auto.errors import PlansError
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch
from dal_auto.scoring.anomaly_score import SCORE_WORDS, hybrid_map, supported

SUB_NETWORKS = ("E_A", "E_M", "R_A", "R_E", "R_D")


def moved(method: DAL) -> set[str]:
    """Sub-networks that the last backward pass reached."""
    return {
        name
        for name, network in method.network.named_children()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    }


@pytest.mark.parametrize("preset", ["robust", "paper"])
def test_a_step_gives_all_losses_and_their_weighted_sum(plain_plans, phantom_batch, preset):
    weights = {"reconstruction": 0.7, "anatomy": 0.3, "modality": 1.9, "code": 2.3}
    settings = {f"weight_{name}": value for name, value in weights.items()}
    method = DAL(plain_plans(preset=preset, warm_start_steps=0, **settings))
    losses = method.training_step(phantom_batch(0, 1), 0)
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    rec, a, m, ae = weights.values()
    one = {name: float(value.detach()) for name, value in losses.items()}
    eq13 = (
        rec * (one["recon"] + one["rest"])
        + a * (one["con_A"] + one["sim_A"])
        + m * (one["con_M"] + one["sim_M"])
        + ae * one["con_AE"]
    )
    assert one.pop("loss") == pytest.approx(eq13, rel=1e-5)
    assert set(one) == {"recon", "rest", "con_A", "sim_A", "con_M", "sim_M", "con_AE"}


@pytest.mark.parametrize("preset", ["robust", "paper"])
def test_every_sub_network_receives_a_gradient(plain_plans, phantom_batch, preset):
    method = DAL(plain_plans(preset=preset, warm_start_steps=0))
    method.training_step(phantom_batch(0, 1), 0)["loss"].backward()
    assert moved(method) == set(SUB_NETWORKS)


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        ("recon", {"E_A", "E_M", "R_A", "R_D"}),  # through the one-hot of Eq. 3 into E_A
        ("rest", {"E_M", "R_E", "R_D"}),  # Canny stops it
        ("con_A", {"E_A"}),
        ("con_M", {"E_M"}),
        ("con_AE", {"R_E"}),  # the robust preset detaches the target
    ],
)
def test_each_loss_trains_the_sub_networks_that_the_paper_draws(
    plain_plans, phantom_batch, loss, reached
):
    method = DAL(plain_plans(warm_start_steps=0))
    method.training_step(phantom_batch(0, 1), 0)[loss].backward()
    assert moved(method) == reached


def test_the_literal_code_consistency_trains_the_encoder_too(plain_plans, phantom_batch):
    method = DAL(plain_plans(preset="paper"))
    method.training_step(phantom_batch(0, 1), 0)["con_AE"].backward()
    assert moved(method) == {"E_A", "R_A", "R_E"}


def test_the_warm_start_touches_only_the_anatomy_extractor(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans(warm_start_steps=3)), phantom_batch(0, 1)
    losses = method.training_step(batch, 2)
    assert set(losses) == {"loss", "warm_start"}
    losses["loss"].backward()
    assert moved(method) == {"E_A"}
    assert "recon" in method.training_step(batch, 3), "the step after the last is a full one"


def test_the_warm_start_brings_sequences_to_agree_on_three_ordered_classes(
    plain_plans, phantom_batch
):
    method, batch = DAL(plain_plans(warm_start_steps=30)), phantom_batch(0, 1)
    optimiser = torch.optim.Adam(method.network.parameters(), lr=3e-3)
    before = method.watch(batch)
    for step in range(30):
        optimiser.zero_grad()
        method.training_step(batch, step)["loss"].backward()
        optimiser.step()
    after = method.watch(batch)
    assert after["label_agreement"] > max(0.9, float(before["label_agreement"]))
    assert not method.warnings({name: float(value) for name, value in after.items()})
    labels = method.network.E_A(batch.images[:1, :1]).argmax(dim=1)[0]
    inside = batch.brain_mask[0, 0] > 0
    means = [float(batch.images[0, 0][inside & (labels == c)].mean()) for c in range(3)]
    assert means == sorted(means), "dark to bright on T1, as Eq. 4 presumes"


def test_what_is_restored_outside_the_brain_changes_no_loss(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans(warm_start_steps=0)), phantom_batch(0, 0)
    losses = method.training_step(batch, 0)
    outside = 1 - batch.brain_mask[:1]
    method.network.R_D.output.register_forward_hook(lambda *call: call[-1] + 9 * outside)
    noisy = method.training_step(batch, 0)
    for name, value in losses.items():
        torch.testing.assert_close(noisy[name], value)


def test_it_overfits_two_phantoms(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans(warm_start_steps=0)), phantom_batch(0, 1)
    optimiser = torch.optim.Adam(method.network.parameters(), lr=3e-3)
    first = last = float("nan")
    for step in range(40):
        losses = method.training_step(batch, step)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        last = float(losses["rest"].detach())
        first = last if step == 0 else first
    assert last < first / 2
    # Without anatomy the best image is flat: one grey value per subject and sequence. Each image
    # is the target of two restorations, one from each anatomy.
    brains = [
        image[mask[0] > 0]
        for subject, mask in zip(batch.images, batch.brain_mask, strict=True)
        for image in subject
    ]
    flat = sum(2 * float((values - values.median()).abs().mean()) for values in brains) / 2
    assert last < 0.9 * flat


@pytest.mark.parametrize("score", ["hybrid", "l1", "ssim"])
def test_scores_are_not_negative_and_0_outside_the_brain(
    plain_plans, phantom_batch, in_windows, score
):
    method = DAL(plain_plans().override({"scoring.score": score}, "test"))
    batch = phantom_batch(0)
    image, mask = batch.images[0, 0], batch.brain_mask[0, 0]
    found = method.detect(image, mask, "T1", in_windows)
    (scores,) = found.scores.values()
    assert scores.shape == image.shape and scores.isfinite().all()
    assert (scores >= 0).all() and (scores[mask == 0] == 0).all() and scores.max() > 0
    assert found.pseudo_healthy.min() >= 0 and found.pseudo_healthy.max() <= 1
    assert (found.pseudo_healthy[mask == 0] == 0).all()
    assert set(found.extras["edges"].unique().tolist()) <= {0.0, 1.0}
    thirds = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0])
    anatomy = found.extras["anatomy"].flatten()
    assert (anatomy[:, None] - thirds).abs().amin(dim=1).max() < 1e-6


def test_each_sequence_has_its_polarity_and_its_score(plain_plans, phantom_batch, in_windows):
    method = DAL(plain_plans(polarity={"T1": "dark", "T2": "bright"}, tolerant=("T2",)))
    batch = phantom_batch(0)
    mask = batch.brain_mask[0, 0]
    for place, (name, side) in enumerate({"T1": -1, "T2": 1}.items()):
        image = batch.images[0, place]
        found = method.detect(image, mask, name, in_windows)
        score = found.scores[""]
        assert score.max() > 0 and (score[side * (image - found.pseudo_healthy) <= 0] == 0).all()
    assert method.score_words("T1").endswith("darker; 0 elsewhere")
    assert method.score_words("T2").startswith("distance")
    assert (score <= (image - found.pseudo_healthy).abs() + 1e-6).all()


def test_without_power_and_neighbourhood_the_score_is_equation_15(
    plain_plans, phantom_batch, in_windows
):
    batch = phantom_batch(0)
    image, mask = batch.images[0, 0], batch.brain_mask[0, 0]
    plain = {"polarity": {}, "tolerant": (), "difference_power": 1.0, "neighbourhood_mm": 0.0}
    method = DAL(plain_plans(**plain))
    found = method.detect(image, mask, "T1", in_windows)
    expected = hybrid_map(image, found.pseudo_healthy) * mask
    torch.testing.assert_close(found.scores[""], expected)
    assert method.score_words("T1") == SCORE_WORDS["hybrid"]

    spacing = method.plans.configuration.spacing_mm
    changed = plain | {"difference_power": 0.5, "neighbourhood_mm": 3 * spacing[0]}
    other = DAL(method.plans.override({f"method.settings.{k}": v for k, v in changed.items()}, ""))
    other.network.load_state_dict(method.network.state_dict())
    rooted = hybrid_map(image, found.pseudo_healthy, power=0.5) * mask
    torch.testing.assert_close(
        other.detect(image, mask, "T1", in_windows).scores[""], supported(rooted, (3, 3, 3))
    )
    assert "the first factor to the power of 0.5; supported by its mean" in other.score_words("T1")


@pytest.mark.parametrize("key", ["input_shape", "window"])
def test_sizes_that_would_not_come_back_are_refused_by_name(plain_plans, key):
    plans = plain_plans()
    assert DAL(plans).settings.downsamplings == 1
    configuration = plans.configuration.model_copy(update={key: (16, 15, 16)})
    with pytest.raises(PlansError, match=rf"configuration\.{key}.*multiples of 2"):
        DAL(plans.model_copy(update={"configuration": configuration}))


def test_a_batch_is_left_as_it_was(plain_plans, phantom_batch):
    batch = phantom_batch(0, 1)
    copy = dataclasses.replace(batch, images=batch.images.clone())
    method = DAL(plain_plans(warm_start_steps=0))
    method.training_step(batch, 0)
    method.watch(batch)
    method.pictures(batch)
    assert torch.equal(batch.images, copy.images)


@pytest.mark.parametrize("step", [0, 5])
def test_a_step_never_waits_for_the_device(plain_plans, step):
    # A meta tensor has no values: whatever asks for one, or a shape that depends on one, raises.
    with torch.device("meta"):
        method = DAL(plain_plans(warm_start_steps=5, edge_noise=0.1, modality_reuse=False))
        images, mask = torch.zeros(2, 2, 16, 16, 16), torch.zeros(2, 1, 16, 16, 16)
        batch = Batch(images, mask, torch.ones(2, 2, dtype=torch.bool))
        method.training_step(batch, step)["loss"].backward()
    assert method.network.E_A.classify.weight.grad is not None
