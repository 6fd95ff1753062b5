"""A run as a file: lean, in half precision where that is equal, and back among the runs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dal_auto.errors import InputError, PlansError, UsageError
from dal_auto.inference import packing
from dal_auto.inference.packing import half_difference, install, pack
from dal_auto.methods.checkpoint import load_checkpoint, save_checkpoint
from dal_auto.preprocessing.atlas import ATLAS_GRID, Atlas
from dal_auto.store.runs import complete_runs


@pytest.fixture(autouse=True)
def atlas(monkeypatch) -> None:
    """A ball in the middle of the atlas's grid, brighter to one side."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in ATLAS_GRID.shape], indexing="ij")
    image = np.where(sum(a**2 for a in axes) < 0.05, 2 + axes[0] + axes[2], 0).astype(np.float32)
    monkeypatch.setattr(packing, "load_atlas", lambda: Atlas("ball", image, "hash"))


def test_a_packed_run_is_half_as_large_predicts_the_same_and_its_card_says_what_it_is(
    run, tmp_path
):
    whole = load_checkpoint(run.checkpoint_path)
    extra = {"optimiser": {"m": torch.ones(9)}, "progress": {"seed": 3}}
    save_checkpoint(run.checkpoint_path, replace(whole, **extra))
    model = pack(run, tmp_path / "mine.safetensors")
    card, packed = model.card(), load_checkpoint(model.checkpoint_path)
    assert (card.name, card.method, card.precision) == (str(run), "mean-brain", "half")
    assert card.half_difference == 0 and card.thresholds == {"T1": 0.25, "T2": 0.25}
    assert card.size_bytes < 0.6 * run.checkpoint_path.stat().st_size
    assert not packed.optimiser and not packed.progress
    assert packed.plans == whole.plans and packed.thresholds == whole.thresholds
    torch.testing.assert_close(packed.tensors["mean"], whole.tensors["mean"])
    assert packed.tensors["mean"].dtype == torch.float32


def test_a_packed_model_names_no_folder_of_the_machine_that_trained_it(run, tmp_path):
    whole = load_checkpoint(run.checkpoint_path)
    named = whole.plans.override({"training.pretrained": "/home/me/first.safetensors"}, "test")
    save_checkpoint(run.checkpoint_path, replace(whole, plans=named))
    model = pack(run, tmp_path / "mine.safetensors")
    assert load_checkpoint(model.checkpoint_path).plans.training.pretrained == "first.safetensors"
    assert b"/home/me" not in model.checkpoint_path.read_bytes()


def test_where_half_precision_is_another_model_single_precision_is_kept(
    run, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(packing, "half_difference", lambda single, half: 0.02)
    model = pack(run, tmp_path / "mine.safetensors")
    assert model.card().precision == "single" and "moves the score by 2.0 %" in caplog.text
    assert model.card().size_bytes > 2 * 24**3 * 4


def test_the_probe_computes_in_single_precision_with_what_will_be_read(run, tmp_path, monkeypatch):
    """A method that keeps its tensors as they come (PatchCore) cannot mix two precisions."""
    whole = load_checkpoint(run.checkpoint_path)
    third = replace(whole, tensors={"mean": torch.full_like(whole.tensors["mean"], 1 / 3)})
    save_checkpoint(run.checkpoint_path, third)
    seen = []

    def difference(single, half):
        seen.append((single.tensors["mean"], half.tensors["mean"]))
        return 0.0

    monkeypatch.setattr(packing, "half_difference", difference)
    stored = load_checkpoint(pack(run, tmp_path / "mine.safetensors").checkpoint_path)
    ((single, half),) = seen
    assert single.dtype == half.dtype == torch.float32
    assert torch.equal(half, stored.tensors["mean"]) and not torch.equal(half, single)


def test_the_difference_is_that_of_the_scores(run):
    checkpoint = load_checkpoint(run.checkpoint_path)
    assert half_difference(checkpoint, checkpoint) == 0
    other = replace(checkpoint, tensors={"mean": checkpoint.tensors["mean"] + 0.2})
    assert half_difference(checkpoint, other) > 0.1


def test_an_installed_model_is_a_complete_run(run, tmp_path, monkeypatch):
    model = pack(run, tmp_path / "mine.safetensors", name="mine")
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path / "another"))
    installed = install(model)
    assert complete_runs() == [installed]
    assert installed.method == "mean-brain" and model.card().sha256[:8] in installed.name
    assert installed.checkpoint_sha256() == model.card().sha256


@pytest.mark.parametrize("key", ["method", "configuration", "preset", "training_set"])
@pytest.mark.parametrize("name", ["../../there", "/there", ".ssh", "a/../../b", ""])
def test_no_name_in_a_card_leads_out_of_the_results(run, tmp_path, monkeypatch, key, name):
    model = pack(run, tmp_path / "mine.safetensors")
    card = json.loads(model.card_path.read_text())
    model.card_path.write_text(json.dumps(card | {key: name}))
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path / "results" / "deep"))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="a name for files is wanted"):
        install(model)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training_set": "../../there"}, "a name for files is wanted"),
        ({"sequences": ["../T1"]}, "a name for files is wanted"),
        ({"method": {"name": "os:system"}}, "unknown method 'os:system'"),
        ({"method": {"name": "mean-brain", "settings": {"__class__": "x"}}}, "__class__"),
    ],
)
def test_plans_in_a_checkpoint_are_held_to_their_rules(run, tmp_path, monkeypatch, change, said):
    """Whoever wrote the file: no name leads elsewhere, no method is imported that is not ours."""
    with safe_open(run.checkpoint_path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["content"])
    content["plans"] |= change
    save_file(tensors, run.checkpoint_path, {"content": json.dumps(content)})
    with pytest.raises((PlansError, UsageError), match=said):
        load_checkpoint(run.checkpoint_path).build("cpu")


def test_what_is_no_model_is_not_packed_and_not_installed(run, tmp_path):
    with pytest.raises(UsageError, match=r"does not end in \.safetensors"):
        pack(run, tmp_path / "mine.pt")
    model = pack(run, tmp_path / "mine.safetensors")
    model.checkpoint_path.write_bytes(b"other")
    with pytest.raises(InputError, match="hash"):
        install(model)
    checkpoint = load_checkpoint(run.checkpoint_path)
    save_checkpoint(run.checkpoint_path, replace(checkpoint, thresholds={}))
    with pytest.raises(UsageError, match="no practical thresholds"):
        pack(run, tmp_path / "mine.safetensors")
