"""What is seen to before a training begins."""

from __future__ import annotations

import json

import pytest

from dal_auto.errors import InputError, UsageError
from dal_auto.methods.checkpoint import Checkpoint, save_checkpoint
from dal_auto.methods.dal.model import DAL
from dal_auto.store.runs import Run
from dal_auto.training.run import _require_same_plans, _require_start


def test_a_run_goes_on_with_its_plans_alone_once_it_has_begun(make_plans, tmp_path):
    run, plans = Run(tmp_path), make_plans()
    others = plans.override({"training.accumulation": 3}, "test")
    (tmp_path / "plans.json").write_text(json.dumps(plans.to_json()))
    _require_same_plans(run, others)  # it failed before its first step: nothing is lost
    (tmp_path / "last.safetensors").touch()
    _require_same_plans(run, plans)
    with pytest.raises(UsageError, match=r"training.accumulation was .*, is now 3"):
        _require_same_plans(run, others)


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(make_plans, tmp_path):
    plans, path = make_plans(), tmp_path / "base.safetensors"
    save_checkpoint(path, Checkpoint(plans, DAL(plans).tensors()))
    start = {"training.pretrained": str(path)}
    _require_start(plans)
    _require_start(plans.override(start, "test"))
    wider = plans.override({**start, "method.settings.code_channels": 16}, "test")
    with pytest.raises(InputError, match="another architecture"):
        _require_start(wider)
    with pytest.raises(UsageError, match="leave out --pretrained"):
        _require_start(make_plans("mean-brain").override(start, "test"))
    assert [one.name for one in tmp_path.iterdir()] == ["base.safetensors"]
