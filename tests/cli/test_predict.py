"""``dal_predict``: what is taken for a case, what is refused, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dal_auto.cli import predict
from dal_auto.cli.commands import predict as module
from dal_auto.inference.run import PredictionSummary
from dal_auto.store.claim import claimed

Started = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def scans(tmp_path: Path) -> Callable[..., Path]:
    """Make empty files in a folder of scans; returns the folder."""

    def make(*names: str) -> Path:
        for name in names:
            file = tmp_path / "scans" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        return tmp_path / "scans"

    return make


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Run the command up to the prediction; returns the exit code and what would be predicted."""

    def run(source: Path, *options: str, output: Path | None = None, lost: int = 0) -> Any:
        asked: dict[str, Any] = {}

        def predict_cases(cases: Any, output: Path, run: Any, **rest: Any) -> PredictionSummary:
            asked.update(rest, cases={c.case_id: dict(c.sequences) for c in cases})
            return PredictionSummary(done=[case.case_id for case in cases][lost:])

        monkeypatch.setattr(module, "predict_cases", predict_cases)
        monkeypatch.setattr(module, "choose_model", lambda method, name: "a model")
        out = output or tmp_path / "maps"
        return predict.main(["-i", str(source), "-o", str(out), "--device", "cpu", *options]), asked

    return run


def test_flat_folders_bids_trees_nnunets_and_lists_are_all_taken(
    scans: Callable[..., Path], start: Started
) -> None:
    root = scans(
        "flat/a_T1.nii.gz", "flat/a_T2.nii.gz", "flat/b_0000.nii.gz",
        "bids/sub-1/anat/sub-1_T1w.nii.gz", "bids/dataset_description.json",
        "bids/derivatives/rater1/sub-1/anat/sub-1_label-lesion_mask.nii.gz",
        "bids/derivatives/rater2/sub-1/anat/sub-1_label-lesion_mask.nii.gz",
        "nn/imagesTr/c_0000.nii.gz",
    )  # fmt: skip
    (root / "nn/dataset.json").write_text(
        '{"channel_names": {"0": "FLAIR"}, "labels": {"lesion": 1, "ignore": 2}}'
    )
    (root / "list.csv").write_text("case,T1\nd,flat/a_T1.nii.gz\n")
    for source, expected in {
        "flat": {"a": {"T1", "T2"}, "b": {"T1"}},
        "bids": {"sub-1": {"T1"}},
        "nn": {"c": {"FLAIR"}},
        "list.csv": {"d": {"T1"}},
    }.items():
        code, asked = start(root / source)
        assert code == 0
        assert {name: set(files) for name, files in asked["cases"].items()} == expected


