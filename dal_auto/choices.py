"""Names that a user may choose, for the parsers of the commands: they load no library."""

from __future__ import annotations

from typing import Literal, get_args

SkullStripper = Literal["deepbet", "robex", "hd-bet", "synthstrip"]
SKULL_STRIPPERS: tuple[SkullStripper, ...] = get_args(SkullStripper)

LayoutName = Literal["flat", "bids"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
#: A mask as DICOM SEG: the one output that carries a patient's attributes.
SEGMENTATION = "dicom-seg"
#: What `--save` knows. Mask and pseudo-healthy image are written in any case, beside the map.
OUTPUTS = ("pseudo-healthy", "mask", "anatomy", "atlas-space", SEGMENTATION)

#: That a simulated cohort has, and that it may have.
SIMULATED_SEQUENCES = ("T1", "T2")
POSSIBLE_SEQUENCES = (*SIMULATED_SEQUENCES, "FLAIR")
