"""What can happen to a command while it runs, each as a trial that ends right or wrong."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fault_parts.scene import HUNG, Command, Ended, Scene, Span, children, small_disk

YEAR_S = 365 * 86400.0
_CLONE_NEWNS = 0x20000


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


def kill(scene: Scene, command: Command, chance: random.Random, times: int = 1) -> Trial:
    """kill -9 at a random moment, `times` in a row: what goes on is killed as well."""
    scene.restore(command)
    one = _Kill(_moment(scene.wholes[command.name], chance))
    made, said, wrong = [one], scene.run(command, one).said, []
    while len(made) < times:
        rest, ended = scene.rest(command)
        if ended.code != 0:
            wrong.append(f"exit code {ended.code} when it goes on")
        made.append(_Kill(_moment(rest, chance)))
        said += ended.said + scene.run(command, made[-1]).said
    happened = f"killed at {' and '.join(map(str, made))}"
    times = sum(one.done for one in made)  # it may have ended before
    again = scene.run(command)
    return _after(scene, command, "kill -9", happened, again, said, times, wrong_before=wrong)


def kill_twice(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """kill -9 at a random moment, and again while it goes on."""
    return kill(scene, command, chance, 2)


def orphan(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """kill -9 of the command alone: its worker is left, and the next run starts at once."""
    scene.restore(command)
    one = _Kill(_moment_of_worker(scene, command, chance))
    said = scene.run(command, one, worker=True, end_group=False).said
    again = scene.run(command)
    trial = _after(scene, command, "kill -9, worker left", f"killed at {one}", again, said)
    return replace(trial, times=int(one.done))


def _moment(span: Span, chance: random.Random) -> float:
    """A second of a run's CPU time at which it writes."""
    return chance.uniform(span.first_s, span.seconds)


def _moment_of_worker(scene: Scene, command: Command, chance: random.Random) -> float:
    """A second of the CPU time of command and worker at which the worker has loaded, and works."""
    return scene.loading_s + chance.uniform(0.0, 0.8) * scene.wholes[command.name].seconds


def _after(
    scene: Scene,
    command: Command,
    kind: str,
    happened: str,
    again: Ended,
    said: str = "",
    times: int = 1,
    wrong_before: Iterable[str] = (),
) -> Trial:
    """The verdict on a command that was run (again) to its end, and should have done all."""
    wrong = [*wrong_before, *_bad_words(said + again.said)]
    if again.code != 0:
        wrong.append(f"exit code {again.code} when run to the end")
    wrong += scene.differences(command)
    text = f"{said}\n--- again:\n{again.said}"
    return Trial(kind, command.name, happened, tuple(dict.fromkeys(wrong)), text, times)


def _bad_words(said: str) -> Iterator[str]:
    for bad in ("Traceback", HUNG):
        if bad in said:
            yield f"it printed {bad!r}"


def full_disk(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """A disk that is full after a random share of what the command writes, then has room again."""
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
        return _after(scene, command, "full disk", happened, again, ended.said, wrong_before=wrong)


def _used(folder: Path) -> int:
    about = os.statvfs(folder)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


def worker_death(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """A worker process that is killed, as the system does when memory ends: the command goes on."""
    scene.restore(command)
    moment = _moment_of_worker(scene, command, chance)
    one = _KillWorker(moment)
    ended = scene.run(command, one, worker=True)
    happened = f"killed after {moment:.1f} s" if one.done else "no worker was left"
    trial = _after(scene, command, "worker killed", happened, ended)
    return replace(trial, times=int(one.done))


def read_only_output(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """The folder that is written to is on a disk that is mounted read-only; then it is not."""
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
        return _after(
            scene, command, "read-only output", happened, again, ended.said, wrong_before=wrong
        )


def read_only_input(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """Everything is read-only but the folder that the command writes to.

    Training keeps a cache with what it reads: it may refuse, if it says where it cannot write.
    """
    scene.restore(command)
    output = scene.home / command.writes
    output.mkdir(exist_ok=True)
    others = [path for path in scene.home.iterdir() if path.is_dir() and path != output]
    with ExitStack() as mounted:
        for path in others:
            subprocess.run(["mount", "--bind", "-o", "ro", path, path], check=True)
            mounted.callback(subprocess.run, ["umount", path], check=True)
        ended = scene.run(command)
    wrong: list[str] = []
    again = ended
    if ended.code != 0:
        if "cannot be written" not in ended.said:
            wrong.append("it does not say what cannot be written")
        again = scene.run(command)
    happened = f"exit code {ended.code}"
    return _after(
        scene, command, "read-only input", happened, again, ended.said, wrong_before=wrong
    )


def clock(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """Killed half-way, and run again while all files seem to be of next year, on a clock that is
    set back by another hour while the command runs."""
    scene.restore(command)
    whole = scene.wholes[command.name]
    one = _Kill(_moment(whole, chance))
    said = scene.run(command, one).said
    for path in scene.home.rglob("*"):
        about = path.stat()
        os.utime(path, (about.st_atime + YEAR_S, about.st_mtime + YEAR_S))
    moment = _moment(whole, chance)
    again = scene.run(command, before=lambda: _set_back(moment))
    happened = f"killed at {one}, then an hour back at {moment:.1f} s"
    return _after(scene, command, "clock set back", happened, again, said)


def _set_back(after_s: float) -> None:
    """From some second on the clock of this process is an hour slow."""
    start, clock, clock_ns = time.monotonic(), time.time, time.time_ns

    def back() -> int:
        return 3600 if time.monotonic() - start >= after_s else 0

    time.time = lambda: clock() - back()
    time.time_ns = lambda: clock_ns() - back() * 10**9


def small_shared_memory(scene: Scene, command: Command, chance: random.Random) -> Trial:
    """/dev/shm of 64 MB, as Docker gives it."""
    scene.restore(command)
    ended = scene.run(command, before=_mount_shared_memory, worker=True)
    happened = f"exit code {ended.code}"
    return _after(scene, command, "/dev/shm of 64 MB", happened, ended)


def _mount_shared_memory() -> None:
    """For this process and its children alone."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for words in ("--make-rprivate /", "-t tmpfs -o size=64m tmpfs /dev/shm"):
        subprocess.run(["mount", *words.split()], check=True)


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Parameters
    ----------
    trial : hits a command, and gives the verdict
    count : trials by default; 0: one a command
    of_workers : only commands that have worker processes can be hit
    mounts : a disk of its own, which not every user may
    """

    trial: Callable[[Scene, Command, random.Random], Trial]
    count: int = 0
    of_workers: bool = False
    mounts: bool = False


#: Name on the command line → kind. With `kills` and `kills-twice` there are 50 kills.
KINDS = {
    "kills": Kind(kill, 26),
    "kills-twice": Kind(kill_twice, 12),
    "full-disk": Kind(full_disk, 20, mounts=True),
    "orphans": Kind(orphan, 4, of_workers=True),
    "worker-killed": Kind(worker_death, 6, of_workers=True),
    "read-only-output": Kind(read_only_output, mounts=True),
    "read-only-input": Kind(read_only_input, mounts=True),
    "clock": Kind(clock),
    "shared-memory": Kind(small_shared_memory, mounts=True),
}


def may_mount() -> bool:
    """Whether this user may mount a disk here."""
    trouble = suppress(OSError, subprocess.CalledProcessError)
    with tempfile.TemporaryDirectory() as folder, trouble, small_disk(Path(folder)):
        return True
    return False
