"""What may be odd about an image file without preventing its use."""

from __future__ import annotations

from dal_auto.findings import Kind

#: Distance between the places that two forms give one voxel above which they are in conflict; a
#: quaternion in single precision is off by less.
FORMS_CONFLICT_MM = 0.1

TRAILING_BYTES = Kind("trailing-bytes", "bytes after the end of the compressed data")
COMPRESSION = Kind("compression", "files that are compressed, or not, against their names")
FORMS_CONFLICT = Kind(
    "forms-conflict",
    "sform and qform of the header place the image differently",
    "The sform is believed, as in nibabel; tools that believe the qform will disagree.",
)
REPAIRED = Kind("header-repaired", "headers that were repaired", "They are read as ITK reads them.")
UNIT = Kind(
    "unit-of-length",
    "headers whose unit of length is not mm, or not right",
    "Look at the voxel size.",
)
SHEARED = Kind("sheared", "headers whose axes are sheared", "They are resampled to be worked on.")
QFORM_UNREADABLE = Kind("qform-unreadable", "headers whose qform cannot be read")
NO_ORIENTATION = Kind("no-orientation", "headers that do not say how the image lies")
BACKGROUND = Kind(
    "background-moved", "backgrounds that are not 0", "Background becomes 0, all else lies above."
)
