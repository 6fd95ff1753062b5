"""Which runs belong together: an ablation's runs are told by their plans, never by their names.

Tables 5 to 7 vary a score, loss terms, or modules. Runs that differ in nothing else are a family,
and are compared only within it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from dal_auto.errors import DalError
from dal_auto.evaluation.paper.reference import LOSS_TERMS
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans, ScoringPlan

SETTINGS = "method.settings."
SCORE_KEYS = frozenset({"scoring.score"})
#: Weight of loss terms (Eq. 13): a weight of 0 switches them off.
_WEIGHTS = {
    f"{SETTINGS}weight_anatomy": ("con_A", "sim_A"),
    f"{SETTINGS}weight_modality": ("con_M", "sim_M"),
    f"{SETTINGS}weight_code": ("con_AE",),
}
#: The loss terms that are on, where a method's settings list them.
_TERMS = f"{SETTINGS}loss_terms"
LOSS_KEYS = frozenset({*_WEIGHTS, _TERMS})
#: Key → what is left out where it is false. A method without the key has the module.
_MODULES = {
    f"{SETTINGS}edge_to_image": "edge-to-image",
    f"{SETTINGS}disentangling": "disentangling",
    f"{SETTINGS}modality_reuse": "modality reuse",
}
MODULE_KEYS = frozenset(_MODULES)
#: Hyper-parameters of the paper's Appendices C and D.
_SWEPT = (
    *(f"{SETTINGS}margin_anatomy", f"{SETTINGS}margin_modality"),
    *(f"{SETTINGS}weight_reconstruction", *_WEIGHTS),
    *("scoring.min_filter_mm", "scoring.mean_filter_mm", "scoring.erosion_mm"),
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
    defaults = {f"scoring.{key}": v for key, v in ScoringPlan().model_dump(mode="json").items()}
    try:
        settings = find_method(plans.method.name).default_settings(
            plans.method.preset, plans.configuration
        )
        defaults |= {SETTINGS + key: v for key, v in settings.model_dump(mode="json").items()}
    except DalError:  # not installed here: only the user's own changes tell
        sources = plans.all_sources()
        defaults |= {
            key: value
            for key, value in flat(plans).items()
            if key.startswith(SETTINGS) and not sources.get(key, "").startswith("user")
        }
    return {
        key: value
        for key, value in flat(plans).items()
        if key.startswith((SETTINGS, "scoring.")) and value != defaults.get(key, object())
    }


def is_ablation(plans: Plans, free: Collection[str] = ()) -> bool:
    """Whether a run is there to be compared with its family, and not for Table 3.

    Parameters
    ----------
    free : keys that may be ablated all the same
    """
    keys = SCORE_KEYS | LOSS_KEYS | MODULE_KEYS | set(_SWEPT)
    return bool((keys - set(free)) & set(differences(plans)))


def score_of(plans: Plans) -> str:
    """The anomaly score, of Table 5's."""
    return str(plans.scoring.score)


def loss_terms_of(plans: Plans) -> frozenset[str] | None:
    """The loss terms of Table 6 that are on; None for a method that has none of them."""
    values = flat(plans)
    if not set(_WEIGHTS) <= set(values):
        return None
    off = {term for key, terms in _WEIGHTS.items() if values[key] == 0 for term in terms}
    listed = values.get(_TERMS, LOSS_TERMS)
    return frozenset(term for term in LOSS_TERMS if term in listed and term not in off)


def left_out_of(plans: Plans) -> str | None:
    """What of Table 7's modules a run leaves out; None for several, which the paper has not."""
    values = flat(plans)
    found = [name for key, name in _MODULES.items() if values.get(key, True) is False]
    return "nothing" if not found else found[0] if len(found) == 1 else None


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


def families(infos: Mapping[Any, Plans], free: Collection[str]) -> dict[str, list[Any]]:
    """Family → the runs (or whatever keys `infos` has) that are in it."""
    found: dict[str, list[Any]] = {}
    for one, plans in infos.items():
        found.setdefault(family(plans, free), []).append(one)
    return found


def is_number(value: object) -> bool:
    """A number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool)
