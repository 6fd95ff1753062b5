"""Which run: where runs lie, and how one is found. Never silently the newest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dal_auto import paths
from dal_auto.errors import InputError, UsageError
from dal_auto.plans import Plans
from dal_auto.store.run_identity import RunGroup, RunIdentity

_TRAIN_AGAIN = "Remove it and train again: what was trained is kept."


@dataclass(frozen=True)
class Run:
    """A folder ``<results>/<training set>/<name>/seed_<n>``."""

    folder: Path

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def identity(self) -> RunIdentity:
        """What tells it from other runs: the names of its folders."""
        return RunIdentity.of_folder(self.folder)

    @property
    def training_set(self) -> str:
        return self.folder.parent.parent.name

    @property
    def name(self) -> str:
        """``<method>__<configuration>__<preset>[__<variant>]``."""
        return self.folder.parent.name

    @property
    def method(self) -> str:
        return self.name.split("__")[0]

    @property
    def seed(self) -> int:
        return self.identity.seed

    @property
    def begun(self) -> bool:
        """Whether there are weights of it."""
        return self.checkpoint_path.is_file() or (self.folder / "last.safetensors").is_file()

    @property
    def complete(self) -> bool:
        """Whether training ended; the file is written last."""
        return (self.folder / "complete.json").is_file() and self.checkpoint_path.is_file()

    def record(self) -> dict[str, Any]:
        """What was noted when training ended: cases, thresholds, versions; empty before that.

        Raises
        ------
        InputError
            if the file is damaged.
        """
        path = self.folder / "complete.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(path, f"it cannot be read ({error})", _TRAIN_AGAIN) from error
        if not isinstance(content, dict):
            raise InputError(path, "it is no record of a training", _TRAIN_AGAIN)
        return content

    def checkpoint_sha256(self) -> str:
        """Hash of the checkpoint's bytes: what was made with another one is made again."""
        return hashlib.sha256(self.checkpoint_path.read_bytes()).hexdigest()

    def __str__(self) -> str:
        return f"{self.training_set}/{self.name}/{self.folder.name}"


def run_of(plans: Plans, overrides: Mapping[str, Any], seed: int) -> Run:
    """Where the run of `plans` with the user's `overrides` and `seed` lies."""
    text = json.dumps(dict(overrides), sort_keys=True)
    group = RunGroup(
        plans.training_set,
        plans.method.name,
        plans.configuration.name,
        plans.method.preset,
        hashlib.sha256(text.encode()).hexdigest()[:8] if overrides else "",
    )
    return Run(paths.results() / str(RunIdentity(group, seed)))


def complete_runs() -> list[Run]:
    """All complete runs in DAL_RESULTS, sorted."""
    runs = [Run(path.parent) for path in paths.results().glob("*/*__*/seed_*/best.safetensors")]
    return sorted((run for run in runs if run.complete), key=str)


def choose_runs(
    method: str | None = None, name: str | None = None, seeds: tuple[int, ...] | None = None
) -> list[Run]:
    """The complete runs that fit; `name` is a folder, or a part of ``str(run)``.

    Raises
    ------
    UsageError
        if none fits: the message says how to train one; or if the folder is of another method.
    """
    if name is not None and (Path(name) / "best.safetensors").is_file():
        named = Run(Path(name).resolve())
        # A folder that was copied elsewhere does not tell its method.
        tells = "__" in named.folder.parent.name
        if tells and method is not None and named.method.lower() != method.lower():
            raise UsageError(
                f"-r {name} is a run of {named.method}, and -m says {method}: leave one out"
            )
        if (named.folder / "last.safetensors").is_file() and not named.complete:
            raise UsageError(f"the training of {name} is not complete: resume it with dal_train")
        return [named]
    known = complete_runs()
    found = [
        run
        for run in known
        if (method is None or run.method.lower() == method.lower())
        and (name is None or name in str(run))
        and (seeds is None or run.seed in seeds)
    ]
    # A name that is whole is no part of others: seed_1 means no seed_10.
    if exact := [run for run in found if str(run) == name]:
        return exact
    if found:
        return found
    wanted = " ".join(
        f"{k}={v}" for k, v in {"-m": method, "-r": name, "--seeds": seeds}.items() if v
    )
    there = "".join(f"\n  {run}" for run in known) or " none"
    raise UsageError(
        f"no complete run{f' fits {wanted}' if wanted else ''}. Complete runs in "
        f"{paths.results()}:{there}\n"
        "Train one with `dal_train -d IXI` (after `dal_plan_and_preprocess -d IXI`): the paper "
        "used two GPUs of 24 GB; `-c demo` takes minutes on a CPU, and only shows that it works.\n"
        "`dal_predict -r shipped` takes the model in the package; `dal_models install FILE` puts a "
        "model's file among the runs, for every command."
    )


def choose_run(method: str | None, name: str | None) -> Run:
    """The sole complete run that fits.

    Raises
    ------
    UsageError
        if there is none, or several: they are listed.
    """
    found = choose_runs(method, name)
    if len(found) > 1:
        listed = "".join(f"\n  {run}" for run in found)
        raise UsageError(f"several complete runs fit; name one with -r:{listed}")
    return found[0]
