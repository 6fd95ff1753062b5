"""The log: every step once, in order, also after an interruption."""

from __future__ import annotations

import json

import torch

from dal_auto.training.log import Log


def lines_of(log: Log) -> list[dict]:
    return [json.loads(line) for line in log.path.read_text().splitlines()]


def test_what_is_noted_is_fetched_once_and_written_in_order(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in (1, 2, 3):
        log.note(step, {"loss": torch.tensor(step / 2), "part": torch.tensor(step / 4)})
    assert log.pending == 3 and not log.lines
    assert log.fetch() == [{"step": s, "loss": s / 2, "part": s / 4} for s in (1, 2, 3)]
    assert log.pending == 0 and log.fetch() == []
    log.annotate({"loss": 0.5})
    log.write()
    assert lines_of(log)[-1] == {"step": 3, "loss": 1.5, "part": 0.75, "val_loss": 0.5}
    log.note(4, {"loss": torch.tensor(2.0)})
    log.fetch()
    log.write()
    assert [line["step"] for line in lines_of(log)] == [1, 2, 3, 4]
    assert "val_loss" in lines_of(log)[2]


def test_lines_after_the_checkpoint_are_dropped(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for step in range(1, 6):
        log.note(step, {"loss": torch.tensor(1.0)})
    log.fetch()
    log.write()
    again = Log(log.path)
    again.resume(3)
    again.note(4, {"loss": torch.tensor(2.0)})
    again.fetch()
    again.write()
    assert [(line["step"], line["loss"]) for line in lines_of(again)] == [
        (1, 1.0),
        (2, 1.0),
        (3, 1.0),
        (4, 2.0),
    ]
