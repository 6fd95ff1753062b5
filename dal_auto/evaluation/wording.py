"""What the report says in sentences: the method, for a paper, and what it cannot see."""

from __future__ import annotations

from pathlib import Path

from dal_auto.errors import PlansError
from dal_auto.evaluation.paper import reference
from dal_auto.inference.limits import LIMITS
from dal_auto.methods.method import GradientMethod
from dal_auto.methods.registry import find_method
from dal_auto.plans import Plans

__all__ = ["LIMITS", "methods_paragraph"]


def methods_paragraph(plans: Plans) -> str:
    """What was done, in words to paste into a paper; generated from the plans."""
    chain, grid, scoring = plans.preprocessing, plans.configuration, plans.scoring
    registered = {"rigid": "rigidly", "affine": "affinely"}[chain.atlas_transform]
    atlas = "SRI24 (Rohlfing et al. 2010)" if chain.atlas == "SRI24" else chain.atlas
    spacing = "×".join(f"{mm:.2f}" for mm in grid.spacing_mm)
    learned = ""
    if issubclass(find_method(plans.method.name), GradientMethod):
        learned = (
            f" for {plans.training.steps} steps (Adam, learning rate "
            f"{plans.training.learning_rate:g})"
        )
        if plans.training.pretrained:
            learned += f", from the weights of {Path(plans.training.pretrained).name}"
        if plans.training.corruption:
            learned += f", with lesions pasted into {plans.training.corruption:.0%} of the images"
    kernels = {"minimum": scoring.min_filter_mm, "mean": scoring.mean_filter_mm}
    on = [f"a {name} of {size:g} mm" for name, size in kernels.items() if size]
    if scoring.guided_mm:
        on.append(
            f"a filter that the image guides in boxes of {scoring.guided_mm:g} mm (He et al. 2013, "
            f"ε = {scoring.guided_epsilon:g})"
        )
    filters = f", filtered with {' and '.join(on)}" if on else ""
    return (
        f"Images were skull-stripped with {chain.skull_strip}, registered {registered} to {atlas} "
        f"with {chain.registration}, cropped or padded to "
        f"{'×'.join(map(str, chain.target_shape))} voxels of 1 mm, and corrected for bias fields "
        "with N4 (Tustison et al. 2010), where these steps were needed. Intensities were matched "
        f"piecewise linearly to the landmarks of {plans.training_set} (Nyúl & Udupa 1999). "
        f"{plans.method.name} (dal_auto, preset "
        f"“{plans.method.preset}”) was trained on {', '.join(plans.sequences)} of "
        f"{plans.training_set} at {spacing} mm{learned}. {_score(plans)}Anomaly maps were "
        f"brought to 1 mm{filters}, and cut to the brain mask eroded by a kernel "
        f"of {scoring.erosion_mm:g} mm. Average precision is pooled over all voxels of a dataset; "
        "DSC is the mean over subjects at the one threshold that makes it best."
    )


def _score(plans: Plans) -> str:
    """What DAL's score of each sequence is; other methods are cited."""
    if plans.method.name != reference.METHOD:
        return ""
    try:
        method = find_method(plans.method.name)(plans)
    except PlansError:  # of another version: what its score was is not known here
        return ""
    by_words: dict[str, list[str]] = {}
    for sequence in plans.sequences:
        by_words.setdefault(method.score_words(sequence), []).append(sequence)
    told = (f"on {' and '.join(names)} {words}" for words, names in by_words.items())
    return f"The anomaly score is {'; '.join(told)}. "
