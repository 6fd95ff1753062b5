"""The switches of Tables 6 and 7 change the computation as docs/method.md reads the paper."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from dal_auto.errors import PlansError
from dal_auto.evaluation.paper.reference import LOSS_TERMS
from dal_auto.methods.dal import losses
from dal_auto.methods.dal.edge_noise import mislabelled
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.dal.settings import DalSettings

ALL = ("recon", "rest", *LOSS_TERMS)


def names_of(method: DAL) -> set[str]:
    return {name for name, _ in method.network.named_children()}


def step_of(method: DAL, batch) -> dict[str, torch.Tensor]:
    found = method.training_step(batch, 10**6)
    found["loss"].backward()
    for name, parameter in method.network.named_parameters():
        assert parameter.grad is not None, f"{name} is there, but not trained"
    return {name: value.detach() for name, value in found.items()}


@pytest.mark.parametrize("module", ["edge_to_image", "disentangling", "modality_reuse"])
def test_each_module_can_be_left_out_on_a_drawn_cohort(module, small_plans, phantom_batch):
    """Where the atlas and the tissues are known, images are corrupted and anatomies taught."""
    method, batch = DAL(small_plans(**{module: False})), phantom_batch(0, 1)
    method.learn_atlas(torch.rand(3, *batch.images.shape[2:]))
    method.prepare([batch])
    tissue = torch.where(batch.brain_mask[:, 0] > 0, 1, -1)
    known = replace(batch, tissue=tissue, clean=batch.images * 0.9)
    for step in (0, 10**6):
        loss = method.training_step(known, step)["loss"]
        assert loss.isfinite()
    loss.backward()


def test_the_terms_are_those_of_the_papers_tables():
    assert DalSettings().loss_terms == LOSS_TERMS
    assert set(losses.WEIGHT_OF) == {*ALL, "labels"}, "labels are ours"


@pytest.mark.parametrize("count", [0, 1, 3, 4])
def test_table_6_terms_that_are_left_out_are_in_no_sum(plain_plans, phantom_batch, count):
    batch = phantom_batch(0, 1)
    everything = DAL(plain_plans(warm_start_steps=0)).training_step(batch, 0)
    for terms in itertools.islice(itertools.combinations(LOSS_TERMS, count), 3):
        torch.manual_seed(0)
        method = DAL(plain_plans(warm_start_steps=0, loss_terms=terms))
        fresh = method.training_step(batch, 0)
        assert set(fresh) == {"loss", "recon", "rest", *terms}
        weights = method.settings.weights()
        left = sum(weights[losses.WEIGHT_OF[n]] * fresh[n] for n in fresh if n != "loss")
        torch.testing.assert_close(fresh["loss"], left)
        assert everything.keys() == {"loss", *ALL}


def test_without_edge_to_image_the_code_comes_from_the_anatomy(plain_plans, phantom_batch):
    method = DAL(plain_plans(edge_to_image=False, warm_start_steps=0))
    assert names_of(method) == {"E_A", "E_M", "R_A", "R_D"}
    batch = phantom_batch(0, 1)
    found = step_of(method, batch)
    assert set(found) == {"loss", "recon", "con_A", "sim_A", "con_M", "sim_M"}
    image, mask = batch.images[0, 0], batch.brain_mask[0, 0]
    detection = method.detect(image, mask, "T1", lambda network, volume: network(volume))
    net = method.network
    with torch.no_grad():
        x = image[None, None]
        anatomy = (net.E_A(x).argmax(1, keepdim=True) + 1) / 3 * mask
        by_hand = net.R_D(net.R_A(anatomy), net.E_M(F.avg_pool3d(x, 2)))[0, 0] * mask
    torch.testing.assert_close(detection.pseudo_healthy, by_hand.clamp(0, 1))
    assert set(detection.extras) == {"anatomy"}
    assert set(detection.vectors) == {"modality", "modality restored"}


def test_without_disentangling_the_images_own_edges_are_restored_and_there_is_no_m(
    plain_plans, phantom_batch
):
    method = DAL(plain_plans(disentangling=False))  # a warm start has no E_A to start
    net, batch = method.network, phantom_batch(0, 1)
    assert names_of(method) == {"R_E", "R_D"}
    assert not any("gamma" in name or "beta" in name for name, _ in net.named_parameters())
    found = method.training_step(batch, 0)
    found["loss"].backward()
    assert set(found) == {"loss", "rest"}
    assert all(p.grad is not None for p in net.parameters())
    expected = 0.0
    with torch.no_grad():
        for p, i in itertools.product(range(2), range(2)):
            image, mask = batch.images[p, i], batch.brain_mask[p, 0]
            restored = net.R_D(net.R_E(net.edges(image[None, None])), None)[0, 0]
            expected += float((restored - image).abs()[mask > 0].mean()) / 2
            detection = method.detect(image, mask, "T1", lambda network, volume: network(volume))
            torch.testing.assert_close(
                detection.pseudo_healthy, (restored * mask).clamp(0, 1), rtol=0, atol=1e-4
            )
    assert float(found["rest"].detach()) == pytest.approx(expected, rel=1e-4)
    assert set(detection.extras) == {"edges"} and not detection.vectors


def test_without_modality_reuse_m_is_the_training_mean_of_the_sequence(plain_plans, phantom_batch):
    torch.manual_seed(0)
    full = DAL(plain_plans(warm_start_steps=0))
    torch.manual_seed(0)
    method = DAL(plain_plans(warm_start_steps=0, modality_reuse=False))
    seen = [phantom_batch(0, 1), phantom_batch(2, 3)]
    seen[1].present[0, 1] = False
    for batch in seen:
        one, other = full.training_step(batch, 0), method.training_step(batch, 0)
        torch.testing.assert_close(one["loss"], other["loss"])  # training is the same
    net = method.network
    with torch.no_grad():
        first, second = (
            net.E_M(F.avg_pool3d(b.images.flatten(0, 1)[:, None], 2)).unflatten(0, (2, 2))
            for b in seen
        )
    means = torch.stack(
        [
            (first[:, 0].mean(0) + second[:, 0].mean(0)) / 2,
            (first[:, 1].mean(0) + second[1, 1]) / 2,
        ]
    )
    torch.testing.assert_close(net.mean_modality, means, rtol=1e-4, atol=1e-5)

    image, mask = phantom_batch(7).images[0, 1], phantom_batch(7).brain_mask[0, 0]
    detection = method.detect(image, mask, "T2", lambda network, volume: network(volume))
    with torch.no_grad():
        restored = net.R_D(net.R_E(detection.extras["edges"][None, None]), net.mean_modality[1:])
    by_hand = (restored[0, 0] * mask).clamp(0, 1)
    torch.testing.assert_close(detection.pseudo_healthy, by_hand, rtol=0, atol=1e-4)
    own = net.E_M(F.avg_pool3d(image[None, None], 2))[0]
    torch.testing.assert_close(detection.vectors["modality"], own)  # Fig. 6: the shift from its own


def test_the_mean_modality_is_saved_and_learned_in_training_only(plain_plans, phantom_batch):
    method = DAL(plain_plans(warm_start_steps=2, modality_reuse=False))
    assert "mean_modality" in method.tensors()
    method.training_step(phantom_batch(0, 1), 0)
    assert not method.network.mean_modality.any(), "a warm start does not run E_M"
    method.network.eval()
    method.training_step(phantom_batch(0, 1), 5)
    method.watch(phantom_batch(0, 1))
    assert not method.network.mean_modality.any(), "validation patients are not learned from"
    method.network.train()
    method.training_step(phantom_batch(0, 1), 5)
    assert method.network.mean_modality.any()
    assert "mean_modality" not in DAL(plain_plans()).tensors()


def test_edge_noise_changes_the_edges_in_training_only(plain_plans, phantom_batch):
    batch = phantom_batch(0, 1)

    def losses_of(noise: float, *, training: bool) -> dict[str, float]:
        torch.manual_seed(0)
        method = DAL(plain_plans(warm_start_steps=0, edge_noise=noise))
        method.network.train(training)
        return {name: float(v.detach()) for name, v in method.training_step(batch, 0).items()}

    clean, noisy = losses_of(0.0, training=True), losses_of(0.3, training=True)
    changed = {name for name in clean if clean[name] != noisy[name]}
    assert changed == {"loss", "rest", "con_AE"}
    assert losses_of(0.3, training=False) == losses_of(0.0, training=False)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_edge_noise_gives_blobs_of_one_class(classes):
    label = torch.randint(1, classes + 1, (8, 1, 30, 33, 35))
    mask = torch.ones(label.shape)
    mask[..., :5] = 0
    anatomy = label / classes * mask

    def noisy(share: float, radius_mm: float) -> torch.Tensor:
        radii = (radius_mm, radius_mm)
        return mislabelled(anatomy, mask, share, classes, radii, spacing_mm=2.0)

    assert torch.equal(noisy(0.0, 8.0), anatomy)
    found = noisy(1.0, 8.0)
    assert (found[mask == 0] == 0).all()
    assert set((found[mask > 0] * classes).round().tolist()) == set(range(1, classes + 1))
    changed = ((found - anatomy).abs() > 1e-6).flatten(1).sum(1)
    assert (changed > 0).all(), "each image has a blob"
    # At most three balls of 4 voxels, their borders rough; a ball at the brain's rim is cut.
    assert changed.float().mean() < 3 * 1.3 * 4 / 3 * torch.pi * 4**3
    assert changed.float().mean() > 0.3 * 4 / 3 * torch.pi * 4**3 * (1 - 1 / classes)
    larger = ((noisy(1.0, 16.0) - anatomy).abs() > 1e-6).sum()
    assert larger > 2 * changed.sum()


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"loss_terms": ["con_A", "con_B"]}, r"loss_terms\.1"),
        ({"loss_terms": ["con_A", "con_A"]}, "loss_terms"),
        ({"disentangling": False, "edge_to_image": False}, "edge_to_image"),
        ({"disentangling": False, "modality_reuse": False}, "modality_reuse"),
        ({"edge_noise_radii_mm": [9.0, 4.0]}, "edge_noise_radii_mm"),
        ({"edge_noise": 1.5}, "edge_noise"),
        ({"disentangling": "no"}, "disentangling"),
    ],
)
def test_what_does_not_go_together_is_refused_by_its_key(plain_plans, settings, key):
    with pytest.raises(PlansError, match=rf"method\.settings\.{key}"):
        DAL(plain_plans(**settings))


@pytest.mark.parametrize("switch", ["edge_to_image", "disentangling", "modality_reuse"])
@pytest.mark.parametrize("preset", ["robust", "paper"])
def test_each_module_can_be_left_out_with_all_else_as_it_is(plain_plans, preset, switch):
    """Runs of Table 7 are compared only where nothing else differs."""
    DAL(plain_plans(preset=preset, **{switch: False}))


@pytest.mark.parametrize("settings", [{}, {"disentangling": False}, {"edge_to_image": False}])
def test_recomputed_activations_give_the_same_gradients(
    plain_plans, phantom_batch, narrow, settings
):
    batch, found = phantom_batch(0, 1), []
    middle = (..., *(slice(2, 10),) * 3)  # double precision is slow
    images, mask = (t[middle].double() for t in (batch.images, batch.brain_mask))
    batch = type(batch)(images, mask, batch.present)
    for checkpointed in (False, True):
        torch.manual_seed(0)
        settings = narrow | settings | {"checkpoint_activations": checkpointed}
        method = DAL(plain_plans(warm_start_steps=0, **settings))
        method.network.double()
        calls: list[int] = []
        method.network.R_D.register_forward_hook(lambda *call, to=calls: to.append(len(call[1][0])))
        method.training_step(batch, 0)["loss"].backward()
        assert set(calls) == ({2} if checkpointed else {calls[0]})
        assert checkpointed or len(calls) == 1, "one batched call for all combinations"
        found.append({n: p.grad for n, p in method.network.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-6, atol=1e-10)
