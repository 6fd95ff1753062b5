"""Our recipe for DAL: each key does what it says, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from dal_auto.methods.dal.contrast import fitted_contrast
from dal_auto.methods.dal.losses import image_error, shares
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.dal.objective import true_anatomy
from dal_auto.methods.dal.warm_start import tissue_classes
from dal_auto.methods.method import Batch
from dal_auto.networks.boundary import boundary_map


def with_tissue(batch: Batch) -> Batch:
    """The batch as of a cohort that knows its tissues: the T1's thirds of brightness."""
    t1, inside = batch.images[:, 0], batch.brain_mask[:, 0] > 0
    tissue = (t1 > 0.3).long() + (t1 > 0.65).long()
    return dataclasses.replace(batch, tissue=torch.where(inside, tissue, -1))


def padded(volume: torch.Tensor, margin: int) -> torch.Tensor:
    return F.pad(volume, (margin,) * 6)


def test_an_empty_margin_changes_nothing_with_statistics_over_the_brain(plain_plans, phantom_batch):
    """What the grid has around the brain is no part of it. Over the grid it counts."""
    batch = phantom_batch(0)
    x, mask = batch.images[:1, :1], batch.brain_mask[:1]
    for statistics, same in (("brain", True), ("grid", False)):
        net = DAL(plain_plans(statistics=statistics)).network
        alone = net.run("E_A", x, brain=mask)
        wide = net.run("E_A", padded(x, 4), brain=padded(mask, 4))[..., 4:-4, 4:-4, 4:-4]
        inside = mask.expand_as(alone) > 0
        assert torch.allclose(alone[inside], wide[inside], atol=1e-4) is same


def test_the_boundary_map_is_the_brighter_side_of_each_step():
    anatomy = torch.zeros(1, 1, 7, 7, 7)
    anatomy[..., 2:5] = 1 / 3
    anatomy[..., 3] = 1
    expected = torch.zeros_like(anatomy)
    expected[..., 2:5] = 1
    assert torch.equal(boundary_map(anatomy), expected)
    assert not boundary_map(torch.full((1, 1, 4, 4, 4), 2 / 3)).any(), "the grid's end is no step"


def test_teacher_forcing_gives_the_true_anatomy_and_then_leaves_it(small_plans, phantom_batch):
    """E_A gets no gradient from Eq. 9 while R_A is taught; afterwards it does."""
    plans = small_plans(weight_labels=0.0, loss_terms=[]).override({"training.steps": 10}, "test")
    batch = with_tissue(phantom_batch(0, 1))
    for step, reached in ((4, False), (5, True)):
        method = DAL(plans)
        method.training_step(batch, step)["loss"].backward()
        gradients = [p.grad for p in method.network.E_A.parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in gradients) is reached


def test_known_tissues_teach_the_anatomy_extractor_all_along(small_plans, phantom_batch):
    method, batch = DAL(small_plans()), phantom_batch(0, 1)
    assert "labels" not in method.training_step(batch, 10**6), "the cohort knows none"
    known = with_tissue(batch)
    losses = method.training_step(known, 10**6)
    logits = method.network.run(
        "E_A", known.images.flatten(0, 1)[:, None], brain=known.brain_mask.repeat_interleave(2, 0)
    )
    labels = known.tissue.repeat_interleave(2, 0)
    by_hand = F.cross_entropy(logits, torch.where(labels < 0, -100, labels))
    torch.testing.assert_close(losses["labels"], by_hand)


def test_classes_of_k_means_teach_the_anatomy_extractor_while_teacher_forcing_lasts(
    small_plans, phantom_batch
):
    """Else E_A would have learned nothing of tissues when its anatomy is first used."""
    method = DAL(small_plans().override({"training.steps": 10}, "test"))
    batch = phantom_batch(0, 1)
    assert "labels" in method.training_step(batch, 4)
    assert "labels" not in method.training_step(batch, 5)


def test_a_subject_without_the_reference_is_restored_from_its_own_anatomy(
    small_plans, phantom_batch
):
    """It has no classes by k-means: from a blank anatomy R_A and R_E would learn nothing good."""
    batch = phantom_batch(0, 1)
    present = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    mask = batch.brain_mask.repeat_interleave(2, dim=0)
    truth = true_anatomy(batch, present, mask, 3, reference=0)
    other = torch.rand_like(truth.anatomy)
    seen = truth.or_else(other)
    assert truth.teaches.flatten().tolist() == [True, True, False, False]
    assert torch.equal(seen[:2], truth.anatomy[:2])
    assert torch.equal(seen[2:], other[2:])


def test_a_stored_cohort_gives_the_atlas_by_k_means(small_plans, phantom_batch):
    method, first, second = DAL(small_plans()), phantom_batch(0), phantom_batch(1)
    method.prepare([first, second])
    prior = method.network.tissue_prior
    by_hand = [
        F.one_hot(tissue_classes(b.images[:, 0], b.brain_mask[:, 0], 3).clamp(min=0), 3)
        * b.brain_mask[:, 0, ..., None]
        for b in (first, second)
    ]
    expected = (torch.cat(by_hand).float().mean(0)).movedim(-1, 0)[None]
    torch.testing.assert_close(prior, expected)
    kept = prior.clone()
    method.prepare([second])
    assert torch.equal(prior, kept), "what is known of the cohort stays"


