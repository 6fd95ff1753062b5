"""What all commands share: strict parsing, logging, and errors as exit codes.

0: done; 1: failed, or some cases failed (they are listed, the others are done); 2: usage.
"""

from __future__ import annotations

import argparse
import difflib
import logging
import math
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from tqdm.contrib.logging import logging_redirect_tqdm

import dal_auto
from dal_auto.errors import DalError
from dal_auto.workers import Workforce, available_cores

logger = logging.getLogger(__name__)

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
        "-np", type=_positive, default=None, metavar="N", help="worker processes (default: cores)"
    )
    parser.add_argument(
        "--threads", type=_positive, default=1, metavar="N", help="threads per worker (default: 1)"
    )
    parser.add_argument(
        "--step-limit",
        type=_seconds,
        default=1800,
        metavar="SECONDS",
        help="a step of one case that takes longer is ended, and the case named as failed "
        "(default: 1800; 0: no limit)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster whose workers do the work instead of -np processes here, "
        "for example tcp://node1:8786",
    )


def workforce(options: argparse.Namespace) -> Workforce:
    """Who works, as the options of `add_workers` say."""
    return Workforce(
        options.np or available_cores(),
        options.threads,
        options.scheduler,
        options.step_limit or None,
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


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value


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
    seed = int(text)
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{text} is no seed: seeds are 0 or more")
    return (seed,)


def run_command(
    parser: argparse.ArgumentParser,
    command: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None,
) -> int:
    """Parse, set up logging, run; turn our own errors into one line and exit code 1."""
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s" if options.debug else "%(message)s",
        stream=sys.stderr,
        force=True,
    )
    for chatty in ("matplotlib", "PIL", "nibabel", "h5py"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
    with logging_redirect_tqdm():
        try:
            return command(options)
        except DalError as error:
            logger.error("%s: error: %s", parser.prog, error, exc_info=options.debug)
            return 1
        except KeyboardInterrupt:
            logger.error("interrupted; run the same command again to go on")
            return 130


def report_failures(failures: Sequence[str]) -> int:
    """List the failed cases once more at the end; the exit code."""
    if failures:
        logger.error("%d failed:", len(failures))
        for failure in failures:
            logger.error("  %s", failure)
    return 1 if failures else 0
