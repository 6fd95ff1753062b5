"""A tiny simulated cohort, the four commands on it, and what each leaves where nothing goes wrong.

Most trials fork a process that has loaded the libraries, and call the command's entry point in it:
to load them takes longer than the work does here. Trials about worker processes, and those that
need surroundings of their own, start the installed command.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

from fault_parts.cohort import make_cohort

_FORK = multiprocessing.get_context("fork")
#: Longer than any command takes here, by far: what takes as long hangs.
LIMIT_S = 900
HUNG = "[it hung"

#: Names of files and folders that may differ between two runs, and why.
EXCLUDED = {
    r"logs": "the seconds that each step took",
    r"quality\.html": "the seconds that each step took",
    r"run_info\.json": "the time of the run, and what the machine was",
    r"manifest\.json": "seconds and memory of the report",
    r"tensorboard": "its files are named by time and process",
    r"\.[0-9a-f]{8}\..+": "half-written when killed; removed by a run that starts an hour later",
}

_CHAIN = (
    *("--set", "preprocessing.registration_iterations=20x0x0"),
    *("--set", "preprocessing.n4_spacing_mm=8.0", "--set", "preprocessing.n4_iterations=[2]"),
    *("--set", "preprocessing.target_shape=[96,96,96]"),  # a part of the brain: it is for speed
)
_TRAINING = (
    *("-d", "Healthy", "-c", "demo", "--device", "cpu"),
    *("--set", "configuration.input_shape=[24,24,24]"),
    *("--set", "training.steps=6", "--set", "training.checkpoint_every=2"),
    *("--set", "method.settings.warm_start_steps=2", "--set", "training.validations=2"),
)


@dataclass(frozen=True)
class Command:
    """One command of the walk.

    Parameters
    ----------
    name, arguments : of the program, and as a user types them; ``{home}`` stands for DAL_HOME
    writes : folder that it claims, below DAL_HOME
    has_workers : whether it starts worker processes
    """

    name: str
    arguments: tuple[str, ...]
    writes: str
    has_workers: bool = False

    def words(self, home: Path, workers: int) -> list[str]:
        """As typed; without `workers` the work is done in the command's own process."""
        number = ("-np", str(workers)) if workers else ("-np", "1", "--step-limit", "0")
        words = (*self.arguments, *(number if self.has_workers else ()))
        return [self.name, *(word.format(home=home) for word in words)]


COMMANDS = (
    Command(
        "dal_plan_and_preprocess",
        ("-d", "Healthy", "Lesions", *_CHAIN),
        "preprocessed",
        has_workers=True,
    ),
    Command("dal_train", _TRAINING, "results"),
    Command(
        "dal_predict",
        ("-i", "{home}/scans", "-o", "{home}/maps", "-m", "DAL", "--device", "cpu"),
        "maps",
        has_workers=True,
    ),
    Command("dal_evaluate", ("-d", "Lesions", "-m", "ALL", "--device", "cpu"), "results"),
)


