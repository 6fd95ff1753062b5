"""One map of several sequences: in multiples of their thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from dal_auto.scoring.joint import joint_key, joint_score


def test_where_a_sequence_does_not_show_the_brain_the_others_have_the_say():
    scores = {"T1": np.array([[[1.0, 1.0]]]), "T2": np.array([[[4.0, 0.0]]])}
    thresholds = {"T1": 0.5, "T2": 2.0}
    shown = {"T2": np.array([[[True, False]]]), "FLAIR": np.array([[[False, False]]])}
    for rule, expected in (("mean", [[[2.0, 2.0]]]), ("max", [[[2.0, 2.0]]])):
        np.testing.assert_allclose(joint_score(scores, thresholds, rule, shown=shown), expected)
    np.testing.assert_allclose(joint_score(scores, thresholds, "mean"), [[[2.0, 1.0]]])
    nowhere = dict.fromkeys(scores, np.zeros((1, 1, 2), bool))
    zero = {name: np.zeros((1, 1, 2)) for name in scores}
    assert not joint_score(zero, thresholds, "mean", shown=nowhere).any()


def test_each_score_counts_in_multiples_of_its_threshold():
    scores = {"T1": np.array([[[0.2, 0.0]]]), "T2": np.array([[[3.0, 6.0]]])}
    thresholds = {"T1": 0.1, "T2": 3.0}
    np.testing.assert_allclose(joint_score(scores, thresholds, "mean"), [[[1.5, 1.0]]])
    np.testing.assert_allclose(joint_score(scores, thresholds, "max"), [[[2.0, 2.0]]])
    assert joint_score(scores, thresholds, "mean").dtype == np.float32


def test_the_joint_map_has_a_threshold_of_its_own():
    scores = {"T1": np.array([[[1.0, 4.0]]]), "T2": np.array([[[9.0, 0.0]]])}
    for rule in ("roots", "mean", "max"):
        plain = joint_score(scores, {"T1": 1.0, "T2": 1.0}, rule)
        own = joint_score(scores, {"T1": 1.0, "T2": 1.0}, rule, threshold=0.5)
        np.testing.assert_allclose(own, 2 * plain)
    assert joint_key(["T2", "FLAIR", "T1"]) == joint_key(["T1", "T2", "FLAIR"]) == "FLAIR+T1+T2"


def test_one_sequence_alone_is_only_scaled():
    score = np.random.default_rng(0).random((3, 4, 5), np.float32)
    for rule in ("roots", "mean", "max"):
        np.testing.assert_allclose(
            joint_score({"T1": score}, {"T1": 0.5}, rule), 2 * score, rtol=1e-6
        )


def test_roots_and_weights_follow_their_formula():
    values = {"T1": 1.0, "T2": 9.0, "FLAIR": 16.0}
    scores = {name: np.full((1, 1, 1), value) for name, value in values.items()}
    ones, weights = dict.fromkeys(scores, 1.0), {"T2": 2.0, "FLAIR": 4.0}
    # (1·1 + 2·3 + 4·4) / 7 = 23 / 7; without FLAIR (1 + 6) / 3.
    assert joint_score(scores, ones, "roots", weights).item() == pytest.approx((23 / 7) ** 2)
    two = {name: scores[name] for name in ("T1", "T2")}
    assert joint_score(two, ones, "roots", weights).item() == pytest.approx((7 / 3) ** 2)
    assert joint_score(scores, ones, "mean", weights).item() == pytest.approx(83 / 7)
    hidden = {"FLAIR": np.zeros((1, 1, 1), bool)}
    zero = scores | {"FLAIR": np.zeros((1, 1, 1))}
    assert joint_score(zero, ones, "mean", weights, hidden).item() == pytest.approx(19 / 3)


def test_what_two_sequences_mark_counts_for_more_than_what_one_does():
    both = joint_score(
        {"T1": np.full((1, 1, 1), 2.0), "T2": np.full((1, 1, 1), 2.0)},
        {"T1": 1.0, "T2": 1.0},
        "roots",
    )
    alone = joint_score(
        {"T1": np.zeros((1, 1, 1)), "T2": np.full((1, 1, 1), 4.0)}, {"T1": 1.0, "T2": 1.0}, "roots"
    )
    assert both.item() == pytest.approx(2.0) and alone.item() == pytest.approx(1.0)


def test_scores_on_other_grids_or_none_at_all_are_an_error():
    with pytest.raises(ValueError, match="one grid"):
        joint_score({}, {}, "mean")
    with pytest.raises(ValueError, match="one grid"):
        joint_score({"a": np.ones((2, 2, 2)), "b": np.ones((2, 2, 3))}, {"a": 1, "b": 1}, "max")
