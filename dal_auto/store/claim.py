"""A folder is claimed before it is written to: it can be written to, and by one run at a time."""

from __future__ import annotations

import logging
import os
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dal_auto.case import RawCase
from dal_auto.errors import InputError, UsageError, legible
from dal_auto.schema import is_file_name
from dal_auto.store.atomic import mount_point, remove_leftovers, replacing

logger = logging.getLogger(__name__)

#: Disks allow names of 255 bytes; ours add "_FLAIR_pseudo-healthy_space-atlas.nii.gz" and the like,
#: and ten bytes while a file is written.
_MOST_BYTES = 190
_OF_NO_NAME = ("Cc", "Zl", "Zp")  # Unicode's categories: control characters, ends of lines
#: The system frees the lock of a process that was killed; the empty file stays until the next run.
LOCK = ".lock"


@contextmanager
def claimed(folder: Path, remedy: str) -> Iterator[None]:
    """Within, no other run writes to `folder`, which is made if it is not there. If nothing was
    written, it goes again.

    Parameters
    ----------
    remedy : what the user can do where the folder cannot be used, as a sentence

    Raises
    ------
    InputError
        if the folder cannot be written to.
    UsageError
        if another run has claimed it.
    """
    made = not folder.exists()
    require_writable(folder, remedy)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{folder}: another run is writing to this folder. Wait until it has ended. {remedy}"
        ) from None
    except (NotImplementedError, OSError) as error:  # some network disks know no locks
        logger.warning("%s: it cannot be locked (%s); start no second run on it", folder, error)
    try:
        remove_leftovers(folder)
        yield
    finally:
        if lock.is_locked:
            # Before it is released: filelock lets nobody have a lock whose file is gone.
            (folder / LOCK).unlink(missing_ok=True)
            lock.release()
        if made:
            with suppress(OSError):  # it holds what was written
                folder.rmdir()


def require_writable(folder: Path, remedy: str) -> None:
    """Make `folder` if it is not there, and see that a file can be written into it.

    Raises
    ------
    InputError
        if that is not so.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / ".writable") as temporary:
            temporary.touch()
        (folder / ".writable").unlink(missing_ok=True)  # another run's may have been the same file
    except OSError as error:
        finding = f"the output folder cannot be written ({os.strerror(error.errno or 0)})"
        raise InputError(folder, finding, remedy) from error


def require_good_name(case: RawCase) -> None:
    """See that files and tables can be named after a case, and after its images.

    Raises
    ------
    InputError
        if its name would make theirs longer than disks allow, holds the end of a line or the like,
        or if a name is not stored in UTF-8.
    """
    first = next(iter(case.sequences.values()))
    for text in (case.case_id, *(path.name for path in case.sequences.values())):
        if any("\ud800" <= sign <= "\udfff" for sign in text):  # so Python keeps other bytes
            raise InputError(
                first, f"the name '{legible(text)}' is not stored in UTF-8", "Rename the file."
            )
    if any(unicodedata.category(sign) in _OF_NO_NAME for sign in case.case_id):
        raise InputError(
            first,
            f"the case's name, '{legible(case.case_id)}', holds signs that end a line or the like",
            "Give it a plain name.",
        )
    if not is_file_name(case.case_id):
        raise InputError(
            first,
            f"the case's name, '{legible(case.case_id)}', names another folder or a hidden file",
            "Give it a plain name, without / and not beginning with a dot.",
        )
    size = len(case.case_id.encode())
    if size > _MOST_BYTES:
        raise InputError(
            first,
            f"the case's name has {size} bytes, and its files could not be written: a disk allows "
            f"255 bytes a name, so that {_MOST_BYTES} are left",
            "Give it a shorter name.",
        )


def require_room(folder: Path, needed_bytes: float, what: str) -> None:
    """See that the disk of `folder` has room for what is certainly going to be written.

    Parameters
    ----------
    needed_bytes : the least that it can take
    what : is going to be written, in words

    Raises
    ------
    UsageError
        if there is less room.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UsageError(
            f"{folder}: {what} take at least {needed_bytes / 1e9:.1f} GB, and the disk (mounted at "
            f"{mount_point(folder)}) has {free / 1e9:.1f} GB free. Make room, then run the same "
            "command again; nothing was changed."
        )
