"""Which runs belong together: an ablation's runs are told by their plans, never by their names.

Tables 5 to 7 vary a score, loss terms, or modules. Runs that differ in nothing else are a family,
and are compared only within it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from dal_auto.errors import DalError
from dal_auto.methods.method import Ablations
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans
from dal_auto.scoring.plan import ScoringPlan, default_scoring
from dal_auto.store.run_identity import RunGroup

SETTINGS = "method.settings."
#: The filters, of which the paper draws curves as well.
_FILTERS = tuple(
    f"scoring.{name}_mm" for name in ("min_filter", "mean_filter", "guided", "erosion")
)
_SWEPT_SECTIONS = (SETTINGS, "scoring.", "training.")
_FAMILY_SECTIONS = ("training_set", "sequences", "configuration.", "method.", *_SWEPT_SECTIONS[1:])


def flat(plans: Plans) -> dict[str, Any]:
    """Dotted key → value."""
    return {key: value for key, value, _ in plans.flat()}


def family(plans: Plans, free: Collection[str]) -> str:
    """The same for runs whose plans differ in nothing but the keys in `free`.

    What was found in the training set (landmarks) and the chain before it do not count.
    """
    kept = {
        key: value
        for key, value in flat(plans).items()
        if key.startswith(_FAMILY_SECTIONS) and key not in free
    }
    return json.dumps(kept, sort_keys=True)


def differences(plans: Plans) -> dict[str, Any]:
    """Settings of method and scoring that are not the preset's defaults: dotted key → value."""
    method, scoring = plans.method, _usual_scoring(plans)
    try:
        settings = find_method(method.name).default_settings(method.preset, plans.configuration)
    except DalError:  # not installed here: only the user's own changes tell
        sources = plans.all_sources()
        return {
            key: value
            for key, value in flat(plans).items()
            if key.startswith(SETTINGS) and sources.get(key, "").startswith("user")
        } | _unlike(plans, plans.model_copy(update={"scoring": scoring}))
    preset = method.model_copy(update={"settings": settings.model_dump(mode="json")})
    return _unlike(plans, plans.model_copy(update={"scoring": scoring, "method": preset}))


def _usual_scoring(plans: Plans) -> ScoringPlan:
    """The preset's; or the paper's, which `robust` had, too, before it had filters of its own."""
    ours = plans.scoring.model_dump()

    def differing(usual: ScoringPlan) -> int:
        return sum(ours[key] != value for key, value in usual.model_dump().items())

    return min(default_scoring(plans.method.preset), ScoringPlan(), key=differing)


def _unlike(plans: Plans, others: Plans) -> dict[str, Any]:
    """Settings of method and scoring that others have otherwise, or lack."""
    theirs = flat(others)
    return {
        key: value
        for key, value in flat(plans).items()
        if key.startswith((SETTINGS, "scoring.")) and value != theirs.get(key, object())
    }


def score_keys(plans: Plans) -> frozenset[str]:
    """The key that Table 5 varies."""
    return frozenset({"scoring.score"})


def loss_keys(plans: Plans) -> frozenset[str]:
    """The keys that Table 6 varies, of a run's method."""
    declared = ablations_of(plans)
    return _keys((*declared.loss_weights, *filter(None, [declared.loss_terms])))


def module_keys(plans: Plans) -> frozenset[str]:
    """The keys that Table 7 varies, of a run's method."""
    return _keys(ablations_of(plans).modules)


def ablations_of(plans: Plans) -> Ablations:
    """What a run's method declares; nothing where it is not installed."""
    try:
        return find_method(plans.method.name).ablations
    except DalError:
        return Ablations()


def is_ablation(plans: Plans, free: Collection[str] = ()) -> bool:
    """Whether a run is there to be compared with its family, and not for Table 3.

    Parameters
    ----------
    free : keys that may be ablated all the same
    """
    varied = {*score_keys(plans), *loss_keys(plans), *module_keys(plans), *_FILTERS}
    varied |= _keys(ablations_of(plans).swept)
    return bool((varied - set(free)) & set(differences(plans)))


def score_of(plans: Plans) -> str:
    """The anomaly score, of Table 5's."""
    return str(plans.scoring.score)


def loss_terms_of(plans: Plans) -> frozenset[str] | None:
    """The loss terms that are on; None for a method that declares none, or lacks one of them."""
    declared, values = ablations_of(plans), plans.method.settings
    if not declared.loss_weights or not set(declared.loss_weights) <= set(values):
        return None
    known = {term for terms in declared.loss_weights.values() for term in terms}
    off = {
        term for key, terms in declared.loss_weights.items() if values[key] == 0 for term in terms
    }
    listed = values.get(declared.loss_terms, known) if declared.loss_terms else known
    return frozenset(known & set(listed) - off)


def left_out_of(plans: Plans) -> str | None:
    """The module that a run leaves out; None for several, which the paper has not."""
    values = plans.method.settings
    modules = ablations_of(plans).modules
    found = [name for key, name in modules.items() if values.get(key, True) is False]
    return "nothing" if not found else found[0] if len(found) == 1 else None


def _keys(settings: Iterable[str]) -> frozenset[str]:
    return frozenset(SETTINGS + key for key in settings)


def swept_keys(plans: Iterable[Plans]) -> list[str]:
    """Numeric keys that runs of one family give several values, so that a curve can be drawn."""
    points: dict[str, set[tuple[str, float]]] = {}
    for one in plans:
        for key, value in flat(one).items():
            # The same key may hold a list or nothing in another method.
            if key.startswith(_SWEPT_SECTIONS) and is_number(value):
                points.setdefault(key, set()).add((family(one, {key}), value))
    return sorted(
        key for key, values in points.items() if len({f for f, _ in values}) < len(values)
    )


def families(
    plans: Mapping[RunGroup, Plans], free: Callable[[Plans], Collection[str]]
) -> dict[str, list[RunGroup]]:
    """Family → the runs that are in it; `free` gives the keys that may differ, of each."""
    found: dict[str, list[RunGroup]] = {}
    for group, one in plans.items():
        found.setdefault(family(one, free(one)), []).append(group)
    return found


def is_number(value: object) -> bool:
    """A number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool)
