"""The cases that a model is scored on, as standard cases: real ones, and heads with drawn lesions.

Real cases are for looking and reporting. Whatever is chosen, is chosen on the simulated ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from home import Home

from dal_auto.case import ClaimedState, RawCase, StandardCase
from dal_auto.errors import DalError
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.atlas import load_atlas
from dal_auto.preprocessing.chain import standardise
from dal_auto.preprocessing.fingerprint.dataset import fingerprint_case
from dal_auto.preprocessing.steps import decide_steps
from dal_auto.store.standard_cases import read_case, read_record, write_case
from dal_auto.workers.progress import Stopwatch

#: Label maps that the shipped model's last training left out: the simulated test heads are theirs.
HELD_OUT = ("seg_04", "seg_09", "seg_14", "seg_19")
SIMULATED = "simulated"
_LESIONED, _HEALTHY = 10, 2
_SEED = 11
_UNKNOWN, _CORRECTED = ClaimedState(), ClaimedState(bias_corrected=True)


@dataclass(frozen=True)
class Source:
    """A real case in the folder of test data.

    Parameters
    ----------
    group : cases of one group are pooled
    images : sequence → file; a file that is not there is left out
    """

    group: str
    name: str
    images: Mapping[str, str]
    mask: str | None
    claims: ClaimedState = _UNKNOWN


def _named(stem: str, **endings: str) -> dict[str, str]:
    return {sequence: f"{stem}{ending}.nii.gz" for sequence, ending in endings.items()}


_SOURCES = (
    *(
        Source(
            "gliomas",
            name,
            _named(f"brats_gli/{name}/{name}_", T1="t1", T2="t2", FLAIR="flair"),
            f"brats_gli/{name}/{name}_seg.nii.gz",
        )
        for name in ("BraTS20_Training_001", "BraTS2021_00000", "BraTS2021_00014")
    ),
    *(
        Source(
            "gliomas",
            name,
            _named(f"brats_{kind}/{name}/{name}-", T1="t1n", T2="t2w", FLAIR="t2f"),
            f"brats_{kind}/{name}/{name}-seg.nii.gz",
        )
        for kind, name in (("ssa", "BraTS-SSA-00230-000"), ("ped", "BraTS-PED-00002-000"))
    ),
    Source(
        "MS, patient 26",
        "patient26",
        _named("mslub_mni/patient26_", T1="T1", T2="T2", FLAIR="FLAIR"),
        "mslub_mni/patient26_lesion.nii.gz",
        _CORRECTED,
    ),
    Source(
        "BRAINIX",
        "brainix",
        _named("brainix_raw/brainix_", T1="T1", T2="T2", FLAIR="FLAIR"),
        "brainix_raw/brainix_ROI.nii.gz",
    ),
    *(
        Source(
            "white matter",
            name,
            _named(f"wmh_raw/{name}_", T1="T1", FLAIR="FLAIR"),
            f"wmh_raw/{name}_seg.nii.gz",
        )
        for name in ("wmh1", "wmh2")
    ),
    Source(
        "healthy",
        "kirby113",
        _named("healthy_kirby113/kirby113_", T1="MPRAGE", T2="T2w", FLAIR="FLAIR"),
        None,
        _CORRECTED,
    ),
)


def real_cases(data: Path, folder: Path, *, n4: bool = True) -> Iterator[tuple[str, StandardCase]]:
    """(group, case): through the chain, once; what fails is said, and left out.

    Parameters
    ----------
    folder : where the standard cases are kept
    n4 : False: without bias correction
    """
    for source in _SOURCES:
        images = {name: data / file for name, file in source.images.items()}
        images = {name: path for name, path in images.items() if path.is_file()}
        if not images:
            continue
        mask = None if source.mask is None else data / source.mask
        raw = RawCase(source.group, source.name, source.name, images, mask, claims=source.claims)
        try:
            yield source.group, _standard(raw, folder, n4)
        except DalError as error:
            print(f"{source.name} is left out: {error}", flush=True)


def _standard(raw: RawCase, folder: Path, n4: bool) -> StandardCase:
    record = folder / f"{raw.case_id}.json"
    if not record.is_file():
        raw = _with_the_images_header(raw, folder)
        steps = decide_steps(raw, fingerprint_case(raw))
        if not n4:
            steps = steps.model_copy(update={"bias_correct": False})
        case = standardise(
            raw,
            steps,
            PreprocessingPlan(),
            load_atlas(),
            threads=1,
            watch=Stopwatch(),
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_case(folder, case, "benchmark")
    return read_case(read_record(record))


def _with_the_images_header(raw: RawCase, folder: Path) -> RawCase:
    """Some masks of BraTS 2020 have another origin than their images on the same grid of voxels."""
    if raw.lesion_mask is None:
        return raw
    mask, image = nib.load(raw.lesion_mask), nib.load(next(iter(raw.sequences.values())))
    if mask.shape != image.shape or np.allclose(mask.affine, image.affine):
        return raw
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{raw.case_id}_mask.nii.gz"
    nib.save(nib.Nifti1Image(np.asanyarray(mask.dataobj).astype(np.uint8), image.affine), path)
    return replace(raw, lesion_mask=path)


def held_out_heads(data: Path, home: Home) -> Path:
    """A folder with links to the label maps that the last training left out."""
    heads = home.path / "heads"
    heads.mkdir(exist_ok=True)
    for name in HELD_OUT:
        link = heads / f"{name}.nii.gz"
        if not link.exists():
            link.symlink_to(data / "label_maps" / link.name)
    return heads


def simulated_cases(data: Path, home: Home) -> Iterator[tuple[str, StandardCase]]:
    """(group, case) of heads that the last training left out, with tumours, strokes and plaques."""
    heads = held_out_heads(data, home)
    home.run(
        "dal_datasets",
        "simulate",
        *("--healthy", _HEALTHY, "--lesioned", _LESIONED, "--seed", _SEED),
        *("--heads", heads, "--sequences", "T1", "T2", "FLAIR"),
        *("--lesion-masks", data / "mslub_lesion_masks"),
        *("--stroke-masks", data / "stroke_lesion_masks"),
    )
    home.run("dal_plan_and_preprocess", "-d", "SimHealthy", "SimLesions")
    for dataset, group in (("SimLesions", SIMULATED), ("SimHealthy", "simulated, healthy")):
        for record in sorted((home.path / "preprocessed" / dataset / "cases").glob("*.json")):
            yield group, read_case(read_record(record))
