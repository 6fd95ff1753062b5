"""What is watched is what its names say; each way to fail has a warning with what to try."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch

from dal_auto.methods.dal.model import DAL
from dal_auto.networks.anatomy import differentiable_one_hot, halve, merge_channels

HEALTHY = {
    **{"occupancy_1": 0.18, "occupancy_2": 0.48, "occupancy_3": 0.33, "label_agreement": 0.95},
    **{"edge_density": 0.3, "inner_edge_density": 0.25, "code_std": 0.5, "nan_share": 0.0},
    "restoration_error": 0.08,
}


def figures_of(method: DAL, batch) -> dict[str, float]:
    return {name: float(value) for name, value in method.watch(batch).items()}


def test_what_is_watched_is_what_its_names_say(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans()), phantom_batch(0, 1)
    images, inside = batch.images.flatten(0, 1)[:, None], batch.brain_mask[:, 0] > 0
    with torch.no_grad():
        one_hot = differentiable_one_hot(method.network.E_A(images)).unflatten(0, (2, 2))
        masks = batch.brain_mask.repeat_interleave(2, dim=0)
        anatomy = merge_channels(one_hot.flatten(0, 1), masks)
        edges, code = method.network.edges(anatomy), method.network.R_A(anatomy)
        modality = method.network.E_M(halve(images))
        restored = method.network.R_D(method.network.R_E(edges), modality)
    labels = one_hot.argmax(dim=2)
    in_brains = labels[inside[:, None].expand(-1, 2, -1, -1, -1)]
    cube = np.ones((5, 5, 5))
    inner = torch.stack([torch.from_numpy(ndi.binary_erosion(m[0], cube)) for m in masks])
    expected = {
        **{f"occupancy_{c + 1}": (in_brains == c).float().mean() for c in range(3)},
        "label_agreement": (labels[:, 0] == labels[:, 1])[inside].float().mean(),
        "edge_density": edges[masks > 0].mean(),
        "inner_edge_density": edges[:, 0][inner].mean(),
        "code_std": torch.stack([one.flatten(1).std(1).mean() for one in code]).mean(),
        "nan_share": torch.tensor(0.0),
        "restoration_error": (restored.clamp(0, 1) - images)[masks > 0].abs().mean(),
    }
    assert 0 < expected["label_agreement"] < 1
    found = method.watch(batch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_what_a_subject_lacks_does_not_count(plain_plans, phantom_batch):
    method, both = DAL(plain_plans()), phantom_batch(0, 1)
    both.present[1] = False
    alone = figures_of(method, phantom_batch(0))
    assert figures_of(method, both) == pytest.approx(alone, rel=1e-4)


def test_a_collapsed_anatomy_is_seen_and_said(plain_plans, phantom_batch):
    method, batch = DAL(plain_plans()), phantom_batch(0, 1)
    with torch.no_grad():
        method.network.E_A.classify.weight.zero_()
        method.network.E_A.classify.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    figures = figures_of(method, batch)
    assert [figures[f"occupancy_{c}"] for c in (1, 2, 3)] == [0, 1, 0]
    assert figures["label_agreement"] == 1
    assert figures["edge_density"] > 0, "the brain's outline"
    assert figures["inner_edge_density"] == 0
    first, third, edges = method.warnings(figures)
    assert "class 1 holds 0.0%" in first and "class 3 holds 0.0%" in third
    assert all("method.settings.similarity_of=onehot" in line for line in (first, third))
    assert "edges have vanished" in edges


def test_shrunken_codes_are_seen_and_said(plain_plans, phantom_batch):
    method = DAL(plain_plans())
    with torch.no_grad():
        method.network.R_A.code.weight.mul_(1e-6)  # a bias is the same everywhere: no code either
    lines = method.warnings(figures_of(method, phantom_batch(0, 1)))
    assert any("code_consistency=normalised" in line for line in lines)


def test_what_is_not_finite_is_seen_and_said(plain_plans, phantom_batch):
    method = DAL(plain_plans())
    with torch.no_grad():
        method.network.R_D.output.bias.fill_(float("nan"))
    figures = figures_of(method, phantom_batch(0, 1))
    assert 0.3 < figures["nan_share"] < 0.34, "one of three: logits, restored images, codes"
    assert any("training.learning_rate" in line for line in method.warnings(figures))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("inner_edge_density", 0.001, "canny_high"),
        ("inner_edge_density", 0.6, "warm_start_steps"),
        ("occupancy_2", 0.01, "class 2 holds 1.0%"),
        ("code_std", 1e-5, "weight_code"),
        ("nan_share", 1e-6, "not finite"),
        ("code_std", float("nan"), "not finite"),
    ],
)
def test_a_figure_out_of_its_bounds_is_said_with_what_to_try(plain_plans, name, value, said):
    (line,) = DAL(plain_plans()).warnings(HEALTHY | {name: value})
    assert said in line and "Try" in line


def test_a_healthy_state_raises_no_warning(plain_plans):
    assert DAL(plain_plans()).warnings(HEALTHY) == []


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (
            {"edge_to_image": False},
            {"edge_density", "inner_edge_density", "restoration_error"},
        ),
        (
            {"disentangling": False},
            {"label_agreement", "occupancy_1", "occupancy_2", "occupancy_3"},
        ),
        ({"modality_reuse": False}, set()),
    ],
)
def test_what_is_left_out_is_not_watched(plain_plans, phantom_batch, settings, missing):
    found = DAL(plain_plans(**settings)).watch(phantom_batch(0, 1))
    assert set(found) == set(HEALTHY) - missing


@pytest.mark.parametrize(
    ("edges", "density", "warned"),
    [("canny", 0.44, True), ("boundary", 0.44, False), ("boundary", 0.6, True)],
)
def test_random_labels_have_more_edges_on_the_boundary_map(plain_plans, edges, density, warned):
    method = DAL(plain_plans(edges=edges))
    assert bool(method.warnings(HEALTHY | {"inner_edge_density": density})) == warned
