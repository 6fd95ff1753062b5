"""`make figures`: the pictures of README and docs, made by the shipped model on a real glioma.

The case is BraTS 2021's 00000 in DAL_TEST_DATA (default ../shared/data). It was chosen because the
model finds its lesion; each picture says what it shows with its average precision.
"""

from __future__ import annotations

import sys
from pathlib import Path

from preprocessing_parts.cases import test_data

from dal_auto import load_model
from dal_auto.case import RawCase, StandardCase
from dal_auto.figures.panels import three_view_panel
from dal_auto.figures.png import save_png
from dal_auto.figures.view import Volume
from dal_auto.inference.model import Model
from dal_auto.inference.outputs import panel_volumes
from dal_auto.inference.prepare import PrepareTask, prepare
from dal_auto.scoring.metrics import average_precision
from dal_auto.scoring.pooled_curve import ScoreCounts

CASE = "BraTS2021_00000"
#: "steps" has all that the method makes, "glioma" input, pseudo-healthy image and map.
WANTED = (("glioma", "T2"), ("glioma", "FLAIR"), ("steps", "T2"))
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


def main() -> int:
    data = test_data()
    if data is None or not (folder := data / "brats_gli" / CASE).is_dir():
        print(f"{CASE} is not at hand: DAL_TEST_DATA names the folder that holds brats_gli/{CASE}")
        return 1
    model = load_model("shipped", device="cpu")
    case = standard_case(folder, model)
    lesions = case.lesion_mask
    assert lesions is not None, "it comes with the case"
    predictions = model.predict(case)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, sequence in WANTED:
        prediction = predictions[sequence]
        score = next(iter(prediction.anomaly.values()))
        precision = average_precision(ScoreCounts.from_volume(score, lesions))
        title = f"{CASE}, {sequence}: average precision {100 * precision:.0f} %"
        whole = panel_volumes(prediction, score)
        volumes = whole if name == "steps" else brief(whole)
        figure = three_view_panel(volumes, spacing_mm=(1.0, 1.0, 1.0), mask=lesions, title=title)
        path = PICTURES / f"{name}-{sequence}.png"
        save_png(figure, path)
        print(f"{path.relative_to(PICTURES.parents[1])}: {title}")
    return 0


def standard_case(folder: Path, model: Model) -> StandardCase:
    """The case as the model sees it, with the experts' lesion mask."""
    files = {name: folder / f"{CASE}_{name.lower()}.nii.gz" for name in model.plans.sequences}
    raw = RawCase("BraTS-GLI", CASE, CASE, files, folder / f"{CASE}_seg.nii.gz")
    return prepare(PrepareTask(raw, model.request, threads=1)).case


def brief(volumes: list[Volume]) -> list[Volume]:
    """Input, pseudo-healthy image and map, without what lies between."""
    return [
        volume
        for volume in volumes
        if volume.kind == "score" or volume.title in ("input", "pseudo-healthy")
    ]


if __name__ == "__main__":
    sys.exit(main())
