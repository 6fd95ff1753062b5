"""What to do when memory does not suffice: the configuration that would fit, by the planner."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import torch

from dal_auto.errors import DalError
from dal_auto.methods.registry import find_method
from dal_auto.planning.configurations import CONFIGURATIONS
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.memory import memory_of
from dal_auto.planning.training_plans import plan_run
from dal_auto.planning.wishes import PlannedRun, Wishes
from dal_auto.plans import Plans
from dal_auto.preprocessing.stored import case_records, load_decisions

#: What has run out was too large by some unknown amount: the next one takes less than this of it.
_CLEARLY_LESS = 0.85
_LEAST_SUBJECTS = 2


class OutOfMemory(DalError):
    """A method needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had; on a CPU torch says it in words."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    words = (
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "cannot allocate memory",
    )
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in words)


@contextlib.contextmanager
def advice_on_memory(plans: Plans, device: str) -> Iterator[None]:
    """Turn running out of memory into an error that names what would fit.

    Raises
    ------
    OutOfMemory
        instead of torch's own error.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(advice(plans, Hardware.measure(device))) from error


def advice(plans: Plans, hardware: Hardware) -> str:
    """What happened, and what to try: fewer subjects at once, or a smaller configuration."""
    memory = memory_of(plans, hardware.kind)
    need = "" if memory is None else f", which needs about {memory.training_gb:.1f} GB,"
    said = (
        f"{hardware.device} has {hardware.memory_gb:.1f} GB, and {plans.configuration.name}{need} "
        "did not fit: other programs may take some of it."
    )
    limit = hardware.memory_gb
    if memory is not None:
        limit = min(limit, _CLEARLY_LESS * memory.training_gb)
    again = _computed_again(plans, hardware, limit)
    found = (
        again,
        _fewer_subjects(plans, hardware, limit),
        _smaller(plans, hardware, limit, but=plans.configuration.name if again else ""),
    )
    ways = [way for way in found if way]
    if not ways:
        return f"{said} No configuration is smaller: free some memory, or use another device."
    return f"{said} Try {', or '.join(ways)}. What was trained so far is kept."


def _computed_again(plans: Plans, hardware: Hardware, limit_gb: float) -> str | None:
    """The same in less memory and more time, where the method offers that."""
    saver = find_method(plans.method.name).memory_saver
    if saver is None or plans.method.settings.get(saver) is not False:
        return None
    return _with(plans, {f"method.settings.{saver}": True}, hardware, limit_gb)


def _fewer_subjects(plans: Plans, hardware: Hardware, limit_gb: float) -> str | None:
    """Two subjects at once, and as many batches a step: the same subjects in less memory."""
    subjects = plans.configuration.batch_subjects
    if subjects < 2 * _LEAST_SUBJECTS:
        return None
    batches = plans.training.accumulation * (subjects // _LEAST_SUBJECTS)
    changed = {"configuration.batch_subjects": _LEAST_SUBJECTS, "training.accumulation": batches}
    return _with(plans, changed, hardware, limit_gb)


def _with(plans: Plans, changed: dict[str, Any], hardware: Hardware, limit_gb: float) -> str | None:
    """These values as options, and what they take; None if that is too much."""
    memory = memory_of(plans.override(changed, "advice"), hardware.kind)
    if memory is None or memory.training_gb > limit_gb:
        return None
    options = " ".join(f"--set {key}={json.dumps(value)}" for key, value in changed.items())
    return f"{options} ({memory.training_gb:.1f} GB)"


def _smaller(plans: Plans, hardware: Hardware, limit_gb: float, but: str) -> str | None:
    """The largest of the named configurations that takes clearly less, without the one named."""
    less = Hardware(hardware.device, limit_gb, on_paper=True)
    for name in (name for name in CONFIGURATIONS if name != but):
        run = _planned(plans, name, less)
        if run is not None and run.memory is not None and run.fits:
            width = run.plans.configuration.width
            narrower = "" if width == 1 else f" --set configuration.width={width:g}"
            return f"-c {name}{narrower} ({run.memory.training_gb:.1f} GB)"
    return None


def _planned(plans: Plans, name: str, hardware: Hardware) -> PlannedRun | None:
    if CONFIGURATIONS[name].plan(name).input_shape > plans.configuration.input_shape:
        return None  # larger than what did not fit; fullres is never advised to others
    try:
        return plan_run(
            training_set=plans.training_set,
            preprocessing=load_decisions(plans.training_set).preprocessing,
            records=case_records(plans.training_set),
            hardware=hardware,
            wishes=Wishes(
                sequences=plans.sequences,
                configuration=name,
                method=plans.method.name,
                preset=plans.method.preset,
            ),
        )
    except DalError:
        return None
