"""What is asked of a prediction, and whether what lies in the output folder already answers it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from dal_auto.case import RawCase
from dal_auto.errors import InputError
from dal_auto.images.content import open_content
from dal_auto.inference.record import Scan, read_record
from dal_auto.methods.checkpoint import versions
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.chain import tool_versions
from dal_auto.preprocessing.steps import CaseSteps
from dal_auto.store.kept import are_there, made_from, sha256_of


@dataclass(frozen=True)
class Request:
    """What is the same for all cases of one run of ``dal_predict``.

    Parameters
    ----------
    model_sha256 : of the checkpoint, plans included
    plan : its chain
    save : further outputs, of `choices.OUTPUTS`
    threshold : for the masks of the sequences' maps; None takes the checkpoint's practical ones
    layout : what the files are called
    """

    model_sha256: str
    plan: PreprocessingPlan
    save: frozenset[str] = frozenset()
    threshold: float | None = None
    layout: Literal["flat", "bids"] = "flat"

    def hash_of(self, case: RawCase) -> str:
        """Hash of what a case's outputs depend on: files, claims, model, what is wanted.

        Raises
        ------
        InputError
            if a file cannot be read.
        """
        asked = {
            "model": self.model_sha256,
            "save": sorted(self.save - {"mask", "pseudo-healthy"}),
            "threshold of the sequences' maps": self.threshold,
            "layout": self.layout,
            "claims": asdict(case.claims),
        }
        try:
            return made_from(asked, {**case.sequences, "brain mask": case.brain_mask})
        except InputError as error:
            open_content(error.file)  # knows better what is wrong, and what to do
            raise


def scans_of(case: RawCase) -> dict[str, Scan]:
    """The images of a case, by which its maps are told from those of another of its name."""
    return {
        sequence: Scan(name=path.name, sha256=sha256_of(path))
        for sequence, path in case.sequences.items()
    }


def tools_of(steps: CaseSteps, plan: PreprocessingPlan) -> tuple[str, ...]:
    """Names and versions of all that a case went through, the network included."""
    return (
        *(f"{name} {version}" for name, version in versions().items()),
        *tool_versions(steps, plan),
    )


def is_done(output: Path, case: RawCase, request: Request) -> bool:
    """Whether the outputs of a case are there, whole, and those of this request."""
    record = read_record(output, case.case_id)
    if record is None or record.tools != tools_of(record.steps, request.plan):
        return False
    try:
        return record.made_from == request.hash_of(case) and are_there(output, record.files)
    except InputError:  # what is wrong is said when the case is done again
        return False