def test_without_any_reference_there_is_no_atlas(small_plans, phantom_batch):
    method, batch = DAL(small_plans()), phantom_batch(0)
    method.prepare([dataclasses.replace(batch, present=torch.tensor([[False, True]]))])
    assert not method.network.tissue_prior.any()


def test_a_drawn_combination_has_the_expectation_of_all(phantom_batch):
    batch = phantom_batch(0, 1)
    present = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    share = shares(present)
    restored = torch.rand(2, 2, 2, *batch.images.shape[2:])
    everything = image_error(restored, batch.images, batch.brain_mask, share)
    # All four ways to draw a j for (0, 0) and (0, 1); subject 1 has one sequence alone.
    drawn = []
    for first in (0, 1):
        for second in (0, 1):
            columns = torch.tensor([[first, second], [0, 0]])
            index = columns[:, :, None, None, None, None].expand(-1, -1, 1, *restored.shape[3:])
            one = restored.gather(2, index)
            drawn.append(image_error(one, batch.images, batch.brain_mask, share, columns))
    torch.testing.assert_close(torch.stack(drawn).mean(), everything)


def test_corruption_is_not_wanted_in_the_restored_image(small_plans, phantom_batch):
    """The target of the restoration is the clean image, whatever was pasted into the input."""
    method = DAL(small_plans(combinations="all", edge_noise=0.0, teacher_forcing=0.0))
    clean = with_tissue(phantom_batch(0, 1))
    corrupted = dataclasses.replace(clean, images=clean.images.clone(), clean=clean.images)
    corrupted.images[:, :, 4:8, 4:8, 4:8] = 0.99 * (clean.brain_mask[..., 4:8, 4:8, 4:8] > 0)
    seen = method.training_step(corrupted, 0)
    wanted_as_seen = dataclasses.replace(corrupted, clean=corrupted.images)
    other = method.training_step(wanted_as_seen, 0)
    assert seen["rest"] != other["rest"]
    torch.testing.assert_close(seen["recon"], other["recon"])


def test_the_atlas_is_what_the_restorer_sees_beside_the_edges(small_plans, phantom_batch):
    method, batch = DAL(small_plans()), phantom_batch(0)
    image, mask = batch.images[0, 0], batch.brain_mask[0, 0]

    def restored() -> torch.Tensor:
        return method.detect(image, mask, "T1", lambda network, x: network(x)).pseudo_healthy

    before = restored()
    method.learn_atlas(torch.rand(3, *image.shape))
    assert not torch.equal(restored(), before)
    again = DAL(small_plans())
    again.load_tensors(method.tensors())
    found = again.detect(image, mask, "T1", lambda network, x: network(x)).pseudo_healthy
    assert torch.equal(found, restored()), "the atlas travels with the weights"


@pytest.mark.parametrize("pull", [0.0, 0.5, 1.0])
def test_the_modality_is_pulled_to_the_mean_of_its_sequence(small_plans, phantom_batch, pull):
    net = DAL(small_plans(modality_pull=pull)).network
    own = torch.rand(2, net.E_M.length)
    mean = torch.rand(2, net.E_M.length)
    if pull > 0:
        net.mean_modality.copy_(mean)
    expected = own + pull * (mean[[1, 0]] - own)
    torch.testing.assert_close(net.modality_for_prediction(own, [1, 0]), expected)


def test_a_contrast_that_differs_everywhere_is_fitted_and_a_lesion_is_not():
    torch.manual_seed(0)
    restored = torch.rand(1, 1, 16, 16, 16)
    mask = torch.ones_like(restored)
    mask[..., 0] = 0
    scan = (0.2 + 0.6 * restored**2) * mask
    lesion = torch.zeros_like(mask)
    lesion[..., 4:8, 4:8, 4:8] = 1
    found = fitted_contrast(restored * mask, torch.where(lesion > 0, 1.0, scan), mask)
    healthy = (mask > 0) & (lesion == 0)
    assert (found - scan)[healthy].abs().mean() < 0.01
    assert (found - scan)[lesion > 0].abs().mean() < 0.02, "the lesion is not in it"
    assert (found[mask == 0] == 0).all()


def test_a_brain_of_a_few_voxels_is_left_as_it_is():
    restored, mask = torch.rand(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    mask[..., 0, 0] = 1
    found = fitted_contrast(restored * mask, torch.rand(1, 1, 4, 4, 4), mask)
    torch.testing.assert_close(found, restored * mask)


def test_the_contrast_is_fitted_without_waiting_for_the_device():
    # A meta tensor has no values: whatever asks for one, or a shape that depends on one, raises.
    volumes = (torch.zeros(1, 1, 6, 6, 6, device="meta") for _ in range(3))
    assert fitted_contrast(*volumes).shape == (1, 1, 6, 6, 6)


def test_the_outputs_bias_starts_where_the_plans_say_and_nothing_else_does(plain_plans):
    def weights(bias):
        torch.manual_seed(0)
        return DAL(plain_plans(output_bias=bias)).tensors()

    drawn, given = weights(None), weights(0.49)
    changed = [name for name in drawn if not torch.equal(drawn[name], given[name])]
    assert len(changed) == 1 and changed[0].endswith("R_D.output.bias")
    assert given[changed[0]].item() == pytest.approx(0.49)
