"""Methods on slices: sizes of the published networks, and the part that defines each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.distributions import Normal, kl_divergence

from dal_auto.errors import PlansError
from dal_auto.methods import autoencoder, dae, memae, riad, slices
from dal_auto.methods.method import Batch
from dal_auto.methods.registry import find_method
from dal_auto.methods.slices import drawn_slices
from dal_auto.networks.memory import MemoryUnit, entropy, shrunk


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (lambda: autoencoder.AutoencoderNetwork(autoencoder.AutoencoderSettings(), 1), 1.63),
        (lambda: autoencoder.AutoencoderNetwork(autoencoder.VAESettings(), 2), 1.76),
        (lambda: memae.MemAENetwork((96, 128, 256, 256), MemoryUnit(2000, 256, 1e-3, "dot")), 2.51),
        (lambda: riad.InpaintingUNet(riad.RIADSettings().widths), 28.8),
        (lambda: dae.DenoisingUNet(dae.DAESettings().widths), 7.70),
    ],
    ids=["AE", "VAE", "MemAE", "RIAD", "DAE"],
)
def test_networks_are_as_large_as_published(build, millions):
    """Counted from the published layer lists, independently of this code."""
    with torch.device("meta"):
        found = parameters(build()) / 1e6
    assert found == pytest.approx(millions, abs=0.05 if millions > 10 else 0.005)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# Slices


@pytest.fixture
def uneven() -> Batch:
    """Two subjects: the first has brain in slices 2 to 4 and no T2, the second in slice 6 only."""
    images = torch.arange(2 * 2 * 8, dtype=torch.float32).view(2, 2, 1, 1, 8).expand(2, 2, 5, 5, 8)
    mask = torch.zeros(2, 1, 5, 5, 8)
    mask[0, ..., 2:5] = 1
    mask[1, ..., 6] = 1
    return Batch(images.clone(), mask, torch.tensor([[True, False], [True, True]]))


def test_only_slices_with_brain_of_sequences_that_are_there_are_drawn(uneven):
    torch.manual_seed(0)
    drawn, brain = slices.drawn_slices(uneven, 200)
    assert drawn.shape == brain.shape == (200, 1, 5, 5)
    # The value of a slice is 16 × subject + 8 × sequence + z.
    assert set(drawn[:, 0, 0, 0].tolist()) == {2.0, 3.0, 4.0, 16.0 + 6, 24.0 + 6}
    assert (brain == 1).all()


def test_the_same_seed_draws_the_same_slices(uneven):
    torch.manual_seed(5)
    first, _ = slices.drawn_slices(uneven, 10)
    torch.manual_seed(5)
    assert torch.equal(first, slices.drawn_slices(uneven, 10)[0])


@pytest.mark.parametrize("name", ["AE", "MemAE", "RIAD", "DAE"])
def test_sizes_come_back_and_the_number_of_slices_at_once_changes_nothing(
    name, small_plans, phantom_batch, in_windows
):
    from dal_auto.methods.registry import find_method

    batch, kind = phantom_batch(3), find_method(name)
    torch.manual_seed(0)
    many = kind(small_plans(name))
    few = kind(small_plans(name, slices_per_step=5))
    few.load_tensors(many.tensors())
    image, mask = batch.images[0, 0, :13, :11], batch.brain_mask[0, 0, :13, :11]
    one, two = (m.detect(image, mask, "T1", in_windows) for m in (many, few))
    for variant, score in one.scores.items():
        assert score.shape == image.shape
        torch.testing.assert_close(two.scores[variant], score, rtol=1e-4, atol=1e-5)
        assert (score[mask == 0] == 0).all()


# AE and VAE


def test_kl_is_that_of_two_normal_distributions():
    mean, log_sigma = rand(4, 7) - 0.5, rand(4, 7, seed=1) - 0.5
    expected = kl_divergence(Normal(mean, log_sigma.exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(autoencoder.kl_per_dimension(mean, log_sigma), expected)


def test_the_error_is_summed_over_a_slice_and_averaged_over_slices():
    one, other = rand(3, 1, 4, 5), rand(3, 1, 4, 5, seed=1)
    expected = np.mean(
        [np.abs(a - b).sum() for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    )
    assert float(autoencoder.absolute_error(one, other)) == pytest.approx(expected, rel=1e-6)


def test_a_vae_asked_twice_says_the_same_and_its_training_draws(small_plans, phantom_batch):
    vae = autoencoder.VAE(small_plans("VAE"))
    batch = phantom_batch(0, 1)
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(vae.training_step(batch, 0)["loss"].detach()))
    assert losses[0] == losses[1] != losses[2]


def test_a_dead_code_is_warned_of(small_plans):
    warnings = autoencoder.VAE(small_plans("VAE")).warnings
    assert "collapsed" in warnings({"dead_dimensions": 0.95})[0]
    assert warnings({"dead_dimensions": 0.5}) == []


@pytest.mark.parametrize("name", ["AE", "VAE", "MemAE", "DAE", "ProxyAno", "RIAD"])
def test_the_error_of_what_is_restored_is_watched_and_a_black_one_warned_of(
    small_plans, phantom_batch, monkeypatch, name
):
    method = find_method(name)(small_plans(name))
    batch = phantom_batch(0, 1)
    torch.manual_seed(0)
    slices, brain = map(method._sized, drawn_slices(batch, method.settings.slices_per_step))
    inside = brain > 0.5

    monkeypatch.setattr(method, "restore", lambda slices, brain: 0.5 * slices)
    torch.manual_seed(0)
    figures = {key: float(value) for key, value in method.watch(batch).items()}
    assert figures["restoration_error"] == pytest.approx(float(slices[inside].mean()) / 2, rel=1e-5)
    assert figures["restored_contrast"] == pytest.approx(0.5, rel=1e-5)
    assert not any("uniform" in words for words in method.warnings(figures))

    monkeypatch.setattr(method, "restore", lambda slices, brain: torch.zeros_like(slices))
    black = {key: float(value) for key, value in method.watch(batch).items()}
    assert any("almost uniform" in words for words in method.warnings(black))


def test_an_input_that_the_code_does_not_divide_is_refused(small_plans):
    with pytest.raises(PlansError, match="input_side"):
        autoencoder.AE(small_plans("AE", input_side=60))


# MemAE


def test_addressing_sums_to_one_and_shrinks_to_exact_zeros():
    torch.manual_seed(0)
    memory = MemoryUnit(50, 8, 2 / 50, "dot")
    weights = memory.address(20 * (rand(30, 8) - 0.5))
    assert ((weights == 0).sum(dim=1) > 10).all() and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(30))


def test_shrinkage_is_the_published_formula_and_nothing_left_is_all_zero():
    weights = rand(6, 9).softmax(dim=1)
    threshold = 0.11
    expected = np.maximum(weights.numpy() - threshold, 0) * weights.numpy()
    expected /= np.abs(weights.numpy() - threshold) + 1e-12
    expected /= np.maximum(expected.sum(axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(shrunk(weights, threshold).numpy(), expected, rtol=1e-5)
    assert (shrunk(torch.full((2, 4), 0.25), 0.3) == 0).all()


def test_an_item_of_the_memory_is_rebuilt_from_itself_by_cosine():
    torch.manual_seed(0)
    memory = MemoryUnit(4, 16, 0.0, "cosine")
    with torch.no_grad():
        memory.items.copy_(torch.eye(16)[:4] * 3)
    code = (memory.items[2] * 5)[None, :, None, None].expand(1, 16, 2, 3)
    rebuilt, weights = memory(code)
    assert rebuilt.shape == code.shape and (weights.argmax(dim=1) == 2).all()
    assert float(entropy(torch.eye(3))) == pytest.approx(0, abs=1e-9)


# RIAD


@pytest.mark.parametrize(("cell", "sets"), [(2, 3), (4, 3), (8, 2)])
def test_the_sets_of_cells_tile_a_slice_exactly(cell, sets):
    found = riad.cell_sets((32, 24), cell, sets, torch.Generator().manual_seed(1))
    assert found.shape == (sets, 32, 24) and (found.sum(dim=0) == 1).all()
    blocks = found[0].view(32 // cell, cell, 24 // cell, cell)
    assert torch.equal(blocks.all(dim=3).all(dim=1), blocks.any(dim=3).any(dim=1))
    shares = found.float().mean(dim=(1, 2))
    assert (shares - 1 / sets).abs().max() <= cell**2 / (32 * 24)


def test_a_voxel_is_foretold_from_the_others_only(small_plans):
    method = riad.RIAD(small_plans("RIAD"))
    method.network.eval()
    first = 2 * rand(1, 1, 16, 16) - 1
    sets = riad.cell_sets((16, 16), 4, 3, torch.Generator().manual_seed(3))
    changed = torch.where(sets[1], 2 * rand(1, 1, 16, 16, seed=4) - 1, first)
    one, two = (method.inpaint(x, 4, torch.Generator().manual_seed(3)) for x in (first, changed))
    torch.testing.assert_close(one[..., sets[1]], two[..., sets[1]])
    assert not torch.allclose(one[..., sets[0]], two[..., sets[0]])


def test_gradients_are_prewitts_of_the_median():
    image = rand(1, 1, 12, 14)
    smooth = ndimage.median_filter(image[0, 0].numpy(), 3, mode="nearest")
    expected = np.hypot(*(ndimage.prewitt(smooth, axis, mode="nearest") / 3 for axis in (0, 1)))
    np.testing.assert_allclose(
        riad.gradient_magnitude(image)[0, 0].numpy(), expected, rtol=1e-4, atol=1e-5
    )


def test_equal_slices_have_a_similarity_of_one():
    image = rand(2, 1, 16, 16)
    torch.testing.assert_close(riad.gms_map(image, image, 3), torch.ones(2, 1, 16, 16))


# DAE


def test_noise_is_coarse_standard_and_of_another_shift_for_each_slice():
    torch.manual_seed(0)
    noise = dae.coarse_noise(torch.zeros(400, 1, 33, 33), [5, 5])
    assert noise.shape == (400, 1, 33, 33)
    # At the grid's points the variance is 1, in the middle of a cell 1/4: bilinear.
    assert 0.35 < float(noise.var()) < 0.6
    neighbours = np.corrcoef(noise[:, 0, 10, 10], noise[:, 0, 10, 11])[0, 1]
    assert neighbours > 0.85
    assert not torch.allclose(noise[0], noise[1])


def test_noise_and_loss_keep_to_the_foreground(small_plans, monkeypatch):
    method = dae.DAE(small_plans("DAE"))
    seen = []
    monkeypatch.setattr(method, "network", lambda x: seen.append(x) or torch.ones_like(x))
    slices = torch.zeros(2, 1, 16, 16)
    slices[:, :, 4:12, 4:12] = 0.5
    loss = method.slice_losses(slices, (slices > 0).float())["loss"]
    assert (seen[0][slices == 0] == 0).all() and (seen[0][slices > 0] != 0.5).any()
    assert float(loss) == pytest.approx(0.25 * 64 / 256)


def test_filters_are_standardised_and_groups_are_the_published_ones():
    convolution = dae.StandardisedConv(3, 5)
    with torch.no_grad():
        shifted = dae.StandardisedConv(3, 5)
        shifted.load_state_dict(convolution.state_dict())
        shifted.weight.mul_(7).add_(2)
    image = rand(1, 3, 8, 8)
    torch.testing.assert_close(convolution(image), shifted(image), rtol=1e-3, atol=1e-3)
    assert [dae._groups(width) for width in (64, 128, 256, 512)] == [8, 16, 16, 32]


def test_a_pair_is_the_same_slice_and_sequence_of_another_subject(uneven):
    whole = Batch(uneven.images, torch.ones_like(uneven.brain_mask), torch.ones(2, 2).bool())
    torch.manual_seed(0)
    drawn, brain = slices.drawn_pairs(whole, 200)
    one, other = drawn.chunk(2)
    # The value of a slice is 16 × subject + 8 × sequence + z.
    difference = (one - other)[:, 0, 0, 0]
    assert set(difference.tolist()) == {16.0, -16.0}
    assert drawn.shape == brain.shape == (200, 1, 5, 5)


def test_who_is_alone_with_a_sequence_is_its_own_partner(uneven):
    torch.manual_seed(0)
    drawn, brain = slices.drawn_pairs(uneven, 400)
    values, partners = drawn[:, 0, 0, 0].chunk(2)
    alone = values >= 24  # T2 of the second subject: the first has none
    assert torch.equal(values[alone], partners[alone]) and alone.any()
    assert ((values - partners)[~alone].abs() == 16).all()
    assert (brain.chunk(2)[1][~alone] == 0).all()
