"""Runs and score records of all nine datasets, without a network or an image: all is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dal_auto.case import STANDARD_VOXEL_ML, Geometry, StandardCase
from dal_auto.evaluation import keeping
from dal_auto.evaluation.keeping import RunOnDataset, keep_case
from dal_auto.evaluation.paper.reference import DATASETS
from dal_auto.evaluation.result import CaseMetrics, CaseResult, Metrics, PartResult, Result
from dal_auto.evaluation.scores import (
    BRAIN,
    GRID,
    HELD_OUT,
    ScoredImage,
    ScoreRecord,
    Similarity,
    VariantScore,
    counts_name,
    evaluation_folder,
)
from dal_auto.inference.predictor import Prediction
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.registry import find_method
from dal_auto.plans import ConfigurationPlan, Plans
from dal_auto.scoring import bootstrap
from dal_auto.scoring.lesionwise import LesionScore, false_positives, score_lesions
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.kept import Origin
from dal_auto.store.run_identity import RunGroup, RunIdentity
from dal_auto.store.runs import Run, run_of

SHAPE = (12, 14, 12)
METHODS = ("DAL", "mean-brain", "raw-intensity")
SEEDS = (0, 1, 2)
CASES = 3
CONFIGURATION = ConfigurationPlan(
    name="demo", input_shape=(40, 56, 40), spacing_mm=(4.0, 4.0, 4.0), window=(40, 56, 40)
)
#: Datasets of which slices are kept; of all it would only take longer.
DRAWN = ("BraTS-GLI", "ATLAS")
#: Scores have few values, so that ties are common.
STEP = 1 / 64
SKILL = {"DAL": 0.35, "mean-brain": 0.2, "raw-intensity": 0.1}


def plans_of(method: str, **overrides: Any) -> Plans:
    """Plans of a run on IXI; overrides as ``--set`` would give them, dots written as ``__``."""
    settings = find_method(method).default_settings("robust", CONFIGURATION)
    plans = Plans.parse(
        {
            "training_set": "IXI",
            "sequences": ["T1", "T2"],
            "configuration": CONFIGURATION.model_dump(mode="json"),
            "method": {"name": method, "settings": settings.model_dump(mode="json")},
        }
    )
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    return plans.override(changed, "user: --set")


def train(
    method: str, seed: int, *, progress: Mapping[str, Any] | None = None, **overrides: Any
) -> Run:
    """Put a complete run on disk, with thresholds and nothing learned."""
    plans = plans_of(method, **overrides)
    run = run_of(plans, overrides, seed)
    variants = ("/bright", "/dark") if method == "raw-intensity" else ("",)
    thresholds = {f"{sequence}{v}": 0.5 for sequence in ("T1", "T2") for v in variants}
    checkpoint = Checkpoint(
        plans,
        {},
        thresholds=thresholds,
        threshold_source="2 healthy validation cases",
        progress={"seed": seed, **(progress or {})},
    )
    save_checkpoint(run.checkpoint_path, checkpoint)
    content = {"validation_cases": ["h0", "h1"], "versions": {"dal_auto": "0", "torch": "0"}}
    (run.folder / "complete.json").write_text(json.dumps(content))
    return run


def bare_case(brain: np.ndarray, lesion: np.ndarray | None, **others: Any) -> StandardCase:
    """A case of masks alone, as evaluation sees it: of an image it knows only what was predicted.

    Parameters
    ----------
    others : fields of the case, which is case "c" of patient "p" of the dataset "A", a T1
    """
    fields: dict[str, Any] = {
        "dataset": "A",
        "case_id": "c",
        "patient_id": "p",
        "sequences": ("T1",),
        "images": np.zeros((0, *brain.shape), np.float32),
        "brain_mask": brain,
        "lesion_mask": lesion,
        "geometry": Geometry({}, {}),
        "scale": {},
        "percentiles": {},
        "quality": {},
        "steps": (),
    }
    return StandardCase(**fields | others)


def drawn_case(dataset: str, number: int, *, healthy: bool = False) -> StandardCase:
    """A brain with one or two lesions, one of which reaches out of the brain mask."""
    rng = np.random.default_rng([sum(dataset.encode()), number])
    brain = np.zeros(SHAPE, bool)
    brain[1:-1, 1:-1, 1:-1] = True
    lesion = np.zeros(SHAPE, bool)
    if not healthy:
        x, y, z = rng.integers(2, 6, 3)
        lesion[x : x + 3, y : y + 3, z : z + 3] = True
        lesion[-2:, -3:-1, -3:-1] = rng.random() < 0.7  # half of it outside
    name = f"{'h' if healthy else dataset + '-'}{number}"
    return bare_case(
        brain,
        lesion,
        dataset=dataset,
        case_id=name,
        patient_id=f"{name}-patient" if number else f"{dataset}-first",
        sequences=("T1",) if dataset == "ATLAS" else ("T1", "T2"),
    )


def drawn_prediction(run: Run, case: StandardCase, sequence: str) -> Prediction:
    """Scores that find lesions as well as the method's skill lets them; none outside the brain."""
    rng = np.random.default_rng(
        [run.seed, len(run.method), len(sequence), sum(case.case_id.encode())]
    )
    brain, lesion = case.brain_mask, case.lesion_mask

    def score(skill: float) -> np.ndarray:
        values = (
            rng.random(SHAPE) * 0.6 + skill * lesion + (0.1 if sequence == "T2" else 0) * lesion
        )
        return (np.round(values.clip(0) / STEP) * STEP * brain).astype(np.float32)

    if run.method == "raw-intensity":
        return Prediction(brain * 0.5, {"bright": score(SKILL[run.method]), "dark": score(-0.1)})
    healthy = (brain * (0.5 + 0.05 * rng.standard_normal(SHAPE))).clip(0, 1).astype(np.float32)
    noise = 0.05 * rng.standard_normal(SHAPE)
    image = ((healthy + noise + 0.2 * lesion).clip(0, 1) * brain).astype(np.float32)
    extras = {"anatomy": brain * 1.0, "edges": brain * 1.0} if run.method == "DAL" else {}
    found = Prediction(image, {"": score(SKILL.get(run.method, 0.0))}, healthy, extras)
    if run.method == "DAL":
        vector = rng.standard_normal(20) + (sequence == "T2") * 5
        vectors = {"modality": vector, "modality restored": vector + 0.1}
        object.__setattr__(found, "vectors", vectors)
    return found


