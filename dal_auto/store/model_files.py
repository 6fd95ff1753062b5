"""Models as files: one ``.safetensors`` with its card beside it, and the one that is shipped.

The card is JSON for people and for checks: what the model is, and the SHA-256 of its weights. The
plans, landmarks and thresholds are in the weights' own metadata, so that the two cannot differ.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import Field

from dal_auto.errors import InputError, MissingInput, PlansError, UsageError
from dal_auto.schema import FileName, Section
from dal_auto.store.runs import Run, choose_run, complete_runs

SHIPPED = "shipped"
#: The method that is meant where none is named.
MAIN_METHOD = "DAL"


class ModelCard(Section):
    """What stands beside a model's weights.

    Parameters
    ----------
    name : of the run that it was, or "shipped"
    sha256 : of the ``.safetensors`` file's bytes
    size_bytes : of the same file
    steps : training steps
    thresholds : "sequence" or "sequence/variant" → practical threshold of the filtered score
    joint_thresholds : sequences, joined by "+" → threshold of their joint map, in multiples of
        theirs
    threshold_source : which cases gave the thresholds, in words
    precision : in which the weights are stored; they are computed with in single precision
    half_difference : mean difference of the score that half precision makes, as a share of the mean
        score, on the atlas's brain; None where that was not measured
    """

    format: str = "dal_auto model card 1"
    name: str
    sha256: str
    size_bytes: int
    method: FileName
    preset: FileName
    configuration: FileName
    spacing_mm: tuple[float, float, float]
    training_set: FileName
    sequences: tuple[FileName, ...]
    steps: int
    thresholds: dict[str, float]
    joint_thresholds: dict[str, float] = Field(default_factory=dict)
    threshold_source: str
    atlas: str
    precision: str
    half_difference: float | None = None
    versions: dict[str, str]
    use: str = "Research only, not for diagnosis."


@dataclass(frozen=True)
class ModelFile:
    """A ``.safetensors`` file that is a model; `str` is what outputs call it."""

    checkpoint_path: Path

    @property
    def card_path(self) -> Path:
        return self.checkpoint_path.with_suffix(".json")

    def checkpoint_sha256(self) -> str:
        """Hash of the file's bytes, as `Run.checkpoint_sha256`."""
        return hashlib.sha256(self.checkpoint_path.read_bytes()).hexdigest()

    def card(self) -> ModelCard:
        """The card, once it is sure that it is this file's.

        Raises
        ------
        MissingInput
            if weights or card are missing.
        InputError
            if the card cannot be read, or the hash differs.
        """
        remedy = f"Copy {self.checkpoint_path.name} and {self.card_path.name} again, both together."
        for file in (self.checkpoint_path, self.card_path):
            if not file.is_file():
                raise MissingInput(file, "no such file; a model is two files", remedy)
        try:
            card = ModelCard.parse(json.loads(self.card_path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError, PlansError) as error:
            raise InputError(self.card_path, f"it is no model card ({error})", remedy) from error
        if self.checkpoint_sha256() != card.sha256:
            raise InputError(self.checkpoint_path, "its hash is not that of its card", remedy)
        return card

    def __str__(self) -> str:
        is_shipped = self.checkpoint_path == shipped_path()
        return SHIPPED if is_shipped else self.checkpoint_path.stem


def shipped_path() -> Path:
    """Where the shipped model lies, if this installation has one."""
    return Path(str(resources.files("dal_auto") / "models" / f"{SHIPPED}.safetensors"))


def shipped_model() -> ModelFile | None:
    """The model that comes with the package; None where it comes without."""
    path = shipped_path()
    return ModelFile(path) if path.is_file() else None


def choose_model(method: str | None = None, name: str | None = None) -> Run | ModelFile:
    """The model to predict with.

    Without `method` and `name` it is the sole complete run of DAL, else the shipped model: runs of
    other methods are taken only if they are named.

    Parameters
    ----------
    method : of a run of the user's own
    name : "shipped", a ``.safetensors`` file, a run's folder, or a part of a run's name

    Raises
    ------
    UsageError
        if nothing fits, several runs do (the message lists them), or what `name` names is of
        another method.
    MissingInput, InputError
        if `name` is a file that is missing, or whose card is missing or does not fit.
    """
    if name == SHIPPED:
        model = shipped_model()
        if model is None:
            raise UsageError(
                "this version of dal_auto comes without a model: train one (`dal_train`), or "
                "install a file (`dal_models install FILE`)"
            )
        _require_method(model, method)
        return model
    if name is not None and Path(name).suffix == ".safetensors":
        named = ModelFile(Path(name).resolve())
        folder = named.checkpoint_path.parent
        if (folder / "plans.json").is_file() and not named.card_path.is_file():
            # The weights of a run, where they lie: the run is meant.
            if Run(folder).complete and named.checkpoint_path == Run(folder).checkpoint_path:
                return choose_run(method, str(folder))
            raise UsageError(
                f"{name} is of a training. Name its folder, {folder}, for its best weights; if it "
                "is not complete, resume it with dal_train first"
            )
        _require_method(named, method)
        return named
    if method is None and name is None:
        own = any(run.method == MAIN_METHOD for run in complete_runs())
        if not own and shipped_model() is not None:
            return choose_model(name=SHIPPED)
        method = MAIN_METHOD
    return choose_run(method, name)


def _require_method(model: ModelFile, method: str | None) -> None:
    own = model.card().method
    if method is not None and method.lower() != own.lower():
        raise UsageError(f"-r {model} is a model of {own}, and -m says {method}: leave one out")
