"""Tables in a terminal: aligned, wrapped at its width, with URLs whole."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from dal_auto.cli.table import show, table, wrap

URL = "https://example.org/a-rather-long-address/that/must-stay-whole"


def test_columns_are_aligned_and_the_last_one_is_wrapped() -> None:
    blocks = table(["name", "n", "what"], [["a", 7, "one two three"], ["bb", "", "four"]], 20)
    assert blocks == [
        ["name  n  what"],
        ["a     7  one two three"],  # never narrower than 20 characters
        ["bb       four"],
    ]
    (_, block) = table(["n", "what"], [[1, "word " * 12]], 40)
    assert all(line.startswith("   ") for line in block[1:]) and len(block) == 2


def test_lines_of_a_cell_stay_lines() -> None:
    (_, block) = table(["n", "what"], [[1, "first\nsecond"]], 60)
    assert block == ["1  first", "   second"]


def test_an_address_is_never_broken() -> None:
    assert wrap(f"see {URL} there", 30, "  ! ")[:2] == ["  ! see", f"    {URL}"]


@given(
    st.text(alphabet="ab -\n", max_size=200), st.integers(24, 120), st.sampled_from(["", "  ! "])
)
def test_no_line_is_too_long_and_no_word_is_lost(text: str, width: int, indent: str) -> None:
    lines = wrap(text, width, indent)
    words = [word for line in lines for word in line.removeprefix(indent).split()]
    assert words == text.split()
    longest = max(map(len, text.split()), default=0)
    assert all(len(line) <= max(width, longest + len(indent)) for line in lines)


def test_a_reader_that_leaves_early_has_seen_enough(monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        show(["more than a pipe holds " * 10_000])
        show(["and the rest"])
