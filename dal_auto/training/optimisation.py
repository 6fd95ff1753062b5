"""One step of training: Adam, mixed precision, accumulation, gradients averaged over processes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dal_auto import distributed
from dal_auto.methods.method import Batch, GradientMethod
from dal_auto.networks.precision import half_precision
from dal_auto.plans import TrainingPlan


class Optimiser:
    """What turns batches into better weights.

    A step is a function of (plans, seed, step, process, weights, moments): random numbers are
    seeded at every batch.

    Parameters
    ----------
    method : trained in place; already on `device`
    """

    def __init__(self, method: GradientMethod, device: str) -> None:
        training = method.plans.training
        self._network, self._device, self._training = method.network, device, training
        cuda = device.startswith("cuda")
        # The fused one scales gradients and skips spoilt steps without asking the device.
        self._adam = torch.optim.Adam(
            method.network.parameters(),
            lr=training.learning_rate,
            betas=(training.beta1, 0.999),
            weight_decay=training.weight_decay,
            fused=cuda or None,
        )
        self._amp_dtype = half_precision(device)
        self._amp = training.amp and self._amp_dtype is not None
        self._scaler = torch.amp.GradScaler(
            "cuda", enabled=self._amp and self._amp_dtype == torch.float16
        )
        if training.compile:
            for child in method.network.children():
                child.compile()
        self._losses: nn.Module = _Losses(method)
        if distributed.is_distributed():
            self._losses = DistributedDataParallel(
                self._losses,
                device_ids=[device] if cuda else None,
                find_unused_parameters=True,  # a warm start trains a part of the network
            )

    def step(self, batches: Sequence[Batch], number: int, seed: int) -> dict[str, Tensor]:
        """Take step `number`; the losses, means over its batches, still on the device.

        Parameters
        ----------
        batches : `training.accumulation` of them, on the device
        """
        self._network.train()
        for group in self._adam.param_groups:
            group["lr"] = _learning_rate(self._training, number)
        self._adam.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for place, batch in enumerate(batches):
            torch.manual_seed(_torch_seed(seed, number, place))
            with self._averaging(last=place == len(batches) - 1):
                with self.precision():
                    losses = self._losses(
                        *(getattr(batch, field.name) for field in fields(batch)), step=number
                    )
                self._scaler.scale(losses["loss"] / len(batches)).backward()
            for name, value in losses.items():
                share = value.detach() / len(batches)
                totals[name] = totals[name] + share if name in totals else share
        if self._training.clip_norm is not None:
            self._scaler.unscale_(self._adam)
            nn.utils.clip_grad_norm_(self._network.parameters(), self._training.clip_norm)
        self._scaler.step(self._adam)
        self._scaler.update()
        return totals

    def precision(self) -> torch.autocast:
        """Mixed precision, where the plans want it and the device is faster so."""
        kind = self._device.split(":")[0]
        return torch.autocast(kind, self._amp_dtype, enabled=self._amp)

    def _averaging(self, *, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Gradients of several batches are added up here, and averaged over processes once."""
        if isinstance(self._losses, DistributedDataParallel) and not last:
            return self._losses.no_sync()  # type: ignore[no-any-return]
        return contextlib.nullcontext()

    def tensors(self) -> dict[str, Tensor]:
        """Adam's moments and counters as flat tensors: ``<parameter index>.<name>``."""
        return {
            f"{index}.{name}": torch.as_tensor(value)
            for index, state in self._adam.state_dict()["state"].items()
            for name, value in state.items()
        }

    def scaler_state(self) -> dict[str, Any]:
        return self._scaler.state_dict()

    def restore(self, tensors: Mapping[str, Tensor], scaler: Mapping[str, Any]) -> None:
        """Take back what `tensors` and `scaler_state` gave."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        content = self._adam.state_dict()
        content["state"] = state
        self._adam.load_state_dict(content)
        if scaler:  # of a device with bfloat16 there is none
            self._scaler.load_state_dict(dict(scaler))


class _Losses(nn.Module):
    """A method's training step as the forward pass of a module, which DDP can wrap."""

    def __init__(self, method: GradientMethod) -> None:
        super().__init__()
        self.network = method.network
        self._method = method

    def forward(self, *batch: Tensor, step: int) -> dict[str, Tensor]:
        losses = self._method.training_step(Batch(*batch), step)
        # Only one is minimised: DDP would wait for gradients of weights that only others need.
        return {name: v if name == "loss" else v.detach() for name, v in losses.items()}


def _learning_rate(training: TrainingPlan, step: int) -> float:
    """Polynomial decay towards 0 at the last step, as in nnU-Net; power 0 leaves it constant."""
    left = max(0.0, 1 - step / training.steps)
    return float(training.learning_rate * left**training.decay_power)


def _torch_seed(seed: int, step: int, place: int) -> int:
    """Of each step, batch and process its own; the first batch of a lone process has the plain."""
    return 1_000_003 * seed + step + 1_000_000_007 * (1000 * place + distributed.rank())
