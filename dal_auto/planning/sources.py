"""Where the values of a run's plans come from, where that is not their field's default."""

from __future__ import annotations

from dal_auto.planning.wishes import Wishes
from dal_auto.plans import MethodPlan, PreprocessingPlan


def asked_sources(training_set: str, wishes: Wishes) -> dict[str, str]:
    """Sources of what every command must be told, or takes from the paper."""
    papers = {
        "training_set": (training_set == "IXI", "paper: §4.1.1"),
        "sequences": (wishes.sequences == ("T1", "T2"), "paper: §4.1.1"),
        "method.name": (wishes.method == "DAL", "paper: the method"),
        "method.preset": (
            wishes.preset == "robust",
            MethodPlan().sources("method")["method.preset"],
        ),
    }
    return {
        key: text if as_usual else asked_by(wishes, key) for key, (as_usual, text) in papers.items()
    }


def asked_by(wishes: Wishes, key: str) -> str:
    """Who asked for a key that is not as usual."""
    return "file: --plans" if key in wishes.from_file else "user: asked for"


def chain_sources(preprocessing: PreprocessingPlan) -> dict[str, str]:
    """Sources of the chain's values that are not the defaults."""
    content, usual = (p.model_dump() for p in (preprocessing, PreprocessingPlan()))
    sources = {
        f"preprocessing.{key}": "user: chosen when the cases were preprocessed"
        for key in content
        if content[key] != usual[key]
    }
    found = "measured: the atlas that was found"
    return sources | {"preprocessing.atlas": found, "preprocessing.atlas_sha256": found}
