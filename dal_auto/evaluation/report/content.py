"""What a report says, before it is laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dal_auto.store.run_identity import RunGroup, RunIdentity


@dataclass(frozen=True)
class Picture:
    """A PNG file with what it shows.

    Parameters
    ----------
    dataset, case_id, sequence : empty stands for all of them
    run : of which run; None stands for all of them
    chart : dark lines on white, which a dark page may invert; brains are not
    lead : the summary opens with it
    """

    path: Path
    caption: str
    dataset: str = ""
    case_id: str = ""
    sequence: str = ""
    run: RunIdentity | None = None
    chart: bool = False
    lead: bool = False


@dataclass(frozen=True)
class CaseVolumes:
    """A file of `volumes.write_volumes`, with whose it is; `method` as in the tables."""

    path: Path
    dataset: str
    case_id: str
    sequence: str
    method: str
    run: RunIdentity


@dataclass(frozen=True, eq=False)
class Report:
    """What the pages say.

    Parameters
    ----------
    title, intro : heading and paragraphs under it
    simulated : the data were made by a program; every page says so in a banner
    warnings : what the models cannot stand for; every page says so in a banner
    verdicts : sentences such as "DAL is lower than mean-brain on T2"
    results : one row per dataset, sequence and method; within each dataset and sequence the best
        "AP" and "DSC" are emphasised. The column "run" holds the run's identity; it is not shown,
        nor is "variant"
    cases : one row per case, sequence and method, with columns as those of `results`, and "case"
    pictures : in the order in which they are shown
    plans : (key, value, source); a source begins with paper, measured, ours or user, and a colon
    versions : tool → version
    failures : one sentence per case that failed
    methods_paragraph : text for a publication; line breaks are kept
    limits : what the method cannot see
    volumes : of cases that get a page with a viewer
    shown : runs whose cases are listed one by one; empty lists those of all
    labels : what the runs that differ by their seed are called in the table of all methods; runs
        without a label are not in it
    left_out : cases that do not count: "dataset", "case", "reason"
    files : what lies beside the page, by name
    """

    title: str
    intro: Sequence[str]
    simulated: bool
    verdicts: Sequence[str]
    results: pd.DataFrame
    cases: pd.DataFrame
    pictures: Sequence[Picture]
    plans: Sequence[tuple[str, str, str]]
    versions: Mapping[str, str]
    failures: Sequence[str]
    methods_paragraph: str
    limits: Sequence[str]
    warnings: Sequence[str] = ()
    volumes: Sequence[CaseVolumes] = ()
    shown: Sequence[RunIdentity] = ()
    labels: Mapping[RunGroup, str] = field(default_factory=dict)
    left_out: pd.DataFrame = field(default_factory=pd.DataFrame)
    files: Sequence[str] = ()
