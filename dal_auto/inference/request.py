"""What is asked of a prediction, and whether what lies in the output folder already answers it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dal_auto.case import RawCase
from dal_auto.errors import DalError, InputError
from dal_auto.images.content import open_content
from dal_auto.methods.checkpoint import versions
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.chain import tool_versions
from dal_auto.preprocessing.steps import CaseSteps

#: What `--save` knows. Mask and pseudo-healthy image are written in any case, beside the map.
OUTPUTS = ("pseudo-healthy", "mask", "anatomy", "atlas-space")
FORMAT = "dal_auto prediction 2"


@dataclass(frozen=True)
class Request:
    """What is the same for all cases of one run of ``dal_predict``.

    Parameters
    ----------
    model_sha256 : of the checkpoint, plans included
    plan : its chain
    save : further outputs, of `OUTPUTS`
    threshold : for the masks; None takes the checkpoint's practical threshold
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
        digest = hashlib.sha256()
        for name, path in [*case.sequences.items(), ("brain mask", case.brain_mask)]:
            if path is not None:
                digest.update(name.encode() + hashlib.sha256(_read(path)).digest())
        asked = {
            "format": FORMAT,
            "model": self.model_sha256,
            "save": sorted(self.save - {"mask", "pseudo-healthy"}),
            "threshold": self.threshold,
            "layout": self.layout,
            "claims": asdict(case.claims),
        }
        digest.update(json.dumps(asked, sort_keys=True).encode())
        return digest.hexdigest()


def tools_of(steps: CaseSteps, plan: PreprocessingPlan) -> list[str]:
    """Names and versions of all that a case went through, the network included."""
    return [
        *(f"{name} {version}" for name, version in versions().items()),
        *tool_versions(steps, plan),
    ]


def record_path(output: Path, case_id: str) -> Path:
    """The file that is written last: a case without it is not there."""
    return output / "records" / f"{case_id}.json"


def read_record(output: Path, case_id: str) -> dict[str, Any] | None:
    """What was written for a case; None where that is nothing, damaged or of another version."""
    return _parse(record_path(output, case_id))


def read_records(output: Path) -> Iterator[dict[str, Any]]:
    """The records of all cases that are done, of this run or of earlier ones, by case id."""
    for path in sorted((output / "records").glob("[!.]*.json")):
        if (content := _parse(path)) is not None:
            yield content


def is_done(output: Path, case: RawCase, request: Request) -> bool:
    """Whether the outputs of a case are there, whole, and those of this request."""
    record = read_record(output, case.case_id)
    if record is None:
        return False
    try:
        steps = CaseSteps.parse(record["steps"])
        return (
            record["hash"] == request.hash_of(case)
            and record["tools"] == tools_of(steps, request.plan)
            and _are_there(output, record["files"])
        )
    except (DalError, KeyError, TypeError):  # what is wrong is said when the case is done again
        return False


def digests(output: Path, names: set[str]) -> dict[str, str]:
    """Name → SHA-256 of files in the output folder."""
    return {name: hashlib.sha256((output / name).read_bytes()).hexdigest() for name in names}


def _are_there(output: Path, files: Mapping[str, str]) -> bool:
    try:
        return digests(output, set(files)) == dict(files)
    except OSError:
        return False


def _parse(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    good = isinstance(content, dict) and content.get("format") == FORMAT
    return content if good else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        open_content(path)  # knows better what is wrong, and what to do
        raise InputError(path, f"it cannot be read ({error.strerror})", "Check it.") from error
