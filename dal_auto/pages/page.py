"""How a page is made: a template on the common base, the common style, and a strict policy.

A page opens from disk without a network. Style and scripts are inside it, pictures lie beside it.
It holds no date: equal content gives equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dal_auto.store import atomic

TABLE, GALLERY = "table.js", "gallery.js"
VIEWER = ("components.js", "viewer.js")


def write_page(
    path: Path, template: str, package: str, *, scripts: Sequence[str] = (TABLE,), **content: Any
) -> None:
    """Write a page to `path`, whole or not at all; all text in `content` is escaped.

    Parameters
    ----------
    template : name of a template of `package` that extends "base.html"
    package : where the template lies, and "extra.css", where it needs rules of its own
    scripts : of this folder, in their order
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(__package__ or "", ""), PackageLoader(package, "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    extra = resources.files(package).joinpath("extra.css")
    style = _text("style.css") + (extra.read_text(encoding="utf-8") if extra.is_file() else "")
    script = "".join(map(_text, scripts))
    # These three are files of this package; nothing of a user's is in them.
    ours = {"style": style, "script": script, "policy": _policy(style, script)}
    unescaped = {name: Markup(text) for name, text in ours.items()}
    page = environment.get_template(template).render(**unescaped, **content)
    atomic.write_text(path, page)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded but pictures beside the page; only this style and this script count."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src 'self' file: data:; style-src 'sha256-{style_hash}'; "
        f"script-src 'sha256-{script_hash}'; base-uri 'none'; form-action 'none'"
    )
