"""What typed records are made of: sections that know their values' sources.

The plans, the methods' settings and the records on disk are such sections. Each field of the plans
is declared with `paper(value, section)` or `ours(value, reason)`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from dal_auto.errors import PlansError, did_you_mean

#: Kind of a broken rule, as pydantic names it → the rule as a user would say it.
_RULES = {
    "int_type": "a whole number is wanted",
    "int_from_float": "a whole number is wanted",
    "float_type": "a number is wanted",
    "finite_number": "a finite number is wanted",
    "bool_type": "true or false is wanted",
    "string_type": "a text is wanted",
    "list_type": "a list is wanted",
    "tuple_type": "a list is wanted",
    "dict_type": "keys with values are wanted",
    "model_type": "keys with values are wanted",
    "none_required": "null is wanted",
    "missing": "it is missing",
    "literal_error": "wanted is {expected}",
    "greater_than": "it must be above {gt:g}",
    "greater_than_equal": "it must be {ge:g} or more",
    "less_than": "it must be below {lt:g}",
    "less_than_equal": "it must be {le:g} or less",
    "too_short": "it must have {min_length} values or more",
    "too_long": "it must have {max_length} values or fewer",
    "value_error": "{error}",
}


def _in_words(error: ErrorDetails) -> str:
    """What a value must be; in pydantic's own words where the kind of rule is not ours."""
    try:
        return _RULES[error["type"]].format(**error.get("ctx", {}))
    except KeyError:
        return error["msg"]


def paper(default: Any, where: str, **rules: Any) -> Any:
    """A default that the paper states, with its section or equation."""
    return Field(default, json_schema_extra={"source": f"paper: {where}"}, **rules)


def ours(default: Any, reason: str, **rules: Any) -> Any:
    """A default that is ours, with the reason."""
    return Field(default, json_schema_extra={"source": f"ours: {reason}"}, **rules)


class Section(BaseModel):
    """A part of the plans: immutable, no unknown keys, no silent conversions of type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def parse(cls, content: Mapping[str, Any], prefix: str = "") -> Self:
        """Validate JSON-like `content`; `prefix` is the dotted key of this section in the plans."""
        try:
            return cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join([prefix] * bool(prefix) + [str(part) for part in first["loc"]])
            rule = _in_words(first)
            if first["type"] == "extra_forbidden":
                known = _section_at(cls, first["loc"]).model_fields
                near = did_you_mean(str(first["loc"][-1]), known)
                rule = f"there is no such key{near and '.'}{near} (known keys: {', '.join(known)})"
            raise PlansError(key, first["input"], rule) from None

    def sources(self, prefix: str = "") -> dict[str, str]:
        """Dotted key → source of its default, for this section and those within."""
        found: dict[str, str] = {}
        for name, info in type(self).model_fields.items():
            key = f"{prefix}.{name}" if prefix else name
            value = getattr(self, name)
            if isinstance(value, Section):
                found |= value.sources(key)
            elif isinstance(info.json_schema_extra, dict) and "source" in info.json_schema_extra:
                found[key] = str(info.json_schema_extra["source"])
        return found


def _section_at(root: type[Section], location: Sequence[int | str]) -> type[Section]:
    """The section in which the last key of `location` stands: through fields and containers."""
    section: type[Section] = root
    kind: Any = root
    for part in location[:-1]:
        if isinstance(kind, type) and issubclass(kind, Section):
            kind = kind.model_fields[str(part)].annotation
        else:  # a dict or tuple of sections: `part` is a key or an index
            kind = next(item for item in reversed(get_args(kind)) if item is not Ellipsis)
        if isinstance(kind, type) and issubclass(kind, Section):
            section = kind
    return section
