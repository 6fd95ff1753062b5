"""The paper's numbers agree with each other, as far as one follows from others: no slips."""

from __future__ import annotations

import pytest

from dal_auto.evaluation.paper import reference as r

ROUNDED = 0.0101  # some are rounded, some cut off


def test_subjects_add_up_to_those_of_table_1():
    assert r.images("T1") == 4443 and r.images("T2") == 3788


@pytest.mark.parametrize("metric", [0, 1])
def test_means_over_both_sequences_weigh_cells_not_images(metric):
    """9 cells of T1 and 8 of T2: Table 3's means and Table 5's."""
    for means in (r.TABLE_3_DAL_MEANS, *r.TABLE_5.values()):
        expected = (9 * means["T1"][metric] + 8 * means["T2"][metric]) / 17
        assert means["all"][metric] == pytest.approx(expected, abs=ROUNDED)


def test_table_3_improves_as_the_text_says():
    gains = {"T1": (16.83, 12.55), "T2": (17.78, 14.39), "all": (18.32, 13.64)}
    for sequence, pair in gains.items():
        ours, others = r.TABLE_3_DAL_MEANS[sequence], r.TABLE_3_BEST_OTHER_MEANS[sequence]
        assert [a - b for a, b in zip(ours, others, strict=True)] == pytest.approx(pair)


@pytest.mark.parametrize("method", r.TABLE_4)
def test_ratios_of_table_4(method):
    for normal, lesion, ratio in r.TABLE_4[method].values():
        assert ratio == pytest.approx(lesion / normal, abs=0.011), "errors are rounded, too"


@pytest.mark.parametrize(
    "values", [*(row.values for row in r.TABLE_6), *r.TABLE_7.values()], ids=str
)
def test_averages_of_tables_6_and_7(values):
    for metric in (0, 1):
        mean = (values["T1"][metric] + values["T2"][metric]) / 2
        assert values["all"][metric] == pytest.approx(mean, abs=ROUNDED)


def test_full_models_of_tables_6_to_8_are_one():
    assert r.TABLE_6[-1].values == r.TABLE_7["nothing"]
    for sequence in ("T1", "T2"):
        assert r.TABLE_8["IXI"]["BraTS-GLI", sequence] == r.TABLE_7["nothing"][sequence]


@pytest.mark.parametrize("training_set", ["HCP", "IXI"])
@pytest.mark.parametrize("sequence", ["T1", "T2"])
def test_adult_averages_of_table_8(training_set, sequence):
    cells = r.TABLE_8[training_set]
    for metric in (0, 1):
        mean = sum(cells[dataset, sequence][metric] for dataset in r.GLIOMA_ADULT) / 3
        assert cells[r.ADULT_AVERAGE, sequence][metric] == pytest.approx(mean, abs=ROUNDED)


def test_modality_reuse_brings_images_nearer():
    for sequence in ("T1", "T2"):
        assert r.SIMILARITY["nothing"][sequence] > r.SIMILARITY["modality reuse"][sequence]
