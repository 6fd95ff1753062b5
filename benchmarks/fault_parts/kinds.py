"""What can happen to a command while it runs, each as trials that end right or wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fault_parts.scene import HUNG, Command, Ended, Scene, children, small_disk

YEAR_S = 365 * 86400.0


@dataclass(frozen=True)
class Trial:
    """What became of one fault.

    Parameters
    ----------
    kind : of fault, in words
    happened : what the command did
    wrong : what it should not have done; empty where all is right
    said : what it printed
    times : how many faults these were
    """

    kind: str
    command: str
    happened: str
    wrong: tuple[str, ...]
    said: str
    times: int = 1


class _Kill:
    """Kills -9 the command once `moment` has come; workers are not told."""

    def __init__(self, moment: float) -> None:
        self.moment, self.done = moment, False

    def __call__(self, pid: int, used: float) -> None:
        if not self.done and used >= self.moment:
            os.kill(pid, signal.SIGKILL)
            self.done = True

    def __str__(self) -> str:
        return f"{self.moment:.1f} s" if self.done else "no time, it had ended"


class _KillWorker:
    """Kills -9 one worker process once `moment` has come and there is one."""

    def __init__(self, moment: float) -> None:
        self.moment, self.done = moment, False

    def __call__(self, pid: int, used: float) -> None:
        if self.done or used < self.moment:
            return
        for child in children(pid):
            with suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
                    self.done = True
                    return


def kills(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """kill -9 at a random moment; every third time the command that goes on is killed as well."""
    number, left = 0, count
    while left:
        command = scene.commands[number % len(scene.commands)]
        times = min(left, 2 if number % 3 == 2 else 1)
        scene.restore(command)
        said, made = "", [_Kill(_moment(scene, command, chance)) for _ in range(times)]
        for kill in made:
            said += scene.run(command, kill).said
        happened = f"killed at {' and '.join(map(str, made))}"
        times = sum(kill.done for kill in made)  # it may have ended before
        yield _after(scene, command, "kill -9", happened, scene.run(command), said, times)
        number, left = number + 1, left - times


def orphans(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """kill -9 of the command alone: its workers are left, and the next run starts at once."""
    commands = [command for command in scene.commands if command.has_workers]
    for number in range(count if commands else 0):
        command = commands[number % len(commands)]
        scene.restore(command)
        kill = _Kill(_spawned_moment(scene, command, chance))
        said = scene.spawn(command, kill, end_group=False).said
        again = scene.spawn(command)
        yield _after(scene, command, "kill -9, workers left", f"killed at {kill}", again, said)


def _moment(scene: Scene, command: Command, chance: random.Random) -> float:
    """A second of the command's CPU time at which it writes."""
    whole = scene.wholes[command.name]
    return chance.uniform(whole.first_s, whole.seconds)


def _spawned_moment(scene: Scene, command: Command, chance: random.Random) -> float:
    """The same for the installed command, which first loads its libraries, as do its workers."""
    return chance.uniform(0.5, 1.0) * scene.spawned_seconds(command)


def _after(
    scene: Scene,
    command: Command,
    kind: str,
    happened: str,
    again: Ended,
    said: str = "",
    times: int = 1,
) -> Trial:
    """The verdict on a command that was run (again) to its end, and should have done all."""
    wrong = [*_bad_words(said + again.said)]
    if again.code != 0:
        wrong.append(f"exit code {again.code} when run to the end")
    wrong += scene.differences(command)
    text = f"{said}\n--- again:\n{again.said}"
    return Trial(kind, command.name, happened, tuple(wrong), text, times)


def _bad_words(said: str) -> Iterator[str]:
    for bad in ("Traceback", HUNG):
        if bad in said:
            yield f"it printed {bad!r}"


