"""The cases that the report's viewer shows: whose volumes are kept, and where they lie.

Of each shown run the worst and best cases of every dataset and sequence (`ranking`). A case that is
neither among the cases scored so far is neither among all of them, so volumes are kept while cases
are scored, and nothing is predicted twice. What is missing all the same (it was lost, or scored by
an earlier version) is predicted when all are scored. The choice follows from the records alone,
whatever the order or number of processes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dal_auto.case import StandardCase
from dal_auto.errors import InputError
from dal_auto.evaluation.paper.rows import main_runs
from dal_auto.evaluation.pictures.ranking import worst_and_best
from dal_auto.evaluation.pictures.volumes import read_volumes, take_volumes, write_volumes
from dal_auto.evaluation.report.content import CaseVolumes
from dal_auto.evaluation.run_info import RunInfo, read_run_info
from dal_auto.evaluation.scores import ScoredImage, evaluation_folder, method_name, read_scored
from dal_auto.inference.model import check_atlas
from dal_auto.inference.predictor import Prediction, predict
from dal_auto.methods.checkpoint import load_checkpoint
from dal_auto.methods.method import Method
from dal_auto.store.failures import case_error, case_line
from dal_auto.store.run_identity import RunGroup
from dal_auto.store.runs import Run
from dal_auto.store.standard_cases import CaseRecord, read_case

logger = logging.getLogger(__name__)

_FOLDER = "volumes"


def shown_runs(infos: Mapping[Run, RunInfo]) -> list[Run]:
    """Runs whose cases are shown one by one: the first seed of each that is no ablation.

    Trivial baselines only where nothing else was run.
    """
    called = main_runs(infos)
    first: dict[RunGroup, Run] = {}
    for run in sorted(infos, key=lambda one: one.identity):
        if run.identity.group in called:
            first.setdefault(run.identity.group, run)
    chosen = [run for run in first.values() if not infos[run].trivial]
    return sorted(chosen or first.values(), key=lambda one: one.identity)


class ViewedCases:
    """The cases of one run and dataset that are among the worst or best so far, with volumes.

    Parameters
    ----------
    run : one of `shown_runs`
    case_ids : of the dataset; what else was scored once does not count
    """

    def __init__(self, run: Run, dataset: str, case_ids: Collection[str]) -> None:
        self._precision: dict[tuple[str, str], dict[str, float]] = {}
        for one in read_scored([run], [dataset]).scored:
            if one.case_id in case_ids:
                self._note(one)

    def offer(self, one: ScoredImage, case: StandardCase, prediction: Prediction) -> None:
        """Keep the volumes of a case that was scored just now, if it is among the worst or best.

        The volumes of a case that it drives out are removed.
        """
        before = {variant: self._chosen(one.sequence, variant) for variant in one.variants}
        self._note(one)
        for variant in one.variants:
            chosen = self._chosen(one.sequence, variant)
            if one.case_id in chosen:
                volumes = take_volumes(case, prediction, variant, one.record.made_from)
                write_volumes(_path(one, variant), volumes)
            for out in before[variant] - chosen:
                _volumes_path(one.folder, out, one.sequence, variant).unlink(missing_ok=True)

    def _note(self, one: ScoredImage) -> None:
        for variant, score in one.record.variants.items():
            known = score.average_precision
            precision = float("nan") if known is None else known
            self._precision.setdefault((one.sequence, variant), {})[one.case_id] = precision

    def _chosen(self, sequence: str, variant: str) -> set[str]:
        worst, best = worst_and_best(self._precision.get((sequence, variant), {}))
        return {*worst, *best}


def keep_volumes(
    runs: Sequence[Run], datasets: Mapping[str, Sequence[CaseRecord]], *, device: str
) -> list[str]:
    """Make the volumes of the worst and best cases complete; returns the failures, one line each.

    What is there, of today's checkpoint and case, is not made again; volumes of cases that are
    neither among the worst nor the best any more are removed.

    Parameters
    ----------
    datasets : name → standard cases, scored before
    """
    failures: list[str] = []
    infos, _ = read_run_info(runs)  # what cannot be read is told by who scored it
    for run in shown_runs(infos):
        method: Method | None = None
        for dataset, records in datasets.items():
            by_id = {record.case_id: record for record in records}
            for one, variants in _missing(run, dataset, by_id):
                try:
                    if method is None:
                        checkpoint = load_checkpoint(run.checkpoint_path)
                        check_atlas(checkpoint)
                        method = checkpoint.build(device)
                    _keep(one, variants, by_id[one.case_id], method, device)
                except Exception as error:  # a page less; its scores stand
                    logger.debug("volumes of %s", one.case_id, exc_info=True)
                    failures.append(f"{run}, {dataset}, {_failure(one.case_id, error)}")
                    logger.error(failures[-1])
    return failures


def kept_volumes(scored: Sequence[ScoredImage], shown: Sequence[Run]) -> list[CaseVolumes]:
    """Volumes on disk of these records, where they belong to the record's checkpoint and case."""
    return [
        CaseVolumes(
            path=_path(one, variant),
            dataset=one.dataset,
            case_id=one.case_id,
            sequence=one.sequence,
            method=method_name(one.run, variant),
            run=one.run.identity,
        )
        for one in scored
        if one.run in shown
        for variant in one.variants
        if _is_kept(one, variant)
    ]


