"""A report while it is written: its pages, and the pictures that are brought beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dal_auto.evaluation.report.cases import Case
from dal_auto.evaluation.report.content import Picture, Report
from dal_auto.evaluation.report.files import PICTURES, bring, safe
from dal_auto.pages.page import TABLE, write_page
from dal_auto.pages.pictures import ShownPicture, shown_picture, url


@dataclass(frozen=True)
class Drawn:
    """A picture of the report on one of its pages; `shown` is None where its file is missing."""

    picture: Picture
    shown: ShownPicture | None
    vector: str = ""


@dataclass(frozen=True, eq=False)
class Site:
    """A report while it is written.

    Parameters
    ----------
    index : path of the summary
    brought : pictures that were linked into the folder
    """

    report: Report
    index: Path
    brought: set[Path] = field(default_factory=set)

    def write(
        self, path: Path, template: str, *, scripts: Sequence[str] = (TABLE,), **content: Any
    ) -> None:
        """Write one page: `template` with `content`, the common style and these scripts."""
        write_page(
            path,
            template,
            __package__ or "",
            scripts=scripts,
            report=self.report,
            index="" if path == self.index else url(self.index, path),
            **content,
        )

    def drawn(self, picture: Picture, page: Path, case: Case | None = None) -> Drawn:
        """`picture` for a page; one from outside of the folder is linked into it first."""
        path = picture.path
        method = picture.run.group.method if picture.run else ""
        of = [method, picture.sequence, picture.case_id, picture.dataset]
        known = ", ".join(part for part in of if part)
        text = f"{picture.caption} ({known})" if known else picture.caption
        if not path.is_file():
            return Drawn(picture, None)
        folder = self.index.parent
        if not path.resolve().is_relative_to(folder.resolve()):
            name = f"{case.stem}{path.suffix}" if case else path.name
            path = folder / PICTURES / safe(picture.dataset or "all") / name
            bring(picture.path, path)
            self.brought.add(path)
        vector = path.with_suffix(".svg")
        return Drawn(
            picture,
            shown_picture(path, page, text),
            url(vector, page) if vector.is_file() else "",
        )