def full_disks(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """A disk that is full after a random share of what the command writes, then has room again."""
    for number in range(count):
        command = scene.commands[number % len(scene.commands)]
        with small_disk(scene.home) as remount:
            scene.restore(command)
            room = int(chance.random() * scene.wholes[command.name].grown_bytes) // 4096 * 4096
            used = _used(scene.home)
            remount(f"size={used + room}")
            ended = scene.run(command)
            wrong = list(_bad_words(ended.said))
            if ended.code == 0:
                wrong += scene.differences(command)
            elif "the disk" not in ended.said:
                wrong.append("it does not say that the disk is full")
            remount("size=8g")
            again = scene.run(command)
            happened = f"{room / 1e6:.2f} MB free, exit code {ended.code}"
            trial = _after(scene, command, "full disk", happened, again, ended.said)
            yield replace(trial, wrong=tuple(dict.fromkeys([*wrong, *trial.wrong])))


def _used(folder: Path) -> int:
    about = os.statvfs(folder)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


def worker_deaths(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """A worker process that is killed, as the system does when memory ends: the command goes on."""
    commands = [command for command in scene.commands if command.has_workers]
    for number in range(count if commands else 0):
        command = commands[number % len(commands)]
        scene.restore(command)
        kill = _KillWorker(_spawned_moment(scene, command, chance))
        ended = scene.spawn(command, kill)
        happened = f"killed after {kill.moment:.1f} s" if kill.done else "no worker was left"
        yield _after(scene, command, "worker killed", happened, ended)


def read_only_outputs(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """The folder that is written to is on a disk that is mounted read-only; then it is not."""
    for command in scene.commands:
        with small_disk(scene.home) as remount:
            scene.restore(command)
            remount("ro")
            before = scene.digests()
            ended = scene.run(command)
            wrong = list(_bad_words(ended.said))
            if ended.code == 0:
                wrong.append("exit code 0")
            if "cannot be written" not in ended.said:
                wrong.append("it does not say that the folder cannot be written")
            if scene.digests() != before:
                wrong.append("it changed something")
            remount("rw")
            again = scene.run(command)
            happened = f"exit code {ended.code}"
            trial = _after(scene, command, "read-only output", happened, again, ended.said)
            yield replace(trial, wrong=tuple(dict.fromkeys([*wrong, *trial.wrong])))


def read_only_inputs(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """Everything is read-only but the folder that the command writes to."""
    for command in scene.commands:
        scene.restore(command)
        output = scene.home / command.writes
        output.mkdir(exist_ok=True)
        others = [path for path in scene.home.iterdir() if path.is_dir() and path != output]
        for path in others:
            subprocess.run(["mount", "--bind", "-o", "ro", path, path], check=True)
        try:
            ended = scene.run(command)
            trial = _after(scene, command, "read-only input", f"exit code {ended.code}", ended)
        finally:
            for path in others:
                subprocess.run(["umount", path], check=True)
        yield trial


def clocks(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """Killed half-way, and run again while all files seem to be of next year, on a clock that is
    set back by another hour while the command runs."""
    for command in scene.commands:
        scene.restore(command)
        kill = _Kill(_moment(scene, command, chance))
        said = scene.run(command, kill).said
        for path in scene.home.rglob("*"):
            about = path.stat()
            os.utime(path, (about.st_atime + YEAR_S, about.st_mtime + YEAR_S))
        moment = _moment(scene, command, chance)
        again = scene.run(command, before=lambda moment=moment: _set_back(moment))
        happened = f"killed at {kill}, then an hour back at {moment:.1f} s"
        yield _after(scene, command, "clock set back", happened, again, said)


def _set_back(after_s: float) -> None:
    """From some second on the clock of this process is an hour slow."""
    start, clock, clock_ns = time.monotonic(), time.time, time.time_ns

    def back() -> int:
        return 3600 if time.monotonic() - start >= after_s else 0

    time.time = lambda: clock() - back()
    time.time_ns = lambda: clock_ns() - back() * 10**9


def small_shared_memory(scene: Scene, chance: random.Random, count: int) -> Iterator[Trial]:
    """/dev/shm of 64 MB, as Docker gives it."""
    mounted = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" "$@"'
    prefix = ("unshare", "--mount", "bash", "-c", mounted)
    for command in scene.commands:
        scene.restore(command)
        ended = scene.spawn(command, prefix=prefix)
        happened = f"exit code {ended.code}"
        yield _after(scene, command, "/dev/shm of 64 MB", happened, ended)


Trials = Callable[[Scene, random.Random, int], Iterator[Trial]]

#: Name on the command line → trials, and how many of them by default; 0: one a command.
KINDS: dict[str, tuple[Trials, int]] = {
    "kills": (kills, 50),
    "full-disk": (full_disks, 20),
    "orphans": (orphans, 4),
    "worker-killed": (worker_deaths, 6),
    "read-only-output": (read_only_outputs, 0),
    "read-only-input": (read_only_inputs, 0),
    "clock": (clocks, 0),
    "shared-memory": (small_shared_memory, 0),
}
#: They mount disks of their own, which not every user may.
MOUNTING = {"full-disk", "read-only-output", "read-only-input", "shared-memory"}


def may_mount() -> bool:
    """Whether this user may mount a disk here."""
    trouble = suppress(OSError, subprocess.CalledProcessError)
    with tempfile.TemporaryDirectory() as folder, trouble, small_disk(Path(folder)):
        return True
    return False
