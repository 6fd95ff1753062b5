"""One, two and three sequences: what is trained, what is said, and that any one is enough later."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from dal_auto.methods.dal import model
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch

NAMES = ("T1", "T2", "FLAIR")
ALL = {"loss", "recon", "rest", "con_A", "sim_A", "con_M", "sim_M", "con_AE"}


def batch_of(phantom_batch, sequences: int) -> Batch:
    """The third sequence is the first, inverted."""
    batch = phantom_batch(0, 1)
    third = (1 - batch.images[:, :1]) * batch.brain_mask
    images = torch.cat([batch.images, third], dim=1)[:, :sequences]
    return replace(batch, images=images, present=torch.ones(2, sequences, dtype=torch.bool))


@pytest.mark.parametrize("sequences", [1, 2, 3])
def test_a_model_of_any_number_of_sequences_learns(plain_plans, phantom_batch, sequences):
    plans = plain_plans(warm_start_steps=0).override({"sequences": NAMES[:sequences]}, "test")
    method, batch = DAL(plans), batch_of(phantom_batch, sequences)
    optimiser = torch.optim.Adam(method.network.parameters(), lr=3e-3)
    first: dict[str, float] = {}
    for step in range(12):
        losses = method.training_step(batch, step)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        first = first or {name: float(value.detach()) for name, value in losses.items()}
    assert set(losses) == (ALL if sequences > 1 else ALL - {"con_A", "sim_A", "sim_M"})
    assert float(losses["rest"].detach()) < 0.8 * first["rest"]


def test_a_model_of_three_sequences_predicts_from_any_one_of_them(
    plain_plans, phantom_batch, in_windows
):
    plans = plain_plans().override({"sequences": NAMES}, "test")
    method, batch = DAL(plans), batch_of(phantom_batch, 3)
    mask = batch.brain_mask[0, 0]
    for name, image in zip(NAMES, batch.images[0], strict=True):
        found = method.detect(image, mask, name, in_windows)
        assert found.scores[""].isfinite().all() and found.scores[""].max() > 0
    figures = method.watch(batch)
    pairs = {"T1_T2", "T1_FLAIR", "T2_FLAIR"}
    assert {name for name in figures if name.startswith("label_agreement_")} == {
        f"label_agreement_{pair}" for pair in pairs
    }
    by_pair = [float(figures[f"label_agreement_{pair}"]) for pair in pairs]
    assert float(figures["label_agreement"]) == pytest.approx(sum(by_pair) / 3)


def test_one_sequence_alone_is_said_to_lack_pairs_once(plain_plans, phantom_batch, caplog):
    model._say_once.cache_clear()
    plans = plain_plans(warm_start_steps=0).override({"sequences": ["T1"]}, "test")
    method, batch = DAL(plans), batch_of(phantom_batch, 1)
    with caplog.at_level(logging.WARNING, logger=model.__name__):
        for step in range(3):
            method.training_step(batch, step)
        DAL(plain_plans()).training_step(batch_of(phantom_batch, 2), 0)
    (record,) = caplog.records
    assert "T1 is the only sequence: con_A, sim_A, sim_M" in record.getMessage()
    assert "label_agreement" not in method.watch(batch)
