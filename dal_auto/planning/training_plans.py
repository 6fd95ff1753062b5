"""The plans of one training run: configuration, landmarks and schedule, fitted to the hardware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dal_auto.errors import PlansError, UsageError
from dal_auto.methods.registry import find_method
from dal_auto.planning.configurations import (
    CONFIGURATIONS,
    PAPER_EPOCHS,
    candidates,
    downsampling_for,
    mixed_precision,
    spacing_of,
)
from dal_auto.planning.hardware import Hardware
from dal_auto.planning.memory import memory_of
from dal_auto.planning.sources import asked_by, asked_sources, chain_sources
from dal_auto.planning.wishes import PlannedRun, Wishes
from dal_auto.plans import ConfigurationPlan, IntensityPlan, Plans, PreprocessingPlan
from dal_auto.preprocessing.histogram_matching import learn_landmarks
from dal_auto.scoring.plan import default_scoring, preset_sources
from dal_auto.store.standard_cases import CaseRecord, healthy_records

_SETTINGS = "method.settings."
#: Values that the planner chooses others by → the option that asks for them.
_BY_OPTION = {
    "training_set": "-d",
    "sequences": "--sequences",
    "configuration.name": "-c",
    "method.name": "-m",
    "method.preset": "--preset",
}
_SECTIONS = {*Plans.model_fields, _SETTINGS.rstrip(".")} - _BY_OPTION.keys()


def plan_run(
    *,
    training_set: str,
    preprocessing: PreprocessingPlan,
    records: Iterable[CaseRecord],
    hardware: Hardware,
    wishes: Wishes | None = None,
) -> PlannedRun:
    """The plans of one training run: the best candidate whose training fits the memory.

    Parameters
    ----------
    records : standard cases of the training set; a sequence's landmarks are learned from the
        percentiles of those that have it, and no lesion mask

    Raises
    ------
    UsageError
        if a sequence has no such case.
    PlansError
        for unknown keys or wrong values, also within the method's own settings.
    """
    wishes = wishes or Wishes()
    for key, value in wishes.assignments.items():
        _require_single_value(key, value)
    for key, value in wishes.values.items():
        _require_same_chain(key, value, preprocessing, training_set)
    usable = _usable(training_set, records, wishes.sequences)

    def planned(name: str, width: float, again: bool = False) -> PlannedRun:
        plans, overrides = _assembled(
            name, width, again, training_set, preprocessing, usable, hardware, wishes
        )
        return PlannedRun(plans, hardware, overrides, memory_of(plans, hardware.kind))

    tried = []
    for name, width in _candidates(wishes.configuration, wishes, hardware):
        for again in _ways(wishes):
            tried.append(planned(name, width, again))
            if tried[-1].fits:
                break
        if tried[-1].fits:
            break
    run = tried[-1]
    sources = {"configuration.name": _reason(tried, wishes, hardware)}
    if run.plans.configuration.width < 1 and "configuration.width" not in run.overrides:
        sources |= {k: v for k, v in _narrowing(run).items() if k not in run.overrides}
    plans = run.plans.model_copy(update={"value_sources": run.plans.value_sources | sources})
    warnings = _without_pairs(usable, wishes.sequences)
    if run.memory is not None and not run.fits:
        other = (planned(*pair) for pair in _candidates(None, wishes, hardware))
        remedy = next((_remedy(o) for o in other if o.fits), "no configuration fits")
        warnings += (
            f"{plans.configuration.name} needs {run.memory.training_gb:.1f} GB to train, and "
            f"{hardware.device} has {hardware.memory_gb:.1f} GB: it may run out of memory; "
            f"{remedy}",
        )
    return replace(run, plans=plans, warnings=warnings)


def _candidates(name: str | None, wishes: Wishes, hardware: Hardware) -> list[tuple[str, float]]:
    """What to try; where the user names the width, there is nothing to narrow."""
    pairs = candidates(name, hardware.kind)
    width = wishes.values.get("configuration.width")
    if width is None:
        return pairs
    own = [pair for pair in pairs if pair[1] == width]
    return own or [pair for pair in pairs if pair[1] == 1]


def _ways(wishes: Wishes) -> tuple[bool, ...]:
    """Whether activations are kept, and where the method offers it also computed again: slower,
    but to the same result, so before any smaller network or coarser grid."""
    saver = find_method(wishes.method).memory_saver
    if saver is None:
        return (False,)
    wished = wishes.values.get(f"{_SETTINGS}{saver}")
    return (False, True) if wished is None else (wished is True,)


def _remedy(run: PlannedRun) -> str:
    need = "" if run.memory is None else f" with {run.memory.training_gb:.1f} GB"
    return f"-c {run.plans.configuration.name} fits{need}"


def _require_single_value(key: str, value: Any) -> None:
    """What other values follow from is asked for by its option; a section by its values."""
    if key in _BY_OPTION:
        raise PlansError(
            key, value, f"other values follow from it: use the option {_BY_OPTION[key]}"
        )
    if key in _SECTIONS or key.startswith("value_sources"):
        raise PlansError(key, value, "name one value at a time, such as training.steps=500")


def _require_same_chain(
    key: str, value: Any, preprocessing: PreprocessingPlan, training_set: str
) -> None:
    """The chain belongs to the cases that are there: a run cannot choose another."""
    content = preprocessing.model_dump(mode="json")
    name = key.removeprefix("preprocessing.")
    if name != key and name in content and content[name] != value:
        raise PlansError(
            key,
            value,
            f"the cases of {training_set} were preprocessed with {content[name]!r}; preprocess "
            f"them again with `dal_plan_and_preprocess -d {training_set} --set {key}=…`",
        )


def _usable(
    training_set: str, records: Iterable[CaseRecord], sequences: Sequence[str]
) -> list[CaseRecord]:
    """Healthy cases with one of the sequences at least."""
    healthy = healthy_records(records)
    counts = Counter(name for record in healthy for name in record.sequences)
    if missing := [name for name in sequences if not counts[name]]:
        there = ", ".join(f"{count} have {name}" for name, count in sorted(counts.items()))
        raise UsageError(
            f"no healthy case of {training_set} has {' or '.join(missing)} (of {len(healthy)} "
            f"healthy cases {there or 'none has any'}): there is nothing to learn landmarks from. "
            "Choose others with --sequences."
        )
    return [record for record in healthy if set(sequences) & set(record.sequences)]


def _without_pairs(usable: Sequence[CaseRecord], sequences: Sequence[str]) -> tuple[str, ...]:
    if len(sequences) < 2 or any(len(set(sequences) & set(r.sequences)) > 1 for r in usable):
        return ()
    return (
        f"no case has more than one of {', '.join(sequences)}: what a method learns from pairs of "
        "one subject it cannot learn here",
    )


def _assembled(
    name: str,
    width: float,
    again: bool,
    training_set: str,
    preprocessing: PreprocessingPlan,
    usable: Sequence[CaseRecord],
    hardware: Hardware,
    wishes: Wishes,
) -> tuple[Plans, dict[str, Any]]:
    """Plans in one configuration, and the user's wishes as far as they differ from it."""
    row, kind = CONFIGURATIONS[name], find_method(wishes.method)
    chosen = row.plan(name, width=width, target_shape=preprocessing.target_shape)
    wished, noted = _with_wishes(chosen, wishes.values, preprocessing)
    settings = kind.default_settings(wishes.preset, wished)
    saver = kind.memory_saver if again else None
    if saver is not None:
        settings = settings.model_copy(update={saver: True})
    low_high = wishes.values.get("intensity.standard_range", IntensityPlan().standard_range)
    low, high = IntensityPlan.parse({"standard_range": low_high}, "intensity").standard_range
    landmarks = {
        name: learn_landmarks(
            (r.percentiles[name] for r in usable if name in r.sequences), (low, high)
        )
        for name in wishes.sequences
    }
    counts = Counter(name for record in usable for name in record.sequences)
    own = kind.own_training
    # The literal preset keeps the paper's optimiser on any grid, or a comparison method's own.
    literal = ("learning_rate", "decay_power") if wishes.preset == "paper" else ()
    # What the grid asks for comes last: few steps want large ones, whoever takes them.
    asked = {key: value for key, value in row.training.items() if key not in literal}
    training = {key: value for key, (value, _) in [*own.items(), *asked.items()]}
    robust = kind.robust_training if wishes.preset == "robust" else {}
    training |= {key: value for key, (value, _) in robust.items()}
    training["amp"] = mixed_precision(hardware.kind, wished.input_shape)
    sources = asked_sources(training_set, wishes) | chain_sources(preprocessing)
    sources |= {f"training.{key}": f"paper: {why}" for key, (_, why) in own.items()}
    sources |= {k: why for k, why in row.sources().items() if k.partition(".")[2] not in literal}
    sources |= {f"training.{key}": f"ours: {why}" for key, (_, why) in robust.items()}
    sources |= preset_sources(wishes.preset)
    sources |= settings.sources(_SETTINGS.rstrip(".")) | noted
    if saver is not None:
        sources[f"{_SETTINGS}{saver}"] = f"{hardware.source}; to keep them takes more"
    if not training["amp"]:
        sources["training.amp"] = "ours: off where it is no faster (docs/dal_train.md)"
    if wishes.preset == "paper":
        training["validation_fraction"] = 0.0
        sources["training.validation_fraction"] = "paper: §4.1, all healthy subjects train"
    learned_from = ", ".join(f"{counts[name]} ({name})" for name in wishes.sequences)
    if len({counts[name] for name in wishes.sequences}) == 1:
        learned_from = str(counts[wishes.sequences[0]])
    sources["intensity.landmarks"] = f"measured: mean of {learned_from} cases of {training_set}"
    if "steps" not in training:
        patients = len({record.patient_id for record in usable})
        training["steps"] = PAPER_EPOCHS * max(1, patients // wished.batch_subjects)
        sources["training.steps"] = f"paper: §4.2.1, {PAPER_EPOCHS} epochs of {patients} patients"
    plans = Plans.parse(
        {
            "training_set": training_set,
            "sequences": list(wishes.sequences),
            "preprocessing": preprocessing.model_dump(mode="json"),
            "intensity": {"landmarks": landmarks},
            "configuration": wished.model_dump(mode="json"),
            "method": {
                "name": kind.name,
                "preset": wishes.preset,
                "settings": settings.model_dump(mode="json"),
            },
            "training": training,
            "scoring": default_scoring(wishes.preset).model_dump(mode="json"),
            "value_sources": sources,
        }
    )
    planned = {key: value for key, value, _ in plans.flat()} | {
        f"configuration.{key}": value for key, value in chosen.model_dump(mode="json").items()
    }
    nothing = object()
    differing = {k: v for k, v in wishes.from_file.items() if planned.get(k, nothing) != v}
    plans = plans.override(differing, "file: --plans").override(wishes.assignments, "user: --set")
    kind.parse_settings(plans)
    return plans, differing | dict(wishes.assignments)


def _with_wishes(
    chosen: ConfigurationPlan, values: Mapping[str, Any], preprocessing: PreprocessingPlan
) -> tuple[ConfigurationPlan, dict[str, str]]:
    """The configuration as the user wants it, since the method's settings follow from it.

    A grid of the user's own brings its spacing, its downsampling and, where one window covered the
    row's grid, its window; their sources come second.
    """
    prefix = "configuration."
    wanted = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
    content = chosen.model_dump(mode="json")
    wished = ConfigurationPlan.parse(content | wanted, "configuration")
    spacing_mm = spacing_of(wished.input_shape, preprocessing.target_shape)
    if "spacing_mm" in wanted and not np.allclose(wished.spacing_mm, spacing_mm, rtol=1e-3):
        rule = f"{wished.input_shape} voxels that cover the standard grid have {spacing_mm}"
        raise PlansError("configuration.spacing_mm", wanted["spacing_mm"], rule)
    if wished.input_shape == chosen.input_shape:
        return wished, {}
    follows: dict[str, Any] = {
        "spacing_mm": spacing_mm,
        "downsampling": downsampling_for(spacing_mm),
    }
    if chosen.window == chosen.input_shape:
        follows["window"] = wished.input_shape
    follows = {key: value for key, value in follows.items() if key not in wanted}
    sources = {f"{prefix}{key}": "ours: follows from configuration.input_shape" for key in follows}
    return wished.model_copy(update=follows), sources


def _reason(tried: Sequence[PlannedRun], wishes: Wishes, hardware: Hardware) -> str:
    """Why this configuration: who chose it, what it takes, and what did not fit."""
    if wishes.configuration is not None:
        reason = asked_by(wishes, "configuration.name")
    elif hardware.kind == "cpu":
        reason = f"{hardware.source}; the others take days on a CPU"
    else:
        reason = hardware.source
    needs = {
        _called(run.plans): f"{run.memory.training_gb:.1f} GB"
        for run in tried
        if run.memory is not None
    }
    told = [f"{name} needs {need}" for name, need in reversed(needs.items())]
    return "; ".join([reason, ", ".join(told)]) if told else reason


def _called(plans: Plans) -> str:
    again = plans.method.settings.get(find_method(plans.method.name).memory_saver or "") is True
    return f"{plans.configuration.name}{', activations computed again,' if again else ''}"


def _narrowing(run: PlannedRun) -> dict[str, str]:
    """Sources of the width, and of the settings that are smaller for it."""
    method, configuration = run.plans.method, run.plans.configuration
    share = f"{configuration.width:g} of the method's own widths"
    source = f"{run.hardware.source}; {share} {'fit' if run.fits else 'is the least that is tried'}"
    own, narrow = (
        find_method(method.name).default_settings(method.preset, one).model_dump()
        for one in (configuration.model_copy(update={"width": 1.0}), configuration)
    )
    changed = {f"{_SETTINGS}{key}" for key in own if own[key] != narrow[key]}
    return dict.fromkeys({"configuration.width"} | changed, source)
