"""Run a function in a child of this process, and what it used: imports are paid for once."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

from home import Used


def in_a_child(function: Callable[[], object]) -> Used:
    """Call it in a fork.

    Raises
    ------
    SystemExit
        if it raises, or returns a number that is not 0.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(bool(function()))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("a method failed; the rest is above. Run again to go on.")
    return Used((usage.ru_utime + usage.ru_stime) / 60, usage.ru_maxrss / 1000)