def score(run: Run, dataset: str, cases: list[StandardCase]) -> None:
    """Keep what `evaluate` would keep."""
    ids = frozenset(case.case_id for case in cases)
    checkpoint = load_checkpoint(run.checkpoint_path)
    work = RunOnDataset(
        run=run,
        method=SimpleNamespace(plans=checkpoint.plans),  # all that is asked of it
        model=run.checkpoint_sha256(),
        thresholds=checkpoint.thresholds,
        device="cpu",
        folder=evaluation_folder(run, dataset),
        shown=ids if dataset in DRAWN else frozenset(),
        embedded=ids,
    )
    for case in cases:
        for sequence in case.sequences:
            prediction = drawn_prediction(run, case, sequence)
            keep_case(work, case, sequence, prediction, hash_of(case))


def hash_of(case: StandardCase) -> str:
    return hashlib.sha256(case.case_id.encode()).hexdigest()


NAN = float("nan")


def a_result(
    ap: float = 40.0,
    *,
    method: str = "DAL",
    seed: int = 0,
    dataset: str = "MSLUB",
    sequence: str = "T1",
    variant: str = "",
    cases: Mapping[str, float] | None = None,
    patients: Mapping[str, str] | None = None,
    subsets: Mapping[str, tuple[int, float, float]] | None = None,
    lesions: Sequence[LesionScore] = (),
    resampled: Sequence[float] = (NAN,),
    **metrics: float,
) -> Result:
    """A result by hand: what is not given is not known.

    Parameters
    ----------
    cases : case → its AP
    patients : case → whose it is; by default each is of its own
    subsets : which cases → their number, AP and DSC
    """
    of_cases = {"a": 30.0, "b": 50.0} if cases is None else cases
    unknown = dict.fromkeys(CaseMetrics.model_fields, NAN) | {"lesions": 1}
    found = [
        CaseResult(
            case=case,
            patient=(patients or {}).get(case, f"{case}-patient"),
            variant=variant,
            metrics=CaseMetrics(**(unknown | {"ap": value})),
        )
        for case, value in of_cases.items()
    ]
    of_all = dict.fromkeys(Metrics.model_fields, NAN) | {"lesions": 0, "healthy_cases": 0}
    return Result(
        dataset=dataset,
        sequence=sequence,
        run=RunIdentity(RunGroup("IXI", method, "demo", "robust"), seed),
        variant=variant,
        number_of_cases=len(of_cases),
        metrics=Metrics(**(of_all | {"ap": ap} | metrics)),
        cases=found,
        variants={variant: PartResult(cases=len(of_cases), ap=ap, dsc=NAN)},
        subsets={
            name: PartResult(cases=number, ap=part_ap, dsc=dsc)
            for name, (number, part_ap, dsc) in (subsets or {}).items()
        },
        lesions=list(lesions),
        recall=np.array([0.5, 1.0]),
        precision=np.array([1.0, 0.6]),
        resampled=np.array(resampled),
    )


