"""A dataset's fingerprint in a few lines: what it holds, what is odd, who stands out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from dal_auto.findings import Finding, by_code
from dal_auto.images.oddities import FORMS_CONFLICT_MM
from dal_auto.preprocessing.fingerprint.kinds import OUTLIER
from dal_auto.preprocessing.fingerprint.orientation import REGISTERED_DICE

if TYPE_CHECKING:
    from dal_auto.preprocessing.fingerprint.case import CaseFingerprint
    from dal_auto.preprocessing.fingerprint.image import ImageFingerprint

_IDS_SHOWN = 5
_KINDS_SHOWN = 3
#: Robust z (0.6745 of the distance from the median, by the median absolute deviation) above which
#: a figure is far from the others: 3.5 is Iglewicz & Hoaglin's (1993); 5 suits long-tailed figures.
_FAR = 5.0
#: Fewer cases have no median to speak of.
_FEWEST_CASES = 8
#: Differences smaller than this share of the median are none, however alike the others are.
_LEAST_CHANGE = 0.05


def summary_lines(dataset: str, cases: Sequence[CaseFingerprint]) -> list[str]:
    """A few readable lines."""
    usable = [case for case in cases if case.failure is None]
    lines = [f"{dataset}: {len(cases)} cases, {len(usable)} readable"]
    for sequence in sorted({name for case in usable for name in case.images}):
        lines += _sequence_lines(
            sequence, [case.images[sequence] for case in usable if sequence in case.images]
        )
    lines += _case_lines(usable)
    lines += _lesion_lines([case for case in usable if case.lesion_ml is not None])
    odd = [finding.of(case.case_id) for case in usable for finding in case.findings]
    lines += [f"  odd: {line}" for line in _counted(odd)]
    outliers: dict[str, list[str]] = {}
    for finding in outlying_figures(usable):
        outliers.setdefault(finding.case, []).append(str(finding))
    lines += [
        f"  far from the others: {case_id}: {'; '.join(outliers[case_id])}"
        for case_id in list(outliers)[:_IDS_SHOWN]
    ]
    if len(outliers) > _IDS_SHOWN:
        lines.append(f"  far from the others: {len(outliers) - _IDS_SHOWN} more")
    return lines


def outlying_figures(cases: Iterable[CaseFingerprint]) -> list[Finding]:
    """The cases' figures that are far from the cohort's median, figure by figure."""
    usable = [case for case in cases if case.failure is None]
    found: list[Finding] = []
    for name, figure in _figures({n for case in usable for n in case.images}).items():
        values = {case.case_id: value for case in usable if (value := figure(case)) is not None}
        if len(values) < _FEWEST_CASES:
            continue
        median = float(np.median(list(values.values())))
        spread = float(np.median([abs(value - median) for value in values.values()]))
        least = max(spread * _FAR / 0.6745, _LEAST_CHANGE * abs(median))
        for case_id, value in values.items():
            if abs(value - median) > least:
                words = f"{name} {value:.4g}, of most cases {median:.4g}"
                limits = (median - least, median + least)
                found.append(OUTLIER.found(words, case=case_id, value=value, limit=limits))
    return found


def _figures(
    sequences: Iterable[str],
) -> dict[str, Callable[[CaseFingerprint], float | None]]:
    """Name → what is compared between the cases."""

    def of_image(sequence: str, name: str) -> Callable[[CaseFingerprint], float | None]:
        def figure(case: CaseFingerprint) -> float | None:
            image = case.images.get(sequence)
            value = None if image is None else getattr(image, name)
            return None if value is None else float(value)

        return figure

    figures: dict[str, Callable[[CaseFingerprint], float | None]] = {
        "brain volume in ml:": lambda case: case.brain_ml,
        "correlation of T1 and T2:": lambda case: case.sequence_correlation,
        "overlap of the images:": lambda case: case.nonzero_overlap if case.stripped else None,
    }
    words = {
        "atlas_dice": "overlap with the atlas:",
        "bias_share": "variation of the bias field:",
        "nonzero_ml": "non-zero volume in ml:",
        "oblique_degrees": "obliqueness in degrees:",
    }
    for sequence in sorted(sequences):
        for name, text in words.items():
            figures[f"{sequence} {text}"] = of_image(sequence, name)
        figures[f"{sequence} thickest voxel in mm:"] = lambda case, s=sequence: (  # type: ignore[misc]
            max(case.images[s].spacing_mm) if s in case.images else None
        )
    return figures


def _sequence_lines(sequence: str, images: Sequence[ImageFingerprint]) -> list[str]:
    grids = Counter(
        "×".join(map(str, image.shape))
        + " at "
        + "×".join(f"{mm:.2f}" for mm in image.spacing_mm)
        + f" mm {image.axcodes}"
        for image in images
    )
    facts = [
        f"{len(images)} images",
        f"stripped {sum(image.stripped for image in images)}",
        f"on the atlas {sum((i.atlas_dice or 0) >= REGISTERED_DICE for i in images)}",
    ]
    oblique = max(image.oblique_degrees for image in images)
    if oblique >= 0.05:
        facts.append(f"oblique by up to {oblique:.1f}°")
    conflicts = sum((image.forms_conflict_mm or 0) > FORMS_CONFLICT_MM for image in images)
    if conflicts:
        facts.append(f"sform and qform in conflict {conflicts}")
    negative = sum(image.negative_voxels > 0 for image in images)
    if negative:
        facts.append(f"with negative voxels {negative}")
    voxels = [f"voxels {_kinds(Counter(image.dtype for image in images))}"]
    levels = [image.percentiles for image in images if image.percentiles]
    if levels:
        low, middle, high = np.median(levels, axis=0)
        voxels.append(f"1st, 50th, 99th percentile about {low:.4g}, {middle:.4g}, {high:.4g}")
    shares = [image.bias_share for image in images if image.bias_share is not None]
    if shares:
        voxels.append(f"bias about {np.median(shares):.2f}")
    return [
        f"  {sequence}: {', '.join(facts)}",
        f"      {_kinds(grids)}",
        f"      {'; '.join(voxels)}",
    ]


def _case_lines(cases: Sequence[CaseFingerprint]) -> list[str]:
    lines = []
    several = [case for case in cases if len(case.images) > 1]
    if several:
        shared = sum(case.one_grid for case in several)
        line = f"  sequences on one grid: {shared} of {len(several)} cases"
        pairs = [c.sequence_correlation for c in cases if c.sequence_correlation is not None]
        if pairs:
            line += f"; correlation of T1 and T2 {_spread(pairs, '.2f')}"
        lines.append(line)
    volumes = [case.brain_ml for case in cases if case.brain_ml is not None]
    if volumes:
        lines.append(f"  brain: {_spread(volumes, '.0f')} ml")
    return lines


def _lesion_lines(cases: Sequence[CaseFingerprint]) -> list[str]:
    if not cases:
        return []
    volumes = [case.lesion_ml for case in cases if case.lesion_ml]
    line = f"  lesion masks: {len(cases)}"
    if not volumes:
        return [f"{line}, all empty"]
    smallest = min(c.smallest_lesion_ml for c in cases if c.smallest_lesion_ml is not None)
    labels = Counter(", ".join(f"{v:g}" for v in case.lesion_labels) for case in cases)
    del labels[""]
    return [
        f"{line}, {len(cases) - len(volumes)} empty; {_spread(volumes, '.1f')} ml each, in "
        f"{_spread([c.lesion_count for c in cases if c.lesion_count], '.0f')} pieces, the smallest "
        f"of all {smallest:.3g} ml; labels {_kinds(labels)}"
    ]


def _counted(findings: Iterable[Finding]) -> list[str]:
    """A line per code, the most frequent first; one case's words stand for all."""
    lines = []
    for group in by_code(findings).values():
        cases = list(dict.fromkeys(finding.case for finding in group))
        line = f"{len(cases)} cases ({_some(cases)}), such as {group[0]}"
        lines.append((-len(cases), line if len(cases) > 1 else f"{group[0]} ({cases[0]})"))
    return [line for _, line in sorted(lines, key=itemgetter(0))]


def _some(case_ids: Iterable[str]) -> str:
    ordered = list(case_ids)
    return ", ".join(ordered[:_IDS_SHOWN]) + (", …" if len(ordered) > _IDS_SHOWN else "")


def _kinds(counts: Counter[str]) -> str:
    shown = "; ".join(f"{kind} ({count})" for kind, count in counts.most_common(_KINDS_SHOWN))
    return shown + (f"; {len(counts) - _KINDS_SHOWN} more" if len(counts) > _KINDS_SHOWN else "")


def _spread(values: Sequence[float], style: str) -> str:
    if len(values) == 1:
        return f"{values[0]:{style}}"
    low, high = min(values), max(values)
    return f"median {np.median(values):{style}} ({low:{style}} to {high:{style}})"
