"""The trainer: exact resume above all, then what it keeps, what it says, and when it stops."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from dal_auto.errors import InputError
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint
from dal_auto.methods.dal.model import DAL
from dal_auto.methods.method import Batch, Detection, GradientMethod
from dal_auto.plans import Plans
from dal_auto.training import trainer as module
from dal_auto.training.log import Log
from dal_auto.training.selection import Selection
from dal_auto.training.trainer import Trainer, TrainingFailed


class OneWeight(GradientMethod):
    """One weight that sinks by the learning rate at every step, judged by `validation_loss`."""

    name = "one-weight"
    Settings = DAL.Settings
    preliminary_loss = "warm_start"

    def __init__(
        self, plans: Plans, validation_loss: Callable[[Tensor], Tensor] = torch.square
    ) -> None:
        super().__init__(plans)
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.validation_loss = validation_loss
        self.warm_start_steps = 0
        self.seen: list[int] = []

    @classmethod
    def default_settings(cls, preset, configuration):
        return DAL.default_settings(preset, configuration)

    def loss(self, step: int) -> Tensor:
        return self.network.weight.sum()

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        if not self.network.training:
            return {"loss": self.validation_loss(self.network.weight.sum())}
        self.seen.append(step)
        loss = self.loss(step)
        return {"loss": loss} | ({"warm_start": loss} if step < self.warm_start_steps else {})

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        return {"weight": self.network.weight.detach().sum()}

    def warnings(self, figures: Mapping[str, float]) -> list[str]:
        return [f"the weight is {figures['weight']:.1f}"] if figures["weight"] < -0.35 else []

    def detect(self, image, brain_mask, sequence, tile) -> Detection:
        raise NotImplementedError


@pytest.fixture(scope="module")
def one_weight_plans(make_plans) -> Plans:
    """Eight steps of 0.1, a checkpoint at every second."""
    return make_plans(training__steps=8, training__learning_rate=0.1, training__checkpoint_every=2)


@pytest.fixture(scope="module")
def make_trainer(make_cohort) -> Callable[..., Trainer]:
    """A trainer of four phantoms, validated on `validation` (numbers of cases)."""

    def make(
        method: GradientMethod, folder: Path, *, seed: int = 5, validation=(4, 5), pasted=False
    ) -> Trainer:
        training, held_out = (make_cohort(method.plans, c) for c in ([0, 1, 2, 3], validation))
        selection = Selection(held_out, annotated=False) if pasted else None
        return Trainer(method, training, held_out, seed, "cpu", folder, selection)

    return make


@pytest.fixture(autouse=True, scope="module")
def _few_pasted() -> Iterator[None]:
    """Two images with lesions are enough for a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dal_auto.training.selection._PASTED", 2)
        yield


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch) -> None:
    """Most of a tiny run's time would go into its picture; the run `whole` has one."""
    monkeypatch.setattr(Log, "draw", lambda self: None)


def test_training_starts_from_another_model_s_weights(one_weight_plans, make_trainer, tmp_path):
    method = OneWeight(one_weight_plans)
    trainer = make_trainer(method, tmp_path)
    trainer.begin(Checkpoint(one_weight_plans, {"weight": torch.tensor([[0.7]])}))
    assert method.network.weight.item() == pytest.approx(0.7)
    assert load_checkpoint(trainer.last_path).tensors["weight"].item() == pytest.approx(0.7)
    with pytest.raises(InputError, match="another architecture"):
        trainer.begin(Checkpoint(one_weight_plans, {"weight": torch.zeros(2, 1)}))


class WithAtlas(OneWeight):
    """It also keeps the atlas's fractions, on its grid."""

    learned_of_atlas = ("atlas",)

    def __init__(self, plans: Plans) -> None:
        super().__init__(plans)
        self.network.register_buffer("atlas", torch.zeros(2))

    def learn_atlas(self, tissue_fractions: Tensor) -> None:
        self.network.atlas.copy_(tissue_fractions)


def test_weights_of_another_grid_do_where_the_atlas_is_learned_anew(
    one_weight_plans, make_trainer, tmp_path
):
    coarser = Checkpoint(
        one_weight_plans, {"weight": torch.tensor([[0.7]]), "atlas": torch.zeros(1)}
    )
    trainer = make_trainer(WithAtlas(one_weight_plans), tmp_path)
    with pytest.raises(InputError, match="atlas"):
        trainer.begin(coarser)
    fractions = torch.tensor([0.25, 0.5])
    trainer.drawn = SimpleNamespace(pool=SimpleNamespace(tissue_fractions=lambda: fractions))
    trainer.begin(coarser)
    kept = load_checkpoint(trainer.last_path).tensors
    assert kept["weight"].item() == pytest.approx(0.7)
    assert torch.equal(kept["atlas"], fractions)


