"""A picture of each standard case: its slices, with the outlines of brain, atlas and lesion."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dal_auto.case import StandardCase
from dal_auto.errors import InputError
from dal_auto.figures.mosaic import Outline, mosaic
from dal_auto.figures.view import view_point
from dal_auto.pages.pictures import ShownPicture, shown_picture
from dal_auto.preprocessing.atlas import Atlas, load_atlas
from dal_auto.preprocessing.quality.measures import atlas_on_grid
from dal_auto.store.atomic import replacing
from dal_auto.store.standard_cases import CaseRecord, read_case
from dal_auto.workers.bars import progress

logger = logging.getLogger(__name__)

#: Okabe and Ito's colours: told apart by every eye. The atlas's outline is dashed besides.
_BRAIN, _ATLAS, _LESION = (230, 159, 0), (0, 200, 150), (86, 180, 233)
#: Goes into every picture's key: a picture drawn otherwise is another one.
_DRAWING = "1"
_IMAGE_DESCRIPTION = 0x010E  # of Exif


def write_picture(folder: Path, case: StandardCase, inputs_hash: str, atlas: Atlas) -> None:
    """Draw a case into ``quality/<case>.webp`` of its dataset's folder.

    Slices through the middle of the grid, the same in every case, with the edges of brain mask and
    atlas; where there is a lesion mask, a row through its largest lesion.

    Parameters
    ----------
    inputs_hash : of the case's record; it is kept in the picture, to tell whether it is up to date
    """
    x, y, z = case.brain_mask.shape
    rows = [(name, name, (x // 2, y // 2, z // 2)) for name in case.sequences]
    outlines = [
        Outline(case.brain_mask, _BRAIN),
        Outline(atlas_on_grid(atlas, (x, y, z)).brain, _ATLAS, dashed=True),
    ]
    if case.lesion_mask is not None and case.lesion_mask.any():
        outlines.append(Outline(case.lesion_mask, _LESION))
        bright = next((n for n in ("FLAIR", "T2") if n in case.sequences), case.sequences[0])
        point = view_point(case.lesion_mask, None, case.brain_mask)
        rows.append((f"{bright}, lesion", bright, point))
    images = dict(zip(case.sequences, case.images, strict=True))
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = _picture_key(inputs_hash)
    with replacing(_picture_path(folder, case.case_id)) as temporary:
        mosaic(images, case.brain_mask, outlines, rows).save(
            # Sharp, or the thin outlines lose their colours.
            temporary, "WEBP", quality=75, method=6, use_sharp_yuv=True, exif=exif,
        )  # fmt: skip


def _picture_path(folder: Path, case_id: str) -> Path:
    return folder / "quality" / f"{case_id}.webp"


def _picture_key(inputs_hash: str) -> str:
    return f"{_DRAWING}:{inputs_hash}"


def draw_missing(
    folder: Path, dataset: str, records: Sequence[CaseRecord], atlas: Atlas | None
) -> None:
    """Draw pictures that are missing, or of another run; a case that cannot be read gets none."""
    missing = [record for record in records if not _is_drawn(folder, record)]
    for record in progress(f"{dataset}: pictures", "case", missing, disable=len(missing) < 20):
        try:
            write_picture(folder, read_case(record), record.hash, atlas or load_atlas())
        except InputError as error:
            logger.warning("no picture of %s: %s", record.case_id, error)


def _is_drawn(folder: Path, record: CaseRecord) -> bool:
    """Whether the picture of a case is there, whole, and of this run."""
    path = _picture_path(folder, record.case_id)
    try:
        with Image.open(path) as picture:
            key = picture.getexif().get(_IMAGE_DESCRIPTION)
    except (OSError, ValueError, SyntaxError):
        logger.debug("%s is missing or damaged", path)
        return False
    return key == _picture_key(record.hash)


def shown_case(page: Path, record: CaseRecord) -> ShownPicture | None:
    """The picture of a case as it is now; None if it is missing, damaged or of another run."""
    if not _is_drawn(page.parent, record):
        return None
    text = f"{record.case_id}: slices of {', '.join(record.sequences)}"
    return shown_picture(_picture_path(page.parent, record.case_id), page, text)
