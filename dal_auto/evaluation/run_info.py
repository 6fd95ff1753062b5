"""What tables must know of a run beside its records: read once, since a checkpoint is large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dal_auto.errors import DalError, InputError
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.store.runs import Run


@dataclass(frozen=True)
class RunInfo:
    """What a run's checkpoint says of it.

    Parameters
    ----------
    thresholds : "sequence" or "sequence/variant" → practical threshold
    threshold_source : which cases gave the thresholds, in words
    selected_on : dataset, in small letters → annotated cases that chose among the checkpoints of
        the run, or of the models that it started from
    model : hash of the checkpoint
    versions : of the tools that trained it
    """

    plans: Plans
    thresholds: Mapping[str, float]
    threshold_source: str
    selected_on: Mapping[str, frozenset[str]]
    model: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def trivial(self) -> bool:
        """Whether the method knows nothing of anatomy; False where it is not installed."""
        try:
            return find_method(self.plans.method.name).trivial
        except DalError:
            return False


def read_run_info(runs: Sequence[Run]) -> tuple[dict[Run, RunInfo], list[str]]:
    """What each readable checkpoint says, and what is wrong with the others."""
    found: dict[Run, RunInfo] = {}
    problems: list[str] = []
    for run in runs:
        try:
            checkpoint = load_checkpoint(run.checkpoint_path)
        except DalError as error:
            problems.append(f"{run}: {error}")
            continue
        found[run] = RunInfo(
            plans=checkpoint.plans,
            thresholds=checkpoint.thresholds,
            threshold_source=checkpoint.sources,
            selected_on={
                name.lower(): frozenset(ids) for name, ids in checkpoint.selected_on.items()
            },
            model=run.checkpoint_sha256(),
            versions=_versions(run, problems),
        )
    return found, problems


def _versions(run: Run, problems: list[str]) -> dict[str, str]:
    """Of the tools that trained the run; none where the record of its training is damaged."""
    try:
        return dict(run.record().get("versions", {}))
    except (InputError, TypeError, ValueError) as error:
        problems.append(f"{run}: {error} Its versions are not known.")
        return {}
