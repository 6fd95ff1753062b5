"""The same steps as a careful lab would script them: one tool after the other, a file in between.

Same tools, same order, same settings as the chain (N4 inside the brain mask, not Otsu's; T1
stripped before it meets the stripped atlas), so that only the way of working differs: N4 at full
resolution, a ``.nii.gz`` on disk after each step, one resampling per step. Of dal_auto it takes the
plan's settings and the stopwatch, no step.
"""

from __future__ import annotations

import json
import os
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from deepbet.bet import BrainExtraction
from picsl_greedy import Greedy3D

from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.registration.greedy import iterations_needed
from dal_auto.workers.progress import Stopwatch

_FILES = (
    "t1_rai", "t2_rai", "mask", "t2_on_t1", "t1_n4", "t2_n4", "n4_same", "t1_brain", "t1_atlas",
    "t2_atlas", "mask_atlas", "t1_standard", "t2_standard", "mask_standard",
)  # fmt: skip


@dataclass(frozen=True)
class PlainResult:
    """What the script left on disk for one case.

    Parameters
    ----------
    images : sequence → the finished image, on the standard grid
    brain : the brain mask, on the same grid
    to_native : sequence → (4, 4), atlas RAS mm → scanner RAS mm
    seconds : by step
    n4_same_seconds : of the N4 step done once more on the chain's grid, which is no part of it
    """

    images: dict[str, Path]
    brain: Path
    to_native: dict[str, np.ndarray]
    seconds: dict[str, float]
    n4_same_seconds: float


def preprocess(
    files: dict[str, Path],
    atlas: Path,
    folder: Path,
    *,
    model: BrainExtraction,
    plan: PreprocessingPlan,
    threads: int,
) -> PlainResult:
    """Run the script on one case.

    Parameters
    ----------
    files : "T1" and "T2", raw with skull
    atlas : stripped T1 template
    folder : empty, for all the files in between and the results; no blanks in its name
    model : deepbet, loaded once for all cases
    """
    watch, same = Stopwatch(), Stopwatch()
    file = {name: str(folder / f"{name}.nii.gz") for name in _FILES}

    with watch.step("read"):  # and turned to ITK's RAI, which SimpleITK calls LPS
        for name, sequence in (("t1_rai", "T1"), ("t2_rai", "T2")):
            image = sitk.ReadImage(str(files[sequence]), sitk.sitkFloat32)
            sitk.WriteImage(sitk.DICOMOrient(image, "LPS"), file[name])
    with watch.step("brain mask"):
        model.run(file["t1_rai"], mask_path=file["mask"])
    with watch.step("rigid between sequences"):
        t1_to_t2 = register(file["t1_rai"], file["t2_rai"], "t1_to_t2", folder, plan, threads)
    with watch.step("resample"):
        _reslice(file["t1_rai"], file["t2_rai"], file["t2_on_t1"], "t1_to_t2", folder, threads)
    with watch.step("N4"):
        for name, corrected in (("t1_rai", "t1_n4"), ("t2_on_t1", "t2_n4")):
            _n4(file[name], file["mask"], file[corrected], None, plan, threads)
    with same.step("N4"):
        for name in ("t1_rai", "t2_on_t1"):
            _n4(file[name], file["mask"], file["n4_same"], plan.n4_spacing_mm, plan, threads)
    with watch.step("brain mask"):
        image = sitk.ReadImage(file["t1_n4"])
        sitk.WriteImage(sitk.Mask(image, _read_mask(file["mask"], image)), file["t1_brain"])
    with watch.step(f"rigid to {plan.atlas}"):
        to_t1 = register(str(atlas), file["t1_brain"], "atlas_to_t1", folder, plan, threads)
    with watch.step("resample"):
        for name, moved in (("t1_n4", "t1_atlas"), ("t2_n4", "t2_atlas")):
            _reslice(str(atlas), file[name], file[moved], "atlas_to_t1", folder, threads)
        # Interpolated linearly, greedy would cut a mask's shares below 1 off to 0.
        _reslice(str(atlas), file["mask"], file["mask_atlas"], "atlas_to_t1", folder, threads, "NN")
        mask = sitk.ReadImage(file["mask_atlas"], sitk.sitkUInt8) > 0
        sitk.WriteImage(_crop_or_pad(mask, plan), file["mask_standard"])
        for name, finished in (("t1_atlas", "t1_standard"), ("t2_atlas", "t2_standard")):
            stripped = sitk.Mask(sitk.ReadImage(file[name]), mask)
            sitk.WriteImage(_crop_or_pad(stripped, plan), file[finished])
    finished = {"T1": Path(file["t1_standard"]), "T2": Path(file["t2_standard"])}
    with watch.step("percentiles and quality"):
        brain = sitk.GetArrayFromImage(sitk.ReadImage(file["mask_standard"])) > 0
        landmarks = {
            name: np.percentile(
                sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[brain], plan.percentiles
            ).tolist()
            for name, path in finished.items()
        }
        (folder / "percentiles.json").write_text(json.dumps(landmarks))
    return PlainResult(
        finished,
        Path(file["mask_standard"]),
        {"T1": to_t1, "T2": t1_to_t2 @ to_t1},
        watch.seconds,
        same.seconds["N4"],
    )


