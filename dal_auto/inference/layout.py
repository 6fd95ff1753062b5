"""What the files of a case are called: flat in one folder, or as BIDS derivatives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dal_auto
from dal_auto.choices import LayoutName
from dal_auto.errors import UsageError
from dal_auto.inference.native_map import JOINT
from dal_auto.inference.record import read_records
from dal_auto.store.atomic import write_json, write_text

#: Kinds of volumes, in the order in which they are listed.
KINDS = ("anomaly", "mask", "pseudo-healthy", "brain-mask", "anatomy")
_SUFFIXES = {"T1": "T1w", "T2": "T2w"}
_NAMELESS = "sub-"
_GENERATOR = "dal_auto"
_NOT_BIDS = """records/
logs/
old/
scans/
index.html
cases.csv
components.csv
failures.csv
*.dcm
*_viewer.html
"""


def volume_name(
    layout: LayoutName, case_id: str, name: str, on: str, kind: str, *, atlas: bool = False
) -> str:
    """Path of a volume below the output folder.

    Parameters
    ----------
    name : a sequence, or "joint"
    on : the sequence in whose space it lies
    kind : one of `KINDS`
    atlas : whether it lies on the standard grid
    """
    if layout == "flat":
        return f"{case_id}_{name}_{kind}{'_space-atlas' if atlas else ''}.nii.gz"
    space = "_space-SRI24" if atlas else ""
    what, image = ("joint" if name == JOINT else ""), _suffix(on)
    if kind in ("mask", "brain-mask"):
        label = "anomaly" if kind == "mask" else "brain"
        return f"{_bids_stem(case_id)}{space}_label-{label}_desc-{what or image}_mask.nii.gz"
    return f"{_bids_stem(case_id)}{space}_desc-{what}{kind.replace('-', '')}_{image}.nii.gz"


def sidecar_name(layout: LayoutName, case_id: str, name: str, on: str) -> str:
    """Path of the JSON that belongs to an anomaly map."""
    return volume_name(layout, case_id, name, on, "anomaly").removesuffix(".nii.gz") + ".json"


def segmentation_name(layout: LayoutName, case_id: str, name: str, on: str) -> str:
    """Path of a mask as DICOM SEG."""
    return volume_name(layout, case_id, name, on, "mask").removesuffix(".nii.gz") + ".dcm"


def picture_name(layout: LayoutName, case_id: str, name: str) -> str:
    if layout == "flat":
        return f"{case_id}_{name}.png"
    subject = bids_entities(case_id).replace("_", "/", 1)
    return f"{subject}/figures/{bids_entities(case_id)}_desc-{_suffix(name)}.png"


def transform_name(layout: LayoutName, case_id: str, sequence: str, ending: str) -> str:
    """Path of the transform between a scan and the atlas; `ending` is ``.tfm`` or ``.txt``."""
    if layout == "flat":
        return f"{case_id}_{sequence}_to-atlas{ending}"
    return f"{_bids_stem(case_id)}_from-{_suffix(sequence)}_to-SRI24_mode-image_xfm{ending}"


def bids_entities(case_id: str) -> str:
    """``sub-01_ses-2`` of a BIDS case, else ``sub-`` and the letters and digits of its id."""
    match = re.match(r"(sub-[A-Za-z0-9+]+)(_ses-[A-Za-z0-9+]+)?", case_id)
    return match[0] if match else _NAMELESS + re.sub(r"[^A-Za-z0-9]", "", case_id)


def claim_layout(layout: LayoutName, output: Path, case_ids: list[str]) -> None:
    """Describe the dataset, where the layout wants it.

    Raises
    ------
    UsageError
        if two cases would have the same BIDS name, one of them perhaps of an earlier run, if a case
        has none, or if the folder is another program's.
    """
    if layout == "flat":
        return
    named = {
        bids_entities(record.case): record.case
        for record in read_records(output)
        if any(name.startswith(_bids_stem(record.case)) for name in record.files)
    }
    for case_id in case_ids:
        if bids_entities(case_id) == _NAMELESS:
            raise UsageError(
                f"--layout bids: {case_id} has no letter or digit to be named by. Rename it."
            )
        other = named.setdefault(bids_entities(case_id), case_id)
        if other != case_id:
            raise UsageError(
                f"--layout bids: {other} and {case_id} would both be {bids_entities(case_id)} in "
                f"{output}. Rename one of them, or name another folder with -o."
            )
    description = output / "dataset_description.json"
    if description.exists() and not _is_ours(description):
        raise UsageError(
            f"{description}: another program's dataset is in this folder. Name another with -o."
        )
    write_json(
        description,
        {
            "Name": "Anomaly maps by dal_auto",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": _GENERATOR, "Version": dal_auto.__version__}],
        },
    )
    write_text(output / ".bidsignore", _NOT_BIDS)


def _is_ours(description: Path) -> bool:
    try:
        content = json.loads(description.read_text(encoding="utf-8-sig"))
        return any(one["Name"] == _GENERATOR for one in content["GeneratedBy"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False


def _bids_stem(case_id: str) -> str:
    entities = bids_entities(case_id)
    return f"{entities.replace('_', '/', 1)}/anat/{entities}"


def _suffix(sequence: str) -> str:
    return _SUFFIXES.get(sequence, sequence)
