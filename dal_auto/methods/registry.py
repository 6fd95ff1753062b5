"""Which methods there are: entry points of the group ``dal_auto.methods``, of any package."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from dal_auto.errors import UsageError
from dal_auto.methods.method import Method

_GROUP = "dal_auto.methods"


@cache
def _known() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=_GROUP))


def method_names() -> list[str]:
    """Names as users type them; DAL first."""
    names = {point.name for point in _known()}
    return sorted(names, key=lambda name: (name != "DAL", name.lower()))


def find_method(name: str) -> type[Method]:
    """The class of a method, its name in any case.

    Raises
    ------
    UsageError
        if it is unknown (the message lists the known ones), if several packages bring it, or if
        its package does not offer a method.
    """
    found = [point for point in _known() if point.name.lower() == name.lower()]
    if not found:
        raise UsageError(f"unknown method {name!r}; known: {', '.join(method_names())}")
    if len(found) > 1:
        packages = ", ".join(sorted(map(_package, found)))
        raise UsageError(f"the method {found[0].name} comes from several packages: {packages}")
    return _loaded(found[0])


def _package(point: EntryPoint) -> str:
    return "?" if point.dist is None else point.dist.name


def _loaded(point: EntryPoint) -> type[Method]:
    where = f"the method {point.name} of the package {_package(point)} ({point.value})"
    try:
        method = point.load()
    except Exception as error:  # whatever goes wrong in another's module
        raise UsageError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UsageError(f"{where} is no subclass of dal_auto.methods.method.Method")
    if method.name != point.name:
        raise UsageError(f"{where} calls itself {method.name}: both names must be one")
    return method
