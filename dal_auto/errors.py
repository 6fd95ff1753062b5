"""The errors that users meet.

DalError
├── InputError          a file or folder is not what it should be: finding, place, remedy
│   └── MissingInput    what the command line names is not there
├── PlansError          a value in the plans breaks a rule
├── UsageError          the commands were asked for something that is not there
├── MissingDependency   an optional tool is not installed
├── DiskFull            a file cannot be written: every further one would fail too, work stops
└── CaseFailed          one case could not be processed; the others go on
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class DalError(Exception):
    """Root of all errors that dal_auto raises on purpose; printed without a traceback.

    Parameters
    ----------
    step : the step of a case's work at which it was raised, where that is known
    """

    step: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers hand errors back by pickling them; the default would call the class with the one
        # message, and forget what was noted since.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[DalError], args: tuple[Any, ...], state: dict[str, Any]) -> DalError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class InputError(DalError):
    """A file or folder is not what it should be.

    Parameters
    ----------
    file : the file or folder concerned
    finding : what was found there
    remedy : what the user can do about it
    """

    def __init__(self, file: Path | str, finding: str, remedy: str) -> None:
        self.file, self.finding, self.remedy = Path(file), finding, remedy
        super().__init__(f"{legible(str(file))}: {finding}. {remedy}")


class MissingInput(InputError):
    """A file or folder that the command line names is not there."""


class PlansError(DalError):
    """A value in the plans breaks a rule."""

    def __init__(self, key: str, value: object, rule: str) -> None:
        self.key, self.value, self.rule = key, value, rule
        super().__init__(f"plans: '{key}' is {value!r} ({type(value).__name__}); {rule}")


class UsageError(DalError):
    """The commands were asked for something that is not there, such as an unknown dataset."""


class MissingDependency(DalError):
    """An optional tool is not installed."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.remedy = name, remedy
        super().__init__(f"{name} is not available. {remedy}")


class DiskFull(DalError):
    """There is no room for a file.

    Parameters
    ----------
    file : the file that could not be written
    disk : where the disk it should lie on is mounted
    """

    def __init__(self, file: Path | str, disk: Path | str) -> None:
        self.file, self.disk = Path(file), Path(disk)
        super().__init__(
            f"{file} cannot be written: the disk is full (mounted at {disk}). Make room and run "
            "the same command again: what is done is kept."
        )


class CaseFailed(DalError):
    """One case could not be processed.

    Parameters
    ----------
    case_id : the case
    step : the step of the work at which it failed
    cause : what went wrong, in words
    """

    def __init__(self, case_id: str, step: str, cause: str) -> None:
        self.case_id, self.step, self.cause = case_id, step, cause
        super().__init__(f"case {case_id} failed at {step}: {cause}")


#: What has to be asked otherwise: nothing was done.
WRONG_USAGE = (UsageError, PlansError, MissingInput)


def legible(text: str) -> str:
    """Text that can be shown and stored whatever a file is called: what cannot be printed, such as
    the end of a line or a byte of another encoding than UTF-8, is spelled out.

    Examples
    --------
    >>> legible("M\\udcfcller\\n")
    'M\\\\udcfcller\\\\n'
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " Did you mean X?" of the nearest known word, in any case of letters; empty if none is near.

    Examples
    --------
    >>> did_you_mean("SimHealty", ["IXI", "SimHealthy"])
    ' Did you mean SimHealthy?'
    """
    names = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), names, n=1)
    return f" Did you mean {names[near[0]]}?" if near else ""
