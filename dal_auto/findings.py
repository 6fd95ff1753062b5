"""What is found out about a case or a dataset, as data: measured once, worded once.

A finding is made where the thing is measured. Others count, sort and show findings by their code;
nobody reads their words again. The model is nibabel's ``batteryrunners``, whose reports hold a
problem's level, its message and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from dal_auto.schema import Section

Level = Literal["error", "warning", "ok", "none"]
LEVELS: tuple[Level, ...] = ("error", "warning", "ok", "none")
"""Worst first: unusable; worth a look; as it should be; there was nothing to check."""

Value = float | tuple[float, ...] | None


class Finding(Section):
    """Something that was found.

    Parameters
    ----------
    code : what kind of thing it is, equal for all cases
    level : see `LEVELS`
    title : what all findings of the code have in common, in words
    words : what was found here, in words; empty where the title says it all
    case : id of the case; empty where it is about the dataset, or known from where it is kept
    value, limit : what was measured, and what it was compared with, in the unit that the words say
    remedy : what to do
    part : of the case, such as "T1" or "lesion mask"; empty where it is about the case as a whole
    """

    code: str
    level: Level
    title: str
    words: str = ""
    case: str = ""
    value: Value = None
    limit: Value = None
    remedy: str = ""
    part: str = ""

    def __str__(self) -> str:
        return self.words or self.title

    def about(self, part: str) -> Finding:
        """The same, said of a part of the case, such as "T1" or "lesion mask"."""
        return self.model_copy(update={"words": f"{part}: {self}", "part": part})

    def of(self, case_id: str) -> Finding:
        """The same, with the case named."""
        return self.model_copy(update={"case": case_id})


@dataclass(frozen=True)
class Kind:
    """What findings of one code have in common; see `Finding`."""

    code: str
    title: str
    remedy: str = ""
    level: Level = "warning"

    def found(
        self, words: str = "", *, case: str = "", value: Value = None, limit: Value = None
    ) -> Finding:
        """A finding of this kind."""
        return Finding(
            code=self.code,
            level=self.level,
            title=self.title,
            words=words,
            case=case,
            value=value,
            limit=limit,
            remedy=self.remedy,
        )


def fine(code: str, words: str) -> Finding:
    """That something is as it should be."""
    return Finding(code=code, level="ok", title=words)


def nothing(code: str, words: str) -> Finding:
    """That there was nothing to check."""
    return Finding(code=code, level="none", title=words)


def by_code(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Code → its findings, the codes as they come."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.code, []).append(finding)
    return groups
