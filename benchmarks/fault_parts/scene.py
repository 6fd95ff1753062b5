"""A tiny simulated cohort, the four commands on it, and what each leaves where nothing goes wrong.

Trials fork a process that has loaded the libraries, and call the command's entry point in it: to
load them takes longer than the work does here. The commands' own workers load them themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import dal_auto
from fault_parts.cohort import make_cohort

_PR_SET_CHILD_SUBREAPER = 36
_FORK = multiprocessing.get_context("fork")
#: Longer than any command takes here, by far: what takes as long hangs.
LIMIT_S = 900
HUNG = "[it hung"

#: Names of files and folders that may differ between two runs, and why.
EXCLUDED = {
    r"logs": "the seconds that each step took",
    r"quality\.html": "the seconds that each step took",
    r"run_info\.json": "the time of the run, and what the machine was",
    r"tensorboard": "its files are named by time and process",
    r"\.[0-9a-f]{8}\..+|\.tmp[A-Za-z0-9]{6}": "half-written when killed; removed by a run that "
    "starts an hour later",
}
#: Keys that are left out where a JSON file is compared: they tell what the run took.
MEASURED = {"manifest.json": ("seconds", "seconds_per_image", "peak_memory_mb")}

_CHAIN = (
    *("--set", "preprocessing.registration_iterations=20x0x0"),
    *("--set", "preprocessing.n4_spacing_mm=8.0", "--set", "preprocessing.n4_iterations=[2]"),
    *("--set", "preprocessing.target_shape=[96,96,96]"),  # a part of the brain: it is for speed
)
_TRAINING = (
    *("-d", "Healthy", "-c", "demo", "--device", "cpu", "--sequences", "T1"),
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

    def words(self, home: Path, *, worker: bool) -> list[str]:
        """As typed; without `worker` the work is done in the command's own process."""
        number = ("-np", "1", *(() if worker else ("--step-limit", "0")))
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
class Span:
    """When a run that nothing happens to works.

    Parameters
    ----------
    first_s : second of its CPU time from which on it wrote
    seconds : of CPU that it took, which others on the machine do not change
    """

    first_s: float
    seconds: float


@dataclass(frozen=True)
class Whole(Span):
    """An uninterrupted run of a command.

    Parameters
    ----------
    digests : file below DAL_HOME → SHA-256
    grown_bytes : by which DAL_HOME grew
    """

    digests: dict[str, str]
    grown_bytes: int


