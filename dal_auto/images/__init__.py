"""Images on disk: many formats are read, NIfTI is written; errors that a user can act on."""

from dal_auto.images.reading import FORMS_CONFLICT_MM, Volume, read_image, read_mask, read_volume
from dal_auto.images.writing import write_image

__all__ = [
    "FORMS_CONFLICT_MM",
    "Volume",
    "read_image",
    "read_mask",
    "read_volume",
    "write_image",
]