def register(
    fixed: str, moving: str, name: str, folder: Path, plan: PreprocessingPlan, threads: int
) -> np.ndarray:
    """greedy with the plan's settings: (4, 4), fixed RAS mm → moving RAS mm, also in a file."""
    sizes = (nib.load(folder / image).header.get_zooms()[:3] for image in (fixed, moving))
    iterations = iterations_needed(
        plan.registration_iterations, *sizes, plan.registration_finest_mm
    )
    _greedy(
        f"-i {fixed} {moving} -o {name}.mat -a -dof 6 -m {plan.registration_metric} "
        f"-n {iterations} -ia-image-centers -seed 1 -V 0 -threads {threads}",
        folder,
    )
    return np.loadtxt(folder / f"{name}.mat")


def _reslice(
    fixed: str,
    moving: str,
    out: str,
    matrix: str,
    folder: Path,
    threads: int,
    interpolation: str = "LINEAR",
) -> None:
    _greedy(
        f"-rf {fixed} -ri {interpolation} -rm {moving} {out} -r {matrix}.mat -V 0 "
        f"-threads {threads}",
        folder,
    )


def _greedy(command: str, folder: Path) -> None:
    """Run greedy; its library prints on the process's own descriptors, hence the detour."""
    saved = os.dup(1), os.dup(2)
    with (folder / "greedy.log").open("a") as log, chdir(folder):
        try:
            for descriptor in (1, 2):
                os.dup2(log.fileno(), descriptor)
            Greedy3D().execute(command, out=log, err=log)
        finally:
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def _read_mask(path: str, image: sitk.Image) -> sitk.Image:
    mask = sitk.Cast(sitk.ReadImage(path, sitk.sitkFloat32) > 0.5, sitk.sitkUInt8)
    mask.CopyInformation(image)  # deepbet writes the header's float32 affine
    return mask


def shrunk(image: sitk.Image, mask: sitk.Image, spacing_mm: float) -> tuple[sitk.Image, sitk.Image]:
    """Image and mask on the grid on which the chain estimates the field."""
    factors = [max(1, round(spacing_mm / mm)) for mm in image.GetSpacing()]
    return sitk.Shrink(image, factors), sitk.Shrink(mask, factors)


def n4_filter(plan: PreprocessingPlan, threads: int) -> sitk.N4BiasFieldCorrectionImageFilter:
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([int(i) for i in plan.n4_iterations])
    n4.SetNumberOfThreads(threads)
    return n4


def _n4(
    path: str,
    mask_path: str,
    out: str,
    spacing_mm: float | None,
    plan: PreprocessingPlan,
    threads: int,
) -> None:
    """N4 inside the mask, estimated on every voxel, or on the chain's grid of `spacing_mm`."""
    image = sitk.ReadImage(path, sitk.sitkFloat32)
    mask = sitk.And(_read_mask(mask_path, image), image > 0)  # it takes the logarithm
    n4 = n4_filter(plan, threads)
    if spacing_mm is None:
        corrected = n4.Execute(image, mask)
    else:
        n4.Execute(*shrunk(image, mask, spacing_mm))
        corrected = image / sitk.Exp(n4.GetLogBiasFieldAsImage(image))
    sitk.WriteImage(corrected, out)


def _crop_or_pad(image: sitk.Image, plan: PreprocessingPlan) -> sitk.Image:
    wanted, present = plan.target_shape, image.GetSize()
    before = [(w - p) // 2 for w, p in zip(wanted, present, strict=True)]
    after = [w - p - b for w, p, b in zip(wanted, present, before, strict=True)]
    image = sitk.ConstantPad(image, [max(0, b) for b in before], [max(0, a) for a in after])
    return sitk.Crop(image, [max(0, -b) for b in before], [max(0, -a) for a in after])
