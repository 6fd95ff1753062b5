"""The report, built from the records on disk; it can be rebuilt alone, also after a failed run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from dal_auto import paths
from dal_auto.datasets.registry import is_simulated
from dal_auto.evaluation.averages import averages_table, seeds_table
from dal_auto.evaluation.datasets import Absent, absent_datasets, shared_cases_of
from dal_auto.evaluation.left_out import LeftOut, with_counts, without
from dal_auto.evaluation.manifest import write_manifest
from dal_auto.evaluation.paper import ablation_tables, reference
from dal_auto.evaluation.paper import main_tables as paper_tables
from dal_auto.evaluation.paper.formats import PaperTable, write_table
from dal_auto.evaluation.paper.rows import main_runs
from dal_auto.evaluation.pictures.drawing import FigureData, draw_all
from dal_auto.evaluation.pictures.viewed_cases import kept_volumes, shown_runs
from dal_auto.evaluation.report.page import Picture, Report, write_report
from dal_auto.evaluation.result import Result
from dal_auto.evaluation.results import read_results
from dal_auto.evaluation.run_info import RunInfo, read_run_info
from dal_auto.evaluation.scores import Records, ScoredImage
from dal_auto.evaluation.tables import (
    cases_table,
    lesion_sizes_table,
    results_table,
    similarities_table,
    subset_sentences,
    subsets_table,
    variants_table,
    verdicts,
)
from dal_auto.evaluation.wording import LIMITS, methods_paragraph
from dal_auto.store.atomic import replacing
from dal_auto.store.runs import Run
from dal_auto.workers.progress import Stopwatch

logger = logging.getLogger(__name__)

PAPER_TABLES, FIGURES, MANIFEST = "paper-tables", "figures", "manifest.json"
_DEMO = "demo"  # a configuration


@dataclass(frozen=True, eq=False)
class Summary:
    """A report as it was written, for who goes on from it.

    Parameters
    ----------
    page : the report's page
    tables : name of the CSV file → table
    failures : everything that went wrong, one line each; they are on the page too
    """

    page: Path
    tables: Mapping[str, pd.DataFrame]
    failures: Sequence[str]


def write_summary(
    folder: Path,
    records: Records,
    *,
    failures: Sequence[str] = (),
    command: Sequence[str] = ("dal_evaluate",),
    with_paper_tables: bool = False,
    left_out: LeftOut | None = None,
) -> Summary:
    """Write the report's page, tables, figures and manifest into `folder`.

    What cannot be made (a damaged record, a figure) is listed on the page, and takes nothing else
    with it.

    Parameters
    ----------
    records : of `records.read_scored`
    failures : of the evaluation that ran just now, beside those in the records
    command : as it was typed, for the manifest
    with_paper_tables : also write the paper's tables, into the folder "paper-tables"
    left_out : cases that do not count, whatever is kept of them; the page and the tables say so
    """
    left_out = left_out or LeftOut()
    records = without(records, left_out)
    watch, problems = Stopwatch(), list(dict.fromkeys([*failures, *records.problems]))
    with watch.step("read"):
        infos, unread = read_run_info(records.runs)
        shared, remarks = shared_cases_of(_case_ids(records.scored))
        results, damaged = read_results(records, infos, shared)
    problems += unread + damaged
    absent = absent_datasets()
    with watch.step("tables"):
        tables = _tables(results, records)
        if left_out.totals and len(tables["results"]):
            tables["results"] = with_counts(tables["results"], left_out)
            tables["left-out"] = left_out.table()
        tables["absent-datasets"] = pd.DataFrame([asdict(one) for one in absent])
        files = _write_tables(folder, tables)
        papers = _paper_tables(tables, infos, problems)
        if with_paper_tables or (folder / PAPER_TABLES).is_dir():  # none of an earlier report stays
            for table in papers:
                files += write_table(table, folder / PAPER_TABLES)
    with watch.step("figures"):
        pictures = draw_all(
            FigureData(
                folder=folder / FIGURES,
                records=records,
                infos=infos,
                results=results,
                cases=tables["cases"],
                sizes=tables["lesion-sizes"],
                sweeps=_sweeps(papers),
            ),
            problems,
        )
    with watch.step("page"):
        page = folder / "index.html"
        remarks = [*left_out.sentences(), *remarks]
        report = _report(results, tables, records, infos, absent, remarks, pictures, problems)
        names = [path.name for path in files if path.parent == folder]
        report = replace(report, left_out=left_out.table(), files=[MANIFEST, *names])
        pages = write_report(report, page)
    figures = _only(folder / FIGURES, {picture.path.stem for picture in pictures})
    write_manifest(
        folder / MANIFEST,
        records=records,
        infos=infos,
        command=command,
        seconds=watch.seconds,
        files=[*files, *figures, *pages],
    )
    return Summary(page, tables, problems)


def _tables(results: Sequence[Result], records: Records) -> dict[str, pd.DataFrame]:
    table = results_table(results)
    return {
        "results": table,
        "cases": cases_table(results),
        "variants": variants_table(results),
        "seeds": seeds_table(table),
        "averages": averages_table(table),
        "subsets": subsets_table(results),
        "lesion-sizes": lesion_sizes_table(results),
        "healthy-similarity": similarities_table(records.held_out),
    }


def _paper_tables(
    tables: Mapping[str, pd.DataFrame], infos: Mapping[Run, RunInfo], problems: list[str]
) -> list[PaperTable]:
    """The paper's tables; one that cannot be made is named in `problems`."""
    results, healthy = tables["results"], tables["healthy-similarity"]
    makers: dict[str, Callable[[], PaperTable]] = {
        "Table 3": lambda: paper_tables.table_3(results, infos),
        "Table 4": lambda: paper_tables.table_4(results, infos),
        "Table 5": lambda: ablation_tables.table_5(results, infos),
        "Table 6": lambda: ablation_tables.table_6(results, infos),
        "Table 7": lambda: ablation_tables.table_7(results, infos),
        "Table 8": lambda: paper_tables.table_8(results, infos),
        "SSIM of healthy images": lambda: paper_tables.similarity_table(healthy, infos),
        "hyper-parameters": lambda: ablation_tables.sweeps_table(results, infos),
    }
    made = []
    for name, make in makers.items():
        try:
            made.append(make())
        except Exception as error:  # one table must not take the report with it
            logger.debug("%s", name, exc_info=True)
            problems.append(f"{name}: {type(error).__name__}: {error}")
    return made


