"""Several processes with some subjects each get the gradients of one process with all of them.

Here the arithmetic, in one process: two "processes" are two calls, and a stand-in for
`distributed.gathered` hands each of them the other's tensors, with the graph behind them. A sum of
both losses then sends each tensor the gradients of both, as the real one does.
"""

from __future__ import annotations

import pytest
import torch

from dal_auto import distributed
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch

SUBJECTS, PROCESSES = 2, 2
MIDDLE = (slice(2, 10),) * 3  # of the phantom: double precision is slow


class Exchange:
    """What `processes` calls of a step hand each other, in the order of their asking."""

    def __init__(self) -> None:
        self.notes: list[list[torch.Tensor]] = [[] for _ in range(PROCESSES)]
        self.process, self.asked, self.replaying = 0, 0, False

    def gathered(self, local: torch.Tensor) -> torch.Tensor:
        if not self.replaying:
            self.notes[self.process].append(local)
            return torch.cat([local] * PROCESSES)
        everyones = [notes[self.asked] for notes in self.notes]
        assert torch.equal(everyones[self.process], local), "the step is the same as before"
        self.asked += 1
        return torch.cat(everyones)

    def enter(self, process: int, *, replaying: bool) -> None:
        self.process, self.asked, self.replaying = process, 0, replaying


def part_of(batch: Batch, process: int) -> Batch:
    mine = slice(process * SUBJECTS, (process + 1) * SUBJECTS)
    return Batch(batch.images[mine], batch.brain_mask[mine], batch.present[mine])


def gradients(method: DAL) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in method.network.named_parameters() if p.grad is not None}


ALL_THERE = [[1, 1], [1, 1], [1, 1], [1, 1]]
SOME_LACK = [[1, 1], [1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("present", [ALL_THERE, SOME_LACK], ids=["all there", "some lack one"])
@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"preset": "robust"}, 9),
        ({"preset": "robust"}, 0),
        ({"preset": "paper"}, 9),
        ({"edge_to_image": False}, 9),
        ({"disentangling": False}, 9),
        ({"modality_reuse": False}, 9),
    ],
    ids=["robust", "warm start", "paper", "no edges", "no disentangling", "no reuse"],
)
def test_gradients_of_two_processes_are_those_of_one(
    plain_plans, phantom_batch, narrow, monkeypatch, settings, step, present
):
    whole = phantom_batch(0, 1, 2, 3)
    # Brains of unequal size, so that a mean of means would not be the mean.
    mask = whole.brain_mask[(..., *MIDDLE)].double()
    mask[0, ..., :3] = 0
    images = whole.images[(..., *MIDDLE)].double() * mask
    batch = Batch(images, mask, torch.tensor(present) > 0)
    warm = {} if settings.get("preset") == "paper" else {"warm_start_steps": 5}
    method = DAL(plain_plans(**settings, **warm, **narrow))
    method.network.double()

    losses = method.training_step(batch, step)
    losses["loss"].backward()
    expected, alone = gradients(method), {n: float(v.detach()) for n, v in losses.items()}
    memory = {name: buffer.clone() for name, buffer in method.network.named_buffers()}

    method.network.zero_grad(set_to_none=True)
    exchange = Exchange()
    monkeypatch.setattr(distributed, "gathered", exchange.gathered)
    monkeypatch.setattr(distributed, "world_size", lambda: PROCESSES)
    for process in range(PROCESSES):
        exchange.enter(process, replaying=False)
        method.training_step(part_of(batch, process), step)
    each = []
    for process in range(PROCESSES):
        for buffer in method.network.buffers():
            buffer.zero_()
        exchange.enter(process, replaying=True)
        each.append(method.training_step(part_of(batch, process), step))
        for name, buffer in method.network.named_buffers():
            torch.testing.assert_close(buffer, memory[name])  # in every process
    sum(one["loss"] / PROCESSES for one in each).backward()
    found = gradients(method)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-10)
    averaged = {n: sum(float(one[n].detach()) for one in each) / PROCESSES for n in alone}
    assert averaged == pytest.approx(alone, rel=1e-6)
