"""Seconds: the chain, the plain script, the tools alone, and the loading of the tools."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import SimpleITK as sitk
from deepbet.bet import BrainExtraction

from dal_auto.case import RawCase, StandardCase
from dal_auto.images import read_image, write_image
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.store.standard_cases import write_case
from dal_auto.workers.progress import Stopwatch
from preprocessing_parts import plain
from preprocessing_parts.cases import Case

WHOLE = CaseSteps(bias_correct=True, coregister=True, register_to_atlas=True, strip=True)
#: For the first run, before the clock starts.
STRIP = CaseSteps(bias_correct=False, coregister=False, register_to_atlas=False, strip=True)

_TOOLS = "import picsl_greedy; from deepbet.bet import BrainExtraction as B; B(no_gpu=True)"
_LOADING = {
    "ours": "from dal_auto.preprocessing.chain import standardise;"
    f"from dal_auto.preprocessing.atlas import load_atlas; load_atlas(); {_TOOLS}",
    "plain": f"import numpy, SimpleITK; {_TOOLS}",
}


def run_ours(
    case: Case, steps: CaseSteps, plan: PreprocessingPlan, folder: Path, threads: int
) -> tuple[dict[str, float], StandardCase]:
    """The chain on one case, from its files to the stored standard case."""
    raw = RawCase("benchmark", case.name, case.name, case.files)
    watch = Stopwatch()
    start = time.perf_counter()
    result = standardise(raw, steps, plan, load_atlas(), threads=threads, watch=watch)
    with watch.step("write"):
        write_case(folder, result, "")
    return watch.seconds | {"all": time.perf_counter() - start}, result


def run_plain(
    case: Case,
    atlas: Path,
    folder: Path,
    model: BrainExtraction,
    plan: PreprocessingPlan,
    threads: int,
) -> plain.PlainResult:
    """The script on one case; its seconds go into the case."""
    folder.mkdir()
    start = time.perf_counter()
    result = plain.preprocess(case.files, atlas, folder, model=model, plan=plan, threads=threads)
    whole = time.perf_counter() - start - result.n4_same_seconds
    case.plain = result.seconds | {"all": whole}
    case.plain_same_n4 = whole - result.seconds["N4"] + result.n4_same_seconds
    return result


def floor_seconds(
    case: Case,
    folder: Path,
    atlas: Path,
    model: BrainExtraction,
    plan: PreprocessingPlan,
    threads: int,
) -> dict[str, float]:
    """What no chain with these tools and settings can go below: the tools alone, on what lies
    ready for them.

    Parameters
    ----------
    case : timed before; its reading and writing count as they are
    folder : of the plain script's run on the case, whose files are the input
    """
    watch = Stopwatch()
    names = {"t1": "t1_rai", "t2": "t2_rai", "brain": "t1_brain"}
    for name, source in names.items():
        write_image(folder / f"{name}.nii", *read_image(folder / f"{source}.nii.gz"))
    write_image(folder / "atlas.nii", *read_image(atlas))
    for step, fixed, moving in (
        ("rigid between sequences", "t1.nii", "t2.nii"),
        (f"rigid to {plan.atlas}", "atlas.nii", "brain.nii"),
    ):
        with watch.step(step):
            plain.register(fixed, moving, "floor", folder, plan, threads)
    image, grid = read_image(case.files["T1"])
    loaded = nib.Nifti1Image(image, grid.affine)
    with watch.step("brain mask"):
        model.run(loaded)
    brain = sitk.ReadImage(str(folder / "mask.nii.gz"), sitk.sitkFloat32) > 0.5
    for name in ("t1_rai", "t2_on_t1"):
        volume = sitk.ReadImage(str(folder / f"{name}.nii.gz"), sitk.sitkFloat32)
        brain.CopyInformation(volume)
        small, within = plain.shrunk(volume, brain & (volume > 0), plan.n4_spacing_mm)
        n4 = plain.n4_filter(plan, threads)
        with watch.step("N4"):
            n4.Execute(small, within)
    return watch.seconds | {name: case.ours[name] for name in ("read", "write")}


def load_seconds(side: str) -> float:
    """Wall clock of a fresh Python that only loads the tools of "ours" or "plain"."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _LOADING[side]], check=True, capture_output=True)
    return time.perf_counter() - start