@dataclass
class Scene:
    """A DAL_HOME that is put back to what it was before a command, as often as wanted.

    It always lies at the same place, since some files name their folder.

    Parameters
    ----------
    loading_s : of CPU that a worker takes to load the libraries
    wholes : of every command, where nothing happened
    """

    folder: Path
    loading_s: float = 0.0
    wholes: dict[str, Whole] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def before(self, command: Command) -> Path:
        """A copy of DAL_HOME as the command finds it."""
        return self.folder / "before" / command.name

    def make(self, say: Callable[[str], None]) -> None:
        """The whole walk, uninterrupted; copies of what each command finds are kept.

        Where an earlier run has made it in this folder, it is taken as it is.
        """
        made, code = self.folder / "made.json", _code()
        if made.is_file():
            held = json.loads(made.read_text("utf-8"))
            if held["code"] != code:
                raise SystemExit(f"{self.folder} was made by other code: name another folder.")
            self.wholes = {name: Whole(**whole) for name, whole in held["wholes"].items()}
            return
        for name in ("home", "before", "tmp"):  # of a run that was stopped while it made them
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        make_cohort(self.home)
        for command in COMMANDS:
            shutil.copytree(self.home, self.before(command))
            size, first = _size(self.home), _FirstWrite(self.home / command.writes)
            ended = self.run(command, first)
            if ended.code != 0:
                raise SystemExit(f"{command.name} does not so much as run:\n{ended.said}")
            self.wholes[command.name] = Whole(
                first.seconds, ended.seconds, self.digests(), _size(self.home) - size
            )
            say(f"{command.name}: {ended.seconds:.1f} s, writes from {first.seconds:.1f} s on")
        wholes = {name: asdict(whole) for name, whole in self.wholes.items()}
        made.write_text(json.dumps({"code": code, "wholes": wholes}), "utf-8")

    def restore(self, command: Command) -> None:
        """Fill DAL_HOME with what the command finds, and nothing else."""
        self._fill(self.before(command))

    def _fill(self, source: Path) -> None:
        self.home.mkdir(exist_ok=True)  # it may be a mount, and stays
        for path in self.home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(source, self.home, dirs_exist_ok=True)

    def rest(self, command: Command) -> tuple[Span, Ended]:
        """How long a command that was killed takes for what is left; DAL_HOME stays as it is."""
        kept = self.folder / "kept"
        shutil.rmtree(kept, ignore_errors=True)  # of a trial that was stopped
        shutil.copytree(self.home, kept)
        first = _FirstWrite(self.home / command.writes)
        ended = self.run(command, first)
        self._fill(kept)
        shutil.rmtree(kept)
        return Span(first.seconds, ended.seconds), ended

    def run(
        self,
        command: Command,
        meanwhile: Callable[[int, float], None] | None = None,
        before: Callable[[], None] | None = None,
        *,
        worker: bool = False,
        end_group: bool = True,
    ) -> Ended:
        """Run a command to its end, in a fork of this process.

        Parameters
        ----------
        meanwhile : called again and again with the process's id and its seconds of CPU
        before : called in the new process, before the command
        worker : the work is done in a worker process, where the command has them
        end_group : kill what it left running
        """
        words = command.words(self.home, worker=worker)
        process = _FORK.Process(target=_enter, args=(words, self._variables(), self.log, before))
        begun, used, hung = time.monotonic(), 0.0, ""
        _adopt_orphans()
        process.start()
        assert process.pid is not None
        try:
            while process.exitcode is None:
                if time.monotonic() - begun > LIMIT_S:
                    hung = f"\n{HUNG}: ended after {LIMIT_S} s\n"
                    break
                used = cpu_seconds(process.pid)
                if meanwhile is not None:
                    meanwhile(process.pid, used)
                time.sleep(0.1)
        finally:
            if end_group or process.exitcode is None:
                _end(process)
        text = self.log.read_text("utf-8", errors="replace")
        return Ended(process.exitcode or 0, text + hung, used)

    @property
    def log(self) -> Path:
        return self.folder / "said.txt"

    def _variables(self) -> dict[str, str]:
        mine = {k: v for k, v in os.environ.items() if not k.startswith("DAL_")}
        return mine | {"DAL_HOME": str(self.home), "TMPDIR": str(self.folder / "tmp")}

    def digests(self) -> dict[str, str]:
        """File below DAL_HOME → SHA-256, of all that has to be the same after every run."""
        return {
            str(path.relative_to(self.home)): hashlib.sha256(_compared(path)).hexdigest()
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


def _compared(path: Path) -> bytes:
    """A file's bytes, without what it tells of seconds and memory."""
    if path.name not in MEASURED:
        return path.read_bytes()
    return json.dumps(_without(json.loads(path.read_bytes()), MEASURED[path.name])).encode()


def _without(content: Any, keys: tuple[str, ...]) -> Any:
    """JSON without these keys, at whatever depth."""
    if isinstance(content, dict):
        return {k: _without(v, keys) for k, v in content.items() if k not in keys}
    return [_without(one, keys) for one in content] if isinstance(content, list) else content


def _code() -> str:
    """SHA-256 of all that takes part: what was made by other code is not compared."""
    folders = (Path(dal_auto.__file__).parent, Path(__file__).parent)
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _enter(
    words: list[str], variables: dict[str, str], log: Path, before: Callable[[], None] | None
) -> None:
    """What the forked process does: it becomes the command."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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


def _adopt_orphans() -> None:
    """What a command leaves running becomes a child of this process, which can wait for its end."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: ForkProcess) -> None:
    """Kill a process and what it has left running, and wait until none holds a file any more.

    A process that is killed still dies for a moment: a disk that it works on is busy meanwhile.
    """
    assert process.pid is not None
    process.kill()  # it may not have a group of its own yet
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-process.pid, 0)


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
