"""What raw scan → written map cannot go below with these tools and settings: each tool alone."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from deepbet.bet import BrainExtraction
from nibabel.openers import Opener
from preprocessing_parts import plain

from dal_auto.case import RawCase, StandardCase
from dal_auto.images import read_image, write_image
from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import Method
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.resampling import resample_mask
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.store.runs import Run
from dal_auto.workers.progress import Stopwatch

WHOLE = CaseSteps(bias_correct=True, coregister=True, register_to_atlas=True, strip=True)


@dataclass(frozen=True, eq=False)
class Tools:
    """What is loaded once, before the clock starts.

    Parameters
    ----------
    strip : deepbet
    method : of the run that predicts
    threads : of each tool
    """

    strip: BrainExtraction
    method: Method
    threads: int

    @classmethod
    def load(cls, run: Path, threads: int) -> Tools:
        return cls(
            BrainExtraction(no_gpu=True),
            load_checkpoint(Run(run).checkpoint_path).build("cpu"),
            threads,
        )

    @property
    def plan(self) -> PreprocessingPlan:
        return self.method.plans.preprocessing


def floor_seconds(
    name: str, files: dict[str, Path], outputs: Path, folder: Path, tools: Tools
) -> dict[str, float]:
    """Seconds of each tool alone on inputs that lie ready for it.

    Parameters
    ----------
    files : "T1" and "T2", raw with skull
    outputs : folder of what dal_predict wrote of the case
    folder : empty; no blanks in its name
    """
    watch = Stopwatch()
    images, grids = {}, {}
    for sequence, path in files.items():
        images[sequence], grids[sequence] = read_image(path)
        write_image(folder / f"{sequence}.nii", images[sequence], grids[sequence])
    write_image(folder / "atlas.nii", load_atlas().image, load_atlas().grid)
    with watch.step("rigid between sequences"):
        t1_to_t2 = plain.register("T1.nii", "T2.nii", "t2", folder, tools.plan, tools.threads)

    loaded = nib.Nifti1Image(images["T1"], grids["T1"].affine)
    with watch.step("brain mask"):
        found = tools.strip.run(loaded)
    mask = np.asarray(found[1].dataobj) > 0.5
    masks = {
        "T1": mask,
        "T2": resample_mask(mask, grids["T1"], grids["T2"], np.linalg.inv(t1_to_t2)),
    }
    field = {}
    for sequence, image in images.items():
        volume = _itk(np.maximum(image, 0), grids[sequence].spacing_mm)
        inside = _itk((masks[sequence] & (image > 0)).astype(np.uint8), grids[sequence].spacing_mm)
        small, within = plain.shrunk(volume, inside, tools.plan.n4_spacing_mm)
        n4 = plain.n4_filter(tools.plan, tools.threads)
        with watch.step("N4"):
            n4.Execute(small, within)
        field[sequence] = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(volume)).T)
    write_image(folder / "brain.nii", images["T1"] / field["T1"] * mask, grids["T1"])
    with watch.step(f"rigid to {tools.plan.atlas}"):
        plain.register("atlas.nii", "brain.nii", "atlas", folder, tools.plan, tools.threads)

    case = _standard(name, files, tools)
    for sequence in case.sequences:
        _network(case, sequence, tools, Stopwatch())  # the first call sets convolutions up
        _network(case, sequence, tools, watch)
    for path in sorted(outputs.glob(f"{name}_*.nii.gz")):
        content = gzip.decompress(path.read_bytes())
        with watch.step("gzip"):
            gzip.compress(content, Opener.default_compresslevel)
    return watch.seconds


def _itk(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing(spacing_mm)
    return image


def _standard(name: str, files: dict[str, Path], tools: Tools) -> StandardCase:
    raw = RawCase("benchmark", name, name, files)
    return standardise(
        raw, WHOLE, tools.plan, load_atlas(), threads=tools.threads, watch=Stopwatch()
    )


def _network(case: StandardCase, sequence: str, tools: Tools, watch: Stopwatch) -> None:
    """The method's `detect` within `predict`: network and score, without matching and filters."""
    detect = tools.method.detect

    def timed(*arguments):
        with watch.step("network"):
            return detect(*arguments)

    tools.method.detect = timed
    try:
        predict(tools.method, case, sequence, "cpu")
    finally:
        tools.method.detect = detect
