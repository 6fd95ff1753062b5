"""Writes small DICOM series, as a scanner would: slices of 16-bit numbers with a patient's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

PATIENT = "DOE^JANE"
PATIENT_ID = "MRN-0815"
STUDY = "1.2.826.0.1.3680043.8.498.7"


def volume(slices: int = 12, spacing: tuple[float, float, float] = (1.0, 2.0, 5.0)) -> sitk.Image:
    """An oblique volume of 20×16 voxels a slice, every voxel of another value."""
    image = sitk.GetImageFromArray(
        np.arange(slices * 16 * 20, dtype=np.int16).reshape(slices, 16, 20)
    )
    image.SetSpacing(spacing)
    image.SetOrigin((-30.0, 12.5, 40.0))
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.1, -0.2, 0.3)
    image.SetDirection(turn.GetMatrix())
    return image


def write_series(folder: Path, image: sitk.Image, number: int = 1, **tags: Any) -> list[Path]:
    """One file a slice, named against their order; `tags` are e.g. te=100, tr=4000, name="T2"."""
    folder.mkdir(parents=True, exist_ok=True)
    study, blank = tags.pop("study", STUDY), tags.pop("blank", False)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    common = {
        "0008|0060": tags.pop("modality", "MR"),
        "0008|0008": tags.pop("kind", "ORIGINAL\\PRIMARY\\M"),
        "0020|000d": "" if blank else study,
        "0020|000e": f"{study}.{number}",
        "0020|0011": str(number),
        "0010|0010": PATIENT,
        "0010|0020": PATIENT_ID,
        "0020|0037": "\\".join(f"{v:.9f}" for v in (*direction[:, 0], *direction[:, 1])),
        "0018|0050": str(image.GetSpacing()[2]),
    }
    names = {"name": "0008|103e", "te": "0018|0081", "tr": "0018|0080", "ti": "0018|0082",
             "frame": "0020|0052", "agent": "0018|0010", "method": "0018|0020"}  # fmt: skip
    common |= {names[name]: str(value) for name, value in tags.items()}
    writer, files = sitk.ImageFileWriter(), []
    writer.KeepOriginalImageUIDOn()
    for index in range(image.GetDepth()):
        one = image[:, :, index]
        place = image.TransformIndexToPhysicalPoint((0, 0, index))
        own = {
            "0008|0018": f"{study}.{number}.{index + 1}",
            "0020|0032": "\\".join(f"{v:.9f}" for v in place),
            "0020|0013": str(index + 1),
        }
        for tag, value in (common | own).items():
            one.SetMetaData(tag, value)
        files.append(folder / f"IM{number:03d}{image.GetDepth() - index:03d}.dcm")
        writer.SetFileName(str(files[-1]))
        writer.Execute(one)
    return files
