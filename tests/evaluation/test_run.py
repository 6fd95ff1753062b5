"""Score runs on cases: what is kept, what is made again, and that no failure stops another."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dal_auto.case import Geometry, Grid, StandardCase
from dal_auto.errors import DiskFull, UsageError
from dal_auto.evaluation import keeping
from dal_auto.evaluation import run as evaluation_run
from dal_auto.evaluation.datasets import current_cases
from dal_auto.evaluation.pictures import viewed_cases
from dal_auto.evaluation.pictures.slices import read_vectors
from dal_auto.evaluation.run import evaluate
from dal_auto.evaluation.scores import HELD_OUT, read_scored
from dal_auto.inference.predictor import predict
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.methods.mean_brain import MeanBrain
from dal_auto.plans import ConfigurationPlan, Plans, PreprocessingPlan
from dal_auto.preprocessing.stored import case_records
from dal_auto.scoring.lesionwise import false_positives, score_lesions
from dal_auto.scoring.pooled_curve import ScoreCounts
from dal_auto.store.runs import Run, run_of
from dal_auto.store.standard_cases import write_case

DRAW = keeping._draw
SIZE = 32
SEQUENCES = ("T1", "T2")
PERCENTILES = PreprocessingPlan().percentiles
LANDMARKS = tuple(float(v) for v in np.linspace(0.05, 0.9, len(PERCENTILES)))
CONFIGURATION = ConfigurationPlan(
    name="tiny", input_shape=(16,) * 3, spacing_mm=(2.0,) * 3, window=(16,) * 3
)
PLANS = Plans.parse(
    {
        "training_set": "Healthy",
        "sequences": ["T1", "T2"],
        "preprocessing": {"target_shape": [SIZE] * 3},
        "intensity": {"landmarks": {"T1": LANDMARKS, "T2": LANDMARKS}},
        "configuration": CONFIGURATION.model_dump(mode="json"),
        "method": {"name": "mean-brain"},
    }
)


def phantom(case_id: str, *, lesioned: bool) -> StandardCase:
    """A ball with noise, and a bright cube in it."""
    rng = np.random.default_rng(sum(case_id.encode()))
    axes = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 3, indexing="ij")
    brain = sum(a**2 for a in axes) < 0.8
    lesion = np.zeros_like(brain)
    lesion[18:24, 14:20, 12:18] = lesioned
    lesion[:2, :2, :2] = lesioned  # outside the brain
    images = np.stack([300 + 20 * rng.standard_normal(brain.shape) + 150 * lesion] * 2) * brain
    grid = Grid((SIZE,) * 3, np.eye(4))
    return StandardCase(
        dataset="",
        case_id=case_id,
        patient_id=f"patient of {case_id}",
        sequences=("T1", "T2"),
        images=images.astype(np.float32),
        brain_mask=brain,
        lesion_mask=lesion if lesioned else None,
        geometry=Geometry({"T1": grid, "T2": grid}, {"T1": np.eye(4), "T2": np.eye(4)}),
        scale={"T1": 1.0, "T2": 1.0},
        percentiles={
            name: tuple(np.percentile(image[brain], PERCENTILES).tolist())
            for name, image in zip(("T1", "T2"), images, strict=True)
        },
        quality={},
        steps=(),
    )


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A mean brain, with one held-out patient of its training set at hand."""
    monkeypatch.setattr(evaluation_run, "check_atlas", lambda _: None)
    monkeypatch.setattr(keeping, "_draw", lambda path, *_: path.write_bytes(b"picture"))
    for dataset, cases in {
        "Healthy": [phantom("h1", lesioned=False), phantom("h2", lesioned=False)],
        "Lesions": [phantom("a", lesioned=True), phantom("b", lesioned=True)],
    }.items():
        for case in cases:
            write_case(home / "preprocessed" / dataset / "cases", case, f"hash of {case.case_id}")
    return trained(0)


def trained(seed: int, mean: float = 0.4, plans: Plans = PLANS) -> Run:
    run = run_of(plans, {}, seed)
    method = MeanBrain(plans)
    tensors = {name: tensor + mean for name, tensor in method.tensors().items()}
    thresholds = {"T1": 0.2, "T2": 0.1}
    save_checkpoint(run.checkpoint_path, Checkpoint(plans, tensors, thresholds=thresholds))
    content = {"validation_cases": ["h2"], "training_cases": ["h1"], "versions": {}}
    (run.folder / "complete.json").write_text(json.dumps(content))
    return run


