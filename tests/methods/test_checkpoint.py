"""One file that keeps everything, runs nobody's code, and is replaced only by a whole one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dal_auto.errors import InputError, PlansError
from dal_auto.methods import checkpoint as module
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.registry import find_method


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def whole(small_plans) -> Checkpoint:
    """A checkpoint with something in every field."""
    return Checkpoint(
        plans=small_plans("mean-brain"),
        tensors={"mean": torch.rand(2, 16, 16, 16)},
        step=7,
        thresholds={"T1": 0.25, "T2/bright": 0.5},
        joint_thresholds={"T1+T2": 0.75},
        joint_trust={"T1+T2": 0.5},
        threshold_source="3 healthy validation cases",
        optimiser={"0.step": torch.tensor(7.0), "0.exp_avg": torch.rand(3)},
        progress={"best_value": None, "seed": 4, "scaler": {"scale": 2.0}},
    )


def test_what_was_saved_comes_back(whole, tmp_path):
    path = tmp_path / "new" / "best.safetensors"
    save_checkpoint(path, whole)
    back = load_checkpoint(path)
    assert back.plans.flat() == whole.plans.flat()
    joint = ("joint_thresholds", "joint_trust")
    for field in ("step", "thresholds", "threshold_source", "progress", *joint):
        assert getattr(back, field) == getattr(whole, field)
    for field in ("tensors", "optimiser"):
        ours, theirs = getattr(whole, field), getattr(back, field)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("kept", "training_set", "trust"),
    [({"joint_trust": 0.7}, "IXI", 0.7), ({}, "IXI", 1.0), ({}, "Simulated", 0.5)],
)
def test_models_of_before_have_one_trust_for_all_joint_thresholds(
    whole, tmp_path, monkeypatch, kept, training_set, trust
):
    plans = whole.plans.override({"training_set": training_set}, "test")
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, replace(whole, plans=plans))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    (key,) = metadata
    content = json.loads(metadata[key])
    del content["joint_trust"]
    save_file(load_file(path), path, {key: json.dumps(content | kept)})
    back = load_checkpoint(path)
    assert (back.trust_of("T1+T2"), back.trust_of("FLAIR+T2")) == (trust, 1.0)


def test_the_same_state_gives_the_same_bytes(whole, tmp_path):
    paths = [tmp_path / str(index) for index in range(10)]
    for path in paths:
        save_checkpoint(path, whole)
    assert len({path.read_bytes() for path in paths}) == 1


def test_tensors_that_share_memory_or_lie_in_another_layout_are_saved_too(whole, tmp_path):
    shared = torch.rand(2, 4, 6, 6, 6)
    tensors = {
        "a": shared,
        "b": shared[:1],
        "c": shared.contiguous(memory_format=torch.channels_last_3d),
    }
    save_checkpoint(tmp_path / "x", Checkpoint(whole.plans, tensors))
    back = load_checkpoint(tmp_path / "x").tensors
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_a_pickle_is_refused_and_nothing_in_it_runs(tmp_path, zipped):
    path, trap = tmp_path / "best.safetensors", tmp_path / "trap"
    torch.save(
        {"state": torch.rand(3), "trap": Payload(trap)}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(InputError, match="never opened") as caught:
        load_checkpoint(path)
    assert caught.value.file == path
    assert not trap.exists()
    # The trap is a working one: it is load_checkpoint that did not step into it.
    torch.load(path.rename(tmp_path / "unsafe.pt"), weights_only=False)
    assert trap.exists()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_others_are_refused(tmp_path, metadata):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.rand(3)}, path, metadata)
    with pytest.raises(InputError, match="not a dal_auto checkpoint"):
        load_checkpoint(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"no such checkpoint.*dal_train"):
        load_checkpoint(tmp_path / "best.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 400, -16])
def test_a_truncated_file_is_refused(whole, tmp_path, keep):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, whole)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="no safetensors file"):
        load_checkpoint(path)


def test_plans_that_no_longer_hold_are_refused_by_key(whole, tmp_path, monkeypatch):
    content = whole.plans.to_json() | {"from_a_newer_version": 1}
    monkeypatch.setattr(type(whole.plans), "to_json", lambda self: content)
    save_checkpoint(tmp_path / "x", whole)
    with pytest.raises(PlansError, match="from_a_newer_version"):
        load_checkpoint(tmp_path / "x")


def test_an_interrupted_write_keeps_the_old_file(whole, tmp_path, monkeypatch):
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, whole)
    before = path.read_bytes()

    def half_way(tensors, filename, metadata):
        Path(filename).write_bytes(b"half a checkpoint")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_file", half_way)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, whole)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


def test_the_metadata_is_json_that_names_the_versions(whole, tmp_path):
    save_checkpoint(tmp_path / "x", whole)
    with module.safe_open(tmp_path / "x", "pt") as file:
        content = json.loads(file.metadata()["content"])
    assert set(content["versions"]) == {"dal_auto", "torch", "python"}


def test_weights_of_another_architecture_are_refused_by_name(small_plans, tmp_path):
    plans = small_plans("DAL")
    method = find_method("DAL")(plans)
    tensors = method.tensors()
    name = next(iter(tensors))
    save_checkpoint(tmp_path / "x", Checkpoint(plans, tensors | {name: torch.zeros(1, 2)}))
    checkpoint = load_checkpoint(tmp_path / "x")
    with pytest.raises(InputError, match=rf"another architecture: {name} is \(1, 2\)") as caught:
        checkpoint.build("cpu")
    assert caught.value.file == tmp_path / "x"
    fewer = {key: value for key, value in tensors.items() if key != name}
    with pytest.raises(InputError, match=f"{name} is missing in it"):
        Checkpoint(plans, fewer).build("cpu")


@pytest.mark.parametrize(("version", "warns"), [("2.9.1+cpu", True), ("2.10.0", False)])
def test_a_torch_that_can_be_made_to_run_code_is_warned_of_once(
    whole, tmp_path, monkeypatch, caplog, version, warns
):
    save_checkpoint(tmp_path / "x", whole)
    monkeypatch.setattr(torch, "__version__", version)
    module._warn_of_old_torch.cache_clear()
    for _ in range(2):
        load_checkpoint(tmp_path / "x")
    module._warn_of_old_torch.cache_clear()
    assert caplog.text.count("CVE-2026-24747") == warns
