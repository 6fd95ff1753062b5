"""A picture beside a page: its address, its size, or that it is not there."""

from __future__ import annotations

from PIL import Image

from dal_auto.pages.pictures import ShownPicture, shown_picture, url


def test_a_picture_has_its_size_and_an_address_that_urls_take(tmp_path):
    path = tmp_path / "pictures" / "é #1 %.png"
    path.parent.mkdir()
    Image.new("L", (31, 17)).save(path)
    address = "pictures/%C3%A9%20%231%20%25.png"
    found = shown_picture(path, tmp_path / "index.html", "what it shows")
    assert found == ShownPicture(address, 31, 17, "what it shows")
    assert url(path, tmp_path / "cases" / "a.html") == f"../{address}"


def test_what_is_missing_or_damaged_is_none(tmp_path):
    page = tmp_path / "index.html"
    assert shown_picture(tmp_path / "none.png", page, "") is None
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert shown_picture(tmp_path / "broken.png", page, "") is None
