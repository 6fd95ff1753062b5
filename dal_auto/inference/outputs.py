"""What is written for one case: maps in native space, pictures, and last its record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np

from dal_auto import __version__
from dal_auto.case import FloatArray, RawCase
from dal_auto.choices import SEGMENTATION, LayoutName
from dal_auto.figures.view import Volume
from dal_auto.images import write_image
from dal_auto.images.dicom_seg import Found, write_segmentation
from dal_auto.inference.case_page import write_case_page
from dal_auto.inference.export import standard_grid, to_native
from dal_auto.inference.former import OLD, forget_unfinished, set_aside, settle
from dal_auto.inference.layout import (
    KINDS,
    picture_name,
    segmentation_name,
    sidecar_name,
    transform_name,
    volume_name,
)
from dal_auto.inference.model import Model
from dal_auto.inference.native_map import JOINT, NativeMap, map_makers, map_names, stored
from dal_auto.inference.picture import draw_map
from dal_auto.inference.predictor import Prediction
from dal_auto.inference.prepare import Prepared
from dal_auto.inference.record import (
    MapRecord,
    PredictionRecord,
    record_path,
)
from dal_auto.inference.remark import flags_of, texts
from dal_auto.inference.sidecar import sidecar
from dal_auto.inference.transforms import write_transform
from dal_auto.pages.volumes import viewer_volumes
from dal_auto.store.atomic import write_json
from dal_auto.store.kept import sha256_of
from dal_auto.workers.threads import side_by_side

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Export:
    """One case, ready to be written.

    Parameters
    ----------
    predictions : by sequence
    seconds : by step, so far; writing adds its own, of all threads
    at_once : so many maps are written side by side
    """

    model: Model
    raw: RawCase
    prepared: Prepared
    predictions: Mapping[str, Prediction]
    output: Path
    seconds: dict[str, float] = field(default_factory=dict)
    at_once: int = 1
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """As `Stopwatch.step`, which is for the one task of a process and not for threads."""
        start = time.perf_counter()
        yield
        with self._lock:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def write_outputs(export: Export) -> None:
    """Write all of a case. What an earlier run made of it is moved away first, and removed at the
    end unless it is of other scans, which is said.

    Raises
    ------
    DiskFull
        if there is no room for a file.
    CaseFailed
        if the scores are no numbers, or negative.
    """
    raw, output, model = export.raw, export.output, export.model
    case_id = raw.case_id
    # From here to the end the case is not there: an old record would be trusted.
    for former in set_aside(output, case_id):
        if not former.is_of(export.prepared.scans):
            logger.warning(
                "%s: there are maps of other scans of this name (%s); they lie in %s. Give each "
                "group of scans an output folder of its own",
                case_id,
                ", ".join(scan.name for scan in former.scans.values()),
                output / OLD / former.group,
            )
    makers = map_makers(model, export.prepared.case, export.predictions)
    done = side_by_side(lambda make: _write_map(export, make), makers, export.at_once)
    written = _write_transforms(export).union(*(names for _, names in done))
    sequences = {*raw.sequences, *model.plans.sequences}
    possible = possible_names(model.request.layout, case_id, sequences)
    for name in possible - written:  # of a run that was killed while it wrote
        (output / name).unlink(missing_ok=True)
    forget_unfinished(output, possible)
    with export.timed("hash of the outputs"):
        files = {name: sha256_of(output / name) for name in sorted(written)}
    prepared = export.prepared
    flags = flags_of(prepared.case.quality)
    write_json(
        output / "logs" / f"{case_id}.json",
        {
            "seconds": {name: round(value, 3) for name, value in export.seconds.items()},
            "steps": list(prepared.case.steps),
            "warnings": texts(prepared.warnings),
            "flags": texts(flags),
            "device": model.device,
        },
    )
    PredictionRecord(
        case=case_id,
        made_from=prepared.made_from,
        scans=dict(prepared.scans),
        tools=prepared.tools,
        steps=prepared.steps,
        done=prepared.case.steps,
        model=model.names,
        warnings=prepared.warnings,
        flags=flags,
        quality=dict(prepared.case.quality),
        maps=tuple(record for record, _ in done),
        files=files,
    ).write(record_path(output, case_id))
    settle(output, case_id)


def possible_names(layout: LayoutName, case_id: str, sequences: Iterable[str]) -> set[str]:
    """The files below the output folder that maps of these sequences, and their joint map, may
    have."""
    found = set()
    for sequence in sequences:
        found |= {transform_name(layout, case_id, sequence, end) for end in (".tfm", ".txt")}
        for name in (sequence, JOINT):
            found |= {
                sidecar_name(layout, case_id, name, sequence),
                picture_name(layout, case_id, name),
                segmentation_name(layout, case_id, name, sequence),
                *(
                    volume_name(layout, case_id, name, sequence, kind, atlas=atlas)
                    for kind in KINDS
                    for atlas in (False, True)
                ),
            }
    return found


def _write_map(export: Export, make: Callable[[], NativeMap]) -> tuple[MapRecord, set[str]]:
    """Maps, sidecar, picture and page of one map: what is kept of it, and the names of files."""
    with export.timed("export"):
        found = make()
    model, case, output = export.model, export.prepared.case, export.output
    layout, cut = model.request.layout, found.threshold
    names = {"sidecar": sidecar_name(layout, case.case_id, found.name, found.on)}
    names["picture"] = picture_name(layout, case.case_id, found.name)
    volumes = _write_volumes(export, found)
    write_json(output / names["sidecar"], sidecar(model, export.raw, export.prepared, found))
    volume_ml = round(float(np.count_nonzero(found.mask)) * found.grid.voxel_ml, 4)
    with export.timed("picture"):
        draw_map(
            output / names["picture"],
            f"{case.case_id} {found.name}: {volume_ml:.2f} ml with a score of {cut:.4g} or more",
            image=found.prediction.image,
            pseudo_healthy=found.prediction.pseudo_healthy,
            score=found.standard_score,
            mask=stored(case.case_id, found.standard_score) >= cut,
        )
    with export.timed("viewer"):
        names["viewer"] = write_case_page(
            output,
            case.case_id,
            found.name,
            map_names(export.predictions),
            viewer_volumes(
                found.prediction.image,
                found.standard_score,
                case.brain_mask,
                pseudo_healthy=found.prediction.pseudo_healthy,
                start=stored(case.case_id, found.standard_score) >= cut,
            ),
            cut,
            model.names,
            volumes,
        )
    record = MapRecord(
        sequence=found.name,
        threshold=cut,
        anomaly_ml=volume_ml,
        components=tuple(found.components),
        maximum_score=float(found.score.max()),
        mean_score=round(float(found.standard_score[case.brain_of(found.name)].mean()), 6),
        picture=names["picture"],
        viewer=names["viewer"],
        volumes=volumes,
    )
    return record, {*volumes.values(), *names.values()}


def _write_volumes(export: Export, found: NativeMap) -> dict[str, str]:
    """Every volume of one map, in the scan's space and where that is wanted in the atlas's; what
    each is → its file."""
    model, case = export.model, export.prepared.case
    plans, save, layout = model.plans, model.request.save, model.request.layout
    like, files = export.raw.sequences[found.on], dict[str, str]()
    method = plans.method.name

    def write(kind: str, volume: np.ndarray, *, atlas: bool = False) -> None:
        file = volume_name(layout, case.case_id, found.name, found.on, kind, atlas=atlas)
        # The threshold is middle grey, in every map of a run.
        window = (0.0, 2 * found.threshold if kind == "anomaly" else 1.0)
        grid, header = (standard_grid(plans), None) if atlas else (found.grid, like)
        description = f"dal_auto {__version__} {method} {found.name} {kind}"
        with export.timed("write"):
            write_image(
                export.output / file, volume, grid, header, window=window, description=description
            )
        files[f"{kind}{'_space-atlas' if atlas else ''}"] = file

    write("anomaly", found.score)
    write("mask", found.mask)
    restored = {"pseudo-healthy": found.prediction.pseudo_healthy, "anatomy": _anatomy(found)}
    if found.name == JOINT:
        restored = {}  # they are those of its sequences
    else:
        write("brain-mask", found.brain)
    kept = {
        kind: volume
        for kind, volume in restored.items()
        if volume is not None and (kind == "pseudo-healthy" or kind in save)
    }
    for kind, volume in kept.items():
        with export.timed("export"):
            moved = to_native(volume, case.geometry, found.on, plans)
        write(kind, stored(case.case_id, moved))
    if "atlas-space" in save:
        score = stored(case.case_id, found.standard_score)
        write("anomaly", score, atlas=True)
        write("mask", score >= found.threshold, atlas=True)
        if found.name != JOINT:
            write("brain-mask", case.brain_of(found.name), atlas=True)
        for kind, volume in kept.items():
            write(kind, stored(case.case_id, volume), atlas=True)
    if SEGMENTATION in save:
        files[SEGMENTATION] = _write_segmentation(export, found)
    return files


def _write_segmentation(export: Export, found: NativeMap) -> str:
    """The mask on the frames of the series that its scan was made of; the file's name."""
    model, case_id = export.model, export.prepared.case.case_id
    name = segmentation_name(model.request.layout, case_id, found.name, found.on)
    about = Found(f"anomaly {found.name}", model.plans.method.name, model.request.model_sha256)
    with export.timed("DICOM SEG"):
        write_segmentation(export.output / name, found.mask, export.raw.dicom[found.on], about)
    return name


def _write_transforms(export: Export) -> set[str]:
    """The way between each scan and the atlas, for ITK's programs and as text."""
    case, layout = export.prepared.case, export.model.request.layout
    names = set()
    for sequence, matrix in case.geometry.atlas_to_native.items():
        for ending in (".tfm", ".txt"):
            name = transform_name(layout, case.case_id, sequence, ending)
            write_transform(export.output / name, matrix)
            names.add(name)
    return names


def _anatomy(found: NativeMap) -> FloatArray | None:
    return found.prediction.extras.get("anatomy")


def panel_volumes(prediction: Prediction, anomaly: np.ndarray) -> list[Volume]:
    """The rows of a panel that shows all that a method made of an image."""
    volumes = [Volume("input", prediction.image, "image", 1.0)]
    if prediction.pseudo_healthy is not None:
        volumes.append(Volume("pseudo-healthy", prediction.pseudo_healthy, "image", 1.0))
    for name, extra in prediction.extras.items():
        volumes.append(Volume(name, extra, "image", 1.0))
    volumes.append(Volume("anomaly map", anomaly, "score", None))
    return volumes