class Killed(Exception):
    """What a kill looks like from inside."""


@pytest.fixture(scope="module")
def dal_plans(make_plans) -> Plans:
    """Six steps of DAL through the end of its warm start, a checkpoint at every second; each step
    adds up two batches of varied cases."""
    return make_plans(
        training__steps=6,
        training__accumulation=2,
        training__augmentation={"mirror": 0.5, "gamma": 0.2, "noise": 0.02},
        training__learning_rate=2e-3,
        training__checkpoint_every=2,
        method__settings__warm_start_steps=2,
    )


@pytest.fixture(scope="module")
def start(dal_plans, make_trainer) -> Callable[[Path], Trainer]:
    """A new process: it resumes where it can, from other random numbers and other weights."""

    def make(folder: Path) -> Trainer:
        fresh = not (folder / "last.safetensors").is_file()
        torch.manual_seed(0 if fresh else 99)
        trainer = make_trainer(DAL(dal_plans), folder, pasted=True)
        assert trainer.resume() is not fresh
        return trainer

    return make


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory) -> Path:
    """Folder of a run of DAL that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    start(folder).run()
    return folder


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "log.jsonl").read_text() == (other / "log.jsonl").read_text()
    for name in ("last.safetensors", "best.safetensors"):
        ours, theirs = (load_checkpoint(folder / name) for folder in (one, other))
        assert (ours.step, ours.progress) == (theirs.step, theirs.progress)
        for tensors in ("tensors", "optimiser"):
            a, b = getattr(ours, tensors), getattr(theirs, tensors)
            assert a.keys() == b.keys()
            assert [key for key in a if not torch.equal(a[key], b[key])] == []
        assert (one / name).read_bytes() == (other / name).read_bytes()


@pytest.mark.parametrize("killed_at", [3, 5])
def test_a_run_killed_at_a_step_ends_as_one_that_was_not(
    start, whole, tmp_path, monkeypatch, killed_at
):
    interrupted = start(tmp_path)
    step = interrupted.method.training_step

    def killed(batch: Batch, number: int) -> dict[str, Tensor]:
        if number == killed_at and interrupted.method.network.training:
            raise Killed
        return step(batch, number)

    monkeypatch.setattr(interrupted.method, "training_step", killed)
    with pytest.raises(Killed):
        interrupted.run()
    resumed = start(tmp_path)
    assert resumed.step == killed_at - 1, "the last multiple of two"
    resumed.run()
    assert_same_run(tmp_path, whole)


#: Where a run is killed: what is called there, and at which of its calls.
PLACES = {
    "while it looks for lesions": ("selection_precision", 2),
    "before the best weights": ("save_checkpoint", 3),
    "before the last weights": ("save_checkpoint", 4),
}


@pytest.mark.parametrize(("called", "time"), PLACES.values(), ids=PLACES)
def test_a_run_killed_at_a_checkpoint_ends_as_one_that_was_not(
    start, whole, tmp_path, monkeypatch, called, time
):
    real, calls = getattr(module, called), []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == time:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, called, killed)
        with pytest.raises(Killed):
            start(tmp_path).run()
    start(tmp_path).run()
    assert_same_run(tmp_path, whole)


def test_the_picture_is_there_before_the_last_weights(start, whole, tmp_path, monkeypatch):
    """A run that is killed after them has no step left to draw it again."""
    real, end = module.save_checkpoint, load_checkpoint(whole / "last.safetensors").step

    def killed(path, checkpoint):
        real(path, checkpoint)
        if path.name == "last.safetensors" and checkpoint.step == end:
            raise Killed

    drawn: list[int] = []
    monkeypatch.setattr(Log, "draw", lambda self: drawn.append(self.lines[-1]["step"]))
    monkeypatch.setattr(module, "save_checkpoint", killed)
    with pytest.raises(Killed):
        start(tmp_path).run()
    assert drawn[-1] == end


def test_what_a_method_learns_of_the_cohort_first_is_learned_once_and_kept(
    one_weight_plans, make_trainer, tmp_path, monkeypatch
):
    seen: list[list[float]] = []

    def prepare(method: OneWeight, batches) -> None:
        seen.append([float(batch.images.mean()) for batch in batches])
        with torch.no_grad():
            method.network.weight.add_(7 + torch.rand(()))

    monkeypatch.setattr(OneWeight, "prepare", prepare)
    first = make_trainer(OneWeight(one_weight_plans), tmp_path)
    assert not first.resume()
    first.begin()
    weight = first.method.network.weight.detach().clone()
    assert float(weight) > 7 and len(seen[0]) == len(set(seen[0])) == 4
    # Killed before the first step: the next process goes on from what was learned.
    again = make_trainer(OneWeight(one_weight_plans), tmp_path)
    assert again.resume() and again.step == 0
    assert torch.equal(again.method.network.weight, weight) and len(seen) == 1
    again.run()
    assert float(again.method.network.weight.detach()) == pytest.approx(float(weight) - 0.8)


def test_a_run_killed_between_its_files_has_the_old_ones(start, tmp_path, monkeypatch):
    save = module.save_checkpoint

    def killed(path: Path, checkpoint: Checkpoint) -> None:
        if path.name == "last.safetensors" and checkpoint.step == 4:
            raise Killed
        save(path, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_checkpoint", killed)
        with pytest.raises(Killed):
            start(tmp_path).run()
    # The log and the best weights are of step 4 already, the last checkpoint is of step 2.
    assert load_checkpoint(tmp_path / "best.safetensors").step == 4
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4
    assert start(tmp_path).step == 2


def test_a_finished_run_takes_no_further_step(start, whole):
    before = (whole / "last.safetensors").read_bytes()
    finished = start(whole)
    finished.run()
    assert finished.step == 6
    assert (whole / "last.safetensors").read_bytes() == before


def test_another_seed_sees_other_batches(one_weight_plans, make_trainer, tmp_path, monkeypatch):
    seen: dict[int, list[Tensor]] = {5: [], 6: []}
    for seed, images in seen.items():
        method = OneWeight(one_weight_plans)
        step = method.training_step

        def noting(batch: Batch, number: int, step=step, images=images) -> dict[str, Tensor]:
            images.append(batch.images)
            return step(batch, number)

        monkeypatch.setattr(method, "training_step", noting)
        make_trainer(method, tmp_path / str(seed), seed=seed).run()
    assert not torch.equal(torch.stack(seen[5]), torch.stack(seen[6]))


def test_steps_are_taken_once_and_in_order(one_weight_plans, make_trainer, tmp_path):
    method = OneWeight(one_weight_plans)
    make_trainer(method, tmp_path).run()
    assert method.seen == list(range(8))
    # Adam on a constant gradient moves by the learning rate.
    assert float(method.network.weight.detach()) == pytest.approx(-0.8, rel=1e-5)


def test_every_step_is_logged_and_validation_where_a_checkpoint_is(
    one_weight_plans, make_trainer, tmp_path
):
    make_trainer(OneWeight(one_weight_plans), tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["loss"] for line in lines] == pytest.approx([-0.1 * i for i in range(8)], abs=1e-5)
    validated = {line["step"]: line["val_loss"] for line in lines if "val_loss" in line}
    assert validated == pytest.approx({s: (0.1 * s) ** 2 for s in (2, 4, 6, 8)}, rel=1e-4)
    assert all("val_weight" in line for line in lines if "val_loss" in line)
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_best_file_holds_the_weights_that_validated_best(
    one_weight_plans, make_trainer, tmp_path
):
    method = OneWeight(one_weight_plans, validation_loss=lambda w: (w + 0.4).square())
    trainer = make_trainer(method, tmp_path)
    trainer.run()
    best, last = (load_checkpoint(path) for path in (trainer.best_path, trainer.last_path))
    assert (best.step, last.step) == (4, 8)
    assert float(best.tensors["weight"]) == pytest.approx(-0.4, rel=1e-5)
    assert float(last.tensors["weight"]) == pytest.approx(-0.8, rel=1e-5)
    assert last.optimiser and not best.optimiser


def test_the_best_value_is_remembered_over_a_resume(
    one_weight_plans, make_trainer, tmp_path, monkeypatch
):
    def trainer() -> Trainer:
        method = OneWeight(one_weight_plans, validation_loss=lambda w: (w + 0.4).square())
        return make_trainer(method, tmp_path)

    def killed(step: int) -> Tensor:
        if step == 6:
            raise Killed
        return interrupted.method.network.weight.sum()

    interrupted = trainer()
    monkeypatch.setattr(interrupted.method, "loss", killed)
    with pytest.raises(Killed):
        interrupted.run()
    resumed = trainer()
    assert resumed.resume() and resumed.step == 6
    resumed.run()
    assert load_checkpoint(resumed.best_path).step == 4


def test_without_validation_cases_the_last_weights_are_the_best(
    one_weight_plans, make_trainer, tmp_path
):
    trainer = make_trainer(OneWeight(one_weight_plans), tmp_path, validation=())
    trainer.run()  # the stand-in's loss rises from step to step
    assert load_checkpoint(trainer.best_path).step == 8


def test_the_last_weights_are_kept_where_the_plans_say_so(make_plans, make_trainer, tmp_path):
    plans = make_plans(
        training__steps=8,
        training__learning_rate=0.1,
        training__checkpoint_every=2,
        training__keep="last",
    )
    trainer = make_trainer(OneWeight(plans), tmp_path)  # the loss rises from step to step
    trainer.run()
    assert load_checkpoint(trainer.best_path).step == 8


@pytest.mark.parametrize(("warm_start_steps", "best_step"), [(5, 6), (8, 8)])
def test_weights_of_the_warm_start_are_never_the_best_unless_there_are_no_others(
    one_weight_plans, make_trainer, tmp_path, warm_start_steps, best_step
):
    method = OneWeight(one_weight_plans)  # its validation loss is lowest at the start
    method.warm_start_steps = warm_start_steps
    trainer = make_trainer(method, tmp_path)
    trainer.run()
    assert load_checkpoint(trainer.best_path).step == best_step


def test_warnings_of_the_method_are_shown_with_their_step_but_not_in_the_warm_start(
    one_weight_plans, make_trainer, tmp_path, caplog
):
    method = OneWeight(one_weight_plans)
    method.warm_start_steps = 5
    with caplog.at_level(logging.WARNING):
        make_trainer(method, tmp_path).run()
    assert [record.message for record in caplog.records] == [
        "WARNING, step 6: the weight is -0.6",
        "WARNING, step 8: the weight is -0.8",
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_weights(
    one_weight_plans, make_trainer, tmp_path, monkeypatch, value
):
    method = OneWeight(one_weight_plans)
    good = method.loss
    monkeypatch.setattr(method, "loss", lambda step: good(step) * (value if step == 4 else 1))
    trainer = make_trainer(method, tmp_path)
    with pytest.raises(
        TrainingFailed, match=r"not finite at step 5.*training\.learning_rate"
    ) as caught:
        trainer.run()
    assert str(trainer.last_path) in str(caught.value)
    last = load_checkpoint(trainer.last_path)
    assert last.step == 4
    assert float(last.tensors["weight"]) == pytest.approx(-0.4, rel=1e-5)


def test_weights_that_a_good_loss_spoilt_are_not_kept(
    one_weight_plans, make_trainer, tmp_path, monkeypatch
):
    """A finite loss may have a gradient that is not: the step of a checkpoint must notice."""
    method = OneWeight(one_weight_plans)
    good, at = method.loss, 3

    def root_of_zero(step: int) -> Tensor:
        return (method.network.weight * 0).abs().sqrt().sum() if step == at else good(step)

    monkeypatch.setattr(method, "loss", root_of_zero)
    trainer = make_trainer(method, tmp_path)
    with pytest.raises(TrainingFailed, match="not finite"):
        trainer.run()
    last = load_checkpoint(trainer.last_path)
    assert last.step == 2
    assert last.tensors["weight"].isfinite().all()


def judged_by(monkeypatch, values: list[float]) -> None:
    """The AP of the validations, in turn."""
    turns = iter(values)
    monkeypatch.setattr(module, "selection_precision", lambda *_: {"AP": next(turns)})


def test_the_highest_precision_chooses_and_the_loss_only_between_equals(
    one_weight_plans, make_trainer, tmp_path, monkeypatch
):
    judged_by(monkeypatch, [0.3, 0.5, 0.5, 0.4])
    # The loss is lowest at step 6, the third validation.
    method = OneWeight(one_weight_plans, validation_loss=lambda w: (w + 0.6).square())
    trainer = make_trainer(method, tmp_path, pasted=True)
    trainer.run()
    best = load_checkpoint(trainer.best_path)
    assert best.step == 6
    assert best.progress["best_precision"] == 0.5
    lines = [json.loads(line) for line in trainer.log_path.read_text().splitlines()]
    assert [line["val_AP"] for line in lines if "val_AP" in line] == [0.3, 0.5, 0.5, 0.4]


def test_annotated_cases_that_chose_are_named_in_the_checkpoint(
    one_weight_plans, make_trainer, tmp_path, monkeypatch
):
    judged_by(monkeypatch, [0.3, 0.5, 0.5, 0.4])
    trainer = make_trainer(OneWeight(one_weight_plans), tmp_path)
    trainer.selection = Selection(trainer.validation, annotated=True)
    trainer.run()
    assert load_checkpoint(trainer.best_path).progress["selection_cases"] == ["case4", "case5"]


def test_training_ends_early_where_nothing_becomes_better(
    make_plans, make_trainer, tmp_path, monkeypatch, caplog
):
    plans = make_plans(training__steps=20, training__checkpoint_every=2, training__patience=2)
    judged_by(monkeypatch, [0.3, 0.5, 0.5, 0.4, 0.9])
    trainer = make_trainer(OneWeight(plans, validation_loss=lambda w: -w), tmp_path, pasted=True)
    with caplog.at_level(logging.INFO):
        trainer.run()
    assert trainer.step == 8 and "stopped at step 8" in caplog.text
    assert load_checkpoint(trainer.best_path).step == 4
    again = make_trainer(OneWeight(plans), tmp_path, pasted=True)
    assert again.resume()
    again.run()
    assert again.step == 8, "a run that has ended stays ended"


@pytest.mark.parametrize(
    ("steps", "every", "validations", "expected"),
    [(8, 2, 100, [2, 4, 6, 8]), (8, 2, 2, [4, 8]), (9, 2, 1, [9]), (12, 3, 3, [6, 9, 12])],
)
def test_validations_are_spread_over_the_checkpoints(
    make_plans, make_trainer, tmp_path, steps, every, validations, expected
):
    plans = make_plans(
        training__steps=steps, training__checkpoint_every=every, training__validations=validations
    )
    make_trainer(OneWeight(plans), tmp_path).run()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val_loss" in line] == expected


def test_a_diverging_run_is_warned_of(one_weight_plans, make_trainer, tmp_path, caplog):
    method = OneWeight(one_weight_plans, validation_loss=lambda w: 0.01 + w.square())
    with caplog.at_level(logging.WARNING):
        make_trainer(method, tmp_path).run()
    warned = [r.message for r in caplog.records if "diverges" in r.message]
    assert warned and warned[0].startswith("WARNING, step 4: training diverges")
    assert "training.learning_rate" in warned[0]


def test_the_gradients_of_accumulated_batches_are_their_mean(make_plans, make_trainer, tmp_path):
    """Of two batches with the gradients 1 and 3, a step of plain descent would be 2."""
    plans = make_plans(training__steps=1, training__accumulation=2)
    method = OneWeight(plans)
    factors = iter([1.0, 3.0])
    method.loss = lambda step: next(factors) * method.network.weight.sum()
    make_trainer(method, tmp_path).run()
    (gradient,) = (parameter.grad for parameter in method.network.parameters())
    assert float(gradient) == pytest.approx(2.0)


def test_weights_of_another_architecture_are_refused_by_name(
    start, whole, dal_plans, make_trainer, tmp_path
):
    (tmp_path / "last.safetensors").write_bytes((whole / "last.safetensors").read_bytes())
    wider = dal_plans.override({"method.settings.code_channels": 16}, "test")
    trainer = make_trainer(DAL(wider), tmp_path)
    with pytest.raises(InputError, match=r"another architecture: R_A\.\S+ is \(8.*\(16.*the plans"):
        trainer.resume()


def test_the_networks_may_be_compiled(one_weight_plans, make_trainer, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, *_: compiled.append(type(self).__name__))
    plans = one_weight_plans.override({"training.compile": True}, "test")
    method = OneWeight(plans)
    method.network = nn.Sequential(nn.Linear(1, 1, bias=False))
    make_trainer(method, tmp_path)
    assert compiled == ["Linear"]


def test_pictures_and_curves_are_drawn(start, whole):
    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    assert {"T1 input", "T1 anatomy", "T1 edges", "T1 restored"} <= set(events.Tags()["images"])
    assert "loss/loss" in events.Tags()["scalars"] and "validation/AP" in events.Tags()["scalars"]
    assert (whole / "training.png").read_bytes().startswith(b"\x89PNG")
