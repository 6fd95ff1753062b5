"""What is kept is read back as it was, or is not valid."""

from __future__ import annotations

import json
import math

import pytest

from dal_auto.store.kept import REVISION, Kept, Origin


class Numbers(Kept):
    values: list[float]
    origin: Origin


def test_numbers_come_back_to_the_bit_with_nan_and_infinity(tmp_path):
    values = [0.1 + 0.2, 1e-300, math.pi * 1e17, -0.0, math.inf, -math.inf, math.nan]
    kept = Numbers(values=values, origin=Origin(model="m", case="c"))
    kept.write(tmp_path / "kept.json")
    found = Numbers.read(tmp_path / "kept.json")
    assert [value.hex() for value in found.values] == [value.hex() for value in values]
    assert found.origin == kept.origin and found.origin.revision == REVISION

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads((tmp_path / "kept.json").read_text(), parse_constant=refuse)


@pytest.mark.parametrize("spoil", ["missing", "more", "cut", "no number"])
def test_what_has_other_fields_is_not_valid(tmp_path, spoil):
    path = tmp_path / "kept.json"
    Numbers(values=[1.0], origin=Origin(model="m", case="c")).write(path)
    content = json.loads(path.read_text())
    match spoil:
        case "missing":
            del content["origin"]["case"]
        case "more":
            content["format"] = "dal_auto score 3"
        case "no number":
            content["values"] = ["one"]
    text = json.dumps(content)
    path.write_text(text[:-5] if spoil == "cut" else text)
    with pytest.raises(ValueError):
        Numbers.read(path)


def test_another_revision_is_another_origin():
    origin = Origin(model="m", case="c")
    assert origin != origin.model_copy(update={"revision": REVISION - 1})