def _missing(
    run: Run, dataset: str, records: Mapping[str, CaseRecord]
) -> list[tuple[ScoredImage, list[str]]]:
    """Records of the worst and best cases, with those variants of which volumes are missing."""
    scored = [one for one in read_scored([run], [dataset]).scored if one.case_id in records]
    wanted: set[Path] = set()
    missing: dict[tuple[str, str], tuple[ScoredImage, list[str]]] = {}
    for one, variant in _worst_and_best(scored):
        wanted.add(_path(one, variant))
        if not _is_kept(one, variant):
            missing.setdefault((one.case_id, one.sequence), (one, []))[1].append(variant)
    for old in (evaluation_folder(run, dataset) / _FOLDER).glob("[!.]*.npz"):
        if old not in wanted:
            old.unlink()
    return list(missing.values())


def _worst_and_best(scored: Sequence[ScoredImage]) -> Iterator[tuple[ScoredImage, str]]:
    groups: dict[tuple[str, str], dict[str, ScoredImage]] = {}
    for one in scored:
        for variant in one.variants:
            groups.setdefault((one.sequence, variant), {})[one.case_id] = one
    for (_, variant), cases in groups.items():
        known = {
            name: one.record.variants[variant].average_precision for name, one in cases.items()
        }
        precision = {name: value for name, value in known.items() if value is not None}
        worst, best = worst_and_best(precision)
        yield from ((cases[case_id], variant) for case_id in (*worst, *best))


def _keep(
    one: ScoredImage, variants: Sequence[str], record: CaseRecord, method: Method, device: str
) -> None:
    case = read_case(record)
    prediction = predict(method, case, one.sequence, device, compare=True)
    for variant in variants:
        volumes = take_volumes(case, prediction, variant, one.record.made_from)
        write_volumes(_path(one, variant), volumes)


def _failure(case_id: str, error: Exception) -> str:
    return case_line(case_id, case_error(case_id, "keeping volumes", error))


def _is_kept(one: ScoredImage, variant: str) -> bool:
    try:
        return read_volumes(_path(one, variant)).made_from == one.record.made_from
    except InputError:
        return False


def _path(one: ScoredImage, variant: str) -> Path:
    return _volumes_path(one.folder, one.case_id, one.sequence, variant)


def _volumes_path(folder: Path, case_id: str, sequence: str, variant: str) -> Path:
    stem = "_".join(filter(None, (case_id, sequence, variant)))
    return folder / _FOLDER / f"{stem}.npz"
