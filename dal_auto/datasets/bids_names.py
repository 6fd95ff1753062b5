"""What the names of BIDS files say: entities ``key-value`` joined by ``_``, then a suffix."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dal_auto.datasets.filenames import sequence_of

SUFFIXES = ("T1w", "T2w", "FLAIR")
_ENTITY = re.compile(r"(?P<key>[a-z]+)-(?P<value>[A-Za-z0-9+]+)")
#: Masks of some datasets are called after their image, such as ``sub-01_T2w_desc-lesion_mask``.
_OF_IMAGE = re.compile(rf"_({'|'.join(SUFFIXES)})(?=_)")
#: With these an image is not the plain one of its sequence.
_NOT_PLAIN = ("space", "desc", "acq", "rec", "echo", "inv", "mt", "chunk", "part")


@dataclass(frozen=True)
class BidsFile:
    """One file and what its name says: entities without the suffix, and the suffix."""

    path: Path
    entities: dict[str, str]
    suffix: str

    @property
    def case_id(self) -> str:
        """``sub-01`` or ``sub-01_ses-1``."""
        keys = [key for key in ("sub", "ses") if key in self.entities]
        return "_".join(f"{key}-{self.entities[key]}" for key in keys)

    @property
    def subject(self) -> str:
        """``sub-01``."""
        return f"sub-{self.entities['sub']}"

    @property
    def sequence(self) -> str | None:
        """ "T1", "T2" or "FLAIR"; None for other images, and with a contrast agent (``ce-``)."""
        if self.suffix not in SUFFIXES or self.oddity:
            return None
        return sequence_of(self.suffix)

    @property
    def oddity(self) -> str:
        """What makes it another image than a plain one of its suffix; empty for most."""
        if "ce" in self.entities:
            return "with a contrast agent"
        part = self.entities.get("part", "mag")
        return "" if part == "mag" else f"the {part} of a complex image"


def parse_name(stem: str, path: Path) -> BidsFile | None:
    """Read a file name without its ending; None if it is not of the form ``sub-…_suffix``."""
    *parts, suffix = _OF_IMAGE.sub("", stem).split("_")
    matches = [_ENTITY.fullmatch(part) for part in parts]
    if not matches or not all(matches):
        return None
    entities = {match["key"]: match["value"] for match in matches if match}
    return BidsFile(path, entities, suffix) if "sub" in entities else None


def plainness(file: BidsFile) -> tuple[int, int, str]:
    """What images and masks of one kind are sorted by, the plainest first."""
    extras = sum(key in file.entities for key in _NOT_PLAIN)
    run = file.entities.get("run", "0")
    return extras, int(run) if run.isdigit() else 0, file.path.name
