"""How a page is made: template, styles, scripts, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dal_auto.evaluation.report.cases import Case
from dal_auto.evaluation.report.content import Picture, Report
from dal_auto.evaluation.report.files import PICTURES, bring, safe, size_of_png, url
from dal_auto.store import atomic


@dataclass(frozen=True)
class Drawn:
    """A picture as a page shows it; without a file (`src` empty) it is named as missing."""

    src: str
    width: int
    height: int
    alternative: str
    picture: Picture
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
    environment: Environment
    brought: set[Path] = field(default_factory=set)

    def write(self, path: Path, template: str, *, script: str = "table.js", **content: Any) -> None:
        """Write one page: `template` with `content`, the common style and one script."""
        style, code = _text("style.css"), _text(script)
        page = self.environment.get_template(template).render(
            report=self.report,
            style=Markup(style),
            script=Markup(code),
            policy=Markup(_policy(style, code)),
            index="" if path == self.index else url(self.index, path),
            **content,
        )
        atomic.write_text(path, page)

    def drawn(self, picture: Picture, page: Path, case: Case | None = None) -> Drawn:
        """`picture` for a page; one from outside of the folder is linked into it first."""
        path = picture.path
        run = picture.run.group.method if picture.run else ""
        of = [run, picture.sequence, picture.case_id, picture.dataset]
        text = f"{picture.caption} ({', '.join(part for part in of if part)})"
        if not path.is_file():
            return Drawn("", 0, 0, text, picture)
        folder = self.index.parent
        if not path.resolve().is_relative_to(folder.resolve()):
            name = f"{case.stem}{path.suffix}" if case else path.name
            path = folder / PICTURES / safe(picture.dataset or "all") / name
            bring(picture.path, path)
            self.brought.add(path)
        vector = path.with_suffix(".svg")
        return Drawn(
            url(path, page),
            *size_of_png(path),
            text,
            picture,
            url(vector, page) if vector.is_file() else "",
        )


def open_site(report: Report, index: Path) -> Site:
    """A site without a page yet."""
    environment = Environment(
        loader=PackageLoader(__package__ or "", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return Site(report, index, environment)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded but pictures beside the page; only this style and this script count."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (style, script)
    )
    return (
        f"default-src 'none'; img-src 'self' file: data:; style-src 'sha256-{style_hash}'; "
        f"script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'"
    )
