"""Pages as they are read again, and a report of few cases to write."""

from __future__ import annotations

import dataclasses
import zlib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dal_auto.evaluation.pictures.volumes import Volumes, write_volumes
from dal_auto.evaluation.report.content import CaseVolumes, Picture, Report
from dal_auto.evaluation.report.page import write_report
from dal_auto.figures.png import save_png
from dal_auto.store.kept import Origin
from dal_auto.store.run_identity import RunGroup, RunIdentity

VOID = {"meta", "img", "br", "link", "hr", "input"}
GROUP = RunGroup("IXI", "DAL", "demo", "robust")
RUN, SECOND = RunIdentity(GROUP, 0), RunIdentity(GROUP, 1)
BASE = RunIdentity(dataclasses.replace(GROUP, method="mean-brain"), 0)
NAN = float("nan")
EMPTY = Report(
    title="Empty",
    intro=[],
    simulated=False,
    verdicts=[],
    results=pd.DataFrame(),
    cases=pd.DataFrame(columns=["case", "AP"]),
    pictures=[],
    plans=[],
    versions={},
    failures=[],
    methods_paragraph="",
    limits=[],
)


class Page(HTMLParser):
    """Tags with their attributes, cells of tables, and whether every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.cells: list[list[dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"style": [], "script": []}
        self.text = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.cells.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cells[-1].append(dict(attrs))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] in self.texts:
            self.texts[self.open[-1]].append(data)
            return
        self.text += data
        if {"td", "th"} & set(self.open):
            joined = " " if self.open[-1] == "small" else ""
            self.rows[-1][-1] += joined + data.strip()

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def cell(self, row: list[str], column: int) -> dict[str, str | None]:
        """Attributes of a cell, found by the text of its row."""
        return self.cells[self.rows.index(row)][column]

    def target(self, url: str) -> Path:
        """The file that a link of this page leads to."""
        return (self.path.parent / unquote(urlsplit(url).path)).resolve()


def case_row(case: str, ap: float, dataset: str = "A", run: RunIdentity = RUN) -> dict[str, object]:
    method = run.group.method
    names = {"dataset": dataset, "case": case, "sequence": "T1", "method": method, "seed": 0}
    return names | {"lesion ml": 3.5, "AP": ap, "DSC": 50.0, "FP": 2, "run": run}


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Dataset A with eight cases of a run and one of a baseline; B with one case."""
    elsewhere = tmp_path / "runs"
    for name in ("c1", "c2", "b1", "baseline"):
        save_png(Figure(figsize=(1 + len(name) / 9, 1)), elsewhere / f"{name}.png")
    for name in ("all", "of A"):
        save_png(Figure(figsize=(2, 1)), tmp_path / "report" / "figures" / f"{name}.png")
    (tmp_path / "report" / "figures" / "of A.svg").write_text("<svg/>")
    figures = tmp_path / "report" / "figures"
    rng = np.random.default_rng(0)
    layers = {
        name: zlib.compress(rng.integers(0, high, 60, np.uint8).tobytes())
        for name, high in {"input": 255, "pseudo-healthy": 255, "anomaly": 255, "lesion": 2}.items()
    }
    for name in ("c0", "c1", "c3", "c7"):
        volumes = Volumes(
            shape=(3, 4, 5),
            origin=(10, 20, 30),
            start=(1, 2, 3),
            highest=0.5,
            layers=layers,
            made_from=Origin(model="m", case="c"),
        )
        write_volumes(elsewhere / f"{name}.npz", volumes)
    methods = ["DAL", "DAL", "mean-brain"]
    results = pd.DataFrame(
        {
            "dataset": ["A"] * 6 + ["B"],
            "sequence": ["T1"] * 3 + ["T2"] * 3 + ["T1"],
            "method": [*methods, *methods, "DAL"],
            "seed": [0, 1, 0, 0, 1, 0, 0],
            "variant": "",
            "cases": [8, 8, 8, 8, 8, 8, 1],
            "AP": [41.99, 43.99, 30.0, 54.94, 54.94, 54.941, 7.0],
            "AP low": [40.0, 41.0, NAN, 50.0, 50.0, 50.0, 6.0],
            "AP high": [44.0, 45.0, NAN, 60.0, 60.0, 60.0, 8.0],
            "DSC": [NAN, NAN, 20.0, 30.0, 10.0, 5.0, 7.0],
            "RE_N": [0.00001, 0.5, 0.25, NAN, NAN, NAN, NAN],
            "threshold": [0.3, 0.2, 0.1, 0.2, 0.2, 0.2, NAN],
            "practical threshold": [0.25, NAN, NAN, NAN, NAN, NAN, NAN],
            "run": [RUN, SECOND, BASE, RUN, SECOND, BASE, RUN],
        }
    )
    cases = [case_row(f"c{i}", 10.0 * i) for i in range(8)]
    cases += [case_row("healthy", NAN), case_row("b1", 7.0, "B")]
    cases += [case_row("c1", 99.0, run=BASE), case_row("c1", 98.0, run=SECOND)]
    return Report(
        title="Title of the report",
        intro=["First paragraph."],
        simulated=True,
        verdicts=["DAL does not beat mean-brain on T2."],
        results=results,
        cases=pd.DataFrame(cases),
        pictures=[
            Picture(figures / "all.png", "Boxes"),
            Picture(figures / "of A.png", "Curves", "A"),
            Picture(elsewhere / "baseline.png", "Panel", "A", "c1", "T1", BASE),
            Picture(elsewhere / "c1.png", "Panel", "A", "c1", "T1", RUN),
            Picture(elsewhere / "c2.png", "Panel", "A", "c2", "T1", RUN),
            Picture(elsewhere / "b1.png", "Panel", "B", "b1", "T1", RUN),
        ],
        plans=[
            ("training.steps", "200", "ours: set by the planner"),
            ("scoring.score", "hybrid", "paper: Eq. 15"),
            ("intensity.landmarks", "0.1", "measured: 581 cases"),
            ("training.amp", "False", "user: --set"),
            ("method.settings", "{}", ""),
        ],
        versions={"torch": "2.4.1"},
        failures=[],
        methods_paragraph="Images were corrected with N4 (Tustison et al. 2010).",
        limits=["Mass effect and atrophy (§5.4)."],
        volumes=[
            CaseVolumes(elsewhere / f"{name}.npz", "A", name, "T1", "DAL", RUN)
            for name in ("c0", "c1", "c3", "c7")
        ],
        shown=[RUN],
        labels={GROUP: "DAL", BASE.group: "mean-brain"},
        left_out=pd.DataFrame({"dataset": ["A"], "case": ["x9"], "reason": ["it is in B too"]}),
        files=["manifest.json", "results.csv"],
    )


def pages_of(report: Report, tmp_path: Path) -> dict[str, Page]:
    """Pages of the whole report, by their path within the folder."""
    folder = tmp_path / "report"
    for name in report.files:
        (folder / name).write_text("")
    written = write_report(report, folder / "index.html")
    assert sorted(written) == sorted(folder.rglob("*.html"))
    return {path.relative_to(folder).as_posix(): Page(path) for path in written}


@pytest.fixture
def by_hand() -> SimpleNamespace:
    """What tests need of the above."""
    return SimpleNamespace(
        page=Page,
        empty=EMPTY,
        pages_of=pages_of,
        case_row=case_row,
        run=RUN,
        second=SECOND,
        base=BASE,
        group=GROUP,
    )
