"""Checks of the dataset as a whole: doubles, overlaps, numbers, and what stands out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase

from dal_auto.datasets.overlap import BRATS, COLLECTIONS, how_to_tell
from dal_auto.preprocessing.checks.images import SUSPICION
from dal_auto.preprocessing.checks.subject import Finding, Subject

#: Warnings of the fingerprint that the other checks say in their own words.
_SAID_ELSEWHERE = re.compile(
    rf"voxels below 0|^lesion mask: |by content it is stored|the others stripped|"
    rf"the voxels of case|have the same voxels|{SUSPICION.pattern}"
)


def doubles(subject: Subject) -> Iterator[Finding]:
    """9: no image is there twice, here or in another dataset; shared scans are known."""
    here: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case in subject.fingerprint.cases:
        for name, image in case.images.items():
            if image.voxels_sha256:
                here[image.voxels_sha256].append((case.case_id, name))
    twice: dict[str, str] = {}
    for places in here.values():
        for case_id, name in places if len(places) > 1 else ():
            others = [f"{c} {n}" for c, n in places if (c, n) != (case_id, name)]
            twice[case_id] = f"{name} has the voxels of {', '.join(others)}"
    if twice:
        yield Finding(
            "E", "the same voxels in two images", twice,
            "Keep one of them: copies count a patient twice, and leak between splits.",
        )  # fmt: skip
    declared = subject.dataset.record.overlaps if subject.dataset.record else {}
    for other, fingerprint in sorted(subject.others.items()):
        both: dict[str, str] = {}
        for case in fingerprint.cases:
            for name, image in case.images.items():
                for case_id, here_name in here.get(image.voxels_sha256, ()):
                    both[case_id] = f"{here_name} has the voxels of {case.case_id} {name}"
        if both:
            yield Finding(
                "W" if other in declared else "E",
                f"{len(both)} cases are also in {other}", both,
                "Score them once: keep them in one of the two datasets.",
            )  # fmt: skip
    compared = ", ".join(sorted(subject.others)) or "none yet"
    if not twice:
        yield Finding("ok", f"no image is there twice; other datasets compared: {compared}")
    yield from _shared_scans(subject)


def _shared_scans(subject: Subject) -> Iterator[Finding]:
    """The overlap of BraTS-GLI, UPenn-GBM and UCSF-PDGM, as far as it can be told."""
    record, overlap = subject.dataset.record, subject.overlap
    if record is None or not record.overlaps or overlap is None:
        return
    here = {case.case_id for case in subject.dataset.cases}
    remedy = "`dal_evaluate --exclude-overlap` scores each scan once."
    for other, expected in sorted(record.overlaps.items()):
        partner = other if record.name == BRATS else record.name
        if partner not in COLLECTIONS.values():
            continue
        shared: dict[str, str] = {}
        for one in overlap.of(partner):
            brats = {one.brats_gli, overlap.names_2023.get(one.brats_gli, one.brats_gli)}
            own = brats & here if record.name == BRATS else {one.case_id} & here
            there = one.case_id if record.name == BRATS else one.brats_gli
            shared |= dict.fromkeys(own, f"{there}, by {one.source}")
        if record.name == BRATS:
            by_folder = overlap.by_folder.get(partner, frozenset())
            shared |= dict.fromkeys(by_folder - set(shared), f"from {partner}, by TCIA's folders")
        whole = f"{expected} in a complete download"
        if not shared:
            yield Finding("W", f"scans shared with {other} ({whole}): {how_to_tell(partner)}")
            continue
        further = overlap.undecidable.get(partner, 0)
        unsure = f"; of {further} BraTS-GLI cases it cannot be told" if further else ""
        yield Finding("W", f"scans shared with {other} ({whole}){unsure}", shared, remedy)


def counts(subject: Subject) -> Iterator[Finding]:
    """10: as many cases, patients, sequences and masks as a complete download has."""
    dataset, expected = subject.dataset, subject.expected
    found = dataset.found
    excluded = dict(found.excluded) if found else {}
    here = {case.case_id for case in dataset.cases} | set(excluded)
    facts = _facts(subject)
    complete = expected.cases is None or len(here) in (expected.cases, *expected.also)
    missing = dict.fromkeys(sorted(_known_ids(subject) - here), "not found")
    if not complete or missing:
        known = f"; {len(missing)} known ids are not there" if missing else ""
        yield Finding(
            "W",
            f"{len(here)} cases, {expected.cases} in a complete download ({facts}){known}", missing,
            "Is the download complete, and unpacked? What is there is used.",
        )  # fmt: skip
    else:
        yield Finding("ok", f"{len(here)} cases ({facts})")
    yield from _patients(subject, complete)
    yield from _sequences(subject)
    if found is None:
        return
    for remark in found.remarks:
        yield Finding("W", remark.words, dict.fromkeys(remark.cases, ""))
    if excluded:
        yield Finding("W", "left out by the record", excluded)
    automated = {i: "automated" for i, kind in found.mask_quality.items() if kind == "automated"}
    if automated:
        experts = len(found.mask_quality) - len(automated)
        of = "" if expected.expert_masks is None else f" (of {expected.expert_masks})"
        yield Finding(
            "W", f"lesion masks drawn by a program; {experts}{of} are by experts", automated,
            "They are approximate: a ceiling for every score.",
        )  # fmt: skip


def _known_ids(subject: Subject) -> set[str]:
    """Every id of a complete download, as far as the record or a table on disk lists them."""
    record, overlap = subject.dataset.record, subject.overlap
    if record is None:
        return set()
    listed = overlap.listed.get(record.name, frozenset()) if overlap else frozenset()
    if record.name == BRATS and overlap and subject.layout and subject.layout.id != "2021":
        listed = frozenset(overlap.names_2023[i] for i in listed & set(overlap.names_2023))
    old = {new: old for old, new in record.renamed.items()}
    here = {case.case_id for case in subject.dataset.cases}
    return set(record.expected.ids) | {i for i in listed if old.get(i) not in here}


def _facts(subject: Subject) -> str:
    """What there is; where a complete download has another number, that too."""
    dataset, expected = subject.dataset, subject.expected
    parts = []
    if dataset.found:
        parts.append(f"layout {dataset.found.layout.id}")
        parts += _against(Counter(dataset.found.subsets.values()), expected.subsets)
    images = Counter(name for case in dataset.cases for name in case.sequences)
    parts += _against(images, expected.images)
    if expected.pairs is not None:
        pairs = sum(len(case.sequences) == len(images) for case in dataset.cases)
        parts += _against(Counter(pairs=pairs), {"pairs": expected.pairs})
    masks = sum(case.lesion_mask is not None for case in dataset.cases)
    return ", ".join([*parts, *([f"masks {masks}"] if masks else [])])


def _against(numbers: Counter[str], expected: dict[str, int]) -> list[str]:
    """Such as ``T1 581`` where that is the expected number or none is known, ``T1 2 of 581``."""
    return [
        f"{name} {number}"
        + (f" of {whole}" if (whole := expected.get(name, number)) != number else "")
        for name, number in sorted(numbers.items())
    ]


def _patients(subject: Subject, complete: bool) -> Iterator[Finding]:
    dataset, expected = subject.dataset, subject.expected
    if not dataset.patients_known:
        table = dataset.record.patient_table if dataset.record else None
        yield Finding(
            "W", "the case ids do not tell patients: every case counts as one",
            remedy=f"Put {table.file.rstrip('*')}.xlsx below {dataset.root}." if table else "",
        )  # fmt: skip
        return
    patients = len({case.patient_id for case in dataset.cases})
    if complete and expected.patients not in (None, patients) and not expected.also:
        yield Finding("W", f"{patients} patients, {expected.patients} are expected")
    else:
        yield Finding("ok", f"{patients} patients")


def _sequences(subject: Subject) -> Iterator[Finding]:
    """Cases that lack a sequence of their layout, apart from those that are known to."""
    layout, lacking = subject.layout, subject.expected.lacking
    wanted = layout.sequences if layout else {}
    known: dict[str, str] = {}
    new: dict[str, str] = {}
    for case in subject.dataset.cases:
        for name in wanted:
            if name not in case.sequences:
                expected = case.case_id in lacking.get(name, ())
                (known if expected else new)[case.case_id] = f"no {name}"
    remedy = "Training on pairs leaves them out."
    if new:
        yield Finding(
            "W", "cases that lack a sequence", new, f"Get it again, if it exists. {remedy}"
        )
    if known:
        yield Finding("W", "cases that lack a sequence in every download", known, remedy)


def oddities(subject: Subject) -> Iterator[Finding]:
    """11: what is known of single cases, what was measured, and what stands out of the cohort."""
    record = subject.dataset.record
    here = [case.case_id for case in subject.dataset.cases]
    known = {
        case_id: why
        for case_id in here
        for pattern, why in (record.known.items() if record else ())
        if fnmatchcase(case_id, pattern)
    }
    if known:
        yield Finding("W", "known of these cases", known, "They are used all the same.")
    warned = {
        case.case_id: "; ".join(words)
        for case in subject.fingerprint.cases
        if (words := [w for w in case.warnings if not _SAID_ELSEWHERE.search(w)])
    }
    if warned:
        yield Finding("W", "odd by measurement", warned, "Look at them.")
    unlike = {
        case_id: "; ".join(words) for case_id, words in subject.fingerprint.outliers().items()
    }
    if unlike:
        yield Finding("W", "far from the other cases of the set", unlike, "Look at them.")
    if not (known or warned or unlike):
        yield Finding("ok", "nothing stands out")
