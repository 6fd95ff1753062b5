"""Images on disk: many formats are read, NIfTI is written; errors that a user can act on."""

from dal_auto.images.reading import Volume, read_image, read_mask, read_scan, read_volume
from dal_auto.images.writing import check_header, write_image

__all__ = [
    "Volume",
    "check_header",
    "read_image",
    "read_mask",
    "read_scan",
    "read_volume",
    "write_image",
]
