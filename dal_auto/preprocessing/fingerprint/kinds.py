"""What may be found when a case is measured: codes, titles, and what to do.

The measuring modules make findings of these kinds; the checks list them under their own headings.
"""

from __future__ import annotations

from dal_auto.findings import Kind

UNREADABLE = Kind(
    "unreadable",
    "cases that cannot be read",
    "Download or convert these files again; they are not preprocessed.",
    level="error",
)

# --- of one image

NEGATIVE = Kind(
    "negative-voxels",
    "negative values, as interpolation leaves them",
    "They are set to 0 after the brain mask is made; nothing to do.",
)
THICK = Kind("thick-slices", "thick slices", "They are smeared when resampled; look at them.")
FIELD_OF_VIEW = Kind(
    "field-of-view", "fields of view that no head has", "Look at the voxel size in the header."
)

# --- of the images together

HEADER_WRONG = Kind(
    "header-wrong",
    "the header says another orientation than the content",
    "They are read as the content says; maps come back with the header's error.",
)
HEADER_IN_DOUBT = Kind(
    "header-in-doubt",
    "headers that the content contradicts, but not clearly",
    "The header is believed: look at the case, and mend its header if it is wrong.",
)
PARTLY_STRIPPED = Kind(
    "partly-stripped",
    "one image of the case is stripped, another is not",
    "Use images of one kind; as they are, the case is stripped again.",
)
APART = Kind(
    "brains-apart",
    "brains that lie apart although their images share a grid",
    "Is one of them moved, cut, or of another patient? Look at them.",
)
SAME_VOXELS = Kind(
    "same-voxels",
    "the same voxels in two images",
    "Keep one of them: copies count a patient twice, and leak between splits.",
    level="error",
)
CONTRAST = Kind(
    "contrast",
    "an image seems to be of another contrast than its name says",
    "Look at T1 and T2: are they swapped, is one a FLAIR, or was a contrast agent given?",
)

# --- of masks

MASK_GRID = Kind(
    "mask-grid",
    "a mask lies on the grid of none of the images",
    "Use the images that the mask was drawn on (of MSLUB: coregistered/, not raw/).",
    level="error",
)
MASK_SHIFTED = Kind(
    "mask-shifted",
    "headers of masks that differ from their image's by less than a tenth of a voxel",
    "They were rounded; nothing to do.",
)
MASK_NEGATIVE = Kind(
    "mask-negative",
    "masks with values below 0",
    "They count as no lesion. If they mean voxels to be ignored, leave the case out of evaluation.",
)
MASK_FRACTIONS = Kind(
    "mask-fractions",
    "masks hold fractions: probabilities, or labels resampled linearly",
    "Get the label maps; a threshold of your own changes the lesions.",
    level="error",
)
MASK_ROUNDED = Kind("mask-rounded", "labels are off whole numbers a little", "They are rounded.")
MASK_EMPTY = Kind("mask-empty", "empty masks", "They count as cases without a lesion.")
LESION_VOLUME = Kind("lesion-volume", "implausible lesion volumes", "Look at the mask.")
LESION_FLIPPED = Kind(
    "lesion-flipped",
    "masks that fit the brain better when mirrored",
    "The mask is probably flipped: compare it with the image, and mend its header.",
)
LESION_OUTSIDE = Kind(
    "lesion-outside",
    "much of the lesion lies outside the brain",
    "Usual in meningioma; else the mask or the stripping is off. The scoring cuts it.",
)

# --- of the cohort

OUTLIER = Kind("outlier", "far from the other cases of the set", "Look at them.")
