"""What all commands share: strict parsing, logging, and errors as exit codes.

0: done; 1: failed, or some cases failed (they are listed, the others are done); 2: wrong usage,
nothing was done; 130, 143: ended by Ctrl-C or SIGTERM, and may be run again to go on.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import math
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import NoReturn

from tqdm.contrib.logging import logging_redirect_tqdm

import dal_auto
from dal_auto.errors import WRONG_USAGE, DalError
from dal_auto.store.atomic import disk_trouble
from dal_auto.workers import Workforce, available_cores

logger = logging.getLogger(__name__)

_STEP_LIMIT_S = 1800
DISCLAIMER = "A research tool, not for diagnosis."


class StrictParser(argparse.ArgumentParser):
    """An unknown option is an error that names the nearest known one."""

    def __init__(self, *, description: str, example: str, **settings: object) -> None:
        super().__init__(
            description=f"{description} {DISCLAIMER}",
            epilog=f"example: {example}",
            allow_abbrev=False,
            **settings,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        unknown = re.search(r"unrecognized arguments: (--?[\w-]+)", message)
        if unknown:
            known = sorted(self._known_options())
            near = difflib.get_close_matches(unknown[1], known, n=1, cutoff=0.3)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            message = f"unknown option {unknown[1]}; {hint}"
        super().error(message)

    def _known_options(self) -> set[str]:
        """Options of this parser and of its subcommands."""
        known = {option for action in self._actions for option in action.option_strings}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for subparser in action.choices.values():
                    known |= {o for a in subparser._actions for o in a.option_strings}
        return known


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options that mean the same in every command."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    parser.add_argument("--version", action="version", version=f"dal_auto {dal_auto.__version__}")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Who works, with how many threads, and how long a step may take."""
    parser.add_argument(
        "-np",
        type=whole_number(1),
        default=None,
        metavar="N",
        help="worker processes (default: cores)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="threads per worker (default: 1)",
    )
    parser.add_argument(
        "--step-limit",
        type=number("a time in seconds", zero=True),
        default=None,
        metavar="SECONDS",
        help="a step of one case that takes longer is ended, and the case named as failed "
        f"(default: {_STEP_LIMIT_S}; 0: no limit)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster whose workers do the work instead of -np processes here, "
        "for example tcp://node1:8786",
    )


def workforce(options: argparse.Namespace, *, one_here: bool = False) -> Workforce:
    """Who works, as the options of `add_workers` say.

    Parameters
    ----------
    one_here : see `Workforce`; a limit that was asked for is kept in any case
    """
    asked = options.step_limit is not None
    limit_s = options.step_limit if asked else _STEP_LIMIT_S
    return Workforce(
        options.np or available_cores(),
        options.threads,
        options.scheduler,
        limit_s or None,
        one_here and not asked,
    )


def add_planning(parser: argparse.ArgumentParser) -> None:
    """Options of the commands that make plans."""
    parser.add_argument(
        "--plans",
        type=Path,
        metavar="FILE",
        help="plans to take over: a plans.json, or parts of it",
    )
    parser.add_argument(
        "--device-memory",
        type=number("a memory in GB"),
        metavar="GB",
        help="plan for a CUDA GPU with this memory, instead of this machine's device",
    )
    parser.add_argument(
        "--plan-only",
        action="store_true",
        help="show the plans for the cases that are there, and stop",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="show every value of the plans, and its source"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cuda, cuda:1, mps or cpu (default: the best there is)")


def add_seeds(parser: argparse.ArgumentParser, default: str | None) -> None:
    """``--seeds 3`` is three seeds, ``--seeds 0,1,2`` the same by name, ``--seed 2`` only that."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--seeds",
        type=_seeds,
        default=None if default is None else _seeds(default),
        metavar="N|0,1,2",
        help="how many seeds, or which (3 is 0,1,2); default: "
        f"{'all' if default is None else default}",
    )
    group.add_argument("--seed", type=_one_seed, dest="seeds", metavar="N", help="the one seed N")


def whole_number(least: int) -> Callable[[str], int]:
    """The type of an option: a whole number of at least `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return value

    return parse


def number(what: str, *, zero: bool = False) -> Callable[[str], float]:
    """The type of an option: a finite number above 0 (with `zero`: or 0); `what` it says."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (0 < value < math.inf or (zero and value == 0)):
            bound = "0 or above" if zero else "above 0"
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}: a number {bound}")
        return value

    return parse


def _seeds(text: str) -> tuple[int, ...]:
    """A list with a comma, else a number of seeds; 0, which counts none, is the seed 0."""
    try:
        numbers = tuple(int(part) for part in text.rstrip(",").split(","))
    except ValueError:
        numbers = (-1,)
    if min(numbers) < 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a number of seeds like 3 nor a list like 0,1,2"
        )
    return numbers if "," in text else tuple(range(max(1, numbers[0])))


def _one_seed(text: str) -> tuple[int, ...]:
    return (whole_number(0)(text),)


def run_command(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Parse, set up logging, run; turn our own errors into one line and an exit code."""
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s" if options.debug else "%(message)s",
        stream=sys.stderr,
        force=True,
    )
    for chatty in ("matplotlib", "PIL", "nibabel", "h5py", "numexpr", "highdicom", "pydicom"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # We say what is wrong with a header, and in which file; nibabel would print the first again.
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    with logging_redirect_tqdm(), _terminated_in_order():
        try:
            return command(options)
        except DalError as error:
            logger.error("%s: error: %s", parser.prog, error, exc_info=options.debug)
            return 2 if isinstance(error, WRONG_USAGE) else 1
        except OSError as error:
            if (trouble := disk_trouble(error)) is None:
                raise
            logger.error("%s: error: %s", parser.prog, trouble, exc_info=options.debug)
            return 1
        except _Terminated:
            logger.error("ended by a signal (SIGTERM); run the same command again to go on")
            return 128 + signal.SIGTERM
        except KeyboardInterrupt:
            logger.error("interrupted; run the same command again to go on")
            return 128 + signal.SIGINT


class _Terminated(KeyboardInterrupt):
    """SIGTERM: what is under way ends as after Ctrl-C, and removes its temporary files."""


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Within, SIGTERM raises `_Terminated`, where it would end the process on the spot."""

    def end(*_: object) -> None:
        raise _Terminated

    if current_thread() is not main_thread():  # the others may not set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def report_failures(failures: Sequence[str]) -> int:
    """List the failed cases once more at the end; the exit code."""
    if failures:
        logger.error("%d failed:", len(failures))
        for failure in failures:
            logger.error("  %s", failure)
    return 1 if failures else 0
