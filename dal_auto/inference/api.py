"""dal_auto from Python: a model that stays loaded, and the map of one patient at a time.

``from dal_auto import load_model, predict`` is the same; there it is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.spatialimages import SpatialImage

from dal_auto.case import FloatArray, Grid, RawCase
from dal_auto.errors import UsageError
from dal_auto.inference import model as loading
from dal_auto.inference.export import to_native
from dal_auto.inference.model import Model
from dal_auto.inference.native_map import JOINT, NativeMap, native_maps
from dal_auto.inference.prepare import Prepared, PrepareTask, prepare, usable
from dal_auto.inference.remark import texts
from dal_auto.planning.hardware import Hardware
from dal_auto.store.model_files import choose_model
from dal_auto.store.temporary import temporary_folder

#: What an image may be: a file, nibabel's or SimpleITK's.
Image = str | Path | SpatialImage | sitk.Image


@dataclass(frozen=True, eq=False)
class Result:
    """What a model says of a patient, in the space of the scan.

    Parameters
    ----------
    map : the anomaly score, float32, ≥ 0, 0 outside the brain. An image of SimpleITK where the scan
        was one, else of nibabel; likewise `mask` and `pseudo_healthy`. Of several sequences it is
        the joint map, in multiples of its threshold, on the grid of the T1 (else T2, else the
        first)
    mask : uint8, 1 where the score is `threshold` or more
    components : the 26-connected pieces of the mask, the largest first: ``ml``, their centre
        ``x_mm``, ``y_mm``, ``z_mm`` (RAS world of the scan), ``maximum_score``
    pseudo_healthy : the scan as the model restores it, in [0, 1]; None where it restores nothing
    threshold : of the mask
    brain_mask : uint8, the brain
    by_sequence : the result of each sequence by itself, if there are several
    warnings : what is odd about the scans, in words: for a human to look at
    """

    map: Any
    mask: Any
    components: list[dict[str, Any]]
    pseudo_healthy: Any | None
    threshold: float
    brain_mask: Any
    by_sequence: Mapping[str, Result] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load_model(
    model: str | Path | None = None, *, device: str | None = None, threshold: float | None = None
) -> Model:
    """Load a model once, for many patients.

    Parameters
    ----------
    model : a run's folder or a part of its name, a ``.safetensors`` file, or "shipped"; by default
        your own run of DAL, else the shipped model
    device : "cuda", "cuda:1", "mps" or "cpu"; by default the best there is
    threshold : for the masks of the sequences' maps; by default the model's practical threshold of
        each. The joint map keeps the model's own

    Raises
    ------
    UsageError
        if there is no such model, several fit, or it was trained in another atlas's space.
    InputError
        if its file is damaged, or is not what its card says.

    Examples
    --------
    >>> from dal_auto import load_model
    >>> model = load_model(model_path, device="cpu")
    >>> model.plans.sequences
    ('T1', 'T2')
    """
    chosen = choose_model(name=None if model is None else str(model))
    return loading.load_model(chosen, device=Hardware.measure(device).device, threshold=threshold)


def predict(images: Mapping[str, Image], model: Model, *, threads: int = 1) -> Result:
    """The anomalies of one patient. Scans may be with skull or without, in any orientation.

    Parameters
    ----------
    images : sequence ("T1", "T2", "FLAIR") → scan; several are of one examination
    model : see `load_model`
    threads : for the preprocessing

    Raises
    ------
    UsageError
        if the model knows none of the sequences, or an image is of no known kind.
    InputError, CaseFailed
        if a scan cannot be read, or no brain is found.

    Examples
    --------
    >>> from dal_auto import load_model, predict
    >>> model = load_model(model_path, device="cpu")
    >>> result = predict({"T1": t1_path, "T2": t2_path}, model)
    >>> result.map.shape == result.mask.shape
    True
    >>> sorted(result.by_sequence)
    ['T1', 'T2']
    >>> result.components[0]["ml"] > 1
    True
    >>> predict({"T1": t1_path}, model).by_sequence
    {}
    """
    with temporary_folder("dal_auto-") as folder:
        files = {name: _as_file(image, folder / name) for name, image in images.items()}
        case, left_out = usable(RawCase("python", "case", "case", files), model.plans.sequences)
        prepared = prepare(PrepareTask(case, model.request, threads))
    found = native_maps(model, prepared.case, model.predict(prepared.case))
    told = tuple(texts((*left_out, *prepared.warnings)))
    results = {one.name: _result(one, images[one.on], model, prepared, told) for one in found}
    if JOINT not in results:
        return next(iter(results.values()))
    joint = results.pop(JOINT)
    return Result(**{**vars(joint), "by_sequence": results})


def _as_file(image: Image, stem: Path) -> Path:
    """The image as a file that the chain can read."""
    if isinstance(image, str | Path):
        return Path(image)
    file = stem.with_name(f"{stem.name}.nii.gz")
    if isinstance(image, sitk.Image):
        sitk.WriteImage(image, str(file))
    elif isinstance(image, SpatialImage):
        nib.save(image, file)
    else:
        raise UsageError(
            f"an image is a path, or an image of nibabel or SimpleITK, not {type(image).__name__}"
        )
    return file


def _result(
    found: NativeMap, like: Image, model: Model, prepared: Prepared, warnings: tuple[str, ...]
) -> Result:
    healthy, case = found.prediction.pseudo_healthy, prepared.case
    restored = None
    if healthy is not None:
        restored = to_native(healthy, case.geometry, found.on, model.plans)
    return Result(
        map=_image(found.score, found.grid, like),
        mask=_image(found.mask.astype(np.uint8), found.grid, like),
        components=[one.model_dump() for one in found.components],
        pseudo_healthy=None if restored is None else _image(restored, found.grid, like),
        threshold=found.threshold,
        brain_mask=_image(found.brain.astype(np.uint8), found.grid, like),
        warnings=warnings,
    )


def _image(array: FloatArray, grid: Grid, like: Image) -> Any:
    """An image of the library that the scan came from."""
    if isinstance(like, sitk.Image):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
        image.CopyInformation(like)
        return image
    return nib.Nifti1Image(array, grid.affine)