def score(*runs: Run) -> list[str]:
    return evaluate(runs, {"Lesions": case_records("Lesions")}, device="cpu")


def contents(run: Run) -> dict[str, bytes]:
    """All files that were kept, but for logs."""
    root = run.folder / "evaluation"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.parent.name != "logs"
    }


def test_every_case_is_kept_and_so_are_held_out_healthy_patients(run):
    assert score(run) == []
    records = read_scored([run], ["Lesions"])
    keys = [(one.dataset, one.case_id, one.sequence) for one in records.scored]
    assert keys == [("Lesions", c, s) for c in "ab" for s in ("T1", "T2")]
    assert [(one.dataset, one.case_id) for one in records.held_out] == [(HELD_OUT, "h2")] * 2
    assert records.problems == []


def test_without_pictures_the_numbers_are_the_same_and_nothing_else_is_kept(run):
    score(run)
    root = run.folder / "evaluation"
    numbers = {name: data for name, data in contents(run).items() if is_number(name)}
    shutil.rmtree(root)
    cases = {"Lesions": case_records("Lesions")}
    assert evaluate([run], cases, device="cpu", pictures=False) == []
    assert contents(run) == numbers


def is_number(name: str) -> bool:
    return name.endswith((".json", "_grid.npz", "_brain.npz"))


def test_what_is_kept_is_what_was_predicted(run, monkeypatch):
    monkeypatch.setattr(keeping, "_draw", DRAW)
    score(run)
    (one,) = [
        one
        for one in read_scored([run], ["Lesions"]).scored
        if (one.case_id, one.sequence) == ("a", "T1")
    ]
    case = phantom("a", lesioned=True)
    method = load_checkpoint(run.checkpoint_path).build("cpu")
    found = predict(method, replace(case, images=np.float16(case.images) * 1.0), "T1", "cpu")
    (score_map,) = found.anomaly.values()
    for region, within in (("grid", None), ("brain", case.brain_mask)):
        expected = ScoreCounts.from_volume(score_map, case.lesion_mask, within)
        assert np.array_equal(one.counts("", region).lesion, expected.lesion)
        assert np.array_equal(one.counts("", region).normal, expected.normal)
    assert one.record.variants[""].lesions == score_lesions(
        score_map, case.lesion_mask, case.brain_mask, 0.001
    )
    assert one.record.variants[""].false_positives == false_positives(
        score_map, case.lesion_mask, 0.2
    )
    assert one.record.lesion_ml == pytest.approx(0.224)
    assert one.record.lesion_outside_brain == pytest.approx(8 / 224)
    inside = case.brain_mask & case.lesion_mask
    errors = np.abs(found.image - found.pseudo_healthy)
    assert one.record.error_lesion == pytest.approx(errors[inside].mean(), rel=1e-5)
    assert one.record.similarity is None and one.picture.stat().st_size > 1000
    assert one.slices is not None
    assert one.seconds().keys() == {"predict", "keep"}


def test_healthy_images_have_a_similarity(run):
    from skimage.metrics import structural_similarity

    score(run)
    one = read_scored([run], ["Lesions"]).held_out[0]
    case = phantom("h2", lesioned=False)
    method = load_checkpoint(run.checkpoint_path).build("cpu")
    found = predict(method, replace(case, images=np.float16(case.images) * 1.0), "T1", "cpu")
    _, similarity = structural_similarity(
        found.image, found.pseudo_healthy, full=True, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, data_range=1.0,
    )  # fmt: skip
    assert one.record.similarity.grid == pytest.approx(similarity.mean(), abs=1e-4)
    brain = similarity[case.brain_mask].mean()
    assert one.record.similarity.brain == pytest.approx(brain, abs=1e-4)


def test_what_is_there_is_left_alone_and_what_is_made_again_has_the_same_bytes(run, monkeypatch):
    score(run)
    before = contents(run)
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_run, "predict", None)  # nothing is predicted
        assert score(run) == []
    for path in (run.folder / "evaluation").rglob("*.*"):
        path.unlink()
    assert score(run) == []
    assert contents(run) == before


@pytest.mark.parametrize("spoil", ["older version", "half written", "no counts", "another case"])
def test_a_record_that_does_not_hold_is_made_again(run, spoil):
    score(run)
    before = contents(run)
    folder = run.folder / "evaluation" / "Lesions"
    record = folder / "a_T1.json"
    content = json.loads(record.read_text())
    match spoil:
        case "older version":  # as the first versions wrote it
            record.write_text(json.dumps(content | {"format": "dal_auto score 3"}))
        case "half written":
            record.write_text(record.read_text()[:50])
        case "no counts":
            (folder / "a_T1_brain.npz").unlink()
        case "another case":
            record.write_text(
                json.dumps(content | {"made_from": content["made_from"] | {"case": "of another"}})
            )
    assert score(run) == []
    assert contents(run) == before


