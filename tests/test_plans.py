"""Plans: what is accepted, what an error says, and where every value comes from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dal_auto.errors import InputError, PlansError
from dal_auto.plans import (
    Plans,
    ScoringPlan,
    TrainingPlan,
    parse_assignment,
    read_assignments,
    stored_plans,
)
from dal_auto.schema import Section, ours, paper

CONTENT: dict[str, Any] = {
    "training_set": "IXI",
    "sequences": ["T1", "T2"],
    "configuration": {
        "name": "demo",
        "input_shape": [40, 56, 40],
        "spacing_mm": [4.0, 4.0, 4.0],
        "window": [40, 56, 40],
    },
}


class Inner(Section):
    depth: int = paper(2, "§1")


class Outer(Section):
    width: float = ours(1.0, "a guess", gt=0)
    single: Inner = Inner()
    by_name: dict[str, Inner] = {}  # noqa: RUF012 (pydantic copies defaults)
    in_order: tuple[Inner, ...] = ()


@pytest.fixture
def plans() -> Plans:
    return Plans.parse(CONTENT)


def test_the_papers_values_are_the_defaults(plans):
    assert plans.preprocessing.target_shape == (160, 224, 160)
    assert plans.training.learning_rate == 1e-4
    assert plans.configuration.batch_subjects == 2
    assert (plans.scoring.min_filter_mm, plans.scoring.mean_filter_mm) == (3.0, 9.0)


def test_an_unknown_key_is_named_with_the_known_ones(plans):
    with pytest.raises(PlansError) as caught:
        Plans.parse(CONTENT | {"trainig": {}})
    assert caught.value.key == "trainig"
    assert f"known keys: {', '.join(Plans.model_fields)}" in str(caught.value)


def test_the_known_keys_are_those_of_the_section_in_which_the_unknown_key_stands():
    with pytest.raises(PlansError) as caught:
        Plans.parse(CONTENT | {"training": {"setps": 3}})
    assert caught.value.key == "training.setps"
    assert f"known keys: {', '.join(TrainingPlan.model_fields)}" in str(caught.value)
    assert "training_set" not in caught.value.rule


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"single": {"dept": 1}}, "single.dept"),
        ({"by_name": {"first": {"dept": 1}}}, "by_name.first.dept"),
        ({"in_order": [{"depth": 1}, {"dept": 1}]}, "in_order.1.dept"),
    ],
)
def test_the_known_keys_are_found_through_dicts_and_tuples(content, key):
    with pytest.raises(PlansError) as caught:
        Outer.parse(content, "method.settings")
    assert caught.value.key == f"method.settings.{key}"
    assert caught.value.rule.endswith("(known keys: depth)")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "steps", "many"),
        ("training", "steps", "200"),
        ("training", "steps", 1.5),
        ("training", "steps", 0),
        ("training", "amp", 1),
        ("training", "learning_rate", 0),
        ("scoring", "score", "l2"),
        ("scoring", "false_positive_rate", 1.0),
        ("preprocessing", "n4_spacing_mm", True),
        ("preprocessing", "registration", "ants"),
        ("preprocessing", "registration_metric", "CC"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused_and_its_key_named(section, key, value):
    with pytest.raises(PlansError) as caught:
        Plans.parse(CONTENT | {section: {key: value}})
    assert caught.value.key == f"{section}.{key}"
    assert caught.value.value == value
    assert f"'{section}.{key}' is {value!r}" in str(caught.value)


def test_a_missing_value_is_named():
    with pytest.raises(PlansError, match="'configuration'"):
        Plans.parse({key: CONTENT[key] for key in ("training_set", "sequences")})


def test_whole_numbers_are_floats_where_floats_are_wanted():
    assert Outer.parse({"width": 3}).width == 3.0


def test_plans_cannot_be_changed_in_place(plans):
    with pytest.raises(ValidationError):
        plans.training_set = "HCP"


def test_override_sets_the_key_notes_its_source_and_leaves_the_rest(plans):
    new = plans.override({"training.steps": 7, "scoring.score": "l1"}, "user: --set")
    assert (new.training.steps, new.scoring.score) == (7, "l1")
    assert new.all_sources()["training.steps"] == "user: --set"
    before, after = (
        {key: value for key, value, _ in p.flat() if key not in ("training.steps", "scoring.score")}
        for p in (plans, new)
    )
    assert before == after
    assert plans.training.steps != 7
    assert plans.all_sources()["training.steps"].startswith("ours:")


def test_override_reaches_open_sections(plans):
    new = plans.override(
        {"method.settings.margin": 0.3, "intensity.landmarks.T1": [0.0, 1.0]}, "user"
    )
    assert new.method.settings == {"margin": 0.3}
    assert new.intensity.landmarks == {"T1": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("training.setps", 3, "training.setps"),
        ("trainig.steps", 3, "trainig"),
        ("training.steps.more", 3, "training.steps"),
        ("training.steps", "three", "training.steps"),
        ("nonsense", 3, "nonsense"),
    ],
)
def test_override_refuses_what_does_not_fit_and_names_the_key(plans, key, value, named):
    with pytest.raises(PlansError) as caught:
        plans.override({key: value}, "user: --set")
    assert caught.value.key == named


def test_sources_are_the_fields_own_at_every_depth():
    assert Outer().sources() == {"width": "ours: a guess", "single.depth": "paper: §1"}
    assert Outer().sources("method.settings")["method.settings.single.depth"] == "paper: §1"


def test_what_planner_and_user_note_comes_before_the_fields_own_source(plans):
    noted = plans.model_copy(update={"value_sources": {"training.steps": "measured: 3 cases"}})
    assert noted.all_sources()["training.steps"] == "measured: 3 cases"
    assert noted.all_sources()["training.amp"].startswith("paper:")


def test_every_value_with_a_default_says_whether_it_is_the_papers_or_ours(plans):
    without = [key for key, _, source in plans.flat() if not source.startswith(("paper:", "ours:"))]
    assert without == [
        *("training_set", "sequences", "intensity.landmarks", "configuration.name"),
        *("configuration.input_shape", "configuration.spacing_mm", "configuration.window"),
        *("method.name", "method.settings"),
    ]


def test_flat_lists_every_value_once(plans):
    rows = plans.override({"method.settings": {"a": {"b": 1}}}, "user").flat()
    keys = [key for key, _, _ in rows]
    assert len(keys) == len(set(keys))
    assert ("method.settings.a.b", 1) in [(key, value) for key, value, _ in rows]
    assert "scoring.joint_weights.FLAIR" in keys
    whole = set(ScoringPlan.model_fields) - {"joint_weights"}
    assert {f"scoring.{name}" for name in whole} <= set(keys)


@settings(deadline=None)
@given(
    learning_rate=st.floats(min_value=1e-12, max_value=1),
    steps=st.integers(1, 10**9),
    landmarks=st.dictionaries(
        st.text(min_size=1), st.lists(st.floats(0, 1), min_size=2).map(tuple), max_size=3
    ),
    source=st.text(),
)
def test_json_brings_plans_back_value_for_value(learning_rate, steps, landmarks, source):
    plans = Plans.parse(
        CONTENT
        | {
            "training": {"learning_rate": learning_rate, "steps": steps},
            "intensity": {"landmarks": landmarks},
            "value_sources": {"training.steps": source},
        }
    )
    text = json.dumps(plans.to_json())
    again = Plans.parse(json.loads(text))
    assert again.model_dump(exclude={"value_sources"}) == plans.model_dump(
        exclude={"value_sources"}
    )
    assert again.all_sources() == plans.all_sources()
    assert json.dumps(again.to_json()) == text


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("training.steps=500", ("training.steps", 500)),
        ("training.amp=false", ("training.amp", False)),
        ("scoring.score=l1", ("scoring.score", "l1")),
        ("configuration.window=[8, 8, 8]", ("configuration.window", [8, 8, 8])),
        ("training_set=a=b", ("training_set", "a=b")),
        ("training_set=", ("training_set", "")),
    ],
)
def test_an_assignment_is_key_equals_json_or_else_a_string(text, pair):
    assert parse_assignment(text) == pair


@pytest.mark.parametrize("text", ["training.steps", "=3", ""])
def test_an_assignment_without_key_or_value_is_refused(text):
    with pytest.raises(PlansError, match="key=value"):
        parse_assignment(text)


def test_a_plans_file_is_read_as_assignments_that_bring_the_plans_back(plans, tmp_path):
    changed = plans.override(
        {"training.steps": 7, "method.settings": {"a": [1, 2]}, "scoring.score": "l1"}, "user"
    )
    file = tmp_path / "plans.json"
    file.write_text(json.dumps(changed.to_json()), encoding="utf-8")
    assignments = read_assignments(file)
    assert not [key for key in assignments if key.startswith("value_sources")]
    assert assignments["training.steps"] == 7
    again = plans.override(assignments, "file")
    without = {"value_sources"}
    assert again.model_dump(exclude=without) == changed.model_dump(exclude=without)
    assert again.all_sources()["training.steps"] == "file"


def test_a_plans_file_may_hold_a_part(plans, tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"training": {"steps": 7}, "scoring": {}}', encoding="utf-8")
    assert read_assignments(file) == {"training.steps": 7}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"training": {"setps": 7}}', "training.setps"),
        ('{"trainig": {"steps": 7}}', "trainig"),
        ('{"training": {"steps": "7"}}', "training.steps"),
        ('{"training": 7}', "training"),
    ],
)
def test_what_is_wrong_in_a_plans_file_is_named(plans, tmp_path, text, key):
    file = tmp_path / "mine.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PlansError) as caught:
        plans.override(read_assignments(file), "file")
    assert caught.value.key == key


@pytest.mark.parametrize("text", [None, "{", "[1]", "3", "[" * 100_000])
def test_a_plans_file_that_is_no_json_object_is_refused(tmp_path, text):
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.json"):
        read_assignments(file)


def test_a_key_that_decides_nothing_any_more_is_read_where_it_was_stored_and_nowhere_else(
    plans, tmp_path
):
    content = plans.to_json()
    content["configuration"]["window_overlap"] = 0.75
    assert stored_plans(content) == stored_plans(plans.to_json())
    assert content["configuration"]["window_overlap"] == 0.75, "the content is left as it was"
    file = tmp_path / "plans.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    assert "configuration.window_overlap" not in read_assignments(file)
    with pytest.raises(PlansError, match="no such key"):
        plans.override({"configuration.window_overlap": 0.5}, "user")
