"""What becomes of results when things go wrong: kill -9, a full disk, a dead worker and the like.

    python benchmarks/faults.py [--only KIND ...] [--kills 50] [--full-disks 20] [--seed 0]

Every command of a tiny simulated walk is hit, run again, and has to leave the bytes of an
uninterrupted run. Disks are small mounts of their own (tmpfs): where this user may not mount, those
kinds are left out, and said to be. Prints a line per trial, a table, and one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_parts.kinds import KINDS, MOUNTING, Trial, may_mount
from fault_parts.preload import preload
from fault_parts.scene import COMMANDS, EXCLUDED, Scene


def main() -> int:
    names = [command.name for command in COMMANDS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=sorted(KINDS), metavar="KIND", help=str([*KINDS])
    )
    parser.add_argument("--commands", nargs="+", choices=names, default=names, metavar="COMMAND")
    parser.add_argument("--kills", type=int, default=KINDS["kills"][1], metavar="N")
    parser.add_argument("--full-disks", type=int, default=KINDS["full-disk"][1], metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for what wrong trials printed")
    options = parser.parse_args()
    wanted = options.only or [*KINDS]
    left_out = [] if may_mount() else [kind for kind in wanted if kind in MOUNTING]
    counts = {kind: count for kind, (_, count) in KINDS.items()}
    counts |= {"kills": options.kills, "full-disk": options.full_disks}

    preload(names)
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="faults_") as folder:
        scene = Scene(Path(folder), tuple(c for c in COMMANDS if c.name in options.commands))
        scene.make(_say)
        for kind in [kind for kind in wanted if kind not in left_out]:
            chance = random.Random(f"{options.seed} {kind}")
            for trial in KINDS[kind][0](scene, chance, counts[kind]):
                verdict = "right" if not trial.wrong else f"WRONG: {'; '.join(trial.wrong)}"
                _say(f"{trial.kind}, {trial.command}: {trial.happened}: {verdict}")
                trials.append(trial)
                if trial.wrong and options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{len(trials)}.txt").write_text(trial.said, "utf-8")
    print(_table(trials))
    for name, why in EXCLUDED.items():
        print(f"not compared: {name} ({why})")
    for kind in left_out:
        print(f"left out: {kind} (this user may not mount a disk)")
    tried, right = _count(trials, lambda trial: trial.kind)
    print(json.dumps({"tried": tried, "right": right, "left_out": left_out}))
    return int(tried != right)


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
