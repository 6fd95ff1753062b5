"""One table, three formats: numbers in full for machines, rounded for people."""

from __future__ import annotations

import pandas as pd

from dal_auto.evaluation.paper.formats import PaperTable, latex, markdown, write_table

TABLE = PaperTable(
    "table9",
    "Table 9: AP (%) of all_methods",
    [
        {"method": "DAL", "source": "ours", "seeds": 3, "AP": 41.98765, "empty": None},
        {"method": "a|b_c & d", "source": "paper", "AP": float("nan")},
    ],
    [{"AP": 0.2}, {}],
    ("a note",),
)


def test_csv_has_all_digits_and_the_deviation_apart(tmp_path):
    csv, md, tex = write_table(TABLE, tmp_path / "tables")
    table = pd.read_csv(csv)
    assert list(table.columns) == ["method", "source", "seeds", "AP", "AP std"]
    assert table["AP"][0] == 41.98765 and table["AP std"][0] == 0.2
    assert table.isna().sum().tolist() == [0, 0, 1, 1, 1]
    assert (md.suffix, tex.suffix) == (".md", ".tex")


def test_markdown_is_read_as_a_table():
    assert markdown(TABLE) == (
        "### Table 9: AP (%) of all_methods\n\n"
        "| method | source | seeds | AP |\n"
        "| --- | --- | ---: | ---: |\n"
        "| DAL | ours | 3 | 41.99 ± 0.20 |\n"
        "| a\\|b_c & d | paper | – | – |\n\n"
        "- a note\n"
    )


def test_latex_escapes_what_it_must():
    text = latex(TABLE)
    assert text.startswith("% a note\n") and r"\begin{tabular}{llrr}" in text
    assert r"a|b\_c \& d" in text and r"AP (\%) of all\_methods" in text
    assert "41.99 ± 0.20" in text and r"\label{tab:table9}" in text


def test_latex_knows_every_sign_of_the_captions():
    """U+207B has no meaning in LaTeX's default fonts; ±, × and – have one."""
    title = "errors (×10⁻²)"
    text = latex(PaperTable("t", title, [{"AP": 1.0}], [{"AP": 0.1}]))
    assert r"\caption{errors (×10$^{-2}$)}" in text
    assert {sign for sign in text if ord(sign) > 127} <= set("±×–")


def test_an_empty_table_says_so():
    empty = PaperTable("none", "Nothing", [], [])
    assert "No run for this table has been scored." in markdown(empty)
    assert "no run for this table has been scored" in latex(empty)
    assert empty.numbers().empty


def test_equal_tables_give_equal_bytes(tmp_path):
    first, second = (write_table(TABLE, tmp_path / name) for name in "ab")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
