"""Checks of the dataset as a whole: duplicates, overlaps, numbers, and what stands out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from dal_auto.datasets.overlap import BRATS, COLLECTIONS, how_to_tell
from dal_auto.datasets.record import Expected
from dal_auto.findings import Finding, Kind, fine
from dal_auto.preprocessing.checks.dataset import MeasuredDataset

INCOMPLETE_REMEDY = "Is the download complete, and unpacked? What is there is used."
LACKING = Kind(
    "lacks-a-sequence",
    "cases that lack a sequence",
    "Get it again, if it exists. Training on pairs leaves them out.",
)
KNOWN_TO_LACK = Kind(
    "known-to-lack-a-sequence",
    "cases that lack a sequence in every download",
    "Training on pairs leaves them out.",
)
LEFT_OUT = Kind("left-out", "left out by the record")
KNOWN = Kind("known-oddity", "known of these cases", "They are used all the same.")


def duplicates(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """9: no image is there twice, here or in another dataset; shared scans are known."""
    here: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case in dataset.fingerprint.cases:
        for name, image in case.images.items():
            if image.voxels_sha256:
                here[image.voxels_sha256].append((case.case_id, name))
    record = dataset.on_disk.record
    declared = record.overlaps if record else {}
    for other, fingerprint in sorted(dataset.others.items()):
        both: dict[str, str] = {}
        for case in fingerprint.cases:
            for name, image in case.images.items():
                for case_id, own in here.get(image.voxels_sha256, ()):
                    both[case_id] = f"{own} has the voxels of {case.case_id} {name}"
        kind = Kind(
            f"also-in-{other}",
            f"{len(both)} cases are also in {other}",
            "Score them once: keep them in one of the two datasets.",
            level="warning" if other in declared else "error",
        )
        yield from _of_cases(kind, both)
    if not measured:
        compared = ", ".join(sorted(dataset.others)) or "none yet"
        words = f"no image is there twice; other datasets compared: {compared}"
        yield fine("duplicates", words)
    yield from _shared_scans(dataset)


def _of_cases(kind: Kind, words: dict[str, str]) -> list[Finding]:
    """A finding for each case: id → words."""
    return [kind.found(found, case=case_id) for case_id, found in words.items()]


def _shared_scans(dataset: MeasuredDataset) -> Iterator[Finding]:
    """The overlap of BraTS-GLI, UPenn-GBM and UCSF-PDGM, as far as it can be told."""
    record, overlap = dataset.on_disk.record, dataset.overlap
    if record is None or not record.overlaps or overlap is None:
        return
    on_disk = {case.case_id for case in dataset.on_disk.cases}
    for other, expected in sorted(record.overlaps.items()):
        partner = other if record.name == BRATS else record.name
        if partner not in COLLECTIONS.values():
            continue
        shared: dict[str, str] = {}
        for one in overlap.of(partner):
            brats = {one.brats_gli, overlap.names_2023.get(one.brats_gli, one.brats_gli)}
            own = brats & on_disk if record.name == BRATS else {one.case_id} & on_disk
            there = one.case_id if record.name == BRATS else one.brats_gli
            shared |= dict.fromkeys(own, f"{there}, by {one.source}")
        if record.name == BRATS:
            by_folder = overlap.by_folder.get(partner, frozenset())
            shared |= dict.fromkeys(by_folder - set(shared), f"from {partner}, by TCIA's folders")
        code = f"shared-with-{other}"
        title = f"scans shared with {other} ({expected} in a complete download)"
        if not shared:
            yield Kind(code, f"{title}: {how_to_tell(partner)}").found()
            continue
        further = overlap.undecidable.get(partner, 0)
        unsure = f"; of {further} BraTS-GLI cases it cannot be told" if further else ""
        remedy = "`dal_evaluate --exclude-overlap` scores each scan once."
        yield from _of_cases(Kind(code, title + unsure, remedy), shared)


def counts(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """10: as many cases, patients, sequences and masks as a complete download has."""
    expected, found = dataset.expected, dataset.on_disk.found
    excluded = dict(found.excluded) if found else {}
    on_disk = {case.case_id for case in dataset.on_disk.cases} | set(excluded)
    facts = _facts(dataset)
    complete = expected.cases is None or len(on_disk) in (expected.cases, *expected.also)
    missing = sorted(_known_ids(dataset) - on_disk)
    if not complete or missing:
        known = f"; {len(missing)} known ids are not there" if missing else ""
        title = f"{len(on_disk)} cases, {expected.cases} in a complete download ({facts}){known}"
        incomplete = Kind("incomplete", title, INCOMPLETE_REMEDY)
        listed = _of_cases(incomplete, dict.fromkeys(missing, "not found"))
        yield from listed or [incomplete.found(value=len(on_disk), limit=expected.cases)]
    else:
        yield fine("counts", f"{len(on_disk)} cases ({facts})")
    yield from _patients(dataset, complete)
    yield from _sequences(dataset)
    if found is None:
        return
    for number, remark in enumerate(found.remarks, start=1):
        kind = Kind(f"remark-{number}", remark.words)
        yield from _of_cases(kind, dict.fromkeys(remark.cases, "")) or [kind.found()]
    yield from _of_cases(LEFT_OUT, excluded)
    yield from _automated(found.mask_quality, expected)


def _automated(mask_quality: Mapping[str, str], expected: Expected) -> list[Finding]:
    """Cases whose lesion mask was drawn by a program."""
    drawn = {i: "automated" for i, quality in mask_quality.items() if quality == "automated"}
    experts = len(mask_quality) - len(drawn)
    of = "" if expected.expert_masks is None else f" (of {expected.expert_masks})"
    title = f"lesion masks drawn by a program; {experts}{of} are by experts"
    remedy = "They are approximate: a ceiling for every score."
    return _of_cases(Kind("automated-masks", title, remedy), drawn)


def _known_ids(dataset: MeasuredDataset) -> set[str]:
    """Every id of a complete download, as far as the record or a table on disk lists them."""
    record, overlap = dataset.on_disk.record, dataset.overlap
    if record is None:
        return set()
    listed = overlap.listed.get(record.name, frozenset()) if overlap else frozenset()
    if record.name == BRATS and overlap and dataset.layout and dataset.layout.id != "2021":
        listed = frozenset(overlap.names_2023[i] for i in listed & set(overlap.names_2023))
    old = {new: old for old, new in record.renamed.items()}
    on_disk = {case.case_id for case in dataset.on_disk.cases}
    return set(record.expected.ids) | {i for i in listed if old.get(i) not in on_disk}


def _facts(dataset: MeasuredDataset) -> str:
    """What there is; where a complete download has another number, that too."""
    cases, found, expected = dataset.on_disk.cases, dataset.on_disk.found, dataset.expected
    parts = []
    if found:
        parts.append(f"layout {found.layout.id}")
        parts += _against(Counter(found.subsets.values()), expected.subsets)
    images = Counter(name for case in cases for name in case.sequences)
    parts += _against(images, expected.images)
    if expected.pairs is not None:
        pairs = sum(len(case.sequences) == len(images) for case in cases)
        parts += _against(Counter(pairs=pairs), {"pairs": expected.pairs})
    masks = sum(case.lesion_mask is not None for case in cases)
    return ", ".join([*parts, *([f"masks {masks}"] if masks else [])])


def _against(numbers: Counter[str], expected: dict[str, int]) -> list[str]:
    """Such as ``T1 581`` where that is the expected number or none is known, ``T1 2 of 581``."""
    return [
        f"{name} {number}"
        + (f" of {whole}" if (whole := expected.get(name, number)) != number else "")
        for name, number in sorted(numbers.items())
    ]


def _patients(dataset: MeasuredDataset, complete: bool) -> Iterator[Finding]:
    on_disk, expected = dataset.on_disk, dataset.expected
    if not on_disk.patients_known:
        table = on_disk.record.patient_table if on_disk.record else None
        remedy = f"Put {table.file.rstrip('*')}.xlsx below {on_disk.root}." if table else ""
        title = "the case ids do not tell patients: every case counts as one"
        yield Kind("patients-unknown", title, remedy).found()
        return
    patients = len({case.patient_id for case in on_disk.cases})
    if complete and expected.patients not in (None, patients) and not expected.also:
        kind = Kind("patients", f"{patients} patients, {expected.patients} are expected")
        yield kind.found(value=patients, limit=expected.patients)
    else:
        yield fine("patients", f"{patients} patients")


def _sequences(dataset: MeasuredDataset) -> Iterator[Finding]:
    """Cases that lack a sequence of their layout, apart from those that are known to."""
    layout, lacking = dataset.layout, dataset.expected.lacking
    wanted = layout.sequences if layout else {}
    for case in dataset.on_disk.cases:
        for name in wanted:
            if name not in case.sequences:
                expected = case.case_id in lacking.get(name, ())
                kind = KNOWN_TO_LACK if expected else LACKING
                yield kind.found(f"no {name}", case=case.case_id)


def oddities(dataset: MeasuredDataset, measured: Sequence[Finding]) -> Iterator[Finding]:
    """11: what is known of single cases, what was measured, and what stands out of the cohort."""
    record = dataset.on_disk.record
    known = {
        case.case_id: why
        for case in dataset.on_disk.cases
        for pattern, why in (record.known.items() if record else ())
        if fnmatchcase(case.case_id, pattern)
    }
    unlike = dataset.fingerprint.outliers()
    yield from _of_cases(KNOWN, known)
    yield from unlike
    if not (known or measured or unlike):
        yield fine("oddities", "nothing stands out")