@dataclass
class Ended:
    """How a command ended: exit code, what it printed, seconds of CPU."""

    code: int
    said: str
    seconds: float


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run of a command.

    Parameters
    ----------
    seconds : of CPU that it took, which others on the machine do not change
    first_s : from which of them on it wrote
    digests : file below DAL_HOME → SHA-256
    grown_bytes : by which DAL_HOME grew
    """

    seconds: float
    first_s: float
    digests: dict[str, str]
    grown_bytes: int


@dataclass
class Scene:
    """A DAL_HOME that is put back to what it was before a command, as often as wanted.

    It always lies at the same place, since some files name their folder.

    Parameters
    ----------
    commands : those that are hit
    wholes : of every command, where nothing happened
    """

    folder: Path
    commands: tuple[Command, ...] = COMMANDS
    wholes: dict[str, Whole] = field(default_factory=dict)
    _spawned: dict[str, float] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def before(self, command: Command) -> Path:
        """A copy of DAL_HOME as the command finds it."""
        return self.folder / "before" / command.name

    def make(self, say: Callable[[str], None]) -> None:
        """The whole walk, uninterrupted; copies of what each command finds are kept."""
        self.home.mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        make_cohort(self.home)
        for command in COMMANDS:
            shutil.copytree(self.home, self.before(command))
            size, first = _size(self.home), _FirstWrite(self.home / command.writes)
            ended = self.run(command, first)
            if ended.code != 0:
                raise SystemExit(f"{command.name} does not so much as run:\n{ended.said}")
            self.wholes[command.name] = Whole(
                ended.seconds, first.seconds, self.digests(), _size(self.home) - size
            )
            say(f"{command.name}: {ended.seconds:.1f} s, writes from {first.seconds:.1f} s on")

    def spawned_seconds(self, command: Command) -> float:
        """Seconds of CPU of the installed command; measured when they are first asked for."""
        if command.name not in self._spawned:
            self.restore(command)
            self._spawned[command.name] = self.spawn(command).seconds
            self.restore(command)
        return self._spawned[command.name]

    def restore(self, command: Command) -> None:
        """Empty DAL_HOME, which may be a mount, and fill it with what the command finds."""
        self.home.mkdir(exist_ok=True)
        for path in self.home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.before(command), self.home, dirs_exist_ok=True)

    def run(
        self,
        command: Command,
        meanwhile: Callable[[int, float], None] | None = None,
        before: Callable[[], None] | None = None,
    ) -> Ended:
        """Run a command to its end, in a fork of this process.

        Parameters
        ----------
        meanwhile : called again and again with the process's id and its seconds of CPU
        before : called in the new process, before the command
        """
        words = command.words(self.home, workers=0)
        process = _FORK.Process(target=_enter, args=(words, self._variables(), self.log, before))
        return self._watch(process.start, lambda: process.exitcode, lambda: process.pid, meanwhile)

    def spawn(
        self,
        command: Command,
        meanwhile: Callable[[int, float], None] | None = None,
        prefix: tuple[str, ...] = (),
        *,
        end_group: bool = True,
    ) -> Ended:
        """Run the installed command to its end, with two workers where it has workers.

        Parameters
        ----------
        meanwhile : as of `run`
        prefix : a program that starts the command
        end_group : kill what it left running
        """
        name, *words = command.words(self.home, workers=2)
        with self.log.open("wb") as said:
            process = subprocess.Popen(
                [*prefix, str(Path(sys.executable).with_name(name)), *words],
                env=self._variables(),
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            return self._watch(
                lambda: None, process.poll, lambda: process.pid, meanwhile, end_group=end_group
            )

    @property
    def log(self) -> Path:
        return self.folder / "said.txt"

    def _variables(self) -> dict[str, str]:
        mine = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
        return mine | {"DAL_HOME": str(self.home), "TMPDIR": str(self.folder / "tmp")}

    def _watch(
        self,
        start: Callable[[], None],
        code: Callable[[], int | None],
        pid: Callable[[], int],
        meanwhile: Callable[[int, float], None] | None,
        *,
        end_group: bool = True,
    ) -> Ended:
        begun, used, hung = time.monotonic(), 0.0, ""
        start()
        try:
            while code() is None:
                if time.monotonic() - begun > LIMIT_S:
                    hung = f"\n{HUNG}: ended after {LIMIT_S} s\n"
                    break
                used = cpu_seconds(pid())
                if meanwhile is not None:
                    meanwhile(pid(), used)
                time.sleep(0.01)
        finally:
            if end_group or code() is None:
                with suppress(ProcessLookupError):
                    os.killpg(pid(), signal.SIGKILL)
        while code() is None:
            time.sleep(0.01)
        text = self.log.read_text("utf-8", errors="replace")
        return Ended(code() or 0, text + hung, used)

    def digests(self) -> dict[str, str]:
        """File below DAL_HOME → SHA-256, of all that has to be the same after every run."""
        return {
            str(path.relative_to(self.home)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.home.rglob("*"))
            if path.is_file() and not is_excluded(path.relative_to(self.home))
        }

    def differences(self, command: Command) -> list[str]:
        """What is not as an uninterrupted run leaves it."""
        wanted, found = self.wholes[command.name].digests, self.digests()
        missing = [f"{name} is missing" for name in wanted.keys() - found.keys()]
        more = [f"{name} is left over" for name in found.keys() - wanted.keys()]
        other = [
            f"{name} has other bytes"
            for name in wanted.keys() & found.keys()
            if wanted[name] != found[name]
        ]
        return sorted([*missing, *more, *other])


def is_excluded(name: Path) -> bool:
    """Whether a file may differ between two runs."""
    return any(re.fullmatch(one, part) for one in EXCLUDED for part in name.parts)


def _enter(
    words: list[str], variables: dict[str, str], log: Path, before: Callable[[], None] | None
) -> None:
    """What the forked process does: it becomes the command."""
    os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None  # to be looked up anew
    logging.getLogger().handlers = []
    with log.open("w", encoding="utf-8", buffering=1) as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        if before is not None:
            before()
        (entry,) = entry_points(group="console_scripts", name=words[0])
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                code = entry.load()(words[1:])
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
                code = 1
    os._exit(code)


def children(pid: int) -> list[int]:
    """Child processes that live, of whichever thread."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """That a process and its children took so far; 0 where there is none."""
    return sum(map(_cpu_seconds, [pid, *children(pid)]))


def _cpu_seconds(pid: int) -> float:
    """The same without the children that live."""
    with suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, after_name[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


class _FirstWrite:
    """Notes the second of CPU at which a command first changes the folder that it writes to."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.seconds = folder, 0.0
        self._there = set(self._files())

    def _files(self) -> list[Path]:
        with suppress(FileNotFoundError):  # one that was there a moment ago
            return list(self._folder.rglob("*"))
        return []

    def __call__(self, pid: int, used: float) -> None:
        if not self.seconds and set(self._files()) != self._there:
            self.seconds = used


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount a disk of its own at `folder`; gives a function that mounts it anew with options."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", folder], check=True)
    try:
        yield lambda options: _remount(folder, options)
    finally:
        subprocess.run(["umount", folder], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
