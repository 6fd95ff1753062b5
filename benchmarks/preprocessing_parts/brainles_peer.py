"""Runs brainles-preprocessing; started by `brainles.py` with the Python of the peer's own venv.

Reads a JSON of tasks on standard input, writes a JSON of seconds and matrices to the file that its
first argument names. Steps: coregistration T2 → T1, T1 → atlas, both with the greedy engine, and
their resamplings; no brain extraction (its tools' weights are not in any package), no atlas
correction (a third registration that the paper's recipe does not have), no N4 (its own works at
full resolution inside Otsu's mask and takes minutes an image).
"""

import json
import sys
import time
from pathlib import Path

started = time.perf_counter()
from brainles_preprocessing.modality import CenterModality, Modality  # noqa: E402
from brainles_preprocessing.preprocessor import AtlasCentricPreprocessor  # noqa: E402
from brainles_preprocessing.registration.greedy import greedy  # noqa: E402

# The one-line mend: 0.6.14 asks a Path for `endswith` and stops.
greedy.check_and_add_suffix = lambda name, suffix: (
    str(name) if str(name).endswith(suffix) else f"{name}{suffix}"
)
loading = time.perf_counter() - started


class Timed(AtlasCentricPreprocessor):
    """The peer, its steps timed."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.seconds = {}


def _timed(name):
    original = getattr(AtlasCentricPreprocessor, name)

    def step(self, *arguments, **named):
        begin = time.perf_counter()
        original(self, *arguments, **named)
        self.seconds[name] = time.perf_counter() - begin

    return step


for name in ("run_coregistration", "run_atlas_registration"):
    setattr(Timed, name, _timed(name))


def run(task, atlas):
    folder = Path(task["folder"])
    begin = time.perf_counter()
    images = {
        kind: (CenterModality if kind == "T1" else Modality)(
            modality_name=kind,
            input_path=task[kind],
            raw_skull_output_path=folder / f"{kind}.nii.gz",
            atlas_correction=False,
            n4_bias_correction=False,
        )
        for kind in ("T1", "T2")
    }
    chain = Timed(
        center_modality=images["T1"],
        moving_modalities=[images["T2"]],
        registrator=greedy.GreedyRegistrator(),
        atlas_image_path=atlas,
        temp_folder=folder / "temp",
        use_gpu=False,
    )
    chain.run(log_file=folder / "brainles.log", save_dir_transformations=folder / "matrices")
    seconds = time.perf_counter() - begin
    matrices = {
        path.name: [
            [float(word) for word in line.split()] for line in path.read_text().splitlines()
        ]
        for path in sorted((folder / "matrices").rglob("*.mat"))
    }
    return {"seconds": seconds, "steps": chain.seconds, "matrices": matrices}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    cases = [run(task, request["atlas"]) for task in request["tasks"]]
    Path(sys.argv[1]).write_text(json.dumps({"loading": loading, "cases": cases}))
