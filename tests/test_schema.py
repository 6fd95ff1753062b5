"""Sections: what is refused, and in which words."""

from __future__ import annotations

from typing import Literal

import pytest

from dal_auto.errors import PlansError
from dal_auto.schema import Section, ours


class Inner(Section):
    depth: int = ours(3, "a test", ge=1)


class Outer(Section):
    width: float = ours(1.0, "a test", gt=0)
    kind: Literal["round", "square"] = ours("round", "a test")
    sizes: tuple[int, int] = ours((1, 2), "a test")
    inner: Inner = Inner()
    on: bool = ours(True, "a test")


@pytest.mark.parametrize(
    ("content", "key", "rule"),
    [
        ({"width": "wide"}, "width", "a number is wanted"),
        ({"width": 0}, "width", "it must be above 0"),
        ({"kind": "oval"}, "kind", "wanted is 'round' or 'square'"),
        ({"sizes": 3}, "sizes", "a list is wanted"),
        ({"sizes": [1, 2, 3]}, "sizes", "it must have 2 values or fewer"),
        ({"inner": {"depth": 1.5}}, "inner.depth", "a whole number is wanted"),
        ({"inner": {"depth": 0}}, "inner.depth", "it must be 1 or more"),
        ({"inner": 3}, "inner", "keys with values are wanted"),
        ({"on": "yes"}, "on", "true or false is wanted"),
        ({"widht": 2}, "widht", "there is no such key. Did you mean width? (known keys: width, "),
        ({"inner": {"x": 2}}, "inner.x", "there is no such key (known keys: depth)"),
    ],
)
def test_a_broken_rule_is_told_as_a_user_would_say_it(
    content: dict[str, object], key: str, rule: str
) -> None:
    with pytest.raises(PlansError) as caught:
        Outer.parse(content)
    assert caught.value.key == key and caught.value.rule.startswith(rule)
