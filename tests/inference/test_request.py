"""An output is kept where it answers what is asked, and nothing it follows from has changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from dal_auto.case import ClaimedState
from dal_auto.errors import InputError
from dal_auto.inference import request as module
from dal_auto.inference.record import record_path
from dal_auto.inference.request import Request, is_done, tools_of
from dal_auto.plans import PreprocessingPlan
from dal_auto.preprocessing.steps import CaseSteps

REQUEST = Request("ab" * 32, PreprocessingPlan())
STEPS = CaseSteps(bias_correct=True, coregister=False, register_to_atlas=False, strip=False)


@pytest.fixture
def case(scans):
    """Two scans that are read as bytes only."""
    (found,) = scans("a")
    for path in found.sequences.values():
        path.write_bytes(path.name.encode())
    return found


def test_the_hash_is_of_the_scans_the_claims_and_what_is_asked(case, tmp_path):
    mask = tmp_path / "brain.nii"
    mask.write_bytes(b"mask")
    hashes = [
        REQUEST.hash_of(case),
        replace(REQUEST, model_sha256="other").hash_of(case),
        replace(REQUEST, threshold=0.5).hash_of(case),
        replace(REQUEST, layout="bids").hash_of(case),
        replace(REQUEST, save=frozenset({"atlas"})).hash_of(case),
        REQUEST.hash_of(replace(case, claims=ClaimedState(stripped=True))),
        REQUEST.hash_of(replace(case, brain_mask=mask)),
        REQUEST.hash_of(replace(case, sequences={"T1": case.sequences["T1"]})),
        REQUEST.hash_of(replace(case, sequences={"T1": case.sequences["T2"]})),
    ]
    case.sequences["T1"].write_bytes(b"another scan")
    hashes.append(REQUEST.hash_of(case))
    assert len(set(hashes)) == len(hashes)


def test_names_and_places_of_scans_do_not_count_nor_what_is_always_written(case, tmp_path):
    expected = REQUEST.hash_of(case)
    moved = {}
    for sequence, path in case.sequences.items():
        moved[sequence] = tmp_path / f"moved {sequence}"
        moved[sequence].write_bytes(path.read_bytes())
    assert REQUEST.hash_of(replace(case, sequences=moved, lesion_mask=Path("none"))) == expected
    always = replace(REQUEST, save=frozenset({"mask", "pseudo-healthy"}))
    assert always.hash_of(case) == expected


def test_a_scan_that_is_not_there_is_named_with_what_to_do(case):
    path = case.sequences["T2"]
    path.unlink()
    with pytest.raises(InputError, match="no such file") as caught:
        REQUEST.hash_of(case)
    assert caught.value.file == path and "Check the path." in str(caught.value)


def test_tools_are_those_of_the_network_and_of_the_steps_that_were_needed():
    none = CaseSteps(bias_correct=False, coregister=False, register_to_atlas=False, strip=False)
    few, more = tools_of(none, REQUEST.plan), tools_of(STEPS, REQUEST.plan)
    assert any(tool.startswith("dal_auto ") for tool in few)
    assert any(tool.startswith("torch ") for tool in few)
    assert set(few) < set(more)


@pytest.fixture
def output(tmp_path, case, record):
    """A folder in which the case is done."""
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"map")
    done = record(
        "a",
        1.0,
        made_from=REQUEST.hash_of(case),
        tools=tools_of(STEPS, REQUEST.plan),
        files={"a.nii.gz": hashlib.sha256(b"map").hexdigest()},
    )
    done.write(record_path(folder, "a"))
    return folder


def test_a_case_is_done_until_something_is_asked_or_made_otherwise(output, case, monkeypatch):
    assert is_done(output, case, REQUEST)
    assert not is_done(output, replace(case, case_id="b"), REQUEST)
    assert not is_done(output, case, replace(REQUEST, threshold=0.5))
    with monkeypatch.context() as patch:
        patch.setattr(module, "versions", lambda: {"dal_auto": "another"})
        assert not is_done(output, case, REQUEST)
    for content in (b"another map", None):
        (output / "a.nii.gz").unlink()
        if content:
            (output / "a.nii.gz").write_bytes(content)
        assert not is_done(output, case, REQUEST)
    (output / "a.nii.gz").write_bytes(b"map")
    assert is_done(output, case, REQUEST)


def test_a_scan_that_cannot_be_read_or_a_damaged_record_is_not_done(output, case):
    content = case.sequences["T1"].read_bytes()
    case.sequences["T1"].unlink()
    assert not is_done(output, case, REQUEST)
    case.sequences["T1"].write_bytes(content)
    assert is_done(output, case, REQUEST)
    path = record_path(output, "a")
    path.write_text(path.read_text()[:-20])
    assert not is_done(output, case, REQUEST)
