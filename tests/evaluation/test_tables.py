"""Tables of results made by hand, and what is said of them in sentences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dal_auto.evaluation.scores import HELD_OUT
from dal_auto.evaluation.tables import (
    cases_table,
    lesion_sizes_table,
    results_table,
    similarities_table,
    subset_sentences,
    subsets_table,
    variants_table,
    verdicts,
)
from dal_auto.scoring.lesionwise import LesionScore
from dal_auto.store.runs import Run

NAN = math.nan
TRIVIAL = {"mean-brain", "raw-intensity"}


def test_nothing_gives_tables_without_rows():
    for table in (results_table, cases_table, variants_table, subsets_table, lesion_sizes_table):
        assert table([]).empty
    assert similarities_table([]).empty and subset_sentences(subsets_table([])) == []


def test_results_are_sorted_within_dataset_and_sequence_by_precision(make):
    table = results_table(
        [
            make.result(10.0, method="AE", sequence="T2"),
            make.result(20.0, method="VAE"),
            make.result(NAN, method="DAE"),
            make.result(30.0, method="DAL"),
            make.result(5.0, dataset="ATLAS"),
        ]
    )
    assert table["dataset"].tolist() == ["ATLAS", *["MSLUB"] * 4]
    assert table["method"].tolist() == ["DAL", "DAL", "VAE", "DAE", "AE"], "without AP last"
    assert table.index.tolist() == [0, 1, 2, 3, 4]


def test_a_row_names_the_best_variant_and_holds_every_figure(make):
    one = make.result(
        41.5, method="raw-intensity", seed=2, variant="dark", dsc=33.0, lesions_found=50.0,
        cases={"a": 1.0, "b": 2.0, "c": 3.0},
    )  # fmt: skip
    (row,) = results_table([one]).to_dict("records")
    assert (row["method"], row["variant"]) == ("raw-intensity (dark)", "dark")
    assert (row["seed"], row["cases"], row["run"]) == (2, 3, one.run)
    assert (row["AP"], row["DSC"], row["lesions found"]) == (41.5, 33.0, 50.0)
    assert np.isnan(row["AUROC"]) and "practical threshold" in row


def test_every_case_has_a_row_in_every_variant(make):
    bright = make.result(variant="bright", cases={"b": 20.0, "a": NAN}, patients={"b": "p"})
    dark = make.result(variant="dark", cases={"b": 10.0})
    both = bright.model_copy(update={"cases": [*bright.cases, *dark.cases]})
    table = cases_table([both])
    assert table["case"].tolist() == ["b", "a", "b"]
    assert table["method"].tolist() == ["DAL (bright)", "DAL (bright)", "DAL (dark)"]
    assert table["patient"].tolist() == ["p", "a-patient", "b-patient"]
    assert table["AP"].tolist()[::2] == [20.0, 10.0] and np.isnan(table["AP"][1])
    assert set(table["run"]) == {both.run}


def test_variants_and_subsets_have_a_row_each(make):
    bright, dark = make.result(60.0, variant="bright"), make.result(40.0, variant="dark")
    both = bright.model_copy(update={"variants": bright.variants | dark.variants})
    table = variants_table([both])
    assert table[["method", "variant", "AP"]].to_dict("split")["data"] == [
        ["DAL (bright)", "bright", 60.0],
        ["DAL (dark)", "dark", 40.0],
    ]
    parts = {"all cases": (3, 50.0, 40.0), "without shared cases": (2, 45.0, 35.0)}
    table = subsets_table([make.result(subsets=parts), make.result(seed=1)])
    assert table[["cases are", "cases", "AP", "DSC"]].to_dict("split")["data"] == [
        ["all cases", 3, 50.0, 40.0],
        ["without shared cases", 2, 45.0, 35.0],
    ]


def test_lesions_are_counted_by_size_where_there_is_a_threshold(make):
    lesions = [
        LesionScore(0.05, 0.75, 0.05),
        LesionScore(0.1, 0.5, 0.1),  # an edge belongs to the larger class
        LesionScore(0.5, 0.25, 0.5),
        LesionScore(20.0, 0.5, 20.0),
    ]
    known = make.result(lesions=lesions, practical_threshold=0.5)
    table = lesion_sizes_table([make.result(lesions=lesions), known])
    assert table["from ml"].tolist() == [0, 0.1, 1, 10]
    assert table["below ml"].tolist() == [0.1, 1, 10, math.inf]
    assert table["lesions"].tolist() == [1, 2, 0, 1]
    assert table["found"].tolist()[:2] == [100, 50] and table["found"][3] == 100
    assert np.isnan(table["found"][2])


def test_similarities_are_means_of_the_images_that_have_one(make, tmp_path: Path):
    run = Run(tmp_path / "IXI" / "DAL__demo__robust" / "seed_0")

    def healthy(case: str, sequence: str, similarity):
        return make.scored_image(
            run, case, [0.5], [0], dataset=HELD_OUT, sequence=sequence, similarity=similarity
        )

    images = [
        healthy("a", "T2", (0.5, 0.25)),
        healthy("a", "T1", (0.9, 0.7)),
        healthy("b", "T1", (0.7, 0.3)),
        healthy("c", "T1", None),
    ]
    table = similarities_table(images)
    assert table["sequence"].tolist() == ["T1", "T2"] and set(table["run"]) == {run.identity}
    assert table["healthy cases"].tolist() == [2, 1]
    assert table["SSIM grid"].tolist() == pytest.approx([0.8, 0.5])
    assert table["SSIM brain"].tolist() == pytest.approx([0.5, 0.25])
    assert similarities_table(images[3:]).empty


def test_a_sentence_says_what_leaving_cases_out_changes_by_means_over_seeds(make):
    def seed(number: int, without: tuple[int, float, float]):
        parts = {"all cases": (1251, 50.0 + number, 40.0), "without selection cases": without}
        return make.result(seed=number, dataset="BraTS-GLI", subsets=parts)

    found = subset_sentences(subsets_table([seed(0, (1187, 45.0, 30.0)), seed(2, (1187, 46, 31))]))
    assert found == [
        "DAL on BraTS-GLI T1: AP 51.0, DSC 40.0 on all cases (1,251); "
        "AP 45.5, DSC 30.5 without selection cases (1,187)."
    ]
    (sentence,) = subset_sentences(subsets_table([seed(0, (0, NAN, NAN))]))
    assert sentence.endswith("; AP –, DSC – without selection cases (0).")


def test_methods_and_places_have_a_sentence_each(make):
    parts = {"all cases": (2, 50.0, 40.0), "without shared cases": (1, 45.0, 35.0)}
    results = [
        make.result(dataset=dataset, method=method, sequence=sequence, subsets=parts)
        for dataset in ("UPenn-GBM", "BraTS-GLI")
        for method in ("VAE", "AE")
        for sequence in ("T2", "T1")
    ]
    found = [sentence.partition(":")[0] for sentence in subset_sentences(subsets_table(results))]
    assert found == [
        f"{method} on {dataset} {sequence}"
        for dataset in ("BraTS-GLI", "UPenn-GBM")
        for sequence in ("T1", "T2")
        for method in ("AE", "VAE")
    ]


UNRESOLVED = ", but not resolved: other patients may say the opposite"


@pytest.mark.parametrize(
    ("ap", "drawn", "relation", "resolution", "interval"),
    [
        (50.0, [0.4, 0.6], "higher than", "", "+10.5 to +29.5"),
        (20.0, [0.2, 0.0], "lower than", "", "-29.5 to -10.5"),
        (31.0, [0.2, 0.4], "higher than", UNRESOLVED, "-9.5 to +9.5"),
        (30.0, [0.3, 0.3], "equal to", UNRESOLVED, "+0.0 to +0.0"),
    ],
)
def test_a_verdict_compares_with_the_best_baseline_and_says_what_is_resolved(
    make, ap, drawn, relation, resolution, interval
):
    few = ", but not resolved: that takes 6 patients or more"
    for count, said in ((6, resolution), (5, few)):
        cases = dict.fromkeys("abcdef"[:count], 1.0)
        results = [
            make.result(10.0, method="raw-intensity", variant="dark", cases=cases),
            make.result(30.0, method="mean-brain", resampled=[0.3, 0.3], cases=cases),
            make.result(ap, seed=1, resampled=drawn, cases=cases),
        ]
        assert verdicts(results, TRIVIAL) == [
            f"DAL (seed 1) is {relation} mean-brain, the best trivial baseline, on MSLUB T1, "
            f"in {count} patients{said}. AP {ap} against 30.0 "
            f"(difference, 95 % by patient: {interval})."
        ]


def test_a_verdict_without_an_interval_says_why(make):
    other = make.result(30.0, method="mean-brain", cases={"a": 1.0})
    (sentence,) = verdicts([make.result(), other], TRIVIAL)
    assert sentence.endswith("AP 40.0 against 30.0 (other cases: see what failed).")
    patients = {"a": "p", "b": "p"}
    same = [
        make.result(ap, method=method, patients=patients)
        for ap, method in ((40.0, "DAL"), (30.0, "mean-brain"))
    ]
    (sentence,) = verdicts(same, TRIVIAL)
    assert "on MSLUB T1, in 1 patient. AP" in sentence
    assert sentence.endswith("(no interval: fewer than two patients).")


def test_every_place_with_a_baseline_is_judged_the_best_method_first(make):
    results = [
        make.result(ap, method=method, dataset=dataset, variant=variant)
        for dataset, method, variant, ap in (
            ("MSLUB", "raw-intensity", "dark", 25.0),
            ("MSLUB", "AE", "", 20.0),
            ("MSLUB", "DAL", "", 50.0),
            ("ATLAS", "DAL", "", 40.0),
            ("BraTS-GLI", "mean-brain", "", 30.0),
            ("BraTS-GLI", "DAL", "", 10.0),
        )
    ]
    found = [sentence.partition(", the best")[0] for sentence in verdicts(results, TRIVIAL)]
    assert found == [
        "DAL (seed 0) is higher than raw-intensity (dark)",
        "AE (seed 0) is lower than raw-intensity (dark)",
        "DAL (seed 0) is lower than mean-brain",
    ]


def test_where_nothing_can_be_compared_it_is_said_why(make):
    dal, baseline = make.result(), make.result(method="mean-brain")
    assert verdicts([], TRIVIAL) == ["Nothing has been scored yet."]
    (sentence,) = verdicts([baseline], TRIVIAL)
    assert sentence.startswith("No method other than the trivial baselines")
    (sentence,) = verdicts([dal], TRIVIAL)
    assert sentence.startswith("No trivial baseline has been scored")
    healthy = [make.result(NAN, method=method) for method in ("DAL", "mean-brain")]
    for results in (healthy, [dal, make.result(dataset="ATLAS", method="mean-brain")]):
        (sentence,) = verdicts(results, TRIVIAL)
        assert sentence.startswith("On no dataset"), "an AP that is not there equals none"


def test_tables_hold_runs_as_what_they_are(make):
    """So that averages group by them; they are text in a file only."""
    one = make.result()
    for table in (results_table([one]), cases_table([one]), variants_table([one])):
        assert table["run"].iloc[0] == one.run
        assert isinstance(pd.Series(table["run"]).iloc[0], type(one.run))
