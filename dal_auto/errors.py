"""The errors that users meet.

DalError
├── InputError          a file or folder is not what it should be: finding, place, remedy
├── PlansError          a value in the plans breaks a rule
├── UsageError          the commands were asked for something that is not there
├── MissingDependency   an optional tool is not installed
└── CaseFailed          one case could not be processed; the others go on
"""

from __future__ import annotations

from pathlib import Path


class DalError(Exception):
    """Root of all errors that dal_auto raises on purpose; printed without a traceback."""


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
        super().__init__(f"{file}: {finding}. {remedy}")

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        # Workers hand errors back by pickling them; the default would rebuild from the one message.
        return type(self), (self.file, self.finding, self.remedy)


class PlansError(DalError):
    """A value in the plans breaks a rule."""

    def __init__(self, key: str, value: object, rule: str) -> None:
        self.key, self.value, self.rule = key, value, rule
        super().__init__(f"plans: '{key}' is {value!r} ({type(value).__name__}); {rule}")

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.key, self.value, self.rule)


class UsageError(DalError):
    """The commands were asked for something that is not there, such as an unknown dataset."""


class MissingDependency(DalError):
    """An optional tool is not installed."""

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.remedy = name, remedy
        super().__init__(f"{name} is not available. {remedy}")

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.name, self.remedy)


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

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.case_id, self.step, self.cause)


def case_line(case_id: str, error: DalError) -> str:
    """One line for the list of failed cases; every line names its case, and only once."""
    return str(error) if isinstance(error, CaseFailed) else f"case {case_id}: {error}"
