"""The options that say who works mean the same in every command."""

from __future__ import annotations

import pytest

from dal_auto.cli import common
from dal_auto.workers import Workforce, available_cores


def workforce(*arguments: str, **settings: bool) -> Workforce:
    parser = common.StrictParser(prog="x", description="x", example="x")
    common.add_workers(parser)
    return common.workforce(parser.parse_args(arguments), **settings)


def test_by_default_every_core_has_a_worker_and_no_step_takes_forever():
    assert workforce() == Workforce(available_cores(), 1, None, 1800)


def test_each_option_is_heard():
    options = ["-np", "3", "--threads", "2", "--step-limit", "90.5", "--scheduler", "tcp://n1:8786"]
    assert workforce(*options) == Workforce(3, 2, "tcp://n1:8786", 90.5)


def test_a_lone_task_is_guarded_where_a_limit_was_asked_for():
    assert workforce(one_here=True).one_here
    assert not workforce("--step-limit", "1800", one_here=True).one_here


def test_a_limit_of_0_is_none():
    assert workforce("--step-limit", "0").step_limit_s is None


@pytest.mark.parametrize(
    "arguments", [("-np", "0"), ("--step-limit", "-1"), ("--step-limit", "nan"), ("--threads", "x")]
)
def test_what_makes_no_sense_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        workforce(*arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err
