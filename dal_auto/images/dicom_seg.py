"""A mask as DICOM SEG, on the frames of the series that it was found in, by highdicom.

The standard wants a segmentation to carry the patient's and the study's attributes, so that an
archive files it beside its series. They are copied from the files of that series into the new file,
and go nowhere else. Nothing else in dal_auto reads them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dal_auto import __version__
from dal_auto.case import BoolArray
from dal_auto.errors import InputError, MissingDependency
from dal_auto.store.atomic import replacing

if TYPE_CHECKING:
    from pydicom import Dataset

#: May be empty, but not absent (type 2 of the standard); removing names often takes them away.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "SliceThickness"),
)
#: A series of ours, and its images, are told apart from others by numbers made of these words.
_SERIES_NUMBER = 9000


@dataclass(frozen=True)
class Found:
    """What a segmentation says of itself.

    Parameters
    ----------
    label : of the segment, e.g. "anomaly T1"
    method : that found it
    model_sha256 : of the model's file
    """

    label: str
    method: str
    model_sha256: str


def require_highdicom() -> None:
    """See that DICOM SEG can be written.

    Raises
    ------
    MissingDependency
        if highdicom is not installed.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise MissingDependency(
            "highdicom, which writes DICOM SEG,",
            "Install it: pip install 'dal-auto[dicom-seg]', or leave out --save dicom-seg.",
        )


def write_segmentation(path: Path, mask: BoolArray, files: Sequence[Path], found: Found) -> None:
    """Write a mask as a binary segmentation of one segment, whole or not at all.

    Its numbers (UIDs) follow from the series, the model and the label: the same mask made again
    replaces the old one in an archive. Date and time are those of writing.

    Parameters
    ----------
    mask : (x, y, z) on the grid of the series: columns, rows, slices
    files : of the series, in the order of z; one file where it holds all frames

    Raises
    ------
    MissingDependency
        if highdicom is not installed.
    InputError
        if the files do not say what a segmentation must refer to.
    """
    require_highdicom()
    import highdicom as hd

    sources = [_header(file) for file in files]
    _measure_spacing(sources)
    series = str(sources[0].SeriesInstanceUID)
    names = (series, found.model_sha256, found.label)
    frames = np.ascontiguousarray(mask.transpose(2, 1, 0)).astype(np.uint8)
    try:
        segmentation = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(found)],
            series_instance_uid=_uid("series", *names),
            series_number=_SERIES_NUMBER + int(sources[0].get("SeriesNumber") or 0),
            sop_instance_uid=_uid("instance", *names),
            instance_number=1,
            manufacturer="dal_auto",
            manufacturer_model_name=found.method,
            software_versions=__version__,
            device_serial_number=found.model_sha256[:16],
            content_label="ANOMALY",
            content_description="Research, not for diagnosis",
            series_description=f"dal_auto {found.label} (research)",
        )
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            files[0].parent,
            f"no DICOM SEG can be made of its series: {error}",
            "Leave out --save dicom-seg, or export the series again with all its attributes.",
        ) from error
    with replacing(path) as temporary:
        segmentation.save_as(temporary)


def _header(file: Path) -> Dataset:
    import pydicom

    header = pydicom.dcmread(file, stop_before_pixels=True)
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None if name == "SliceThickness" else "")
    return header


def _measure_spacing(sources: Sequence[Dataset]) -> None:
    """The distance between slices by their positions; what files say of it is often wrong."""
    if len(sources) < 2:
        return  # one file says it of its frames
    places = np.array([source.ImagePositionPatient for source in sources], float)
    across, down = np.array(sources[0].ImageOrientationPatient, float).reshape(2, 3)
    apart = abs((places[-1] - places[0]) @ np.cross(across, down)) / (len(sources) - 1)
    for source in sources:
        source.SpacingBetweenSlices = f"{apart:.6f}"


def _segment(found: Found) -> Any:
    """One segment, called what it is: an abnormal structure, found by a program."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=found.label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.MorphologicallyAbnormalStructure,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=f"dal_auto {found.method}",
            version=__version__,
            family=codes.DCM.ArtificialIntelligence,
        ),
    )


def _uid(*words: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["dal_auto", *words]))
