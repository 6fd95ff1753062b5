"""PHANES: sizes, who learns from which loss, masks, and the files that it wants."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from dal_auto.errors import InputError, PlansError
from dal_auto.methods.phanes import vae
from dal_auto.methods.phanes.inpainter import Inpainter, masked_game
from dal_auto.methods.phanes.model import PHANES, PHANESNetwork
from dal_auto.methods.phanes.settings import PHANESSettings
from dal_auto.methods.shapes import drawn_ellipses
from dal_auto.networks import perceptual
from dal_auto.networks.backbone import VGG
from dal_auto.networks.lpips import LPIPS


@pytest.fixture
def method(small_plans) -> PHANES:
    """On slices of 64 × 64."""
    return PHANES(small_plans("PHANES"))


def test_networks_are_as_large_as_published():
    """44.6 million to infer, counted from the published layer lists; 2.8 more to train."""
    with torch.device("meta"):
        network = PHANESNetwork(PHANESSettings())
        assert network.decoder(torch.empty(1, 128)).shape == (1, 1, 128, 128)
    total, judge = (
        sum(p.numel() for p in part.parameters()) / 1e6 for part in (network, network.discriminator)
    )
    assert total - judge == pytest.approx(44.6, abs=0.05)


def test_the_two_players_of_the_vae_learn_each_from_their_own_loss(method):
    torch.manual_seed(0)
    losses, restored = method._introspective_losses(torch.rand(3, 1, 64, 64))
    assert not restored.requires_grad
    parts = {name: getattr(method.network, name) for name in ("encoder", "decoder")}
    for player, other in (("encoder", "decoder"), ("decoder", "encoder")):
        own, others = (list(parts[name].parameters()) for name in (player, other))
        gradients = torch.autograd.grad(
            losses[player], own + others, retain_graph=True, allow_unused=True
        )
        assert all(g is not None for g in gradients[: len(own)])
        assert gradients[len(own) :] == (None,) * len(others)


def test_losses_of_the_vae_are_the_published_sums(method, monkeypatch):
    """Where the decoder gives one slice whatever the code, and the encoder one code."""
    slices, same = torch.rand(2, 1, 64, 64), torch.full((2, 1, 64, 64), 0.25)
    mean, log_variance = torch.full((2, 32), 0.5), torch.full((2, 32), -1.0)
    features = [torch.ones(2, 3, 4, 4)]
    monkeypatch.setattr(vae.Encoder, "forward", lambda self, x: (mean, log_variance, features))
    monkeypatch.setattr(vae.Decoder, "forward", lambda self, z: same)
    losses, _ = method._introspective_losses(slices)
    scale = 1 / 64**2
    recon = float((slices - same).square().sum()) / 2 * scale
    code = float(kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0, 1)).sum()) / 2
    torch.testing.assert_close(vae.kl(mean, log_variance).mean(), torch.tensor(code))
    exponent = torch.exp(torch.tensor(-2 * scale * 128 * code))
    assert float(losses["encoder"]) == pytest.approx(
        0.5 * recon + scale * code + float(exponent) / 2, rel=1e-4
    )
    assert float(losses["decoder"]) == pytest.approx(0.5 * recon + scale * code, rel=1e-4)


def test_features_that_differ_in_length_alone_have_no_angle():
    one = torch.rand(2, 3, 4, 4)
    found = vae.embedding_error([one, one], [2 * one, one])
    torch.testing.assert_close(found, one.square().mean() / 2)


def test_only_what_the_mask_covers_is_made_anew(small_plans):
    method = PHANES(small_plans("PHANES", mask_sigma=0.0))
    torch.manual_seed(0)
    slices, brain = torch.rand(2, 1, 64, 64), torch.ones(2, 1, 64, 64)
    method.network.eval()
    method.network.threshold.fill_(1.0)  # the twentieth that differs most
    first = method.first_restoration(slices, range(2))
    mask = method.masked(method.coarse(slices, first, brain))
    healthy, maps = method.examine(slices, brain, range(2))
    assert 0.04 < float(mask.mean()) < 0.06
    assert torch.equal(healthy[mask == 0], slices[mask == 0])
    assert (healthy[mask > 0] != slices[mask > 0]).any()
    torch.testing.assert_close(maps["l1"], (slices - healthy).abs())


def test_the_inpainter_does_not_see_what_is_masked():
    torch.manual_seed(0)
    network = Inpainter(4, 2)
    one, other = torch.rand(2, 1, 1, 64, 64)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 8:20, 10:18] = 1
    same = torch.where(mask > 0, other, one)
    torch.testing.assert_close(network(one, mask), network(same, mask))
    assert network(one, mask).shape == one.shape


def test_an_inpainter_whose_pixels_are_all_below_0_still_learns():
    """They are cut to 0; a plain clamp would pass no gradient, and it would paint 0 for ever."""
    torch.manual_seed(0)
    network = Inpainter(4, 2)
    with torch.no_grad():
        network.layers[-1].bias.fill_(-1.0)
    slices, mask = torch.full((2, 1, 40, 40), 0.5), torch.zeros(2, 1, 40, 40)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    assert network(slices, mask).eq(0).all()
    for _ in range(80):
        optimiser.zero_grad()
        F.l1_loss(network(slices, mask), slices).backward()
        optimiser.step()
    assert float(network(slices, mask).detach().mean()) == pytest.approx(0.5, abs=0.1)


def test_the_inpainters_game_is_that_of_its_paper():
    judge = nn.AvgPool2d(8)
    slices = torch.rand(2, 1, 16, 16)
    completed = slices.clone().requires_grad_()
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, :8, :8] = 1
    maker, discriminator = masked_game(judge, completed, slices, mask, 0.0)
    said = F.avg_pool2d(slices, 8)
    torch.testing.assert_close(maker, (said[:, 0, 0, 0] - 1).square().mean())
    wanted = torch.ones(2, 1, 2, 2)
    wanted[:, :, 0, 0] = 0
    torch.testing.assert_close(
        discriminator, (said - wanted).square().mean() + (said - 1).square().mean()
    )


def test_masks_of_the_training_are_ellipses_and_what_the_vae_restored_otherwise(method):
    torch.manual_seed(0)
    slices, brain = torch.zeros(3, 1, 64, 64), torch.ones(3, 1, 64, 64)
    restored = torch.zeros_like(slices)
    slices[:, :, 55:60, 4:9] = 1  # where no ellipse's centre lies
    mask = method.training_mask(slices, restored, brain)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask[:, :, 55:60, 4:9] == 1).all() and 0.05 < float(mask.mean()) < 0.9


def test_ellipses_have_the_least_half_axes_and_lie_in_the_middle():
    torch.manual_seed(0)
    found = drawn_ellipses(torch.zeros(200, 1, 64, 64), 1, 0.5, (0.0, 0.0), 3.0)[:, 0]
    for along in (found.amax(dim=1), found.amax(dim=2)):
        assert along.sum(dim=1).min() >= 5 and along.sum(dim=1).max() <= 7
        assert (along[:, :12] == 0).all() and (along[:, 52:] == 0).all()


def test_layers_that_are_compared_are_aot_gans():
    layers = VGG("vgg19", perceptual.STAGES, stem_width=1).features

    def name(number: int) -> str:
        pools = [i for i, layer in enumerate(layers[:number]) if isinstance(layer, nn.MaxPool2d)]
        first = pools[-1] + 1 if pools else 0
        assert isinstance(layers[number], nn.ReLU)
        return f"{len(pools) + 1}_{(number - first + 1) // 2}"

    assert [name(n) for n in perceptual._SEEN] == ["1_1", "2_1", "3_1", "4_1", "5_1"]
    assert [name(n) for n in perceptual._STYLE] == ["2_2", "3_4", "4_4", "5_2"]


def test_equal_slices_look_equal_and_grams_are_products_of_channels():
    torch.manual_seed(0)
    vgg = VGG("vgg19", perceptual.STAGES, stem_width=2).eval()
    one, other = torch.rand(2, 1, 1, 64, 64)
    with torch.no_grad():
        assert perceptual.perceptual_losses(vgg, one, one) == (0, 0)
        assert all(loss > 0 for loss in perceptual.perceptual_losses(vgg, one, other))
    features = torch.rand(2, 3, 4, 5)
    expected = torch.einsum("nchw,ndhw->ncd", features, features) / 60
    torch.testing.assert_close(perceptual.gram(features), expected)


def test_without_files_both_ways_are_named_and_sizes_must_fit(small_plans):
    with pytest.raises(InputError, match=r"lpips_weights=FILE.*called l1"):
        PHANES(small_plans("PHANES", perceptual="lpips"))
    with pytest.raises(InputError, match=r"vgg_weights=FILE.*called l1"):
        PHANES(small_plans("PHANES", perceptual="lpips", lpips_weights="a", lpips_sha256="0" * 64))
    with pytest.raises(PlansError, match="input_side"):
        PHANES(small_plans("PHANES", input_side=76))


def test_files_are_read_for_training_and_lpips_alone_for_maps(
    small_plans, tmp_path, phantom_batch, in_windows
):
    torch.manual_seed(0)
    settings: dict[str, object] = {"perceptual": "lpips"}
    for name, network in (("lpips", LPIPS()), ("vgg", VGG("vgg19", perceptual.STAGES))):
        file = tmp_path / f"{name}.safetensors"
        save_file(network.state_dict(), file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        settings |= {f"{name}_weights": str(file), f"{name}_sha256": sha256}
    method = PHANES(small_plans("PHANES", **settings))
    method.require_files()
    losses = method.training_step(phantom_batch(0, 1), 0)
    assert losses["loss"].isfinite() and losses["style"] > 0 and losses["perceptual"] > 0
    tensors = method.tensors()
    assert not any(name.startswith(("lpips", "lin", "vgg", "features")) for name in tensors)
    (tmp_path / "vgg.safetensors").unlink()
    again = PHANES(method.plans)
    again.load_tensors(tensors)
    batch = phantom_batch(3)
    found = again.detect(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows)
    assert set(found.scores) == {"", "intensity"}
    with pytest.raises(InputError, match="no such file"):
        again.require_files()
