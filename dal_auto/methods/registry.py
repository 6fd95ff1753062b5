"""Which methods there are: entry points of the group ``dal_auto.methods``, of any package."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from dal_auto.errors import UsageError
from dal_auto.methods.method import Method


@cache
def _known() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group="dal_auto.methods")}


def method_names() -> list[str]:
    """Names as users type them; DAL first."""
    return sorted(_known(), key=lambda name: (name != "DAL", name.lower()))


def find_method(name: str) -> type[Method]:
    """The class of a method, its name in any case.

    Raises
    ------
    UsageError
        if it is unknown; the message lists the known ones.
    """
    for known, point in _known().items():
        if known.lower() == name.lower():
            return point.load()
    raise UsageError(f"unknown method {name!r}; known: {', '.join(method_names())}")
