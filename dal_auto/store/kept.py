"""What is kept on disk, and when it may be used again: one rule for all that is made.

A standard case, a prediction, the scores of an image and the result of a run are each a validated
model in JSON, written last and whole: without it nothing is there. It carries a hash of all that it
follows from (`made_from`). It may be used again where it is valid, that hash is the same, and the
files that it names are there. Anything else is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, ValidationError

from dal_auto.errors import InputError
from dal_auto.schema import Section, first_broken_rule
from dal_auto.store.atomic import write_text

#: Raised whenever anything that is kept would be made differently; what is older is made again.
REVISION = 7


class Kept(Section):
    """Values that are kept as JSON. What lacks a field, or has another one, is not valid.

    JSON has neither NaN nor infinity: they are written as strings.
    """

    model_config = ConfigDict(strict=False, ser_json_inf_nan="strings")

    def write(self, path: Path) -> None:
        """Write the model to `path`, whole or not at all; equal models give equal bytes."""
        write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        OSError
            if the file cannot be read.
        ValueError
            if it is not valid; its text names the first key that is not as it should be.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            key, _, rule = first_broken_rule(cls, error)
            raise ValueError(f"{key}: {rule}" if key else rule) from None


def made_from(content: Mapping[str, Any], files: Mapping[str, Path | None] | None = None) -> str:
    """Hash of all that something follows from, the revision of this code included.

    Parameters
    ----------
    content : what JSON can hold; the order of keys does not count
    files : name → file whose bytes count, wherever it lies; None is a file that there is not

    Raises
    ------
    InputError
        if a file cannot be read.
    """
    digests = {name: file and sha256_of(file) for name, file in (files or {}).items()}
    whole = {"revision": REVISION, "files": digests, "content": content}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    InputError
        if it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        finding = f"it cannot be read ({error.strerror})"
        raise InputError(file, finding, "Check the path and the link.") from error


def are_there(folder: Path, digests: Mapping[str, str]) -> bool:
    """Whether `folder` holds every file, with the SHA-256 that is said of it.

    Parameters
    ----------
    digests : name below `folder` → SHA-256
    """
    try:
        return all(sha256_of(folder / name) == digest for name, digest in digests.items())
    except InputError:
        return False


class Origin(Kept):
    """What scores and volumes of a case follow from, in two parts, since reports ask for one alone.

    Parameters
    ----------
    model : hash of the checkpoint
    case : hash of the standard case
    revision : of the code that made it
    """

    model: str
    case: str
    revision: int = REVISION
