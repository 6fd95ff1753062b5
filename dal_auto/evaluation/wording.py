"""What the report says in sentences: the method, for a paper, and what it cannot see."""

from __future__ import annotations

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
    learned = maps = ""
    if issubclass(find_method(plans.method.name), GradientMethod):
        learned = (
            f" for {plans.training.steps} steps (Adam, learning rate "
            f"{plans.training.learning_rate:g})"
        )
    if plans.method.name == reference.METHOD:
        maps = f" are the {scoring.score} score,"
    kernels = {"minimum": scoring.min_filter_mm, "mean": scoring.mean_filter_mm}
    on = [f"a {name} of {size:g} mm" for name, size in kernels.items() if size]
    if scoring.guided_mm:
        on.append(
            f"a filter that the image guides in boxes of {scoring.guided_mm:g} mm (He et al. 2013, "
            f"ε = {scoring.guided_epsilon:g})"
        )
    filters = f", filtered with {' and '.join(on)}" if on else ""
    return (
        "Images were corrected for bias fields with N4 (Tustison et al. 2010), registered "
        f"{registered} to {atlas} with {chain.registration}, "
        f"skull-stripped with {chain.skull_strip}, and cropped or padded to "
        f"{'×'.join(map(str, chain.target_shape))} "
        "voxels of 1 mm. Intensities were matched piecewise linearly to the landmarks of "
        f"{plans.training_set} (Nyúl & Udupa 1999). {plans.method.name} (dal_auto, preset "
        f"“{plans.method.preset}”) was trained on {', '.join(plans.sequences)} of "
        f"{plans.training_set} at {spacing} mm{learned}. Anomaly maps{maps or ' were'} "
        f"brought to 1 mm{filters}, and cut to the brain mask eroded by a kernel "
        f"of {scoring.erosion_mm:g} mm. Average precision is pooled over all voxels of a dataset; "
        "DSC is the mean over subjects at the one threshold that makes it best."
    )
