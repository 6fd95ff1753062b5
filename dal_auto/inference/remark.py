"""What a human should look at in a case, with the sequence that it is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from dal_auto.findings import Finding
from dal_auto.preprocessing.quality import limits
from dal_auto.schema import Section


class Remark(Section):
    """One sentence about a case.

    Parameters
    ----------
    text : in words
    sequence : of the image that it is about; empty where it is about several, or about the case
    """

    text: str
    sequence: str = ""

    def __str__(self) -> str:
        return self.text


def remarks_of(findings: Iterable[Finding], sequences: Collection[str]) -> list[Remark]:
    """Findings about the images of `sequences`, or about the case as a whole."""
    return [
        Remark(text=str(found), sequence=found.part if found.part in sequences else "")
        for found in findings
    ]


def flags_of(quality: Mapping[str, float]) -> tuple[Remark, ...]:
    """The figures of quality that lie outside their fixed limits."""
    return tuple(
        Remark(text=found.text, sequence=limits.sequence_of(found.figure))
        for found in limits.findings(quality)
    )


def texts(remarks: Iterable[Remark]) -> list[str]:
    """Their words alone."""
    return [remark.text for remark in remarks]
