"""Scans that lie in two of the test sets: BraTS-GLI holds many of UPenn-GBM's and UCSF-PDGM's.

Which they are is told by files that the user may have, anywhere below one of the three datasets'
folders, as Excel files or saved as CSV:

- ``BraTS2021_MappingToTCIA`` (TCIA's crosswalk): both ids of each scan, for UPenn and UCSF;
- ``UCSF-PDGM-metadata_v*``: both ids, for UCSF;
- ``BraTS2023_2017_GLI_Mapping`` (Synapse): the ids of 2021 in those of 2023.

Without them TCIA's folders of collections tell which BraTS-GLI cases are concerned, though not
which cases of UPenn or UCSF they are. Only BraTS's training cases count: no other is ever scored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dal_auto.datasets.registry import dataset_root, load_records, look_up
from dal_auto.datasets.sheets import find_sheet, read_sheet
from dal_auto.errors import DalError, UsageError

BRATS = "BraTS-GLI"
#: TCIA's name of a collection → ours of the dataset
COLLECTIONS = {"UPENN-GBM": "UPenn-GBM", "UCSF-PDGM": "UCSF-PDGM"}

_CROSSWALK = "BraTS2021_MappingToTCIA*"
_CROSSWALK_COLUMNS = (
    "BraTS2021 ID",
    "Data Collection (as on TCIA+additional)",
    "PatientID on TCIA Radiology Portal",
    "Segmentation (Task 1) Cohort",
)
_METADATA = "UCSF-PDGM-metadata*"
_METADATA_COLUMNS = ("BraTS21 ID", "ID", "BraTS21 Segmentation Cohort")
_NAMES = "BraTS2023_2017_GLI_Mapping*"
_NAMES_COLUMNS = ("BraTS2021", "BraTS2023")
_ADDITIONAL = "_Additional"  # of a collection, without an id in it
_NUMBER = re.compile(r"(\d{5})$")
_UCSF = re.compile(r"(?:UCSF-PDGM-)?0*(?P<number>\d+)(?P<follow_up>_FU\d+d)?")
_UPENN = re.compile(r"UPENN-GBM-\d{5}_\d{2}")


@dataclass(frozen=True, order=True)
class SharedScan:
    """One scan in two datasets.

    Parameters
    ----------
    dataset, case_id : in UPenn-GBM or UCSF-PDGM
    brats_gli : its id in BraTS-GLI, in the naming of 2021
    source : name of the file that tells it
    """

    dataset: str
    case_id: str
    brats_gli: str
    source: str


@dataclass(frozen=True)
class Overlap:
    """What is known of the overlap.

    Parameters
    ----------
    scans : sorted; those with both ids
    by_folder : dataset → BraTS-GLI cases on disk that come from it by TCIA's folders
    undecidable : dataset → BraTS-GLI cases that come from it or its makers, without an id in it
    names_2023 : BraTS-GLI id of 2021 → of 2023
    listed : dataset → every case id that the tables list for it (BraTS-GLI: training, of 2021)
    sources : the files and folders that tell it
    """

    scans: tuple[SharedScan, ...] = ()
    by_folder: Mapping[str, frozenset[str]] = field(default_factory=dict)
    undecidable: Mapping[str, int] = field(default_factory=dict)
    names_2023: Mapping[str, str] = field(default_factory=dict)
    listed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def of(self, dataset: str) -> tuple[SharedScan, ...]:
        """The scans that `dataset` shares; of BraTS-GLI all."""
        return tuple(one for one in self.scans if dataset in (one.dataset, BRATS))


def find_overlap(raw: Path) -> Overlap:
    """Read what the user has of the files above; empty if nothing is there.

    Raises
    ------
    InputError, MissingDependency
        if a file is there and cannot be read.
    """
    roots = [dataset_root(name, raw) for name in (BRATS, *COLLECTIONS.values())]
    scans: dict[tuple[str, str], SharedScan] = {}
    undecidable: Counter[str] = Counter()
    listed: dict[str, frozenset[str]] = {}
    sources = []
    if (crosswalk := find_sheet(_CROSSWALK, roots)) is not None:
        table = read_sheet(crosswalk, _CROSSWALK_COLUMNS)
        found, without_id = _from_crosswalk(table, crosswalk.name)
        scans |= {(one.dataset, one.case_id): one for one in found}
        undecidable += without_id
        training = table[table[_CROSSWALK_COLUMNS[3]].str.lower() == "training"]
        listed[BRATS] = _ids(map(_brats_2021, training[_CROSSWALK_COLUMNS[0]]))
        sources.append(str(crosswalk))
    if (metadata := find_sheet(_METADATA, roots)) is not None:
        table = read_sheet(metadata, _METADATA_COLUMNS)
        for one in _from_metadata(table, metadata.name):
            scans.setdefault((one.dataset, one.case_id), one)
        listed["UCSF-PDGM"] = _ids(_case_id("UCSF-PDGM", exam) for exam in table["ID"])
        sources.append(str(metadata))
    by_folder = _by_folder(raw)
    if by_folder:
        sources.append(f"TCIA's folders of collections in {dataset_root(BRATS, raw)}")
    names: dict[str, str] = {}
    if sources and (mapping := find_sheet(_NAMES, roots)) is not None:
        for old, new in read_sheet(mapping, _NAMES_COLUMNS).itertuples(index=False):
            if new and (brats := _brats_2021(old)):
                names[brats] = new
    return Overlap(
        tuple(sorted(scans.values())), by_folder, dict(undecidable), names, listed, tuple(sources)
    )


def shared_cases(overlap: Overlap, dataset: str) -> frozenset[str]:
    """Cases of `dataset` that are known to be in another test set too.

    Ids of all releases; of BraTS-GLI in both namings, and those that only the folders tell: what a
    choice of cases to select a model on should leave out.
    """
    if dataset != BRATS:
        today = {one.case_id for one in overlap.of(dataset)}
        renamed = load_records()[dataset].renamed if dataset in load_records() else {}
        return frozenset(today | {old for old, new in renamed.items() if new in today})
    ids = {one.brats_gli for one in overlap.scans}.union(*overlap.by_folder.values())
    return frozenset(ids | {overlap.names_2023[i] for i in ids & set(overlap.names_2023)})


def cases_to_leave_out(
    overlap: Overlap, evaluated: Mapping[str, Collection[str]]
) -> dict[str, dict[str, str]]:
    """Which cases to leave out so that no scan is scored twice: dataset → case id → reason.

    Cases of UPenn-GBM and UCSF-PDGM are left out, not those of BraTS-GLI: the paper selects its
    model on BraTS-GLI, and a scan that may have selected the model does not belong in another
    test set. This holds also where BraTS-GLI itself is not evaluated. Where only TCIA's folders
    tell the overlap, the BraTS-GLI cases are left out instead: theirs are the ids that are known.

    Parameters
    ----------
    evaluated : dataset → its case ids

    Raises
    ------
    UsageError
        if UPenn-GBM or UCSF-PDGM is evaluated and their overlap cannot be told.
    """
    left: dict[str, dict[str, str]] = {}
    for dataset in sorted(set(COLLECTIONS.values()) & set(evaluated)):
        pairs = {one.case_id: one for one in overlap.of(dataset)}
        if pairs:
            renamed = load_records()[dataset].renamed
            for case_id in sorted(shared_cases(overlap, dataset) & set(evaluated[dataset])):
                one = pairs[renamed.get(case_id, case_id)]
                reason = f"{one.brats_gli} in {BRATS}, by {one.source}"
                left.setdefault(dataset, {})[case_id] = reason
        elif overlap.by_folder.get(dataset) and BRATS in evaluated:
            for case_id in sorted(overlap.by_folder[dataset] & set(evaluated[BRATS])):
                reason = f"comes from {dataset}, by TCIA's folders"
                left.setdefault(BRATS, {})[case_id] = reason
        else:
            raise UsageError(how_to_tell(dataset))
    return left


def how_to_tell(dataset: str) -> str:
    """What to get so that the overlap of `dataset` can be told."""
    access = load_records()[BRATS].access.url
    metadata = ", or UCSF-PDGM-metadata_v5.csv below UCSF-PDGM's" if "UCSF" in dataset else ""
    return (
        f"which cases of {dataset} are also in {BRATS} cannot be told from what is on disk. Put "
        f"BraTS2021_MappingToTCIA.xlsx (from {access}) below {BRATS}'s folder in DAL_RAW{metadata}."
    )


def _from_crosswalk(table: pd.DataFrame, source: str) -> tuple[list[SharedScan], Counter[str]]:
    scans: list[SharedScan] = []
    undecidable: Counter[str] = Counter()
    for brats, collection, patient, cohort in table.itertuples(index=False):
        dataset = COLLECTIONS.get(collection.removesuffix(_ADDITIONAL))
        brats_id = _brats_2021(brats)
        if dataset is None or brats_id is None or cohort.lower() != "training":
            continue
        case_id = None if collection.endswith(_ADDITIONAL) else _case_id(dataset, patient)
        if case_id is None:
            undecidable[dataset] += 1
        else:
            scans.append(SharedScan(dataset, case_id, brats_id, source))
    return scans, undecidable


def _from_metadata(table: pd.DataFrame, source: str) -> Iterable[SharedScan]:
    for brats, exam, cohort in table.itertuples(index=False):
        case_id, brats_id = _case_id("UCSF-PDGM", exam), _brats_2021(brats)
        if case_id and brats_id and cohort.lower() == "training":
            yield SharedScan("UCSF-PDGM", case_id, brats_id, source)


def _ids(found: Iterable[str | None]) -> frozenset[str]:
    return frozenset(case_id for case_id in found if case_id is not None)


def _brats_2021(text: str) -> str | None:
    match = _NUMBER.search(text)
    return f"BraTS2021_{match[1]}" if match else None


def _case_id(dataset: str, text: str) -> str | None:
    """The id that our record gives to what TCIA calls `text`; None for a placeholder."""
    if dataset == "UPenn-GBM":
        return text if _UPENN.fullmatch(text) else None
    match = _UCSF.fullmatch(text.removesuffix(".0"))  # a number, where Excel made it one
    if match is None:
        return None
    case_id = f"UCSF-PDGM-{int(match['number']):04d}{match['follow_up'] or ''}"
    return load_records()[dataset].renamed.get(case_id, case_id)


def _by_folder(raw: Path) -> dict[str, frozenset[str]]:
    try:
        found = look_up(BRATS, raw).found
    except DalError:  # not there, or faulty: that is for others to say
        return {}
    cases: dict[str, set[str]] = {}
    for case_id, collection in found.subsets.items() if found else ():
        if collection in COLLECTIONS:
            cases.setdefault(COLLECTIONS[collection], set()).add(case_id)
    return {dataset: frozenset(ids) for dataset, ids in cases.items()}
