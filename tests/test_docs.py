"""The documentation: no page is lost, no link leads nowhere, and the site is whole offline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
WITH_LINKS = [*PAGES, *ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


def text(path: Path) -> str:
    return path.read_text("utf-8")


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub and mkdocs give headings."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[ ]+", "-", one) for one in plain}


def test_every_page_is_in_the_site_and_on_the_overview():
    site, overview = text(ROOT / "mkdocs.yml"), text(ROOT / "docs" / "README.md")
    for page in PAGES:
        assert f": {page.name}\n" in site
        assert page.name == "README.md" or f"]({page.name})" in overview


@pytest.mark.parametrize("page", WITH_LINKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in _LINK.findall(_CODE.sub("", text(page))):
        file, _, anchor = link.partition("#")
        if link.startswith(("https://", "mailto:")):
            continue
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_site_fetches_no_fonts_and_has_no_search_of_its_own():
    site = text(ROOT / "mkdocs.yml")
    assert "font: false" in site and "plugins: []" in site and "use_directory_urls: false" in site
    assert not re.search(r"^extra_(css|javascript)", site, re.M)
    for page in PAGES:  # mkdocs-material would load mermaid from another server
        assert "```mermaid" not in text(page)