def scored_image(
    run: Run,
    case: str,
    scores: Sequence[float] | Mapping[str, Sequence[float]],
    lesion: Sequence[int],
    brain: Sequence[int] | None = None,
    *,
    dataset: str = "MSLUB",
    sequence: str = "T1",
    patient: str = "",
    threshold: float | None = 0.5,
    errors: tuple[float | None, float | None] = (None, None),
    similarity: tuple[float, float] | None = None,
    model: str = "model",
) -> ScoredImage:
    """What is kept of an image whose voxels lie in one line, written where it belongs.

    Parameters
    ----------
    scores : of each voxel; or variant → those
    lesion, brain : 1 where a voxel belongs to it; without `brain` all do
    """
    folder, variants = evaluation_folder(run, dataset), {}
    mask = np.array(lesion, bool).reshape(-1, 1, 1)
    within = np.ones_like(mask) if brain is None else np.array(brain, bool).reshape(-1, 1, 1)
    for variant, values in (scores if isinstance(scores, Mapping) else {"": scores}).items():
        volume = np.array(values, np.float32).reshape(-1, 1, 1)
        for region, counted in ((GRID, None), (BRAIN, within)):
            path = folder / counts_name(f"{case}_{sequence}", variant, region)
            ScoreCounts.from_volume(volume, mask, counted).save(path)
        variants[variant] = VariantScore(
            average_precision=None,
            lesions=score_lesions(volume, mask, within, STANDARD_VOXEL_ML),
            false_positives=None if threshold is None else false_positives(volume, mask, threshold),
        )
    record = ScoreRecord(
        case=case,
        patient=patient or f"{case}-patient",
        sequence=sequence,
        variants=variants,
        lesion_ml=float(mask.sum() * STANDARD_VOXEL_ML),
        lesion_outside_brain=float((mask & ~within).sum() / max(mask.sum(), 1)),
        error_normal=errors[0],
        error_lesion=errors[1],
        similarity=None
        if similarity is None
        else Similarity(grid=similarity[0], brain=similarity[1]),
        made_from=Origin(model=model, case="hash of the case"),
    )
    record.write(folder / f"{case}_{sequence}.json")
    return ScoredImage(run, dataset, folder, record)


@dataclass(frozen=True)
class World:
    """A DAL_HOME with runs and records.

    Parameters
    ----------
    cases : dataset, or `HELD_OUT`, → its cases
    """

    home: Path
    runs: list[Run]
    cases: dict[str, list[StandardCase]] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        return self.home / "results" / "report"


@contextmanager
def at_home(home: Path) -> Iterator[pytest.MonkeyPatch]:
    """DAL_HOME is `home`; few resamples, no waiting for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAL_HOME", str(home))
        for name in ("DAL_RAW", "DAL_PREPROCESSED", "DAL_RESULTS"):
            patch.delenv(name, raising=False)
        patch.setattr(bootstrap, "RESAMPLES", 40)
        patch.setattr("os.fsync", lambda _: None)
        yield patch


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above, for tests."""
    return SimpleNamespace(
        at_home=at_home,
        plans_of=plans_of,
        train=train,
        score=score,
        bare_case=bare_case,
        drawn_case=drawn_case,
        drawn_prediction=drawn_prediction,
        result=a_result,
        scored_image=scored_image,
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nine datasets × three methods × T1 and T2 × three seeds, three cases each; read only."""
    home = tmp_path_factory.mktemp("nine")
    cases = {name: [drawn_case(name, i) for i in range(CASES)] for name in DATASETS}
    # One annotated case of ATLAS turns out to have no lesion.
    cases["ATLAS"][2] = replace(cases["ATLAS"][2], lesion_mask=np.zeros(SHAPE, bool))
    cases[HELD_OUT] = [drawn_case("IXI", i, healthy=True) for i in range(2)]
    with at_home(home) as patch:
        patch.setattr(keeping, "_draw", lambda *_: None)
        runs = [train(method, seed) for method in METHODS for seed in SEEDS]
        for run in runs:
            for dataset, members in cases.items():
                score(run, dataset, members)
    return World(home, runs, cases)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A DAL_HOME for one test."""
    with at_home(tmp_path):
        yield tmp_path
