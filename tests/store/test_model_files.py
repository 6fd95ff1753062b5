"""Which model is meant; the card and its hash; and what is shipped, if something is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dal_auto.errors import InputError, UsageError
from dal_auto.store import model_files
from dal_auto.store.model_files import ModelCard, ModelFile, choose_model, shipped_model
from dal_auto.store.runs import Run

LARGEST_MB = 20


@pytest.fixture
def trained(tmp_path, monkeypatch) -> Callable[[str], Run]:
    """Put a complete run on disk; what is in its files does not matter here."""
    monkeypatch.setenv("DAL_RESULTS", str(tmp_path / "results"))

    def make(name: str) -> Run:
        folder = tmp_path / "results" / "IXI" / name / "seed_0"
        folder.mkdir(parents=True)
        (folder / "best.safetensors").touch()
        (folder / "complete.json").touch()
        return Run(folder)

    return make


@pytest.fixture
def model(tmp_path) -> ModelFile:
    """A file of four bytes with a card that fits it."""
    file = ModelFile(tmp_path / "some.safetensors")
    file.checkpoint_path.write_bytes(b"1234")
    card = ModelCard(
        name="some", sha256=file.checkpoint_sha256(), size_bytes=4, method="DAL", preset="robust",
        configuration="demo", spacing_mm=(4.0, 4.0, 4.0), training_set="Simulated",
        sequences=("T1",), steps=1, thresholds={"T1": 0.1}, threshold_source="2 healthy cases",
        atlas="SRI24", precision="half", versions={},
    )  # fmt: skip
    file.card_path.write_text(json.dumps(card.model_dump(mode="json")))
    return file


@pytest.fixture
def shipped(model, monkeypatch) -> ModelFile:
    monkeypatch.setattr(model_files, "shipped_path", lambda: model.checkpoint_path)
    return model


@pytest.fixture
def none_shipped(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model_files, "shipped_path", lambda: tmp_path / "none.safetensors")


def test_the_users_own_run_of_dal_goes_before_the_shipped_model(trained, shipped):
    run = trained("DAL__demo__robust")
    trained("mean-brain__demo__robust")
    assert choose_model() == run
    assert choose_model(name="shipped") == shipped


def test_without_one_the_shipped_model_is_taken_whatever_else_was_trained(trained, shipped):
    baseline = trained("mean-brain__demo__robust")
    assert choose_model() == shipped and str(shipped) == "shipped"
    assert choose_model("mean-brain") == baseline


def test_without_both_the_error_says_how_to_get_one(trained, none_shipped):
    trained("mean-brain__demo__robust")
    with pytest.raises(UsageError, match="dal_train"):
        choose_model()
    with pytest.raises(UsageError, match="comes without a model"):
        choose_model(name="shipped")


def test_several_runs_of_dal_are_an_error_that_lists_them(trained, shipped):
    trained("DAL__demo__robust")
    trained("DAL__small__robust")
    with pytest.raises(UsageError, match="several"):
        choose_model()


def test_a_file_is_a_model_wherever_it_lies(model, none_shipped):
    assert choose_model(name=str(model.checkpoint_path)) == model
    assert str(model) == "some"


def test_the_weights_of_a_run_are_the_run(trained):
    run = trained("DAL__demo__robust")
    (run.folder / "plans.json").touch()
    assert choose_model(name=str(run.checkpoint_path)) == run
    (run.folder / "complete.json").unlink()
    with pytest.raises(UsageError, match=r"is of a training\. Name its folder.*resume it"):
        choose_model(name=str(run.checkpoint_path))


def test_a_model_of_another_method_than_asked_for_is_refused(trained, shipped, model):
    run = trained("mean-brain__demo__robust")
    for name, own in (
        ("shipped", "DAL"), (str(model.checkpoint_path), "DAL"), (str(run.folder), "mean-brain"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=rf"of {own}, and -m says AE: leave one out"):
            choose_model("AE", name)
        choose_model(own.lower(), name)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: model.checkpoint_path.write_bytes(b"1235"), "its hash is not that"),
        (lambda model: model.card_path.unlink(), "no such file; a model is two files"),
        (lambda model: model.checkpoint_path.unlink(), "no such file; a model is two files"),
        (lambda model: model.card_path.write_text("{}"), "it is no model card"),
        (lambda model: model.card_path.write_text("{"), "it is no model card"),
        (lambda model: model.card_path.write_text("[" * 100_000), "it is no model card"),
    ],
)
def test_a_model_that_is_not_what_its_card_says_is_refused(model, spoil, said):
    spoil(model)
    with pytest.raises(InputError, match=said):
        choose_model(name=str(model.checkpoint_path))


def test_the_shipped_model_is_what_its_card_says_and_small_enough():
    model = shipped_model()
    if model is None:
        pytest.skip("no model is shipped: `make weights` makes one")
    card = model.card()  # compares the hash
    assert card.size_bytes == model.checkpoint_path.stat().st_size < LARGEST_MB * 1e6
    assert card.name == "shipped" and card.atlas == "SRI24"
    assert {"T1", "T2"} <= set(card.sequences)
    folder = model.checkpoint_path.parent
    assert sum(file.stat().st_size for file in Path(folder).iterdir()) < LARGEST_MB * 1e6


def test_the_shipped_model_builds_and_has_a_threshold_for_each_sequence():
    from dal_auto.methods.checkpoint import load_checkpoint

    model = shipped_model()
    if model is None:
        pytest.skip("no model is shipped: `make weights` makes one")
    checkpoint, card = load_checkpoint(model.checkpoint_path), model.card()
    checkpoint.build("cpu")
    assert {key.split("/")[0] for key in checkpoint.thresholds} == set(card.sequences)
    assert card.thresholds == checkpoint.thresholds
    assert card.training_set == checkpoint.plans.training_set