def _sweeps(papers: Iterable[PaperTable]) -> pd.DataFrame:
    found = [table.numbers() for table in papers if table.name == ablation_tables.SWEEPS]
    return found[0] if found else pd.DataFrame()


def _write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Write each table that has columns; of the others, and of earlier reports, none stays."""
    there = {name: table for name, table in tables.items() if len(table.columns)}
    for old in folder.glob("[!.]*.csv"):
        if old.stem not in there:
            old.unlink()
    for name, table in there.items():
        with replacing(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
    return [folder / f"{name}.csv" for name in there]


def _only(folder: Path, stems: set[str]) -> list[Path]:
    """The files in `folder` with these stems; those of earlier reports are removed."""
    for old in folder.glob("[!.]*"):
        if old.stem not in stems:
            old.unlink()
    return sorted(folder.glob("[!.]*"))


def _report(
    results: Sequence[Result],
    tables: Mapping[str, pd.DataFrame],
    records: Records,
    infos: Mapping[Run, RunInfo],
    absent: Sequence[Absent],
    remarks: Sequence[str],
    pictures: Sequence[Picture],
    problems: Sequence[str],
) -> Report:
    trivial = {run.method for run, one in infos.items() if one.trivial}
    mains = {run.method: one for run, one in infos.items() if run.method not in trivial}
    main = mains.get(reference.METHOD, next(iter(mains.values()), None))
    simulated = sorted(
        name for name in _dataset_names(records, infos) if is_simulated(name, paths.raw())
    )
    shown = shown_runs(infos)
    return Report(
        title="dal_auto: lesions found without lesion labels",
        intro=[*_intro(simulated, infos), *_absent(absent), *remarks],
        simulated=bool(simulated),
        warnings=_warnings(infos),
        verdicts=[*verdicts(results, trivial), *subset_sentences(tables["subsets"])],
        results=tables["results"],
        cases=tables["cases"],
        pictures=[*pictures, *_case_pictures(one for one in records.scored if one.run in shown)],
        plans=[] if main is None else [(k, str(v), s) for k, v, s in main.plans.flat()],
        versions={} if main is None else dict(main.versions),
        failures=list(problems),
        methods_paragraph="" if main is None else methods_paragraph(main.plans),
        limits=list(LIMITS),
        volumes=kept_volumes(records.scored, shown),
        shown=[run.identity for run in shown],
        labels=main_runs(infos),
    )


def _intro(simulated: Sequence[str], infos: Mapping[Run, RunInfo]) -> list[str]:
    lines = []
    if simulated:
        lines.append(
            f"{' and '.join(simulated)} are simulated: heads drawn from tissue maps, with lesions "
            "put in. They show that the pipeline works from end to end; they say nothing of how "
            "well it detects lesions in patients."
        )
    lines.append(
        "Every method is scored on the same cases with the same post-processing. "
        f"Runs: {', '.join(map(str, infos)) or 'none'}."
    )
    return lines


def _warnings(infos: Mapping[Run, RunInfo]) -> list[str]:
    """What the models themselves cannot stand for."""
    names = sorted({run.training_set for run in infos})
    lines = [
        f"Models trained on {name}, which is simulated, have seen no patient."
        for name in names
        if is_simulated(name, paths.raw())
    ]
    demo = {run.method for run, one in infos.items() if one.plans.configuration.name == _DEMO}
    if demo:
        lines.append(
            f"Demo-sized models ({', '.join(sorted(demo))}): the configuration “{_DEMO}” is coarse "
            "and trained for minutes. It shows that the pipeline runs, not how well a method works."
        )
    return lines


def _absent(absent: Sequence[Absent]) -> list[str]:
    if not absent:
        return []
    return [
        f"Not evaluated, because not here: {', '.join(one.dataset for one in absent)}. "
        "absent-datasets.csv, beside this page, says where to get each, and what to do with it."
    ]


def _dataset_names(records: Records, infos: Mapping[Run, RunInfo]) -> set[str]:
    return {one.dataset for one in records.scored} | {run.training_set for run in infos}


def _case_ids(scored: Sequence[ScoredImage]) -> dict[str, set[str]]:
    ids: dict[str, set[str]] = {}
    for one in scored:
        ids.setdefault(one.dataset, set()).add(one.case_id)
    return ids


def _case_pictures(scored: Iterable[ScoredImage]) -> list[Picture]:
    return [
        Picture(
            path=one.picture,
            caption=f"{one.run.method}, seed {one.run.seed}: {one.case_id} {one.sequence}",
            dataset=one.dataset,
            case_id=one.case_id,
            sequence=one.sequence,
            run=one.run.identity,
        )
        for one in scored
        if one.picture is not None
    ]
