"""Every page has one base, opens without a network, and lets in nothing but its own code."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from pathlib import Path

import pytest

import dal_auto.pages.page as pages

ROOT = Path(__file__).parents[2]
PACKAGES = ("dal_auto.evaluation.report", "dal_auto.inference", "dal_auto.preprocessing.quality")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a template of its own."""
    folder = tmp_path / "made_up_pages"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "own.html").write_text(
        '{% extends "base.html" %}{% block title %}{{ name }}{% endblock %}'
        "{% block main %}<p>{{ name }}</p>{% endblock %}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_text_is_escaped_and_the_policy_holds_for_this_style_and_script(package, tmp_path):
    (package / "extra.css").write_text("p { margin: 7px; }")
    path = tmp_path / "page.html"
    scripts = (pages.TABLE, pages.GALLERY)
    pages.write_page(path, "own.html", "made_up_pages", scripts=scripts, name="<b>&")
    text = path.read_text(encoding="utf-8")
    assert "<p>&lt;b&gt;&amp;</p>" in text and "<b>" not in text
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert "margin: 7px" in style
    for code in (style, script):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.search(r"url\(|@import|https?://|fetch\(|import\(", style + script)


def test_what_a_template_asks_for_and_does_not_get_is_an_error(package, tmp_path):
    with pytest.raises(Exception, match="name"):
        pages.write_page(tmp_path / "page.html", "own.html", "made_up_pages")
    assert not (tmp_path / "page.html").exists()


def test_every_page_of_the_package_stands_on_the_base_and_is_shipped():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package in PACKAGES:
        assert "*.html" in shipped["package-data"][package]
        templates = list((ROOT / package.replace(".", "/")).glob("*.html"))
        assert templates
        for template in templates:
            text = template.read_text()
            assert "<html" not in text and "<style" not in text and "<script>" not in text
    assert shipped["package-data"]["dal_auto.pages"] == ["*.html", "*.css", "*.js"]
