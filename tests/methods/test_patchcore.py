"""PatchCore: its vectors, its banks, where features come from, and that a lesion stands out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy import ndimage
from torch.nn import functional as F

from dal_auto.errors import InputError, PlansError, UsageError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.features import brain_slices
from dal_auto.methods.method import Batch
from dal_auto.methods.patchcore import PatchCore, patch_vectors
from dal_auto.methods.self_trained import SelfTrainedSettings, train_trunk
from dal_auto.networks.backbone import Trunk
from dal_auto.plans import ConfigurationPlan

UNTRAINED = {"stem_width": 8, "slices": 200, "steps": 0}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks and banks this small wait for threads longer than they count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fitted(plans: Any, batches: list[Batch], seed: int = 0) -> PatchCore:
    torch.manual_seed(seed)
    method = PatchCore(plans)
    method.fit_cohort(iter(batches))
    return method


def bank(method: PatchCore, sequence: str) -> torch.Tensor:
    return method.tensors()[f"bank.{sequence}"]


# Vectors


def adaptive_mean(values: np.ndarray, count: int) -> np.ndarray:
    """Along the last axis: piece i is from ⌊i n / count⌋ to ⌈(i + 1) n / count⌉."""
    n = values.shape[-1]
    pieces = [values[..., i * n // count : -(-(i + 1) * n // count)] for i in range(count)]
    return np.stack([piece.mean(axis=-1) for piece in pieces], axis=-1)


def test_vectors_are_those_of_the_published_order_of_steps():
    """Neighbourhoods by hand, interpolated first and pooled then, as the published code does."""
    fine, coarse = torch.randn(2, 5, 6, 4), torch.randn(2, 7, 3, 2)
    stages = []
    for features in (fine, coarse):
        n, c, h, w = features.shape
        padded = np.pad(features.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
        around = np.stack(
            [padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=2
        )  # (n, c, 9, h, w)
        one = F.interpolate(
            torch.from_numpy(around.reshape(n, c * 9, h, w)), (6, 4), mode="bilinear"
        )
        stages.append(adaptive_mean(one.permute(0, 2, 3, 1).numpy(), 8))
    expected = adaptive_mean(np.concatenate(stages, axis=-1), 8)
    found = patch_vectors([fine, coarse], 3, 8)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_slice_of_the_standard_grid_has_as_many_patches_as_the_paper_has_on_its_squares():
    """28² positions of 224² pixels; 20 × 28 here, each a vector of 1024."""
    with torch.device("meta"):
        stages = Trunk("wide_resnet50_2", 3)(torch.empty(1, 1, 160, 224))
    ones = [torch.ones(stage.shape) for stage in stages[1:]]
    vectors = patch_vectors(ones, 3, 1024)
    assert vectors.shape == (1, 20, 28, 1024)
    # A mean of ones, but where a neighbourhood reaches over the border.
    torch.testing.assert_close(vectors[:, 3:-3, 3:-3], torch.ones(1, 14, 22, 1024))


@settings(max_examples=30, deadline=None)
@given(h=st.integers(3, 70), w=st.integers(3, 70), seed=st.integers(0, 99))
def test_the_way_back_keeps_size_and_level_on_every_voxel_of_brain(small_plans, h, w, seed):
    method = PatchCore(small_plans("PatchCore"))
    brain = (torch.rand(1, 1, h, w, generator=torch.Generator().manual_seed(seed)) > 0.9).float()
    _, inside = method._vectors(brain, brain)
    found = method._as_slices(7.0 * inside[:, None], inside[:, None].float(), brain)
    assert found.shape == brain.shape and found.isfinite().all()
    torch.testing.assert_close(found[brain > 0], torch.full_like(found[brain > 0], 7.0))


def test_maps_are_smoothed_as_scipy_does_it(small_plans):
    positions, slices = torch.rand(2, 1, 16, 16), torch.zeros(2, 1, 64, 64)
    plain, smooth = (
        PatchCore(small_plans("PatchCore", smoothing_sigma=sigma))._as_slices(
            positions, torch.ones_like(positions), slices
        )
        for sigma in (0.0, 4.0)
    )
    torch.testing.assert_close(plain, F.interpolate(positions, (64, 64), mode="bilinear"))
    expected = ndimage.gaussian_filter(plain[:, 0].numpy(), (0, 4.0, 4.0))
    np.testing.assert_allclose(smooth[:, 0].numpy(), expected, rtol=1e-4)


# Maps


@pytest.mark.parametrize("place", [(6, 6, 7), (9, 8, 9)])
def test_a_pasted_blob_scores_above_its_surroundings(small_plans, phantom_batch, in_windows, place):
    trained = {"stem_width": 8, "slices": 200, "steps": 40}
    plans = small_plans("PatchCore", self_trained=trained, candidates=20_000, bank_limit=500)
    method = fitted(plans, [phantom_batch(seed) for seed in range(8)])
    new = phantom_batch(9)
    image, mask = new.images[0, 0], new.brain_mask[0, 0]
    x, y, z = np.ogrid[:16, :16, :16]
    near = sum((a - c) ** 2 for a, c in zip((x, y, z), place, strict=True))
    blob = torch.from_numpy(near < 2.5**2) & (mask > 0)
    far = torch.from_numpy(near > 6**2) & (mask > 0)
    without, with_it = (
        method.detect(one, mask, "T1", in_windows).scores["self-trained"]
        for one in (image, torch.where(blob, torch.tensor(1.0), image))
    )
    assert with_it[blob].mean() > 1.3 * with_it[far].mean()
    assert with_it[blob].mean() > 1.3 * without[blob].mean()


def test_what_is_in_the_bank_scores_0_and_all_else_more(small_plans, phantom_batch, in_windows):
    plans = small_plans(
        "PatchCore", self_trained=UNTRAINED, candidates=20_000, bank_share=1.0, bank_limit=20_000
    )
    batch, other = phantom_batch(1), phantom_batch(2)
    method = fitted(plans, [batch])
    mask = batch.brain_mask[0, 0]
    (own,) = method.detect(batch.images[0, 0], mask, "T1", in_windows).scores.values()
    (new,) = method.detect(other.images[0, 0], mask, "T1", in_windows).scores.values()
    # The cohort's slices are kept in half precision.
    assert own.max() < 0.01 * new[mask > 0].mean()
    assert (new[mask == 0] == 0).all()


def test_no_brain_no_score_and_background_is_not_in_the_bank(
    small_plans, phantom_batch, in_windows
):
    method = fitted(small_plans("PatchCore", bank_share=1.0, bank_limit=20_000), [phantom_batch(0)])
    empty = torch.zeros(16, 16, 16)
    assert (method.detect(empty, empty, "T1", in_windows).scores["self-trained"] == 0).all()
    brain = phantom_batch(0).brain_mask[0, 0]
    _, inside = method._vectors(brain.permute(2, 0, 1)[:, None], brain.permute(2, 0, 1)[:, None])
    assert 0 < len(bank(method, "T1")) == inside.sum() < inside.numel()


def test_squared_distances_of_one_neighbour_are_the_squares(small_plans, phantom_batch, in_windows):
    maps = {}
    for distance in ("squared", "euclidean"):
        method = fitted(small_plans("PatchCore", distance=distance), [phantom_batch(0)])
        new = phantom_batch(3)
        found = method.detect(new.images[0, 0], new.brain_mask[0, 0], "T1", in_windows)
        maps[distance] = found.scores["self-trained"]
    # Interpolated squares are not squares of what is interpolated, but no less.
    assert (maps["squared"] >= maps["euclidean"].square() - 1e-5).all()


def test_the_number_of_slices_at_once_changes_nothing(small_plans, phantom_batch, in_windows):
    many, few = (PatchCore(small_plans("PatchCore", slices_at_once=n)) for n in (64, 3))
    many.fit_cohort(phantom_batch(seed) for seed in range(2))
    few.load_tensors(many.tensors())
    new = phantom_batch(3)
    image, mask = new.images[0, 1, :13, :11], new.brain_mask[0, 0, :13, :11]
    one, two = (m.detect(image, mask, "T2", in_windows).scores for m in (many, few))
    assert one["self-trained"].shape == (13, 11, 16)
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


# The cohort


def test_the_seed_decides_what_is_learned(small_plans, phantom_batch):
    batches = [phantom_batch(seed) for seed in range(3)]
    one, same, other = (fitted(small_plans("PatchCore"), batches, seed) for seed in (0, 0, 1))
    for name, tensor in one.tensors().items():
        assert torch.equal(tensor, same.tensors()[name]), name
    assert not torch.equal(bank(one, "T1"), bank(other, "T1"))


def test_a_bank_is_a_share_of_the_candidates_but_no_more_than_its_limit(small_plans, phantom_batch):
    for limit, expected in ((1000, 50), (20, 20)):
        plans = small_plans("PatchCore", candidates=500, bank_share=0.1, bank_limit=limit)
        method = fitted(plans, [phantom_batch(0), phantom_batch(1)])
        assert bank(method, "T1").shape == bank(method, "T2").shape == (expected, 64)


def test_every_nth_slice_is_taken_from_another_one_on_for_each_subject(phantom_batch):
    numbered = phantom_batch(*range(12))
    z = torch.arange(16.0).expand_as(numbered.images)
    batch = replace(numbered, images=z, brain_mask=torch.ones_like(numbered.brain_mask))
    found = [
        some[:, 0, 0, 0].tolist()
        for _, some, _ in brain_slices([batch], ("T1", "T2"), 4, torch.Generator().manual_seed(0))
    ]
    assert len(found) == 24 and found[0] == found[1]  # both sequences of a subject
    assert {tuple(one) for one in found} == {(i, i + 4, i + 8, i + 12) for i in range(4)}


def test_who_lacks_a_sequence_has_no_part_in_its_bank(small_plans, phantom_batch):
    plans = small_plans(
        "PatchCore", self_trained=UNTRAINED, candidates=20_000, bank_share=1.0, bank_limit=20_000
    )
    batches = [phantom_batch(0), phantom_batch(1)]
    batches[1].present[0, 1] = False
    method = fitted(plans, batches)
    assert len(bank(method, "T1")) == 2 * len(bank(method, "T2")) > 0
    batches[0].present[0, 1] = False
    with pytest.raises(UsageError, match="no training case has T2"):
        fitted(plans, batches)


# Features


def never() -> Iterator[Batch]:
    raise AssertionError("the cohort was read before the weights were looked at")
    yield


def test_without_weights_both_ways_are_named(small_plans):
    with pytest.raises(InputError) as caught:
        PatchCore(small_plans("PatchCore", features="pretrained"))
    for words in (
        "wide_resnet50_2", "method.settings.weights=FILE", "method.settings.weights_sha256=SHA256",
        "method.settings.features=self-trained", "downloads nothing", "another method",
    ):  # fmt: skip
        assert words in str(caught.value)


@pytest.mark.parametrize("preset", ["paper", "robust"])
def test_the_default_is_the_papers(preset):
    shape = (112, 160, 112)
    grid = ConfigurationPlan(
        name="any", input_shape=shape, spacing_mm=(1.4, 1.4, 1.4), window=shape
    )
    found = PatchCore.default_settings(preset, grid)
    assert (found.features, found.backbone) == ("pretrained", "wide_resnet50_2")
    sources = found.sources("s")
    assert sources["s.features"].startswith("paper: ")
    assert sources["s.self_trained.steps"].startswith("ours: ")


@pytest.mark.parametrize("broken", ["gone", "changed"])
def test_a_file_that_is_not_the_one_stated_stops_before_the_cohort_is_read(
    small_plans, resnet18_file, broken
):
    path = Path(resnet18_file["weights"])
    if broken == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" ")
    method = PatchCore(small_plans("PatchCore", **resnet18_file))
    for stop in (method.require_files, lambda: method.fit_cohort(never())):
        with pytest.raises(InputError, match="no such file" if broken == "gone" else "SHA-256"):
            stop()


def test_a_model_carries_its_features_and_needs_no_file_to_predict(
    small_plans, phantom_batch, in_windows, resnet18_file, tmp_path
):
    plans = small_plans("PatchCore", **resnet18_file)
    method = fitted(plans, [phantom_batch(0)])
    assert torch.equal(
        method.trunk.conv1.weight, load_file(resnet18_file["weights"])["conv1.weight"]
    )
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(plans, method.tensors()))
    Path(resnet18_file["weights"]).unlink()
    again = load_checkpoint(tmp_path / "best.safetensors").build("cpu")
    new = phantom_batch(3)
    one, two = (
        m.detect(new.images[0, 0], new.brain_mask[0, 0], "T1", in_windows).scores
        for m in (method, again)
    )
    assert list(one) == [""], "the paper's features need no other name"
    assert torch.equal(one[""], two[""])


def test_features_of_the_cohort_bear_their_own_name(small_plans, phantom_batch, in_windows):
    method = fitted(small_plans("PatchCore"), [phantom_batch(0)])
    new = phantom_batch(3)
    found = method.detect(new.images[0, 0], new.brain_mask[0, 0], "T1", in_windows)
    assert list(found.scores) == ["self-trained"]
    assert not method.trunk.training


def test_self_training_learns_to_denoise(phantom_batch, caplog):
    images, masks = phantom_batch(0).images[0, :1], phantom_batch(0).brain_mask[0]
    kept = torch.cat([images, masks]).permute(3, 0, 1, 2)
    errors = []
    for steps in (1, 40):
        torch.manual_seed(0)
        trunk = Trunk("resnet18", 2, stem_width=8)
        with caplog.at_level("INFO"):
            train_trunk(
                trunk, kept, lambda s: F.interpolate(s, (32, 32)), (2.0, 2.0),
                SelfTrainedSettings(steps=steps, slices_per_step=8),
            )  # fmt: skip
        errors.append(float(caplog.messages[-1].split()[-1]))
        assert not trunk.training
    assert errors[1] < errors[0] / 4


@pytest.mark.filterwarnings("ignore")
def test_self_training_that_diverges_is_said(phantom_batch):
    kept = torch.full((4, 2, 16, 16), float("nan"))
    with pytest.raises(UsageError, match=r"learning_rate"):
        train_trunk(
            Trunk("resnet18", 1, stem_width=8), kept, lambda s: s, (2.0, 2.0),
            SelfTrainedSettings(steps=1, slices_per_step=2),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"), [("layers", (3, 2)), ("layers", (2, 5)), ("layers", ()), ("patch_size", 2)]
)
def test_settings_that_cannot_be_are_refused_by_their_key(small_plans, key, value):
    with pytest.raises(PlansError, match=rf"method\.settings\.{key}"):
        PatchCore(small_plans("PatchCore", **{key: value}))
