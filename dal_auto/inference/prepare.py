"""One raw case → standard case, by the chain of the training: the part that workers do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib

from dal_auto.case import RawCase, StandardCase
from dal_auto.errors import CaseFailed, UsageError
from dal_auto.images import check_header
from dal_auto.inference.record import Scan
from dal_auto.inference.remark import Remark, remarks_of, texts
from dal_auto.inference.request import Request, scans_of, tools_of
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.fingerprint.dataset import fingerprint_case
from dal_auto.preprocessing.run import case_bytes
from dal_auto.preprocessing.steps import CaseSteps, decide_steps
from dal_auto.workers.progress import Stopwatch


@dataclass(frozen=True)
class PrepareTask:
    """One raw case for one worker.

    Parameters
    ----------
    threads : that each step may use
    at_once : so many sequences may be worked on side by side
    """

    case: RawCase
    request: Request
    threads: int
    at_once: int = 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case that waits for the network.

    Parameters
    ----------
    steps : which steps it still needed, and their reasons to doubt
    tools : by which tools, with versions
    warnings : what is odd about its images: for a human to look at
    made_from : hash of its files and of what was asked
    scans : by sequence
    seconds : by step
    """

    case: StandardCase
    steps: CaseSteps
    tools: tuple[str, ...]
    warnings: tuple[Remark, ...]
    made_from: str
    scans: Mapping[str, Scan]
    seconds: Mapping[str, float]


def prepare(task: PrepareTask) -> Prepared:
    """Measure a case, decide its steps, run the chain.

    Raises
    ------
    DalError
        for files that cannot be used, and as `standardise`.
    """
    watch, plan, case_id = Stopwatch(), task.request.plan, task.case.case_id
    with watch.step("fingerprint"):
        measured = fingerprint_case(task.case)
    if measured.failure is not None:
        raise CaseFailed(case_id, "fingerprint", measured.failure)
    for path in task.case.sequences.values():
        check_header(path)
    with watch.step("hash"):
        wanted = task.request.hash_of(task.case)
        scans = scans_of(task.case)
    steps = decide_steps(task.case, measured)
    disagreeing = (Remark(text=text.removeprefix(f"{case_id}: ")) for text in steps.warnings)
    told = (*remarks_of(measured.findings, task.case.sequences), *disagreeing)
    try:
        case = standardise(
            task.case, steps, plan, load_atlas(),
            threads=task.threads, watch=watch, at_once=task.at_once,
        )  # fmt: skip
    except CaseFailed as error:  # what was odd before is mostly why
        raise CaseFailed(case_id, error.step, "; ".join((error.cause, *texts(told)))) from error
    return Prepared(
        case,
        steps,
        tools_of(steps, plan),
        tuple(dict.fromkeys(told)),
        wanted,
        scans,
        watch.seconds,
    )


def usable(case: RawCase, known: Sequence[str]) -> tuple[RawCase, list[Remark]]:
    """The case with the sequences that a model knows, and a warning for each that is left out.

    A lesion mask is left out too: nothing here needs one, and none must stop a case. So is a brain
    mask that lies on the grid of none of these sequences: the brain is then found as ever.

    Raises
    ------
    UsageError
        if no sequence is left; the message says which the model knows.
    DalError
        why the case cannot be read, where that was found before.
    """
    if case.fault is not None:
        raise case.fault
    taken = {name: path for name, path in case.sequences.items() if name in known}
    if not taken:
        own = ", ".join(case.sequences)
        raise UsageError(
            f"it has only {own}, and the model knows {', '.join(known)}. Leave the case out, or "
            f"take a model that was trained on {own}."
        )
    left_out = [
        Remark(text=f"{name} is left out, the model was not trained on it")
        for name in sorted(set(case.sequences) - set(taken))
    ]
    brain_mask = case.brain_mask
    if left_out and brain_mask is not None and not _on_the_grid_of_one(brain_mask, taken):
        brain_mask = None
        left_out.append(
            Remark(text="its brain mask is left out: it is on the grid of none of these images")
        )
    return replace(case, sequences=taken, lesion_mask=None, brain_mask=brain_mask), left_out


def _on_the_grid_of_one(mask: Path, images: Mapping[str, Path]) -> bool:
    """By the sizes in the headers; what is wrong with a file is said when it is read."""
    with suppress(Exception):
        shapes = [nib.load(path).shape[:3] for path in images.values()]  # type: ignore[attr-defined]
        return nib.load(mask).shape[:3] in shapes  # type: ignore[attr-defined]
    return True


def decisions(steps: CaseSteps, plan: PreprocessingPlan) -> str:
    """What a case needs of the chain and what not, in one line."""
    words = {
        f"skull stripping ({plan.skull_strip})": steps.strip,
        "N4": steps.bias_correct,
        "rigid between sequences": steps.coregister,
        f"{plan.atlas_transform} to {plan.atlas}": steps.register_to_atlas,
    }
    needed = ", ".join(name for name, wanted in words.items() if wanted)
    spared = ", ".join(name for name, wanted in words.items() if not wanted)
    return f"needs {needed or 'no step'}" + (f"; not needed: {spared}" if spared else "")


def task_bytes(task: PrepareTask) -> int:
    """Memory for a case whose images are not yet read: from their headers, skull included."""
    voxels = 0
    for path in task.case.sequences.values():
        with suppress(Exception):  # what is wrong with a file is said when it is read
            voxels += math.prod(nib.load(path).shape)  # type: ignore[attr-defined]
    return case_bytes(voxels, strip=True)
