"""Fig. 4's decoder: the best linear one by numpy, and none of the model's business."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.dal.code_decoder import decode, fit_decoder
from dal_auto.methods.dal.model import DAL


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def blocks(volume: np.ndarray, f: int) -> np.ndarray:
    """(f·x, f·y, f·z) → (x·y·z, f³), voxel by voxel."""
    x, y, z = (size // f for size in volume.shape)
    return np.array(
        [
            volume[i * f : i * f + f, j * f : j * f + f, k * f : k * f + f].ravel()
            for i in range(x)
            for j in range(y)
            for k in range(z)
        ]
    )


@pytest.mark.parametrize("factor", [1, 2])
def test_it_is_numpys_least_squares_over_code_voxels_inside_the_brain(factor):
    codes = [drawn(1, 5, 4, 3, 6, seed=n) for n in range(3)]
    size = [4 * factor, 3 * factor, 6 * factor]
    anatomies = [drawn(1, 1, *size, seed=10 + n) for n in range(3)]
    mask = torch.zeros(1, 1, *size)
    mask[..., : 5 * factor - factor // 2] = 1
    found = fit_decoder((c, a, mask) for c, a in zip(codes, anatomies, strict=True))
    inside = blocks(mask[0, 0].numpy(), factor).min(axis=1) > 0
    inputs = np.concatenate([c[0].numpy().reshape(5, -1).T[inside] for c in codes])
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    outputs = np.concatenate([blocks(a[0, 0].numpy(), factor)[inside] for a in anatomies])
    expected, *_ = np.linalg.lstsq(inputs, outputs, rcond=None)
    assert found.shape == (6, factor**3)
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_an_anatomy_that_the_code_holds_comes_back(factor):
    code = drawn(2, 7, 3, 4, 2)
    weights = drawn(8, factor**3, seed=1) - 0.5
    anatomy = decode(code, weights)
    assert anatomy.shape == (2, 1, 3 * factor, 4 * factor, 2 * factor)
    again = fit_decoder([(code, anatomy, torch.ones_like(anatomy))])
    torch.testing.assert_close(decode(code, again), anatomy, rtol=0, atol=0.02)


@pytest.fixture
def fitted(plain_plans, phantom_batch) -> DAL:
    torch.manual_seed(0)
    method = DAL(plain_plans())
    method.figure_tensors = method.fit_figures(phantom_batch(seed) for seed in range(3))
    return method


def test_what_the_code_holds_is_nearer_to_the_anatomy_than_its_mean_is(fitted, phantom_batch):
    def whole(network, volume):
        return network(volume)

    factor = 2**fitted.settings.downsamplings
    decoded, true = [], []
    for seed in range(3):
        batch = phantom_batch(seed)
        mask = batch.brain_mask[0, 0]
        for place, sequence in enumerate(fitted.plans.sequences):
            given = batch.images[0, place], mask, sequence, whole
            found = fitted.figure_volumes(*given)["code decoded"]
            assert found.shape == mask.shape and (found[mask == 0] == 0).all()
            inside = blocks(mask.numpy(), factor).min(axis=1) > 0
            decoded.append(blocks(found.numpy(), factor)[inside])
            true.append(blocks(fitted.detect(*given).extras["anatomy"].numpy(), factor)[inside])
    error = np.concatenate(decoded) - np.concatenate(true)
    assert np.square(error).mean() < 0.98 * np.concatenate(true).var()


def test_it_touches_no_weight_and_no_map(fitted, plain_plans, phantom_batch, in_windows):
    torch.manual_seed(0)
    bare = DAL(plain_plans())
    for name, tensor in bare.tensors().items():
        assert torch.equal(tensor, fitted.tensors()[name]), name
    batch = phantom_batch(7)
    maps = [
        m.detect(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows)
        for m in (bare, fitted)
    ]
    assert torch.equal(maps[0].scores[""], maps[1].scores[""])
    assert maps[0].extras.keys() == maps[1].extras.keys()
    assert bare.figure_volumes(batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows) == {}


def test_it_travels_with_the_checkpoint(fitted, phantom_batch, in_windows, tmp_path):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, Checkpoint(fitted.plans, fitted.tensors(), figures=fitted.figure_tensors))
    batch = phantom_batch(7)
    given = batch.images[0, 0], batch.brain_mask[0, 0], "T1", in_windows
    again = load_checkpoint(path).build("cpu").figure_volumes(*given)["code decoded"]
    torch.testing.assert_close(again, fitted.figure_volumes(*given)["code decoded"])


def test_without_disentangling_there_is_no_anatomy_to_show(plain_plans, phantom_batch):
    method = DAL(plain_plans(disentangling=False))
    assert method.fit_figures([phantom_batch(0)]) == {}
