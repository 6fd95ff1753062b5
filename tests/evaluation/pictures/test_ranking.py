"""The worst and the best cases, each once, whatever there is to choose from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dal_auto.evaluation.pictures.ranking import EACH, worst_and_best

NAN = float("nan")


def test_the_worst_come_worst_first_and_the_best_best_first():
    scores = dict(zip("abcdefgh", [5.0, 1.0, 2.0, 3.0, NAN, 4.0, 7.0, 6.0], strict=True))
    assert worst_and_best(scores) == (["b", "c", "d"], ["g", "h", "a"])


def test_of_few_cases_none_is_both():
    assert worst_and_best({"a": 1.0, "b": 2.0}) == (["a", "b"], [])
    assert worst_and_best({"d": 4.0, "a": 1.0, "b": 2.0, "c": 3.0}) == (["a", "b", "c"], ["d"])
    assert worst_and_best({"a": NAN}) == worst_and_best({}) == ([], [])


@given(
    st.dictionaries(st.text(max_size=3), st.sampled_from([0.0, 0.1, 0.5, 1.0, NAN]), max_size=20),
    st.randoms(use_true_random=False),
)
def test_the_choice_does_not_depend_on_the_order(scores, random):
    worst, best = worst_and_best(scores)
    known = {name: value for name, value in scores.items() if value == value}
    assert len(worst) == min(EACH, len(known)) and len(best) == min(EACH, len(known) - len(worst))
    assert len({*worst, *best}) == len(worst) + len(best) and {*worst, *best} <= known.keys()
    others = [value for name, value in known.items() if name not in worst]
    assert all(known[name] <= value for name in worst for value in others)
    others = [value for name, value in known.items() if name not in {*worst, *best}]
    assert all(known[name] >= value for name in best for value in others)
    shuffled = list(scores.items())
    random.shuffle(shuffled)
    assert worst_and_best(dict(shuffled)) == (worst, best)
