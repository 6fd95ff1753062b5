"""Files with bytes changed at random: refused with an error of our own, or read as what they are.

A short fixed part runs with all tests; `make fuzz` draws more, and others every time.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dal_auto.datasets import case_list
from dal_auto.datasets.record import read_record
from dal_auto.datasets.registry import RECORDS
from dal_auto.errors import DalError
from dal_auto.images import read_image
from dal_auto.methods.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dal_auto.plans import Plans, read_assignments
from dal_auto.store import standard_cases

EXAMPLES = int(os.environ.get("DAL_FUZZ_EXAMPLES", "25"))
fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize="DAL_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Change = tuple[str, float, bytes]
#: What is done, where (as a share of the file), and with which bytes.
changes: st.SearchStrategy[list[Change]] = st.lists(
    st.tuples(
        st.sampled_from(("replace", "insert", "delete", "cut")),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def mutate(content: bytes, edits: list[Change]) -> bytes:
    for kind, share, new in edits:
        place = int(share * len(content))
        if kind == "replace":
            content = content[:place] + new + content[place + len(new) :]
        elif kind == "insert":
            content = content[:place] + new + content[place:]
        elif kind == "delete":
            content = content[:place] + content[place + len(new) :]
        else:
            content = content[:place]
    return content


def test_mutations_do_what_they_say() -> None:
    assert mutate(b"abcdef", [("replace", 0.5, b"XY")]) == b"abcXYf"
    assert mutate(b"abcdef", [("insert", 0.5, b"X"), ("cut", 0.9, b"-")]) == b"abcXde"
    assert mutate(b"abcdef", [("delete", 0.0, b"12")]) == b"cdef"


def read_or_refuse(read: Callable[[Path], object], path: Path, content: bytes) -> object | None:
    """What is read, None where it is refused; any other error is a finding."""
    path.write_bytes(content)
    try:
        return read(path)
    except DalError as error:
        assert str(error).strip()
        return None


@pytest.fixture(scope="module")
def nifti() -> bytes:
    values = np.random.default_rng(0).normal(300, 50, (9, 8, 7)).astype(np.int16)
    return nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])).to_bytes()


def check_image(found: object) -> None:
    if found is not None:
        image, grid = found
        assert image.ndim == 3 and image.shape == grid.shape
        assert np.isfinite(image).all() and np.isfinite(grid.affine).all()
        assert abs(np.linalg.det(grid.affine[:3, :3])) > 0


@fuzzed
@given(edits=changes)
def test_an_image(edits: list[Change], nifti: bytes, tmp_path: Path) -> None:
    check_image(read_or_refuse(read_image, tmp_path / "a.nii", mutate(nifti, edits)))


@fuzzed
@given(edits=changes, byte=st.integers(0, 347), value=st.binary(min_size=1, max_size=4))
def test_an_image_header(
    edits: list[Change], byte: int, value: bytes, nifti: bytes, tmp_path: Path
) -> None:
    """Within the 348 bytes that say what the rest is."""
    changed = nifti[:byte] + value + nifti[byte + len(value) :]
    check_image(read_or_refuse(read_image, tmp_path / "a.nii", changed))


@fuzzed
@given(edits=changes)
def test_a_compressed_image(edits: list[Change], nifti: bytes, tmp_path: Path) -> None:
    content = mutate(gzip.compress(nifti, mtime=0), edits)
    check_image(read_or_refuse(read_image, tmp_path / "a.nii.gz", content))


@fuzzed
@given(edits=changes)
def test_a_list_of_cases(edits: list[Change], nifti: bytes, tmp_path: Path) -> None:
    (tmp_path / "a_T1.nii").write_bytes(nifti)
    for name, text in (
        ("list.csv", "case,T1,T2\na,a_T1.nii,a_T1.nii\nb,a_T1.nii,\n"),
        ("list.json", '[{"case": "a", "T1": "a_T1.nii"}, {"case": "b", "T2": "a_T1.nii"}]'),
    ):
        content = mutate(text.encode(), edits)
        cases = read_or_refuse(case_list.find_cases, tmp_path / name, content)
        assert cases is None or all(file.exists() for c in cases for file in c.sequences.values())


@fuzzed
@given(edits=changes)
def test_a_dataset_record(edits: list[Change], tmp_path: Path) -> None:
    content = min(RECORDS.glob("*.json")).read_bytes()
    read_or_refuse(read_record, tmp_path / "dal_record.json", mutate(content, edits))


@fuzzed
@given(edits=changes)
def test_plans(edits: list[Change], make_plans: Callable[..., Plans], tmp_path: Path) -> None:
    def parse(path: Path) -> Plans:
        read_assignments(path)
        return Plans.parse(json.loads(path.read_text(encoding="utf-8")))

    content = json.dumps(make_plans().to_json()).encode()
    read_or_refuse(parse, tmp_path / "plans.json", mutate(content, edits))


@fuzzed
@given(edits=changes)
def test_a_checkpoint(
    edits: list[Change], make_plans: Callable[..., Plans], tmp_path: Path
) -> None:
    save_checkpoint(
        tmp_path / "good.safetensors", Checkpoint(make_plans("mean-brain"), {"mean": torch.ones(4)})
    )
    content = mutate((tmp_path / "good.safetensors").read_bytes(), edits)
    read_or_refuse(load_checkpoint, tmp_path / "a.safetensors", content)


@fuzzed
@given(edits=changes)
def test_a_record_of_a_case(edits: list[Change], tmp_path: Path) -> None:
    good = {"case_id": "a", "patient_id": "p", "sequences": ["T1"], "has_lesion_mask": False}
    content = mutate(json.dumps(good).encode(), edits)
    read_or_refuse(standard_cases.read_record, tmp_path / "a.json", content)
