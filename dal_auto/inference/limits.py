"""What no anomaly map can show, in sentences: said wherever maps are shown."""

from __future__ import annotations

LIMITS = (
    "Mass effect and atrophy: a shifted or shrunken but otherwise normal structure yields normal "
    "edges, and is restored as it is (paper §5.4).",
    "Populations other than the training set's, children above all: what is normal there may be "
    "marked here.",
    "Sequences that the model was not trained on.",
    "Lesions outside the brain mask, such as parts of meningiomas: maps are cut to the brain.",
)
