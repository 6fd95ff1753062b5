"""``--seeds`` and ``--seed``: a number counts, a list names."""

from __future__ import annotations

import pytest

from dal_auto.cli import common


@pytest.fixture
def parser() -> common.StrictParser:
    parser = common.StrictParser(prog="command", description="A command.", example="command")
    common.add_seeds(parser, "0")
    return parser


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], (0,)),
        (["--seeds", "3"], (0, 1, 2)),
        (["--seeds", "1"], (0,)),
        (["--seeds", "0"], (0,)),
        (["--seeds", "0,1,2"], (0, 1, 2)),
        (["--seeds", "7,3"], (7, 3)),
        (["--seeds", "5,"], (5,)),
        (["--seed", "2"], (2,)),
    ],
)
def test_a_number_counts_and_a_list_names(parser, arguments, expected):
    assert parser.parse_args(arguments).seeds == expected


@pytest.mark.parametrize(
    "arguments",
    [["--seeds", "x"], ["--seeds", "-1"], ["--seeds", "1,-2"], ["--seed", "-1"], ["--seed", "1,2"]],
)
def test_what_is_neither_is_a_usage_error(parser, arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(arguments)
    assert stopped.value.code == 2


def test_only_one_of_both(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["--seeds", "2", "--seed", "1"])
    assert "not allowed with" in capsys.readouterr().err


def test_all_is_the_default_where_the_command_says_so():
    parser = common.StrictParser(prog="command", description="A command.", example="command")
    common.add_seeds(parser, None)
    assert parser.parse_args([]).seeds is None
