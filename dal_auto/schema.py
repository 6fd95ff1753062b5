"""What typed records are made of: sections that know their values' sources.

The plans, the methods' settings and the records on disk are such sections. Each field of the plans
is declared with `paper(value, section)` or `ours(value, reason)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self, get_args

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)
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


def is_file_name(text: str) -> bool:
    """Whether it names a file of a folder that is not hidden, and none elsewhere."""
    return bool(text) and not text.startswith(".") and not any(sign in text for sign in "/\\\0")


def _file_name(text: str) -> str:
    if not is_file_name(text):
        raise ValueError("a name for files is wanted, without / and not beginning with a dot")
    return text


#: What names files and folders of ours: it leads nowhere else, whoever wrote it.
FileName = Annotated[str, AfterValidator(_file_name)]


def _array(values: Any) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except TypeError as error:
        raise ValueError("a list of numbers is wanted") from error


def _numbers(array: npt.NDArray[np.floating]) -> list[Any]:
    numbers: list[Any] = np.asarray(array, np.float64).tolist()
    return numbers


#: An array of float64; in JSON a list, or a list of lists.
Array = Annotated[
    npt.NDArray[np.floating], PlainValidator(_array), PlainSerializer(_numbers, list[Any])
]


class Section(BaseModel):
    """A part of the plans: immutable, no unknown keys, no silent conversions of type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def parse(cls, content: Mapping[str, Any], prefix: str = "") -> Self:
        """Validate JSON-like `content`, each value and all together; `prefix` is the dotted key of
        this section in the plans."""
        try:
            section = cls.model_validate_json(json.dumps(content))
        except ValidationError as error:
            key, value, rule = first_broken_rule(cls, error)
            whole = ".".join(filter(None, (prefix, key)))
            raise PlansError(whole, value, rule) from None
        for key, rule in section.conflicts():
            raise PlansError(f"{prefix}.{key}" if prefix else key, getattr(section, key), rule)
        return section

    def conflicts(self) -> Iterator[tuple[str, str]]:
        """(key, rule) of values that contradict others; most sections have none."""
        return iter(())

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


def first_broken_rule(section: type[Section], error: ValidationError) -> tuple[str, Any, str]:
    """The dotted key of the first value that `section` refused, the value, and what it must be."""
    first = error.errors()[0]
    location, rule = first["loc"], _in_words(first)
    if first["type"] == "extra_forbidden":
        known = _section_at(section, location).model_fields
        near = did_you_mean(str(location[-1]), known)
        rule = f"there is no such key{near and '.'}{near} (known keys: {', '.join(known)})"
    return ".".join(map(str, location)), first["input"], rule


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
