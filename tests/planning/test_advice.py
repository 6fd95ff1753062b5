"""Out of memory: recognised in torch's words, and answered with what would fit."""

from __future__ import annotations

import json
import math

import pytest
import torch

from dal_auto.methods.registry import find_method
from dal_auto.planning import advice as module
from dal_auto.planning import memory as counting
from dal_auto.planning.advice import (
    OutOfMemory,
    advice,
    advice_on_memory,
    is_out_of_memory,
)
from dal_auto.planning.configurations import CONFIGURATIONS
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.memory import Memory
from dal_auto.plans import Plans, PreprocessingPlan
from dal_auto.preprocessing.steps import DatasetDecisions
from dal_auto.store.standard_cases import CaseRecord


def stated_memory(content: str, kind: str) -> Memory:
    """In place of counting (test_memory.py), which takes seconds: 12 GB for `small` with two
    subjects, in proportion for others, a fifth with gradient checkpointing, and 1 GB besides."""
    plans = Plans.parse(json.loads(content))
    grid = plans.configuration
    size = math.prod(grid.input_shape) / (80 * 112 * 80) * grid.batch_subjects / 2 * grid.width
    saved = 0.2 if plans.method.settings["checkpoint_activations"] else 1
    return Memory(1, 1 + 12 * size * saved, 1, "ours: stated by a test")


@pytest.fixture
def plans(monkeypatch, make_plans, tmp_path) -> Plans:
    """The configuration `small`, of a preprocessed dataset with one healthy case."""
    monkeypatch.setattr(counting, "_memory_of", stated_memory)
    percentiles = tuple(float(i) for i in range(len(PreprocessingPlan().percentiles)))
    record = CaseRecord.model_construct(
        path=tmp_path / "c",
        case_id="c",
        patient_id="p",
        sequences=("T1", "T2"),
        has_lesion_mask=False,
        percentiles={"T1": percentiles, "T2": percentiles},
    )
    decisions = DatasetDecisions(dataset="D", preprocessing=PreprocessingPlan(), steps={})
    monkeypatch.setattr(module, "case_records", lambda d: [record])
    monkeypatch.setattr(module, "load_decisions", lambda dataset: decisions)
    chosen = CONFIGURATIONS["small"].plan("small")
    settings = find_method("DAL").default_settings("robust", chosen).model_dump(mode="json")
    return make_plans(configuration=chosen.model_dump(mode="json"), method__settings=settings)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_it_is_recognised(error, expected):
    assert is_out_of_memory(error) is expected


def test_torch_itself_says_it_in_these_words():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_a_configuration_that_takes_clearly_less_is_named(plans):
    said = advice(plans, Hardware("cuda", 24.0))
    assert "cuda has 24.0 GB, and small, which needs about" in said
    assert "Try --set method.settings.checkpoint_activations=true (" in said
    assert "-c demo" in said and "-c small" not in said
    assert "-c paper" not in said and "-c fullres" not in said


def test_what_is_already_computed_again_gets_narrower(plans):
    again = plans.override({"method.settings.checkpoint_activations": True}, "test")
    said = advice(again, Hardware("cuda", 2.6))
    assert "checkpoint_activations" not in said
    assert "-c small --set configuration.width=" in said


def test_where_subjects_can_be_fewer_that_is_said_first(plans):
    four = plans.override({"configuration.batch_subjects": 4}, "test")
    said = advice(four, Hardware("cuda", 40.0))
    assert "--set configuration.batch_subjects=2 --set training.accumulation=2" in said


def test_nothing_smaller_is_said_to_be_so(plans):
    assert "No configuration is smaller" in advice(plans, Hardware("cuda", 0.5))


def test_other_errors_pass(plans):
    with pytest.raises(RuntimeError, match="shapes"), advice_on_memory(plans, "cpu"):
        raise RuntimeError("shapes differ")
    with pytest.raises(OutOfMemory, match="cpu has"), advice_on_memory(plans, "cpu"):
        raise MemoryError