def test_what_an_earlier_run_wrote_is_never_taken_for_a_scan(
    scans: Callable[..., Path], start: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    root = scans(
        "a_T1.nii.gz", "a_T1_anomaly.nii.gz", "a_T1_mask.nii.gz", "a_T1_pseudo-healthy.nii.gz",
        "a_T1_anatomy_space-atlas.nii.gz", "the_mask.nii.gz",
    )  # fmt: skip
    for options in ([], ["--sequence", "T1"]):
        _, asked = start(root, *options)
        assert set(asked["cases"]) - {"the_mask"} == {"a_T1" if options else "a"}
    assert "4 files are outputs of dal_predict" in capsys.readouterr().err


def test_a_folder_of_nothing_but_outputs_is_an_error(
    scans: Callable[..., Path], start: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    code, asked = start(scans("a_T1_anomaly.nii.gz"), "--sequence", "T1")
    assert code == 1 and not asked and "it holds no T1" in capsys.readouterr().err


def test_the_folder_of_the_scans_is_not_that_of_the_maps(
    scans: Callable[..., Path], start: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    root = scans("a_T1.nii.gz")
    code, asked = start(root, output=root.parent / "scans" / ".." / "scans")
    assert code == 2 and not asked and "name another folder" in capsys.readouterr().err


def test_fewer_maps_than_scans_are_a_failure(scans: Callable[..., Path], start: Started) -> None:
    root = scans("a_T1.nii.gz", "b_T1.nii.gz")
    assert start(root)[0] == 0
    assert start(root, lost=1)[0] == 1


def test_every_option_is_heard(scans: Callable[..., Path], start: Started) -> None:
    _, asked = start(
        scans("a_T1.nii.gz"), "--save", "mask, anatomy,atlas-space", "--threshold", "0.4",
        "--no-resume", "-np", "2", "--scheduler", "tcp://n:8786",
    )  # fmt: skip
    assert asked["save"] == {"mask", "anatomy", "atlas-space"}
    assert (asked["threshold"], asked["resume"], asked["device"]) == (0.4, False, "cpu")
    assert asked["workforce"].processes == 2
    assert asked["workforce"].scheduler == "tcp://n:8786"
    _, asked = start(scans("a_T1.nii.gz"))
    assert (asked["save"], asked["threshold"], asked["resume"]) == (frozenset(), None, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--save", "everything"], "known: pseudo-healthy, mask, anatomy, atlas-space"),
        (["--threshold", "0"], "'0' is not a threshold: a number above 0"),
        (["--threshold", "nan"], "'nan' is not a threshold: a number above 0"),
        (["--threshold", "high"], "'high' is not a threshold: a number above 0"),
        (["--overwrite"], "unknown option --overwrite"),
        (["--sequence", "PD"], "unknown sequence 'PD'; known: T1, T2, FLAIR"),
    ],
)
def test_what_makes_no_sense_is_refused(
    scans: Callable[..., Path],
    start: Started,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        start(scans("a_T1.nii.gz"), *options)
    assert caught.value.code == 2 and said in capsys.readouterr().err


def test_one_file_is_a_case_of_its_own(scans: Callable[..., Path], start: Started) -> None:
    root = scans("a_T1.nii.gz", "sub-1_ses-2_FLAIR.nii.gz", "t1.nii", "head.nii.gz")
    for name, options, expected in (
        ("a_T1.nii.gz", [], {"a": {"T1"}}),
        ("sub-1_ses-2_FLAIR.nii.gz", [], {"sub-1_ses-2": {"FLAIR"}}),
        ("t1.nii", [], {"scans": {"T1"}}),
        ("head.nii.gz", ["--sequence", "T2"], {"head": {"T2"}}),
        ("head.nii.gz", ["--sequence", "t1w"], {"head": {"T1"}}),
        ("head.nii.gz", ["--sequence", "Flair"], {"head": {"FLAIR"}}),
    ):
        code, asked = start(root / name, *options)
        assert code == 0
        assert {case: set(files) for case, files in asked["cases"].items()} == expected


@pytest.mark.parametrize(
    ("name", "expected", "said"),
    [
        ("head.nii.gz", 1, "as --sequence T1"),
        ("notes.txt", 1, "does not end as an image's"),
        ("gone/", 2, "no such file or folder"),
        ("gone.csv", 2, "no such file or folder"),
    ],
)
def test_a_file_that_is_no_case_is_an_error_that_says_what_to_do(
    scans: Callable[..., Path],
    start: Started,
    capsys: pytest.CaptureFixture[str],
    name: str,
    expected: int,
    said: str,
) -> None:
    root = scans("head.nii.gz", "notes.txt")
    code, asked = start(root / name)
    assert code == expected and not asked and said in capsys.readouterr().err


def test_maps_go_beside_the_scans_not_among_them(
    scans: Callable[..., Path], start: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    root = scans("bids/sub-1/anat/sub-1_T1w.nii.gz", "bids/dataset_description.json") / "bids"
    code, _ = start(root, output=root / "maps")
    said = capsys.readouterr().err
    assert code == 2 and "lies inside" in said and "derivatives" in said
    code, asked = start(root, output=root / "derivatives" / "dal")
    assert code == 0 and asked["cases"]


@pytest.mark.parametrize(
    ("source", "output", "held"),
    [
        ("list.csv", "", "list.csv"),
        ("list.csv", "images", "a_T1.nii.gz"),
        ("list.csv", "masks", "a.nii.gz"),
        ("list.csv", "elsewhere", "b_T2.nii.gz"),
        ("images/a_T1.nii.gz", "images", "a_T1.nii.gz"),
    ],
)
def test_maps_go_into_no_folder_that_holds_an_input(
    scans: Callable[..., Path],
    start: Started,
    capsys: pytest.CaptureFixture[str],
    source: str,
    output: str,
    held: str,
) -> None:
    root = scans("images/a_T1.nii.gz", "masks/a.nii.gz", "elsewhere/b_T2.nii.gz", "links/x")
    (root / "links/b_T2.nii.gz").symlink_to(root / "elsewhere/b_T2.nii.gz")
    (root / "list.csv").write_text(
        "case,T1,T2,brain_mask\na,images/a_T1.nii.gz,,masks/a.nii.gz\nb,,links/b_T2.nii.gz,\n"
    )
    code, asked = start(root / source, output=root / output)
    assert code == 2 and not asked
    assert f"{root / output} holds {held}, which is one of the inputs" in capsys.readouterr().err
    assert start(root / source, output=root / "maps")[0] == 0


def test_a_run_that_is_refused_has_changed_nothing(
    scans: Callable[..., Path],
    start: Started,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Series of DICOM were converted before the folder was claimed."""
    looked = []
    monkeypatch.setattr(module, "find_scans", lambda *_: looked.append(True))
    with claimed(tmp_path / "maps", "Wait."):
        code, asked = start(scans("a_T1.nii.gz"))
    assert (code, asked, looked) == (2, {}, [])
    assert "another run is writing to this folder" in capsys.readouterr().err


def test_an_error_leaves_no_empty_folder(
    scans: Callable[..., Path], start: Started, tmp_path: Path
) -> None:
    assert start(scans("notes.txt"))[0] == 1
    assert not (tmp_path / "maps").exists()


def test_dicom_seg_wants_dicom(
    scans: Callable[..., Path], start: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    code, asked = start(scans("a_T1.nii.gz"), "--save", "dicom-seg")
    assert (code, asked) == (2, {})
    assert "wants scans that come as DICOM" in capsys.readouterr().err
