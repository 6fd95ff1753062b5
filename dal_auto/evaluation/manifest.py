"""The report's manifest: which commands, versions and hashes it comes from, seconds and memory.

Seconds and memory differ from run to run: of all files of a report only this one does.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from dal_auto.evaluation.run_info import RunInfo
from dal_auto.evaluation.scores import Records, ScoredImage
from dal_auto.methods.checkpoint import versions
from dal_auto.plans import Plans
from dal_auto.store.atomic import write_json
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run

#: Sections of the plans that are set when preprocessing, and when training.
_CHAIN = ("preprocessing.",)
_RUN = ("configuration.", "method.settings.", "training.", "scoring.", "intensity.")
#: Said by an option of its own.
_NAMED = ("configuration.name",)
_PACKAGES = ("numpy", "scipy", "pandas", "matplotlib", "scikit-learn")


def write_manifest(
    path: Path,
    *,
    records: Records,
    infos: Mapping[Run, RunInfo],
    command: Sequence[str],
    seconds: Mapping[str, float],
    files: Sequence[Path],
) -> None:
    """Write the manifest of a report.

    Parameters
    ----------
    command : the evaluation's own, as it was typed
    seconds : of the report's parts
    files : what else the report consists of; their hashes are noted
    """
    write_json(
        path,
        {
            "command": shlex.join(command),
            "commands": commands(infos, {one.dataset for one in records.scored}),
            "versions": _versions(),
            "runs": {str(run): _run(run, one, records) for run, one in infos.items()},
            "files": {
                file.relative_to(path.parent).as_posix(): _sha256(file.read_bytes())
                for file in sorted(files)
            },
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "peak_memory_mb": peak_memory_mb(),
        },
    )


def commands(infos: Mapping[Run, RunInfo], datasets: Iterable[str]) -> list[str]:
    """What to type to get the same runs, and their scores on `datasets`."""
    seeds: dict[RunGroup, list[int]] = {}
    plans: dict[RunGroup, Plans] = {}
    for run, one in infos.items():
        group = run.identity.group
        seeds.setdefault(group, []).append(run.seed)
        plans[group] = one.plans
    chains = {_set(one, _CHAIN) for one in plans.values()}
    names = sorted({*datasets, *(group.training_set for group in seeds)})
    lines = [
        shlex.join(["dal_plan_and_preprocess", "-d", *names, *chain]) for chain in sorted(chains)
    ]
    lines += [_training(plans[group], sorted(numbers)) for group, numbers in sorted(seeds.items())]
    return [*lines, "dal_evaluate"]


def _training(plans: Plans, seeds: Iterable[int]) -> str:
    words = ["dal_train", "-d", plans.training_set, "-c", plans.configuration.name]
    words += ["-m", plans.method.name, "--preset", plans.method.preset]
    numbers = [str(seed) for seed in seeds]
    words += ["--sequences", *plans.sequences]
    words += ["--seed", *numbers] if len(numbers) == 1 else ["--seeds", ",".join(numbers)]
    return shlex.join([*words, *_set(plans, _RUN)])


def _set(plans: Plans, sections: tuple[str, ...]) -> tuple[str, ...]:
    """The user's own values in these sections, as options."""
    sources = plans.all_sources()
    words = []
    for key, value, _ in plans.flat():
        asked = sources.get(key, "").startswith(("user", "file"))
        if asked and key.startswith(sections) and key not in _NAMED:
            words += ["--set", f"{key}={json.dumps(value)}"]
    return tuple(words)


def _run(run: Run, infos: RunInfo, records: Records) -> dict[str, Any]:
    mine = [one for one in (*records.scored, *records.held_out) if one.run == run]
    content = "\n".join(one.record.model_dump_json() for one in mine)
    plans = json.dumps(infos.plans.to_json(), sort_keys=True)
    return {
        "checkpoint_sha256": infos.model,
        "plans_sha256": _sha256(plans.encode()),
        "records_sha256": _sha256(content.encode()),
        "records": len(mine),
        "threshold_source": infos.threshold_source,
        "trained_with": dict(infos.versions),
        "seconds_per_image": _seconds(mine),
    }


def _seconds(records: Sequence[ScoredImage]) -> dict[str, float]:
    """Mean seconds of each step over those records whose log is there."""
    logs = [found for one in records if (found := one.seconds())]
    names = sorted({name for log in logs for name in log})
    return {name: round(sum(log.get(name, 0) for log in logs) / len(logs), 3) for name in names}


def _versions() -> dict[str, str]:
    found = versions()
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found | {"system": platform.platform()}


def peak_memory_mb() -> dict[str, float]:
    """Most memory that this process, and the GPU for it, ever held."""
    found = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        found["process"] = round(peak / 1e6, 1)
    if torch.cuda.is_available():
        found["gpu"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    return found


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
