"""What becomes of results when things go wrong: kill -9, a full disk, a dead worker and the like.

    python benchmarks/faults.py [--only KIND ...] [--share 1.0] [--seed 0] [--keep FOLDER]

Every command of a tiny simulated walk is hit, run again, and has to leave the bytes of an
uninterrupted run. Disks are small mounts of their own (tmpfs): where this user may not mount, those
kinds are left out, and said to be. Prints a line per trial, a table, and one JSON object. With
--keep, a run that was stopped goes on where it was; two at once in one folder are refused.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fault_parts.kinds import KINDS, Trial, may_mount
from fault_parts.preload import preload
from fault_parts.scene import COMMANDS, EXCLUDED, MEASURED, Command, Scene

from dal_auto.errors import DalError
from dal_auto.store.claim import claimed


def main() -> int:
    names = [command.name for command in COMMANDS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=sorted(KINDS), metavar="KIND", help=str([*KINDS])
    )
    parser.add_argument("--commands", nargs="+", choices=names, default=names, metavar="COMMAND")
    parser.add_argument(
        "--share", type=float, default=1.0, metavar="X", help="of each kind's usual number"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="for the walk, and what has become of each trial",
    )
    options = parser.parse_args()
    wanted = options.only or [*KINDS]
    left_out = [] if may_mount() else [name for name in wanted if KINDS[name].mounts]
    wanted = [name for name in wanted if name not in left_out]

    with ExitStack() as stack:
        folder = options.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="faults_"))
        )
        try:
            stack.enter_context(claimed(folder, "Name another with --keep."))
        except DalError as error:
            parser.error(str(error))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is mounted is let go
        scene = Scene(folder.resolve(), preload(names))
        scene.make(_say)
        commands = [command for command in COMMANDS if command.name in options.commands]
        plan = list(_plan(wanted, commands, options.share))
        trials = list(_trials(scene, plan, options.seed, folder / "trials.jsonl"))
    print(_table(trials))
    for name, why in EXCLUDED.items():
        print(f"not compared: {name} ({why})")
    for name, keys in MEASURED.items():
        print(f"not compared: {', '.join(keys)} in {name}")
    for kind in left_out:
        print(f"left out: {kind} (this user may not mount a disk)")
    tried, right = _count(trials, lambda trial: trial.kind)
    print(json.dumps({"tried": tried, "right": right, "left_out": left_out}))
    return int(any(trial.wrong for trial in trials))


def _plan(
    wanted: list[str], commands: list[Command], share: float
) -> Iterator[tuple[str, int, Command]]:
    """(kind, number, command) of every trial; kinds take turns, as do commands within a kind."""
    found = []
    for kind in wanted:
        mine = [one for one in commands if one.has_workers or not KINDS[kind].of_workers]
        count = max(1, round(share * KINDS[kind].count)) if KINDS[kind].count else len(mine)
        for number in range(count if mine else 0):
            found.append((number / count, kind, number, mine[number % len(mine)]))
    for _, kind, number, command in sorted(found, key=lambda one: one[0]):
        yield kind, number, command


def _trials(
    scene: Scene, plan: list[tuple[str, int, Command]], seed: int, file: Path
) -> Iterator[Trial]:
    """Every trial of the plan: from `file`, or tried now and added to it."""
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    held = {line["name"]: line["trial"] for line in map(json.loads, lines)}
    for kind, number, command in plan:
        name = f"{seed} {kind} {number} {command.name}"
        if name in held:
            yield Trial(**held[name])
            continue
        trial = KINDS[kind].trial(scene, command, random.Random(name))
        verdict = "right" if not trial.wrong else f"WRONG: {'; '.join(trial.wrong)}"
        _say(f"{trial.kind}, {trial.command}: {trial.happened}: {verdict}")
        with file.open("a", encoding="utf-8") as kept:
            kept.write(json.dumps({"name": name, "trial": asdict(trial)}) + "\n")
        yield trial


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _count(trials: list[Trial], key: Callable[[Trial], Any]) -> tuple[Counter[Any], Counter[Any]]:
    """Faults by `key`: all, and those after which all was right."""
    tried, right = Counter[Any](), Counter[Any]()
    for trial in trials:
        tried[key(trial)] += trial.times
        right[key(trial)] += trial.times * (not trial.wrong)
    return tried, right


def _table(trials: list[Trial]) -> str:
    """Right of tried, a row a kind and a column a command."""
    names = [command.name for command in COMMANDS]
    tried, right = _count(trials, lambda trial: (trial.kind, trial.command))
    rows = [["fault", *names], ["---"] * (len(names) + 1)]
    for kind in dict.fromkeys(trial.kind for trial in trials):
        cells = [(right[kind, name], tried[kind, name]) for name in names]
        rows.append([kind, *(f"{r} of {n}" if n else "–" for r, n in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