def test_records_of_another_checkpoint_are_not_used_and_made_again(run):
    score(run)
    trained(0, mean=0.6)
    records = read_scored([run], ["Lesions"])
    assert records.scored == [] and len(records.problems) == 6
    assert "made with another checkpoint" in records.problems[0]
    assert score(run) == []
    assert len(read_scored([run], ["Lesions"]).scored) == 4


def test_a_failing_case_stops_no_other_and_is_remembered_until_it_is_done(run, monkeypatch):
    whole = evaluation_run.predict

    def failing(method, case, sequence, device, compare):
        if case.case_id == "a" and sequence == "T2":
            raise RuntimeError("out of memory")
        return whole(method, case, sequence, device, compare=compare)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_run, "predict", failing)
        (failure,) = score(run)
    assert "case a failed at scoring" in failure and "out of memory" in failure
    records = read_scored([run], ["Lesions"])
    assert records.problems == [failure]
    assert len(records.scored) == 3
    assert score(run) == []
    records = read_scored([run], ["Lesions"])
    assert records.problems == [] and len(records.scored) == 4
    assert not (run.folder / "evaluation" / "Lesions" / "failures.json").exists()


def test_scores_of_cases_that_are_gone_or_were_made_again_do_not_count(run):
    assert score(run) == []
    now = current_cases(["Lesions", "not here"])
    assert set(now) == {"Lesions"} and set(now["Lesions"]) == {"a", "b"}
    assert len(read_scored([run], ["Lesions"], now).scored) == 4
    again = {"Lesions": {"a": now["Lesions"]["a"], "b": "another hash"}}
    records = read_scored([run], ["Lesions"], again)
    assert [one.case_id for one in records.scored] == ["a", "a"]
    assert len(records.problems) == 2 and "was preprocessed again" in records.problems[0]
    gone = {"Lesions": {"b": now["Lesions"]["b"]}}
    records = read_scored([run], ["Lesions"], gone)
    assert [one.case_id for one in records.scored] == ["b", "b"]
    assert records.problems == [], "nothing can be done about it, and nothing has to be"


@pytest.fixture
def of_another_chain(monkeypatch):
    """Make a dataset one that was preprocessed otherwise than the run's training set."""

    def make(name: str, words: str) -> None:
        def check(dataset, ours):
            if dataset == name:
                raise UsageError(f"{dataset} was preprocessed with {words}")

        monkeypatch.setattr(evaluation_run, "check_chain", check)

    return make


def test_a_dataset_of_another_chain_is_a_failure_and_is_not_scored(run, of_another_chain):
    of_another_chain("Lesions", "another atlas")
    (failure,) = score(run)
    assert "Lesions was preprocessed with another atlas" in failure
    records = read_scored([run], ["Lesions"])
    assert records.scored == [] and records.held_out, "the healthy cases are the run's own"
    assert records.problems == [failure], "a report that is built later tells it, too"


def test_held_out_cases_of_another_chain_are_a_failure(run, of_another_chain):
    """Preprocessed again since the training."""
    of_another_chain("Healthy", "other percentiles")
    (failure,) = score(run)
    assert "Healthy was preprocessed with other percentiles" in failure
    records = read_scored([run], ["Lesions"])
    assert records.scored and not records.held_out


def test_a_damaged_held_out_case_costs_no_score(run, home, caplog):
    (home / "preprocessed" / "Healthy" / "cases" / "h2.json").write_text("{")
    assert score(run) == []
    records = read_scored([run], ["Lesions"])
    assert len(records.scored) == 4 and not records.held_out
    assert "healthy cases are not scored" in caplog.text


def test_cases_without_a_sequence_of_the_model_are_told(run, caplog):
    foreign = {"sequences": ("FLAIR",)}
    cases = [record.model_copy(update=foreign) for record in case_records("Lesions")]
    (failure,) = evaluate([run], {"Lesions": cases}, device="cpu")
    assert failure == "no case of Lesions has a sequence that a run knows"
    assert "2 of 2 cases are not scored: they have FLAIR, and the model knows T1, T2" in caplog.text
    caplog.clear()
    some = [case_records("Lesions")[0], cases[1]]
    assert evaluate([run], {"Lesions": some}, device="cpu") == []
    assert "1 of 2 cases are not scored" in caplog.text


