"""Which runs the shipped model is put beside."""

from __future__ import annotations

import pytest


@pytest.fixture
def rivals(parts_of, monkeypatch):
    parts = parts_of("methods_parts", "page")  # what follows finds its neighbours
    assert parts
    import rivals

    return rivals


def test_each_method_and_seed_has_its_longest_complete_run(rivals, monkeypatch, tmp_path):
    steps = {"AE__demo__robust__a": 200, "AE__demo__robust__b": 647, "DAL__demo__robust__a": 900}
    for name in (*steps, "raw-intensity__demo__robust__a", "RIAD__demo__robust__a"):
        for seed in (0, 1):
            run = tmp_path / "results" / "Simulated" / name / f"seed_{seed}"
            run.mkdir(parents=True)
            (run / "best.safetensors").touch()
            if not name.startswith("RIAD") and (name, seed) != ("AE__demo__robust__b", 1):
                (run / "complete.json").touch()
    monkeypatch.setattr(rivals, "steps_of", lambda run: steps.get(run.name, 0))
    chosen = {(run.method, run.seed): run.name for run in rivals.longest(tmp_path, None)}
    assert chosen == {
        ("AE", 0): "AE__demo__robust__b",
        ("AE", 1): "AE__demo__robust__a",  # the longer one was not completed
        ("raw-intensity", 0): "raw-intensity__demo__robust__a",  # no seed changes it
    }
    assert [run.method for run in rivals.longest(tmp_path, ["AE"])] == ["AE", "AE"]