def test_pictures_of_before_do_not_stay_beside_new_scores(run, monkeypatch, home):
    assert score(run) == []
    folder = run.folder / "evaluation" / "Lesions"
    before = {path.name for path in folder.glob("a_T1*") if path.suffix in (".png", ".npz")}
    assert {"a_T1.png", "a_T1_slices.npz"} <= before
    again = replace(phantom("a", lesioned=True), patient_id="somebody else")
    write_case(home / "preprocessed" / "Lesions" / "cases", again, "another hash")
    cases = {"Lesions": case_records("Lesions")}
    assert evaluate([run], cases, device="cpu", pictures=False) == []
    assert not (folder / "a_T1.png").exists() and not (folder / "a_T1_slices.npz").exists()
    assert (folder / "b_T1.png").exists(), "of a case that is the same"


def test_a_picture_that_fails_costs_no_score(run, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr(keeping, "keep_slices", broken)
    assert score(run) == []
    assert len(read_scored([run], ["Lesions"]).scored) == 4
    assert "there are no pictures of it: no ink" in caplog.text


def test_a_full_disk_stops_the_work_and_is_no_failure_of_a_case(run, monkeypatch):
    tried = []

    def full(method, case, sequence, device, compare):
        tried.append(case.case_id)
        raise DiskFull("a.npz", "/")

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_run, "predict", full)
        with pytest.raises(DiskFull):
            score(run)
    assert len(tried) == 1
    assert score(run) == []
    assert len(read_scored([run], ["Lesions"]).scored) == 4
    assert not list((run.folder / "evaluation").rglob("failures.json"))


def test_a_failed_case_is_not_judged_by_an_old_record(run, monkeypatch):
    score(run)
    trained(0, mean=0.6)
    monkeypatch.setattr(evaluation_run, "predict", lambda *_: 1 / 0)
    assert len(score(run)) == 3
    assert not (run.folder / "evaluation" / "Lesions" / "a_T1.json").exists()


def test_a_run_that_cannot_be_loaded_stops_no_other(run):
    broken = trained(1)
    broken.checkpoint_path.write_bytes(b"this is no checkpoint")
    (failure,) = score(broken, run)
    assert "seed_1" in failure and "no safetensors file" in failure
    records = read_scored([broken, run], ["Lesions"])
    assert len(records.scored) == 4 and records.problems == [failure]


def test_a_training_set_that_is_elsewhere_gives_no_healthy_cases(run, home):
    for path in (home / "preprocessed" / "Healthy" / "cases").iterdir():
        path.unlink()
    assert score(run) == []
    assert read_scored([run], ["Lesions"]).held_out == []


@pytest.mark.parametrize("text", ["{", "[]", '{"validation_cases": 3}'])
def test_a_damaged_record_of_the_training_is_said_and_stops_nothing(run, caplog, text):
    (run.folder / "complete.json").write_text(text)
    assert score(run) == []
    assert "healthy cases are not scored" in caplog.text
    assert read_scored([run], ["Lesions"]).held_out == []


def test_a_case_that_is_shown_is_predicted_once(run, monkeypatch):
    assert score(run) == []
    monkeypatch.setattr(viewed_cases, "predict", None)  # nothing is predicted again
    assert (
        viewed_cases.keep_volumes([run], {"Lesions": case_records("Lesions")}, device="cpu") == []
    )
    kept = viewed_cases.kept_volumes(read_scored([run], ["Lesions"]).scored, [run])
    assert {(one.case_id, one.sequence) for one in kept} == {
        (c, s) for c in "ab" for s in SEQUENCES
    }


def test_vectors_are_kept_where_a_method_has_some(run, monkeypatch):
    whole = evaluation_run.predict

    def with_vectors(*arguments, **keywords):
        found = whole(*arguments, **keywords)
        extras = {"anatomy": np.full((SIZE,) * 3, 0.5, np.float32)}
        found = replace(found, extras=extras)
        object.__setattr__(found, "vectors", {"modality": np.arange(5.0)})
        return found

    monkeypatch.setattr(evaluation_run, "predict", with_vectors)
    score(run)
    one = read_scored([run], ["Lesions"]).scored[0]
    vectors = read_vectors(one.vectors)
    assert vectors.image["modality"].tolist() == [0, 1, 2, 3, 4] and vectors.restored == {}
    anatomy = vectors.image["anatomy"]
    assert anatomy.shape == (4**3,) and (anatomy == 0.5).all()
